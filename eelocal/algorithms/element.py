"""Element, Feature, and the algorithms that take any value: properties and conditions."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eelocal.errors import EarthEngineError
from eelocal.patterns import compiled
from eelocal.promote import promote, type_name
from eelocal.registry import algorithm
from eelocal.values.element import Element, Feature
from eelocal.values.geometry import Geometry
from eelocal.values.image import Image


@algorithm("Feature")
def feature(geometry: Geometry | None, metadata: Mapping[str, Any], geometryKey: str | None) -> Feature:
    """A geometry with properties."""
    return Feature(geometry, {key: value for key, value in metadata.items() if value is not None})


@algorithm("Feature.setGeometry")
def set_geometry(feature: Element, geometry: Geometry | None) -> Element:
    """The feature elsewhere."""
    if not isinstance(feature, Feature):
        raise EarthEngineError("Only the geometry of a Feature can be set.")
    return feature.with_geometry(geometry)


@algorithm("Feature.select", keeps="input")
def select(
    input: Element, propertySelectors: list[Any], newProperties: list[Any] | None, retainGeometry: bool
) -> Element:
    """Properties by name or pattern, renamed if asked."""
    chosen = [n for s in propertySelectors for n in input.properties if n == s or compiled(str(s)).matches(n)]
    names = chosen if newProperties is None else newProperties
    if len(names) != len(chosen):
        raise EarthEngineError(f"{len(chosen)} properties were selected, but {len(names)} new names were given.")
    kept = {"system:index": input.index} if input.index else {}
    new = input.with_properties({**kept, **{n: input.get(c) for n, c in zip(names, chosen, strict=True)}})
    return new if retainGeometry or not isinstance(new, Feature) else new.with_geometry(None)


@algorithm("Feature.id", "Image.id")
def identity(element: Element) -> str | None:
    """The index of the element within its collection."""
    return element.index or None


@algorithm("Element.get")
def get(object: Element, property: str) -> Any:
    """A property, or null."""
    return object.get(property)


@algorithm("Element.getNumber")
def get_number(object: Element, property: str) -> Any:
    """A property that is a number."""
    return _typed(object, property, "Number")


@algorithm("Element.getString")
def get_string(object: Element, property: str) -> Any:
    """A property that is a string."""
    return _typed(object, property, "String")


@algorithm("Element.getArray")
def get_array(object: Element, property: str) -> Any:
    """A property that is an array."""
    return _typed(object, property, "Array")


@algorithm("Element.set", keeps="object", sets="key")
def set_property(object: Element, key: str, value: Any) -> Element:
    """The element with one property changed; null removes it."""
    return _placed(object.with_properties({**object.properties, key: value}), {key: value})


@algorithm("Element.setMulti")
def set_properties(object: Element, properties: Mapping[str, Any]) -> Element:
    """The element with some properties changed."""
    return _placed(object.with_properties({**object.properties, **properties}), properties)


@algorithm("Element.propertyNames")
def property_names(element: Element) -> list[str]:
    """Names of all properties, those of the system among them."""
    special = ["system:id", "system:version"] if element.id else []
    bands = ["system:bands", "system:band_names"] if element.kind == "Image" else []
    return [*element.properties, *special, *bands]


@algorithm("Element.toDictionary")
def to_dictionary(element: Element, properties: list[Any] | None) -> dict[str, Any]:
    """Properties as a dictionary; without those of the system unless they are named."""
    if properties is None:
        return {key: value for key, value in element.properties.items() if not key.startswith("system:")}
    return {name: element.get(name) for name in properties}


@algorithm("Element.copyProperties", "Image.copyProperties", keeps="destination")
def copy_properties(
    destination: Element | None, source: Element | None, properties: list[Any] | None, exclude: list[Any] | None
) -> Element | None:
    """The destination with properties of the source; without those of the system unless they are named."""
    if destination is None or source is None:
        return destination
    left_out = set(exclude or ())
    names = (
        [n for n in source.properties if not n.startswith("system:")]
        if properties is None
        else _matching(source, properties)
    )
    copied = {name: source.get(name) for name in names if name not in left_out}
    return _placed(destination.with_properties({**destination.properties, **copied}), {})


@algorithm("Element.replaceProperties", keeps="destination")
def replace_properties(destination: Element, source: Element | None) -> Element:
    """The destination with the properties of the source instead of its own."""
    kept = {key: value for key, value in destination.properties.items() if key.startswith("system:")}
    others = source.properties if source is not None else {}
    return destination.with_properties({**others, **kept})


@algorithm("If", lazy=True)
def choose(condition: Callable[[], Any], trueCase: Callable[[], Any], falseCase: Callable[[], Any]) -> Any:
    """One of two values; only the one that is taken is evaluated."""
    return trueCase() if _truth(condition()) else falseCase()


@algorithm("IsEqual")
def is_equal(left: Any, right: Any) -> bool:
    """Whether two values are the same."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return bool(np.array_equal(left, right))
    return bool(left == right)


@algorithm("ObjectType")
def object_type(value: Any) -> str:
    """Name of a value's type."""
    return type_name(value)


@algorithm("Describe")
def describe(input: Any) -> Any:
    """The value as it would be printed."""
    return input


def _typed(element: Element, name: str, kind: str) -> Any:
    value = element.get(name)
    if value is None:
        raise EarthEngineError(f"Property '{name}' is missing.")
    return promote(value, kind, f"Element.get{kind}")


def _matching(source: Element, patterns: list[Any]) -> list[str]:
    names = [str(pattern) for pattern in patterns]
    exact = [name for name in names if source.has(name)]
    others = [p for p in names if not source.has(p) and not p.startswith("system:")]
    return exact + [n for p in others for n in source.properties if compiled(p).matches(n)]


def _placed(element: Element, changes: Mapping[str, Any]) -> Element:
    """The element, elsewhere if its footprint was set, under another id if that was."""
    if isinstance(changes.get("system:id"), str):
        element = copy.copy(element)
        element.id = changes["system:id"]
        element.properties = {key: value for key, value in element.properties.items() if key != "system:id"}
    footprint = changes.get("system:footprint")
    if isinstance(footprint, Geometry) and isinstance(element, Image):
        return element.with_footprint(footprint.lonlat)
    return element


def _truth(value: Any) -> bool:
    if isinstance(value, (str, bool, int, float, list, dict)) or value is None:
        return bool(value)
    return True
