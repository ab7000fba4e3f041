"""Image: what depends on the pixels around a pixel.

A neighbourhood is computed in the pixels that are asked for, wider by the kernel's reach.
"""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from eelocal import registry
from eelocal.algorithms.image_math import finite
from eelocal.algorithms.kernels import MAX_REACH, SHAPES, shaped
from eelocal.algorithms.reducers import named
from eelocal.errors import EarthEngineError
from eelocal.evaluation import current
from eelocal.grid import Grid, Pixels, alignment
from eelocal.registry import algorithm
from eelocal.values.image import Band, Image
from eelocal.values.kernel import Kernel
from eelocal.values.pixeltype import DOUBLE, FLOAT, PixelType
from eelocal.values.projection import Transform
from eelocal.values.reducer import Reducer

_MAX_STACK = 2**22  # pixels that go into the pixels of a strip


def in_strips(grid: Grid, each: int, make: Callable[[Grid], Pixels]) -> Pixels:
    """Pixels made by some rows at a time, where each needs so many others."""
    rows = max(1, _MAX_STACK // max(1, each * grid.width))
    if rows >= grid.height:
        return make(grid)
    starts = range(0, grid.height, rows)
    parts = [make(grid.window(0, start, grid.width, min(rows, grid.height - start))) for start in starts]
    return Pixels(np.concatenate([p.values for p in parts]), np.concatenate([p.valid for p in parts]))


def padded(band: Band, grid: Grid, reach_x: int, reach_y: int) -> Pixels:
    """Pixels of a grid and some around it."""
    wide = grid.window(-reach_x, -reach_y, grid.width + 2 * reach_x, grid.height + 2 * reach_y)
    return band.pixels(wide)


def around(band: Band, grid: Grid, weights: NDArray[np.float64]) -> tuple[list[Pixels], list[float]]:
    """The pixels at every place of a kernel that has a weight, each of the grid's shape, and their weights."""
    ry, rx = weights.shape[0] // 2, weights.shape[1] // 2
    values, valid = padded(band, grid, rx, ry)
    found, used = [], []
    for row, col in zip(*np.nonzero(weights), strict=True):
        part = (slice(row, row + grid.height), slice(col, col + grid.width))
        found.append(Pixels(values[part], valid[part]))
        used.append(float(weights[row, col]))
    return found, used


@algorithm("Image.convolve", keeps="image")
def convolve(image: Image, kernel: Kernel) -> Image:
    """The weighted sum of the pixels around; masked where one of them is."""

    def changed(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            found, weights = around(band, grid, kernel.weights(grid.projection.nominal_scale))
            total = np.zeros(grid.shape)
            valid = np.ones(grid.shape, bool)
            for pixels, weight in zip(found, weights, strict=True):
                total += pixels.values * weight
                valid &= pixels.valid
            return Pixels(total, valid)

        return band.derived(read, DOUBLE)

    return image.bare([changed(band) for band in image.bands])


@algorithm("Image.reduceNeighborhood", keeps="image")
def reduce_neighbourhood(
    image: Image, reducer: Reducer, kernel: Kernel, inputWeight: str, skipMasked: bool, optimization: str | None
) -> Image:
    """A reducer over the pixels around; outputs are named `band_output`."""
    bands = []
    for band in image.bands:
        for i, (output, kind) in enumerate(zip(reducer.outputs, reducer.output_types([band.type]), strict=True)):
            read = _around_reader(band, reducer, kernel, i, kind, skip=skipMasked, weigh=inputWeight == "kernel")
            bands.append(band.derived(read, kind).renamed(f"{band.name}_{output}"))
    return image.bare(bands)


def _around_reader(
    band: Band, reducer: Reducer, kernel: Kernel, output: int, kind: PixelType, *, skip: bool, weigh: bool
) -> Callable[[Grid], Pixels]:
    def read(grid: Grid) -> Pixels:
        if reducer.reduce is None:
            raise EarthEngineError("This reducer cannot be applied to pixels.")
        kernel_weights = kernel.weights(grid.projection.nominal_scale)
        return in_strips(grid, int(np.count_nonzero(kernel_weights)), lambda strip: strip_of(strip, kernel_weights))

    def strip_of(grid: Grid, kernel_weights: NDArray[np.float64]) -> Pixels:
        assert reducer.reduce is not None
        current().check_time()
        found, weights = around(band, grid, kernel_weights)
        stack = Pixels(np.stack([p.values for p in found]), np.stack([p.valid for p in found]))
        factors = np.array(weights)[:, None, None] * np.ones(stack.valid.shape) if weigh and reducer.weighted else None
        result = reducer.reduce([stack], factors)[output]
        centre = band.pixels(grid).valid if skip else True
        return finite(result.values.astype(kind.dtype), result.valid & centre)

    return read


def _focal(reducer: Reducer) -> Callable[..., Image]:
    def function(
        image: Image, radius: float, kernelType: str, units: str, iterations: int, kernel: Kernel | None
    ) -> Image:
        shape = SHAPES.get(kernelType)
        if kernel is None and shape is None:
            raise EarthEngineError(f"Unknown kernel '{kernelType}'; known are {', '.join(SHAPES)}.")
        if not 1 <= iterations <= 100:
            raise EarthEngineError(f"Iterations must be from 1 to 100. Got {iterations}.")
        chosen = kernel
        if chosen is None:
            assert shape is not None
            chosen = shaped(shape, radius, units, normalize=False, magnitude=1.0)
        bands: Sequence[Band] = image.bands
        for _ in range(iterations):
            bands = [_focal_band(band, reducer, chosen) for band in bands]
        return image.bare(bands)

    return function


def _focal_band(band: Band, reducer: Reducer, kernel: Kernel) -> Band:
    kind = reducer.output_types([band.type])[0]
    return band.derived(_around_reader(band, reducer, kernel, 0, kind, skip=False, weigh=False), kind)


for _name in ("min", "max", "mean", "median", "mode"):
    _function = _focal(named(_name))
    for _alias in (f"Image.focal{_name.capitalize()}", f"Image.focal_{_name}", f"Window.{_name}"):
        registry.add(_alias, _function, keeps=("image",))


@algorithm("Image.fastDistanceTransform", keeps="image")
def fast_distance(image: Image, neighborhood: int, units: str, metric: str) -> Image:
    """The squared distance in pixels to the nearest pixel that is not 0, within a neighbourhood."""
    if units != "pixels" or metric not in ("squared_euclidean", "manhattan", "chebyshev"):
        raise EarthEngineError(f"The metric '{metric}' in '{units}' is not known.")
    if not 1 <= neighborhood <= MAX_REACH:
        raise EarthEngineError(f"Neighborhood must be from 1 to {MAX_REACH}. Got {neighborhood}.")
    band = image.bands[0]

    def read(grid: Grid) -> Pixels:
        values, valid = padded(band, grid, neighborhood, neighborhood)
        squared = squared_distance(valid & (values != 0), neighborhood)
        inner = slice(neighborhood, -neighborhood)
        return Pixels(squared[inner, inner].astype(np.float32), np.ones(grid.shape, bool))

    return image.bare([band.derived(read, FLOAT).renamed("distance")])


def squared_distance(marked: NDArray[np.bool_], reach: int) -> NDArray[np.float64]:
    """Squared distance to the nearest marked pixel, at most the square of the reach in each direction.

    First along columns, then along rows (Saito and Toriwaki 1994, https://doi.org/10.1016/0031-3203(94)90133-3).
    """
    far = float(reach * reach * 2)
    rows = np.arange(marked.shape[0])[:, None]
    above = np.maximum.accumulate(np.where(marked, rows, -(2**30)), axis=0)
    below = np.minimum.accumulate(np.where(marked, rows, 2**30)[::-1], axis=0)[::-1]
    column = np.minimum(rows - above, below - rows).astype(np.float64) ** 2
    column = np.minimum(column, far)
    best = column.copy()
    for step in range(1, reach + 1):
        best[:, step:] = np.minimum(best[:, step:], column[:, :-step] + step * step)
        best[:, :-step] = np.minimum(best[:, :-step], column[:, step:] + step * step)
    return np.minimum(best, far)


@algorithm("Image.directionalDistanceTransform", keeps="source")
def directional_distance(source: Image, angle: float, maxDistance: int, labelBand: str | None) -> Image:
    """Pixels from each pixel to the nearest one that is not 0 in a direction; masked where there is none."""
    if not 1 <= maxDistance <= MAX_REACH:
        raise EarthEngineError(f"maxDistance must be from 1 to {MAX_REACH}. Got {maxDistance}.")
    band = source.bands[0]
    dx, dy = math.cos(math.radians(angle)), -math.sin(math.radians(angle))

    def read(grid: Grid) -> Pixels:
        values, valid = padded(band, grid, maxDistance, maxDistance)
        marked = valid & (values != 0)
        result, found = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, bool)
        for step in range(maxDistance + 1):
            row, col = maxDistance + round(step * dy), maxDistance + round(step * dx)
            hit = marked[row : row + grid.height, col : col + grid.width] & ~found
            result[hit], found = step, found | hit
        return Pixels(result, found)

    labels = [] if labelBand is None else [source.bands[0]]
    return source.bare([band.derived(read, FLOAT).renamed("distance"), *labels])


@algorithm("Image.spectralDistance")
def spectral_distance(image1: Image, image2: Image, metric: str) -> Image:
    """How different the bands of two images are: squared Euclidean distance (`sed`) or angle (`sam`)."""
    if metric not in ("sed", "sam"):
        raise EarthEngineError(f"The metric '{metric}' is not implemented by eelocal; known are sed and sam.")
    if len(image1.bands) != len(image2.bands):
        raise EarthEngineError("Both images must have the same number of bands.")
    pairs = list(zip(image1.bands, image2.bands, strict=True))

    def read(grid: Grid) -> Pixels:
        found = [(a.pixels(grid), b.pixels(grid)) for a, b in pairs]
        valid = np.logical_and.reduce([x.valid & y.valid for x, y in found])
        left = np.stack([x.values.astype(np.float64) for x, _ in found])
        right = np.stack([y.values.astype(np.float64) for _, y in found])
        if metric == "sed":
            return Pixels(((left - right) ** 2).sum(axis=0), valid)
        norms = np.linalg.norm(left, axis=0) * np.linalg.norm(right, axis=0)
        cosine = np.divide((left * right).sum(axis=0), norms, out=np.ones(grid.shape), where=norms > 0)
        return Pixels(np.arccos(np.clip(cosine, -1, 1)), valid)

    return image1.bare([image1.bands[0].derived(read, DOUBLE).renamed("distance")])


@algorithm("Image.reduceResolution", keeps="image")
def reduce_resolution(image: Image, reducer: Reducer, bestEffort: bool, maxPixels: int) -> Image:
    """Where larger pixels are asked for, each is a reducer over the image's own pixels, by the part that is in it."""
    return image.with_bands([_coarse(band, reducer, maxPixels, best=bestEffort) for band in image.bands])


def _coarse(band: Band, reducer: Reducer, limit: int, *, best: bool) -> Band:
    kind = reducer.output_types([band.type])[0]

    def read(grid: Grid) -> Pixels:
        factor = max(1, round(grid.projection.nominal_scale / band.projection.nominal_scale))
        if factor * factor > limit and not best:
            raise EarthEngineError(f"Too many input pixels per output pixel: {factor * factor}; maxPixels is {limit}.")
        factor = min(factor, max(1, math.isqrt(limit)))
        a, b, c, d, e, f = grid.transform
        fine = (a / factor, b / factor, c, d / factor, e / factor, f)
        if alignment(Grid(grid.crs, fine, 1, 1), band.projection) is None:
            factor = max(4, 2 * factor)  # parts of pixels, by samples
        if reducer.reduce is None:
            raise EarthEngineError("This reducer cannot be applied to pixels.")
        fine = (a / factor, b / factor, c, d / factor, e / factor, f)
        return in_strips(grid, factor * factor, lambda strip: reduced(strip, fine, factor))

    def reduced(grid: Grid, fine: Transform, factor: int) -> Pixels:
        assert reducer.reduce is not None
        a, b, _, d, e, _ = fine
        here = (a, b, grid.transform[2], d, e, grid.transform[5])
        values, valid = band.pixels(Grid(grid.crs, here, grid.width * factor, grid.height * factor))
        shape = (grid.height, factor, grid.width, factor)
        stack = Pixels(*(x.reshape(shape).transpose(1, 3, 0, 2).reshape(-1, *grid.shape) for x in (values, valid)))
        result = reducer.reduce([stack], None)[0]
        return finite(result.values.astype(kind.dtype), result.valid)

    return band.derived(read, kind)
