"""List: making, taking apart, mapping and ordering lists."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

from eelocal.algorithms.collection import sort_key
from eelocal.errors import EarthEngineError, OutOfMemory
from eelocal.limits import MAX_LENGTH, MAX_TEXT
from eelocal.promote import promote
from eelocal.registry import algorithm
from eelocal.values.element import Feature
from eelocal.values.filter import Filter
from eelocal.values.reducer import Reducer


@algorithm("List.sequence")
def sequence(start: float, end: float | None, step: float, count: int | None) -> list[Any]:
    """Numbers from start to end, included where it is hit, by a step or in a number of steps."""
    if count is not None:
        _check_length(count)
        width = step if end is None else (end - start) / (count - 1) if count > 1 else 0
        return [start + i * width for i in range(count)]
    if end is None:
        raise EarthEngineError("Either end or count must be given.")
    if step == 0:
        raise EarthEngineError("Step must not be 0.")
    length = (end - start) / step
    if not math.isfinite(length):
        raise EarthEngineError("Start, end and step must be numbers.")
    _check_length(length)
    # A hair more, so that 0 to 1 by 0.1 has its end in spite of rounding.
    return [start + i * step for i in range(int(length + 1e-9) + 1)] if length >= 0 else []


@algorithm("List.repeat")
def repeat(value: Any, count: int) -> list[Any]:
    """The same value many times."""
    _check_length(count)
    return [value] * count


@algorithm("List.map")
def map_list(list: list[Any], baseAlgorithm: Callable[..., Any], dropNulls: bool) -> list[Any]:
    """A function of each element."""
    results = [baseAlgorithm(item) for item in list]
    return [item for item in results if item is not None] if dropNulls else results


@algorithm("List.iterate")
def iterate(list: list[Any], function: Callable[..., Any], first: Any) -> Any:
    """The last result of a function that gets each element and the result before it."""
    result = first
    for item in list:
        result = function(item, result)
    return result


@algorithm("List.get")
def get(list: list[Any], index: int) -> Any:
    """An element; negative positions count from the end."""
    return list[position(list, index)]


@algorithm("List.getNumber")
def get_number(list: list[Any], index: int) -> Any:
    """An element that is a number."""
    return promote(get(list, index), "Number", "List.getNumber")


@algorithm("List.getString")
def get_string(list: list[Any], index: int) -> Any:
    """An element that is a string."""
    return promote(get(list, index), "String", "List.getString")


@algorithm("List.getGeometry")
def get_geometry(list: list[Any], index: int) -> Any:
    """An element that is a geometry."""
    return promote(get(list, index), "Geometry", "List.getGeometry")


@algorithm("List.size", "List.length")
def size(list: list[Any]) -> int:
    """Number of elements."""
    return len(list)


@algorithm("List.add")
def add(list: list[Any], element: Any) -> list[Any]:
    """With one more at the end."""
    return [*list, element]


@algorithm("List.cat")
def cat(list: list[Any], other: list[Any]) -> list[Any]:
    """Two lists, one after the other."""
    return [*list, *other]


@algorithm("List.contains")
def contains(list: list[Any], element: Any) -> bool:
    """Whether an element is in it."""
    return element in list


@algorithm("List.containsAll")
def contains_all(list: list[Any], other: list[Any]) -> bool:
    """Whether all elements of the other are in it."""
    return all(item in list for item in other)


@algorithm("List.equals")
def equals(list: list[Any], other: list[Any]) -> bool:
    """Whether both have the same elements in the same order."""
    return list == other


@algorithm("List.distinct")
def distinct(list: list[Any]) -> list[Any]:
    """Without repetitions."""
    seen: dict[str, Any] = {}
    for item in list:
        seen.setdefault(repr(item), item)
    return [*seen.values()]


@algorithm("List.filter")
def filter_list(list: list[Any], filter: Filter) -> list[Any]:
    """The elements that pass; a filter reads them as `item`."""
    return [item for item in list if filter.test(_item(item))]


@algorithm("List.flatten")
def flatten(list: list[Any]) -> list[Any]:
    """Lists inside it taken apart, at any depth."""
    result: Any = []
    stack = [iter(list)]
    while stack:
        item = next(stack[-1], _END)
        if item is _END:
            stack.pop()
        elif isinstance(item, type(result)):
            stack.append(iter(item))
        else:
            result.append(item)
            if len(result) > MAX_LENGTH:
                raise OutOfMemory
    return result  # type: ignore[no-any-return]


@algorithm("List.frequency")
def frequency(list: list[Any], element: Any) -> int:
    """How often an element is in it."""
    return list.count(element)


@algorithm("List.indexOf")
def index_of(list: list[Any], element: Any) -> int:
    """Position of an element, -1 if it is not in it."""
    return list.index(element) if element in list else -1


@algorithm("List.insert")
def insert(list: list[Any], index: int, element: Any) -> list[Any]:
    """With an element put in before a position."""
    at = position([*list, None], index)
    return [*list[:at], element, *list[at:]]


@algorithm("List.join")
def join(list: list[Any], separator: str) -> str:
    """Elements as text, with a separator between them."""
    size = 0
    parts = []
    for item in list:
        parts.append(text_of(item))
        size += len(parts[-1]) + len(separator)
        if size > MAX_TEXT:
            raise OutOfMemory
    return separator.join(parts)


@algorithm("List.reduce")
def reduce(list: list[Any], reducer: Reducer) -> Any:
    """A reducer over the elements: the result, or a dictionary if it has several."""
    rows = [tuple(item) if reducer.inputs > 1 and isinstance(item, (tuple, type(list))) else (item,) for item in list]
    results = reducer.rows(rows)
    return results if len(results) > 1 else next(iter(results.values()))


@algorithm("List.remove")
def remove(list: list[Any], element: Any) -> list[Any]:
    """Without the first that equals the element."""
    at = index_of(list, element)
    return list if at < 0 else [*list[:at], *list[at + 1 :]]


@algorithm("List.removeAll")
def remove_all(list: list[Any], other: list[Any]) -> list[Any]:
    """Without all that are in the other."""
    return [item for item in list if item not in other]


@algorithm("List.replace")
def replace(list: list[Any], oldval: Any, newval: Any) -> list[Any]:
    """With the first that equals the old value replaced."""
    at = index_of(list, oldval)
    return list if at < 0 else [*list[:at], newval, *list[at + 1 :]]


@algorithm("List.replaceAll")
def replace_all(list: list[Any], oldval: Any, newval: Any) -> list[Any]:
    """With all that equal the old value replaced."""
    return [newval if item == oldval else item for item in list]


@algorithm("List.reverse")
def reverse(list: list[Any]) -> list[Any]:
    """Last first."""
    return list[::-1]


@algorithm("List.rotate")
def rotate(list: list[Any], distance: int) -> list[Any]:
    """Moved to the right, those at the end to the beginning."""
    at = distance % len(list) if list else 0
    return list[-at:] + list[:-at] if at else list


@algorithm("List.set")
def set_item(list: list[Any], index: int, element: Any) -> list[Any]:
    """With one element replaced."""
    at = position(list, index)
    return [*list[:at], element, *list[at + 1 :]]


@algorithm("List.shuffle")
def shuffle(list: list[Any], seed: Any) -> list[Any]:
    """In an order that depends on the seed."""
    mixed = [*list]
    random.Random(repr(seed)).shuffle(mixed)
    return mixed


@algorithm("List.slice")
def slice_list(list: list[Any], start: int, end: int | None, step: int | None) -> list[Any]:
    """From start to end, the end not included; negative positions count from the end."""
    if step is not None and step < 1:
        raise EarthEngineError(f"Step must be positive. Got {step}.")
    return list[start:end:step]


@algorithm("List.sort")
def sort(list: list[Any], keys: list[Any] | None) -> list[Any]:
    """In order, or in the order of keys."""
    if keys is None:
        return sorted(list, key=sort_key)
    if len(keys) != len(list):
        raise EarthEngineError(f"There must be as many keys ({len(keys)}) as elements ({len(list)}).")
    return [item for _, item in sorted(zip(keys, list, strict=True), key=lambda pair: sort_key(pair[0]))]


@algorithm("List.splice")
def splice(list: list[Any], start: int, count: int, other: list[Any] | None) -> list[Any]:
    """With some elements taken out, and others put in their place."""
    at = start if start >= 0 else len(list) + start
    return [*list[:at], *(other or []), *list[at + count :]]


@algorithm("List.swap")
def swap(list: list[Any], pos1: int, pos2: int) -> list[Any]:
    """With two elements exchanged."""
    mixed = [*list]
    first, second = position(list, pos1), position(list, pos2)
    mixed[first], mixed[second] = mixed[second], mixed[first]
    return mixed


@algorithm("List.zip")
def zip_lists(list: list[Any], other: list[Any]) -> list[Any]:
    """Pairs of elements, as many as the shorter list has."""
    return [[a, b] for a, b in zip(list, other, strict=False)]


@algorithm("List.unzip")
def unzip(list: list[Any]) -> list[Any]:
    """Pairs taken apart: all first elements, all second ones, ..."""
    return [[*column] for column in zip(*list, strict=False)]


_END = object()


def position(items: list[Any], index: int) -> int:
    """A position from the beginning; 400 if there is none."""
    at = index + len(items) if index < 0 else index
    if not 0 <= at < len(items):
        raise EarthEngineError(f"List index must be between 0 and {len(items) - 1}. Got {index}.")
    return at


def text_of(value: Any) -> str:
    """A value as text: whole floats without a fraction."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _item(value: Any) -> Feature:
    return Feature(None, {"item": value})


def _check_length(length: float) -> None:
    if not -1 <= length <= MAX_LENGTH:
        raise EarthEngineError(f"A list may have up to {MAX_LENGTH} elements. Got {length:.0f}.")


@algorithm("List.getArray")
def get_array(list: list[Any], index: int) -> Any:
    """An element that is an array."""
    return promote(get(list, index), "Array", "List.getArray")


@algorithm("List.indexOfSublist")
def index_of_sublist(list: list[Any], target: list[Any]) -> int:
    """Where another list begins in this one for the first time; -1 if nowhere."""
    return next(_places(list, target), -1)


@algorithm("List.lastIndexOfSubList")
def last_index_of_sublist(list: list[Any], target: list[Any]) -> int:
    """Where another list begins in this one for the last time; -1 if nowhere."""
    return max(_places(list, target), default=-1)


def _places(values: list[Any], target: list[Any]) -> Iterator[int]:
    return (i for i in range(len(values) - len(target) + 1) if values[i : i + len(target)] == target)
