"""Writing a product: a tiled GeoTIFF window by window, checked, and under its name only when it is whole."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.io import DatasetWriter
from rasterio.windows import Window as RasterWindow

from eeflow import __version__
from eeflow.blocks import BlockStore
from eeflow.config import Job
from eeflow.encoding import Encoding, encoding_of
from eeflow.errors import IncompleteProduct, ValueOutOfRange
from eeflow.grid import crs_name, grid_hash
from eeflow.ledger import Entry
from eeflow.outcome import written
from eeflow.output import whole_file
from eeflow.plan import TILE, Plan, Product
from eeflow.raster import Summary, nodata_ends, summarise, tiles

# rasterio hands the cache's size on in bytes. In one that is too small, threads write each other's blocks, and one that
# fails to wants Python's lock from one that holds it and waits: both for ever (seen after 500 products).
_GDAL_ENV = {"GDAL_TIFF_INTERNAL_MASK": "YES", "GDAL_CACHEMAX": 256 * 2**20}

_COG = {"num_threads": "all_cpus", "blocksize": TILE, "bigtiff": "if_safer", "overviews": "force_use_existing"}


@dataclass(frozen=True)
class _Layout:
    """How a product is laid out on disk: its numbers, nodata value and whether it has a mask of its own."""

    encoding: Encoding
    dtype: str
    nodata: float | int | None
    mask: bool

    @classmethod
    def of(cls, summary: Summary, encoding: Encoding, may_widen: bool) -> _Layout:
        """A mask of its own where all bands share it; else nodata alone tells, in a wider dtype if it must."""
        dtype, nodata = encoding.dtype, summary.nodata
        if summary.shared_mask and dtype == np.int64:
            nodata = None  # with one, there could be no overviews
        if nodata is None and not summary.shared_mask:
            if not may_widen or dtype.itemsize == 8:
                raise ValueOutOfRange(
                    f"Bands are masked in different pixels, and no value of {dtype} is free to stand for masked ones. "
                    "No file was written; choose a wider output.dtype, or native."
                )
            dtype = np.promote_types(dtype, np.dtype(f"i{dtype.itemsize * 2}"))
            nodata = nodata_ends(dtype)[0]
        return cls(encoding, str(dtype), nodata, summary.shared_mask)

    def compression(self, job: Job) -> dict[str, Any]:
        """Options of GDAL's drivers. Differences of neighbours are small, but not those of classes."""
        predictor = "no" if self.encoding.resampling == "mode" else "standard" if self._is_whole else "floating_point"
        numbers = {"no": 1, "standard": 2, "floating_point": 3}  # as the GTiff driver calls them
        return {
            "compress": job.output.compress,
            "predictor": predictor if job.output.format == "cog" else numbers[predictor],
        }

    @property
    def has_overviews(self) -> bool:
        """GDAL 3.10 makes none of 64-bit whole numbers with a nodata value: it goes on for ever."""
        return self.dtype != "int64" or self.nodata is None

    @property
    def _is_whole(self) -> bool:
        return np.dtype(self.dtype).kind in "iu"


def write_product(job: Job, plan: Plan, product: Product, store: BlockStore) -> Entry:
    """Writes one product into the job's folder.

    The file has the bands' names as descriptions, their scales, units and colours where a preset knows them, a nodata
    value that no valid pixel has, a mask of its own where all bands are valid in the same pixels, and tags that say
    where it comes from. Names of classes, for which TIFF has no place, go to GDAL's own `<name>.tif.aux.xml`.

    Raises:
        IncompleteProduct: a block is missing; nothing is written.
        ValueOutOfRange: a value does not fit the job's dtype; nothing is written.
        OSError: the disk refuses.
    """
    started = time.monotonic()
    encoding = encoding_of(job, plan.series.source, plan.series.bands)
    summary = summarise(plan, product, store, encoding)
    layout = _Layout.of(summary, encoding, may_widen=job.output.dtype == "native")
    path = job.folder / f"{product.name}.tif"
    with whole_file(path) as part, rasterio.Env(**_GDAL_ENV):
        tiled = part.with_suffix(".tiles.part") if job.output.format == "cog" else part
        try:
            _write_tiles(tiled, job, plan, product, store, layout)
            if job.output.format == "cog":
                if layout.has_overviews:
                    _add_overviews(tiled, encoding.resampling)
                rasterio.shutil.copy(tiled, part, driver="COG", **_COG, **layout.compression(job))
        finally:
            if tiled != part:
                tiled.unlink(missing_ok=True)
        _check(part, plan, layout)
        sha256, size = _sha256(part), part.stat().st_size
    if encoding.classes:
        _write_class_names(path, encoding.classes)
    return written(job, plan, product, path, sha256, size, summary, time.monotonic() - started)


