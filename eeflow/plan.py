"""From scenes and a grid to requests that Earth Engine answers: pure arithmetic, no network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Literal

import numpy as np
import pyproj
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from eeflow.aoi import AOI
from eeflow.config import Job, Limits, digest, safe_name
from eeflow.errors import LimitExceeded
from eeflow.grid import Window, crs_name, grid_hash, windows
from eeflow.scenes import Scene, band_dtype

# getRegion answers at most this many values, counted as points x bands x images:
# https://developers.google.com/earth-engine/apidocs/ee-imagecollection-getregion
MAX_VALUES = 1_048_576
# Rows are what an answer weighs (about 95 bytes of JSON each, whatever the number of bands) and what its decoding
# costs in memory; an answer is refused above 100 MiB: https://developers.google.com/earth-engine/guides/usage
MAX_ROWS = 300_000
# Windows are whole numbers of GeoTIFF tiles, so that each tile is compressed and written once.
TILE = 256
_BYTES_PER_ROW = 88
_BYTES_PER_VALUE = 7


@dataclass(frozen=True)
class BandType:
    """A band as it is delivered: its name and numpy dtype."""

    name: str
    dtype: str


@dataclass(frozen=True)
class Series:
    """Everything that decides which pixels are fetched: the images, the bands and the one grid.

    Attributes:
        source: asset id of the collection, or of the single image.
        is_image: whether the source is a single image.
        region: how a window is named to Earth Engine, `rectangle` or `points`.
    """

    source: str
    is_image: bool
    scenes: tuple[Scene, ...]
    bands: tuple[BandType, ...]
    grid: GeoBox
    region: Literal["rectangle", "points"] = "rectangle"

    def scene(self, scene_id: str) -> Scene:
        """The scene of that id."""
        return self._by_id[scene_id]

    @cached_property
    def _by_id(self) -> dict[str, Scene]:
        return {scene.scene_id: scene for scene in self.scenes}

    def band(self, name: str) -> BandType:
        """The band of that name."""
        return next(band for band in self.bands if band.name == name)

    def block_key(self, scene_id: str, bands: Sequence[str], window: Window) -> str:
        """Content hash of a block: another version, band, dtype or grid never meets an old block."""
        part = window.of(self.grid)
        return digest(
            [
                "block-1",
                self.source,
                scene_id,
                self.scene(scene_id).version,
                [[name, self.band(name).dtype] for name in bands],
                crs_name(part),
                list(part.transform)[:6],
                list(part.shape),
            ]
        )


@dataclass(frozen=True)
class Request:
    """One getRegion call: some scenes, some bands, one window of the grid."""

    scene_ids: tuple[str, ...]
    bands: tuple[str, ...]
    window: Window

    @property
    def rows(self) -> int:
        """Rows of its answer, at most."""
        return self.window.size * len(self.scene_ids)

    @property
    def values(self) -> int:
        """What Earth Engine counts against its limit."""
        return self.rows * len(self.bands)

    def split(self) -> list[Request]:
        """Smaller requests for the same pixels: window in 4, then scenes in 2, then bands in 2.

        One pixel of one band of one scene cannot be split: then the list holds only this request.
        """
        if self.window.size > 1:
            return [replace(self, window=part) for part in self.window.quarters()]
        if len(self.scene_ids) > 1:
            return [replace(self, scene_ids=part) for part in _in_two(self.scene_ids)]
        if len(self.bands) > 1:
            return [replace(self, bands=part) for part in _in_two(self.bands)]
        return [self]


@dataclass(frozen=True)
class Product:
    """One output raster.

    Attributes:
        name: file name without its ending.
        scene_id: the scene it shows.
        key: content hash; a product already on disk under this key is not made again.
    """

    name: str
    scene_id: str
    time_start: datetime | None
    key: str


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        products: every product of the job.
        outline: in the grid's CRS, what products are clipped to; None to keep the whole grid.
        band_groups: bands asked for together.
        windows: the grid's windows, the same for every scene.
        requests: what has to be asked for.
    """

    series: Series
    products: tuple[Product, ...]
    band_groups: tuple[tuple[str, ...], ...]
    windows: tuple[Window, ...]
    requests: tuple[Request, ...]
    outline: BaseGeometry | None = None

    @property
    def values(self) -> int:
        """Values of all requests."""
        return sum(request.values for request in self.requests)

    @property
    def wire_bytes(self) -> int:
        """Estimated JSON of all answers, before compression."""
        rows = sum(request.rows for request in self.requests)
        return rows * _BYTES_PER_ROW + self.values * _BYTES_PER_VALUE

    @property
    def pixel_bytes(self) -> int:
        """Uncompressed size of the pixels to fetch."""
        size = {band.name: np.dtype(band.dtype).itemsize for band in self.series.bands}
        return sum(request.rows * sum(size[name] for name in request.bands) for request in self.requests)

    def blocks_of(self, product: Product) -> Iterator[tuple[Window, tuple[str, ...], str]]:
        """Window, bands and block key of each block a product is made of."""
        for window in self.windows:
            for bands in self.band_groups:
                yield window, bands, self.series.block_key(product.scene_id, bands, window)


