"""The pixels that were asked for, and where they lie in another grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eelocal.values.projection import Projection, Transform, determinant, transformer

Floats = NDArray[np.float64]


class Pixels(NamedTuple):
    """Values of a grid, shape (height, width), and where they are valid."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Grid:
    """Width x height pixels of a projection; (0, 0) is the pixel at the transform's origin."""

    crs: str
    transform: Transform
    width: int
    height: int

    @property
    def projection(self) -> Projection:
        """The projection whose pixels these are."""
        return Projection(self.crs, self.transform)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def window(self, col: int, row: int, width: int, height: int) -> Grid:
        """A part of the grid, or pixels beyond it on the same lattice."""
        a, b, c, d, e, f = self.transform
        origin = (a * col + b * row + c, d * col + e * row + f)
        return Grid(self.crs, (a, b, origin[0], d, e, origin[1]), width, height)

    def centres(self) -> tuple[Floats, Floats]:
        """X and y of pixel centres, each of shape (height, width)."""
        return apply(self.transform, *self._centre_indices())

    def corners(self) -> tuple[Floats, Floats]:
        """X and y of the grid's outline, every pixel edge up to 64 a side."""
        steps = np.linspace(0.0, 1.0, min(max(self.width, self.height), 64) + 1)
        u = np.concatenate([steps, np.ones_like(steps), steps[::-1], np.zeros_like(steps)]) * self.width
        v = np.concatenate([np.zeros_like(steps), steps, np.ones_like(steps), steps[::-1]]) * self.height
        return apply(self.transform, u, v)

    def _centre_indices(self) -> tuple[Floats, Floats]:
        cols = np.arange(self.width, dtype=np.float64) + 0.5
        rows = np.arange(self.height, dtype=np.float64) + 0.5
        return np.broadcast_to(cols, self.shape), np.broadcast_to(rows[:, None], self.shape)


def apply(transform: Transform, u: Any, v: Any) -> tuple[Any, Any]:
    """Pixel coordinates to coordinates of the system."""
    a, b, c, d, e, f = transform
    if b == 0 and d == 0:
        return u * a + c, v * e + f
    return u * a + v * b + c, u * d + v * e + f


def invert(transform: Transform) -> Transform:
    """Coordinates to pixel coordinates."""
    a, b, c, d, e, f = transform
    det = determinant(transform)
    ra, rb, rd, re = e / det, -b / det, -d / det, a / det
    return (ra, rb, -c * ra - f * rb, rd, re, -c * rd - f * re)


def to_pixels(transform: Transform, x: Any, y: Any) -> tuple[Any, Any]:
    """Fractional column and row of coordinates.

    Without shear, by division, so that coordinates which are multiples of the pixel size give whole numbers.
    """
    a, b, c, d, e, f = transform
    if b == 0 and d == 0:
        return (x - c) / a, (y - f) / e
    return apply(invert(transform), x, y)


def alignment(grid: Grid, projection: Projection) -> tuple[int, int] | None:
    """Column and row of the grid's first pixel in a projection's lattice, if their pixels coincide."""
    if grid.crs != projection.crs:
        return None
    ours, theirs = grid.transform, projection.transform
    size = max(abs(theirs[0]), abs(theirs[1]), abs(theirs[3]), abs(theirs[4]))
    # A window of 1e5 pixels may drift by 1e-4 of a pixel at most.
    if any(abs(ours[i] - theirs[i]) > 1e-9 * size for i in (0, 1, 3, 4)):
        return None
    col, row = to_pixels(theirs, ours[2], ours[5])
    if abs(col - round(col)) > 1e-4 or abs(row - round(row)) > 1e-4:
        return None
    return round(col), round(row)


def locate(grid: Grid, projection: Projection) -> tuple[Floats, Floats]:
    """Fractional columns and rows, in a projection's lattice, of the grid's pixel centres; inf where there are none."""
    x, y = grid.centres()
    if grid.crs != projection.crs:
        x, y = transformer(grid.crs, projection.crs).transform(x, y)
    return to_pixels(projection.transform, x, y)


def pyramid_level(grid: Grid, projection: Projection, width: int, height: int) -> int:
    """The level whose pixels are the largest that are no larger than the grid's.

    Levels end when the image fits into 256 x 256 pixels: https://developers.google.com/earth-engine/guides/scale
    """
    ratio = grid.projection.nominal_scale / projection.nominal_scale
    if ratio < 2 * (1 - 1e-9):
        return 0
    last = max(0, math.ceil(math.log2(max(width, height, 1) / 256)))
    return min(last, math.floor(math.log2(ratio * (1 + 1e-9))))


def level_transform(transform: Transform, level: int) -> Transform:
    """The transform of a pyramid level: same outer corner, pixels 2**level as large."""
    a, b, c, d, e, f = transform
    factor = float(2**level)
    return (a * factor, b * factor, c, d * factor, e * factor, f)
