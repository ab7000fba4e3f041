"""Sentinel-1 ground range detected: `COPERNICUS/S1_GRD`, backscatter in decibels.

The orbit repeats after 175 revolutions in 12 days; its clock is set by the recorded scene
S1A_IW_GRDH_1SDV_20191202T163455_20191202T163520_030172_0372A4_67BA (ascending node 1575303706150, slice start 789.4 s
later), and the swath lies where that scene's footprint does. Scenes are slices of 25 seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from eelocal.assets import Band, StoredImage
from eelocal.world import utm
from eelocal.world.bandspec import BandSpec
from eelocal.world.hashing import scalar_hash, scalar_unit
from eelocal.world.orbit import on_ground
from eelocal.world.scenes import parse_stamp, stamp
from eelocal.world.sentinel1_bands import DB, incidence, incidence_grid
from eelocal.world.strips import Strip, touching
from eelocal.world.sun import DAY_MS, Sun
from eelocal.world.surface import day_of
from eelocal.world.tiles import Raster
from eelocal.world.weather import Overpass
from eelocal.world.window import Window

ASSET = "COPERNICUS/S1_GRD"
_ORBITS = 175
_CYCLE_MS = 12 * DAY_MS
_PERIOD_MS = _CYCLE_MS / _ORBITS
_TURN = 360.0 * 12 / _ORBITS
_INCLINATION = 98.18
_ANCHOR_ORBIT, _ANCHOR_NODE_MS, _ANCHOR_LONGITUDE = 175, 1_575_303_706_150, 24.9
_NEAR, _FAR = 3.28, 5.55  # degrees from the track; the antenna looks to the right
_SLICE_MS = 25_000
_REACH = 3.0  # degrees from the middle of a slice to its corners, and some more
_OVERLAP_MS = 250
_AFTER_NODE_MS = -6_000  # the orbit is not quite a circle: recorded scenes are this much earlier
_FIRST_SLICE, _LAST_SLICE = -51, 51
_LATE_MS = DAY_MS // 2
_ARCTIC = 72.0  # degrees: beyond it HH and HV are used
_START_MS = 1_412_294_400_000  # 2014-10-03
_VERTICAL_ONLY_UNTIL_MS = 1_450_000_000_000  # for a while single polarisation was common
# satellite: first and last day, offset against Sentinel-1A, absolute orbit at the anchor
_SATELLITES: dict[str, tuple[float, float, int, int]] = {
    "A": (_START_MS, float("inf"), 0, 30172),
    "B": (1_474_848_000_000, 1_640_217_600_000, 6 * DAY_MS, 19_276),
    "C": (1_742_947_200_000, float("inf"), 6 * DAY_MS, -26_604),
}
_SUN = Sun(45.0, 150.0)  # radar needs none; the ground's shading is not used


@lru_cache(maxsize=8192)
def strip_of(orbit: int, ascending: bool, number: int) -> Strip:
    """The ground of a slice."""
    node = _ANCHOR_LONGITUDE - (orbit - _ANCHOR_ORBIT) * _TURN
    begin, end = _slice_times(orbit, ascending, number)
    sides = (_NEAR, _FAR)
    if not ascending:  # half a revolution later, and the right of the track is the west
        node -= 180 + _TURN / 2
        sides = (-_FAR, -_NEAR)
    late = _AFTER_NODE_MS if ascending else 0
    along = ((begin - late) / _PERIOD_MS, (end - late) / _PERIOD_MS)
    return Strip(node, _INCLINATION, _TURN, ascending, *sides, *along)


def _slice_times(orbit: int, ascending: bool, number: int) -> tuple[float, float]:
    """Milliseconds after its own node at which a slice begins and ends."""
    shift = 14_446.6 if (orbit, ascending) == (_ANCHOR_ORBIT, True) else 25_000 * scalar_unit("s1", orbit, ascending)
    begin = number * _SLICE_MS + shift
    return begin, begin + _SLICE_MS + _OVERLAP_MS


@dataclass(frozen=True)
class S1Image:
    """One slice; `cycle` counts 12-day steps from the anchor."""

    satellite: str
    orbit: int
    ascending: bool
    number: int
    cycle: int

    @cached_property
    def _node_ms(self) -> float:
        offset = _SATELLITES[self.satellite][2] + (0 if self.ascending else _PERIOD_MS / 2)
        return _ANCHOR_NODE_MS + offset + (self.orbit - _ANCHOR_ORBIT) * _PERIOD_MS + self.cycle * _CYCLE_MS

    @cached_property
    def time_ms(self) -> int:
        """Start of the slice, whole seconds: `system:time_start`."""
        begin, _ = _slice_times(self.orbit, self.ascending, self.number)
        return int((self._node_ms + begin) // 1000) * 1000

    @cached_property
    def absolute_orbit(self) -> int:
        """Absolute orbit number."""
        return _SATELLITES[self.satellite][3] + self.orbit - _ANCHOR_ORBIT + self.cycle * _ORBITS

    @cached_property
    def polarisations(self) -> tuple[str, ...]:
        """VV and VH over most land; HH and HV in the Arctic; VV alone on some days of the first year."""
        if abs(self.strip.centre[1]) > _ARCTIC:
            return ("HH", "HV")
        single = self.time_ms < _VERTICAL_ONLY_UNTIL_MS and scalar_unit("s1 mode", self.orbit, self.cycle) < 0.3
        return ("VV",) if single else ("VV", "VH")

    @cached_property
    def kind(self) -> str:
        """`1SDV`, `1SDH` or `1SSV`."""
        return {("VV", "VH"): "1SDV", ("HH", "HV"): "1SDH", ("VV",): "1SSV"}[self.polarisations]

    @cached_property
    def index(self) -> str:
        """`system:index`."""
        take = scalar_hash("s1 take", self.satellite, self.absolute_orbit, self.ascending) & 0xFFFFF
        check = scalar_hash("s1 check", self.satellite, self.time_ms) & 0xFFFF
        times = f"{stamp(self.time_ms)}_{stamp(self.time_ms + _SLICE_MS)}"
        return f"S1{self.satellite}_IW_GRDH_{self.kind}_{times}_{self.absolute_orbit:06d}_{take:06X}_{check:04X}"

    @property
    def id(self) -> str:
        """Asset id."""
        return f"{ASSET}/{self.index}"

    @property
    def version(self) -> int:
        """`system:version`, microseconds."""
        return (self.time_ms + _LATE_MS) * 1000 + scalar_hash(self.index) % 1_000_000

    @cached_property
    def strip(self) -> Strip:
        """Its ground."""
        return strip_of(self.orbit, self.ascending, self.number)

    @property
    def exists(self) -> bool:
        """Whether its satellite flew and it is published by now."""
        first, last, _, _ = _SATELLITES[self.satellite]
        return first <= self.time_ms < last and self.time_ms + _LATE_MS < time.time() * 1000

    @property
    def footprint(self) -> BaseGeometry:
        """Its ground in longitude and latitude."""
        return self.strip.footprint

    @cached_property
    def raster(self) -> Raster:
        """The 10 m grid; its origin is no multiple of anything."""
        left, bottom, right, top = self.strip.extent
        x = left - 10 * scalar_unit("s1 x", self.index)
        y = top + 10 * scalar_unit("s1 y", self.index)
        return Raster(self.strip.zone, x, y, 10, int((right - x) // 10) + 1, int((y - bottom) // 10) + 1)

    @property
    def _south(self) -> bool:
        return self.strip.centre[1] < 0

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """Its polarisations and the angle of incidence on its own coarse, sheared grid."""
        raster = self.raster
        shift = utm.FALSE_NORTHING_SOUTH if self._south else 0
        crs = f"EPSG:32{7 if self._south else 6}{raster.zone:02d}"
        transform = (10, 0, raster.left, 0, -10, raster.top + shift)
        bands = [Band(p, np.dtype("float64"), crs, transform, raster.width, raster.height) for p in self.polarisations]
        sx, shx, x, shy, sy, y = incidence_grid(self.strip)
        angle = (sx, shx, x, shy, sy, y + shift)
        return (*bands, Band("angle", np.dtype("float32"), crs, angle, 21, 10))

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """Properties as Earth Engine gives them."""
        return _properties(self)

    @cached_property
    def _overpass(self) -> Overpass:
        key = scalar_hash("s1 look", self.satellite, self.absolute_orbit, self.ascending)
        return Overpass(key, self.time_ms // DAY_MS * DAY_MS)

    def read(
        self, band: str, level: int, col: int, row: int, width: int, height: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels of a window at a pyramid level; see `eelocal.assets.StoredImage`."""
        if band == "angle":
            return incidence(level, col, row, width, height)
        if band not in self.polarisations:
            raise KeyError(band)
        make = DB[band]

        def samples(window: Window, whole: Window) -> NDArray[Any]:
            day = day_of(window, self._overpass, _SUN, clear=True)
            return make(day, window, np.abs(self.strip.across(window)), self._overpass.key)

        spec = BandSpec(band, 10, np.dtype("float64"), lambda day: day.green)
        return spec.read(self.raster, level, (col, row, width, height), self.strip.inside, samples)


