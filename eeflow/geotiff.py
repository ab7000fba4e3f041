"""Writing a product: a tiled GeoTIFF window by window, checked, and under its name only when it is whole."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterWindow

from eeflow import __version__
from eeflow.blocks import BlockStore
from eeflow.config import Job
from eeflow.errors import IncompleteProduct
from eeflow.grid import crs_name, grid_hash
from eeflow.ledger import Entry
from eeflow.output import whole_file
from eeflow.plan import TILE, Plan, Product
from eeflow.raster import Summary, nodata_ends, summarise, tiles

_GDAL_ENV = {"GDAL_TIFF_INTERNAL_MASK": "YES", "GDAL_CACHEMAX": 256}

_COG = {
    "compress": "deflate",
    "predictor": "yes",
    "num_threads": "all_cpus",
    "blocksize": TILE,
    "bigtiff": "if_safer",
    "overview_resampling": "nearest",
}


@dataclass(frozen=True)
class _Layout:
    """How a product is laid out on disk: the dtype, nodata value and whether it has a mask of its own."""

    dtype: str
    nodata: float | int | None
    mask: bool

    @classmethod
    def of(cls, summary: Summary) -> _Layout:
        """A mask of its own where all bands share it; else nodata alone tells, in a wider dtype if it must."""
        dtype, nodata = summary.dtype, summary.nodata
        if nodata is None and not summary.shared_mask:
            dtype = np.promote_types(dtype, np.dtype(f"i{dtype.itemsize * 2}"))
            nodata = nodata_ends(dtype)[0]
        return cls(str(dtype), nodata, summary.shared_mask)


def write_product(job: Job, plan: Plan, product: Product, store: BlockStore) -> Entry:
    """Writes one product into the job's folder.

    The file has the bands' names as descriptions, a nodata value that no valid pixel has, a mask of its own where all
    bands are valid in the same pixels, and tags that say where it comes from.

    Raises:
        IncompleteProduct: a block is missing; nothing is written.
        OSError: the disk refuses.
    """
    summary = summarise(plan, product, store)
    layout = _Layout.of(summary)
    path = job.folder / f"{product.name}.tif"
    with whole_file(path) as part, rasterio.Env(**_GDAL_ENV):
        tiled = part.with_suffix(".tiles.part") if job.output.format == "cog" else part
        try:
            _write_tiles(tiled, job, plan, product, store, layout)
            if job.output.format == "cog":
                _add_overviews(tiled)
                rasterio.shutil.copy(tiled, part, driver="COG", **_COG)
        finally:
            if tiled != part:
                tiled.unlink(missing_ok=True)
        _check(part, plan, layout)
        sha256, size = _sha256(part), part.stat().st_size
    scene = plan.series.scene(product.scene_id)
    time = product.time_start.isoformat() if product.time_start else None
    return Entry(
        product_id=product.scene_id,
        kind=job.product.kind,
        path=path.name,
        key=product.key,
        scene_ids=(product.scene_id,),
        versions=(scene.version,),
        time_start=time,
        time_end=time,
        grid_hash=grid_hash(plan.series.grid),
        job_hash=job.content_hash(),
        sha256=sha256,
        size=size,
        valid_pixels=summary.valid_pixels,
        masked_pixels=summary.masked_pixels,
        missed_pixels=summary.missed_pixels,
        clipped_pixels=summary.clipped_pixels,
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


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
        **({"compress": "deflate"} if job.output.format == "gtiff" else {}),  # the COG made of it is compressed
        "photometric": "minisblack",
    }
    with rasterio.open(path, "w", **profile) as raster:
        for tile in tiles(plan, product, store):
            window = RasterWindow(tile.window.col, tile.window.row, tile.window.width, tile.window.height)
            values = tile.values.astype(layout.dtype)
            values[~tile.valid] = 0 if layout.nodata is None else layout.nodata
            raster.write(values, window=window)
            if layout.mask:
                raster.write_mask(tile.valid[0], window=window)
        raster.descriptions = tuple(band.name for band in plan.series.bands)
        raster.update_tags(**_tags(job, plan, product))


def _add_overviews(path: Path) -> None:
    """Halves, quarters and so on down to one tile: a tenth of the time that the COG driver takes to make its own."""
    with rasterio.open(path, "r+") as raster:
        halvings = math.ceil(math.log2(max(raster.shape) / TILE))
        if halvings > 0:
            raster.build_overviews([2**n for n in range(1, halvings + 1)], Resampling.nearest)


def _tags(job: Job, plan: Plan, product: Product) -> dict[str, str]:
    scene = plan.series.scene(product.scene_id)
    time = scene.time_start.isoformat() if scene.time_start else ""
    return {
        "COLLECTION": plan.series.source,
        "SCENE_IDS": scene.scene_id,
        "SCENE_VERSIONS": "" if scene.version is None else str(scene.version),
        "TIME_START": time,
        "TIME_END": time,
        "JOB": job.name,
        "JOB_HASH": job.content_hash(),
        "GRID_HASH": grid_hash(plan.series.grid),
        "SOFTWARE": f"eeflow {__version__}",
        "TIFFTAG_SOFTWARE": f"eeflow {__version__}",
        **({"TIFFTAG_DATETIME": f"{scene.time_start:%Y:%m:%d %H:%M:%S}"} if scene.time_start else {}),
    }


def _check(path: Path, plan: Plan, layout: _Layout) -> None:
    """Reads back what GDAL says the file is, before it gets its name."""
    grid = plan.series.grid
    with rasterio.open(path) as raster:
        found = (raster.shape, raster.dtypes[0], raster.descriptions)
        placed = raster.crs is not None and raster.transform.almost_equals(grid.transform, 1e-9)
    wanted = (tuple(grid.shape), layout.dtype, tuple(band.name for band in plan.series.bands))
    if found != wanted or not placed:
        where = "in place" if placed else f"not on the grid in {crs_name(grid)}"
        raise IncompleteProduct(f"{path.name} reads back as {found}, {where}; it should be {wanted}. It was not kept.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
