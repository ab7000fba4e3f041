"""Image: arithmetic, comparison, logic and bits, pixel by pixel; the rules of pairing bands and of types.

Pairing: one band against all of the other image; equal names if both have the same names; else in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal import registry, special
from eelocal.algorithms.numbers import ALIASES
from eelocal.arrays import cast, on_pixels, spread
from eelocal.errors import EarthEngineError
from eelocal.grid import Grid, Pixels
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import BOOLEAN, CASTS, DOUBLE, FLOAT, PixelType, integer

Array = NDArray[Any]
TypeRule = Callable[[PixelType, PixelType], PixelType]


@dataclass(frozen=True)
class Binary:
    """An operation on two numbers: how, and the type of the result."""

    compute: Callable[[Array, Array], Any]
    type: TypeRule


def pair_bands(left: Image, right: Image) -> list[tuple[Band, Band]]:
    """The bands that meet; the first of a pair gives name and place where both images have as many."""
    a, b = left.bands, right.bands
    if len(a) == 1 and len(b) != 1:
        return [(a[0], band) for band in b]
    if len(b) == 1:
        return [(band, b[0]) for band in a]
    if len(a) != len(b):
        raise EarthEngineError(
            f"Images must have the same number of bands, or one of them a single band. Got {len(a)} and {len(b)}."
        )
    if set(left.names) == set(right.names):
        named = {band.name: band for band in b}
        return [(band, named[band.name]) for band in a]
    return list(zip(a, b, strict=True))


def combine(image1: Image, image2: Image, operation: Binary) -> Image:
    """The operation on each pair of bands."""
    pairs = pair_bands(image1, image2)
    longer = image2.bands if len(image2.bands) > len(image1.bands) else image1.bands
    bands = [_binary_band(a, b, operation, like.name) for (a, b), like in zip(pairs, longer, strict=True)]
    return merged_place(image1, image2).bare(bands)


def merged_place(first: Image, second: Image) -> Image:
    """The first image, bounded by both."""

    def footprint() -> Any:
        a, b = first.footprint, second.footprint
        if a is None or b is None or a is b:
            return b if a is None else a
        return a.intersection(b)

    placed = first.with_footprint(footprint)
    if "system:index" in first.properties or not second.properties:
        return placed
    return placed.with_properties({**second.properties, **first.properties})


def anchor(first: Band, second: Band) -> Band:
    """The band whose place the result has: the one that is not a constant."""
    return second if first.dimensions is None and second.dimensions is not None else first


def _binary_band(a: Band, b: Band, operation: Binary, name: str) -> Band:
    compute, kind = typed(operation, a.type.element, b.type.element)
    dimensions = max(a.type.dimensions, b.type.dimensions)

    def read(grid: Grid) -> Pixels:
        left, right = a.pixels(grid), b.pixels(grid)
        with np.errstate(all="ignore"):
            return finite(compute(left.values, right.values), left.valid & right.valid)

    def read_arrays(grid: Grid) -> Pixels:
        return on_pixels(elementwise(compute), [a.pixels(grid), b.pixels(grid)], kind.array(dimensions))

    return anchor(a, b).derived(read_arrays if dimensions else read, kind.array(dimensions)).renamed(name)


def typed(operation: Binary, a: PixelType, b: PixelType) -> tuple[Callable[[Array, Array], Array], PixelType]:
    """The operation on values of two types, and the type of its results."""
    kind = operation.type(a, b)
    work = np.result_type(a.dtype, b.dtype, kind.dtype)
    if kind.is_integer and work.kind == "f":
        work = a.union(b).dtype

    def compute(left: Array, right: Array) -> Array:
        values = operation.compute(left.astype(work, copy=False), right.astype(work, copy=False))
        return np.asarray(values).astype(kind.dtype, copy=False)

    return compute, kind


def elementwise(compute: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """The operation on stacks of arrays of one shape, or of arrays and numbers."""

    def run(left: Array, right: Array) -> Array:
        if left.ndim > 1 and right.ndim > 1 and left.shape != right.shape:
            raise EarthEngineError(
                f"Arrays must have the same shape, or one of them be a number. Got {list(left.shape[1:])} and "
                f"{list(right.shape[1:])}."
            )
        most = max(left.ndim, right.ndim) - 1
        return compute(spread(left, most), spread(right, most))

    return run


def finite(values: Array, valid: NDArray[np.bool_]) -> Pixels:
    """Pixels without a number are masked, as Earth Engine has no NaN in images."""
    if values.dtype.kind == "f":
        number = np.isfinite(values)
        if not number.all():
            return Pixels(np.where(number, values, 0), valid & number)
    return Pixels(values, valid)


def _span(function: Callable[[int, int], int]) -> TypeRule:
    """Type of an operation whose extremes are at the extremes of its inputs."""

    def rule(a: PixelType, b: PixelType) -> PixelType:
        if not (a.is_integer and b.is_integer):
            return a.union(b).unbounded()
        ends = [function(x, y) for x in a.bounds for y in b.bounds]
        return integer(min(ends), max(ends))

    return rule


def union_type(a: PixelType, b: PixelType) -> PixelType:
    """The union of the input types."""
    kind = a.union(b)
    return kind if kind.is_integer else kind.unbounded()


def boolean_type(a: PixelType, b: PixelType) -> PixelType:
    """0 or 1."""
    return BOOLEAN


def float_type(a: PixelType, b: PixelType) -> PixelType:
    """Floating point: double if an input is, or is too wide for a float."""
    wide = any(t.precision == "double" or (t.is_integer and t.dtype.itemsize > 2) for t in (a, b))
    return DOUBLE if wide else FLOAT


def _shift_type(a: PixelType, b: PixelType) -> PixelType:
    return integer(-(2**63), 2**63 - 1)


def _divide(a: Array, b: Array) -> Array:
    """Division, 0 where the divisor is 0 (ee.Image.divide)."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape), a.dtype), where=b != 0)


