"""Image: pixels of one value that hang together, counted, labelled, reduced and as shapes; and the cheapest ways."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import shapely
import shapely.affinity
import shapely.geometry
from numpy.typing import NDArray
from rasterio.features import shapes

from eelocal.algorithms.image_regions import region_of, region_projection
from eelocal.algorithms.neighbourhoods import padded
from eelocal.errors import EarthEngineError, OutOfMemory
from eelocal.evaluation import current
from eelocal.fitting import bounds_in, snapped
from eelocal.grid import Grid, Pixels
from eelocal.lattice import centres_inside
from eelocal.registry import algorithm
from eelocal.values.collection import Collection, of_elements
from eelocal.values.element import Feature
from eelocal.values.geometry import Geometry
from eelocal.values.image import Band, Image
from eelocal.values.kernel import Kernel
from eelocal.values.pixeltype import DOUBLE, PixelType, integer
from eelocal.values.reducer import Reducer

_MAX_SIZE = 1024  # pixels an object may reach beyond the pixels asked for, as in Earth Engine
_MAX_PIXELS = 2**23  # whose objects are looked for at once
_MAX_OBJECTS = 100_000  # as features
_MAX_NODES = 2**20  # pixels of a search for cheapest ways
_LABEL = integer(0, 2**31 - 1)
Ints = NDArray[np.int64]


def _components(values: NDArray[Any], valid: NDArray[np.bool_], eight: bool) -> Ints:
    """The number of each pixel's object, from 1 in the order of their first pixels; 0 where masked.

    Objects are joined along all pairs of neighbours at once (Shiloach and Vishkin 1982).
    """
    if values.size > _MAX_PIXELS:
        raise OutOfMemory
    places = np.arange(values.size, dtype=np.int32).reshape(values.shape)
    firsts, seconds = [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1))[: 4 if eight else 2]:
        here = (slice(0, values.shape[0] - dy), slice(max(-dx, 0), values.shape[1] - max(dx, 0)))
        there = (slice(dy, None), slice(max(dx, 0), values.shape[1] + min(dx, 0)))
        same = (values[here] == values[there]) & valid[here] & valid[there]
        firsts.append(places[here][same])
        seconds.append(places[there][same])
    left, right = np.concatenate(firsts), np.concatenate(seconds)
    root = places.reshape(-1).copy()
    while left.size:
        current().check_time()
        a, b = root[left], root[right]
        apart = a != b
        left, right, a, b = left[apart], right[apart], a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(root, root[root]):
            root = root[root]
    root[~valid.reshape(-1)] = -1
    kept = np.unique(root[valid.reshape(-1)])
    return (np.searchsorted(kept, root) + 1).reshape(values.shape).astype(np.int64) * valid


def _objects(labels: Ints) -> dict[int, Ints]:
    """The places of each object's pixels, row by row, without the masked ones."""
    flat = labels.reshape(-1)
    order = np.argsort(flat, kind="stable")
    starts = np.flatnonzero(np.diff(flat[order], prepend=-1))
    parts = np.split(order, starts[1:])
    return {int(flat[part[0]]): part for part in parts if part.size and flat[part[0]]}


