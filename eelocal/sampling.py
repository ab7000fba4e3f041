"""Pixels of one grid looked up in another: nearest by default, as Earth Engine does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.errors import OutOfMemory
from eelocal.evaluation import current
from eelocal.grid import Floats, Grid, Pixels, alignment, level_transform, locate, pyramid_level
from eelocal.limits import MAX_PIXELS
from eelocal.values.projection import Projection

# (col, row, width, height) -> pixels of that window
ReadWindow = Callable[[int, int, int, int], Pixels]


def read_level(
    read: Callable[[int, int, int, int, int], Pixels], projection: Projection, width: int, height: int, grid: Grid
) -> Pixels:
    """Pixels of a grid from a stored pyramid, nearest neighbour.

    Args:
        read: (level, col, row, width, height) to pixels.
        projection: of level 0.
        width: of level 0.
        height: of level 0.
        grid: the pixels wanted.
    """
    parts = _turns(grid, projection)
    if len(parts) > 1:
        found = [read_level(read, projection, width, height, part) for part in parts]
        return Pixels(np.hstack([p.values for p in found]), np.hstack([p.valid for p in found]))
    (grid,) = parts
    level = pyramid_level(grid, projection, width, height)
    at_level = Projection(projection.crs, level_transform(projection.transform, level))
    aligned = alignment(grid, at_level)
    if aligned is not None:
        return read(level, *aligned, grid.width, grid.height)
    size = (-(-width // 2**level), -(-height // 2**level))
    return nearest(lambda c, r, w, h: read(level, c, r, w, h), at_level, grid, size)


def _turns(grid: Grid, projection: Projection) -> list[Grid]:
    """A grid in degrees, cut at the antimeridian, what is beyond it being a turn further back."""
    a, b, c, d, e, f = grid.transform
    if not (grid.crs == projection.crs and projection.is_geographic and b == d == 0 and a > 0):
        return [grid]
    first, last = c + a / 2, c + a * (grid.width - 0.5)
    if first >= -180 and last <= 180:
        return [grid]
    turns = np.floor((c + a * (np.arange(grid.width) + 0.5) + 180) / 360)
    starts = [0, *(np.flatnonzero(np.diff(turns)) + 1).tolist(), grid.width]
    return [
        Grid(grid.crs, (a, 0.0, c + a * start - 360 * turns[start], 0.0, e, f), end - start, grid.height)
        for start, end in itertools.pairwise(starts)
    ]


def nearest(read: ReadWindow, projection: Projection, grid: Grid, size: tuple[int, int] | None = None) -> Pixels:
    """Each pixel takes the value of the source pixel that contains its centre.

    Args:
        read: pixels of a window of the source.
        projection: of the source.
        grid: the pixels wanted.
        size: (width, height) of the source from (0, 0), None if it has no end.
    """
    cols, rows = located(grid, projection)
    with np.errstate(invalid="ignore"):
        inside = np.isfinite(cols) & np.isfinite(rows)
        if size is not None:
            inside &= (cols >= 0) & (rows >= 0) & (cols < size[0]) & (rows < size[1])
    if not inside.any():
        return empty(grid)
    everywhere = bool(inside.all())
    ci = np.floor(cols if everywhere else cols[inside]).astype(np.int64)
    ri = np.floor(rows if everywhere else rows[inside]).astype(np.int64)
    c0, r0 = int(ci.min()), int(ri.min())
    width, height = int(ci.max()) - c0 + 1, int(ri.max()) - r0 + 1
    check_window(width, height)
    window = read(c0, r0, width, height)
    picked = (ri - r0) * width + (ci - c0)
    values, valid = window.values.reshape(-1)[picked], window.valid.reshape(-1)[picked]
    if everywhere:
        return Pixels(values, valid)
    result = empty(grid, window.values.dtype)
    result.values[inside] = values
    result.valid[inside] = valid
    return result


def located(grid: Grid, projection: Projection) -> tuple[Floats, Floats]:
    """`locate`, remembered: all bands and images of one projection share it."""

    def size(found: tuple[Floats, Floats]) -> int:
        return int(found[0].size) * 16

    return current().remember(("located", grid, projection), lambda: locate(grid, projection), size)


def empty(grid: Grid, dtype: Any = np.uint8) -> Pixels:
    """Nothing but masked pixels."""
    return Pixels(np.zeros(grid.shape, dtype), np.zeros(grid.shape, bool))


def check_window(width: int, height: int) -> None:
    """Raises Earth Engine's memory error for a window that is too large to hold."""
    if width * height > MAX_PIXELS:
        raise OutOfMemory


def interpolated(read: ReadWindow, projection: Projection, grid: Grid, mode: str) -> Pixels:
    """Pixels interpolated between source pixel centres, bilinear or bicubic (Catmull-Rom, a = -0.5).

    Masked neighbours do not count; a pixel is valid where the nearest source pixel is.
    """
    cols, rows = located(grid, projection)
    if not (np.isfinite(cols).all() and np.isfinite(rows).all()):
        return nearest(read, projection, grid)
    u, v = cols - 0.5, rows - 0.5
    ci, ri = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    kernel, first, taps = _KERNELS[mode]
    c0, r0 = int(ci.min()) + first, int(ri.min()) + first
    width, height = int(ci.max()) - c0 + first + taps + 1, int(ri.max()) - r0 + first + taps + 1
    check_window(width, height)
    window = read(c0, r0, width, height)
    flat, ok = window.values.reshape(-1).astype(np.float64), window.valid.reshape(-1)
    total = np.zeros(grid.shape)
    weights = np.zeros(grid.shape)
    for dy in range(first, first + taps):
        wy = kernel(v - ri - dy)
        for dx in range(first, first + taps):
            at = (ri + dy - r0) * width + (ci + dx - c0)
            weight = wy * kernel(u - ci - dx) * ok[at]
            total += weight * flat[at]
            weights += weight
    centre = (np.floor(rows).astype(np.int64) - r0) * width + np.floor(cols).astype(np.int64) - c0
    valid = ok[centre] & (np.abs(weights) > 1e-9)
    return Pixels(np.divide(total, weights, out=np.zeros(grid.shape), where=valid), valid)


def _linear(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - np.abs(t))


def _cubic(t: NDArray[np.float64]) -> NDArray[np.float64]:
    s = np.abs(t)
    inner = (1.5 * s - 2.5) * s * s + 1
    outer = ((-0.5 * s + 2.5) * s - 4) * s + 2
    return np.where(s <= 1, inner, np.where(s < 2, outer, 0.0))


_KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], int, int]] = {
    "bilinear": (_linear, 0, 2),
    "bicubic": (_cubic, -1, 4),
}
