"""What a satellite sees of a window on one day: the landscape in its season under its sky, band by band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eelocal.world.cache import ByteCache
from eelocal.world.landscape import Landscape, landscape
from eelocal.world.materials import BARE, CLOUD, GREEN, GREENNESS, IS_FOREST, IS_WATER, PHASES, SNOW
from eelocal.world.sun import Sun
from eelocal.world.terrain import smooth
from eelocal.world.weather import Overpass, Sky, clear_sky, sky, temperature
from eelocal.world.window import F32, Window

_LAPSE = np.float32(0.0065)  # degrees per metre of height
_SNOW_HOLD = np.where(IS_WATER, 0.0, np.where(IS_FOREST, 0.35, 1.0)).astype(np.float32)
_DIFFUSE = np.array((0.50, 0.46, 0.40, 0.36, 0.33, 0.31, 0.30, 0.30, 0.29, 0.29, 0.26, 0.25), np.float32)
_HAZE = np.array((0.030, 0.024, 0.015, 0.010, 0.008, 0.006, 0.005, 0.004, 0.004, 0.002, 0.001, 0.0), np.float32)

_landscapes: ByteCache[Landscape] = ByteCache(192 << 20)


@dataclass(frozen=True)
class Day:
    """A window on one day; every array is of shape (height, width)."""

    land: Landscape
    green: F32  # share of green leaves
    light: F32  # brightness of the ground by its texture, slope and the sun
    snow: F32  # share of the pixel under snow
    warmth: F32  # daily mean temperature of the air, degrees Celsius
    sky: Sky
    haze: float

    @property
    def nbytes(self) -> int:
        """Memory it takes, its landscape not counted."""
        return self.green.size * 32

    def ground(self, band: int) -> F32:
        """Reflectance of the ground in the band of that index, as if there were no sky."""
        bare, green = BARE[:, band], GREEN[:, band]
        out = (green - bare).take(self.land.material)
        out *= self.green
        out += bare.take(self.land.material)
        out *= self.light
        white = SNOW[band] * np.float32(0.94) - out
        white *= self.snow
        out += white
        return out

    def reflectance(self, band: int) -> F32:
        """Reflectance (0..1, above 1 on bright clouds) in the band of that index, clouds and shadows included."""
        out = self.ground(band)
        out += _HAZE[band] * np.float32(self.haze)
        shade = self.sky.shadow * (_DIFFUSE[band] - 1)
        shade += 1
        out *= shade
        for opacity, bright in ((self.sky.cirrus, np.float32(0.75)), (self.sky.cloud, self.sky.depth)):
            veil = CLOUD[band] * bright - out
            veil *= opacity
            out += veil
        return out


_days: ByteCache[Day] = ByteCache(192 << 20)


def ground_of(window: Window) -> Landscape:
    """The landscape of a window, from the store if it was made lately."""
    return _landscapes.get(window, lambda: landscape(window))


def day_of(window: Window, overpass: Overpass, sun: Sun, clear: bool = False) -> Day:
    """A window as an overpass sees it, from the store if it was made lately; `clear` leaves the clouds out."""
    return _days.get((window, overpass, sun, clear), lambda: _make_day(window, overpass, sun, clear))


def _make_day(window: Window, overpass: Overpass, sun: Sun, clear: bool) -> Day:
    land = ground_of(window)
    phase = land.phase + np.uint8(int(overpass.year * PHASES) % PHASES)
    green = GREENNESS.ravel().take(land.material.astype(np.int32) * PHASES + phase)
    green *= land.vigour
    np.clip(green, 0, 1, out=green)
    nodes = window.nodes(window.node_spacing(6400.0))
    warmth = window.spread(nodes, temperature(nodes, overpass))
    warmth -= land.height * _LAPSE
    snow = (1 - smooth(-6.0, -1.5, warmth)).astype(np.float32) if warmth.min() < -1.5 else np.zeros_like(warmth)
    snow *= _SNOW_HOLD.take(land.material)
    haze = 0.3 + (overpass.key % 997) / 997
    above = clear_sky(window) if clear else sky(window, overpass, sun)
    return Day(land, green, _light(land, sun), snow, warmth, above, haze)


def _light(land: Landscape, sun: Sun) -> F32:
    """Brightness by slope: what faces the sun is brighter, as far as terrain correction leaves it."""
    east, north = sun.toward
    tilt: F32 = land.east_slope * np.float32(-0.75 * east)
    tilt -= land.north_slope * np.float32(0.75 * north)
    np.clip(tilt, -0.75, 0.8, out=tilt)
    tilt += 1
    tilt *= land.tone
    return tilt


def scene_classes(day: Day) -> NDArray[np.uint8]:
    """Scene classification (SCL): 2 dark, 3 shadow, 4 green, 5 bare, 6 water, 7 unsure, 8 to 10 cloud, 11 snow."""
    out = np.where(day.green > np.float32(0.30), np.uint8(4), np.uint8(5))
    out[(day.light < np.float32(0.45))] = 2
    out[IS_WATER.take(day.land.material)] = 6
    out[day.snow > np.float32(0.45)] = 11
    cloud, cirrus = day.sky.cloud, day.sky.cirrus
    out[day.sky.shadow > np.float32(0.45)] = 3
    out[(cloud > np.float32(0.06)) & (cloud <= np.float32(0.20))] = 7
    out[cirrus > np.float32(0.10)] = 10
    out[cloud > np.float32(0.20)] = 8
    out[cloud > np.float32(0.60)] = 9
    return out
