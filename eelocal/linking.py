"""How one image takes bands and properties of another: for `Image.linkCollection`."""

from __future__ import annotations

from typing import Any

from eelocal.bands import joined, select_bands
from eelocal.sampling import empty
from eelocal.values.collection import Collection
from eelocal.values.filter import Query
from eelocal.values.image import Band, Image


def linked(image: Image, collection: Collection, bands: Any, properties: Any, key: str) -> Image:
    """The image with what a matching image of the collection has."""
    match = _match(image, collection, key)
    result = image
    if bands is not None:
        result = result.with_bands(joined(image.bands, _bands(match, collection, _listed(bands)), overwrite=False))
    if properties is not None and match is not None:
        found = {name: match.get(name) for name in _listed(properties)}
        result = result.with_properties({**result.properties, **found})
    return result


def _match(image: Image, collection: Collection, key: str) -> Image | None:
    value = image.get(key)
    if value is None:
        return None
    query = Query(indices=frozenset([value])) if key == "system:index" else Query()
    return next((other for other in collection.elements(query) if other.get(key) == value), None)


def _bands(match: Image | None, collection: Collection, selectors: list[Any]) -> list[Band]:
    if match is not None:
        return select_bands(match, selectors)
    first = next(iter(collection.elements()), None)
    return [band.derived(empty) for band in select_bands(first, selectors)] if first is not None else []


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
