"""Geometry and Feature: measuring, relating and changing shapes.

Measures in degrees are taken on the WGS84 ellipsoid; in projected systems they are planar in their units as metres.
"""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from eelocal import registry
from eelocal.errors import EarthEngineError, OutOfMemory
from eelocal.grid import apply
from eelocal.lattice import covered_cells
from eelocal.registry import algorithm
from eelocal.values.collection import Collection, of_elements
from eelocal.values.element import Element, Feature
from eelocal.values.geometry import Geometry, geojson, transform_shape, unbounded_ring
from eelocal.values.projection import Projection, is_geographic, metres_per_unit


def measured_area(geometry: Geometry, proj: Projection | None) -> float:
    """Square metres."""
    crs = proj.crs if proj else geometry.crs
    if is_geographic(crs):
        return abs(float(_ellipsoid().geometry_area_perimeter(geometry.lonlat)[0]))
    return float(geometry.in_crs(crs).area) * metres_per_unit(crs) ** 2


def measured_length(geometry: Geometry, proj: Projection | None, *, closed: bool) -> float:
    """Metres of lines, or around areas."""
    crs = proj.crs if proj else geometry.crs
    parts = [part for part in shapely.get_parts(geometry.in_crs(crs)) if (part.geom_type == "Polygon") == closed]
    if not is_geographic(crs):
        return float(sum(part.length for part in parts)) * metres_per_unit(crs)
    return float(sum(_ellipsoid().geometry_length(shapely.boundary(p) if closed else p) for p in parts))


def buffered(geometry: Geometry, distance: float, proj: Projection | None) -> Geometry:
    """All within so many metres; in degrees by way of a projection around the centre."""
    crs = proj.crs if proj else geometry.crs
    if not is_geographic(crs):
        return Geometry(geometry.in_crs(crs).buffer(distance / metres_per_unit(crs), 16), crs)
    shape = geometry.lonlat
    centre = shape.envelope.centroid
    local = f"+proj=aeqd +lat_0={centre.y:.9f} +lon_0={centre.x:.9f} +datum=WGS84 +units=m"
    grown = transform_shape(shape, "EPSG:4326", local).buffer(distance, 16)
    return Geometry(transform_shape(grown, local, "EPSG:4326"), geodesic=False)


def simplified(geometry: Geometry, error: Any, proj: Projection | None) -> Geometry:
    """With fewer vertices, within an error: metres, or an error margin."""
    crs = proj.crs if proj else geometry.crs
    metres = error.get("value") if isinstance(error, dict) else error
    if not isinstance(metres, (int, float)) or metres < 0:
        raise EarthEngineError(f"The maxError must be metres, not negative. Got {str(error)[:100]}.")
    return Geometry(geometry.in_crs(crs).simplify(metres / metres_per_unit(crs)), crs, geometry.geodesic)


def measured_distance(left: Geometry, right: Geometry, proj: Projection | None) -> float:
    """Metres between the nearest points."""
    crs = proj.crs if proj else left.crs
    a, b = left.in_crs(crs), right.in_crs(crs)
    if not is_geographic(crs):
        return float(a.distance(b)) * metres_per_unit(crs)
    line = shapely.shortest_line(a, b)
    return 0.0 if line is None or line.is_empty else float(_ellipsoid().geometry_length(line))


@lru_cache(maxsize=1)
def _ellipsoid() -> pyproj.Geod:
    return pyproj.Geod(ellps="WGS84")


_PREDICATES: dict[str, Callable[[BaseGeometry, BaseGeometry], bool]] = {
    "intersects": lambda a, b: bool(a.intersects(b)),
    "disjoint": lambda a, b: bool(a.disjoint(b)),
    "contains": lambda a, b: bool(a.covers(b)),
    "containedIn": lambda a, b: bool(a.covered_by(b)),
}
_OVERLAYS: dict[str, Callable[[BaseGeometry, BaseGeometry], BaseGeometry]] = {
    "intersection": lambda a, b: a.intersection(b),
    "union": lambda a, b: a.union(b),
    "difference": lambda a, b: a.difference(b),
    "symmetricDifference": lambda a, b: a.symmetric_difference(b),
}


