"""A window of pixels in the frame of one UTM zone, and smooth fields on it.

The landscape lives in the coordinates of the UTM zones (easting, northing counted from the equator). Everything slow
is evaluated at the nodes of a lattice that is anchored at (0, 0), then drawn out to the pixels with a quadratic
B-spline; fine noise is the same spline over hashed nodes. All of it is elementwise arithmetic on anchored lattices, so
a pixel's value does not depend on the window it was asked in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world import utm
from eelocal.world.hashing import fold, lattice_hash, scalar_unit, unit

F32 = NDArray[np.float32]
_SPLINE_GAIN = np.float32(2.0 / 0.3175)  # spline noise of hashes in [0, 1) brought to a standard deviation of one
_SPHERE_GAIN = 1 / 0.187  # the same for trilinear noise with a cubic fade
_EARTH_KM = 6371.0


@dataclass(frozen=True)
class Nodes:
    """Nodes of an anchored lattice that cover a window: places and the lattice indices of the first one."""

    spacing: float
    first_column: int
    first_row: int
    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]

    @cached_property
    def xyz(self) -> NDArray[np.float64]:
        """Points in kilometres from the Earth's centre (a sphere is enough here), shape (rows, columns, 3)."""
        lon, lat = np.radians(self.longitude), np.radians(self.latitude)
        ring = np.cos(lat)
        return np.stack([ring * np.cos(lon), ring * np.sin(lon), np.sin(lat)], axis=-1) * _EARTH_KM

    def noise(self, wavelength_km: float, seed: int) -> NDArray[np.float64]:
        """Noise over the sphere with mean 0 and standard deviation about 1, the same in every zone."""
        return sphere_noise(self.xyz, wavelength_km, seed)

    def octaves(self, *parts: tuple[float, float], seed: int) -> NDArray[np.float64]:
        """Sum of noises given as (wavelength in km, weight)."""
        lengths = np.array([length for length, _ in parts])
        noises = sphere_noises(self.xyz, lengths, [seed + 101 * order for order in range(len(parts))])
        total = np.zeros(self.latitude.shape)
        for noise, (_, weight) in zip(noises, parts, strict=True):
            total += weight * noise
        return total


@dataclass(frozen=True)
class Window:
    """Pixels of a north-up grid in a zone's frame; (x, y) is the centre of the upper left pixel, metres."""

    zone: int
    x: float
    y: float
    resolution: float
    width: int
    height: int

    @cached_property
    def xs(self) -> NDArray[np.float64]:
        """Eastings of the pixel centres."""
        return np.asarray(self.x + self.resolution * np.arange(self.width), np.float64)

    @cached_property
    def ys(self) -> NDArray[np.float64]:
        """Signed northings of the pixel centres, from the north down."""
        return np.asarray(self.y - self.resolution * np.arange(self.height), np.float64)

    def moved(self, dx: float, dy: float) -> Window:
        """The same pixels, taken from a place (dx, dy) metres away."""
        return Window(self.zone, self.x + dx, self.y + dy, self.resolution, self.width, self.height)

    def padded(self, pixels: int) -> Window:
        """With some pixels more on each side."""
        shift = pixels * self.resolution
        size = 2 * pixels
        return Window(self.zone, self.x - shift, self.y + shift, self.resolution, self.width + size, self.height + size)

    def node_spacing(self, finest: float) -> float:
        """Spacing in metres for fields no finer than `finest`: doubled until a node stands for 8 pixels."""
        spacing = finest
        while spacing < 8 * self.resolution:
            spacing *= 2
        return spacing

    def nodes(self, spacing: float, margin: int = 0) -> Nodes:
        """The nodes that a spline over this window needs, with a margin of further ones."""
        columns = _reach(self.xs, spacing, margin)
        rows = _reach(self.ys, spacing, margin)
        return _nodes(self.zone, spacing, int(columns[0]), len(columns), int(rows[0]), len(rows))

    def spread(self, nodes: Nodes, values: NDArray[Any]) -> F32:
        """Values of the nodes drawn out to the pixels, shape (height, width)."""
        row_taps = _taps(self.ys, nodes.spacing, nodes.first_row)
        column_taps = _taps(self.xs, nodes.spacing, nodes.first_column)
        return _spline(values.astype(np.float32), row_taps, column_taps)

    def lattice(self, wavelength: float, seed: int) -> F32:
        """Fine noise of a wavelength in metres, mean 0, standard deviation about 1."""
        columns, rows = _reach(self.xs, wavelength, 0), _reach(self.ys, wavelength, 0)
        values = (unit(lattice_hash(rows, columns, seed)) - np.float32(0.5)) * _SPLINE_GAIN
        return _spline(values, _taps(self.ys, wavelength, int(rows[0])), _taps(self.xs, wavelength, int(columns[0])))

    def noise(self, wavelength: float, seed: int) -> F32:
        """`lattice`, of a longer wavelength where the pixels are too coarse for the one asked."""
        return self.lattice(max(wavelength, 2 * self.resolution), seed)


