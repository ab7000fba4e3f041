"""What the page tells: of each product what became of it, and of the folder what they are together."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import pyproj
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from eeflow.aoi import AOI
from eeflow.grid import crs_name, pixel_metres
from eeflow.gridfile import read_area, read_grid
from eeflow.ledger import Entry, Ledger
from eeflow.presets import preset_for
from eeflow.stac import grid_outline, item_name
from eeflow.table import STATISTICS, area_table, read_table, table_path

# A wait between products this many times the usual one is shown as a gap.
_GAP = 2.5
_ATTRIBUTIONS = {
    "COPERNICUS/": "Contains modified Copernicus Sentinel data {years}",
    "LANDSAT/": "Landsat imagery courtesy of the U.S. Geological Survey",
    "MODIS/": "MODIS data courtesy of NASA",
}


@dataclass(frozen=True)
class Shown:
    """A product on the page: its row, and its times in seconds since 1970 (None where it has none)."""

    row: Entry
    start: float | None
    end: float | None

    @classmethod
    def of(cls, row: Entry) -> Shown:
        """The product of a row of the ledger."""
        start = _seconds(row.time_start)
        end = _seconds(row.time_end)
        return cls(row, start, start if end is None else end)

    @property
    def name(self) -> str:
        """Its file's name without the ending."""
        return Path(self.row.path).stem

    @property
    def day(self) -> str:
        """Its day, or its period, for people."""
        if self.start is None or self.end is None:
            return "no date"
        first, last = (datetime.fromtimestamp(at, UTC) for at in (self.start, self.end))
        if last - first < pd.Timedelta(days=1):
            return f"{first:%-d %b %Y}"
        form = "%-d" if (first.year, first.month) == (last.year, last.month) else "%-d %b"
        return f"{first.strftime(form if first.year == last.year else '%-d %b %Y')} to {last:%-d %b %Y}"

    @property
    def valid(self) -> float | None:
        """Share of its pixels that are valid; None where they were not counted."""
        return None if self.row.valid_pixels is None else self.row.valid_fraction

    @property
    def story(self) -> str:
        """In a line, what became of it."""
        facts = [f"{self.day}: {self.row.status}"]
        if self.valid is not None:
            facts.append(f"{self.valid:.0%} valid")
        if self.row.cloud_fraction is not None:
            facts.append(f"{self.row.cloud_fraction:.0%} cloud")
        if self.row.remark:
            facts.append(self.row.remark)
        return ", ".join(facts)


Point = tuple[float, Shown, dict[str, float]]
"""Time in seconds, the product, and its `mean`, `median`, `std` in physical values and `count`."""


@dataclass(frozen=True)
class Band:
    """A band's mean over the area through time.

    Attributes:
        scale: physical value = stored number * scale + offset.
        points: by time.
    """

    name: str
    unit: str
    scale: float
    offset: float
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Facts:
    """All that the page tells of a folder.

    Attributes:
        products: by time; of each the latest that is known.
        area: in longitude and latitude; None where it was not kept.
        footprints: outlines in longitude and latitude, and how many products have each.
    """

    folder: Path
    name: str
    source: str
    grid: GeoBox | None
    area: BaseGeometry | None
    products: tuple[Shown, ...]
    bands: tuple[Band, ...]
    footprints: tuple[tuple[BaseGeometry, int], ...]

    @cached_property
    def written(self) -> list[Shown]:
        """Products on disk."""
        return [shown for shown in self.products if shown.row.on_disk]

    @cached_property
    def absent(self) -> list[Shown]:
        """Products that are not on disk."""
        return [shown for shown in self.products if not shown.row.on_disk]

    @cached_property
    def counts(self) -> Counter[str]:
        """Products by status."""
        return Counter(shown.row.status for shown in self.products)

    @property
    def size(self) -> int:
        """Bytes of all GeoTIFFs."""
        return sum(shown.row.size or 0 for shown in self.written)

    @property
    def period(self) -> tuple[float, float] | None:
        """From the first to the last time, seconds."""
        starts = [shown.start for shown in self.products if shown.start is not None]
        ends = [shown.end for shown in self.products if shown.end is not None]
        return (min(starts), max(ends)) if starts else None

    @cached_property
    def gaps(self) -> list[tuple[float, float]]:
        """Waits between products on disk that are much longer than those between all that were to be, seconds."""
        lengths = [after - before for before, after in _waits(self.products) if after > before]
        longest = max(_GAP * median(lengths), 2 * 86400) if lengths else math.inf
        return [(before, after) for before, after in _waits(self.written) if after - before > longest]

    @property
    def title(self) -> str:
        """What the collection is called."""
        preset = preset_for(self.source)
        return preset.title if preset else self.source

    @property
    def grid_text(self) -> str:
        """The grid in a line."""
        if self.grid is None:
            return ""
        metres = pixel_metres(self.grid.crs.to_wkt(), self.grid.transform)
        height, width = self.grid.shape
        return f"{width:,} x {height:,} pixels of {metres:.4g} m, {crs_name(self.grid)[:60]}"

    @property
    def attribution(self) -> str:
        """Whose imagery it is."""
        words = next((words for start, words in _ATTRIBUTIONS.items() if self.source.startswith(start)), "")
        years = sorted({datetime.fromtimestamp(at, UTC).year for at in self.period or ()})
        return words.format(years="-".join(str(year) for year in years))


