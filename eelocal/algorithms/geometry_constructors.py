"""GeometryConstructors: geometries from coordinates."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from eelocal.errors import EarthEngineError
from eelocal.grid import apply
from eelocal.registry import algorithm
from eelocal.union import merged
from eelocal.values.geometry import Geometry, unrolled
from eelocal.values.projection import IDENTITY, Projection, is_geographic

Pair = tuple[float, float]


@algorithm("GeometryConstructors.Point")
def point(coordinates: list[Any], crs: Projection | None) -> Geometry:
    """A point."""
    return Geometry(_placed(shapely.Point(_pair(coordinates)), crs), _crs(crs))


@algorithm("GeometryConstructors.MultiPoint")
def multi_point(coordinates: list[Any], crs: Projection | None) -> Geometry:
    """Points."""
    return Geometry(_placed(shapely.MultiPoint(_pairs(coordinates)), crs), _crs(crs))


@algorithm("GeometryConstructors.LineString")
def line_string(coordinates: list[Any], crs: Projection | None, geodesic: bool | None, maxError: Any) -> Geometry:
    """A line."""
    return _made(lambda: shapely.LineString(_pairs(coordinates)), crs, geodesic)


@algorithm("GeometryConstructors.LinearRing")
def linear_ring(coordinates: list[Any], crs: Projection | None, geodesic: bool | None, maxError: Any) -> Geometry:
    """A closed line."""
    return _made(lambda: shapely.LinearRing(_pairs(coordinates)), crs, geodesic)


@algorithm("GeometryConstructors.MultiLineString")
def multi_line_string(coordinates: list[Any], crs: Projection | None, geodesic: bool | None, maxError: Any) -> Geometry:
    """Lines."""
    return _made(lambda: shapely.MultiLineString([_pairs(line) for line in _nested(coordinates, 2)]), crs, geodesic)


@algorithm("GeometryConstructors.Polygon")
def polygon(
    coordinates: list[Any], crs: Projection | None, geodesic: bool | None, maxError: Any, evenOdd: bool
) -> Geometry:
    """A polygon: an outer ring and holes; rings need not be closed."""
    return _made(lambda: _polygon(_nested(coordinates, 2)), crs, geodesic)


@algorithm("GeometryConstructors.MultiPolygon")
def multi_polygon(
    coordinates: list[Any], crs: Projection | None, geodesic: bool | None, maxError: Any, evenOdd: bool
) -> Geometry:
    """Polygons."""
    return _made(lambda: shapely.union_all([_polygon(rings) for rings in _nested(coordinates, 3)]), crs, geodesic)


@algorithm("GeometryConstructors.Rectangle")
def rectangle(coordinates: list[Any], crs: Projection | None, geodesic: bool | None, evenOdd: bool) -> Geometry:
    """A rectangle from two corners, or from west, south, east and north."""
    flat = (
        coordinates
        if not coordinates or not isinstance(coordinates[0], list)
        else [n for pair in coordinates for n in pair]
    )
    if len(flat) != 4:
        raise EarthEngineError("A rectangle needs two corners: [[xMin, yMin], [xMax, yMax]].")
    x1, y1, x2, y2 = (*_pair(flat[:2]), *_pair(flat[2:]))
    return _made(lambda: shapely.box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), crs, geodesic or False)


@algorithm("GeometryConstructors.BBox")
def bbox(west: float, south: float, east: float, north: float) -> Geometry:
    """A rectangle of longitudes and latitudes whose edges follow them."""
    if not all(math.isfinite(v) for v in (west, south, east, north)):
        return Geometry(shapely.box(-180, -90, 180, 90), unbounded=True)
    return Geometry(shapely.box(west, min(south, north), east, max(south, north)))


@algorithm("GeometryConstructors.MultiGeometry")
def multi_geometry(geometries: list[Any], crs: Projection | None, geodesic: bool | None, maxError: Any) -> Geometry:
    """Geometries of any kind as one."""
    if not all(isinstance(part, Geometry) for part in geometries):
        raise EarthEngineError("MultiGeometry: each part must be a geometry.")
    return merged(geometries)


def _made(make: Callable[[], Any], crs: Projection | None, geodesic: bool | None) -> Geometry:
    """A geometry with edges; they are geodesics by default where coordinates are degrees."""
    code = _crs(crs)
    straight = is_geographic(code) if geodesic is None else geodesic
    try:
        shape = _placed(make(), crs)
        if straight and is_geographic(code):
            shape = unrolled(shape)
    except (shapely.errors.ShapelyError, ValueError) as exc:
        raise EarthEngineError(f"Invalid geometry: {exc}.") from exc
    if not shape.is_valid:
        shape = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    return Geometry(shape, code, straight)


def _polygon(rings: Sequence[Any]) -> shapely.Polygon:
    lines = [_pairs(ring) for ring in rings]
    return shapely.Polygon(lines[0], lines[1:]) if lines else shapely.Polygon()


def _placed(shape: BaseGeometry, crs: Projection | None) -> BaseGeometry:
    """Coordinates of a projection are its pixels: with a transform of its own they are turned into the system's.

    The client itself relies on it: `getDownloadURL` with crs_transform and dimensions sends the rectangle
    [0, 0, width, height] in the projection of the image.
    """
    if crs is None or crs.transform == IDENTITY:
        return shape
    transform = crs.transform
    return shapely.transform(shape, lambda xy: np.column_stack(apply(transform, xy[:, 0], xy[:, 1])))


def _crs(crs: Projection | None) -> str:
    return "EPSG:4326" if crs is None else crs.crs


def _pair(value: Any) -> Pair:
    if not isinstance(value, (list, tuple)) or not 2 <= len(value) <= 3:
        raise EarthEngineError(f"A position must be a list of two numbers. Got {str(value)[:100]}.")
    x, y = value[0], value[1]
    if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in (x, y)):
        raise EarthEngineError(f"Coordinates must be finite numbers. Got {str(value)[:100]}.")
    return float(x), float(y)


def _pairs(value: Any) -> list[Pair]:
    if not isinstance(value, (list, tuple)):
        raise EarthEngineError(f"Coordinates must be a list of positions. Got {str(value)[:100]}.")
    if value and all(isinstance(item, (int, float)) for item in value):
        value = [value[i : i + 2] for i in range(0, len(value), 2)]
    return [_pair(item) for item in value]


def _nested(value: Any, depth: int) -> list[Any]:
    """Coordinates as lists of the depth a constructor needs; a single ring may be given bare."""
    actual = 0
    inner = value
    while isinstance(inner, (list, tuple)) and inner:
        actual, inner = actual + 1, inner[0]
    for _ in range(actual, depth + 1):
        value = [value]
    return list(value)
