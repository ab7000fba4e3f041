"""A product's file: how it is laid out, and its tiles compressed window by window, in any order and by any thread."""

from __future__ import annotations

import io
import json
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetWriter, MemoryFile

from eeflow import __version__
from eeflow.cog import OVERVIEW, Directory, Spool, assemble, read_directories
from eeflow.config import Job
from eeflow.encoding import Encoding
from eeflow.errors import ValueOutOfRange
from eeflow.grid import Window, grid_hash
from eeflow.overview import halved
from eeflow.plan import TILE, Plan, Product
from eeflow.raster import Summary, nodata_ends
from eeflow.tilebytes import (
    COMPRESSIONS,
    FLOATING_POINT,
    HORIZONTAL,
    NO_PREDICTOR,
    PlacedTile,
    mask_tiles,
    raster_tiles,
)

# Overviews are made in squares of so many pixels a side: whole tiles, as soon as what they show is there.
_TOGETHER = 2 * TILE


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
        if self.encoding.resampling == "mode":
            return NO_PREDICTOR
        return HORIZONTAL if np.dtype(self.dtype).kind in "iu" else FLOATING_POINT

    @property
    def has_overviews(self) -> bool:
        """None of 64-bit whole numbers with a nodata value: asked to add to them, GDAL 3.10 goes on for ever."""
        return self.dtype != "int64" or self.nodata is None

    def stored(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Encoded values as they are written, of shape (band, height, width)."""
        stored = values.astype(self.dtype)
        stored[~valid] = self.empty
        return stored

    @property
    def empty(self) -> float | int:
        """What is stored of a pixel that is not valid."""
        return 0 if self.nodata is None else self.nodata


class Tiles:
    """The hidden files of a product: its tiles, and those of its overviews.

    No file is open between windows, so that memory is that of windows under way.
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
        is_seen_from_afar = job.output.format == "cog" and layout.has_overviews
        halvings = max(0, math.ceil(math.log2(max(self._shape) / TILE))) if is_seen_from_afar else 0
        sides = [[math.ceil(side / 2**n) for side in self._shape] for n in range(halvings + 1)]
        hidden = [path.with_name(f".{path.name}.{2**n}.part") for n in range(halvings + 1)]
        count, dtype = len(plan.series.bands), layout.encoding.dtype
        self._levels = [_Level(*place, count, dtype) for place in zip(hidden, sides, strict=True)]

    def write(self, window: Window, encoded: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Writes a window, which begins at a whole tile; from any thread.

        Args:
            window: which.
            encoded: its numbers, of shape (band, height, width) in the encoding's dtype.
            valid: of the same shape.
        """
        self._write(0, window.row, window.col, encoded, valid)

    def _write(self, number: int, row: int, col: int, encoded: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        self._levels[number].spool.add(self._tiles(row, col, encoded, valid), self._masks(row, col, valid))
        if number + 1 < len(self._levels):
            further, half = self._levels[number + 1], halved(encoded, valid, self.layout.encoding.resampling)
            for place in further.collect(row // 2, col // 2, *half):
                self._write(number + 1, *place, *further.collected(*place))

    def _tiles(self, row: int, col: int, encoded: NDArray[Any], valid: NDArray[np.bool_]) -> Iterator[PlacedTile]:
        layout, compress = self.layout, COMPRESSIONS[self._job.output.compress]
        stored = layout.stored(encoded, valid)
        return raster_tiles(stored, (row, col), TILE, layout.empty, layout.predictor, compress)

    def _masks(self, row: int, col: int, valid: NDArray[np.bool_]) -> Iterator[PlacedTile]:
        return mask_tiles(valid[0], (row, col), TILE) if self.layout.mask else iter(())

    def assemble(self, target: Path) -> str:
        """Makes the product's file of them, when all windows are written. Returns its SHA-256."""
        raster, masked = self._described(), self.layout.mask
        spools = [level.spool for level in self._levels]
        kinds = [0] + [OVERVIEW] * len(spools[1:])
        parts = [spool.directories(raster, kind, masked=masked) for spool, kind in zip(spools, kinds, strict=True)]
        return assemble([directory for part in parts for directory in part], target)

    def remove(self) -> None:
        """Removes them."""
        for level in self._levels:
            level.remove()

    def _described(self) -> Directory:
        """What GDAL says of the raster in a file that has no pixels."""
        layout, grid = self.layout, self._plan.series.grid
        profile = {
            "driver": "GTiff",
            "dtype": layout.dtype,
            "nodata": layout.nodata,
            "count": len(self._plan.series.bands),
            "height": grid.shape[0],
            "width": grid.shape[1],
            "crs": rasterio.CRS.from_wkt(grid.crs.to_wkt()),
            "transform": grid.transform,
            "tiled": True,
            "blockxsize": TILE,
            "blockysize": TILE,
            "interleave": "pixel",
            "sparse_ok": True,
            "photometric": "palette" if layout.encoding.colours else "minisblack",
            "compress": self._job.output.compress,
            "predictor": layout.predictor,
        }
        with MemoryFile() as memory:
            with memory.open(**profile) as raster:
                _describe(raster, layout.encoding)
                raster.update_tags(**_tags(self._job, self._plan, self._product))
            (directory,) = read_directories(io.BytesIO(memory.getbuffer()), Path())
            return directory


class _Level:
    """The raster or one of its overviews: its compressed tiles, and pixels of it that wait for their neighbours."""

    def __init__(self, path: Path, shape: Sequence[int], count: int, dtype: np.dtype[Any]):
        """None of what was there before is left.

        Args:
            path: for the tiles.
            shape: height and width.
            count: of bands.
            dtype: of encoded numbers.
        """
        self.shape = shape
        self._path, self._waiting = path, path.with_name(f"{path.name}.waiting")
        self._count, self._dtype = count, dtype
        self.remove()
        self.spool = Spool(path, (shape[0], shape[1]), TILE)
        height, width = shape
        self._lacks = {
            (row, col): min(_TOGETHER, height - row) * min(_TOGETHER, width - col)
            for row in range(0, height, _TOGETHER)
            for col in range(0, width, _TOGETHER)
        }
        self._counting = threading.Lock()

    def collect(self, row: int, col: int, values: NDArray[Any], valid: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Keeps pixels. Returns where squares begin that are complete by them, which are to be written now."""
        height, width = values.shape[1:]
        with self._open() as waiting:
            for kept, new in zip(waiting, (values, valid), strict=True):
                kept[:, row : row + height, col : col + width] = new
        complete = []
        with self._counting:
            for top in range(row // _TOGETHER * _TOGETHER, row + height, _TOGETHER):
                for left in range(col // _TOGETHER * _TOGETHER, col + width, _TOGETHER):
                    down = min(top + _TOGETHER, row + height) - max(top, row)
                    right = min(left + _TOGETHER, col + width) - max(left, col)
                    self._lacks[top, left] -= down * right
                    if not self._lacks[top, left]:
                        complete.append((top, left))
        return complete

    def collected(self, row: int, col: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values and validity of the square that begins there."""
        with self._open() as (values, valid):
            square = np.s_[:, row : row + _TOGETHER, col : col + _TOGETHER]
            return np.array(values[square]), np.array(valid[square])

    @contextmanager
    def _open(self) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """All values and their validity, on the disk; mapped for so long only, for what is mapped counts as memory."""
        shape = (self._count, *self.shape)
        size = math.prod(shape)
        with self._counting, self._waiting.open("ab") as file:
            file.truncate(size * (self._dtype.itemsize + 1))
        values = np.memmap(self._waiting, self._dtype, "r+", 0, shape)
        valid = np.memmap(self._waiting, np.bool_, "r+", size * self._dtype.itemsize, shape)
        yield values, valid

    def remove(self) -> None:
        """Removes its files."""
        self._path.unlink(missing_ok=True)
        self._waiting.unlink(missing_ok=True)


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