def _write_tiles(path: Path, job: Job, plan: Plan, product: Product, store: BlockStore, layout: _Layout) -> None:
    grid = plan.series.grid
    profile = {
        "driver": "GTiff",
        "dtype": layout.dtype,
        "nodata": layout.nodata,
        "count": len(plan.series.bands),
        "height": grid.height,
        "width": grid.width,
        "crs": rasterio.CRS.from_wkt(grid.crs.to_wkt()),
        "transform": grid.transform,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "interleave": "band",
        "bigtiff": "if_safer",
        **(layout.compression(job) if job.output.format == "gtiff" else {}),  # the COG made of it is compressed
        "photometric": "palette" if layout.encoding.colours else "minisblack",
    }
    with rasterio.open(path, "w", **profile) as raster:
        _describe(raster, layout.encoding)
        raster.update_tags(**_tags(job, plan, product))
        for tile in tiles(plan, product, store):
            window = RasterWindow(tile.window.col, tile.window.row, tile.window.width, tile.window.height)
            values = layout.encoding.encode(tile.values, tile.valid).astype(layout.dtype)
            values[~tile.valid] = 0 if layout.nodata is None else layout.nodata
            raster.write(values, window=window)
            if layout.mask:
                raster.write_mask(tile.valid[0], window=window)


def _describe(raster: DatasetWriter, encoding: Encoding) -> None:
    raster.descriptions = encoding.names
    if any(scaling != (1.0, 0.0) for scaling in zip(encoding.scales, encoding.offsets, strict=True)):
        raster.scales, raster.offsets = encoding.scales, encoding.offsets
    if any(band.unit for band in encoding.bands):
        raster.units = tuple(band.unit for band in encoding.bands)
    if encoding.colours:
        raster.write_colormap(1, {value: (*colour, 255) for value, colour in encoding.colours.items()})


def _add_overviews(path: Path, resampling: str) -> None:
    """Halves, quarters and so on down to one tile: a tenth of the time that the COG driver takes to make its own."""
    with rasterio.open(path, "r+") as raster:
        halvings = math.ceil(math.log2(max(raster.shape) / TILE))
        if halvings > 0:
            raster.build_overviews([2**n for n in range(1, halvings + 1)], Resampling[resampling])


def _write_class_names(path: Path, classes: Mapping[int, str]) -> None:
    names = (classes.get(value, "") for value in range(max(classes) + 1))
    categories = "".join(f"<Category>{escape(name)}</Category>" for name in names)
    text = (
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    with whole_file(path.with_name(f"{path.name}.aux.xml")) as part:
        part.write_text(text, encoding="utf-8")


def _tags(job: Job, plan: Plan, product: Product) -> dict[str, str]:
    image, recipe = product.image, plan.series.recipe
    start, end = image.time_start, image.time_end
    versions = (str(scene.version) for scene in image.scenes if scene.version is not None)
    return {
        "COLLECTION": plan.series.source,
        "SCENE_IDS": " ".join(scene.scene_id for scene in image.scenes),
        "SCENE_VERSIONS": " ".join(versions),
        "TIME_START": start.isoformat() if start else "",
        "TIME_END": end.isoformat() if end else "",
        **({} if recipe.is_plain else {"RECIPE": json.dumps(recipe.content)}),
        "JOB": job.name,
        "JOB_HASH": job.content_hash(),
        "GRID_HASH": grid_hash(plan.series.grid),
        "SOFTWARE": f"eeflow {__version__}",
        "TIFFTAG_SOFTWARE": f"eeflow {__version__}",
        **({"TIFFTAG_DATETIME": f"{start:%Y:%m:%d %H:%M:%S}"} if start else {}),
    }


def _check(path: Path, plan: Plan, layout: _Layout) -> None:
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
