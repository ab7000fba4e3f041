"""MODIS on the sinusoidal grid: vegetation indices (`MODIS/061/MOD13Q1`) and reflectance (`MODIS/061/MCD43A4`).

Grid: recorded for MODIS/061 on Earth Engine; SR-ORG:6974 is a sphere of 6371007.181 m. NDVI and EVI x 10000.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world.global_images import GlobalBand, GlobalSeries, Maker, Steps, every_16_days, every_day
from eelocal.world.globe import SINUSOIDAL, GlobalGrid
from eelocal.world.materials import IS_WATER
from eelocal.world.sun import DAY_MS, Sun
from eelocal.world.surface import Day, day_of, ground_of
from eelocal.world.tiles import finer, mean_of_four
from eelocal.world.weather import Overpass
from eelocal.world.window import Window

GRID = GlobalGrid(
    SINUSOIDAL,
    (231.65635826395825, 0, -20015109.353988, 0, -231.65635826395834, 10007554.676994),
    172_800,
    86_400,
)
_BLUE, _RED, _NEAR, _MID = 1, 3, 8, 11  # indices of the like Sentinel-2 bands
_SUN = Sun(40.0, 160.0)  # composites are of the best views: terrain hardly shows


def _indices(day: Day) -> tuple[NDArray[Any], NDArray[Any]]:
    red, near, blue = day.ground(_RED), day.ground(_NEAR), day.ground(_BLUE)
    ndvi = (near - red) / (near + red)
    evi = np.float32(2.5) * (near - red) / (near + 6 * red - np.float32(7.5) * blue + 1)
    return ndvi, evi


def _index(which: int) -> Callable[[Day], NDArray[Any]]:
    return lambda day: np.asarray(_indices(day)[which] * 10_000)


def _reflectance(band: int) -> Callable[[Day], NDArray[Any]]:
    return lambda day: np.asarray(day.ground(band) * 10_000)


def _constant(value: float) -> Callable[[Day], NDArray[Any]]:
    return lambda day: np.full(day.green.shape, value, np.float32)


def _quality(day: Day) -> NDArray[Any]:
    """0 good, 2 snow or ice."""
    return np.where(day.snow > 0.4, np.float32(2), np.float32(0))


def _on_land(values: Callable[[Day], NDArray[Any]]) -> Maker:
    def make(grid: GlobalGrid, rows: slice, columns: slice, time_ms: float) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        overpass = Overpass(0, time_ms + 8 * DAY_MS)

        def samples(window: Window) -> NDArray[Any]:
            fine = finer(window)
            made = values(day_of(fine, overpass, _SUN, clear=True)).astype(np.float32)
            made[IS_WATER.take(ground_of(fine).material)] = np.nan
            return mean_of_four(made)

        made = grid.sample(rows, columns, _sampling(grid), samples)
        x = np.arange(columns.start, columns.stop) + 0.5
        y = np.arange(rows.start, rows.stop) + 0.5
        lon, _ = np.broadcast_arrays(*grid.lonlat(x[None, :], y[:, None]))
        there = np.isfinite(made) & (np.abs(lon) <= 180)  # beyond the antimeridian the sinusoidal grid is empty
        return np.where(there, made, 0), there

    return make


def _sampling(grid: GlobalGrid) -> float:
    """Metres between the samples of the landscape: 240 m at the native level, doubled with it."""
    return 240.0 * round(grid.spacing / 231.656358)


_BANDS: tuple[tuple[str, str, Callable[[Day], NDArray[Any]]], ...] = (
    ("NDVI", "int16", _index(0)),
    ("EVI", "int16", _index(1)),
    ("DetailedQA", "uint16", _constant(2116)),
    ("sur_refl_b01", "int16", _reflectance(_RED)),
    ("sur_refl_b02", "int16", _reflectance(_NEAR)),
    ("sur_refl_b03", "int16", _reflectance(_BLUE)),
    ("sur_refl_b07", "int16", _reflectance(_MID)),
    ("ViewZenith", "int16", _constant(1200)),
    ("SunZenith", "int16", _constant(4000)),
    ("RelativeAzimuth", "int16", _constant(9000)),
    ("SummaryQA", "int8", _quality),
)

MOD13Q1 = GlobalSeries(
    "MODIS/061/MOD13Q1",
    "MODIS/Terra vegetation indices, 16 days, 250 m",
    GRID,
    tuple(GlobalBand(name, np.dtype(kind), _on_land(make)) for name, kind, make in _BANDS),
    Steps(date(2000, 2, 18), timedelta(days=24), every_16_days, timedelta(days=16), "%Y_%m_%d"),
    (-180, -90, 180, 90),
)
_NBAR_LIKE = (_RED, _NEAR, _BLUE, 2, 10, 10, _MID)  # bands 1 to 7; S2 has nothing like band 5
_ALBEDO = "BRDF_Albedo_Band_Mandatory_Quality_Band"
MCD43A4 = GlobalSeries(
    "MODIS/061/MCD43A4",
    "MODIS nadir BRDF-adjusted reflectance, daily, 500 m",
    GlobalGrid(
        SINUSOIDAL, (463.3127165279165, 0, *GRID.transform[2:4], -463.3127165279167, GRID.transform[5]), 86_400, 43_200
    ),
    (
        *(
            GlobalBand(f"Nadir_Reflectance_Band{number}", np.dtype("int16"), _on_land(_reflectance(like)))
            for number, like in enumerate(_NBAR_LIKE, 1)
        ),
        *(
            GlobalBand(f"{_ALBEDO}{number}", np.dtype("uint8"), _on_land(_constant(0)), "SAMPLE")
            for number in range(1, 8)
        ),
    ),
    Steps(date(2000, 2, 24), timedelta(days=10), every_day, timedelta(days=1), "%Y_%m_%d"),
    (-180, -90, 180, 90),
)
