"""Array: numbers in several dimensions, element by element and as a whole. The computing is in `eelocal.stacked`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from eelocal import registry, stacked
from eelocal.algorithms.image_functions import UNARY
from eelocal.algorithms.image_math import BINARY, Binary, elementwise, typed
from eelocal.algorithms.numbers import ALIASES
from eelocal.arrays import Array, cast, check_size, on_array, to_array, type_of
from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.pixeltype import CASTS, PixelType
from eelocal.values.reducer import Reducer


@algorithm("Array")
def make(values: Any, pixelType: PixelType | None) -> Array:  # noqa: N803
    """An array of numbers, nested lists or another array, in a type if one is named."""
    return to_array(values, pixelType)


@algorithm("Array.identity")
def identity(size: int) -> Array:
    """Ones on the diagonal."""
    if size < 1:
        raise EarthEngineError(f"Size must be positive. Got {size}.")
    check_size([size, size])
    return np.eye(size, dtype=np.int64)


@algorithm("Array.toList")
def to_list(array: Array) -> Any:
    """Lists of numbers."""
    return array.tolist()


@algorithm("Array.length")
def length(array: Array) -> Array:
    """The length of each axis."""
    return np.array(array.shape, np.int64)


@algorithm("Array.get")
def get(array: Array, position: list[Any]) -> int | float:
    """The number at a position."""
    found: int | float = on_array(lambda a: stacked.element(a, _whole(position)), array).item()
    return found


@algorithm("Array.cut")
def cut(array: Array, position: list[Any]) -> Array:
    """One position of each axis, or with -1 all of them."""
    if len(position) != array.ndim:
        raise EarthEngineError(f"The position must have {array.ndim} coordinates. Got {len(position)}.")
    result = array
    for axis, at in enumerate(_whole(position)):
        if at != -1 and not 0 <= at < array.shape[axis]:
            raise EarthEngineError(f"Position {at} is out of range: axis {axis} has the length {array.shape[axis]}.")
        result = result if at == -1 else np.take(result, [at], axis=axis)
    return result


@algorithm("Array.slice")
def slice_array(array: Array, axis: int, start: int, end: int | None, step: int) -> Array:
    """A part along an axis."""
    return on_array(lambda a: stacked.cut(a, axis, start, end, step), array)


@algorithm("Array.cat")
def cat(arrays: list[Any], axis: int) -> Array:
    """Arrays one after the other along an axis."""
    if not arrays:
        raise EarthEngineError("At least one array is needed.")
    made: list[Array] = []
    size = 0
    for item in arrays:
        made.append(to_array(item))
        size += made[-1].size
        check_size([size])
    return on_array(lambda *a: stacked.cat(axis, *a), *made)


@algorithm("Array.project")
def project(array: Array, axes: list[Any]) -> Array:
    """Some of the axes."""
    return on_array(lambda a: stacked.project(a, _whole(axes)), array)


@algorithm("Array.reshape")
def reshape(array: Array, shape: Array) -> Array:
    """The same numbers in another shape."""
    return on_array(lambda a: stacked.reshape(a, _whole(shape.reshape(-1).tolist())), array)


@algorithm("Array.pad")
def pad(array: Array, lengths: list[Any], pad: float) -> Array:
    """Each axis at least so long."""
    return on_array(lambda a: stacked.pad(a, _whole(lengths), pad), array)


@algorithm("Array.repeat")
def repeat(array: Array, axis: int, copies: int) -> Array:
    """The whole array several times along an axis."""
    return on_array(lambda a: stacked.repeat(a, axis, copies), array)


@algorithm("Array.mask")
def mask(input: Array, mask: Array) -> Array:
    """Positions where a mask is not 0."""
    return on_array(stacked.masked, input, mask)


@algorithm("Array.sort")
def sort(array: Array, keys: Array | None) -> Array:
    """Sorted along one axis, by its own values or by keys."""
    return on_array(stacked.ordered, array, array if keys is None else keys)


@algorithm("Array.transpose", "Array.matrixTranspose")
def transpose(array: Array, axis1: int, axis2: int) -> Array:
    """Two axes swapped."""
    return on_array(lambda a: stacked.transpose(a, axis1, axis2), array)


@algorithm("Array.argmax")
def argmax(array: Array) -> list[int] | None:
    """The position of the largest element, the first of several; null for an empty array."""
    return on_array(stacked.largest, array).tolist() if array.size else None


@algorithm("Array.bitsToArray")
def bits_to_array(input: float) -> Array:
    """The bits of a whole number, the least first."""
    return on_array(stacked.bits, np.array(input))


@algorithm("Array.dotProduct")
def dot_product(array1: Array, array2: Array) -> int | float:
    """The sum of products of two arrays of one dimension."""
    if array1.ndim != 1 or array1.shape != array2.shape:
        raise EarthEngineError("Both arrays must have one dimension and the same length.")
    found: int | float = np.dot(array1, array2).item()
    return found


@algorithm("Array.reduce")
def reduce(array: Array, reducer: Reducer, axes: list[Any], fieldAxis: int | None) -> Array:  # noqa: N803
    """A reducer along axes, which keep a length of 1."""
    return on_array(lambda a: stacked.reduced(a, reducer, _whole(axes), fieldAxis), array)


@algorithm("Array.accum")
def accumulate(array: Array, axis: int, reducer: Reducer | None) -> Array:
    """At each position the reduction (the sum) of all positions up to it."""
    return on_array(lambda a: stacked.accumulated(a, axis, reducer), array)


def _whole(numbers: Any) -> list[int]:
    if not all(isinstance(n, (int, float)) and float(n).is_integer() for n in numbers):
        raise EarthEngineError(f"Expected whole numbers. Got {str(numbers)[:100]}.")
    return [int(n) for n in numbers]


def _binary(operation: Binary) -> Callable[..., Any]:
    def run(left: Array, right: Array) -> Array:
        compute, _ = typed(operation, type_of(left), type_of(right))
        return on_array(elementwise(compute), left, right)

    return run


def _unary(change: Callable[[Array], Any], kind: Callable[[PixelType], PixelType]) -> Callable[..., Any]:
    def run(input: Array) -> Array:
        return on_array(change, input).astype(kind(type_of(input)).dtype, copy=False)

    return run


def _cast(kind: PixelType) -> Callable[..., Any]:
    def run(input: Array) -> Array:
        return cast(input, kind)

    return run


for _name, _operation in BINARY.items():
    registry.add(f"Array.{_name}", _binary(_operation))
for _alias, _name in ALIASES.items():
    registry.add(f"Array.{_alias}", _binary(BINARY[_name]))
for _name, (_change, _kind) in UNARY.items():
    registry.add(f"Array.{_name}", _unary(_change, _kind))
for _name, _type in CASTS.items():
    registry.add(f"Array.{_name}", _cast(_type))
    registry.add(f"Array.to{_name.capitalize()}", _cast(_type))
