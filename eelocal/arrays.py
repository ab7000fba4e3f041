"""Arrays of numbers: a value of its own, and the value of a pixel.

A pixel's array may have any shape, so that a band of arrays has pixels of Python objects, each a numpy array. What is
computed with arrays is written once, for stacks: shape (n, ...), n arrays of one shape. It then serves one array (n is
1) and the pixels of an image (those of each shape together).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.errors import EarthEngineError, OutOfMemory
from eelocal.grid import Pixels
from eelocal.values.pixeltype import CASTS, DOUBLE, PixelType

Array = NDArray[Any]
Stacked = Callable[..., Any]  # of stacks (n, ...), one for each input; the result is a stack as well
MAX_ELEMENTS = 2**24  # of one array, and of the arrays of one stack of pixels: 128 MiB of doubles


def to_array(value: Any, kind: PixelType | None = None) -> Array:
    """An array of a number, an array or lists of numbers of any depth.

    Raises:
        EarthEngineError: rows of different lengths, or something that is no number.
    """
    try:
        made = np.asarray(value) if not _is_empty(value) else np.zeros(np.shape(value), np.float64)
    except ValueError:
        made = np.zeros(0, object)
    if made.dtype.kind == "b":
        made = made.astype(np.int64)
    if made.dtype.kind not in "iuf":
        raise EarthEngineError("Array values must be numbers, or lists of numbers of the same length at each depth.")
    check_size(made.shape)
    return made if kind is None else cast(made, kind)


def _is_empty(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and (not value or all(_is_empty(item) for item in value))


def check_size(shape: Sequence[int]) -> None:
    """Raises Earth Engine's memory error for an array that is too large."""
    if np.prod(np.asarray(shape, np.float64)) > MAX_ELEMENTS:
        raise OutOfMemory


def cast(values: Array, kind: PixelType) -> Array:
    """Numbers of a type: cut to its range, whole ones by dropping the fraction."""
    kind = kind.element
    if not kind.is_integer:
        return values.astype(kind.dtype)
    low, high = kind.bounds
    if values.dtype.kind == "f":
        top = np.nextafter(float(high), 0) if high > 2**53 else high
        return np.clip(np.trunc(values), float(low), top).astype(kind.dtype)
    info = np.iinfo(values.dtype)
    if info.min >= low and info.max <= high:
        return values.astype(kind.dtype)
    return np.clip(values, max(low, info.min), min(high, info.max)).astype(kind.dtype)


def type_of(array: Array) -> PixelType:
    """The pixel type of an array's numbers, without its dimensions."""
    found = CASTS.get(array.dtype.name)
    if found is not None:
        return found
    return {"float32": CASTS["float"]}.get(array.dtype.name, DOUBLE)


def on_array(function: Stacked, *arrays: Array) -> Array:
    """A function of stacks, of one array each."""
    with np.errstate(all="ignore"):
        result: Array = np.asarray(function(*(array[None] for array in arrays)))[0]
    return result


def on_pixels(function: Stacked, inputs: Sequence[Pixels], kind: PixelType) -> Pixels:
    """A function of stacks, of the pixels where all inputs are valid; not a number is masked.

    Args:
        function: gets a stack for each input, of pixels whose arrays have the same shapes.
        inputs: bands of arrays or of numbers, all of one grid's shape.
        kind: what the results are, arrays or numbers.
    """
    valid = np.logical_and.reduce([pixels.valid for pixels in inputs])
    where = np.flatnonzero(valid)
    flat = [pixels.values.reshape(-1)[where] for pixels in inputs]
    values = np.zeros(valid.size, kind.dtype)
    known = valid.reshape(-1).copy()
    for group in _groups(flat):
        stacks = [_stack(column[group]) for column in flat]
        with np.errstate(all="ignore"):
            result = np.asarray(function(*stacks))
        at = where[group]
        if result.dtype.kind == "f":
            number = np.isfinite(result).reshape(len(at), -1).all(axis=1)
            known[at] = number
        values[at] = _as(result, kind)
    values[~known] = 0
    return Pixels(values.reshape(valid.shape), known.reshape(valid.shape))


def _as(result: Array, kind: PixelType) -> Array:
    """Results as the values of a type: of a stack, or of arrays of different shapes."""
    if result.dtype == object:
        return result
    typed = result.astype(kind.element.dtype, copy=False)
    return objects(typed) if kind.dimensions else typed.reshape(len(typed))


def objects(stack: Sequence[Array] | Array) -> Array:
    """Arrays as objects, shape (n,)."""
    made = np.empty(len(stack), object)
    for i, array in enumerate(stack):
        made[i] = np.asarray(array)
    return made


def spread(numbers: Array, dimensions: int) -> Array:
    """A stack with further axes of length 1, so that numbers meet all elements of arrays."""
    return numbers.reshape(numbers.shape + (1,) * (dimensions + 1 - numbers.ndim))


def _groups(columns: Sequence[Array]) -> list[Array]:
    """Positions of the pixels whose arrays have the same shapes."""
    count = len(columns[0])
    nested = [column for column in columns if column.dtype == object]
    if not nested or not count:
        return [np.arange(count)] if count else []
    shapes = list(zip(*([np.shape(array) for array in column] for column in nested), strict=True))
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return [np.arange(count)]
    found: dict[Any, list[int]] = {}
    for i, shape in enumerate(shapes):
        found.setdefault(shape, []).append(i)
    return [np.array(positions) for positions in found.values()]


def _stack(column: Array) -> Array:
    if column.dtype != object:
        return column
    shape = np.shape(column[0])
    check_size((len(column), *shape))
    if not shape:
        return np.array([np.asarray(item)[()] for item in column])
    return np.concatenate(list(column)).reshape(len(column), *shape)
