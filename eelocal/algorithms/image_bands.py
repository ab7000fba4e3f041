"""Image: loading, and choosing, naming and joining bands."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from typing import Any

from eelocal.bands import joined, renamed, select_bands
from eelocal.errors import EarthEngineError
from eelocal.patterns import compiled
from eelocal.promote import constant_image, promote
from eelocal.registry import algorithm
from eelocal.stored import load_image
from eelocal.values.geometry import Geometry
from eelocal.values.image import Band, Image
from eelocal.values.projection import Projection


@algorithm("Image.load")
def load(id: str, version: int) -> Image:
    """An image asset."""
    return load_image(id)


@algorithm("Image.constant")
def constant(value: Any) -> Image:
    """An image of a number, or of a list of numbers, one band each."""
    return constant_image(value)


@algorithm("Image.select", keeps="input")
def select(input: Image, bandSelectors: list[Any], newNames: list[str] | None) -> Image:
    """Bands by name, pattern or position, renamed if asked."""
    return input.with_bands(renamed(select_bands(input, bandSelectors), newNames))


@algorithm("Image.rename", keeps="input")
def rename(input: Image, names: list[str]) -> Image:
    """All bands under new names."""
    return input.with_bands(renamed(list(input.bands), names))


@algorithm("Image.regexpRename", keeps="input")
def regexp_rename(input: Image, regex: str, replacement: str, all: bool) -> Image:
    """Bands with parts of their names replaced."""
    pattern = compiled(regex)
    return input.with_bands([b.renamed(pattern.replaced(b.name, replacement, every=all)) for b in input.bands])


@algorithm("Image.slice", keeps="image")
def slice_bands(image: Image, start: int, end: int | None) -> Image:
    """A run of bands by position."""
    return image.with_bands(image.bands[start:end])


@algorithm("Image.addBands", keeps="dstImg")
def add_bands(dstImg: Image, srcImg: Image, names: list[str] | None, overwrite: bool) -> Image:
    """The bands of one image and those of another."""
    added = list(srcImg.bands) if names is None else select_bands(srcImg, names)
    return dstImg.with_bands(joined(dstImg.bands, added, overwrite=overwrite))


@algorithm("Image.cat")
def cat(images: list[Any]) -> Image:
    """All bands of all images, with the metadata of the first."""
    if not images:
        return Image(())
    promoted: list[Image] = [promote(image, "Image", "Image.cat, argument 'images'") for image in images]
    bands: list[Band] = []
    for image in promoted:
        bands = joined(bands, image.bands, overwrite=False)
    return promoted[0].with_bands(bands)


@algorithm("Image.bandNames")
def band_names(image: Image) -> list[str]:
    """Names of the bands."""
    return image.names


@algorithm("Image.bandTypes")
def band_types(image: Image) -> dict[str, Any]:
    """Pixel type of each band."""
    return {band.name: band.type for band in image.bands}


@algorithm("Image.projection")
def projection(image: Image) -> Projection:
    """The default projection, which must be that of all bands."""
    if not image.bands:
        raise EarthEngineError("The image has no bands, so it has no projection.")
    found = {band.projection for band in image.bands}
    if len(found) > 1:
        raise EarthEngineError(
            "The bands of the specified image contains different projections. Use Image.select to pick a single band."
        )
    return found.pop()


@algorithm("Image.geometry", "Element.geometry", "Feature.geometry")
def geometry(feature: Any, maxError: Any, proj: Projection | None, geodesics: bool | None) -> Geometry | None:
    """Where an element is: the footprint of an image, in another projection if asked."""
    found: Geometry | None = feature.geometry
    if found is None or proj is None or found.unbounded:
        return found
    return Geometry(found.in_crs(proj.crs), proj.crs, bool(geodesics))
