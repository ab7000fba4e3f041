"""More of the weather: ERA5-Land hour by hour, ERA5 by months, IMERG by half hours, and GRIDMET's drought indices.

Grids, names and starts: Earth Engine's catalogue pages of ECMWF/ERA5_LAND/HOURLY, ECMWF/ERA5/MONTHLY,
NASA/GPM_L3/IMERG_V07 and GRIDMET/DROUGHT.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from eelocal.world.climate import ERA5, ERA5_GRID, rain, soil_water, warmth
from eelocal.world.global_images import GlobalBand, GlobalSeries, Maker, Steps
from eelocal.world.globe import LONLAT, GlobalGrid
from eelocal.world.hashing import scalar_hash
from eelocal.world.sun import DAY_MS
from eelocal.world.terrain import Field, sea_depth
from eelocal.world.window import Nodes

_HOUR_MS = 3_600_000
_HOURLY = {
    "dewpoint_temperature_2m": "dewpoint_temperature_2m",
    "temperature_2m": "temperature_2m",
    "skin_temperature": "skin_temperature",
    "soil_temperature_level_1": "soil_temperature_level_1",
    "snow_depth": "snow_depth",
    "volumetric_soil_water_layer_1": "volumetric_soil_water_layer_1",
    "u_component_of_wind_10m": "u_component_of_wind_10m",
    "v_component_of_wind_10m": "v_component_of_wind_10m",
    "surface_pressure": "surface_pressure",
    "total_precipitation_hourly": "total_precipitation_sum",
}
_MONTHLY = {
    "mean_2m_air_temperature": "temperature_2m",
    "minimum_2m_air_temperature": "temperature_2m_min",
    "maximum_2m_air_temperature": "temperature_2m_max",
    "dewpoint_2m_temperature": "dewpoint_temperature_2m",
    "total_precipitation": "total_precipitation_sum",
    "surface_pressure": "surface_pressure",
    "mean_sea_level_pressure": "surface_pressure",
    "u_component_of_wind_10m": "u_component_of_wind_10m",
    "v_component_of_wind_10m": "v_component_of_wind_10m",
}
_DROUGHT = ("spi14d", "spi30d", "spi90d", "spi180d", "spi1y", "spi2y", "spi5y", "eddi30d", "eddi1y", "pdsi", "z")


def _moments(step: timedelta) -> Callable[[int], list[date]]:
    """All moments of a year, one step after another."""

    def moments(year: int) -> list[date]:
        first = datetime(year, 1, 1, tzinfo=UTC)
        count = int((datetime(year + 1, 1, 1, tzinfo=UTC) - first) / step)
        return [first + n * step for n in range(count)]

    return moments


def _months(year: int) -> list[date]:
    return [date(year, month, 1) for month in range(1, 13)]


def _every_5_days(year: int) -> list[date]:
    first = date(year, 1, 1)
    return [first + timedelta(days=n) for n in range(4, 365, 5)]


def _everywhere(field: Callable[[Nodes, float], Field], *, land: bool = False) -> Maker:
    def make(
        grid: GlobalGrid, rows: slice, columns: slice, time_ms: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        nodes = grid.places(rows, columns).nodes
        values = field(nodes, time_ms)
        return values, np.asarray(sea_depth(nodes) <= 0) if land else np.ones(values.shape, np.bool_)

    return make


def _of_the_hour(name: str) -> Callable[[Nodes, float], Field]:
    """The day's value; temperatures swing by four degrees around it with the local hour."""
    daily = ERA5[name]

    def field(nodes: Nodes, time_ms: float) -> Field:
        value = daily(nodes, time_ms // DAY_MS * DAY_MS)
        if "temperature" not in name:
            return value / 24 if name.endswith("_sum") else value
        hour = (time_ms % DAY_MS) / _HOUR_MS + nodes.longitude / 15
        return np.asarray(value + 4 * np.cos(2 * np.pi * (hour - 15) / 24))

    return field


def _of_the_month(name: str) -> Callable[[Nodes, float], Field]:
    """The value in the middle of the month."""
    return lambda nodes, time_ms: ERA5[name](nodes, time_ms + 15 * DAY_MS)


def _drought(name: str) -> Callable[[Nodes, float], Field]:
    def field(nodes: Nodes, time_ms: float) -> Field:
        season = scalar_hash(name, int(time_ms // (30 * DAY_MS)))
        return np.asarray(
            1.2 * nodes.octaves((900, 0.8), (250, 0.5), seed=season) + 4 * (soil_water(nodes, time_ms) - 0.25)
        )

    return field


def _float32(name: str, make: Maker) -> GlobalBand:
    return GlobalBand(name, np.dtype("float32"), make)


ERA5_LAND_HOURLY = GlobalSeries(
    "ECMWF/ERA5_LAND/HOURLY",
    "ERA5-Land hourly",
    ERA5_GRID,
    tuple(_float32(name, _everywhere(_of_the_hour(daily), land=True)) for name, daily in _HOURLY.items()),
    Steps(date(1950, 1, 1), timedelta(days=9), _moments(timedelta(hours=1)), timedelta(hours=1), "%Y%m%dT%H"),
    (-180, -90, 180, 90),
)
ERA5_MONTHLY = GlobalSeries(
    "ECMWF/ERA5/MONTHLY",
    "ERA5 monthly aggregates",
    GlobalGrid(LONLAT, (0.25, 0, -180, 0, -0.25, 90), 1440, 721),
    tuple(_float32(name, _everywhere(_of_the_month(daily))) for name, daily in _MONTHLY.items()),
    Steps(date(1979, 1, 1), timedelta(days=90), _months, timedelta(days=30), "%Y%m"),
    (-180, -90, 180, 90),
)
IMERG = GlobalSeries(
    "NASA/GPM_L3/IMERG_V07",
    "GPM IMERG half-hourly precipitation",
    GlobalGrid(LONLAT, (0.1, 0, -180, 0, -0.1, 90), 3600, 1800),
    (
        _float32("precipitation", _everywhere(lambda nodes, time_ms: rain(nodes, time_ms // DAY_MS * DAY_MS) / 24)),
        _float32("randomError", _everywhere(lambda nodes, time_ms: 0.2 + 0 * nodes.latitude)),
        GlobalBand(
            "probabilityLiquidPrecipitation",
            np.dtype("int16"),
            _everywhere(lambda nodes, time_ms: np.clip(50 + 12 * warmth(nodes, time_ms // DAY_MS * DAY_MS), 0, 100)),
        ),
        _float32("precipitationQualityIndex", _everywhere(lambda nodes, time_ms: 0.6 + 0 * nodes.latitude)),
    ),
    Steps(date(2000, 6, 1), timedelta(days=1), _moments(timedelta(minutes=30)), timedelta(minutes=30), "%Y%m%d%H%M%S"),
    (-180, -90, 180, 90),
)
GRIDMET_DROUGHT = GlobalSeries(
    "GRIDMET/DROUGHT",
    "GRIDMET drought indices",
    GlobalGrid(LONLAT, (1 / 24, 0, -124.78749996666667, 0, -1 / 24, 49.42083333333334), 1386, 585),
    tuple(_float32(name, _everywhere(_drought(name), land=True)) for name in _DROUGHT),
    Steps(date(1980, 1, 5), timedelta(days=5), _every_5_days, timedelta(days=5), "%Y%m%d"),
    (-124.78749996666667, 25.04583333333334, -67.03749996666667, 49.42083333333334),
)
