"""A product's file: how it is laid out, and its tiles compressed window by window, in any order and by any thread."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetWriter, MemoryFile
from rasterio.windows import Window as RasterWindow

from eeflow import __version__
from eeflow.cog import OVERVIEW, Spool, assemble, read_directories
from eeflow.config import Job
from eeflow.encoding import Encoding
from eeflow.errors import ValueOutOfRange
from eeflow.grid import Window, grid_hash
from eeflow.overview import halved
from eeflow.plan import TILE, Plan, Product
from eeflow.raster import Summary, nodata_ends

# rasterio hands the cache's size on in bytes. In one that is too small, threads write each other's blocks, and one that
# fails to wants Python's lock from one that holds it and waits: both for ever (seen after 500 products).
_GDAL_ENV = {"GDAL_TIFF_INTERNAL_MASK": "YES", "GDAL_CACHEMAX": 256 * 2**20}

# Of deflate's levels the quickest: the usual one takes half as long again and saves nothing of noisy reflectances.
_LEVELS = {"deflate": {"zlevel": 1}, "zstd": {"zstd_level": 9}}
# Overviews made as windows come, of half and a quarter of the size; of the smaller ones, little work is left.
_AS_WINDOWS_COME = 2


@dataclass(frozen=True)
class Layout:
    """How a product is laid out on disk: its numbers, nodata value and whether it has a mask of its own."""

    encoding: Encoding
    dtype: str
    nodata: float | int | None
    mask: bool

    @classmethod
    def of(cls, summary: Summary, encoding: Encoding, may_widen: bool) -> Layout:
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

    @property
    def predictor(self) -> int:
        """What TIFF calls so: differences of neighbours are small, but not those of classes."""
        return 1 if self.encoding.resampling == "mode" else 2 if np.dtype(self.dtype).kind in "iu" else 3

    @property
    def has_overviews(self) -> bool:
        """GDAL 3.10 makes none of 64-bit whole numbers with a nodata value: it goes on for ever."""
        return self.dtype != "int64" or self.nodata is None

    def stored(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Encoded values as they are written, of shape (band, height, width)."""
        stored = values.astype(self.dtype)
        stored[~valid] = 0 if self.nodata is None else self.nodata
        return stored


class Tiles:
    """The hidden files of a product: its tiles, and those of what it looks like from afar.

    No file is open between windows, so that no cache grows and no thread waits for what another began.
    """

    def __init__(self, path: Path, job: Job, plan: Plan, product: Product, layout: Layout):
        """None of what was there before is left.

        Args:
            path: the file they are to become.
            job: how it is compressed.
            plan: its grid and bands.
            product: what it shows.
            layout: how it is laid out.
        """
        self.layout = layout
        self._job, self._plan, self._product = job, plan, product
        self._shape: tuple[int, int] = plan.series.grid.shape
        self._crs = rasterio.CRS.from_wkt(plan.series.grid.crs.to_wkt())
        is_seen_from_afar = job.output.format == "cog" and layout.has_overviews
        self._halvings = max(0, math.ceil(math.log2(max(self._shape) / TILE))) if is_seen_from_afar else 0
        self._hidden = {
            halving: path.with_name(f".{path.name}.{2**halving}.part")
            for halving in range(min(self._halvings, _AS_WINDOWS_COME) + 1)
        }
        self._empty = path.with_name(f".{path.name}.empty.part")
        self._halving = threading.Lock()
        self.remove()
        self._spool = Spool(self._hidden[0], self._shape, TILE)

    def write(self, window: Window, encoded: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Writes a window, which begins at a whole tile; from any thread.

        Args:
            window: which.
            encoded: its numbers, of shape (band, height, width) in the encoding's dtype.
            valid: of the same shape.
        """
        with rasterio.Env(**_GDAL_ENV):
            with MemoryFile() as memory:
                with memory.open(**self._profile(encoded.shape[1:])) as part:
                    self._put(part, encoded, valid, 0, 0)
                self._spool.add(memory.getbuffer(), window.row, window.col)
            row, col = window.row, window.col
            for halving in range(1, len(self._hidden)):
                encoded, valid = halved(encoded, valid, self.layout.encoding.resampling)
                row, col = row // 2, col // 2
                with self._halving, self._open(halving) as raster:
                    self._put(raster, encoded, valid, row, col)

    def assemble(self, target: Path) -> None:
        """Makes the product's file of them."""
        with rasterio.Env(**_GDAL_ENV):
            self._write_empty()
            last = len(self._hidden) - 1
            if further := [2**n for n in range(1, self._halvings - last + 1)]:
                with rasterio.open(self._hidden[last], "r+") as raster:
                    raster.build_overviews(further, Resampling[self.layout.encoding.resampling])
        from_afar = [each for n in range(1, last + 1) for each in read_directories(self._hidden[n], OVERVIEW)]
        assemble([*self._spool.directories(self._empty), *from_afar], target)

    def remove(self) -> None:
        """Removes them."""
        for path in (*self._hidden.values(), self._empty):
            path.unlink(missing_ok=True)

    def _profile(self, shape: Sequence[int]) -> dict[str, Any]:
        """Of a file of that height and width."""
        return {
            "driver": "GTiff",
            "dtype": self.layout.dtype,
            "nodata": self.layout.nodata,
            "count": len(self._plan.series.bands),
            "height": shape[0],
            "width": shape[1],
            "crs": self._crs,
            "transform": self._plan.series.grid.transform,
            "tiled": True,
            "blockxsize": TILE,
            "blockysize": TILE,
            "interleave": "pixel",
            "bigtiff": "if_safer",
            "sparse_ok": True,
            "photometric": "palette" if self.layout.encoding.colours else "minisblack",
            "compress": self._job.output.compress,
            "predictor": self.layout.predictor,
            **_LEVELS[self._job.output.compress],
        }

    def _put(self, raster: DatasetWriter, encoded: NDArray[Any], valid: NDArray[np.bool_], row: int, col: int) -> None:
        place = RasterWindow(col, row, encoded.shape[2], encoded.shape[1])
        raster.write(self.layout.stored(encoded, valid), window=place)
        if self.layout.mask:
            raster.write_mask(valid[0], window=place)

    def _open(self, halving: int) -> DatasetWriter:
        path = self._hidden[halving]
        if path.exists():
            return rasterio.open(path, "r+")
        raster = rasterio.open(path, "w", **self._profile([math.ceil(side / 2**halving) for side in self._shape]))
        if self.layout.encoding.colours:
            raster.write_colormap(1, _palette(self.layout.encoding))
        return raster

    def _write_empty(self) -> None:
        """A file with all that the product's says, but no pixel."""
        with rasterio.open(self._empty, "w", **self._profile(self._shape)) as raster:
            _describe(raster, self.layout.encoding)
            raster.update_tags(**_tags(self._job, self._plan, self._product))
            if self.layout.mask:
                raster.write_mask(np.zeros((1, 1), bool), window=RasterWindow(0, 0, 1, 1))


def _describe(raster: DatasetWriter, encoding: Encoding) -> None:
    raster.descriptions = encoding.names
    if any(scaling != (1.0, 0.0) for scaling in zip(encoding.scales, encoding.offsets, strict=True)):
        raster.scales, raster.offsets = encoding.scales, encoding.offsets
    if any(band.unit for band in encoding.bands):
        raster.units = tuple(band.unit for band in encoding.bands)
    if encoding.colours:
        raster.write_colormap(1, _palette(encoding))


def _palette(encoding: Encoding) -> dict[int, tuple[int, int, int, int]]:
    return {value: (*colour, 255) for value, colour in encoding.colours.items()}


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
