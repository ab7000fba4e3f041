"""ERA5-Land and CHIRPS: the weather of the generated world, day by day on grids of longitude and latitude.

Grids and names: Earth Engine's catalogue pages of ECMWF/ERA5_LAND/DAILY_AGGR and UCSB-CHG/CHIRPS/DAILY.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from eelocal.world.global_images import GlobalBand, GlobalSeries, Maker, Steps, every_day
from eelocal.world.globe import LONLAT, GlobalGrid
from eelocal.world.hashing import scalar_hash
from eelocal.world.sun import DAY_MS, year_phase
from eelocal.world.terrain import Field, land_height, moisture_of, sea_depth, smooth
from eelocal.world.weather import Overpass, temperature
from eelocal.world.window import Nodes

ERA5_GRID = GlobalGrid(LONLAT, (0.1, 0, -180.05, 0, -0.1, 90.05), 3601, 1801)
CHIRPS_GRID = GlobalGrid(LONLAT, (0.05, 0, -180, 0, -0.05, 50), 7200, 2000)
_SOLAR = 1361.0  # W/m2


def rain(nodes: Nodes, time_ms: float) -> Field:
    """Millimetres of the day: dry on most days, in fronts that move with the noise of the day."""
    key = scalar_hash("rain", int(time_ms // DAY_MS))
    front = nodes.octaves((1500, 0.8), (420, 0.5), (120, 0.35), (40, 0.2), seed=key)
    moist = moisture_of(nodes)
    swing = np.cos(2 * np.pi * (year_phase(time_ms) - 0.55)) * np.clip(nodes.latitude / 12, -1, 1)
    monsoon = 0.6 * swing * (np.abs(nodes.latitude) < 28)
    wet = front + 2.2 * (moist - 0.75) + monsoon
    return np.asarray(np.where(wet > 0, 9.0 * np.maximum(wet, 0) ** 1.6, 0.0))


def warmth(nodes: Nodes, time_ms: float) -> Field:
    """Mean temperature of the day near the ground, degrees Celsius."""
    day = scalar_hash("warmth", int(time_ms // DAY_MS))
    noise = 1.4 * nodes.octaves((1100, 0.8), (300, 0.5), seed=day)
    return np.asarray(temperature(nodes, Overpass(day, time_ms)) + noise - 0.0065 * land_height(nodes))


def _dew_point(nodes: Nodes, time_ms: float) -> Field:
    moist = moisture_of(nodes)
    return np.asarray(warmth(nodes, time_ms) - 18 * (1 - moist) - 1)


def _sunshine(nodes: Nodes, time_ms: float) -> Field:
    """J/m2 of the day at the ground, by the length of the day and the clouds."""
    tilt = np.radians(23.44) * np.sin(2 * np.pi * (year_phase(time_ms) - 0.22))
    lat = np.radians(np.clip(nodes.latitude, -89.5, 89.5))
    half = np.arccos(np.clip(-np.tan(lat) * np.tan(tilt), -1, 1))
    top = _SOLAR / np.pi * (half * np.sin(lat) * np.sin(tilt) + np.cos(lat) * np.cos(tilt) * np.sin(half))
    cloud = smooth(-1.0, 1.5, nodes.octaves((1500, 0.8), (420, 0.5), seed=scalar_hash("rain", int(time_ms // DAY_MS))))
    return np.asarray(np.maximum(top, 0) * 86_400 * (0.76 - 0.5 * cloud))


def _wind(part: str) -> Callable[[Nodes, float], Field]:
    def wind(nodes: Nodes, time_ms: float) -> Field:
        return np.asarray(2.6 * nodes.octaves((1600, 0.9), (400, 0.4), seed=scalar_hash(part, int(time_ms // DAY_MS))))

    return wind


def soil_water(nodes: Nodes, time_ms: float) -> Field:
    """Cubic metres of water per cubic metre of soil."""
    moist = moisture_of(nodes)
    winter = np.cos(2 * np.pi * (year_phase(time_ms) - 0.1)) * np.clip(nodes.latitude / 45, -1, 1)
    return np.asarray(np.clip(0.08 + 0.36 * moist + 0.05 * winter, 0.02, 0.6))


def _on_land(field: Callable[[Nodes, float], Field]) -> Maker:
    """A field at the pixels' middles, masked on the sea."""

    def make(
        grid: GlobalGrid, rows: slice, columns: slice, time_ms: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        nodes = grid.places(rows, columns).nodes
        return field(nodes, time_ms), np.asarray(sea_depth(nodes) <= 0)

    return make


ERA5: dict[str, Callable[[Nodes, float], Field]] = {
    "dewpoint_temperature_2m": lambda nodes, t: _dew_point(nodes, t) + 273.15,
    "temperature_2m": lambda nodes, t: warmth(nodes, t) + 273.15,
    "skin_temperature": lambda nodes, t: warmth(nodes, t) + 273.6,
    "soil_temperature_level_1": lambda nodes, t: 0.8 * warmth(nodes, t) + 275.5,
    "snow_depth": lambda nodes, t: 0.03 * np.clip(-3 - temperature(nodes, Overpass(0, t)), 0, 40),
    "volumetric_soil_water_layer_1": soil_water,
    "u_component_of_wind_10m": _wind("eastward"),
    "v_component_of_wind_10m": _wind("northward"),
    "surface_pressure": lambda nodes, t: 101_325 * np.exp(-land_height(nodes) / 8400),
    "total_precipitation_sum": lambda nodes, t: rain(nodes, t) / 1000,
    "surface_solar_radiation_downwards_sum": _sunshine,
    "total_evaporation_sum": lambda nodes, t: -_sunshine(nodes, t) * 0.4 / 2.45e9,
    "temperature_2m_min": lambda nodes, t: warmth(nodes, t) + 268.4,
    "temperature_2m_max": lambda nodes, t: warmth(nodes, t) + 278.6,
}

ERA5_LAND = GlobalSeries(
    "ECMWF/ERA5_LAND/DAILY_AGGR",
    "ERA5-Land daily aggregated",
    ERA5_GRID,
    tuple(GlobalBand(name, np.dtype("float32"), _on_land(field)) for name, field in ERA5.items()),
    Steps(date(1950, 1, 2), timedelta(days=9), every_day, timedelta(days=1), "%Y%m%d"),
    (-180, -90, 180, 90),
)
CHIRPS = GlobalSeries(
    "UCSB-CHG/CHIRPS/DAILY",
    "CHIRPS daily precipitation",
    CHIRPS_GRID,
    (GlobalBand("precipitation", np.dtype("float32"), _on_land(rain)),),
    Steps(date(1981, 1, 1), timedelta(days=30), every_day, timedelta(days=1), "%Y%m%d"),
    (-180, -50, 180, 50),
)
