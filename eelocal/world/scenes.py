"""Which Sentinel-2 scenes exist: granules seen by passes, named and ordered as Earth Engine orders them.

A scene is a granule and a pass. Both are numbers, so any scene can be found from its `system:index` alone and nothing
has to be stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from eelocal.values.geometry import prepared
from eelocal.world import mgrs, utm
from eelocal.world.hashing import scalar_hash, scalar_unit
from eelocal.world.mgrs import GRANULE_SIZE, Granule
from eelocal.world.orbit import ORBITS, PERIOD_MS, SWATH_HALF, Pass, cross_track, cycles_between
from eelocal.world.sun import DAY_MS, Sun, sun_at
from eelocal.world.weather import Overpass

L2A_START_MS = 1_490_659_200_000  # 2017-03-28, the first Level-2A scenes
L1C_START_MS = 1_435_363_200_000  # 2015-06-27
_LONGEST_TAKE_MS = 40 * 60_000
_WINDOW_MS = 5 * DAY_MS
_MIN_SHARE = 0.005  # of a granule; less of it is not kept as a scene
_SAMPLES = 46  # places a side at which the swath's edge is looked for
_ALL_ORBITS = np.arange(1, ORBITS + 1)
_DAYLIGHT_MS = PERIOD_MS * 0.26  # only the descending half of a revolution is used
_HOUR_MS = 3_600_000
_LARGE_REGION = 120.0  # square degrees; beyond it passes are walked one after another, not granule by granule


def stamp(time_ms: float) -> str:
    """`YYYYMMDDTHHMMSS`, UTC."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y%m%dT%H%M%S")