def _same_system(left: Geometry, right: Geometry, proj: Projection | None) -> tuple[BaseGeometry, BaseGeometry, str]:
    crs = proj.crs if proj else left.crs
    return left.in_crs(crs), right.in_crs(crs), crs


def place_of(element: Element) -> Geometry:
    """The geometry of an element; 400 if it has none."""
    if element.geometry is None:
        raise EarthEngineError("The feature has no geometry.")
    return element.geometry


def _predicate(test: Callable[[BaseGeometry, BaseGeometry], bool]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def geometries(left: Geometry, right: Geometry, maxError: Any, proj: Projection | None) -> bool:
        a, b, _ = _same_system(left, right, proj)
        return test(a, b)

    def features(left: Element, right: Element, maxError: Any, proj: Projection | None) -> bool:
        return geometries(place_of(left), place_of(right), maxError, proj)

    return geometries, features


def _overlay(
    combine: Callable[[BaseGeometry, BaseGeometry], BaseGeometry],
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def geometries(left: Geometry, right: Geometry, maxError: Any, proj: Projection | None) -> Geometry:
        a, b, crs = _same_system(left, right, proj)
        return Geometry(combine(a, b), crs)

    def features(left: Element, right: Element, maxError: Any, proj: Projection | None) -> Feature:
        return Feature(geometries(place_of(left), place_of(right), maxError, proj), left.properties)

    return geometries, features


Change = Callable[[Geometry, Projection | None], Geometry]
Measure = Callable[[Geometry, Projection | None], float]


def _shape_change(change: Callable[[BaseGeometry], BaseGeometry]) -> Change:
    def run(geometry: Geometry, proj: Projection | None) -> Geometry:
        crs = proj.crs if proj else geometry.crs
        return Geometry(change(geometry.in_crs(crs)), crs)

    return run


_CHANGES: dict[str, Change] = {
    "bounds": _shape_change(lambda shape: shape.envelope),
    "centroid": _shape_change(lambda shape: shape.centroid),
    "convexHull": _shape_change(lambda shape: shape.convex_hull),
    "dissolve": _shape_change(shapely.union_all),
}
_MEASURES: dict[str, Measure] = {
    "area": measured_area,
    "length": lambda geometry, proj: measured_length(geometry, proj, closed=False),
    "perimeter": lambda geometry, proj: measured_length(geometry, proj, closed=True),
}


def _changing(change: Change) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def geometries(geometry: Geometry, maxError: Any, proj: Projection | None) -> Geometry:
        return geometry if geometry.unbounded else change(geometry, proj)

    def features(feature: Element, maxError: Any, proj: Projection | None) -> Feature:
        return Feature(geometries(place_of(feature), maxError, proj), feature.properties)

    return geometries, features


def _measuring(measure: Measure) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def geometries(geometry: Geometry, maxError: Any, proj: Projection | None) -> float:
        return measure(geometry, proj)

    def features(feature: Element, maxError: Any, proj: Projection | None) -> float:
        return measure(place_of(feature), proj)

    return geometries, features


for _name, _test in _PREDICATES.items():
    _g, _f = _predicate(_test)
    registry.add(f"Geometry.{_name}", _g)
    registry.add(f"Feature.{_name}", _f)
for _name, _combine in _OVERLAYS.items():
    _g, _f = _overlay(_combine)
    registry.add(f"Geometry.{_name}", _g)
    registry.add(f"Feature.{_name}", _f)
for _name, _change in _CHANGES.items():
    _g, _f = _changing(_change)
    registry.add(f"Geometry.{_name}", _g)
    registry.add(f"Feature.{_name}", _f)
for _name, _measure in _MEASURES.items():
    _g, _f = _measuring(_measure)
    registry.add(f"Geometry.{_name}", _g)
    registry.add(f"Feature.{_name}", _f)


@algorithm("Geometry.buffer")
def buffer(geometry: Geometry, distance: float, maxError: Any, proj: Projection | None) -> Geometry:
    """All within so many metres."""
    return buffered(geometry, distance, proj)


@algorithm("Feature.buffer")
def buffer_feature(feature: Element, distance: float, maxError: Any, proj: Projection | None) -> Feature:
    """The feature, grown by so many metres."""
    return Feature(buffered(place_of(feature), distance, proj), feature.properties)


@algorithm("Geometry.distance")
def distance(left: Geometry, right: Geometry, maxError: Any, proj: Projection | None, spherical: bool) -> float:
    """Metres between the nearest points."""
    return measured_distance(left, right, proj)


@algorithm("Feature.distance")
def distance_of_features(
    left: Element, right: Element, maxError: Any, proj: Projection | None, spherical: bool
) -> float:
    """Metres between the nearest points."""
    return measured_distance(place_of(left), place_of(right), proj)


@algorithm("Geometry.withinDistance")
def within_distance(left: Geometry, right: Geometry, distance: float, maxError: Any, proj: Projection | None) -> bool:
    """Whether two geometries are no farther apart."""
    return measured_distance(left, right, proj) <= distance


@algorithm("Geometry.simplify")
def simplify(geometry: Geometry, maxError: Any, proj: Projection | None) -> Geometry:
    """With fewer vertices, within an error in metres."""
    return simplified(geometry, maxError, proj)


@algorithm("Geometry.transform")
def transform(geometry: Geometry, proj: Projection, maxError: Any, geodesic: bool | None) -> Geometry:
    """In another system."""
    return Geometry(geometry.in_crs(proj.crs), proj.crs, bool(geodesic))


@algorithm("Geometry.coordinates")
def coordinates(geometry: Geometry) -> list[Any]:
    """Coordinates as GeoJSON has them."""
    if geometry.unbounded:
        return list(unbounded_ring())
    return list(geojson(geometry.shape).get("coordinates", []))


@algorithm("Geometry.type")
def kind(geometry: Geometry) -> str:
    """GeoJSON's name of the kind."""
    return str(geometry.shape.geom_type)


@algorithm("Geometry.geometries")
def parts(geometry: Geometry) -> list[Geometry]:
    """The parts of a multi-part geometry."""
    return [Geometry(part, geometry.crs, geometry.geodesic) for part in shapely.get_parts(geometry.shape)]


@algorithm("Geometry.projection")
def projection(geometry: Geometry) -> Projection:
    """The system of the coordinates."""
    return Projection(geometry.crs)


@algorithm("Geometry.geodesic", "Geometry.edgesAreGeodesics")
def geodesic(geometry: Geometry) -> bool:
    """Whether edges are straight on the sphere."""
    return geometry.geodesic


@algorithm("Geometry.isUnbounded")
def is_unbounded(geometry: Geometry) -> bool:
    """Whether it is the whole Earth."""
    return geometry.unbounded


@algorithm("ErrorMargin")
def error_margin(value: float | None, unit: str) -> dict[str, Any]:
    """A tolerance; geometry here is exact, so that it is only carried along."""
    return {"type": "ErrorMargin", "unit": unit, "value": value}


@algorithm("Geometry.coveringGrid")
def covering_grid(geometry: Geometry, proj: Projection, scale: float | None) -> Collection:
    """The cells of a lattice that touch a geometry, as features."""
    lattice = proj if scale is None else proj.at_scale(scale)
    cells, _ = covered_cells(geometry, lattice)
    if cells.estimate is not None:
        raise OutOfMemory
    pairs = zip(cells.cols.tolist(), cells.rows.tolist(), strict=True)
    found = [Feature(_cell(lattice, col, row), {"system:index": f"{col},{row}"}) for col, row in pairs]
    return of_elements(found, "FeatureCollection")


def _cell(lattice: Projection, col: int, row: int) -> Geometry:
    corners = [apply(lattice.transform, col + dx, row + dy) for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1))]
    return Geometry(shapely.Polygon(corners), lattice.crs)
