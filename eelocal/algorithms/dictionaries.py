"""Dictionary: values by name."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eelocal.arrays import on_array
from eelocal.errors import EarthEngineError, NoValueError
from eelocal.patterns import compiled
from eelocal.promote import constant_image, promote
from eelocal.registry import algorithm
from eelocal.stacked import cat
from eelocal.values.element import Element
from eelocal.values.image import Image

Names = list[Any]


@algorithm("Dictionary")
def make(input: Any) -> dict[str, Any]:
    """A dictionary of a dictionary, an element's properties, or a list of names and values in turn."""
    if input is None:
        return {}
    if isinstance(input, Mapping):
        return dict(input)
    if isinstance(input, Element):
        return dict(input.properties)
    if isinstance(input, list) and len(input) % 2 == 0:
        return dict(zip(map(str, input[::2]), input[1::2], strict=True))
    raise EarthEngineError(f"Cannot make a dictionary of {str(input)[:100]}.")


@algorithm("Dictionary.fromLists")
def from_lists(keys: Names, values: list[Any]) -> dict[str, Any]:
    """A dictionary of two lists."""
    if len(keys) != len(values):
        raise EarthEngineError(f"There must be as many keys ({len(keys)}) as values ({len(values)}).")
    return dict(zip(map(str, keys), values, strict=True))


@algorithm("Dictionary.get")
def get(dictionary: dict[str, Any], key: str, defaultValue: Any) -> Any:
    """A value by name."""
    if key not in dictionary and defaultValue is None:
        raise NoValueError(f"Dictionary does not contain key: '{key}'.")
    value = dictionary.get(key, defaultValue)
    return defaultValue if value is None else value


@algorithm("Dictionary.getNumber")
def get_number(dictionary: dict[str, Any], key: str) -> Any:
    """A value that is a number."""
    return promote(get(dictionary, key, None), "Number", "Dictionary.getNumber")


@algorithm("Dictionary.getString")
def get_string(dictionary: dict[str, Any], key: str) -> Any:
    """A value that is a string."""
    return promote(get(dictionary, key, None), "String", "Dictionary.getString")


@algorithm("Dictionary.getGeometry")
def get_geometry(dictionary: dict[str, Any], key: str) -> Any:
    """A value that is a geometry."""
    return promote(get(dictionary, key, None), "Geometry", "Dictionary.getGeometry")


@algorithm("Dictionary.set")
def set_value(dictionary: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """With one value changed."""
    return {**dictionary, key: value}


@algorithm("Dictionary.contains")
def contains(dictionary: dict[str, Any], key: str) -> bool:
    """Whether there is such a name."""
    return key in dictionary


@algorithm("Dictionary.keys")
def keys(dictionary: dict[str, Any]) -> list[str]:
    """Names in order."""
    return sorted(dictionary)


@algorithm("Dictionary.values")
def values(dictionary: dict[str, Any], keys: Names | None) -> list[Any]:
    """Values in the order of their names, or of a list of names."""
    return [dictionary[key] for key in (sorted(dictionary) if keys is None else _present(dictionary, keys))]


@algorithm("Dictionary.size")
def size(dictionary: dict[str, Any]) -> int:
    """Number of values."""
    return len(dictionary)


@algorithm("Dictionary.combine")
def combine(first: dict[str, Any], second: dict[str, Any], overwrite: bool) -> dict[str, Any]:
    """Two dictionaries as one."""
    return {**first, **second} if overwrite else {**second, **first}


@algorithm("Dictionary.map")
def map_values(dictionary: dict[str, Any], baseAlgorithm: Callable[..., Any]) -> dict[str, Any]:
    """A function of each name and value."""
    return {key: baseAlgorithm(key, value) for key, value in dictionary.items()}


@algorithm("Dictionary.select")
def select(dictionary: dict[str, Any], selectors: Names, ignoreMissing: bool) -> dict[str, Any]:
    """Values by names or patterns."""
    return {key: dictionary[key] for key in _matching(dictionary, selectors, ignoreMissing)}


@algorithm("Dictionary.remove")
def remove(dictionary: dict[str, Any], selectors: Names, ignoreMissing: bool) -> dict[str, Any]:
    """Without values of names or patterns."""
    gone = set(_matching(dictionary, selectors, ignoreMissing))
    return {key: value for key, value in dictionary.items() if key not in gone}


@algorithm("Dictionary.rename")
def rename(dictionary: dict[str, Any], from_: Names, to: Names, overwrite: bool) -> dict[str, Any]:
    """Values under new names."""
    if len(from_) != len(to):
        raise EarthEngineError(
            f"'from' and 'to' must have as many names as each other. Got {len(from_)} and {len(to)}."
        )
    names = dict(zip(_present(dictionary, from_), to, strict=True))
    taken = next((n for n in to if n in dictionary and n not in names), None)
    if taken is not None and not overwrite:
        raise EarthEngineError(f"The name '{taken}' is taken.")
    return {str(names.get(key, key)): value for key, value in dictionary.items() if key in names or key not in to}


@algorithm("Dictionary.toImage")
def to_image(dictionary: dict[str, Any], names: Names | None) -> Image:
    """An image with one constant band for each value."""
    order = sorted(dictionary) if names is None else _present(dictionary, names)
    image = constant_image([dictionary[name] for name in order])
    return image.with_bands([band.renamed(name) for band, name in zip(image.bands, order, strict=True)])


def _present(dictionary: Mapping[str, Any], names: Sequence[Any]) -> list[str]:
    missing = next((name for name in names if name not in dictionary), None)
    if missing is not None:
        raise NoValueError(f"Dictionary does not contain key: '{missing}'.")
    return list(names)


def _matching(dictionary: Mapping[str, Any], selectors: Names, ignore: bool) -> list[str]:
    chosen: list[str] = []
    for selector in map(str, selectors):
        found = [selector] if selector in dictionary else [k for k in dictionary if _is_match(selector, k)]
        if not found and not ignore:
            raise NoValueError(f"Dictionary does not contain key: '{selector}'.")
        chosen.extend(found)
    return chosen


def _is_match(pattern: str, key: str) -> bool:
    try:
        return compiled(pattern).matches(key)
    except EarthEngineError:
        return False  # a name with brackets, which is not there


@algorithm("Dictionary.getArray")
def get_array(dictionary: dict[str, Any], key: str) -> Any:
    """A value that is an array."""
    return promote(get(dictionary, key, None), "Array", "Dictionary.getArray")


@algorithm("Dictionary.toArray")
def to_array(dictionary: dict[str, Any], keys: Names | None, axis: int) -> Any:
    """Numbers or arrays, in the order of the keys, as one array."""
    names = sorted(dictionary) if keys is None else keys
    values = [promote(get(dictionary, str(name), None), "Array", "Dictionary.toArray") for name in names]
    if not values:
        raise EarthEngineError("The dictionary has no values.")
    return on_array(lambda *stacks: cat(axis, *stacks), *values)