def _mod(a: Array, b: Array) -> Array:
    """Remainder with the sign of the dividend, as in Java; 0 where the divisor is 0."""
    return np.fmod(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape), a.dtype), where=b != 0)


def _bits(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda a, b: function(a.astype(np.int64), b.astype(np.int64))


def _no_int(function: Callable[..., Any]) -> Callable[[Array, Array], Any]:
    return lambda a, b: function(a.astype(np.float64), b.astype(np.float64))


BINARY: dict[str, Binary] = {
    "add": Binary(np.add, _span(lambda x, y: x + y)),
    "subtract": Binary(np.subtract, _span(lambda x, y: x - y)),
    "multiply": Binary(np.multiply, _span(lambda x, y: x * y)),
    "divide": Binary(_divide, float_type),
    "max": Binary(np.maximum, union_type),
    "min": Binary(np.minimum, union_type),
    "first": Binary(lambda a, b: a, union_type),
    "firstNonZero": Binary(lambda a, b: np.where(a != 0, a, b), union_type),
    "mod": Binary(_mod, union_type),
    "pow": Binary(_no_int(np.power), float_type),
    "atan2": Binary(_no_int(lambda a, b: np.arctan2(b, a)), float_type),
    "hypot": Binary(_no_int(np.hypot), float_type),
    "and": Binary(lambda a, b: (a != 0) & (b != 0), boolean_type),
    "or": Binary(lambda a, b: (a != 0) | (b != 0), boolean_type),
    "lt": Binary(np.less, boolean_type),
    "lte": Binary(np.less_equal, boolean_type),
    "gt": Binary(np.greater, boolean_type),
    "gte": Binary(np.greater_equal, boolean_type),
    "eq": Binary(np.equal, boolean_type),
    "neq": Binary(np.not_equal, boolean_type),
    "bitwiseAnd": Binary(_bits(np.bitwise_and), union_type),
    "bitwiseOr": Binary(_bits(np.bitwise_or), union_type),
    "bitwiseXor": Binary(_bits(np.bitwise_xor), union_type),
    "leftShift": Binary(_bits(np.left_shift), _shift_type),
    "rightShift": Binary(_bits(np.right_shift), union_type),
    "gammainc": Binary(special.gamma_lower, float_type),
}


def _binary(operation: Binary) -> Callable[[Image, Image], Image]:
    def function(image1: Image, image2: Image) -> Image:
        return combine(image1, image2, operation)

    return function


def map_bands(image: Image, change: Callable[[Array], Any], kind: Callable[[PixelType], PixelType]) -> Image:
    """A function of each pixel of each band; properties are not kept."""
    return image.bare([unary_band(band, change, kind(band.type.element)) for band in image.bands])


def unary_band(band: Band, change: Callable[[Array], Any], kind: PixelType) -> Band:
    """A band whose values are a function of another's."""
    if band.type.dimensions:
        arrays = kind.array(band.type.dimensions)
        return band.derived(lambda grid: on_pixels(change, [band.pixels(grid)], arrays), arrays)

    def read(grid: Grid) -> Pixels:
        pixels = band.pixels(grid)
        with np.errstate(all="ignore"):
            values = np.asarray(change(pixels.values))
        return finite(values.astype(kind.dtype, copy=False), pixels.valid)

    return band.derived(read, kind)


def cast_image(value: Image, kind: PixelType) -> Image:
    """All bands as a type. Casting keeps the metadata."""
    bands = [unary_band(b, lambda v: cast(v, kind), kind) for b in value.bands]
    return value.with_bands([replace(band, cast=True) for band in bands])


def _cast(kind: PixelType) -> Callable[[Image], Image]:
    def function(value: Image) -> Image:
        return cast_image(value, kind)

    return function


for _name, _operation in BINARY.items():
    registry.add(f"Image.{_name}", _binary(_operation), keeps=("image1", "image2"))
for _alias, _name in ALIASES.items():
    registry.add(f"Image.{_alias}", _binary(BINARY[_name]), keeps=("image1", "image2"))
for _name, _kind in CASTS.items():
    registry.add(f"Image.{_name}", _cast(_kind), keeps=("value",))
    registry.add(f"Image.to{_name.capitalize()}", _cast(_kind), keeps=("value",))