def _waits(products: Iterable[Shown]) -> list[tuple[float, float]]:
    """From the end of each product to the start of the next."""
    times = sorted((shown.start, shown.end) for shown in products if shown.start is not None and shown.end is not None)
    return [(before[1], after[0]) for before, after in pairwise(times)]


def gather(folder: Path) -> Facts:
    """Reads what the page tells of a job's folder: the ledger, the grid, the area, the table, the items.

    Raises:
        LedgerError: the ledger cannot be read.
        GridError: the grid's file was changed or damaged.
    """
    rows = list(Ledger(folder).by_product_id().values())
    products = tuple(sorted(map(Shown.of, rows), key=lambda shown: (shown.start or 0, shown.name)))
    intact = [shown for shown in products if shown.row.on_disk and (folder / shown.row.path).exists()]
    grid, area = read_grid(folder), read_area(folder)
    source = _source(folder, intact)
    bands = _bands(folder, source, grid, area, intact) if grid is not None else ()
    return Facts(folder, folder.resolve().name, source, grid, area, products, bands, _footprints(folder, grid, intact))


def _source(folder: Path, intact: list[Shown]) -> str:
    if not intact:
        return ""
    with rasterio.open(folder / intact[-1].row.path) as raster:
        return str(raster.tags().get("COLLECTION", ""))


def _bands(folder: Path, source: str, grid: GeoBox, area: BaseGeometry | None, intact: list[Shown]) -> tuple[Band, ...]:
    if not intact:
        return ()
    crs = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    inside = AOI(area, pyproj.CRS("EPSG:4326")).to_crs(crs) if area else shapely.box(*grid.boundingbox)
    tables = (read_table(table_path(folder, folder.resolve().name, form)) for form in ("csv", "parquet"))
    known = next((table for table in tables if table is not None), None)
    table = area_table(folder, inside, [shown.row for shown in intact], known)
    by_name = {row["product"]: row for row in table.to_dict("records")}
    with rasterio.open(folder / intact[-1].row.path) as raster:
        facts = zip(raster.descriptions, raster.scales, raster.offsets, raster.units, strict=True)
        bands = [Band(name or "", unit or "", scale, offset, ()) for name, scale, offset, unit in facts]
    preset = preset_for(source)
    own = preset.bands if preset else {}  # indices, which people look for, come before what they are made of
    return tuple(_with_points(band, by_name, intact) for band in sorted(bands, key=lambda band: band.name in own))


def _with_points(band: Band, table: dict[str, dict[Any, Any]], intact: list[Shown]) -> Band:
    points = []
    for shown in intact:
        found = {name: table[shown.name].get(f"{band.name}_{name}") for name in STATISTICS}
        if shown.start is None or shown.end is None or any(pd.isna(value) for value in found.values()):
            continue
        numbers = {name: float(value) for name, value in found.items() if value is not None}
        physical = {name: numbers[name] * band.scale + band.offset for name in ("mean", "median")}
        physical |= {"std": numbers["std"] * abs(band.scale), "count": numbers["count"]}
        points.append(((shown.start + shown.end) / 2, shown, physical))
    return Band(band.name, band.unit, band.scale, band.offset, tuple(points))


def _footprints(folder: Path, grid: GeoBox | None, intact: list[Shown]) -> tuple[tuple[BaseGeometry, int], ...]:
    """Of the items; the grid's outline stands for products without one."""
    outline = json.dumps(grid_outline(grid)[0], sort_keys=True) if grid is not None else None
    counts: Counter[str | None] = Counter()
    for shown in intact:
        try:
            item = json.loads((folder / item_name(shown.row.path)).read_text(encoding="utf-8"))
            counts[json.dumps(item["geometry"], sort_keys=True)] += 1
        except (OSError, ValueError, KeyError, TypeError):
            counts[outline] += 1
    return tuple((shapely.geometry.shape(json.loads(text)), count) for text, count in counts.items() if text)


def _seconds(time: str | None) -> float | None:
    return None if time is None else datetime.fromisoformat(time).timestamp()