def make_series(job: Job, scenes: Sequence[Scene], bands: Sequence[str], grid: GeoBox) -> Series:
    """The series of a job: its scenes and bands on its grid."""
    return Series(
        source=str(job.image or job.collection),
        is_image=job.image is not None,
        scenes=tuple(scenes),
        bands=tuple(BandType(name, str(band_dtype(name, scenes))) for name in bands),
        grid=grid,
        region=job.region,
    )


def make_plan(
    job: Job,
    series: Series,
    outline: BaseGeometry | None = None,
    is_done: Callable[[Product], bool] = lambda product: False,
) -> Plan:
    """What to ask for, given the products that are already there.

    Args:
        job: its `fan_out` decides whether bands are asked for together.
        series: what is wanted.
        outline: in the grid's CRS, what to clip products to; None to keep the whole grid.
        is_done: whether the product is on disk, whole.
    """
    groups = band_groups([band.name for band in series.bands], job.fan_out)
    height, width = window_shape(series.grid.shape, max(len(group) for group in groups))
    parts = tuple(windows(series.grid, height, width))
    products = name_products(job.name, series, outline)
    wanted = [product.scene_id for product in products if not is_done(product)]
    requests = tuple(request for group in groups for window in parts for request in _requests(wanted, group, window))
    return Plan(series, products, groups, parts, requests, outline)


def outline(job: Job, aoi: AOI, grid: GeoBox) -> BaseGeometry | None:
    """What the job's products are clipped to, in the grid's CRS; None when it does not clip."""
    return aoi.to_crs(pyproj.CRS.from_wkt(grid.crs.to_wkt())) if job.aoi.clip else None


def check_limits(plan: Plan, limits: Limits) -> None:
    """Raises LimitExceeded when the plan is larger than the job allows."""
    if len(plan.requests) > limits.max_requests:
        raise LimitExceeded(
            f"The plan needs {len(plan.requests):,} requests; limits.max_requests is {limits.max_requests:,}. Take a "
            "smaller area, fewer bands or dates or a coarser grid.resolution, or raise the limit."
        )
    gib = plan.pixel_bytes / 2**30
    if gib > limits.max_gib:
        raise LimitExceeded(
            f"The plan fetches {gib:,.1f} GiB of pixels; limits.max_gib is {limits.max_gib:g}. Take a smaller area, "
            "fewer bands or dates or a coarser grid.resolution, or raise the limit."
        )


def band_groups(bands: Sequence[str], fan_out: str) -> tuple[tuple[str, ...], ...]:
    """Bands that are asked for together: each alone for `bands`, else as many as one tile-sized window may carry.

    Together is the fewer requests, since a row carries id, coordinates and time once for all its bands.
    """
    most = 1 if fan_out == "bands" else MAX_VALUES // TILE**2
    count = math.ceil(len(bands) / most)
    size = math.ceil(len(bands) / count)
    return tuple(tuple(bands[start : start + size]) for start in range(0, len(bands), size))


def window_shape(shape: tuple[int, int], bands: int) -> tuple[int, int]:
    """Height and width of windows for one scene within the limits: the fewest windows, then the squarest.

    The whole grid where it fits; otherwise multiples of `TILE` (or the grid's full height or width).
    """
    height, width = shape
    most = min(MAX_ROWS, MAX_VALUES // bands)
    if height * width <= most:
        return height, width
    sizes = range(TILE, height + TILE, TILE)
    heights = [min(size, height) for size in sizes if size * min(TILE, width) <= most or size == TILE]
    choices = []
    for rows in heights:
        cols = width if rows * width <= most else max(TILE, most // rows // TILE * TILE)
        count = math.ceil(height / rows) * math.ceil(width / cols)
        choices.append((count, abs(rows - cols), rows, cols))
    _, _, rows, cols = min(choices)
    return rows, cols


def name_products(name: str, series: Series, outline: BaseGeometry | None = None) -> tuple[Product, ...]:
    """The products of a series: one a scene, named by its time; a number is added where two would share a name."""
    taken: set[str] = set()
    products = []
    for scene in series.scenes:
        stem = f"{name}_{scene.time_start:%Y%m%dT%H%M%S}" if scene.time_start else _timeless(name, scene, series)
        numbered = (f"{stem}_{number}" for number in itertools.count(2))
        unique = next(text for text in itertools.chain([stem], numbered) if text not in taken)
        taken.add(unique)
        products.append(Product(unique, scene.scene_id, scene.time_start, _product_key(series, scene, outline)))
    return tuple(products)


def _timeless(name: str, scene: Scene, series: Series) -> str:
    return name if series.is_image else f"{name}_{safe_name(scene.scene_id)}"


def _product_key(series: Series, scene: Scene, outline: BaseGeometry | None) -> str:
    bands = [[band.name, band.dtype] for band in series.bands]
    clip = outline.wkb_hex if outline else None
    return digest(["product-1", series.source, scene.scene_id, scene.version, bands, grid_hash(series.grid), clip])[:16]


def _requests(scene_ids: Sequence[str], bands: tuple[str, ...], window: Window) -> Iterator[Request]:
    """As many scenes together as one answer may hold."""
    together = max(1, min(MAX_ROWS // window.size, MAX_VALUES // (window.size * len(bands))))
    for start in range(0, len(scene_ids), together):
        yield Request(tuple(scene_ids[start : start + together]), bands, window)


def _in_two(items: tuple[str, ...]) -> list[tuple[str, ...]]:
    half = (len(items) + 1) // 2
    return [items[:half], items[half:]]
