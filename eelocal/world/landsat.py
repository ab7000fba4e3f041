"""Landsat 4, 5, 7, 8 and 9, Collection 2, Tier 1: Level-1, top of atmosphere and Level-2, as `LANDSAT/LC08/C02/T1_L2`.

Scenes follow the Worldwide Reference System 2: 233 paths in 16 days, 248 rows a revolution (Landsat 8 Data Users
Handbook, LSDS-1574). The clock is set by LC08_044034_20140318; LC08_001070_20190114 then falls on its day and minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from eelocal.assets import Band, StoredImage
from eelocal.world import landsat_levels, mgrs, utm
from eelocal.world.bandspec import BandSpec
from eelocal.world.hashing import scalar_hash, scalar_unit
from eelocal.world.landsat_bands import BANDS
from eelocal.world.orbit import on_ground
from eelocal.world.strips import Strip, touching
from eelocal.world.sun import DAY_MS, Sun, sun_at, sun_distance
from eelocal.world.surface import day_of
from eelocal.world.tiles import Raster
from eelocal.world.weather import Overpass, cloud_share
from eelocal.world.window import Nodes, Window

_PATHS, _ROWS = 233, 248
_DAY_ROWS = range(1, 123)
_CYCLE_MS = 16 * DAY_MS
_PERIOD_MS = _CYCLE_MS / _PATHS
_TURN = 360.0 * 16 / _PATHS
_INCLINATION = 98.2
_HALF_WIDTH = 0.832  # degrees: 185 km
_REACH = 2.0  # degrees from the middle of a scene to its corners, and some more
_HALF_LENGTH = 0.81 / 360  # revolutions: 180 km
_ANCHOR_PATH = 44
_ANCHOR_NODE_MS = 1_395_168_982_000  # descending node before LC08_044034_20140318 (18:46 UTC at 37.5 N)
_LATE_MS = 14 * DAY_MS
_LOWEST_SUN = 76.0  # Level-2 is not made beyond this zenith angle


@dataclass(frozen=True)
class Mission:
    """One satellite's collection; all of a satellite have the same scenes."""

    id: str
    prefix: str
    spacecraft: str
    offset_ms: int  # against Landsat 8
    start_ms: int
    end_ms: int | None = None
    bands: Mapping[str, BandSpec] = field(default_factory=lambda: BANDS, compare=False)
    level: str = "L2SP"
    sensor: str = "OLI_TIRS"


def _family(
    prefix: str, spacecraft: str, offset_ms: int, start_ms: int, end_ms: int | None, levels: Mapping[str, Any]
) -> list[Mission]:
    sensor = {"LT": "TM", "LE": "ETM"}.get(prefix[:2], "OLI_TIRS")
    names = {"T1_L2": "L2SP", "T1_TOA": "L1TP", "T1": "L1TP"}
    return [
        Mission(
            f"LANDSAT/{prefix}/C02/{name}", prefix, spacecraft, offset_ms, start_ms, end_ms, bands, names[name], sensor
        )
        for name, bands in levels.items()
    ]


_OLI = {"T1_L2": BANDS, "T1_TOA": landsat_levels.OLI_TOA, "T1": landsat_levels.OLI_LEVEL_1}
_ETM = {"T1_L2": landsat_levels.LEVEL_2, "T1_TOA": landsat_levels.ETM_TOA, "T1": landsat_levels.ETM_LEVEL_1}
_TM = {"T1_L2": landsat_levels.LEVEL_2, "T1_TOA": landsat_levels.TM_TOA, "T1": landsat_levels.TM_LEVEL_1}
_EIGHT_DAYS = 8 * DAY_MS
MISSIONS = (
    *_family("LC08", "LANDSAT_8", 0, 1_363_564_800_000, None, _OLI),  # 2013-03-18
    *_family("LC09", "LANDSAT_9", _EIGHT_DAYS, 1_635_638_400_000, None, _OLI),  # 2021-10-31
    *_family("LE07", "LANDSAT_7", _EIGHT_DAYS, 927_763_200_000, 1_705_622_400_000, _ETM),  # 1999-05-27, 2024-01-19
    *_family("LT05", "LANDSAT_5", 0, 447_984_000_000, 1_336_176_000_000, _TM),  # 1984-03-13, 2012-05-05
    *_family("LT04", "LANDSAT_4", _EIGHT_DAYS, 398_908_800_000, 755_913_600_000, _TM),  # 1982-08-22, 1993-12-15
)
LANDSAT_8 = next(mission for mission in MISSIONS if mission.id == "LANDSAT/LC08/C02/T1_L2")
LANDSAT_9 = next(mission for mission in MISSIONS if mission.id == "LANDSAT/LC09/C02/T1_L2")


