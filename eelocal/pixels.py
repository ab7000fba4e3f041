"""Pixels of an image on a grid: the limits, the evaluation by strips, and the grid of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.bands import select_bands
from eelocal.errors import EarthEngineError
from eelocal.fitting import bounds_in, extent, snapped, stretched
from eelocal.grid import Grid, Pixels
from eelocal.values.geometry import Geometry
from eelocal.values.image import Band, Image
from eelocal.values.projection import Projection, parse_crs, to_transform, transformer

# https://developers.google.com/earth-engine/reference/rest/v1/projects.image/computePixels
MAX_BYTES = 48 * 2**20
MAX_SIDE = 32768
MAX_BANDS = 1024
_STRIP = 2**18  # pixels evaluated at once: small enough that intermediate images stay out of the way
_AFFINE = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")


@dataclass(frozen=True)
class Raster:
    """Bands and the grid they are wanted on."""

    bands: tuple[Band, ...]
    grid: Grid

    def check(self) -> None:
        """Raises Earth Engine's own error for what is too large; a mask byte counts for each band and pixel."""
        nested = next((band.name for band in self.bands if band.type.dimensions), None)
        if nested is not None:
            raise EarthEngineError(f"Band '{nested}' has arrays, which cannot be pixels of a file: use arrayFlatten.")
        width, height = self.grid.width, self.grid.height
        if max(width, height) > MAX_SIDE:
            raise EarthEngineError(
                f"Pixel grid dimensions ({width}x{height}) must be less than or equal to {MAX_SIDE}."
            )
        if len(self.bands) > MAX_BANDS:
            raise EarthEngineError(f"Number of bands ({len(self.bands)}) must be less than or equal to {MAX_BANDS}.")
        size = width * height * sum(band.type.dtype.itemsize + 1 for band in self.bands)
        if size > MAX_BYTES:
            raise EarthEngineError(
                f"Total request size ({size} bytes) must be less than or equal to {MAX_BYTES} bytes."
            )

    def strips(self) -> Iterator[tuple[int, int, list[Pixels]]]:
        """(first row, last row + 1, pixels of each band), from top to bottom."""
        rows = max(1, _STRIP // self.grid.width)
        for start in range(0, self.grid.height, rows):
            height = min(rows, self.grid.height - start)
            part = self.grid.window(0, start, self.grid.width, height)
            yield start, start + height, [band.pixels(part) for band in self.bands]

    def structured(self) -> NDArray[Any]:
        """One field per band, masked pixels 0: what fileFormat NPY holds."""
        fields = [(band.name, band.type.dtype.newbyteorder("<")) for band in self.bands]
        result = np.zeros(self.grid.shape, np.dtype(fields))
        for start, stop, found in self.strips():
            for band, pixels in zip(self.bands, found, strict=True):
                result[band.name][start:stop] = filled(pixels)
        return result

    def arrays(self) -> tuple[list[NDArray[Any]], list[NDArray[np.bool_]]]:
        """Values (0 where masked) and validity of each band."""
        values = [np.zeros(self.grid.shape, band.type.dtype) for band in self.bands]
        valid = [np.zeros(self.grid.shape, bool) for _ in self.bands]
        for start, stop, found in self.strips():
            for i, pixels in enumerate(found):
                values[i][start:stop] = filled(pixels)
                valid[i][start:stop] = pixels.valid
        return values, valid


def filled(pixels: Pixels) -> NDArray[Any]:
    """Values with 0 where masked: `Masked or missing data will be encoded as zeroes`."""
    if pixels.valid.all():
        return pixels.values
    return np.where(pixels.valid, pixels.values, 0).astype(pixels.values.dtype, copy=False)


def raster(image: Image, grid: Mapping[str, Any] | None, bands: Sequence[str], region: Geometry | None) -> Raster:
    """What a request for pixels asks for.

    Args:
        image: the image.
        grid: the REST PixelGrid; what it leaves out is that of the image.
        bands: band ids; none means all.
        region: bounds used when the grid has no dimensions or origin.
    """
    chosen = tuple(select_bands(image, bands)) if bands else image.bands
    if not chosen:
        raise EarthEngineError("The image has no bands.")
    made = Raster(chosen, request_grid(chosen[0], image, grid or {}, region))
    made.check()
    return made


def request_grid(band: Band, image: Image, grid: Mapping[str, Any], region: Geometry | None) -> Grid:
    """The REST PixelGrid as a grid."""
    projection = _projection(grid, band.projection)
    dimensions = grid.get("dimensions")
    if isinstance(dimensions, Mapping) and (dimensions.get("width"), dimensions.get("height")) == (0, 0):
        dimensions = None  # as protocol buffers have it: zeros are what is not given; xee's tests send them
    if "affineTransform" in grid and dimensions:
        return Grid(projection.crs, projection.transform, *_dimensions(dimensions))
    native = band.dimensions is not None and projection == band.projection and region is None
    if native and not dimensions and band.dimensions:
        col, row = band.origin or (0, 0)
        return Grid(projection.crs, projection.transform, 1, 1).window(col, row, *band.dimensions)
    bounds = bounds_in(region or _place(band, image), projection.crs)
    if dimensions:
        return stretched(projection.crs, bounds, *_dimensions(dimensions))
    return snapped(projection, bounds)


def _place(band: Band, image: Image) -> Geometry | None:
    """Where an image is; if it goes on for ever (unmasked everywhere), where the pixels of its band are."""
    place = image.geometry
    return place if place is None or not place.unbounded else extent(band) or place


def _projection(grid: Mapping[str, Any], default: Projection) -> Projection:
    code = grid.get("crsCode") or grid.get("crsWkt")
    if code is not None and not isinstance(code, str):
        raise EarthEngineError("The crsCode must be a string.")
    if code:
        parse_crs(code)
    affine = grid.get("affineTransform")
    if affine is not None:
        if not isinstance(affine, Mapping):
            raise EarthEngineError("The affineTransform must be an object.")
        return Projection(code or default.crs).with_transform(to_transform([affine.get(k, 0) for k in _AFFINE]))
    if not code or code == default.crs:
        return default
    return _same_scale(default, code)


def _same_scale(default: Projection, code: str) -> Projection:
    scale = default.nominal_scale
    transformer(default.crs, code)
    a, b, c, d, e, f = Projection(code).at_scale(scale).transform
    return Projection(code, (a, b, c, d, -e, f))


def _dimensions(body: Any) -> tuple[int, int]:
    if not isinstance(body, Mapping):
        raise EarthEngineError("Grid dimensions must be an object with width and height.")
    width, height = body.get("width"), body.get("height")
    for number in (width, height):
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise EarthEngineError(f"Grid dimensions must be positive. Got {width}x{height}.")
    return int(str(width)), int(str(height))
