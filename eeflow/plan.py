"""From scenes and a grid to requests that Earth Engine answers: pure arithmetic, no network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import pyproj
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from eeflow.aoi import AOI
from eeflow.config import Job, digest, safe_name
from eeflow.encoding import output_content
from eeflow.errors import LimitExceeded
from eeflow.grid import Window, grid_hash, windows
from eeflow.images import Image
from eeflow.options import Limits
from eeflow.series import Request, Series, TransportName
from eeflow.transport import TRANSPORTS, USUAL_PACE, Pace, Transport

# Windows are whole numbers of GeoTIFF tiles, so that each tile is compressed and written once.
TILE = 256
# Windows as large as may be, and of a half, a quarter, ... of that, are weighed against each other, with steps between.
_HALVINGS, _STEPS = 6, 8
_TWICE = 2.0


@dataclass(frozen=True)
class Product:
    """One output raster.

    Attributes:
        name: file name without its ending.
        image: what it shows.
        key: content hash; a product already on disk under this key is not made again.
    """

    name: str
    image: Image
    key: str

    @property
    def time_start(self) -> datetime | None:
        """Of the image's first scene."""
        return self.image.time_start


@dataclass(frozen=True)
class Draft:
    """One way to fetch what is wanted.

    Attributes:
        band_groups: bands asked for together.
        windows: the grid's windows, the same for every scene.
        requests: what has to be asked for.
        answer_bytes: estimated size of all answers, before compression.
        seconds: estimated time.
        seconds_in_all: of all scenes of the series, wanted still or not; it decides between transports, so that a run
            that goes on after another chooses as that one did and finds its blocks.
    """

    transport: TransportName
    band_groups: tuple[tuple[str, ...], ...]
    windows: tuple[Window, ...]
    requests: tuple[Request, ...]
    answer_bytes: int
    seconds: float
    seconds_in_all: float

    @property
    def values(self) -> int:
        """Values of all requests."""
        return sum(request.values for request in self.requests)


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        products: every product of the job.
        drafts: the best way of each transport that could serve, the chosen one first.
        outline: in the grid's CRS, what products are clipped to; None to keep the whole grid.
    """

    series: Series
    products: tuple[Product, ...]
    drafts: tuple[Draft, ...]
    outline: BaseGeometry | None = None

    @property
    def chosen(self) -> Draft:
        """The draft that a run follows."""
        return self.drafts[0]

    @property
    def other(self) -> Plan | None:
        """The same by the next best transport; None where there is no choice."""
        return replace(self, drafts=self.drafts[1:]) if len(self.drafts) > 1 else None

    @property
    def transport(self) -> TransportName:
        """The chosen transport."""
        return self.chosen.transport

    @property
    def requests(self) -> tuple[Request, ...]:
        """What a run asks for."""
        return self.chosen.requests

    @property
    def windows(self) -> tuple[Window, ...]:
        """The grid's windows."""
        return self.chosen.windows

    @property
    def band_groups(self) -> tuple[tuple[str, ...], ...]:
        """Bands asked for together."""
        return self.chosen.band_groups

    @property
    def pixel_bytes(self) -> int:
        """Uncompressed size of the pixels to fetch."""
        size = {band.name: np.dtype(band.dtype).itemsize for band in self.series.bands}
        return sum(request.rows * sum(size[name] for name in request.bands) for request in self.requests)

    def blocks_of(self, product: Product) -> Iterator[tuple[Window, tuple[str, ...], str]]:
        """Window, bands and block key of each block a product is made of."""
        return self.blocks(product.image.image_id)

    def blocks(self, image_id: str) -> Iterator[tuple[Window, tuple[str, ...], str]]:
        """The same of an image."""
        for window in self.windows:
            for bands in self.band_groups:
                yield window, bands, self.series.block_key(image_id, bands, window)


