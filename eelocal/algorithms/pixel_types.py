"""PixelType: what pixels, and elements of arrays, can be; and Image: casting bands to it."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from eelocal import registry
from eelocal.algorithms.image_math import cast_image
from eelocal.errors import EarthEngineError
from eelocal.promote import promote
from eelocal.registry import algorithm
from eelocal.sampling import empty
from eelocal.values.collection import Collection
from eelocal.values.filter import Query
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import CASTS, PixelType

_MAX_DIMENSIONS = 32


@algorithm("PixelType")
def make(precision: Any, minValue: float | None, maxValue: float | None, dimensions: int) -> PixelType:
    """A type of a precision (or of a name such as `int8`) with limits, of numbers or of arrays."""
    if isinstance(precision, PixelType):
        return precision
    named = CASTS.get(precision) if isinstance(precision, str) else None
    if named is None:
        raise EarthEngineError(f"Unknown precision '{str(precision)[:50]}'; known are {', '.join(CASTS)}.")
    if not 0 <= dimensions <= _MAX_DIMENSIONS:
        raise EarthEngineError(f"Dimensions must be from 0 to {_MAX_DIMENSIONS}. Got {dimensions}.")
    low, high = (named.min if minValue is None else minValue), (named.max if maxValue is None else maxValue)
    if low is not None and high is not None and low > high:
        raise EarthEngineError(f"minValue ({low}) must not be greater than maxValue ({high}).")
    return PixelType(named.precision, low, high, dimensions)


@algorithm("PixelType.dimensions")
def dimensions(pixelType: PixelType) -> int:
    """The number of dimensions: 0 for numbers."""
    return pixelType.dimensions


@algorithm("PixelType.precision")
def precision(pixelType: PixelType) -> str:
    """`int`, `float` or `double`."""
    return pixelType.precision


@algorithm("PixelType.minValue")
def min_value(pixelType: PixelType) -> float | None:
    """The least value, or null."""
    return pixelType.min


@algorithm("PixelType.maxValue")
def max_value(pixelType: PixelType) -> float | None:
    """The greatest value, or null."""
    return pixelType.max


@algorithm("Image.cast", keeps="image")
def cast(image: Image, bandTypes: Mapping[str, Any], bandOrder: list[Any] | None) -> Image:
    """Some bands as other types, in an order if one is given; bands that are not there are masked."""
    types = {name: promote(kind, "PixelType", "Image.cast, argument 'bandTypes'") for name, kind in bandTypes.items()}
    bands = {band.name: _cast_band(image, band, types.get(band.name)) for band in image.bands}
    if not image.bands:
        raise EarthEngineError("The image has no bands.")
    for name, kind in types.items():
        bands.setdefault(name, _masked(image.bands[0], kind).renamed(name))
    order = [str(name) for name in bandOrder] if bandOrder is not None else list(bands)
    missing = next((name for name in order if name not in bands), None)
    if missing is not None:
        raise EarthEngineError(f"Band '{missing}' of bandOrder is neither in the image nor in bandTypes.")
    return image.with_bands([bands[name] for name in order])


def _masked(like: Band, kind: PixelType) -> Band:
    return like.derived(lambda grid: empty(grid, kind.dtype), kind)


def _cast_band(image: Image, band: Band, kind: PixelType | None) -> Band:
    return band if kind is None else cast_image(image.with_bands([band]), kind).bands[0]


@algorithm("ImageCollection.cast")
def cast_collection(collection: Collection, bandTypes: Mapping[str, Any], bandOrder: list[Any]) -> Collection:
    """The images with their bands as types, in an order."""

    def source(query: Query) -> Iterator[Any]:
        return (cast(image, bandTypes, bandOrder) for image in collection.elements(query))

    return collection.like(source)


def _constant(kind: PixelType) -> Callable[[], PixelType]:
    def function() -> PixelType:
        return kind

    return function


for _name in ("double", "float", "int16", "int32", "int64", "int8", "uint16", "uint32", "uint8"):
    registry.add(f"PixelType.{_name}", _constant(CASTS[_name]))
