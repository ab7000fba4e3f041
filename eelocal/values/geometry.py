"""Geometries: a shapely shape, its coordinate system, and whether its edges are straight on the sphere."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from eelocal.errors import EarthEngineError
from eelocal.values.projection import is_geographic, transformer

_STEP_METRES = 1000.0  # a great circle leaves the chord by 2 cm over this length
_MAX_PARTS = 2000
_RADIUS = 6378137.0


@dataclass(frozen=True, eq=False)
class Geometry:
    """A shape in a coordinate system.

    Attributes:
        shape: coordinates as they were given, x before y.
        crs: the system of the coordinates.
        geodesic: edges are great circles (only in degrees); otherwise straight in `crs`.
    """

    shape: BaseGeometry
    crs: str = "EPSG:4326"
    geodesic: bool = False
    unbounded: bool = False

    def in_crs(self, crs: str) -> BaseGeometry:
        """The shape in another system, its edges cut so that they stay where they are."""
        if crs == self.crs and not self.geodesic:
            return self.shape
        dense = self._densified(crs)
        if crs == self.crs:
            return dense
        return transform_shape(dense, self.crs, crs)

    @property
    def lonlat(self) -> BaseGeometry:
        """The shape in degrees of longitude and latitude."""
        return self.in_crs("EPSG:4326")

    def _densified(self, crs: str) -> BaseGeometry:
        points = {"Point", "MultiPoint"}
        if self.shape.geom_type in points:
            return self.shape
        if self.geodesic and is_geographic(self.crs):
            return _map_lines(self.shape, _along_great_circles) if _has_long_edge(self.shape) else self.shape
        if self.crs == crs:
            return self.shape
        return shapely.segmentize(self.shape, _straight_step(self.shape, self.crs))

    def encode(self) -> dict[str, Any]:
        """GeoJSON with Earth Engine's extra members."""
        if self.unbounded:
            return {"geodesic": False, "type": "Polygon", "coordinates": unbounded_ring()}
        body = geojson(self.shape)
        if self.crs != "EPSG:4326":
            body["crs"] = {"type": "name", "properties": {"name": self.crs}}
        lines = self.shape.geom_type not in ("Point", "MultiPoint")
        return {**({"geodesic": self.geodesic} if lines else {}), **body}


def unbounded_ring() -> list[list[list[float]]]:
    """The whole Earth, as Earth Engine prints an unbounded geometry."""
    return [[[-180.0, -90.0], [180.0, -90.0], [180.0, 90.0], [-180.0, 90.0], [-180.0, -90.0]]]


def geojson(geometry: BaseGeometry) -> dict[str, Any]:
    """GeoJSON with lists, not tuples."""
    if geometry.geom_type == "GeometryCollection":
        return {"type": "GeometryCollection", "geometries": [geojson(part) for part in geometry.geoms]}
    body = mapping(geometry)
    return {"type": body["type"], "coordinates": _listed(body["coordinates"])}


def from_geojson(body: Any) -> Geometry:
    """A geometry from GeoJSON or a footprint's LinearRing."""
    try:
        crs = body.get("crs", {}).get("properties", {}).get("name", "EPSG:4326")
        return Geometry(shape(_without_crs(body)), crs, bool(body.get("geodesic", False)))
    except (ValueError, TypeError, AttributeError, KeyError, shapely.errors.ShapelyError) as exc:
        raise EarthEngineError(f"Invalid GeoJSON geometry: {str(body)[:200]}.") from exc


def transform_shape(geometry: BaseGeometry, source: str, target: str) -> BaseGeometry:
    """Vertices in another system; a vertex that has no place there is a 400."""
    change = transformer(source, target)

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = change.transform(xy[:, 0], xy[:, 1])
        return np.column_stack([x, y])

    moved = shapely.transform(geometry, move)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise EarthEngineError(f"Unable to transform the geometry into projection {target[:100]}.")
    return moved


