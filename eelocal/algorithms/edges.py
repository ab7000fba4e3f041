"""Image: distances, differences and windows of pixels, and edges."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.algorithms.neighbourhoods import around, padded
from eelocal.arrays import cast, objects
from eelocal.errors import EarthEngineError, OutOfMemory
from eelocal.grid import Grid, Pixels
from eelocal.registry import algorithm
from eelocal.values.image import Band, Image
from eelocal.values.kernel import Kernel
from eelocal.values.pixeltype import BOOLEAN, DOUBLE, FLOAT

_MAX_WINDOW = 2**24  # values of all windows of a grid at once
_DEFAULT_RADIUS = 100  # pixels a distance is looked for without a kernel
Floats = NDArray[np.float64]


@algorithm("Image.distance", keeps="image")
def distance(image: Image, kernel: Kernel | None, skipMasked: bool) -> Image:
    """The least weight of a distance kernel at which there is a pixel that is not 0; masked where there is none."""

    def near(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            weights = _weights(kernel, grid)
            values, valid = band.pixels(grid)
            found, costs = around(band, grid, weights)
            best = np.full(grid.shape, np.inf)
            best[valid & (values != 0)] = 0
            for pixels, cost in zip(found, costs, strict=True):
                hit = pixels.valid & (pixels.values != 0)
                np.minimum(best, cost, out=best, where=hit)
            known = np.isfinite(best) & (valid if skipMasked else True)
            return Pixels(np.where(known, best, 0).astype(np.float32), known)

        return band.derived(read, FLOAT)

    return image.bare([near(band) for band in image.bands])


def _weights(kernel: Kernel | None, grid: Grid) -> Floats:
    if kernel is not None:
        return kernel.weights(grid.projection.nominal_scale)
    rows, cols = np.mgrid[-_DEFAULT_RADIUS : _DEFAULT_RADIUS + 1, -_DEFAULT_RADIUS : _DEFAULT_RADIUS + 1]
    return np.asarray(np.hypot(rows, cols))


@algorithm("Image.entropy", keeps="image")
def entropy(image: Image, kernel: Kernel) -> Image:
    """-sum(p log2(p)) of how often each value occurs in the window; of whole numbers only."""

    def changed(band: Band) -> Band:
        if not band.type.is_integer:
            raise EarthEngineError(f"Band '{band.name}' must have whole numbers.")

        def read(grid: Grid) -> Pixels:
            found, _ = around(band, grid, kernel.weights(grid.projection.nominal_scale))
            _check_window(len(found), grid)
            values = np.sort(np.stack([np.where(p.valid, p.values.astype(np.float64), np.inf) for p in found]), axis=0)
            count = np.isfinite(values).sum(axis=0)
            total = np.zeros(grid.shape)
            run = np.zeros(grid.shape)
            with np.errstate(all="ignore"):
                for i in range(len(values)):
                    known = np.isfinite(values[i])
                    run = np.where(known & (values[i] == values[i - 1] if i else False), run + 1, known.astype(float))
                    ends = known & ((values[i + 1] != values[i]) if i + 1 < len(values) else True)
                    share = run / count
                    total -= np.where(ends, share * np.log2(share), 0)
            return Pixels(total.astype(np.float32), count > 0)

        return band.derived(read, FLOAT)

    return image.bare([changed(band) for band in image.bands])


def _check_window(places: int, grid: Grid) -> None:
    if places * grid.width * grid.height > _MAX_WINDOW:
        raise OutOfMemory


def _differences(band: Band, grid: Grid) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Half the difference of the neighbours to the right and left, and below and above."""
    values, valid = padded(band, grid, 1, 1)
    v = values.astype(np.float64)
    across, down = (v[1:-1, 2:] - v[1:-1, :-2]) / 2, (v[2:, 1:-1] - v[:-2, 1:-1]) / 2
    return across, down, valid[1:-1, 2:] & valid[1:-1, :-2] & valid[2:, 1:-1] & valid[:-2, 1:-1] & valid[1:-1, 1:-1]


def _part(band: Band, name: str, make: Callable[[Grid, Floats, Floats], Floats]) -> Band:
    def read(grid: Grid) -> Pixels:
        across, down, known = _differences(band, grid)
        return Pixels(np.where(known, make(grid, across, down), 0).astype(np.float32), known)

    return band.derived(read, FLOAT).renamed(name)


@algorithm("Image.gradient", keeps="input")
def gradient(input: Image) -> Image:
    """The change of the first band per metre, along x and along y."""
    if not input.bands:
        raise EarthEngineError("The image has no bands.")
    band = input.bands[0]
    return input.bare(
        [
            _part(band, "x", lambda grid, across, down: across / grid.projection.nominal_scale),
            _part(band, "y", lambda grid, across, down: down / grid.projection.nominal_scale),
        ]
    )


