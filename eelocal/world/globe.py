"""Rasters that cover the Earth in one grid: longitude and latitude, or the sinusoidal grid of MODIS.

Their pixels are carried into the zones' frames, where the landscape is, and back. Places are worked out at every
sixteenth pixel, counted from the raster's corner, and interpolated: no request moves them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world import utm
from eelocal.world.window import _EARTH_KM, Nodes, Window

Floats = NDArray[np.float64]
LONLAT = "EPSG:4326"
SINUSOIDAL = "SR-ORG:6974"
_MODIS_RADIUS = 6371007.181  # metres, of the sphere of SR-ORG:6974
_KNOT = 16  # pixels
_BLOCK = 256  # pixels
_METRES_PER_DEGREE = 1000 * _EARTH_KM * np.pi / 180


@dataclass(frozen=True)
class Places:
    """Where the pixels of a block are, degrees; `spacing` is their distance in metres."""

    longitude: Floats
    latitude: Floats
    spacing: float

    @property
    def nodes(self) -> Nodes:
        """The same places, to evaluate fields at."""
        return Nodes(self.spacing, 0, 0, self.longitude, self.latitude)


@dataclass(frozen=True)
class GlobalGrid:
    """A grid over the Earth, or a part of it: `transform` in Earth Engine's order."""

    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int

    def at_level(self, level: int) -> GlobalGrid:
        """The grid of a pyramid level."""
        step = 1 << level
        sx, _, left, _, sy, top = self.transform
        size = (-(-self.width // step), -(-self.height // step))
        return GlobalGrid(self.crs, (sx * step, 0, left, 0, sy * step, top), *size)

    @property
    def spacing(self) -> float:
        """Height of a pixel in metres."""
        height = abs(self.transform[4])
        return float(height * _METRES_PER_DEGREE) if self.crs == LONLAT else height

    def lonlat(self, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Longitude and latitude at fractional columns and rows (0.5 is the middle of the first pixel)."""
        sx, _, left, _, sy, top = self.transform
        x, y = left + sx * columns, top + sy * rows
        if self.crs == LONLAT:
            return x, y
        latitude = np.degrees(y / _MODIS_RADIUS)
        ring = np.maximum(np.cos(np.radians(latitude)), 1e-9)
        return np.degrees(x / _MODIS_RADIUS) / ring, latitude

    def blocks(self, col: int, row: int, width: int, height: int) -> Iterator[tuple[slice, slice]]:
        """The part of a window that lies on the grid, cut along multiples of the block size: (rows, columns)."""
        for top in _cuts(max(row, 0), min(row + height, self.height)):
            for left in _cuts(max(col, 0), min(col + width, self.width)):
                yield top, left

    def places(self, rows: slice, columns: slice) -> Places:
        """Middles of the pixels of a block."""
        x, y = np.arange(columns.start, columns.stop) + 0.5, np.arange(rows.start, rows.stop) + 0.5
        lon, lat = self.lonlat(np.asarray(x[None, :], np.float64), np.asarray(y[:, None], np.float64))
        lon, lat = np.broadcast_arrays(lon, lat)
        return Places(lon, lat, self.spacing)

    def sample(
        self, rows: slice, columns: slice, resolution: float, make: Callable[[Window], NDArray[Any]]
    ) -> NDArray[Any]:
        """Values of the landscape at the pixels of a block.

        Args:
            rows: rows of the block.
            columns: its columns.
            resolution: metres per pixel of the windows that are made; the nearest pixel is taken.
            make: values of a window in a zone's frame.
        """
        places = self.places(rows, columns)
        zones = np.floor((places.longitude + 180) / 6).astype(np.int64) % 60 + 1
        out: NDArray[Any] | None = None
        for zone in np.unique(zones):
            mine = zones == zone
            east, north = self._carried(rows, columns, int(zone))
            values = _nearest(east[mine], north[mine], int(zone), resolution, make)
            if out is None:
                out = np.zeros(mine.shape, values.dtype)
            out[mine] = values
        if out is None:
            raise ValueError(f"an empty block: rows {rows}, columns {columns}")
        return out

    def _carried(self, rows: slice, columns: slice, zone: int) -> tuple[Floats, Floats]:
        """Easting and northing of the pixels' middles in a zone, interpolated between anchored knots."""
        x, y = _knots(columns), _knots(rows)
        lon, lat = self.lonlat(x[None, :].astype(np.float64), y[:, None].astype(np.float64))
        lon, lat = np.broadcast_arrays(lon, lat)
        meridian = utm.central_meridian(zone)
        lon = np.clip((lon - meridian + 180) % 360 - 180, -20, 20) + meridian
        east, north = utm.forward(lon, np.clip(lat, -89.9, 89.9), zone)
        return _between(east, rows, columns, y, x), _between(north, rows, columns, y, x)


def _cuts(start: int, stop: int) -> list[slice]:
    edges = [start, *range((start // _BLOCK + 1) * _BLOCK, stop, _BLOCK), stop]
    return [slice(a, b) for a, b in pairwise(edges) if a < b]


def _knots(part: slice) -> NDArray[np.int64]:
    return np.arange(part.start // _KNOT, -(-part.stop // _KNOT) + 1) * _KNOT


def _between(values: Floats, rows: slice, columns: slice, y: NDArray[np.int64], x: NDArray[np.int64]) -> Floats:
    for axis, part, knots in ((0, rows, y), (1, columns, x)):
        at = (np.arange(part.start, part.stop) + 0.5 - knots[0]) / _KNOT
        whole = at.astype(np.int64)
        share = np.expand_dims(at - whole, 1 - axis)
        low, high = np.take(values, whole, axis), np.take(values, whole + 1, axis)
        values = low + (high - low) * share
    return values


def _nearest(
    east: Floats, north: Floats, zone: int, resolution: float, make: Callable[[Window], NDArray[Any]]
) -> NDArray[Any]:
    column, row = np.floor(east / resolution).astype(np.int64), np.floor(north / resolution).astype(np.int64)
    left, top = int(column.min()), int(row.max())
    window = Window(
        zone,
        (left + 0.5) * resolution,
        (top + 0.5) * resolution,
        resolution,
        int(column.max()) - left + 1,
        top - int(row.min()) + 1,
    )
    return make(window)[top - row, column - left]