def _properties(image: S1Image) -> dict[str, Any]:
    begin, end = _slice_times(image.orbit, image.ascending, image.number)
    ascending_node = image._node_ms - (0 if image.ascending else _PERIOD_MS / 2)
    half = 0 if image.ascending else _PERIOD_MS / 2
    ring = [[float(lon), float(lat)] for lon, lat in image.strip.outline.exterior.coords]
    return {
        "system:index": image.index,
        "system:time_start": image.time_ms,
        "system:time_end": image.time_ms,
        "system:footprint": {"type": "LinearRing", "coordinates": ring},
        "system:asset_size": int(4.0e9 * (0.9 + 0.2 * scalar_unit("size", image.index))),
        "GRD_Post_Processing_start": image.time_ms + _LATE_MS // 2,
        "cycleNumber": 186 + image.cycle,
        "familyName": "SENTINEL-1",
        "instrumentMode": "IW",
        "instrumentSwath": "IW",
        "orbitNumber_start": image.absolute_orbit,
        "orbitNumber_stop": image.absolute_orbit,
        "orbitProperties_ascendingNodeTime": int(ascending_node),
        "orbitProperties_pass": "ASCENDING" if image.ascending else "DESCENDING",
        "platform_number": image.satellite,
        "productType": "GRD",
        "relativeOrbitNumber_start": image.orbit,
        "relativeOrbitNumber_stop": image.orbit,
        "resolution": "H",
        "resolution_meters": 10,
        "sliceNumber": image.number - _FIRST_SLICE + 1,
        "sliceProductFlag": "true",
        "startTimeANX": round(begin + half, 1),
        "stopTimeANX": round(end + half, 1),
        "totalSlices": _LAST_SLICE - _FIRST_SLICE + 1,
        "transmitterReceiverPolarisation": list(image.polarisations),
    }


