"""Bands of GeoTIFF files: their grid, and windows of them at any pyramid level."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eelocal.assets import Band

_OPEN = 32  # datasets each thread keeps open
_local = threading.local()


@dataclass(frozen=True)
class BandFile:
    """One band of one file."""

    path: Path
    number: int
    band: Band
    nodata: float | None


def scan(path: Path, nodata: float | None = None) -> list[BandFile]:
    """All bands of a file, named by their descriptions, else B1, B2, ...

    Args:
        path: a GeoTIFF.
        nodata: the masked value, if the file does not say it.
    """
    with rasterio.open(path) as dataset:
        transform = tuple(float(v) for v in dataset.transform[:6])
        crs = _code(dataset.crs)
        return [
            BandFile(
                path,
                number,
                Band(
                    name=description or f"B{number}",
                    dtype=np.dtype(dtype),
                    crs=crs,
                    transform=transform,  # type: ignore[arg-type]
                    width=dataset.width,
                    height=dataset.height,
                ),
                declared if declared is not None else nodata,
            )
            for number, (description, dtype, declared) in enumerate(
                zip(dataset.descriptions, dataset.dtypes, dataset.nodatavals, strict=True), 1
            )
        ]


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
    if source.nodata is None:
        ok = dataset.read_masks(source.number, window=window) != 0
    elif np.isnan(source.nodata):
        ok = ~np.isnan(values)
    else:
        ok = values != source.nodata
    if values.dtype.kind == "f":
        ok &= np.isfinite(values)
    return values, ok


def _reduced(
    values: NDArray[Any], ok: NDArray[np.bool_], factor: int, policy: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A coarser level: the mean of valid pixels, or the upper left pixel."""
    if policy != "MEAN":
        return values[::factor, ::factor], ok[::factor, ::factor]
    rows, cols = np.arange(0, values.shape[0], factor), np.arange(0, values.shape[1], factor)
    weight = np.add.reduceat(np.add.reduceat(ok.astype(np.float64), rows, 0), cols, 1)
    total = np.add.reduceat(np.add.reduceat(np.where(ok, values, 0).astype(np.float64), rows, 0), cols, 1)
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    if values.dtype.kind in "iu":
        mean = np.rint(mean)
    return mean.astype(values.dtype), weight > 0


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
