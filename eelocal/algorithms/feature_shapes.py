"""Geometry and Feature: nearest points, cut lines, and the everyday changes of shape for features."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from eelocal import registry
from eelocal.algorithms.geometries import measured_distance, place_of, simplified
from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.element import Element, Feature
from eelocal.values.geometry import Geometry
from eelocal.values.projection import Projection, is_geographic

_MAX_PIECES = 100_000
_METRES_PER_DEGREE = 111_319.49079327357


@algorithm("Feature.simplify")
def simplify(feature: Element, maxError: Any, proj: Projection | None) -> Feature:  # noqa: N803
    """The feature with fewer vertices, within an error in metres."""
    return Feature(simplified(place_of(feature), maxError, proj), feature.properties)


@algorithm("Feature.transform")
def transform(feature: Element, proj: Projection, maxError: Any, geodesic: bool | None) -> Feature:  # noqa: N803
    """The feature in another system."""
    straight = is_geographic(proj.crs) if geodesic is None else geodesic
    return Feature(Geometry(place_of(feature).in_crs(proj.crs), proj.crs, straight), feature.properties)


@algorithm("Feature.withinDistance")
def within_distance(left: Element, right: Element, distance: float, maxError: Any, proj: Projection | None) -> bool:  # noqa: N803
    """Whether two features are no farther apart."""
    return measured_distance(place_of(left), place_of(right), proj) <= distance


def _closest(left: Geometry, right: Geometry, proj: Projection | None) -> list[Geometry]:
    """The points of both that are nearest to the other."""
    crs = proj.crs if proj else left.crs
    line = shapely.shortest_line(left.in_crs(crs), right.in_crs(crs))
    return [] if line is None or line.is_empty else [Geometry(shapely.Point(xy), crs) for xy in line.coords]


def _closest_point(left: Geometry, right: Geometry, maxError: Any, proj: Projection | None) -> Geometry | None:  # noqa: N803
    """The point of the right that is nearest to the left; null if one is empty."""
    found = _closest(left, right, proj)
    return found[1] if found else None


def _closest_points(left: Geometry, right: Geometry, maxError: Any, proj: Projection | None) -> dict[str, Geometry]:  # noqa: N803
    """The points of both that are nearest to the other; nothing if one is empty."""
    return dict(zip(("left", "right"), _closest(left, right, proj), strict=False))


def _of_features(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(left: Element, right: Element, maxError: Any, proj: Projection | None) -> Any:  # noqa: N803
        return function(place_of(left), place_of(right), maxError, proj)

    return run


for _name, _function in (("closestPoint", _closest_point), ("closestPoints", _closest_points)):
    registry.add(f"Geometry.{_name}", _function)
    registry.add(f"Feature.{_name}", _of_features(_function))


@algorithm("Geometry.cutLines")
def cut_lines(geometry: Geometry, distances: list[Any], maxError: Any, proj: Projection | None) -> Geometry:  # noqa: N803
    """Lines in parts, cut at distances along each; in units of the projection, or metres without one."""
    if not all(isinstance(d, (int, float)) for d in distances):
        raise EarthEngineError(f"Distances must be numbers. Got {str(distances)[:100]}.")
    crs = proj.crs if proj else geometry.crs
    unit = _METRES_PER_DEGREE if proj is None and is_geographic(crs) else 1.0
    lines = [part for part in shapely.get_parts(geometry.in_crs(crs)) if part.geom_type in ("LineString", "LinearRing")]
    pieces = [piece for line in lines for piece in _cut(line, sorted(float(d) / unit for d in distances))]
    return Geometry(shapely.MultiLineString(pieces), crs)


@algorithm("Feature.cutLines")
def cut_lines_of_feature(feature: Element, distances: list[Any], maxError: Any, proj: Projection | None) -> Feature:  # noqa: N803
    """The feature with its lines in parts."""
    return Feature(cut_lines(place_of(feature), distances, maxError, proj), feature.properties)


def _cut(line: BaseGeometry, distances: Sequence[float]) -> list[BaseGeometry]:
    places = [0.0, *(d for d in dict.fromkeys(distances) if 0 < d < line.length), line.length]
    if len(places) > _MAX_PIECES:
        raise EarthEngineError(f"At most {_MAX_PIECES} pieces can be cut.")
    return [_between(line, start, end) for start, end in itertools.pairwise(places)]


def _between(line: BaseGeometry, start: float, end: float) -> BaseGeometry:
    corners = shapely.get_coordinates(line)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    inner = corners[(along > start) & (along < end)]
    ends = shapely.get_coordinates([line.interpolate(start), line.interpolate(end)])
    return shapely.LineString(np.vstack([ends[:1], inner, ends[1:]]))
