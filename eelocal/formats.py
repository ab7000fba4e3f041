"""Pixels as files: NPY, GeoTIFF, PNG, JPEG, and ZIPs of GeoTIFFs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from PIL import Image as Picture
from rasterio.io import MemoryFile

from eelocal.errors import EarthEngineError
from eelocal.pixels import Raster
from eelocal.values.image import Band
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
    array = raster.structured()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return File(b"".join((header.getvalue(), array.view(np.uint8).data)), _OCTETS)  # one copy, not three


def _geotiff(raster: Raster, name: str) -> File:
    return File(_tiff(raster, raster.bands, *raster.arrays()), "image/tiff")


def _zipped(raster: Raster, name: str) -> File:
    return _zip({f"{name}.tif": _tiff(raster, raster.bands, *raster.arrays())})


def _zipped_per_band(raster: Raster, name: str) -> File:
    bands = zip(raster.bands, *raster.arrays(), strict=True)
    return _zip({f"{name}.{b.name}.tif": _tiff(raster, [b], [values], [valid]) for b, values, valid in bands})


def _zip(members: dict[str, bytes]) -> File:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for member, body in members.items():
            archive.writestr(member, body)
    return File(buffer.getvalue(), "application/zip")


def _tiff(raster: Raster, bands: Sequence[Band], values: Sequence[Any], valid: Sequence[Any]) -> bytes:
    """A GeoTIFF; all bands get the one type that holds them, int64 becomes float64 as in Earth Engine.

    Only when all bands were cast is there a nodata value, and masked pixels have it; otherwise they are 0 without a
    tag (geedim's tests/integration.py, test_ee_geotiff_nodata).
    """
    dtype = np.result_type(*(array.dtype for array in values))
    if dtype.kind in "iu" and dtype.itemsize == 8:
        dtype = np.dtype(np.float64)
    nodata = _nodata(dtype) if all(band.cast for band in bands) else None
    grid = raster.grid
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": len(values),
        "dtype": dtype,
        "crs": rasterio.CRS.from_wkt(parse_crs(grid.crs).to_wkt()),
        "transform": Affine(*grid.transform),
        # Not compressed: on this machine's own network sending bytes is quicker than deflating them.
        "interleave": "pixel",
        "nodata": nodata,
    }
    if min(grid.width, grid.height) >= 256:
        profile.update(tiled=True, blockxsize=256, blockysize=256)
    with MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            for i, (band, array, ok) in enumerate(zip(bands, values, valid, strict=True), 1):
                filled = array.astype(dtype, copy=False)
                dataset.write(filled if nodata is None else np.where(ok, filled, np.array(nodata, dtype)), i)
                dataset.set_band_description(i, band.name)
        return bytes(memory.read())


def _nodata(dtype: np.dtype[Any]) -> float:
    """0 for unsigned types, the least value for signed ones, minus infinity for floating point."""
    if dtype.kind == "f":
        return -np.inf
    return 0 if dtype.kind == "u" else int(np.iinfo(dtype).min)


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
