"""Values as the JSON of an answer, in the shapes `getInfo` gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from eelocal.errors import EarthEngineError
from eelocal.promote import type_name
from eelocal.region import RegionTable
from eelocal.values.collection import Collection
from eelocal.values.date import Date, DateRange
from eelocal.values.element import Feature
from eelocal.values.filter import Filter
from eelocal.values.geometry import Geometry
from eelocal.values.image import Image
from eelocal.values.pixeltype import PixelType
from eelocal.values.projection import Projection
from eelocal.values.reducer import Reducer

MAX_RESULT_BYTES = 100 * 2**20  # https://developers.google.com/earth-engine/guides/usage


def result_json(value: Any) -> bytes:
    """The body of an answer to value:compute."""
    encoded = value.json() if isinstance(value, RegionTable) else dumps(encode(value))
    if len(encoded) > MAX_RESULT_BYTES:
        raise EarthEngineError("Computed value is too large.")
    return b'{"result":' + encoded + b"}"


def dumps(value: Any) -> bytes:
    """JSON of encoded values."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def encode(value: Any) -> Any:
    """A value as plain JSON data; whole floats become integers, as recorded."""
    kind = type(value)
    if kind is float:
        return _float(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else float(value)
    for known, convert in _ENCODERS:
        if isinstance(value, known):
            return convert(value)
    if callable(value):
        return {"type": "Algorithm"}
    if hasattr(value, "encode"):
        return encode(value.encode())
    raise EarthEngineError(f"A value of type {type_name(value)} cannot be returned.")


def _float(value: float) -> Any:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**63 else value


def _mapping(value: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): _nested(item) for key, item in value.items()}


def _nested(value: Any) -> Any:
    """A value inside another: an image collection is described without its images (geedim's test_collection.py)."""
    if isinstance(value, Collection) and value.kind == "ImageCollection":
        return _collection(value, listed=False)
    return encode(value)


def _image(image: Image) -> dict[str, Any]:
    return _mapping(image.encode())


def _feature(feature: Feature) -> dict[str, Any]:
    properties = {key: value for key, value in feature.properties.items() if key != "system:index"}
    return {
        "type": "Feature",
        "geometry": encode(feature.geometry),
        **({"id": feature.index} if feature.index else {}),
        "properties": _mapping(properties),
    }


def _collection(collection: Collection, *, listed: bool = True) -> dict[str, Any]:
    elements = collection.listed() if listed else []
    marks = {"id": collection.id, "version": collection.version}
    images = collection.kind == "ImageCollection"
    return {
        "type": collection.kind,
        **({"bands": []} if images else {"columns": _columns(elements)}),
        **{key: value for key, value in marks.items() if value is not None},
        **({"properties": _mapping(collection.properties)} if collection.properties else {}),
        **({"features": [encode(element) for element in elements]} if listed else {}),
    }


def _columns(elements: list[Any]) -> dict[str, str]:
    first = elements[0].properties if elements else {}
    return {key: type_name(value) for key, value in sorted(first.items())}


_ENCODERS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (np.generic, lambda value: encode(value.item())),
    (RegionTable, lambda table: orjson.Fragment(table.json())),
    (list, lambda value: [_nested(item) for item in value]),
    (tuple, lambda value: [_nested(item) for item in value]),
    (Mapping, _mapping),
    (Image, _image),
    (Feature, _feature),
    (Collection, _collection),
    (Geometry, lambda value: _mapping(value.encode())),
    (Projection, lambda value: _mapping(value.encode())),
    (Date, lambda value: _mapping(value.encode())),
    (DateRange, lambda value: _mapping(value.encode())),
    (PixelType, lambda value: _mapping(value.encode())),
    (np.ndarray, lambda value: encode(value.tolist())),
    (Filter, lambda value: {"type": "Filter"}),
    (Reducer, lambda value: {"type": "Reducer", "outputs": list(value.outputs)}),
)
