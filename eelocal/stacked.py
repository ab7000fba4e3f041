"""What is computed with arrays, as functions of stacks: shape (n, ...), n arrays of one shape.

Axes are those of the arrays: axis 0 is axis 1 of the stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from eelocal.arrays import Array, check_size, objects
from eelocal.errors import EarthEngineError
from eelocal.grid import Pixels
from eelocal.values.reducer import Reducer


def ragged(arrays: Iterable[Array]) -> Array:
    """Arrays of different shapes as a stack of objects."""
    return objects(list(arrays))


def checked_axis(axis: int, dimensions: int) -> int:
    """The axis of the stack; 400 if the arrays have none of that number."""
    if not 0 <= axis < dimensions:
        raise EarthEngineError(f"Axis {axis} is out of range: the array has {dimensions} dimensions.")
    return axis + 1


def with_axis(stack: Array, axis: int) -> Array:
    """The stack with a further axis of length 1 if the axis is the one after the last."""
    dimensions = stack.ndim - 1
    if axis == dimensions:
        return stack[..., None]
    checked_axis(axis, dimensions)
    return stack


def cat(axis: int, *stacks: Array) -> Array:
    """Arrays one after the other along an axis."""
    parts = [with_axis(stack, axis) for stack in stacks]
    shapes = {(part.shape[: axis + 1], part.shape[axis + 2 :]) for part in parts}
    if len(shapes) > 1:
        raise EarthEngineError(
            "Arrays must have the same dimensions and lengths, except along the axis they are concatenated on."
        )
    check_size([len(parts), *parts[0].shape] if parts else [])
    return np.concatenate(parts, axis=axis + 1)


def cut(stack: Array, axis: int, start: int, end: int | None, step: int) -> Array:
    """Positions from start to before end; negative ones count from the end."""
    at = checked_axis(axis, stack.ndim - 1)
    if step < 1:
        raise EarthEngineError(f"Step must be positive. Got {step}.")
    return stack[(slice(None),) * at + (slice(start, end, step),)]


def element(stack: Array, positions: Sequence[Array | int]) -> Array:
    """The number at a position, which may differ from array to array."""
    if len(positions) != stack.ndim - 1:
        raise EarthEngineError(f"The position must have {stack.ndim - 1} coordinates. Got {len(positions)}.")
    index: list[Array] = [np.arange(len(stack))]
    for axis, position in enumerate(positions):
        at = np.broadcast_to(np.asarray(position).astype(np.int64), len(stack))
        length = stack.shape[axis + 1]
        if at.size and not (at.min() >= 0 and at.max() < length):
            bad = at[(at < 0) | (at >= length)][0]
            raise EarthEngineError(f"Position {bad} is out of range: axis {axis} has the length {length}.")
        index.append(at)
    return np.asarray(stack[tuple(index)])


def project(stack: Array, axes: Sequence[int]) -> Array:
    """Some of the axes; the others must have a length of at most 1."""
    dimensions = stack.ndim - 1
    kept = [checked_axis(axis, dimensions) for axis in axes]
    rest = [axis for axis in range(1, dimensions + 1) if axis not in kept]
    if len(set(kept)) != len(kept) or any(stack.shape[axis] > 1 for axis in rest):
        raise EarthEngineError(
            f"Cannot project to the axes {list(axes)}: the others must have a length of at most 1. "
            f"Lengths are {list(stack.shape[1:])}."
        )
    return stack.transpose([0, *kept, *rest]).reshape(len(stack), *(stack.shape[axis] for axis in kept))


def transpose(stack: Array, axis1: int, axis2: int) -> Array:
    """Two axes swapped; an array of one dimension counts as a column."""
    whole = with_axis(stack, max(axis1, axis2)) if max(axis1, axis2) == stack.ndim - 1 else stack
    return np.swapaxes(whole, checked_axis(axis1, whole.ndim - 1), checked_axis(axis2, whole.ndim - 1))


def reshape(stack: Array, lengths: Sequence[int]) -> Array:
    """The same numbers in another shape; one length may be -1, the rest."""
    if len([n for n in lengths if n == -1]) > 1 or any(n < -1 for n in lengths):
        raise EarthEngineError(f"At most one length may be -1, the others not negative. Got {list(lengths)}.")
    size = int(np.prod(stack.shape[1:], dtype=np.int64))
    known = int(np.prod([n for n in lengths if n != -1], dtype=np.int64))
    if (-1 in lengths and (known == 0 or size % known)) or (-1 not in lengths and known != size):
        raise EarthEngineError(f"Cannot reshape {size} elements to {list(lengths)}.")
    full = [size // known if n == -1 else n for n in lengths]
    return stack.reshape(len(stack), *full)


def pad(stack: Array, lengths: Sequence[int], value: Any) -> Array:
    """Each axis at least so long, filled with a value."""
    if len(lengths) != stack.ndim - 1:
        raise EarthEngineError(f"A length is needed for each of {stack.ndim - 1} axes. Got {len(lengths)}.")
    more = [(0, max(0, length - have)) for length, have in zip(lengths, stack.shape[1:], strict=True)]
    check_size([len(stack), *(have + extra for (_, extra), have in zip(more, stack.shape[1:], strict=True))])
    kind = np.result_type(stack.dtype, np.asarray(value).dtype) if stack.dtype.kind != "f" else stack.dtype
    return np.pad(stack.astype(kind, copy=False), [(0, 0), *more], constant_values=value)


def repeat(stack: Array, axis: int, copies: int) -> Array:
    """The whole array several times along an axis."""
    if copies < 0:
        raise EarthEngineError(f"The number of copies must not be negative. Got {copies}.")
    whole = with_axis(stack, axis)
    check_size([copies, *whole.shape])
    times = [1] * whole.ndim
    times[axis + 1] = copies
    return np.tile(whole, times)


def masked(stack: Array, mask: Array) -> Array:
    """Positions parallel to the elements of a mask that are not 0; an array of its own length for each."""
    if mask.ndim != stack.ndim:
        raise EarthEngineError("The mask must have as many dimensions as the array.")
    axes = [axis for axis in range(1, mask.ndim) if mask.shape[axis] != 1]
    if any(mask.shape[axis] != stack.shape[axis] for axis in axes):
        raise EarthEngineError("The mask must have the length of the array or 1 along each axis.")
    if len(axes) > 1:
        raise EarthEngineError("The mask may have more than one element along one axis only.")
    axis = axes[0] if axes else 1
    kept = (mask != 0).reshape(len(mask), -1)
    if kept.shape[1] == 1 and stack.shape[axis] != 1:
        kept = np.repeat(kept, stack.shape[axis], axis=1)
    return ragged(np.compress(keep, array, axis=axis - 1) for array, keep in zip(stack, kept, strict=True))


def ordered(stack: Array, keys: Array) -> Array:
    """Sorted by keys along the one axis on which these have several elements."""
    if keys.ndim != stack.ndim:
        raise EarthEngineError("The keys must have as many dimensions as the array.")
    axes = [axis for axis in range(1, keys.ndim) if keys.shape[axis] > 1]
    if len(axes) > 1:
        raise EarthEngineError("The keys may have more than one element along one axis only.")
    if not axes:
        return stack
    if keys.shape[axes[0]] != stack.shape[axes[0]]:
        raise EarthEngineError("The keys must be as long as the array along the axis that is sorted.")
    order = np.argsort(keys, axis=axes[0], kind="stable")
    return np.take_along_axis(stack, np.broadcast_to(order, stack.shape), axis=axes[0])


def largest(stack: Array) -> Array:
    """The position of the largest element, the first of several; shape (n, dimensions)."""
    flat = stack.reshape(len(stack), -1)
    if not flat.shape[1]:
        raise EarthEngineError("An empty array has no largest element.")
    return np.stack(np.unravel_index(np.argmax(flat, axis=1), stack.shape[1:]), axis=-1)


def bits(numbers: Array) -> Array:
    """The bits of whole numbers, the least first, up to the highest that is set."""
    made = []
    for number in numbers.tolist():
        whole = int(number) & (2**64 - 1)
        made.append(np.array([whole >> i & 1 for i in range(max(1, whole.bit_length()))], np.uint8))
    return ragged(made)


def reduced(stack: Array, reducer: Reducer, axes: Sequence[int], field: int | None) -> Array:
    """A reducer along axes, which keep a length of 1; several inputs and outputs lie along the field axis."""
    if reducer.reduce is None:
        raise EarthEngineError(f"The reducer of {', '.join(reducer.outputs)} cannot be applied to arrays.")
    over = sorted({checked_axis(axis, stack.ndim - 1) for axis in axes})
    several = reducer.inputs > 1 or len(reducer.outputs) > 1
    if several and field is None:
        raise EarthEngineError("A reducer of several inputs or outputs needs a fieldAxis.")
    whole = with_axis(stack, field) if several and field is not None else stack
    at = field + 1 if several and field is not None else None
    if at is not None and (at in over or whole.shape[at] != reducer.inputs):
        raise EarthEngineError(
            f"The fieldAxis must not be reduced and have the length {reducer.inputs}, the reducer's inputs."
        )
    parts = [whole] if at is None else np.split(whole, reducer.inputs, axis=at)
    results = reducer.reduce([Pixels(*_flattened(part, over)) for part in parts], None)
    found = [np.expand_dims(_numbers(pixels), over) for pixels in results]
    return found[0] if at is None else np.concatenate(found, axis=at)


def accumulated(stack: Array, axis: int, reducer: Reducer | None) -> Array:
    """At each position the reduction of all positions up to it."""
    at = checked_axis(axis, stack.ndim - 1)
    if reducer is None:
        return np.cumsum(stack, axis=at)
    steps = [reduced(cut(stack, axis, 0, end + 1, 1), reducer, [axis], None) for end in range(stack.shape[at])]
    return np.concatenate(steps, axis=at) if steps else stack


def _flattened(stack: Array, over: Sequence[int]) -> tuple[Array, Array]:
    """The reduced axes as one, the first, and everything valid."""
    values = np.moveaxis(stack, over, range(len(over)))
    values = values.reshape(-1, *values.shape[len(over) :]) if over else values[None]
    return values, np.ones(values.shape, bool)


def _numbers(pixels: Pixels) -> Array:
    if pixels.values.dtype == object:
        raise EarthEngineError("Each output of the reducer must be a number.")
    return pixels.values if pixels.valid.all() else np.where(pixels.valid, pixels.values, np.nan)
