"""The bands of Sentinel-2 images, 26 of Level-2A and 19 of Level-1C: grids, types, how each is made from a day.

Names, resolutions and types: Earth Engine's catalogue pages of COPERNICUS/S2_SR_HARMONIZED and
COPERNICUS/S2_HARMONIZED, and a recorded getInfo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world.bandspec import BandSpec, Make
from eelocal.world.materials import SPECTRAL_BANDS
from eelocal.world.surface import Day, scene_classes

QA60_GAP_MS = (1_643_068_800_000, 1_709_078_400_000)  # 2022-01-25 .. 2024-02-28: QA60 is masked
CLASSI_START_MS = 1_706_745_600_000  # 2024-02-01: MSK_CLASSI_* are masked before
_RESOLUTION = dict.fromkeys(SPECTRAL_BANDS, 20) | {"B1": 60, "B9": 60, "B2": 10, "B3": 10, "B4": 10, "B8": 10}
_SCATTER = np.array((0.105, 0.075, 0.042, 0.024, 0.018, 0.013, 0.010, 0.008, 0.006, 0.005, 0.002, 0.001), np.float32)
_TCI_WHITE = 3558  # reflectance x 10000 that is 255 in the true-colour image


def _reflectance(index: int) -> Make:
    def make(day: Day) -> NDArray[Any]:
        values = day.reflectance(index)
        values *= np.float32(10_000)
        return np.maximum(values, np.float32(1), out=values)

    return make


def _true_colour(index: int) -> Make:
    def make(day: Day) -> NDArray[Any]:
        values = day.reflectance(index)
        values *= np.float32(10_000 * 255 / _TCI_WHITE)
        return np.asarray(np.clip(values, 1, 255))

    return make


def _aerosol(day: Day) -> NDArray[Any]:
    return np.asarray(np.float32(60 + 180 * day.haze) + day.sky.cirrus * 300)


def _vapour(day: Day) -> NDArray[Any]:
    return np.asarray(np.float32(700 + 900 * day.haze) + day.sky.cloud * 1500 - np.minimum(day.land.height * 0.2, 500))


def _cloud_probability(day: Day) -> NDArray[Any]:
    return np.asarray(np.maximum(day.sky.cloud * 100, np.minimum(day.sky.cirrus * 150, 40)))


def _snow_probability(day: Day) -> NDArray[Any]:
    return np.asarray(day.snow * 100 * (1 - day.sky.cloud))


def _nothing(dtype: str) -> Make:
    return lambda day: np.zeros(day.green.shape, dtype)


def _qa60(day: Day) -> NDArray[Any]:
    opaque = (day.sky.cloud > 0.6).astype(np.uint16) << 10
    cirrus = ((day.sky.cirrus > 0.1) & (opaque == 0)).astype(np.uint16) << 11
    return np.asarray(opaque | cirrus)


def _flag(find: Callable[[Day], NDArray[np.bool_]]) -> Make:
    return lambda day: find(day).astype(np.uint8)


def _top_of_atmosphere(index: int) -> Make:
    """Reflectance with the air still in it: what scatters comes on top, most in the blue."""

    def make(day: Day) -> NDArray[Any]:
        values = day.reflectance(index)
        values *= np.float32(1) - _SCATTER[index] * np.float32(0.8)
        values += _SCATTER[index]
        values *= np.float32(10_000)
        return values

    return make


def _cirrus_band(day: Day) -> NDArray[Any]:
    return np.asarray(np.float32(12) + day.sky.cirrus * 900 + day.sky.cloud * day.sky.depth * 60)


def _masks() -> list[BandSpec]:
    u8, u16, u32 = np.dtype("uint8"), np.dtype("uint16"), np.dtype("uint32")
    early = (float("-inf"), CLASSI_START_MS)
    return [
        BandSpec("QA10", 10, u16, _nothing("uint16"), "SAMPLE"),
        BandSpec("QA20", 20, u32, _nothing("uint32"), "SAMPLE"),
        BandSpec("QA60", 60, u16, _qa60, "SAMPLE", QA60_GAP_MS),
        BandSpec("MSK_CLASSI_OPAQUE", 60, u8, _flag(lambda day: day.sky.cloud > 0.6), "SAMPLE", early),
        BandSpec("MSK_CLASSI_CIRRUS", 60, u8, _flag(lambda day: day.sky.cirrus > 0.1), "SAMPLE", early),
        BandSpec("MSK_CLASSI_SNOW_ICE", 60, u8, _flag(lambda day: day.snow > 0.5), "SAMPLE", early),
    ]


def _level_2a() -> dict[str, BandSpec]:
    u8, u16 = np.dtype("uint8"), np.dtype("uint16")
    specs = [BandSpec(name, _RESOLUTION[name], u16, _reflectance(i)) for i, name in enumerate(SPECTRAL_BANDS)]
    specs += [
        BandSpec("AOT", 10, u16, _aerosol),
        BandSpec("WVP", 10, u16, _vapour),
        BandSpec("SCL", 20, u8, scene_classes, "MODE"),
        BandSpec("TCI_R", 10, u8, _true_colour(3)),
        BandSpec("TCI_G", 10, u8, _true_colour(2)),
        BandSpec("TCI_B", 10, u8, _true_colour(1)),
        BandSpec("MSK_CLDPRB", 20, u8, _cloud_probability),
        BandSpec("MSK_SNWPRB", 20, u8, _snow_probability),
    ]
    return {spec.name: spec for spec in specs + _masks()}


def _level_1c() -> dict[str, BandSpec]:
    u16 = np.dtype("uint16")
    specs = [BandSpec(name, _RESOLUTION[name], u16, _top_of_atmosphere(i)) for i, name in enumerate(SPECTRAL_BANDS)]
    specs.insert(SPECTRAL_BANDS.index("B11"), BandSpec("B10", 60, u16, _cirrus_band))
    return {spec.name: spec for spec in specs + _masks()}


LEVEL_2A = _level_2a()
LEVEL_1C = _level_1c()
CLOUD_PROBABILITY = {"probability": BandSpec("probability", 10, np.dtype("uint8"), _cloud_probability)}
