"""Pixels as files: NPY, GeoTIFF, PNG, JPEG, and ZIPs of GeoTIFFs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from PIL import Image as Picture
from rasterio.io import MemoryFile

from eelocal.errors import EarthEngineError
from eelocal.pixels import Raster
from eelocal.values.projection import parse_crs

_OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class File:
    """Bytes and their media type."""

    body: bytes
    type: str


def write(raster: Raster, file_format: str, name: str) -> File:
    """A raster as a file.

    Args:
        raster: what to write; within the limits.
        file_format: REST ImageFileFormat.
        name: of the members of a ZIP.
    """
    writer = _WRITERS.get(file_format)
    if writer is None:
        raise EarthEngineError(f"File format '{file_format}' is not supported; known are {', '.join(_WRITERS)}.")
    return writer(raster, name)


def _npy(raster: Raster, name: str) -> File:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, raster.structured(), allow_pickle=False)
    return File(buffer.getvalue(), _OCTETS)


def _geotiff(raster: Raster, name: str) -> File:
    values, _ = raster.arrays()
    return File(_tiff(raster, values, [band.name for band in raster.bands]), "image/tiff")


def _zipped(raster: Raster, name: str) -> File:
    values, _ = raster.arrays()
    names = [band.name for band in raster.bands]
    return _zip({f"{name}.tif": _tiff(raster, values, names)})


def _zipped_per_band(raster: Raster, name: str) -> File:
    values, _ = raster.arrays()
    pairs = zip(raster.bands, values, strict=True)
    return _zip({f"{name}.{band.name}.tif": _tiff(raster, [array], [band.name]) for band, array in pairs})


def _zip(members: dict[str, bytes]) -> File:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for member, body in members.items():
            archive.writestr(member, body)
    return File(buffer.getvalue(), "application/zip")


def _tiff(raster: Raster, values: list[Any], names: list[str]) -> bytes:
    """A tiled GeoTIFF; all bands get the one type that holds them, int64 becomes float64 as in Earth Engine."""
    dtype = np.result_type(*(array.dtype for array in values))
    if dtype.kind in "iu" and dtype.itemsize == 8:
        dtype = np.dtype(np.float64)
    grid = raster.grid
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": len(values),
        "dtype": dtype,
        "crs": rasterio.CRS.from_wkt(parse_crs(grid.crs).to_wkt()),
        "transform": Affine(*grid.transform),
        "compress": "deflate",
        "zlevel": 1,
        "interleave": "pixel",
    }
    if min(grid.width, grid.height) >= 256:
        profile.update(tiled=True, blockxsize=256, blockysize=256)
    with MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            for i, (array, name) in enumerate(zip(values, names, strict=True), 1):
                dataset.write(array.astype(dtype, copy=False), i)
                dataset.set_band_description(i, name)
        return bytes(memory.read())


def _picture(kind: str, media: str) -> Callable[[Raster, str], File]:
    def function(raster: Raster, name: str) -> File:
        rgb, opaque = _bytes(raster)
        image = Picture.fromarray(rgb)
        if kind == "PNG" and not opaque.all():
            image.putalpha(Picture.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
        buffer = io.BytesIO()
        image.save(buffer, kind)
        return File(buffer.getvalue(), media)

    return function


def _bytes(raster: Raster) -> tuple[Any, Any]:
    if len(raster.bands) not in (1, 3):
        raise EarthEngineError(f"A picture needs 1 or 3 bands. Got {len(raster.bands)}.")
    values, valid = raster.arrays()
    stacked = np.stack([np.clip(v, 0, 255).astype(np.uint8) for v in values], axis=-1)
    rgb = np.repeat(stacked, 3, axis=-1) if len(values) == 1 else stacked
    return np.ascontiguousarray(rgb), np.logical_and.reduce(valid)


def _auto(raster: Raster, name: str) -> File:
    """PNG where something is transparent, else JPEG."""
    _, valid = raster.arrays()
    opaque = bool(np.logical_and.reduce(valid).all())
    return _WRITERS["JPEG" if opaque else "PNG"](raster, name)


_WRITERS: dict[str, Callable[[Raster, str], File]] = {
    "NPY": _npy,
    "GEO_TIFF": _geotiff,
    "ZIPPED_GEO_TIFF": _zipped,
    "ZIPPED_GEO_TIFF_PER_BAND": _zipped_per_band,
    "PNG": _picture("PNG", "image/png"),
    "JPEG": _picture("JPEG", "image/jpeg"),
    "AUTO_JPEG_PNG": _auto,
}