def parse_stamp(text: str) -> int | None:
    """Milliseconds since 1970 of a stamp; None if it is none."""
    try:
        return int(datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None


@dataclass(frozen=True)
class View:
    """A granule as one relative orbit sees it; what the swath leaves of it is worked out when first asked."""

    granule: Granule
    relative_orbit: int
    after_node_ms: float  # when the middle of the granule is seen, after the descending node

    @cached_property
    def _cut(self) -> tuple[float, Polygon]:
        return _cut_by_swath(self.granule, self.relative_orbit)

    @property
    def share(self) -> float:
        """Share of the granule inside the swath, 0..1."""
        return self._cut[0]

    @property
    def exists(self) -> bool:
        """Whether enough of the granule is seen to make a scene."""
        return self.share >= _MIN_SHARE

    @property
    def outline(self) -> Polygon:
        """What is inside the swath, in longitude and latitude, continuous around the zone."""
        return self._cut[1]

    @cached_property
    def footprint(self) -> BaseGeometry:
        """What is inside the swath, in longitude and latitude within 180 degrees."""
        return mgrs.wrapped(self.outline)


@dataclass(frozen=True)
class Scene:
    """One granule on one pass."""

    view: View
    overflight: Pass

    @property
    def granule(self) -> Granule:
        """The granule."""
        return self.view.granule

    @cached_property
    def time_ms(self) -> int:
        """When the granule was seen: `system:time_start`."""
        return int(self.overflight.node_ms + self.view.after_node_ms)

    @cached_property
    def datatake_ms(self) -> int:
        """When the datatake that holds it began: the first stamp of the index."""
        return self.overflight.datatake_start(self.view.after_node_ms)

    @cached_property
    def datastrip_ms(self) -> int:
        """When its datastrip began: the second stamp of the index."""
        take = self.datatake_ms
        if scalar_unit("datastrip", self.overflight.relative_orbit, self.overflight.cycle, take) < 0.4:
            return take
        return take + int(max(self.time_ms - take, 0) // 240_000) * 240_000

    @cached_property
    def index(self) -> str:
        """`system:index`."""
        return f"{stamp(self.datatake_ms)}_{stamp(self.datastrip_ms)}_T{self.granule.name}"

    @cached_property
    def generation_ms(self) -> int:
        """When the product was made: hours after it was seen."""
        delay = 3.5 + 8 * scalar_unit("generation", self.overflight.relative_orbit, self.overflight.cycle)
        return int(self.time_ms + delay * 3_600_000) // 1000 * 1000

    @property
    def published(self) -> bool:
        """Whether it is in the archive by now."""
        return self.time_ms >= L1C_START_MS and self.generation_ms < time.time() * 1000

    def sun_near(self, zone: int, column: int, row: int) -> Sun:
        """The sun over a 100 km square: the same for every granule that reaches into the square."""
        return _sun_near(self.overflight, zone, column, row)

    @cached_property
    def overpass(self) -> Overpass:
        """What the weather hangs on: the same for all granules of a pass."""
        key = scalar_hash("sky", self.overflight.relative_orbit, self.overflight.cycle)
        return Overpass(key, round(self.overflight.node_ms))

    @cached_property
    def sun(self) -> Sun:
        """The sun over the middle of the granule."""
        return sun_at(self.time_ms, *self.granule.centre)


@lru_cache(maxsize=4096)
def _sun_near(overflight: Pass, zone: int, column: int, row: int) -> Sun:
    lon, lat = utm.inverse((column + 0.5) * mgrs.SQUARE, (row + 0.5) * mgrs.SQUARE, zone)
    _, after = cross_track(lon, lat, overflight.relative_orbit)
    return sun_at(overflight.node_ms + float(after), float(lon), float(lat))


@lru_cache(maxsize=2048)
def views_of(granule: Granule) -> tuple[View, ...]:
    """How every relative orbit that sees a granule sees it."""
    across, after = cross_track(*granule.centre, _ALL_ORBITS)
    near = np.flatnonzero((np.abs(across) < SWATH_HALF + 0.8) & (np.abs(after) < _DAYLIGHT_MS))
    views = (view_of(granule, int(_ALL_ORBITS[i])) for i in near)
    return tuple(view for view in views if view.exists)


@lru_cache(maxsize=16384)
def view_of(granule: Granule, orbit: int) -> View:
    """How one relative orbit sees a granule."""
    return View(granule, orbit, float(cross_track(*granule.centre, orbit)[1]))


def _cut_by_swath(granule: Granule, orbit: int) -> tuple[float, Polygon]:
    """Share of a granule inside the swath, and the outline of that part."""
    x = granule.left + np.linspace(0, GRANULE_SIZE, _SAMPLES)
    y = granule.top - np.linspace(0, GRANULE_SIZE, _SAMPLES)
    lon, lat = utm.inverse(x[None, :], y[:, None], granule.zone)
    across, _ = cross_track(lon, lat, orbit)
    if (np.abs(across) <= SWATH_HALF).all():
        return 1.0, granule.outline
    ring = _swath_ring(x, y, across)
    if len(ring) < 4:
        return 0.0, Polygon()
    ring_lon, ring_lat = utm.inverse(ring[:, 0], ring[:, 1], granule.zone)
    outline = Polygon(np.column_stack([ring_lon, ring_lat])).buffer(0)
    if not isinstance(outline, Polygon) or outline.is_empty:
        return 0.0, Polygon()
    return float(Polygon(ring).buffer(0).area / GRANULE_SIZE**2), outline


def _swath_ring(x: NDArray[np.float64], y: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a granule within the swath: its left side from the north down, then its right side back up."""
    left, right = [], []
    for northing, row in zip(y, across, strict=True):
        if row[-1] <= -SWATH_HALF or row[0] >= SWATH_HALF:
            continue
        west, east = np.interp([-SWATH_HALF, SWATH_HALF], row, x)
        left.append((west, northing))
        right.append((east, northing))
    return np.array(left + right[::-1])


def search_scenes(start_ms: float, end_ms: float, region: BaseGeometry | None) -> Iterator[Scene]:
    """Scenes seen in [start_ms, end_ms) whose footprint touches a region, in the order of their indices."""
    start_ms, end_ms = max(start_ms, L1C_START_MS), min(end_ms, time.time() * 1000)
    if region is None:
        candidates = _walk_passes(start_ms, end_ms, None)
    elif _extent(region) > _LARGE_REGION:
        candidates = _walk_passes(start_ms, end_ms, region)
    else:
        candidates = _walk_granules(mgrs.granules_touching(region), start_ms, end_ms)
    turns = [] if region is None else [prepared(affinity.translate(region, turn)) for turn in (0, -360, 360)]
    for scene in candidates:
        if start_ms <= scene.time_ms < end_ms and scene.published and scene.view.exists:
            outline = scene.view.outline
            if region is None or any(turned.intersects(outline) for turned in turns):
                yield scene


def _extent(region: BaseGeometry) -> float:
    boxes = [part.bounds for part in getattr(region, "geoms", [region]) if not part.is_empty]
    return float(sum((east - west) * (north - south) for west, south, east, north in boxes))


def _walk_granules(granules: list[Granule], start_ms: float, end_ms: float) -> Iterator[Scene]:
    """Scenes of a few granules: five days at a time, sorted."""
    views = [view for granule in granules for view in views_of(granule)]
    first = int((start_ms - _LONGEST_TAKE_MS) // _WINDOW_MS)
    for number in range(first, int(end_ms // _WINDOW_MS) + 1):
        window = number * _WINDOW_MS
        batch = [scene for view in views for scene in _begun_in(view, window, window + _WINDOW_MS)]
        yield from sorted(batch, key=lambda scene: scene.index)


def _walk_passes(start_ms: float, end_ms: float, region: BaseGeometry | None) -> Iterator[Scene]:
    """Scenes of the whole Earth, or of a large part: an hour of datatakes at a time, sorted."""
    granules, longitude, latitude = _all_granules()
    near = np.ones(len(granules), np.bool_)
    if region is not None:
        west, south, east, north = region.bounds
        near = (latitude > south - 1.5) & (latitude < north + 1.5)
        if east - west < 350:
            reach = 1.5 / np.cos(np.radians(latitude)) + (east - west) / 2
            near &= np.abs((longitude - (west + east) / 2 + 180) % 360 - 180) < reach
    chosen = np.flatnonzero(near)
    first = int((start_ms - _LONGEST_TAKE_MS) // _HOUR_MS)
    for hour in range(first, int(end_ms // _HOUR_MS) + 1):
        batch: list[Scene] = []
        for orbit in range(1, ORBITS + 1):
            around = (hour * _HOUR_MS - _DAYLIGHT_MS, (hour + 1) * _HOUR_MS + _DAYLIGHT_MS + _LONGEST_TAKE_MS)
            if not cycles_between(orbit, *around):
                continue
            across, after = cross_track(longitude[chosen], latitude[chosen], orbit)
            seen = chosen[(np.abs(across) < SWATH_HALF + 0.8) & (np.abs(after) < _DAYLIGHT_MS)]
            for view in (view_of(granules[i], orbit) for i in seen):
                batch.extend(_begun_in(view, hour * _HOUR_MS, (hour + 1) * _HOUR_MS))
        yield from sorted(batch, key=lambda scene: scene.index)


@lru_cache(maxsize=1)
def _all_granules() -> tuple[list[Granule], NDArray[np.float64], NDArray[np.float64]]:
    """Every granule with the longitude and latitude of its middle."""
    granules = list(mgrs.all_granules())
    centres = np.zeros((len(granules), 2))
    zones = np.array([granule.zone for granule in granules])
    half = GRANULE_SIZE / 2
    east = np.array([granule.left + half for granule in granules])
    north = np.array([granule.top - half for granule in granules])
    for zone in range(1, 61):
        mine = zones == zone
        lon, lat = utm.inverse(east[mine], north[mine], zone)
        centres[mine] = np.column_stack([lon, lat])
    return granules, centres[:, 0], centres[:, 1]


def _begun_in(view: View, start_ms: float, end_ms: float) -> Iterator[Scene]:
    """Scenes of a view whose datatake began in a stretch of time."""
    seen = (start_ms - view.after_node_ms, end_ms + _LONGEST_TAKE_MS - view.after_node_ms)
    for cycle in cycles_between(view.relative_orbit, *seen):
        scene = Scene(view, Pass(view.relative_orbit, cycle))
        if scene.overflight.satellite and start_ms <= scene.datatake_ms < end_ms:
            yield scene


def scene_named(index: str) -> Scene | None:
    """The scene of a `system:index`, or None."""
    parts = index.split("_")
    begun = parse_stamp(parts[0]) if len(parts) == 3 else None
    granule = mgrs.granule_named(parts[2][1:]) if begun is not None and parts[2].startswith("T") else None
    if begun is None or granule is None:
        return None
    for view in views_of(granule):
        for scene in _begun_in(view, begun, begun + 1):
            if scene.index == index and scene.published:
                return scene
    return None
