"""Collection and FeatureCollection: tables of features, chance, and images of features."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from eelocal.algorithms.geometries import buffered
from eelocal.arrays import to_array
from eelocal.errors import EarthEngineError
from eelocal.grid import Grid, Pixels
from eelocal.lattice import centres_inside
from eelocal.promote import promote
from eelocal.region import frame_of
from eelocal.registry import algorithm
from eelocal.values.collection import Collection, of_elements
from eelocal.values.element import Element, Feature
from eelocal.values.filter import Query
from eelocal.values.geometry import Geometry, prepared, transform_shape
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import DOUBLE
from eelocal.values.projection import WGS84, transformer
from eelocal.values.reducer import Reducer

_MAX_POINTS = 1_000_000
_RADIUS = 6371008.8  # metres, of a sphere with the Earth's volume


@algorithm("Collection.loadTable")
def load_table(tableId: Any, geometryColumn: str | None, version: int) -> Collection:
    """A table asset; there are none here."""
    raise EarthEngineError(
        f"Collection asset '{str(tableId)[:200]}' not found (does not exist or caller does not have access)."
    )


@algorithm("Collection.fromColumns")
def from_columns(columns: list[Any], propertyNames: list[Any], propertyTypes: list[Any] | None) -> Collection:
    """Features without geometry, of a list of values for each property."""
    if len(columns) != len(propertyNames) or not all(isinstance(column, list) for column in columns):
        raise EarthEngineError(f"There must be a list of values for each of {len(propertyNames)} properties.")
    if len({len(column) for column in columns}) > 1:
        raise EarthEngineError("All columns must have the same length.")
    names = [str(name) for name in propertyNames]
    rows = zip(*columns, strict=True)
    return of_elements([Feature(None, dict(zip(names, row, strict=True))) for row in rows], "FeatureCollection")


@algorithm("Collection.remap", keeps="collection", sets="columnName")
def remap(collection: Collection, lookupIn: list[Any], lookupOut: list[Any], columnName: str) -> Collection:
    """The elements with a property replaced by a table; those whose value is not in it are left out."""
    if len(lookupIn) != len(lookupOut):
        raise EarthEngineError(f"Both lists must be as long. Got {len(lookupIn)} and {len(lookupOut)}.")
    table = dict(zip(lookupIn, lookupOut, strict=True))

    def source(query: Query) -> Iterator[Any]:
        for element in collection.elements():
            value = element.get(columnName)
            if isinstance(value, (str, int, float)) and value in table:
                yield element.set(**{columnName: table[value]})

    return collection.like(source)


@algorithm("Collection.randomColumn", keeps="collection", sets="columnName")
def random_column(
    collection: Collection, columnName: str, seed: int, distribution: str, rowKeys: list[Any]
) -> Collection:
    """The elements with a number by chance, the same whenever it is asked for."""
    make = _DISTRIBUTIONS.get(distribution)
    if make is None:
        raise EarthEngineError(f"Distribution must be 'uniform' or 'normal'. Got '{distribution}'.")

    def source(query: Query) -> Iterator[Any]:
        for element in collection.elements(query):
            key = repr((seed, [element.get(str(name)) for name in rowKeys])).encode()
            start = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
            yield element.set(**{columnName: make(random.Random(start))})

    return collection.like(source)


_DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "uniform": lambda chance: chance.random(),
    "normal": lambda chance: chance.gauss(0, 1),
}


@algorithm("Feature.toArray")
def feature_to_array(feature: Element, properties: list[Any]) -> Any:
    """Numbers among the properties as an array."""
    return to_array([promote(feature.get(str(n)), "Number", "Feature.toArray") for n in properties])


@algorithm("FeatureCollection.makeArray", keeps="collection", sets="name")
def make_array(collection: Collection, properties: list[Any], name: str) -> Collection:
    """The features with numbers among their properties as an array; those that lack one are left out."""

    def source(query: Query) -> Iterator[Any]:
        for element in collection.elements():
            values = [element.get(str(key)) for key in properties]
            if all(isinstance(value, (int, float)) for value in values):
                yield element.set(**{name: to_array(values)})

    return collection.like(source)


@algorithm("FeatureCollection.randomPoints")
def random_points(region: Geometry, points: int, seed: int, maxError: Any) -> Collection:
    """Points by chance, even over the sphere, along lines or among points."""
    if not 0 <= points <= _MAX_POINTS:
        raise EarthEngineError(f"Points must be from 0 to {_MAX_POINTS}. Got {points}.")
    shape = shapely.box(-180, -90, 180, 90) if region.unbounded else region.lonlat
    parts = shapely.get_parts(shapely.get_parts(shape))
    if not len(parts):
        raise EarthEngineError("The region is empty.")
    highest = max(int(dimension) for dimension in shapely.get_dimensions(parts))
    chosen = parts[shapely.get_dimensions(parts) == highest]
    found = _SCATTER[highest](chosen, points, np.random.default_rng(seed & (2**63 - 1)))
    return of_elements([Feature(Geometry(shapely.Point(xy))) for xy in found], "FeatureCollection")


def _among(parts: NDArray[Any], count: int, chance: np.random.Generator) -> NDArray[np.float64]:
    return np.asarray(shapely.get_coordinates(parts)[chance.integers(0, len(parts), count)])


def _along(parts: NDArray[Any], count: int, chance: np.random.Generator) -> NDArray[np.float64]:
    lengths = shapely.length(parts)
    which = chance.choice(len(parts), count, p=lengths / lengths.sum())
    found = shapely.line_interpolate_point(parts[which], chance.random(count) * lengths[which])
    return np.asarray(shapely.get_coordinates(found))


def _within(parts: NDArray[Any], count: int, chance: np.random.Generator) -> NDArray[np.float64]:
    area = prepared(shapely.union_all(parts))
    if area.is_empty or not area.area:
        raise EarthEngineError("The region has no area.")
    left, bottom, right, top = area.bounds
    low, high = math.sin(math.radians(bottom)), math.sin(math.radians(top))
    found: list[NDArray[np.float64]] = []
    have = 0
    for _ in range(1000):
        lon = chance.uniform(left, right, max(count, 256))
        lat = np.degrees(np.arcsin(chance.uniform(low, high, max(count, 256))))
        inside = shapely.contains_xy(area, lon, lat)
        found.append(np.column_stack([lon, lat])[inside])
        have += int(inside.sum())
        if have >= count:
            break
    return np.concatenate(found)[:count]


_SCATTER = {0: _among, 1: _along, 2: _within}


@algorithm("Collection.reduceToImage")
def reduce_to_image(collection: Collection, properties: list[Any], reducer: Reducer) -> Image:
    """At each pixel a reducer over properties of the features that are there (by its centre)."""
    names = [str(name) for name in properties]
    if len(names) != reducer.inputs:
        raise EarthEngineError(f"The reducer needs {reducer.inputs} properties. Got {len(names)}.")
    if reducer.reduce is None:
        raise EarthEngineError(f"The reducer of {', '.join(reducer.outputs)} cannot be applied to pixels.")
    reduce = reducer.reduce

    def read(grid: Grid, output: int) -> Pixels:
        here = [(f, centres_inside(f.geometry, grid)) for f in _near(collection, grid) if f.geometry is not None]
        here = [(feature, covered) for feature, covered in here if covered.any()]
        if not here:
            return Pixels(np.zeros(grid.shape), np.zeros(grid.shape, bool))
        stacks = [_stack_of_property(here, name, grid) for name in names]
        found = reduce(stacks, None)[output]
        some = np.logical_or.reduce([covered for _, covered in here])
        return Pixels(found.values.astype(np.float64), found.valid & some)

    outputs = enumerate(reducer.outputs)
    return Image([Band(name, DOUBLE, WGS84, lambda grid, i=i: read(grid, i)) for i, name in outputs])  # type: ignore[misc]


def _stack_of_property(here: Sequence[tuple[Element, NDArray[np.bool_]]], name: str, grid: Grid) -> Pixels:
    values, valid = np.zeros((len(here), *grid.shape)), np.zeros((len(here), *grid.shape), bool)
    for i, (feature, covered) in enumerate(here):
        value = feature.get(name)
        if isinstance(value, (int, float)):
            values[i], valid[i] = value, covered
    return Pixels(values, valid)


def _near(collection: Collection, grid: Grid, metres: float = 0.0) -> list[Element]:
    frame = frame_of(grid)
    wide = buffered(Geometry(frame), metres, None).lonlat if metres else frame
    return [
        f
        for f in collection.elements()
        if f.geometry is not None and (f.geometry.unbounded or f.geometry.lonlat.intersects(wide))
    ]


@algorithm("Collection.distance")
def distance(features: Collection, searchRadius: float, maxError: float) -> Image:
    """Metres from each pixel's centre to the nearest point, line or edge of an area; masked beyond a radius."""
    if not 0 < searchRadius <= 10_000_000:
        raise EarthEngineError(f"searchRadius must be positive, in metres. Got {searchRadius}.")

    def read(grid: Grid) -> Pixels:
        near = [f.geometry.lonlat for f in _near(features, grid, searchRadius) if f.geometry is not None]
        if not near:
            return Pixels(np.zeros(grid.shape), np.zeros(grid.shape, bool))
        edges = shapely.union_all([shape.boundary if shape.area else shape for shape in near])
        x, y = _centres(grid)
        middle = frame_of(grid).centroid
        local = f"+proj=aeqd +lat_0={middle.y:.9f} +lon_0={middle.x:.9f} +R={_RADIUS} +units=m"
        flat = prepared(transform_shape(edges, "EPSG:4326", local))
        u, v = transformer("EPSG:4326", local).transform(x, y)
        metres = shapely.distance(flat, shapely.points(u, v))
        return Pixels(np.where(metres <= searchRadius, metres, 0.0), metres <= searchRadius)

    return Image([Band("distance", DOUBLE, WGS84, read)])


