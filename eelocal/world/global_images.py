"""Images and collections on grids that cover the Earth, whatever they show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from eelocal.assets import Band, StoredImage
from eelocal.world.globe import GlobalGrid
from eelocal.world.sun import DAY_MS

# Values and validity of a block at a time: (grid at its level, rows, columns, time in ms)
Maker = Callable[[GlobalGrid, slice, slice, float], tuple[NDArray[Any], NDArray[np.bool_]]]


@dataclass(frozen=True)
class GlobalBand:
    """One band of a global image."""

    name: str
    dtype: np.dtype[Any]
    make: Maker
    pyramiding: str = "MEAN"

    def typed(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values in the band's type; integers rounded and held within it."""
        if self.dtype.kind == "f" or values.dtype == self.dtype:
            return values.astype(self.dtype)
        info = np.iinfo(self.dtype)
        return np.asarray(np.clip(np.rint(values), info.min, info.max), self.dtype)

    def stored(self, grid: GlobalGrid) -> Band:
        """The band as it is stored on a grid."""
        limits = None
        if self.dtype.kind != "f":
            info = np.iinfo(self.dtype)
            limits = (int(info.min), int(info.max))
        return Band(self.name, self.dtype, grid.crs, grid.transform, grid.width, grid.height, limits, self.pyramiding)


@dataclass(frozen=True)
class GlobalImage:
    """One image on a global grid."""

    id: str
    version: int
    grid: GlobalGrid
    content: tuple[GlobalBand, ...]
    time_ms: int
    extent: tuple[float, float, float, float]  # west, south, east, north
    extra: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """Properties, the footprint among them."""
        west, south, east, north = self.extent
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        return {
            "system:index": self.id.rsplit("/", 1)[-1],
            "system:footprint": {"type": "LinearRing", "coordinates": ring},
            "system:asset_size": int(self.grid.width * self.grid.height * 0.3) * len(self.content),
            **self.extra,
        }

    @property
    def footprint(self) -> BaseGeometry:
        """Its extent in longitude and latitude."""
        return box(*self.extent)

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """Its bands, all on one grid."""
        return tuple(band.stored(self.grid) for band in self.content)

    def read(
        self, band: str, level: int, col: int, row: int, width: int, height: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels of a window at a pyramid level; see `eelocal.assets.StoredImage`."""
        spec = next(b for b in self.content if b.name == band)
        grid = self.grid.at_level(level)
        values = np.zeros((height, width), spec.dtype)
        valid = np.zeros((height, width), np.bool_)
        for rows, columns in grid.blocks(col, row, width, height):
            made, there = spec.make(grid, rows, columns, self.time_ms)
            target = (slice(rows.start - row, rows.stop - row), slice(columns.start - col, columns.stop - col))
            values[target] = np.where(there, spec.typed(made), spec.dtype.type(0))
            valid[target] = there
        return values, valid


@dataclass(frozen=True)
class Steps:
    """When the images of a series are: each starts at one of its days, or at a moment of one."""

    first: date
    late: timedelta  # how long after its start an image is published
    days: Callable[[int], list[date]]  # start days within a year
    length: timedelta
    name: str  # strftime format of the index

    def starts(self, start_ms: float | None, end_ms: float | None) -> Iterator[date]:
        """Start days in [start_ms, end_ms) that are published by now."""
        newest = datetime.fromtimestamp(time.time(), UTC) - self.late
        last_ms = newest.timestamp() * 1000 if end_ms is None else min(end_ms, newest.timestamp() * 1000)
        first_ms = max(milliseconds(self.first), start_ms if start_ms is not None else float("-inf"))
        if last_ms < first_ms:
            return
        years = range(_year(first_ms), _year(last_ms) + 1)
        for day in (day for year in years for day in self.days(year)):
            if first_ms <= milliseconds(day) < last_ms:
                yield day


def milliseconds(day: date) -> int:
    """Start of a day, UTC, or a moment of it."""
    if isinstance(day, datetime):
        return int(day.timestamp() * 1000)
    return (day - date(1970, 1, 1)).days * DAY_MS


def _year(time_ms: float) -> int:
    return (date(1970, 1, 1) + timedelta(days=time_ms // DAY_MS)).year


def every_day(year: int) -> list[date]:
    """All days of a year."""
    first = date(year, 1, 1)
    return [first + timedelta(days=n) for n in range((date(year + 1, 1, 1) - first).days)]


def every_16_days(year: int) -> list[date]:
    """Days 1, 17, 33 ... 353 of a year: the composites of MODIS."""
    return [date(year, 1, 1) + timedelta(days=n) for n in range(0, 353, 16)]


@dataclass(frozen=True)
class GlobalSeries:
    """A collection of global images, one after another."""

    id: str
    title: str
    grid: GlobalGrid
    content: tuple[GlobalBand, ...]
    steps: Steps
    extent: tuple[float, float, float, float]

    @property
    def properties(self) -> Mapping[str, Any]:
        """Properties of the collection."""
        return {"title": self.title, "date_range": [milliseconds(self.steps.first), None]}

    def search(
        self, start_ms: float | None, end_ms: float | None, region: BaseGeometry | None
    ) -> Iterator[StoredImage]:
        """Images in asset id order; see `eelocal.assets.StoredCollection`."""
        if region is not None and not box(*self.extent).intersects(region):
            return
        for day in self.steps.starts(start_ms, end_ms):
            yield self._image(day)

    def get(self, index: str) -> StoredImage | None:
        """The image with that `system:index`, or None."""
        try:
            start = milliseconds(datetime.strptime(index, self.steps.name).replace(tzinfo=UTC))
        except ValueError:
            return None
        return next((self._image(d) for d in self.steps.starts(start, start + 1) if self._name(d) == index), None)

    def _name(self, day: date) -> str:
        return day.strftime(self.steps.name)

    def _image(self, day: date) -> GlobalImage:
        start = milliseconds(day)
        end = start + int(self.steps.length.total_seconds() * 1000)
        times = {"system:time_start": start, "system:time_end": end}
        version = (start + int(self.steps.late.total_seconds() * 1000)) * 1000
        return GlobalImage(f"{self.id}/{self._name(day)}", version, self.grid, self.content, start, self.extent, times)
