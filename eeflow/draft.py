"""Writing a product while its blocks arrive, and under its name only when it is whole and was read back."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import rasterio
from numpy.typing import NDArray

from eeflow.blocks import BlockStore
from eeflow.config import Job
from eeflow.encoding import Encoding, encoding_of
from eeflow.errors import IncompleteProduct
from eeflow.geotiff import Layout, Tiles
from eeflow.grid import Window, crs_name
from eeflow.ledger import Entry
from eeflow.outcome import written
from eeflow.output import whole_file
from eeflow.plan import Plan, Product
from eeflow.raster import Count, Summary, Tile, tile_of

_PROCESSORS = os.cpu_count() or 1
# Windows are work for a processor and for memory, so that no more are in the making than there are processors.
_compressing = threading.BoundedSemaphore(_PROCESSORS)


def write_product(job: Job, plan: Plan, product: Product, store: BlockStore) -> Entry:
    """Writes one product, whose blocks are all there, into the job's folder; see `Draft`."""
    draft = Draft(job, plan, product, store)
    try:
        return draft.finish()
    finally:
        draft.discard()


class Draft:
    """A product whose windows are compressed as they come, so that little is left to do after the last one.

    How its file is laid out depends on all pixels. The draft lays it out as the first window wants it; where a later
    one needs another nodata value or mask, it waits for the last one and begins again.

    The file has the bands' names as descriptions, their scales, units and colours where a preset knows them, a nodata
    value that no valid pixel has, a mask of its own where all bands are valid in the same pixels, and tags that say
    where it comes from. Names of classes, for which TIFF has no place, go to GDAL's own `<name>.tif.aux.xml`.

    After an error it can only be discarded. Errors of all that takes in windows:
        IncompleteProduct: a block is missing; nothing is written.
        ValueOutOfRange: a value does not fit the job's dtype; nothing is written.
        OSError: the disk refuses.
    """

    def __init__(self, job: Job, plan: Plan, product: Product, store: BlockStore, encoding: Encoding | None = None):
        """Nothing is read or written by it.

        Args:
            job: what wants the product.
            plan: its grid and bands.
            product: what is written.
            store: where its blocks are.
            encoding: how its bands are stored, where that is known already.
        """
        self.job, self.plan, self.product, self.store = job, plan, product, store
        self._encoding = encoding or encoding_of(job, plan.series.source, plan.series.bands)
        self._path = job.folder / f"{product.name}.tif"
        self._count = Count(self._encoding)
        self._added: set[Window] = set()
        self._tiles: Tiles | None = None
        self._outdated = False
        self._adding = threading.Lock()

    def add(self, window: Window) -> None:
        """Takes in a window whose blocks are all there, and that was not taken in before; from any thread."""
        with _compressing:
            tile, encoded = self._encoded(window)
            with self._adding:
                self._added.add(window)
                self._count.add(tile, encoded)
                layout = self._layout()
                self._tiles = self._tiles or self._begin(layout)
                self._outdated = self._outdated or self._tiles.layout != layout
            if not self._outdated:
                self._tiles.write(window, encoded, tile.valid)

    def complete(self) -> Summary:
        """Takes in what is missing. Returns what the product holds."""
        _for_each(self.add, [window for window in self.plan.windows if window not in self._added])
        return self._count.summary

    def finish(self) -> Entry:
        """Completes the file and gives it its name. Returns its row of the ledger."""
        started = time.monotonic()
        summary = self.complete()
        tiles = self._write_again() if self._outdated or self._tiles is None else self._tiles
        with whole_file(self._path) as part:
            sha256 = tiles.assemble(part)
            _check(part, self.plan, tiles.layout)
            size = part.stat().st_size
        if self._encoding.classes:
            _write_class_names(self._path, self._encoding.classes)
        seconds = time.monotonic() - started
        return written(self.job, self.plan, self.product, self._path, sha256, size, summary, seconds)

    def discard(self) -> None:
        """Removes what is on the disk of it, but for a file that is finished; nobody takes in windows any more."""
        if self._tiles:
            self._tiles.remove()

    def _encoded(self, window: Window) -> tuple[Tile, NDArray[Any]]:
        tile = tile_of(self.plan, self.product, self.store, window)
        return tile, self._encoding.encode(tile.values, tile.valid)

    def _layout(self) -> Layout:
        return Layout.of(self._count.summary, self._encoding, may_widen=self.job.output.dtype == "native")

    def _begin(self, layout: Layout) -> Tiles:
        return Tiles(self._path, self.job, self.plan, self.product, layout)

    def _write_again(self) -> Tiles:
        tiles = self._tiles = self._begin(self._layout())
        _for_each(partial(self._write, tiles), self.plan.windows)
        return tiles

    def _write(self, tiles: Tiles, window: Window) -> None:
        with _compressing:
            tile, encoded = self._encoded(window)
            tiles.write(window, encoded, tile.valid)