def meet(left: BaseGeometry, right: BaseGeometry) -> bool:
    """Whether two shapes in degrees touch, be it a turn further: 181 degrees is -179."""
    return bool(
        left.intersects(right)
        or on_every_turn(left, right).intersects(right)
        or on_every_turn(right, left).intersects(left)
    )


def on_every_turn(shape: BaseGeometry, other: BaseGeometry) -> BaseGeometry:
    """A shape in degrees, and the same a turn further if another is there."""
    if other.is_empty:
        return shape
    west, _, east, _ = other.bounds
    turns = [0, *([360] if east > 180 else []), *([-360] if west < -180 else [])]
    if len(turns) == 1:
        return shape
    return shapely.union_all([shapely.affinity.translate(shape, turn) for turn in turns])


def prepared(shape: BaseGeometry) -> BaseGeometry:
    """A copy for many tests, and for the caller alone.

    What GEOS prepares is completed as it is used, without a lock: two threads that test one prepared geometry crash.
    """
    own: BaseGeometry = shapely.force_2d(shape)
    shapely.prepare(own)
    return own


def unrolled(geometry: BaseGeometry) -> BaseGeometry:
    """A shape in degrees whose edges go the short way around the Earth: from 179 to -179 is to 181."""

    def unroll(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        steps = np.diff(xy[:, 0])
        turns = np.where(np.abs(np.abs(steps) - 360) < 1e-9, 0, np.round(steps / 360)) * 360  # a whole turn is meant
        return np.column_stack([xy[:, 0] - np.concatenate([[0.0], np.cumsum(turns)]), xy[:, 1]])

    return _map_lines(geometry, unroll)


def point_coordinates(geometry: BaseGeometry) -> NDArray[np.float64]:
    """(x, y) of every point among the parts of a geometry."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    found: NDArray[np.float64] = shapely.get_coordinates(parts[shapely.get_type_id(parts) == 0])
    return found


def _without_crs(body: dict[str, Any]) -> dict[str, Any]:
    return {key: body[key] for key in ("type", "coordinates", "geometries") if key in body}


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def _straight_step(geometry: BaseGeometry, crs: str) -> float:
    left, bottom, right, top = geometry.bounds
    step = _STEP_METRES / 111_319.0 if is_geographic(crs) else _STEP_METRES
    return max(step, math.hypot(right - left, top - bottom) / _MAX_PARTS)


def _has_long_edge(geometry: BaseGeometry) -> bool:
    left, bottom, right, top = geometry.bounds
    return math.hypot(right - left, top - bottom) * 111_319.0 > _STEP_METRES


def _map_lines(geometry: BaseGeometry, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> BaseGeometry:
    """The geometry with the vertices of each of its lines and rings replaced."""
    kind = geometry.geom_type
    if kind == "Polygon":
        rings = [change(shapely.get_coordinates(ring)) for ring in (geometry.exterior, *geometry.interiors)]
        return shapely.Polygon(rings[0], rings[1:])
    if kind in ("LineString", "LinearRing"):
        return type(geometry)(change(shapely.get_coordinates(geometry)))
    if hasattr(geometry, "geoms"):
        return type(geometry)([_map_lines(part, change) for part in geometry.geoms])
    return geometry


def _along_great_circles(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    pieces = [_great_circle(start, end) for start, end in itertools.pairwise(xy)]
    return np.concatenate([*pieces, xy[-1:]])


def _great_circle(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points from start (included) to end (not included), on a sphere as S2 has it."""
    a, b = _unit(start), _unit(end)
    angle = math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))
    parts = min(_MAX_PARTS, math.ceil(angle * _RADIUS / _STEP_METRES))
    if parts < 2:
        return start[None, :]
    t = np.arange(1, parts)[:, None] / parts
    vectors = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / math.sin(angle)
    lon = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0]))
    lon += 360 * np.round((start[0] + t[:, 0] * (end[0] - start[0]) - lon) / 360)
    lat = np.degrees(np.arctan2(vectors[:, 2], np.hypot(vectors[:, 0], vectors[:, 1])))
    return np.concatenate([start[None, :], np.column_stack([lon, lat])])


def _unit(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = np.radians(lonlat[:2])
    return np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])
