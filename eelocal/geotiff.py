"""Bands of GeoTIFF files: their grid, and windows of them at any pyramid level."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eelocal.assets import Band

_OPEN = 32  # datasets each thread keeps open
_local = threading.local()


@dataclass(frozen=True)
class BandFile:
    """One band of one file.

    Attributes:
        path: the file.
        number: of the band, from 1.
        band: its name, type and grid.
        nodata: the masked value, if there is one.
        masked: whether the file holds a mask (or an alpha band) besides.
        scale: (factor, offset) that turn stored values into those served; None for those of the file.
        declared: (factor, offset) the file declares.
        described: whether the band's name is the file's own description of it.
    """

    path: Path
    number: int
    band: Band
    nodata: float | None
    masked: bool = False
    scale: tuple[float, float] | None = None
    declared: tuple[float, float] = (1.0, 0.0)
    described: bool = False

    def named(self, name: str) -> BandFile:
        """The same band under another name."""
        return replace(self, band=replace(self.band, name=name))

    def with_nodata(self, nodata: float) -> BandFile:
        """The same band with a masked value."""
        return replace(self, nodata=nodata)

    def with_policy(self, policy: str) -> BandFile:
        """The same band, its coarser levels made in another way."""
        return replace(self, band=replace(self.band, pyramiding=policy))

    def scaled(self, factor: float, offset: float) -> BandFile:
        """The same band in 32-bit floats, multiplied and shifted."""
        if (factor, offset) == (1.0, 0.0):
            return self
        return replace(self, scale=(factor, offset), band=replace(self.band, dtype=np.dtype(np.float32)))


def scan(path: Path, nodata: float | None = None, place: tuple[str, Affine] | None = None) -> list[BandFile]:
    """All bands of a file, named by their descriptions, else B1, B2, ...; an alpha band is a mask, not a band.

    Args:
        path: a GeoTIFF.
        nodata: the masked value, if the file does not say it.
        place: CRS code and transform, if the file does not say them.
    """
    with rasterio.open(path) as dataset:
        crs, affine = (_code(dataset.crs), dataset.transform) if dataset.crs or place is None else place
        transform = tuple(float(v) for v in affine[:6])
        found = []
        for number in dataset.indexes:
            interpretation = dataset.colorinterp[number - 1]
            if interpretation == ColorInterp.alpha:
                continue
            flags, declared = dataset.mask_flag_enums[number - 1], dataset.nodatavals[number - 1]
            description = dataset.descriptions[number - 1]
            found.append(
                BandFile(
                    path,
                    number,
                    Band(
                        name=description or f"B{number}",
                        dtype=np.dtype(dataset.dtypes[number - 1]),
                        crs=crs,
                        transform=transform,  # type: ignore[arg-type]
                        width=dataset.width,
                        height=dataset.height,
                        pyramiding="MODE" if interpretation == ColorInterp.palette else "MEAN",
                    ),
                    declared if declared is not None else nodata,
                    masked=MaskFlags.per_dataset in flags or MaskFlags.alpha in flags,
                    declared=(float(dataset.scales[number - 1]), float(dataset.offsets[number - 1])),
                    described=description is not None,
                )
            )
        return found


def tags(path: Path) -> dict[str, str]:
    """The metadata of a file."""
    with rasterio.open(path) as dataset:
        return {str(key): str(value) for key, value in dataset.tags().items()}


def read_window(
    source: BandFile, level: int, col: int, row: int, width: int, height: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values and validity of a window of a level; outside the image masked."""
    factor = 2**level
    values = np.zeros((height, width), source.band.dtype)
    valid = np.zeros((height, width), bool)
    last_col, last_row = -(-source.band.width // factor), -(-source.band.height // factor)
    c0, c1 = max(col, 0), min(col + width, last_col)
    r0, r1 = max(row, 0), min(row + height, last_row)
    if c0 >= c1 or r0 >= r1:
        return values, valid
    window = (c0 * factor, r0 * factor, min(c1 * factor, source.band.width), min(r1 * factor, source.band.height))
    found, ok = _native(source, *window)
    if factor > 1:
        found, ok = _reduced(found, ok, factor, source.band.pyramiding)
    inside = (slice(r0 - row, r1 - row), slice(c0 - col, c1 - col))
    values[inside] = np.where(ok, found, 0) if not ok.all() else found
    valid[inside] = ok
    return values, valid


def _native(source: BandFile, c0: int, r0: int, c1: int, r1: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    dataset = _dataset(source.path)
    window = Window(c0, r0, c1 - c0, r1 - r0)
    values: NDArray[Any] = dataset.read(source.number, window=window)
    if source.nodata is None and not source.masked:
        ok = np.ones(values.shape, bool)
    elif source.nodata is None:
        ok = dataset.read_masks(source.number, window=window) != 0
    elif np.isnan(source.nodata):
        ok = ~np.isnan(values)
    else:
        ok = values != source.nodata
    if source.masked and source.nodata is not None:
        ok &= dataset.dataset_mask(window=window) != 0
    if values.dtype.kind == "f":
        ok &= np.isfinite(values)
    if source.scale is not None:
        values = (values * source.scale[0] + source.scale[1]).astype(source.band.dtype)
    return values, ok


def _reduced(
    values: NDArray[Any], ok: NDArray[np.bool_], factor: int, policy: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A coarser level: the mean of valid pixels, the most frequent of them, or the upper left pixel."""
    if policy == "SAMPLE":
        return values[::factor, ::factor], ok[::factor, ::factor]
    if policy == "MODE":
        return _most_frequent(values, ok, factor)
    rows, cols = np.arange(0, values.shape[0], factor), np.arange(0, values.shape[1], factor)
    weight = np.add.reduceat(np.add.reduceat(ok.astype(np.float64), rows, 0), cols, 1)
    total = np.add.reduceat(np.add.reduceat(np.where(ok, values, 0).astype(np.float64), rows, 0), cols, 1)
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    if values.dtype.kind in "iu":
        mean = np.rint(mean)
    return mean.astype(values.dtype), weight > 0


def _most_frequent(values: NDArray[Any], ok: NDArray[np.bool_], factor: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The least of the most frequent valid values of each block."""
    rows, cols = np.arange(0, values.shape[0], factor), np.arange(0, values.shape[1], factor)
    most = np.zeros((rows.size, cols.size), np.int64)
    best = np.zeros(most.shape, values.dtype)
    for value in np.unique(values[ok]):
        count = np.add.reduceat(np.add.reduceat(((values == value) & ok).astype(np.int64), rows, 0), cols, 1)
        best[count > most] = value
        most = np.maximum(most, count)
    return best, most > 0


def _dataset(path: Path) -> DatasetReader:
    """An open dataset of this thread: rasterio's are not to be shared."""
    held: OrderedDict[Path, DatasetReader] | None = getattr(_local, "held", None)
    if held is None:
        held = _local.held = OrderedDict()
    dataset = held.pop(path, None)
    if dataset is None:
        dataset = rasterio.open(path)
    held[path] = dataset
    while len(held) > _OPEN:
        held.popitem(last=False)[1].close()
    return dataset


def _code(crs: Any) -> str:
    if crs is None:
        return "EPSG:4326"
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())