@algorithm("Image.derivative", keeps="image")
def derivative(image: Image) -> Image:
    """The change of each band per pixel, along x and along y."""
    bands = []
    for band in image.bands:
        bands.append(_part(band, f"{band.name}_x", lambda grid, across, down: across))
        bands.append(_part(band, f"{band.name}_y", lambda grid, across, down: down))
    return image.bare(bands)


@algorithm("Image.zeroCrossing", keeps="image")
def zero_crossing(image: Image) -> Image:
    """1 where a value is positive and one of the neighbours is not."""

    def changed(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            values, valid = padded(band, grid, 1, 1)
            below = valid & (values <= 0)
            near = below[1:-1, 2:] | below[1:-1, :-2] | below[2:, 1:-1] | below[:-2, 1:-1]
            return Pixels(((values[1:-1, 1:-1] > 0) & near).astype(np.uint8), valid[1:-1, 1:-1])

        return band.derived(read, BOOLEAN)

    return image.bare([changed(band) for band in image.bands])


@algorithm("Image.neighborhoodToBands", keeps="image")
def neighbourhood_to_bands(image: Image, kernel: Kernel) -> Image:
    """A band for every place of the kernel that has a weight, named `band_x_y`."""
    scale = image.bands[0].projection.nominal_scale if image.bands else 1.0
    weights = kernel.weights(scale)
    rows, cols = np.nonzero(weights)
    if len(rows) * len(image.bands) > 10_000:
        raise OutOfMemory
    middle_y, middle_x = weights.shape[0] // 2, weights.shape[1] // 2
    places = [(int(c) - middle_x, int(r) - middle_y) for r, c in zip(rows, cols, strict=True)]
    return image.with_bands([_moved(band, x, y) for band in image.bands for x, y in places])


def _moved(band: Band, x: int, y: int) -> Band:
    def read(grid: Grid) -> Pixels:
        return band.pixels(grid.window(x, y, grid.width, grid.height))

    return band.derived(read).renamed(f"{band.name}_{x}_{y}")


@algorithm("Image.neighborhoodToArray", keeps="image")
def neighbourhood_to_array(image: Image, kernel: Kernel, defaultValue: float) -> Image:
    """The window around each pixel as an array of rows; masked pixels in it have a value."""

    def changed(band: Band) -> Band:
        kind = band.type.array(2)
        fill = cast(np.array(defaultValue), band.type)

        def read(grid: Grid) -> Pixels:
            height, width = kernel.weights(grid.projection.nominal_scale).shape
            _check_window(height * width, grid)
            values, valid = padded(band, grid, width // 2, height // 2)
            whole = np.where(valid, values, fill)
            windows = np.lib.stride_tricks.sliding_window_view(whole, (height, width))
            made: Any = objects(windows.reshape(-1, height, width).copy())
            return Pixels(made.reshape(grid.shape), band.pixels(grid).valid)

        return band.derived(read, kind)

    return image.with_bands([changed(band) for band in image.bands])


@algorithm("CannyEdgeDetector", keeps="image")
def canny(image: Image, threshold: float, sigma: float) -> Image:
    """The steepness where it is greatest along its direction and above a threshold, 0 elsewhere (Canny 1986)."""
    if not 0 <= sigma <= 50:
        raise EarthEngineError(f"Sigma must be from 0 to 50. Got {sigma}.")

    def changed(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            reach = int(np.ceil(3 * sigma))
            values, valid = padded(band, grid, reach + 2, reach + 2)
            smooth = _smoothed(values.astype(np.float64), sigma, reach)
            gx, gy = (smooth[1:-1, 2:] - smooth[1:-1, :-2]) / 2, (smooth[2:, 1:-1] - smooth[:-2, 1:-1]) / 2
            steep = np.hypot(gx, gy)
            return Pixels(np.where(_ridges(steep, gx, gy) & (steep[1:-1, 1:-1] > threshold), steep[1:-1, 1:-1], 0),
                          valid[reach + 2 : -reach - 2, reach + 2 : -reach - 2])  # fmt: skip

        return band.derived(read, DOUBLE)

    return image.bare([changed(band) for band in image.bands])


def _smoothed(values: Floats, sigma: float, reach: int) -> Floats:
    """Without `reach` pixels at each side."""
    if not reach:
        return values
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    bell /= bell.sum()
    for axis in (0, 1):
        values = np.apply_along_axis(lambda line: np.convolve(line, bell, "valid"), axis, values)
    return values


def _ridges(steep: Floats, gx: Floats, gy: Floats) -> NDArray[np.bool_]:
    """Where no pixel before or behind, in the direction of the steepest change, is steeper."""
    inner = (slice(1, -1), slice(1, -1))
    sector = np.round(np.degrees(np.arctan2(gy[inner], gx[inner])) / 45).astype(int) % 4
    found = np.zeros(sector.shape, bool)
    height, width = steep.shape
    for number, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = steep[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx]
        behind = steep[1 - dy : height - 1 - dy, 1 - dx : width - 1 - dx]
        found |= (sector == number) & (steep[inner] >= ahead) & (steep[inner] > behind)
    return found