@lru_cache(maxsize=64)
def _nodes(zone: int, spacing: float, column: int, columns: int, row: int, rows: int) -> Nodes:
    east = (column + np.arange(columns) + 0.5) * spacing
    north = (row + np.arange(rows) + 0.5) * spacing
    lon, lat = utm.inverse(east[None, :], north[:, None], zone)
    return Nodes(spacing, column, row, lon, lat)


def _reach(coordinates: NDArray[np.float64], spacing: float, margin: int) -> NDArray[np.int64]:
    low, high = min(coordinates[0], coordinates[-1]), max(coordinates[0], coordinates[-1])
    first, last = int(np.floor(low / spacing)) - 1 - margin, int(np.floor(high / spacing)) + 1 + margin
    return np.arange(first, last + 1)


def _taps(coordinates: NDArray[np.float64], spacing: float, first: int) -> tuple[NDArray[np.intp], list[F32]]:
    scaled = coordinates / spacing
    whole = np.floor(scaled)
    part = (scaled - whole).astype(np.float32)
    rest = np.float32(1) - part
    weights = [rest * rest * np.float32(0.5), np.float32(0.5) + part * rest, part * part * np.float32(0.5)]
    return whole.astype(np.intp) - 1 - first, weights


def _spline(values: F32, rows: tuple[NDArray[np.intp], list[F32]], columns: tuple[NDArray[np.intp], list[F32]]) -> F32:
    index, weights = rows
    tall: F32 = values[index] * weights[0][:, None]
    tall += values[index + 1] * weights[1][:, None]
    tall += values[index + 2] * weights[2][:, None]
    index, weights = columns
    out: F32 = np.take(tall, index, axis=1)
    out *= weights[0]
    for step in (1, 2):
        term = np.take(tall, index + step, axis=1)
        term *= weights[step]
        out += term
    return out


@lru_cache(maxsize=4096)
def _rotation(seed: int) -> tuple[tuple[float, float, float], ...]:
    """A rotation of its own for each seed, so that the axes of the noises do not show as one grid."""
    q = np.array([scalar_unit("rotation", seed, part) - 0.5 for part in range(4)])
    w, x, y, z = (float(v) for v in q / np.sqrt(np.sum(q * q) + 1e-9))
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )


def sphere_noise(xyz: NDArray[np.float64], wavelength_km: float, seed: int) -> NDArray[np.float64]:
    """Trilinear value noise at points (..., 3) in kilometres, mean 0, standard deviation about 1."""
    return np.asarray(sphere_noises(xyz, np.array([wavelength_km]), [seed])[0])


def sphere_noises(
    xyz: NDArray[np.float64], wavelengths_km: NDArray[np.float64], seeds: Sequence[int]
) -> NDArray[np.float64]:
    """Several noises at the same points at once, the first axis: for few points numpy's calls are what costs."""
    flat = xyz.reshape(-1, 3)
    turns = np.array([_rotation(seed) for seed in seeds]) / wavelengths_km[:, None, None]
    x, y, z = flat[:, 0], flat[:, 1], flat[:, 2]
    place = turns[:, :, 0, None] * x + turns[:, :, 1, None] * y + turns[:, :, 2, None] * z  # (noise, axis, point)
    whole = np.floor(place)
    place -= whole
    fade = place * place * (3 - 2 * place)
    cell = whole.astype(np.int64)
    step = np.array([0, 1])
    key: NDArray[np.uint32] = np.array([seed & 0xFFFFFFFF for seed in seeds], np.uint32)[:, None]
    key = fold(cell[None, :, 0] + step[:, None, None], key)  # axes grow in front: the eight corners
    key = fold(cell[None, None, :, 1] + step[:, None, None, None], key)
    key = fold(cell[None, None, None, :, 2] + step[:, None, None, None, None], key)
    values = unit(key).astype(np.float64) - 0.5
    for axis in (2, 1, 0):
        values = values[0] + fade[:, axis] * (values[1] - values[0])
    return np.asarray((values * _SPHERE_GAIN).reshape(len(seeds), *xyz.shape[:-1]))
