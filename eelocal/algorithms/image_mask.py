"""Image: masks, and values put in by a condition."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eelocal.algorithms.image_math import union_type
from eelocal.errors import EarthEngineError
from eelocal.grid import Grid, Pixels
from eelocal.region import present_in
from eelocal.registry import algorithm
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import PixelType

_MASK_TYPE = PixelType("float", 0, 1)


@algorithm("Image.updateMask", keeps="image")
def update_mask(image: Image, mask: Image) -> Image:
    """Valid only where the mask is valid and not 0."""

    def masked(band: Band, by: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            pixels, test = band.pixels(grid), by.pixels(grid)
            return Pixels(pixels.values, pixels.valid & test.valid & (test.values != 0))

        return band.derived(read)

    return _with(image, mask, masked)


@algorithm("Image.selfMask", keeps="image")
def self_mask(image: Image) -> Image:
    """Valid only where the value is not 0."""
    return update_mask(image, image)


@algorithm("Image.mask", keeps="image")
def mask(image: Image, mask: Image | None) -> Image:
    """The image's mask, or the image with another mask."""
    if mask is None:
        return image.with_bands([_mask_of(band) for band in image.bands])

    def replaced(band: Band, by: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            pixels, test = band.pixels(grid), by.pixels(grid)
            values = np.where(pixels.valid, pixels.values, 0).astype(band.type.dtype)
            return Pixels(values, test.valid & (test.values != 0))

        return band.derived(read)

    return _with(image, mask, replaced)


@algorithm("Image.unmask")
def unmask(input: Image, value: Image | None, sameFootprint: bool) -> Image:
    """Masked pixels take the value and mask of another image, within the footprint unless told otherwise."""
    outline = input.footprint if sameFootprint else None

    def filled(band: Band, by: Band | None) -> Band:
        kind = union_type(band.type, by.type) if by else band.type

        def read(grid: Grid) -> Pixels:
            pixels = band.pixels(grid)
            if pixels.valid.all():
                return Pixels(pixels.values.astype(kind.dtype, copy=False), pixels.valid)
            if by is None:
                fill, ok = np.zeros(grid.shape, kind.dtype), np.ones(grid.shape, bool)
            else:
                fill, ok = by.pixels(grid)
            values = np.where(pixels.valid, pixels.values, fill).astype(kind.dtype)
            inside = present_in(outline, grid)
            return Pixels(values, pixels.valid | (ok & inside))

        return band.derived(read, kind)

    result = (
        input.with_bands([filled(band, None) for band in input.bands]) if value is None else _with(input, value, filled)
    )
    if sameFootprint:
        return result
    other = value.footprint if value is not None else None
    both = None if other is None or input.footprint is None else input.footprint.union(other)
    return result.with_footprint(both)


@algorithm("Image.where", keeps="input")
def where(input: Image, test: Image, value: Image) -> Image:
    """The value where a test holds; where test or value is masked, the input."""
    tests = _spread(test, len(input.bands), "test")
    values = _spread(value, len(input.bands), "value")

    def chosen(band: Band, by: Band, new: Band) -> Band:
        kind = union_type(band.type, new.type)

        def read(grid: Grid) -> Pixels:
            pixels, condition, other = band.pixels(grid), by.pixels(grid), new.pixels(grid)
            take = condition.valid & (condition.values != 0) & other.valid
            return Pixels(np.where(take, other.values, pixels.values).astype(kind.dtype), pixels.valid)

        return band.derived(read, kind)

    return input.with_bands([chosen(*three) for three in zip(input.bands, tests, values, strict=True)])


@algorithm("Image.blend", keeps=())
def blend(bottom: Image, top: Image) -> Image:
    """One image over another."""
    count = max(len(bottom.bands), len(top.bands))
    lower, upper = _spread(bottom, count, "bottom"), _spread(top, count, "top")

    def over(band: Band, cover: Band) -> Band:
        kind = union_type(band.type, cover.type)

        def read(grid: Grid) -> Pixels:
            below, above = band.pixels(grid), cover.pixels(grid)
            values = np.where(above.valid, above.values, below.values).astype(kind.dtype)
            return Pixels(values, above.valid | below.valid)

        return band.derived(read, kind)

    bands = [over(b, t) for b, t in zip(lower, upper, strict=True)]
    names = (bottom if len(bottom.bands) == count else top).names
    both = None if bottom.footprint is None or top.footprint is None else bottom.footprint.union(top.footprint)
    return bottom.bare([b.renamed(n) for b, n in zip(bands, names, strict=True)]).with_footprint(both)


def _mask_of(band: Band) -> Band:
    def read(grid: Grid) -> Pixels:
        valid = band.pixels(grid).valid
        return Pixels(valid.astype(np.float32), np.ones(grid.shape, bool))

    return band.derived(read, _MASK_TYPE)


def _with(image: Image, other: Image, change: Callable[[Band, Band], Band]) -> Image:
    others = _spread(other, len(image.bands), "mask")
    return image.with_bands([change(band, by) for band, by in zip(image.bands, others, strict=True)])


def _spread(image: Image, count: int, role: str) -> tuple[Band, ...]:
    """As many bands as needed: a single one serves for all."""
    if len(image.bands) == 1:
        return image.bands * count
    if len(image.bands) != count:
        raise EarthEngineError(
            f"The {role} image must have 1 band or as many as the input ({count}). Got {len(image.bands)}."
        )
    return image.bands
