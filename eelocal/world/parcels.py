"""How people divide the land: blocks between roads, fields within blocks.

Blocks are the cells of a jittered Voronoi diagram, about 1.2 km wide; where the land was surveyed in squares they are
squares. Each block has its own direction and is cut into rows of fields of its own size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eelocal.world import utm
from eelocal.world.hashing import fold, lattice_hash, mix, unit
from eelocal.world.terrain import smooth
from eelocal.world.window import _EARTH_KM, F32, Window, sphere_noise

CELL = 1200.0  # metres
U32 = NDArray[np.uint32]


@dataclass(frozen=True)
class Parcels:
    """For every pixel: who it belongs to and how far it is from the edges, metres."""

    block: U32  # hash of the block
    field: U32  # hash of the field
    road: U32  # hash of the edge to the nearest other block: the same on both sides
    block_edge: F32
    field_edge: F32
    along: F32  # metres from the block's middle along its rows
    across: F32


@dataclass(frozen=True)
class _Seeds:
    x: F32  # metres from the window's first pixel
    y: F32
    key: U32
    cos: F32
    sin: F32
    length: F32
    depth: F32


def parcels(window: Window) -> Parcels:
    """The blocks and fields of a window."""
    columns = np.floor(window.xs / CELL).astype(np.int64)
    rows = np.floor(window.ys / CELL).astype(np.int64)
    first_column, last_row = int(columns[0]) - 1, int(rows[-1]) - 1
    seeds = _seeds(window, np.arange(first_column, columns[-1] + 2), np.arange(last_row, rows[0] + 2))
    width = int(columns[-1]) + 2 - first_column
    x = (window.xs - window.x).astype(np.float32)[None, :]
    y = (window.ys - window.y).astype(np.float32)[:, None]
    home = ((rows - last_row) * width)[:, None] + (columns - first_column)[None, :]
    first, second, near, far = _two_nearest(x, y, home, width, seeds)
    apart = np.hypot(seeds.x.take(first) - seeds.x.take(second), seeds.y.take(first) - seeds.y.take(second))
    block_edge = (far - near) / (2 * apart)
    return _fields(x, y, first, second, block_edge, seeds)


def _seeds(window: Window, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> _Seeds:
    key = lattice_hash(rows, columns, 301)
    chance = [unit(fold(key, 310 + order)) for order in range(5)]
    lon, lat = utm.inverse((columns[None, :] + 0.5) * CELL, (rows[:, None] + 0.5) * CELL, window.zone)
    lon, lat = np.radians(lon), np.radians(lat)
    place = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1) * _EARTH_KM
    surveyed = smooth(0.5, 0.7, sphere_noise(place, 700, 321)).astype(np.float32)
    jitter = np.float32(0.86) * (1 - surveyed)
    x = (columns[None, :] + 0.5 + jitter * (chance[0] - 0.5)) * CELL - window.x
    y = (rows[:, None] + 0.5 + jitter * (chance[1] - 0.5)) * CELL - window.y
    angle = (1 - surveyed) * (0.5 * sphere_noise(place, 25, 322) + 1.1 * (chance[2] - 0.5))
    length = np.where(surveyed > 0.5, np.where(chance[3] > 0.5, 600, 400), 110 + 260 * chance[3])
    depth = np.where(surveyed > 0.5, np.where(chance[4] > 0.4, 400, 200), 70 + 150 * chance[4])
    flat = [np.ascontiguousarray(a, np.float32).ravel() for a in (x, y, np.cos(angle), np.sin(angle), length, depth)]
    return _Seeds(flat[0], flat[1], key.ravel(), *flat[2:])


def _two_nearest(
    x: F32, y: F32, home: NDArray[np.int64], width: int, seeds: _Seeds
) -> tuple[NDArray[np.int64], NDArray[np.int64], F32, F32]:
    """Indices of the nearest and second nearest seed of every pixel, and the squares of their distances."""
    near = np.full(home.shape, np.inf, np.float32)
    far = near.copy()
    first, second = home.copy(), home.copy()
    for step in (0, 1, -1, width, -width, width + 1, width - 1, 1 - width, -width - 1):
        index = home + step
        dx = x - seeds.x.take(index)
        dy = y - seeds.y.take(index)
        dx *= dx
        dy *= dy
        dx += dy
        closer = dx < near
        runner = dx < far
        runner &= ~closer
        np.copyto(far, dx, where=runner)
        np.copyto(second, index, where=runner)
        np.copyto(far, near, where=closer)
        np.copyto(second, first, where=closer)
        np.copyto(near, dx, where=closer)
        np.copyto(first, index, where=closer)
    return first, second, near, far


def _fields(
    x: F32, y: F32, first: NDArray[np.int64], second: NDArray[np.int64], block_edge: F32, seeds: _Seeds
) -> Parcels:
    dx, dy = x - seeds.x.take(first), y - seeds.y.take(first)
    cos, sin = seeds.cos.take(first), seeds.sin.take(first)
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    key = seeds.key.take(first)
    depth = seeds.depth.take(first)
    row = across / depth + np.float32(0.37)
    row_floor = np.floor(row)
    row_key = mix(key ^ (row_floor.astype(np.int32).astype(np.uint32) * np.uint32(0x85EBCA6B)))
    length = seeds.length.take(first) * (np.float32(0.6) + unit(row_key))
    place = along / length + unit(row_key * np.uint32(0x9E3779B1))
    place_floor = np.floor(place)
    field = mix(row_key ^ (place_floor.astype(np.int32).astype(np.uint32) * np.uint32(0xC2B2AE35)))
    row -= row_floor
    place -= place_floor
    edge = np.minimum(np.minimum(row, 1 - row) * depth, np.minimum(place, 1 - place) * length)
    road = mix(key ^ seeds.key.take(second))
    return Parcels(key, field, road, block_edge, np.minimum(edge, block_edge), along, across)
