"""The 26 bands of a Sentinel-2 Level-2A image: grids, types, and how each is made from a day.

Names, resolutions and types: Earth Engine's catalogue page of COPERNICUS/S2_SR_HARMONIZED and a recorded getInfo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.assets import Band
from eelocal.world.materials import SPECTRAL_BANDS
from eelocal.world.surface import Day, scene_classes

Make = Callable[[Day], NDArray[Any]]

QA60_GAP_MS = (1_643_068_800_000, 1_709_078_400_000)  # 2022-01-25 .. 2024-02-28: QA60 is masked
CLASSI_START_MS = 1_706_745_600_000  # 2024-02-01: MSK_CLASSI_* are masked before
_EXTENT = 109_800
_TCI_WHITE = 3558  # reflectance x 10000 that is 255 in the true-colour image


@dataclass(frozen=True)
class BandSpec:
    """One band: metres per pixel, type, and its values (before rounding to the type) for the samples of a day."""

    name: str
    resolution: int
    dtype: np.dtype[Any]
    make: Make
    pyramiding: str = "MEAN"
    masked_ms: tuple[float, float] | None = None  # scenes in [from, to) have no valid pixel

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest value of the type."""
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    def present(self, time_ms: float) -> bool:
        """Whether scenes of that time have data in this band."""
        return self.masked_ms is None or not self.masked_ms[0] <= time_ms < self.masked_ms[1]

    def band(self, crs: str, left: int, northing: int) -> Band:
        """The stored band of a granule with that upper left corner."""
        size = _EXTENT // self.resolution
        transform = (self.resolution, 0, left, 0, -self.resolution, northing)
        return Band(self.name, self.dtype, crs, transform, size, size, self.limits, self.pyramiding)

    def typed(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values rounded and held within the type; never wrapped."""
        if values.dtype == self.dtype:
            return values
        low, high = self.limits
        return np.asarray(np.clip(np.rint(values), low, high), self.dtype)


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


def _all_bands() -> dict[str, BandSpec]:
    u8, u16, u32 = np.dtype("uint8"), np.dtype("uint16"), np.dtype("uint32")
    resolution = dict.fromkeys(SPECTRAL_BANDS, 20)
    resolution |= {"B1": 60, "B9": 60, "B2": 10, "B3": 10, "B4": 10, "B8": 10}
    specs = [BandSpec(name, resolution[name], u16, _reflectance(index)) for index, name in enumerate(SPECTRAL_BANDS)]
    early = (float("-inf"), CLASSI_START_MS)
    specs += [
        BandSpec("AOT", 10, u16, _aerosol),
        BandSpec("WVP", 10, u16, _vapour),
        BandSpec("SCL", 20, u8, scene_classes, "MODE"),
        BandSpec("TCI_R", 10, u8, _true_colour(3)),
        BandSpec("TCI_G", 10, u8, _true_colour(2)),
        BandSpec("TCI_B", 10, u8, _true_colour(1)),
        BandSpec("MSK_CLDPRB", 20, u8, _cloud_probability),
        BandSpec("MSK_SNWPRB", 20, u8, _snow_probability),
        BandSpec("QA10", 10, u16, _nothing("uint16"), "SAMPLE"),
        BandSpec("QA20", 20, u32, _nothing("uint32"), "SAMPLE"),
        BandSpec("QA60", 60, u16, _qa60, "SAMPLE", QA60_GAP_MS),
        BandSpec("MSK_CLASSI_OPAQUE", 60, u8, _flag(lambda day: day.sky.cloud > 0.6), "SAMPLE", early),
        BandSpec("MSK_CLASSI_CIRRUS", 60, u8, _flag(lambda day: day.sky.cirrus > 0.1), "SAMPLE", early),
        BandSpec("MSK_CLASSI_SNOW_ICE", 60, u8, _flag(lambda day: day.snow > 0.5), "SAMPLE", early),
    ]
    return {spec.name: spec for spec in specs}


BANDS = _all_bands()
