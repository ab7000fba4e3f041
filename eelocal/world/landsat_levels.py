"""The bands of other Landsat collections: Level-1 (`T1`), top of atmosphere (`T1_TOA`), and Level-2 of Landsat 4 to 7.

Names, types and scales: Earth Engine's catalogue pages of LANDSAT/LC08/C02/T1, LANDSAT/LC08/C02/T1_TOA and
LANDSAT/LT05/C02/T1_L2; bits of QA_PIXEL after LSDS-1618 (5440 is clear land, 5896 cloud).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world.bandspec import BandSpec, Make
from eelocal.world.landsat_bands import BANDS, kelvin
from eelocal.world.materials import IS_WATER, SPECTRAL_BANDS
from eelocal.world.surface import Day

_OLI = {"B1": "B1", "B2": "B2", "B3": "B3", "B4": "B4", "B5": "B8A", "B6": "B11", "B7": "B12", "B8": "B3"}
_TM = {"B1": "B2", "B2": "B3", "B3": "B4", "B4": "B8A", "B5": "B11", "B7": "B12"}
_CLEAR, _WATER, _SNOW, _SHADOW, _CLOUD, _DILATED = 5440, 5504, 13664, 7440, 5896, 5442
_ANGLES = {"SAA": 6200, "SZA": 4500, "VAA": 9800, "VZA": 300}  # hundredths of a degree
_U8, _U16, _I16, _F32 = (np.dtype(name) for name in ("uint8", "uint16", "int16", "float32"))


def _air(band: str) -> float:
    """Reflectance that the air adds: most in the blue."""
    return {"B1": 0.09, "B2": 0.06, "B3": 0.035, "B4": 0.02}.get(band, 0.004)


def _scaled(like: str, factor: float, offset: float, least: float, most: float) -> Make:
    index = SPECTRAL_BANDS.index(like)

    def make(day: Day) -> NDArray[Any]:
        seen = day.reflectance(index) * np.float32(0.95) + np.float32(_air(like))
        return np.asarray(np.clip(seen * np.float32(factor) + np.float32(offset), least, most))

    return make


def _thermal(factor: float, offset: float, most: float) -> Make:
    return lambda day: np.clip(kelvin(day) * factor + offset, 1, most)


def _constant(value: float) -> Make:
    return lambda day: np.full(day.green.shape, value, np.float32)


def _quality(day: Day) -> NDArray[Any]:
    out = np.where(IS_WATER.take(day.land.material), np.uint16(_WATER), np.uint16(_CLEAR))
    out[day.snow > 0.45] = _SNOW
    out[day.sky.shadow > 0.45] = _SHADOW
    out[day.sky.cloud > 0.08] = _DILATED
    out[day.sky.cloud > 0.25] = _CLOUD
    return out


def _opacity(day: Day) -> NDArray[Any]:
    return np.full(day.green.shape, 80 + 150 * day.haze, np.float32)


def _saturated(day: Day) -> NDArray[Any]:
    return (day.sky.cloud * day.sky.depth > 1.2).astype(np.uint16)


def _quality_bands(make: Make) -> list[BandSpec]:
    return [
        BandSpec("QA_PIXEL", 30, _U16, make, "SAMPLE"),
        BandSpec("QA_RADSAT", 30, _U16, _saturated, "SAMPLE"),
    ]


def _oli(dtype: np.dtype[Any], factor: float, offset: float, thermal: Make) -> dict[str, BandSpec]:
    limits = (1.0, 65_535.0) if dtype.kind == "u" else (-0.1, 2.0)
    specs = [
        BandSpec(name, 15 if name == "B8" else 30, dtype, _scaled(like, factor, offset, *limits))
        for name, like in _OLI.items()
    ]
    cirrus = _constant(limits[0] if dtype.kind == "f" else 5100)
    specs += [
        BandSpec("B9", 30, dtype, cirrus),
        BandSpec("B10", 30, dtype, thermal),
        BandSpec("B11", 30, dtype, thermal),
    ]
    return _named(specs + _quality_bands(BANDS["QA_PIXEL"].make) + _angles())


def _tm(dtype: np.dtype[Any], factor: float, offset: float, thermal: Make, hot: tuple[str, ...]) -> dict[str, BandSpec]:
    limits = (1.0, 255.0) if dtype.kind == "u" else (-0.1, 2.0)
    specs = [BandSpec(name, 30, dtype, _scaled(like, factor, offset, *limits)) for name, like in _TM.items()]
    specs[5:5] = [BandSpec(name, 30, dtype, thermal) for name in hot]
    return _named(specs + _quality_bands(_quality) + _angles())


def _angles() -> list[BandSpec]:
    return [BandSpec(name, 30, _I16, _constant(value)) for name, value in _ANGLES.items()]


def _level_2() -> dict[str, BandSpec]:
    """Landsat 4 to 7: the bands of Landsat 8 that they have, under the numbers of their own sensors."""
    like = {"SR_B1": "SR_B2", "SR_B2": "SR_B3", "SR_B3": "SR_B4", "SR_B4": "SR_B5", "SR_B5": "SR_B6", "SR_B7": "SR_B7"}
    specs = [BandSpec(name, 30, _U16, BANDS[other].make) for name, other in like.items()]
    specs += [
        BandSpec("SR_ATMOS_OPACITY", 30, _I16, _opacity),
        BandSpec("SR_CLOUD_QA", 30, _U8, lambda day: (day.sky.cloud > 0.25).astype(np.uint8) * np.uint8(2), "SAMPLE"),
        BandSpec("ST_B6", 30, _U16, BANDS["ST_B10"].make),
    ]
    specs += [spec for name, spec in BANDS.items() if name.startswith("ST_") and name != "ST_B10"]
    return _named(specs + _quality_bands(_quality))


def _named(specs: list[BandSpec]) -> dict[str, BandSpec]:
    return {spec.name: spec for spec in specs}


_KELVIN: Callable[[Day], NDArray[Any]] = lambda day: np.asarray(kelvin(day))  # noqa: E731
_VCID = ("B6_VCID_1", "B6_VCID_2")
# Level-1 reflectance is DN x 2e-05 - 0.1 for Landsat 8 and 9; eight bits of about 0.0025 each before.
OLI_LEVEL_1: Mapping[str, BandSpec] = _oli(_U16, 50_000, 5000, _thermal(100, -3000, 65_535))
OLI_TOA: Mapping[str, BandSpec] = _oli(_F32, 1, 0, _KELVIN)
TM_LEVEL_1: Mapping[str, BandSpec] = _tm(_U8, 400, 2, _thermal(2, -450, 255), ("B6",))
TM_TOA: Mapping[str, BandSpec] = _tm(_F32, 1, 0, _KELVIN, ("B6",))
ETM_LEVEL_1: Mapping[str, BandSpec] = _tm(_U8, 400, 2, _thermal(2, -450, 255), _VCID)
ETM_TOA: Mapping[str, BandSpec] = _tm(_F32, 1, 0, _KELVIN, _VCID)
LEVEL_2: Mapping[str, BandSpec] = _level_2()