def _for_each(action: Callable[[Window], None], windows: Sequence[Window]) -> None:
    if len(windows) < 2:
        for window in windows:
            action(window)
        return
    with ThreadPoolExecutor(_PROCESSORS) as threads:
        for done in [threads.submit(action, window) for window in windows]:
            done.result()


class Drafts:
    """The drafts of a run, whose windows threads of its own take in as soon as their blocks are kept.

    In another process there are none, and products are written when they are asked for. A product of one window is not
    begun before, either.
    """

    def __init__(self, job: Job, plan: Plan, products: Sequence[Product], store: BlockStore):
        self._job, self._plan, self._store = job, plan, store
        self._encoding = encoding_of(job, plan.series.source, plan.series.bands)
        self._products = {product.key: product for product in products} if len(plan.windows) > 1 else {}
        self._place = {
            key: (product.key, window)
            for product in self._products.values()
            for window, _, key in plan.blocks_of(product)
        }
        self._lacks = Counter(self._place.values())
        self._begun: dict[str, Draft] = {}
        self._under_way: defaultdict[str, list[Future[None]]] = defaultdict(list)
        self._threads = ThreadPoolExecutor(_PROCESSORS, "draft")
        self._noting = threading.Lock()

    def __reduce__(self) -> tuple[type[Drafts], tuple[Job, Plan, tuple[()], BlockStore]]:
        """Neither threads nor what they have begun can go to another process."""
        return Drafts, (self._job, self._plan, (), self._store)

    def kept(self, keys: Iterable[str]) -> None:
        """Notes that blocks are in the store; from any thread, and more than once does no harm."""
        with self._noting:
            for place in filter(None, (self._place.pop(key, None) for key in keys)):
                self._lacks[place] -= 1
                if not self._lacks[place]:
                    key, window = place
                    if key not in self._begun:
                        self._begun[key] = self._new(self._products[key])
                    self._under_way[key].append(self._threads.submit(self._begun[key].add, window))

    def take(self, product: Product) -> Draft:
        """The draft of a product, whose blocks are all in the store; who takes it discards it in the end.

        What went wrong with the one that was begun, its successor meets again.
        """
        with self._noting:
            draft, under_way = self._begun.pop(product.key, None), self._under_way.pop(product.key, [])
        wait(under_way)
        if draft and any(future.exception() for future in under_way):
            draft.discard()
            draft = None
        return draft or self._new(product)

    def close(self) -> None:
        """Discards what nobody took."""
        self._threads.shutdown(cancel_futures=True)
        for draft in self._begun.values():
            draft.discard()

    def _new(self, product: Product) -> Draft:
        return Draft(self._job, self._plan, product, self._store, self._encoding)


def _write_class_names(path: Path, classes: Mapping[int, str]) -> None:
    names = (classes.get(value, "") for value in range(max(classes) + 1))
    categories = "".join(f"<Category>{escape(name)}</Category>" for name in names)
    text = (
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    with whole_file(path.with_name(f"{path.name}.aux.xml")) as part:
        part.write_text(text, encoding="utf-8")


def _check(path: Path, plan: Plan, layout: Layout) -> None:
    """Reads back what GDAL says the file is, before it gets its name."""
    grid = plan.series.grid
    with rasterio.open(path) as raster:
        found = (raster.shape, raster.dtypes[0], raster.descriptions, str(raster.nodata))
        placed = raster.crs is not None and raster.transform.almost_equals(grid.transform, 1e-9)
    nodata = None if layout.nodata is None else float(layout.nodata)
    wanted = (tuple(grid.shape), layout.dtype, layout.encoding.names, str(nodata))
    if found != wanted or not placed:
        where = "in place" if placed else f"not on the grid in {crs_name(grid)}"
        raise IncompleteProduct(f"{path.name} reads back as {found}, {where}; it should be {wanted}. It was not kept.")