def _order(path: int) -> int:
    """Revolutions from the pass over path 1 to that over a path, within a cycle: each moves 16 paths on."""
    return (path - 1) * pow(16, -1, _PATHS) % _PATHS


def _node_longitude(path: Any) -> Any:
    return -64.6 - (path - 1) * 360.0 / _PATHS


@lru_cache(maxsize=4096)
def strip_of(path: int, row: int) -> Strip:
    """The ground of a scene."""
    middle = (row - 60) / _ROWS
    begin, end = middle - _HALF_LENGTH, middle + _HALF_LENGTH
    return Strip(_node_longitude(path), _INCLINATION, _TURN, False, -_HALF_WIDTH, _HALF_WIDTH, begin, end)


@dataclass(frozen=True)
class LandsatImage:
    """One scene: `cycle` counts 16-day steps from the anchor."""

    mission: Mission
    path: int
    row: int
    cycle: int

    @cached_property
    def time_ms(self) -> int:
        """When its middle was seen."""
        revolutions = _order(self.path) - _order(_ANCHOR_PATH) + (self.row - 60) / _ROWS
        return int(_ANCHOR_NODE_MS + self.mission.offset_ms + revolutions * _PERIOD_MS + self.cycle * _CYCLE_MS)

    @cached_property
    def index(self) -> str:
        """`system:index`."""
        return f"{self.mission.prefix}_{self.path:03d}{self.row:03d}_{self._stamp('%Y%m%d')}"

    def _stamp(self, pattern: str) -> str:
        return datetime.fromtimestamp(self.time_ms / 1000, UTC).strftime(pattern)

    @property
    def id(self) -> str:
        """Asset id."""
        return f"{self.mission.id}/{self.index}"

    @property
    def version(self) -> int:
        """`system:version`, microseconds."""
        return (self.time_ms + _LATE_MS) * 1000 + scalar_hash(self.index) % 1_000_000

    @cached_property
    def strip(self) -> Strip:
        """Its ground."""
        return strip_of(self.path, self.row)

    @cached_property
    def sun(self) -> Sun:
        """The sun over its middle."""
        return sun_at(self.time_ms, *self.strip.centre)

    @property
    def exists(self) -> bool:
        """Whether it was taken by day, after the start, and is published by now."""
        published = self.time_ms + _LATE_MS < time.time() * 1000
        flying = self.mission.start_ms <= self.time_ms < (self.mission.end_ms or np.inf)
        return bool(flying and published and self.sun.zenith <= _LOWEST_SUN)

    @property
    def footprint(self) -> BaseGeometry:
        """Its ground in longitude and latitude."""
        return self.strip.footprint

    @cached_property
    def raster(self) -> Raster:
        """The 30 m grid: northern zones everywhere, with negative northings in the south; odd multiples of 15."""
        left, bottom, right, top = self.strip.extent
        x, y = np.floor((left - 15) / 30) * 30 + 15, np.ceil((top - 15) / 30) * 30 + 15
        return Raster(self.strip.zone, float(x), float(y), 30, int((right - x) // 30) + 1, int((y - bottom) // 30) + 1)

    def raster_of(self, spec: BandSpec) -> Raster:
        """A band's grid: that of 30 m, or pixels of half the size on the same centres (the panchromatic band)."""
        base = self.raster
        if spec.resolution == base.resolution:
            return base
        quarter = (base.resolution - spec.resolution) / 2
        size = (base.width * 2 - 1, base.height * 2 - 1)
        return Raster(base.zone, base.left + quarter, base.top - quarter, spec.resolution, *size)

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """All bands."""
        crs = f"EPSG:326{self.raster.zone:02d}"
        made = []
        for spec in self.mission.bands.values():
            raster = self.raster_of(spec)
            size = spec.resolution
            transform = (size, 0, raster.left, 0, -size, raster.top)
            made.append(
                Band(spec.name, spec.dtype, crs, transform, raster.width, raster.height, spec.limits, spec.pyramiding)
            )
        return tuple(made)

    @cached_property
    def overpass(self) -> Overpass:
        """What the weather hangs on: one pass of the satellite along a path."""
        return Overpass(scalar_hash(self.mission.prefix, self.path, self.cycle), self.time_ms // DAY_MS * DAY_MS)

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """Properties as Earth Engine gives them."""
        return _properties(self)

    def read(
        self, band: str, level: int, col: int, row: int, width: int, height: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels of a window at a pyramid level; see `eelocal.assets.StoredImage`."""
        spec = self.mission.bands[band]
        request = (col, row, width, height)
        return spec.read(self.raster_of(spec), level, request, self.strip.inside, self._samples(spec))

    def _samples(self, spec: BandSpec) -> Callable[[Window, Window], NDArray[Any]]:
        def samples(window: Window, whole: Window) -> NDArray[Any]:
            square = (whole.zone, int(whole.x // mgrs.SQUARE), int(whole.y // mgrs.SQUARE))
            return spec.make(day_of(window, self.overpass, _sun_near(self.time_ms, *square)))

        return samples


@lru_cache(maxsize=2048)
def _sun_near(time_ms: int, zone: int, column: int, row: int) -> Sun:
    lon, lat = utm.inverse((column + 0.5) * mgrs.SQUARE, (row + 0.5) * mgrs.SQUARE, zone)
    return sun_at(time_ms, float(lon), float(lat))


def _cloud_cover(image: LandsatImage) -> float:
    strip = image.strip
    steps = np.linspace(0.03, 0.97, 30)
    across = strip.near + (strip.far - strip.near) * steps[None, :]
    along = strip.begin + (strip.end - strip.begin) * steps[:, None]
    lon, lat = on_ground(across, along, strip.node_longitude, strip.inclination, strip.turn)
    return round(100 * float(cloud_share(Nodes(6000.0, 0, 0, lon, lat), image.overpass).mean()), 2)


def _properties(image: LandsatImage) -> dict[str, Any]:
    mission, strip = image.mission, image.strip
    day, cover = image._stamp("%Y%m%d"), _cloud_cover(image)
    made = datetime.fromtimestamp((image.time_ms + _LATE_MS - 3 * DAY_MS) / 1000, UTC).strftime("%Y%m%d")
    product = f"{mission.prefix}_{mission.level}_{image.path:03d}{image.row:03d}_{day}_{made}_02_T1"
    ring = [[float(lon), float(lat)] for lon, lat in strip.outline.exterior.coords]
    scaling: dict[str, Any] = {}
    for number in range(1, 8):
        scaling |= {f"REFLECTANCE_MULT_BAND_{number}": 2.75e-05, f"REFLECTANCE_ADD_BAND_{number}": -0.2}
    return scaling | {
        "system:index": image.index,
        "system:time_start": image.time_ms,
        "system:footprint": {"type": "LinearRing", "coordinates": ring},
        "system:asset_size": int(9.5e8 * (0.9 + 0.2 * scalar_unit("size", image.index))),
        "CLOUD_COVER": cover,
        "CLOUD_COVER_LAND": cover,
        "COLLECTION_CATEGORY": "T1",
        "COLLECTION_NUMBER": 2,
        "DATE_ACQUIRED": image._stamp("%Y-%m-%d"),
        "SCENE_CENTER_TIME": image._stamp("%H:%M:%S.%f") + "0Z",
        "DATUM": "WGS84",
        "EARTH_SUN_DISTANCE": sun_distance(image.time_ms),
        "ELLIPSOID": "WGS84",
        "IMAGE_QUALITY_OLI": 9,
        "IMAGE_QUALITY_TIRS": 9,
        "L1_LANDSAT_PRODUCT_ID": product.replace(mission.level, "L1TP"),
        "LANDSAT_PRODUCT_ID": product,
        "LANDSAT_SCENE_ID": f"{mission.prefix[:2]}{mission.prefix[3]}{image.path:03d}{image.row:03d}"
        f"{image._stamp('%Y%j')}LGN00",
        "MAP_PROJECTION": "UTM",
        "PROCESSING_LEVEL": mission.level,
        "REFLECTIVE_LINES": image.raster.height,
        "REFLECTIVE_SAMPLES": image.raster.width,
        "SENSOR_ID": mission.sensor,
        "SPACECRAFT_ID": mission.spacecraft,
        "SUN_AZIMUTH": image.sun.azimuth,
        "SUN_ELEVATION": 90 - image.sun.zenith,
        "TEMPERATURE_ADD_BAND_ST_B10": 149,
        "TEMPERATURE_MULT_BAND_ST_B10": 0.00341802,
        "UTM_ZONE": strip.zone,
        "WRS_PATH": image.path,
        "WRS_ROW": image.row,
        "WRS_TYPE": 2,
    }


@lru_cache(maxsize=1)
def _scenes() -> tuple[list[tuple[int, int]], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """All (path, row) in order, and the longitudes and latitudes of their middles."""
    pairs = [(path, row) for path in range(1, _PATHS + 1) for row in _DAY_ROWS]
    path, row = np.array(pairs).T
    centres = on_ground(np.zeros(len(pairs)), (row - 60) / _ROWS, _node_longitude(path), _INCLINATION, _TURN)
    return pairs, centres


class LandsatCollection:
    """All scenes of one satellite."""

    def __init__(self, mission: Mission) -> None:
        """Nothing is computed until asked."""
        self._mission = mission

    @property
    def id(self) -> str:
        """Asset id."""
        return self._mission.id

    @property
    def properties(self) -> Mapping[str, Any]:
        """Properties of the collection."""
        return {
            "title": f"{self._mission.spacecraft} {self._mission.level}",
            "date_range": [self._mission.start_ms, self._mission.end_ms],
        }

    def search(
        self, start_ms: float | None, end_ms: float | None, region: BaseGeometry | None
    ) -> Iterator[StoredImage]:
        """Images in asset id order: by path and row, then by day; see `eelocal.assets.StoredCollection`."""
        start = max(self._mission.start_ms, start_ms if start_ms is not None else 0)
        ends = (time.time() * 1000, end_ms, self._mission.end_ms)
        end = min(moment for moment in ends if moment is not None)
        for path, row in touching(region, *_scenes(), _REACH, lambda key: strip_of(*key)):
            first = LandsatImage(self._mission, path, row, 0).time_ms
            for cycle in range(int(np.ceil((start - first) / _CYCLE_MS)), int(np.ceil((end - first) / _CYCLE_MS))):
                image = LandsatImage(self._mission, path, row, cycle)
                if image.exists:
                    yield image

    def get(self, index: str) -> StoredImage | None:
        """The image with that `system:index`, or None."""
        parts = index.split("_")
        if len(parts) != 3 or len(parts[1]) != 6 or not parts[1].isdigit():
            return None
        path, row = int(parts[1][:3]), int(parts[1][3:])
        try:
            day = datetime.strptime(parts[2], "%Y%m%d").replace(tzinfo=UTC).timestamp() * 1000
        except ValueError:
            return None
        if not 1 <= path <= _PATHS or row not in _DAY_ROWS:
            return None
        first = LandsatImage(self._mission, path, row, 0).time_ms
        image = LandsatImage(self._mission, path, row, round((day + DAY_MS / 2 - first) / _CYCLE_MS))
        return image if image.index == index and image.exists else None
