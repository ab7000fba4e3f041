"""Cutting a request for pixels into pieces that are computed one by one.

Cuts run along lines of the projection that divide 100 km evenly, not along the request, so that a place is computed
under the same sun and lands in the same piece of the store whichever granule or window asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world import utm
from eelocal.world.window import Window

_CELLS = (5_000, 10_000, 20_000, 25_000, 50_000, 100_000)  # metres
_PIXELS = 400  # a piece is about this wide, at least
_LATTICE = 1600.0  # metres, between the nodes at which places are carried from zone to zone


@dataclass(frozen=True)
class Raster:
    """A north-up grid in a zone's frame: `left` and signed `top` of its corner, metres."""

    zone: int
    left: float
    top: float
    resolution: float
    width: int
    height: int

    def at_level(self, level: int) -> Raster:
        """The grid of a pyramid level: same corner, pixels 2**level times as wide."""
        step = 1 << level
        return Raster(
            self.zone, self.left, self.top, self.resolution * step, -(-self.width // step), -(-self.height // step)
        )

    def pieces(self, col: int, row: int, width: int, height: int, samples: int) -> Iterator[Piece]:
        """Pieces of the part of a window that lies on the grid.

        Args:
            col: first column of the window; it may be negative.
            row: first row.
            width: columns.
            height: rows.
            samples: how many samples a side will be taken of a pixel; more make the pieces smaller.
        """
        cell = next((c for c in _CELLS if c * samples >= _PIXELS * self.resolution), _CELLS[-1])
        columns = np.arange(max(col, 0), min(col + width, self.width))
        rows = np.arange(max(row, 0), min(row + height, self.height))
        xs = np.asarray(self.left + (columns + 0.5) * self.resolution, np.float64)
        ys = np.asarray(self.top - (rows + 0.5) * self.resolution, np.float64)
        for y0, y1 in _runs(ys, cell):
            for x0, x1 in _runs(xs, cell):
                window = Window(self.zone, float(xs[x0]), float(ys[y0]), self.resolution, x1 - x0, y1 - y0)
                target = (
                    slice(int(rows[y0]) - row, int(rows[y1 - 1]) - row + 1),
                    slice(int(columns[x0]) - col, int(columns[x1 - 1]) - col + 1),
                )
                yield Piece(window, target)


@dataclass(frozen=True)
class Piece:
    """A window to compute and where its pixels go in the request's array."""

    window: Window
    target: tuple[slice, slice]


def _runs(coordinates: NDArray[np.float64], cell: float) -> list[tuple[int, int]]:
    """Stretches of coordinates within one cell each."""
    if len(coordinates) == 0:
        return []
    cuts = np.flatnonzero(np.diff(np.floor(coordinates / cell))) + 1
    edges = [0, *cuts.tolist(), len(coordinates)]
    return list(pairwise(edges))


def finer(window: Window) -> Window:
    """Four samples for every pixel of a window."""
    half = window.resolution / 2
    return Window(window.zone, window.x - half / 2, window.y + half / 2, half, 2 * window.width, 2 * window.height)


def mean_of_four(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples of `finer` averaged over each pixel."""
    total = samples[0::2, 0::2].astype(np.float32)
    for rows, columns in ((0, 1), (1, 0), (1, 1)):
        total += samples[rows::2, columns::2]
    total *= np.float32(0.25)
    return total


def across_zones(window: Window, make: Callable[[Window], NDArray[Any]]) -> NDArray[Any]:
    """Pixels of a window, each made in the frame of the zone it lies in.

    The landscape is laid out zone by zone. A granule reaches over the edge of its zone; what lies beyond is made on
    the neighbour's own grid and taken from there by nearest pixel, so that both granules show the same fields.
    """
    nodes = window.nodes(_lattice(window))
    turn = utm.central_meridian(window.zone)
    beyond = np.floor((nodes.longitude - turn + 3) / 6).astype(np.int64)
    if not beyond.any():
        return make(window)
    longitude = window.spread(nodes, nodes.longitude - turn)
    steps = np.floor((longitude + 3) / 6).astype(np.int64)
    out: NDArray[Any] | None = None
    for step in np.unique(steps):
        zone = (window.zone - 1 + int(step)) % 60 + 1
        mine = steps == step
        values = make(window) if step == 0 else _borrowed(window, zone, mine, make)
        if out is None:
            out = np.zeros(values.shape, values.dtype)
        out[mine] = values[mine]
    if out is None:
        raise ValueError(f"an empty window: {window}")
    return out


def _lattice(window: Window) -> float:
    return _LATTICE if window.resolution < 800 else 2 * window.resolution


def _borrowed(
    window: Window, zone: int, mine: NDArray[np.bool_], make: Callable[[Window], NDArray[Any]]
) -> NDArray[Any]:
    """Pixels of a window taken from the grid of another zone; only those of `mine` are right."""
    rows, columns = np.nonzero(mine)
    size = window.resolution
    nodes = window.nodes(_lattice(window))
    east, north = utm.forward(nodes.longitude, nodes.latitude, zone)
    offset = (float(np.floor(east.min())), float(np.floor(north.min())))  # float32 holds what is left to a centimetre
    across = window.spread(nodes, east - offset[0])[mine].astype(np.float64) + offset[0]
    down = window.spread(nodes, north - offset[1])[mine].astype(np.float64) + offset[1]
    column, row = np.floor(across / size).astype(np.int64), np.floor(down / size).astype(np.int64)
    left, top = int(column.min()), int(row.max())
    cover = Window(
        zone,
        (left + 0.5) * size,
        (top + 0.5) * size,
        size,
        int(column.max()) - left + 1,
        top - int(row.min()) + 1,
    )
    made = make(cover)
    values = np.zeros(mine.shape, made.dtype)
    values[rows, columns] = made[top - row, column - left]
    return values