@algorithm("Image.connectedPixelCount", keeps="input")
def connected_pixel_count(input: Image, maxSize: int, eightConnected: bool) -> Image:
    """How many pixels of the same value each one hangs together with, itself among them, up to a number."""
    _check_size(maxSize)

    def changed(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = padded(band, grid, maxSize, maxSize)
            labels = _components(values, valid, eightConnected)
            counts = np.minimum(np.bincount(labels.reshape(-1)), maxSize)[labels]
            inner = (slice(maxSize, -maxSize),) * 2
            return Pixels(counts[inner].astype(kind.dtype), valid[inner])

        kind = integer(0, maxSize)
        return band.derived(read, kind)

    return input.bare([changed(band) for band in input.bands])


@algorithm("Image.connectedComponents", keeps="image")
def connected_components(image: Image, connectedness: Kernel, maxSize: int) -> Image:
    """The image with a band `labels`: a number for each object; those that are too large are masked."""
    _check_size(maxSize)
    band = _first(image)

    def read(grid: Grid) -> Pixels:
        eight = bool(np.count_nonzero(connectedness.weights(grid.projection.nominal_scale)) > 5)
        values, valid = padded(band, grid, maxSize, maxSize)
        labels = _components(values, valid, eight)
        kept = valid & (np.bincount(labels.reshape(-1))[labels] <= maxSize)
        names = _lasting(labels, grid, maxSize)
        inner = (slice(maxSize, -maxSize),) * 2
        return Pixels(np.where(kept, names, 0)[inner].astype(_LABEL.dtype), kept[inner])

    return image.with_bands([*image.bands, band.derived(read, _LABEL).renamed("labels")])


def _lasting(labels: Ints, grid: Grid, reach: int) -> Ints:
    """Labels by the place of each object's first pixel, so that they do not depend on the pixels asked for."""
    _, first = np.unique(labels, return_index=True)
    rows, cols = np.divmod(first, labels.shape[1])
    x = grid.transform[2] / grid.transform[0] + cols - reach
    y = grid.transform[5] / (grid.transform[4] or 1.0) + rows - reach
    mixed = np.round(x).astype(np.int64) * 73_856_093 ^ np.round(y).astype(np.int64) * 19_349_663
    return np.asarray((mixed % (2**31 - 2) + 1)[np.searchsorted(np.unique(labels), labels)])


@algorithm("Image.reduceConnectedComponents", keeps="image")
def reduce_connected_components(image: Image, reducer: Reducer, labelBand: str | None, maxSize: int) -> Image:
    """A reducer over the pixels of each object, at each of its pixels; objects that are too large are masked."""
    _check_size(maxSize)
    label = _first(image) if labelBand is None else next((b for b in image.bands if b.name == labelBand), None)
    if label is None:
        raise EarthEngineError(f"Band '{labelBand}' is not among the bands: [{', '.join(image.names)}].")
    of_labels = label

    def made(band: Band, output: int, kind: PixelType) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = padded(of_labels, grid, maxSize, maxSize)
            labels = _components(values, valid, True)
            wanted, known = (part.reshape(-1) for part in padded(band, grid, maxSize, maxSize))
            inner = (slice(maxSize, -maxSize),) * 2
            seen = set(np.unique(labels[inner]).tolist())
            result, ok = np.zeros(labels.size, kind.dtype), np.zeros(labels.size, bool)
            for number, here in _objects(labels).items():
                if number in seen and not _is_large(here, labels.shape[1], maxSize):
                    current().check_time()
                    got = _reduced(reducer, [Pixels(wanted[here], known[here])])[output]
                    result[here], ok[here] = (got, True) if got is not None else (0, False)
            return Pixels(result.reshape(labels.shape)[inner], ok.reshape(labels.shape)[inner])

        return band.derived(read, kind)

    bands = []
    for band in image.bands:
        if band is of_labels:
            continue
        kinds = reducer.output_types([band.type])
        for i, (output, kind) in enumerate(zip(reducer.outputs, kinds, strict=True)):
            name = band.name if len(kinds) == 1 else f"{band.name}_{output}"
            bands.append(made(band, i, kind).renamed(name))
    return image.bare(bands)


def _is_large(places: Ints, width: int, most: int) -> bool:
    rows, cols = np.divmod(places, width)
    return bool(max(np.ptp(rows), np.ptp(cols)) >= most)


def _reduced(reducer: Reducer, stacks: Sequence[Pixels]) -> list[Any]:
    columns = [[v if ok else None for v, ok in zip(s.values.tolist(), s.valid.tolist(), strict=True)] for s in stacks]
    return list(reducer.rows(list(zip(*columns, strict=True))).values())


@algorithm("Image.reduceToVectors", "Image.reduceToVectorsStreaming")
def reduce_to_vectors(
    image: Image,
    reducer: Reducer | None,
    geometry: Geometry | None,
    scale: float | None,
    geometryType: str,
    eightConnected: bool,
    labelProperty: str,
    crs: Any,
    crsTransform: list[Any] | None,
    bestEffort: bool,
    maxPixels: int,
    tileScale: float,
    geometryInNativeProjection: bool,
) -> Collection:
    """A feature for each object of the first band, with its value and a reduction of the other bands (or a count)."""
    make = _SHAPED.get(geometryType)
    if make is None:
        raise EarthEngineError(f"Unknown geometryType '{geometryType}'; known are {', '.join(_SHAPED)}.")
    projection = region_projection(image, crs, crsTransform, scale)
    region = region_of(geometry, image)
    grid = snapped(projection, bounds_in(region, projection.crs))
    if grid.width * grid.height > maxPixels and bestEffort:
        factor = math.sqrt(grid.width * grid.height / max(maxPixels, 1)) * 1.01
        projection = projection.at_scale(projection.nominal_scale * factor)
        grid = snapped(projection, bounds_in(region, projection.crs))
    if grid.width * grid.height > maxPixels:
        raise EarthEngineError(
            f"Too many pixels in the region. Found {grid.width * grid.height}, but only {maxPixels} allowed."
        )
    band, others = image.bands[0], image.bands[1:]
    values, valid = band.pixels(grid)
    labels = _components(values, valid & centres_inside(region, grid), eightConnected)
    if labels.max(initial=0) > _MAX_OBJECTS:
        raise OutOfMemory
    stacks = [Pixels(*(part.reshape(-1) for part in other.pixels(grid))) for other in others]
    objects = _objects(labels)

    def features() -> Iterator[Feature]:
        connectivity = 8 if eightConnected else 4
        for shape, number in shapes(labels.astype(np.int32), mask=labels > 0, connectivity=connectivity):
            here = objects[int(number)]
            inside = [Pixels(stack.values[here], stack.valid[here]) for stack in stacks]
            properties = {
                labelProperty: values.reshape(-1)[here[0]].item(),
                **_properties(reducer, others, inside, here),
            }
            place = Geometry(_placed(make(shapely.geometry.shape(shape)), grid), grid.crs)
            yield Feature(place if geometryInNativeProjection else Geometry(place.lonlat), properties)

    return of_elements(features(), "FeatureCollection")


_SHAPED = {
    "polygon": lambda shape: shape,
    "bb": lambda shape: shape.envelope,
    "centroid": lambda shape: shape.centroid,
}


def _placed(shape: Any, grid: Grid) -> Any:
    a, b, c, d, e, f = grid.transform
    return shapely.affinity.affine_transform(shape, [a, b, d, e, c, f])


def _properties(reducer: Reducer | None, bands: Sequence[Band], stacks: Sequence[Pixels], here: Ints) -> dict[str, Any]:
    if reducer is None or not bands:
        return {"count": int(here.size)}
    if reducer.inputs == len(bands):
        return dict(zip(reducer.outputs, _reduced(reducer, stacks), strict=True))
    made = {}
    for band, stack in zip(bands, stacks, strict=True):
        for name, value in zip(reducer.outputs, _reduced(reducer, [stack]), strict=True):
            made[band.name if len(reducer.outputs) == 1 else f"{band.name}_{name}"] = value
    return made


@algorithm("Image.cumulativeCost", keeps="cost")
def cumulative_cost(cost: Image, source: Image, maxDistance: float, geodeticDistance: bool) -> Image:
    """The cost of the cheapest way from a source, over pixels that cost their value per metre (Dijkstra)."""
    start = _first(source)

    def ways(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            metres = _pixel_metres(grid)
            reach = min(math.ceil(maxDistance / min(metres)), 10**6)
            if (grid.width + 2 * reach) * (grid.height + 2 * reach) > _MAX_NODES:
                raise OutOfMemory
            prices, open_ = padded(band, grid, reach, reach)
            marked, known = padded(start, grid, reach, reach)
            found = _cheapest(prices.astype(np.float64), open_, known & (marked != 0), metres, maxDistance)
            inner = (slice(reach, reach + grid.height), slice(reach, reach + grid.width))
            reached = np.isfinite(found[inner])
            return Pixels(np.where(reached, found[inner], 0), reached)

        return band.derived(read, DOUBLE)

    return cost.bare([ways(band).renamed("cumulative_cost") for band in cost.bands])


def _pixel_metres(grid: Grid) -> tuple[float, float]:
    a, _, _, _, e, f = grid.transform
    if not grid.projection.is_geographic:
        return abs(a), abs(e)
    degree = math.radians(1) * 6378137.0
    return abs(a) * degree * math.cos(math.radians(f + e * grid.height / 2)), abs(e) * degree


def _cheapest(
    prices: NDArray[np.float64],
    free: NDArray[np.bool_],
    sources: NDArray[np.bool_],
    metres: tuple[float, float],
    most: float,
) -> NDArray[np.float64]:
    height, width = prices.shape
    costs = np.where(sources & free, 0.0, np.inf)
    steps = [
        (dy, dx, math.hypot(dy * metres[1], dx * metres[0]))
        for dy, dx in itertools.product((-1, 0, 1), repeat=2)
        if dy or dx
    ]
    heap = [(0.0, 0.0, int(r), int(c)) for r, c in zip(*np.nonzero(sources & free), strict=True)]
    while heap:
        cost, way, row, col = heapq.heappop(heap)
        if cost > costs[row, col]:
            continue
        for dy, dx, length in steps:
            r, c = row + dy, col + dx
            if not (0 <= r < height and 0 <= c < width and free[r, c]) or way + length > most:
                continue
            new = cost + length * (prices[row, col] + prices[r, c]) / 2
            if new < costs[r, c]:
                costs[r, c] = new
                heapq.heappush(heap, (new, way + length, r, c))
    return costs


def _first(image: Image) -> Band:
    if not image.bands:
        raise EarthEngineError("The image has no bands.")
    return image.bands[0]


def _check_size(size: int) -> None:
    if not 1 <= size <= _MAX_SIZE:
        raise EarthEngineError(f"maxSize must be from 1 to {_MAX_SIZE}. Got {size}.")
