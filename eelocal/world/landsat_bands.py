"""The 19 bands of a Landsat 8 or 9 Level-2 image.

Surface reflectance is DN x 2.75e-05 - 0.2, surface temperature DN x 0.00341802 + 149 K; bits of QA_PIXEL after the
Landsat 8-9 Collection 2 Level 2 Science Product Guide (LSDS-1619): 21824 is clear land, 22280 cloud.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world.bandspec import BandSpec, Make
from eelocal.world.materials import IS_WATER, SPECTRAL_BANDS
from eelocal.world.surface import Day

_LIKE = {"SR_B1": "B1", "SR_B2": "B2", "SR_B3": "B3", "SR_B4": "B4", "SR_B5": "B8A", "SR_B6": "B11", "SR_B7": "B12"}
_CLEAR, _WATER, _SNOW, _SHADOW, _CLOUD, _CIRRUS, _DILATED = 21824, 21952, 30048, 23888, 22280, 54596, 21762


def _reflectance(index: int) -> Make:
    def make(day: Day) -> NDArray[Any]:
        values = day.reflectance(index)
        values += np.float32(0.2)
        values *= np.float32(1 / 2.75e-05)
        return np.clip(values, 1, 65_535, out=values)

    return make


def kelvin(day: Day) -> NDArray[Any]:
    """Temperature of the surface at ten in the morning; of the cloud where there is one."""
    water = IS_WATER.take(day.land.material)
    ground = np.where(water, day.warmth + 1, day.warmth + 4 + 14 * (1 - day.green) * (1 - day.snow))
    ground += (day.light - 1) * 6 * ~water
    ground -= day.sky.shadow * 5
    return np.asarray(273.15 + ground * (1 - day.sky.cloud) + day.sky.cloud * (day.warmth - 25))


def _temperature(day: Day) -> NDArray[Any]:
    return np.asarray((kelvin(day) - 149) / 0.00341802)


def _quality(day: Day) -> NDArray[Any]:
    out = np.where(IS_WATER.take(day.land.material), np.uint16(_WATER), np.uint16(_CLEAR))
    out[day.snow > 0.45] = _SNOW
    out[day.sky.shadow > 0.45] = _SHADOW
    out[day.sky.cirrus > 0.12] = _CIRRUS
    out[day.sky.cloud > 0.08] = _DILATED
    out[day.sky.cloud > 0.25] = _CLOUD
    return out


def _aerosol(day: Day) -> NDArray[Any]:
    """Bits 6-7: aerosol level, low but high about clouds; bit 1 valid, bit 2 water."""
    level = np.where(day.sky.cloud > 0.15, np.uint8(0xC0), np.uint8(0x40))
    return np.asarray(level | np.where(IS_WATER.take(day.land.material), np.uint8(4), np.uint8(2)))


def _saturated(day: Day) -> NDArray[Any]:
    return (day.sky.cloud * day.sky.depth > 1.2).astype(np.uint16)


def _constant(value: float) -> Make:
    return lambda day: np.full(day.green.shape, value, np.float32)


def _cloud_distance(day: Day) -> NDArray[Any]:
    """Kilometres x 100 to the next cloud; roughly, from how opaque the sky is here."""
    return np.asarray((1 - np.minimum(day.sky.cloud + day.sky.shadow, 1)) * 500)


def _all_bands() -> dict[str, BandSpec]:
    u8, u16, i16 = np.dtype("uint8"), np.dtype("uint16"), np.dtype("int16")
    specs = [BandSpec(name, 30, u16, _reflectance(SPECTRAL_BANDS.index(like))) for name, like in _LIKE.items()]
    specs += [
        BandSpec("SR_QA_AEROSOL", 30, u8, _aerosol, "SAMPLE"),
        BandSpec("ST_B10", 30, u16, _temperature),
        BandSpec("ST_ATRAN", 30, i16, _constant(8200)),
        BandSpec("ST_CDIST", 30, i16, _cloud_distance),
        BandSpec("ST_DRAD", 30, i16, _constant(900)),
        BandSpec("ST_EMIS", 30, i16, lambda day: 9600 + 250 * day.green),
        BandSpec("ST_EMSD", 30, i16, _constant(60)),
        BandSpec("ST_QA", 30, i16, lambda day: 180 + 400 * day.sky.cloud),
        BandSpec("ST_TRAD", 30, i16, lambda day: 5000 + 110 * day.warmth),
        BandSpec("ST_URAD", 30, i16, _constant(1500)),
        BandSpec("QA_PIXEL", 30, u16, _quality, "SAMPLE"),
        BandSpec("QA_RADSAT", 30, u16, _saturated, "SAMPLE"),
    ]
    return {spec.name: spec for spec in specs}


BANDS = _all_bands()