@algorithm("FeatureCollection.inverseDistance")
def inverse_distance(
    collection: Collection,
    range: float,
    propertyName: str,
    mean: float,
    stdDev: float,
    gamma: float,
    reducer: Reducer | None,
) -> Image:
    """At each pixel the mean of a property weighted by the inverse distance, towards a mean where points are far."""
    if not range > 0:
        raise EarthEngineError(f"Range must be positive, in metres. Got {range}.")

    def read(grid: Grid) -> Pixels:
        x, y = _centres(grid)
        total, weights = np.zeros(grid.shape), np.zeros(grid.shape)
        nearest = np.full(grid.shape, np.inf)
        for feature in _near(collection, grid, range):
            value, place = feature.get(propertyName), feature.geometry
            if not isinstance(value, (int, float)) or place is None:
                continue
            point = place.lonlat.centroid
            metres = np.maximum(_metres(x, y, point.x, point.y), 1e-6)
            weight = np.where(metres <= range, 1 / metres, 0)
            total, weights, nearest = total + weight * value, weights + weight, np.minimum(nearest, metres)
        known = weights > 0
        near = np.divide(total, weights, out=np.full(grid.shape, mean), where=known)
        trust = np.clip(1 - np.minimum(nearest / range, 1), 0, 1) ** gamma
        return Pixels(mean + (near - mean) * trust, np.ones(grid.shape, bool))

    return Image([Band(propertyName, DOUBLE, WGS84, read)])


def _centres(grid: Grid) -> tuple[Any, Any]:
    x, y = grid.centres()
    if grid.crs != "EPSG:4326":
        x, y = transformer(grid.crs, "EPSG:4326").transform(x, y)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def _metres(lon: Any, lat: Any, to_lon: float, to_lat: float) -> Any:
    a, b = np.radians(lat), math.radians(to_lat)
    step = np.sin((a - b) / 2) ** 2 + np.cos(a) * math.cos(b) * np.sin(np.radians(lon - to_lon) / 2) ** 2
    return 2 * _RADIUS * np.arcsin(np.sqrt(np.minimum(step, 1)))