def make_plan(
    job: Job,
    series: Series,
    outline: BaseGeometry | None = None,
    is_done: Callable[[Product], bool] = lambda product: False,
    pace: Pace = USUAL_PACE,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """What to ask for, given the products that are already there, and by which transport.

    getRegion is preferred, since its nulls are exact and a request's scenes are one search; computePixels is taken
    where the estimate makes it at least twice as quick, as it does for large rasters.

    Args:
        job: its `transport` and `fan_out` narrow the choice.
        series: what is wanted.
        outline: in the grid's CRS, what to clip products to; None to keep the whole grid.
        is_done: whether the product is on disk, whole.
        pace: what requests cost.
        names: by image id, the names products had in earlier runs, which they keep.
    """
    products = name_products(job, series, outline, names)
    wanted = [product.image.image_id for product in products if not is_done(product)]
    drafts = [_draft(TRANSPORTS[name], job.fan_out, series, wanted, pace) for name in _transports(job, series)]
    return Plan(series, products, tuple(sorted(drafts, key=_reluctance)), outline)


def _reluctance(draft: Draft) -> float:
    return draft.seconds_in_all * (1 if draft.transport == "get_region" else _TWICE)


def _transports(job: Job, series: Series) -> list[TransportName]:
    """Those a job may use; a grid of points is a thing of getRegion alone."""
    if series.region == "points":
        return ["get_region"]
    return [name for name in TRANSPORTS if job.transport in ("auto", name)]


def _draft(transport: Transport, fan_out: str, series: Series, wanted: Sequence[str], pace: Pace) -> Draft:
    """The quickest size of window for all scenes of the series, and requests for the wanted ones.

    The windows depend neither on what is wanted still nor on the environment: a run that goes on after another finds
    that one's blocks.
    """
    groups = band_groups(transport, series, fan_out)
    budget = min(transport.budget(series, group) for group in groups)
    parts = [(_STEPS + step) / (2 * _STEPS) for step in range(1, _STEPS + 1)]
    sizes = [int(budget / 2**halvings * part) for halvings in range(_HALVINGS) for part in parts]
    shapes = {window_shape(series.grid.shape, size, transport.most_side) for size in sizes}
    layouts = [_Layout(transport, series, groups, budget, shape) for shape in shapes]
    best = min(layouts, key=lambda layout: (layout.seconds(len(series.images), USUAL_PACE), -layout.shape[0]))
    together = best.together(len(wanted), pace)
    requests = tuple(
        Request(tuple(wanted[start : start + together]), group, window, transport.name)
        for group in groups
        for start in range(0, len(wanted), together)  # so that products become whole one after the other
        for window in best.windows
    )
    weight = sum(transport.answer_bytes(series, request.bands, request.rows) for request in requests)
    seconds, in_all = best.seconds(len(wanted), pace), best.seconds(len(series.images), USUAL_PACE)
    return Draft(transport.name, groups, best.windows, requests, weight, seconds, in_all)


@dataclass(frozen=True)
class _Layout:
    """A size of window, and what fetching so costs.

    Attributes:
        budget: pixels, over all its scenes, that one request may ask for.
        shape: height and width of the windows.
    """

    transport: Transport
    series: Series
    groups: tuple[tuple[str, ...], ...]
    budget: int
    shape: tuple[int, int]

    @cached_property
    def most_scenes(self) -> int:
        """Scenes in one request, however few their pixels."""
        return min(self.transport.most_scenes(self.series, group) for group in self.groups)

    @property
    def count(self) -> int:
        """How many windows there are."""
        height, width = self.series.grid.shape
        return int(math.ceil(height / self.shape[0]) * math.ceil(width / self.shape[1]))

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The windows that cover the grid."""
        return tuple(windows(self.series.grid, *self.shape))

    def together(self, scenes: int, pace: Pace) -> int:
        """Scenes in one request: as many as it may hold, or fewer where that fills one, two or four waves better."""
        most = max(1, min(self.budget // (self.shape[0] * self.shape[1]), self.most_scenes))
        slots = [waves * pace.concurrent for waves in (1, 2, 4)]
        fewer = [math.ceil(scenes * len(self.groups) * self.count / count) for count in slots]
        return min({most, *(min(most, max(1, count)) for count in fewer)}, key=lambda n: self._seconds(scenes, n, pace))

    def seconds(self, scenes: int, pace: Pace) -> float:
        """Estimated time to fetch so many scenes."""
        return self._seconds(scenes, self.together(scenes, pace), pace)

    def _seconds(self, scenes: int, together: int, pace: Pace) -> float:
        requests = len(self.groups) * self.count * math.ceil(scenes / together)
        pixels = self.series.grid.shape[0] * self.series.grid.shape[1] * scenes
        values = pixels * len(self.series.bands)
        weight = sum(self.transport.answer_bytes(self.series, group, pixels) for group in self.groups)
        return pace.seconds(requests, values, weight, self.transport.seconds_per_byte)


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


def band_groups(transport: Transport, series: Series, fan_out: str) -> tuple[tuple[str, ...], ...]:
    """Bands that are asked for together: each alone for `bands`, else as many as one tile-sized window may carry.

    Together is the fewer requests; with getRegion, a row carries id, coordinates and time once for all its bands.
    """
    names = [band.name for band in series.bands]
    count = len(names) if fan_out == "bands" else 1
    while True:
        size = math.ceil(len(names) / count)
        groups = tuple(tuple(names[start : start + size]) for start in range(0, len(names), size))
        if size == 1 or all(transport.budget(series, group) >= TILE**2 for group in groups):
            return groups
        count += 1


def window_shape(shape: tuple[int, int], most: int, most_side: int) -> tuple[int, int]:
    """Height and width of windows of at most `most` pixels: the fewest windows, then the squarest.

    The whole grid where it fits; otherwise multiples of `TILE` (or the grid's full height or width), one tile at least.
    """
    height, width = shape
    if height * width <= most and max(shape) <= most_side:
        return height, width
    longest = most_side // TILE * TILE
    sizes = range(TILE, min(height + TILE, longest + 1), TILE)
    heights = [min(size, height) for size in sizes if size * min(TILE, width) <= most or size == TILE]
    choices = []
    for rows in heights:
        widest = min(width, max(TILE, min(longest, most // rows // TILE * TILE)))
        cols = width if rows * width <= most and width <= most_side else widest
        count = math.ceil(height / rows) * math.ceil(width / cols)
        choices.append((count, abs(rows - cols), rows, cols))
    _, _, rows, cols = min(choices)
    return rows, cols


def name_products(
    job: Job, series: Series, outline: BaseGeometry | None = None, names: Mapping[str, str] = MappingProxyType({})
) -> tuple[Product, ...]:
    """The products of a series: one an image, named by its time; a number is added where two would share a name.

    An image that has a name from an earlier run keeps it, so that one that comes late never takes another's.
    """
    stems = {image.image_id: _stem(job.name, image) for image in series.images}
    kept = {image_id: names[image_id] for image_id, stem in stems.items() if names.get(image_id, "").startswith(stem)}
    content = _common_content(job, series, outline)
    taken = set(names.values())
    products = []
    for image in series.images:
        stem = stems[image.image_id]
        numbered = (f"{stem}_{number}" for number in itertools.count(2))
        free = (text for text in itertools.chain([stem], numbered) if text not in taken)
        unique = kept.get(image.image_id) or next(free)
        taken.add(unique)
        products.append(Product(unique, image, digest([content, image.content])[:16]))
    return tuple(products)


def _stem(name: str, image: Image) -> str:
    return f"{name}_{safe_name(image.stem)}" if image.stem else name


def _common_content(job: Job, series: Series, outline: BaseGeometry | None) -> list[Any]:
    """What decides the files of all products alike."""
    bands = [[band.name, band.dtype] for band in series.bands]
    clip = outline.wkb_hex if outline else None
    output = output_content(job, series.source, series.bands)
    return ["product-2", series.source, series.recipe.content, bands, grid_hash(series.grid), clip, output]