@lru_cache(maxsize=1)
def _slices() -> tuple[list[tuple[int, bool, int]], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """All slices as (orbit, ascending, number), and the longitudes and latitudes of their middles."""
    keys = [
        (orbit, up, number)
        for orbit in range(1, _ORBITS + 1)
        for up in (False, True)
        for number in range(_FIRST_SLICE, _LAST_SLICE + 1)
    ]
    orbit, up, number = np.array(keys).T
    along = (number + 1) * _SLICE_MS / _PERIOD_MS
    node = _ANCHOR_LONGITUDE - (orbit - _ANCHOR_ORBIT) * _TURN
    middle = (_NEAR + _FAR) / 2
    rising = on_ground(middle, along, node, _INCLINATION, _TURN, True)
    falling = on_ground(-middle, along, node - 180 - _TURN / 2, _INCLINATION, _TURN, False)
    return keys, (np.where(up, rising[0], falling[0]), np.where(up, rising[1], falling[1]))


class S1Collection:
    """All slices of all satellites."""

    id = ASSET
    properties: Mapping[str, Any] = {"title": "Sentinel-1 GRD", "date_range": [_START_MS, None]}

    def search(
        self, start_ms: float | None, end_ms: float | None, region: BaseGeometry | None
    ) -> Iterator[StoredImage]:
        """Images in asset id order: by satellite, polarisation, time; see `eelocal.assets.StoredCollection`."""
        start = _START_MS if start_ms is None else max(start_ms, _START_MS)
        end = min(time.time() * 1000, float("inf") if end_ms is None else end_ms)
        keys = list(touching(region, *_slices(), _REACH, lambda key: strip_of(*key)))
        step = DAY_MS // 12 if region is None else 4 * _CYCLE_MS
        for satellite in _SATELLITES:
            for kind in ("1SDH", "1SDV", "1SSV"):
                for found in _between(satellite, keys, start, end, step):
                    if found.kind == kind:
                        yield found

    def get(self, index: str) -> StoredImage | None:
        """The image with that `system:index`, or None."""
        parts = index.split("_")
        began = parse_stamp(parts[4]) if len(parts) == 9 else None
        if began is None or parts[0][2:] not in _SATELLITES or not parts[6].isdigit():
            return None
        satellite = parts[0][2:]
        orbit = (int(parts[6]) - _SATELLITES[satellite][3] + _ANCHOR_ORBIT - 1) % _ORBITS + 1
        keys = [(orbit, up, n) for up in (True, False) for n in range(_FIRST_SLICE, _LAST_SLICE + 1)]
        found = _between(satellite, keys, began, began + 1, _SLICE_MS)
        return next((image for image in found if image.index == index), None)


def _between(
    satellite: str, keys: list[tuple[int, bool, int]], start: float, end: float, step: float
) -> Iterator[S1Image]:
    """Slices of a satellite that began in [start, end), sorted by time, made one step of time after another."""
    first = np.array([S1Image(satellite, *key, 0).time_ms for key in keys], np.float64)
    low = max(start, _SATELLITES[satellite][0])
    high = min(end, _SATELLITES[satellite][1])
    while low < high:
        top = min(low + step, high)
        batch: list[S1Image] = []
        begin, stop = np.ceil((low - 1000 - first) / _CYCLE_MS), np.ceil((top - first) / _CYCLE_MS)
        for place in np.flatnonzero(stop > begin):
            cycles = range(int(begin[place]), int(stop[place]))
            batch.extend(S1Image(satellite, *keys[place], cycle) for cycle in cycles)
        yield from sorted((i for i in batch if low <= i.time_ms < top and i.exists), key=lambda i: i.index[17:])
        low = top
