"""Radar backscatter of the landscape, and the angle of incidence.

Typical sigma nought at C band after F. T. Ulaby and M. C. Dobson, "Handbook of Radar Scattering Statistics for
Terrain", 1989, rounded; speckle as of a product with about five looks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world import utm
from eelocal.world.hashing import lattice_hash
from eelocal.world.materials import IS_FOREST, IS_WATER, TABLE, WORLDCOVER, Material
from eelocal.world.orbit import on_ground
from eelocal.world.strips import Strip
from eelocal.world.surface import Day
from eelocal.world.window import F32, Window

_SATELLITE_KM, _EARTH_KM = 6371.0 + 693.0, 6371.0
_NEAR, _FAR = 3.28, 5.55  # degrees from the track
_COLUMNS, _ROWS = 21, 10


def _table(water: float, forest: float, built: float, bare: float, green: float) -> NDArray[np.float32]:
    kinds = {80: water, 10: forest, 50: built, 60: bare}
    return np.array([kinds.get(int(WORLDCOVER[material]), green) for material in TABLE], np.float32)


_CO = _table(-20.5, -8.6, -3.2, -15.5, -12.6)  # VV or HH, dB at 38 degrees
_CROSS = _table(-28.5, -14.2, -10.5, -23.5, -20.2)
_CO[Material.SAND] = -19.0
_CROSS[Material.SAND] = -28.0


def angle_of(across: Any) -> NDArray[Any]:
    """Angle of incidence in degrees at places some degrees from the track."""
    central = np.radians(np.abs(across))
    look = np.arctan2(_EARTH_KM * np.sin(central), _SATELLITE_KM - _EARTH_KM * np.cos(central))
    return np.asarray(np.degrees(look + central))


def _speckle(window: Window, key: int) -> F32:
    """Decibels of noise, of its own for every pixel and pass: mean 0, standard deviation about 1.9."""
    columns = np.floor(window.xs / window.resolution).astype(np.int64)
    rows = np.floor(window.ys / window.resolution).astype(np.int64)
    hashes = lattice_hash(rows, columns, key)
    low, high = hashes & np.uint32(0xFFFF), hashes >> np.uint32(16)
    out: F32 = (low + high).astype(np.float32)
    out -= np.float32(65_535)
    out *= np.float32(4.65 / 65_535)
    return out


def _scatter(day: Day, window: Window, across: F32, key: int, base: NDArray[np.float32], leaf: float) -> NDArray[Any]:
    material = day.land.material
    out = base.take(material)
    crop = ~(IS_WATER | IS_FOREST | (WORLDCOVER == 50))
    out += np.float32(leaf) * day.green * crop.take(material)
    out += np.float32(9) * (day.land.tone - 1)
    out -= np.float32(1.5) * day.snow
    nodes = window.nodes(window.node_spacing(6400.0))
    wet = nodes.octaves((900, 0.8), (250, 0.5), seed=key)  # rain of the last days, or wind on the water
    out += np.float32(1.1) * window.spread(nodes, wet)
    angle = angle_of(across).astype(np.float32)
    out -= np.float32(0.14) * (angle - 38)
    out += _speckle(window, key)
    return out


def _co(day: Day, window: Window, across: F32, key: int) -> NDArray[Any]:
    return _scatter(day, window, across, key, _CO, 2.2)


def _cross(day: Day, window: Window, across: F32, key: int) -> NDArray[Any]:
    return _scatter(day, window, across, key + 1, _CROSS, 4.0)


DB = {"VV": _co, "HH": _co, "VH": _cross, "HV": _cross}


def incidence_grid(strip: Strip) -> tuple[float, float, float, float, float, float]:
    """Transform of the angle band: columns run across the track, rows along it; metres, signed northings."""
    sides = sorted((strip.near, strip.far), key=abs)
    across = np.array([sides[0], sides[1], sides[0]])
    along = np.array([strip.begin, strip.begin, strip.end])
    lon, lat = on_ground(across, along, strip.node_longitude, strip.inclination, strip.turn, strip.ascending)
    x, y = utm.forward(lon, lat, strip.zone)
    over = ((x[1] - x[0]) / (_COLUMNS - 1), (y[1] - y[0]) / (_COLUMNS - 1))
    down = ((x[2] - x[0]) / (_ROWS - 1), (y[2] - y[0]) / (_ROWS - 1))
    left = x[0] - (over[0] + down[0]) / 2  # the first pixel's middle is on the corner
    top = y[0] - (over[1] + down[1]) / 2
    return float(over[0]), float(down[0]), float(left), float(over[1]), float(down[1]), float(top)


def incidence(level: int, col: int, row: int, width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The angle band: it depends on the column alone."""
    step = 1 << level
    columns = np.arange(col, col + width)
    rows = np.arange(row, row + height)
    middle = (columns + 0.5) * step - 0.5
    across = _NEAR + (_FAR - _NEAR) * np.clip(middle, 0, _COLUMNS - 1) / (_COLUMNS - 1)
    values = np.broadcast_to(angle_of(across).astype(np.float32), (height, width)).copy()
    valid = (columns >= 0) & (columns < -(-_COLUMNS // step))
    there = valid[None, :] & ((rows >= 0) & (rows < -(-_ROWS // step)))[:, None]
    values[~there] = 0
    return values, there
