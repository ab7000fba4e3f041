"""Collection and ImageCollection: loading, filtering, mapping, ordering, joining elements into one value."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cmp_to_key
from typing import Any

from eelocal.errors import EarthEngineError
from eelocal.linking import linked
from eelocal.promote import promote
from eelocal.region import RegionTable
from eelocal.region import get_region as region_table
from eelocal.registry import algorithm
from eelocal.stored import load_collection
from eelocal.union import union_of
from eelocal.values.collection import Collection, of_elements
from eelocal.values.element import Element, Feature
from eelocal.values.filter import Filter, Query
from eelocal.values.geometry import Geometry
from eelocal.values.image import Image
from eelocal.values.projection import Projection, to_transform


@algorithm("ImageCollection.load")
def load(id: str, version: int | None) -> Collection:
    """A collection asset."""
    return load_collection(id)


@algorithm("ImageCollection.fromImages")
def from_images(images: list[Any]) -> Collection:
    """A collection of images at hand."""
    promoted = [promote(image, "Image", "ImageCollection.fromImages, argument 'images'") for image in images]
    return of_elements(promoted, "ImageCollection")


@algorithm("Collection")
def from_features(features: list[Any]) -> Collection:
    """A collection of features at hand."""
    promoted = [promote(feature, "Element", "Collection, argument 'features'") for feature in features]
    return of_elements(promoted, "FeatureCollection")


@algorithm("Collection.filter", keeps="collection")
def filter_collection(collection: Collection, filter: Any) -> Collection:
    """The elements that pass a filter."""
    if not isinstance(filter, Filter):
        raise EarthEngineError("The filter must be made by one of the Filter algorithms.")
    return collection.filtered(filter)


@algorithm("Collection.map")
def map_collection(collection: Collection, baseAlgorithm: Callable[..., Any], dropNulls: bool) -> Collection:
    """A function of each element, computed when elements are asked for."""
    narrow = bool(getattr(baseAlgorithm, "keeps_place", bool)())
    return collection.mapped(baseAlgorithm, narrow=narrow, drop_nulls=dropNulls)


@algorithm("Collection.iterate")
def iterate(collection: Collection, function: Callable[..., Any], first: Any) -> Any:
    """The last result of a function that gets each element and the result before it."""
    result = first
    for element in collection.elements():
        result = function(element, result)
    return result


@algorithm("Collection.size")
def size(collection: Collection) -> int:
    """Number of elements."""
    return collection.count()


@algorithm("Collection.first")
def first(collection: Collection) -> Any:
    """The first element, or null."""
    return next(iter(collection.elements()), None)


@algorithm("Collection.toList")
def to_list(collection: Collection, count: int, offset: int) -> list[Any]:
    """Elements as a list."""
    if count < 0 or offset < 0:
        raise EarthEngineError(f"Count and offset must not be negative. Got {count} and {offset}.")
    return list(itertools.islice(collection.elements(), offset, offset + count))


@algorithm("Collection.limit")
def limit(collection: Collection, limit: int | None, key: str | None, ascending: bool) -> Collection:
    """The first elements, in the order of a property if one is named."""
    if limit is not None and limit < 0:
        raise EarthEngineError(f"Limit must not be negative. Got {limit}.")

    def source(query: Query) -> Iterator[Any]:
        # What is first is decided before any filter that comes after: nothing may be pushed down.
        elements = collection.elements() if limit is not None else collection.elements(query)
        ordered = elements if key is None else iter(in_order(elements, key, ascending))
        return itertools.islice(ordered, limit)

    return collection.like(source)


@algorithm("Collection.merge")
def merge(collection1: Collection, collection2: Collection) -> Collection:
    """Both collections, one after the other; indices get the prefix "1_" or "2_"."""
    kind = "ImageCollection" if {collection1.kind, collection2.kind} == {"ImageCollection"} else "FeatureCollection"
    return _merged(collection1, collection2, kind)


@algorithm("ImageCollection.merge")
def merge_images(collection1: Collection, collection2: Collection) -> Collection:
    """Both collections, one after the other; indices get the prefix "1_" or "2_"."""
    return _merged(collection1, collection2, "ImageCollection")


def _merged(collection1: Collection, collection2: Collection, kind: str) -> Collection:
    def source(query: Query) -> Iterator[Any]:
        for prefix, part in (("1_", collection1), ("2_", collection2)):
            for element in part.elements(query.without_index()):
                yield element.set(**{"system:index": prefix + element.index})

    return Collection(source, kind, collection1.properties)


@algorithm("Collection.flatten")
def flatten(collection: Collection) -> Collection:
    """A collection of collections as one; indices are those of both, joined by `_`."""

    def source(query: Query) -> Iterator[Any]:
        for outer in collection.elements():
            if not isinstance(outer, Collection):
                raise EarthEngineError("Collection.flatten: each element must be a collection.", located=True)
            for element in outer.elements(query.without_index()):
                yield element.set(**{"system:index": f"{outer.index}_{element.index}"})

    return Collection(source, "FeatureCollection")


@algorithm("Collection.distinct")
def distinct(collection: Collection, properties: Any) -> Collection:
    """The first of all elements that have the same properties."""
    names = properties if isinstance(properties, list) else [properties]

    def source(query: Query) -> Iterator[Any]:
        seen = set()
        for element in collection.elements():
            key = repr([_distinguishing(element, name) for name in names])
            if key not in seen:
                seen.add(key)
                yield element

    return collection.like(source)


def _distinguishing(element: Element, name: Any) -> Any:
    if name in (".geo", ".all"):
        return element.geometry.shape.wkb if element.geometry else None
    return element.get(str(name))


@algorithm("Collection.geometry")
def geometry(collection: Collection, maxError: Any) -> Geometry:
    """One geometry of all elements."""
    return union_of(collection)


@algorithm("Collection.bounds")
def bounds(collection: Collection, maxError: Any, proj: Projection) -> Geometry:
    """The rectangle around all elements."""
    whole = union_of(collection)
    return whole if whole.unbounded else Geometry(whole.in_crs(proj.crs).envelope, proj.crs)


@algorithm("Collection.union")
def union(collection: Collection, maxError: Any) -> Collection:
    """One feature with the geometry of all."""
    return of_elements([Feature(union_of(collection))], "FeatureCollection")


@algorithm("Collection.cache")
def cache(collection: Collection) -> Collection:
    """The same collection."""
    return collection


@algorithm("Image.linkCollection", keeps="input")
def link_collection(
    input: Image,
    imageCollection: Collection,
    linkedBands: Any,
    linkedProperties: Any,
    matchPropertyName: str,
) -> Image:
    """The image with bands or properties of the image of a collection that has the same property.

    Without a match the linked bands are masked.
    """
    return linked(input, imageCollection, linkedBands, linkedProperties, matchPropertyName)


@algorithm("ImageCollection.getRegion")
def get_region(
    collection: Collection,
    geometry: Geometry,
    scale: float | None,
    crs: Projection,
    crsTransform: list[Any] | None,
) -> RegionTable:
    """Rows of id, longitude, latitude, time and bands for every image and pixel of a region."""
    return region_table(collection, geometry, working_projection(crs, crsTransform, scale))


def working_projection(crs: Projection, transform: Sequence[Any] | None, scale: float | None) -> Projection:
    """A projection for the arguments crs, crsTransform and scale, of which the last two exclude each other."""
    if transform is not None and scale is not None:
        raise EarthEngineError("Cannot specify both crsTransform and scale.")
    if transform is not None:
        return crs.with_transform(to_transform(transform))
    return crs if scale is None else crs.at_scale(scale)


def in_order(elements: Iterator[Any], key: str, ascending: bool) -> list[Any]:
    """Elements by a property; those without it come last."""
    known: list[Any] = []
    unknown: list[Any] = []
    for element in elements:
        value = element.get(key)
        (unknown if value is None else known).append((value, element))
    known.sort(key=lambda pair: sort_key(pair[0]), reverse=not ascending)
    return [element for _, element in known + unknown]


def sort_key(value: Any) -> Any:
    """A key that orders numbers, strings, dates and lists of them."""
    return cmp_to_key(compare)(value)


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1; 400 for values that have no order."""
    left, right = getattr(left, "ms", left), getattr(right, "ms", right)
    try:
        return int(left > right) - int(left < right)
    except TypeError as exc:
        raise EarthEngineError(f"Cannot compare values of different types: {left!r:.60} and {right!r:.60}.") from exc
