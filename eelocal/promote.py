"""Values as the types an algorithm declares: what Earth Engine accepts in place of what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from eelocal.arrays import to_array, type_of
from eelocal.errors import EarthEngineError
from eelocal.region import RegionTable
from eelocal.values.collection import Collection, of_elements
from eelocal.values.date import Date, DateRange, to_date
from eelocal.values.element import Element, Feature
from eelocal.values.filter import Filter, Query
from eelocal.values.geometry import Geometry, from_geojson
from eelocal.values.image import Image, constant_band
from eelocal.values.kernel import Kernel
from eelocal.values.pixeltype import CASTS, DOUBLE, PixelType, integer
from eelocal.values.projection import Projection, parse_crs, to_transform
from eelocal.values.reducer import Reducer

_GEOJSON = {
    "Point", "MultiPoint", "LineString", "LinearRing", "MultiLineString", "Polygon", "MultiPolygon",
    "GeometryCollection",
}  # fmt: skip
_NO = object()


def promote(value: Any, declared: str, where: str) -> Any:
    """The value as the declared type.

    Args:
        value: anything but None.
        declared: a type of a signature, such as `List<Number>`.
        where: the algorithm and argument, for the error.

    Raises:
        EarthEngineError: in Earth Engine's words, naming the expected and the actual type.
    """
    base = declared.partition("<")[0]
    convert = _CONVERT.get(base)
    if convert is None:
        return value
    result = convert(value)
    if result is _NO:
        raise EarthEngineError(
            f"{where}: Invalid type.\nExpected type: {declared}.\nActual type: {type_name(value)}.\n"
            f"Actual value: {str(_shown(value))[:200]}",
            located=True,
        )
    return result


def type_name(value: Any) -> str:
    """Earth Engine's name of a value's type, as `ee.Algorithms.ObjectType` gives it."""
    if isinstance(value, Element):
        return value.kind
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, int):
        return "Integer" if -(2**31) <= value < 2**31 else "Long"
    return next((name for kind, name in _NAMES if isinstance(value, kind)), type(value).__name__)


def constant_image(value: Any) -> Image:
    """An image of a number, of an array, or of a list with one band for each."""
    if isinstance(value, np.ndarray):
        return Image([constant_band("constant", value, type_of(value).array(value.ndim))])
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(n, (int, float)) for n in numbers):
        raise EarthEngineError(f"Image constants must be numbers or lists of numbers. Got {str(value)[:100]}.")
    names = ["constant"] if len(numbers) == 1 else [f"constant_{i}" for i in range(len(numbers))]
    return Image([constant_band(name, n, _number_type(n)) for name, n in zip(names, numbers, strict=True)])


def _number_type(number: float) -> PixelType:
    if isinstance(number, int):
        return integer(int(number), int(number))
    return PixelType("double", number, number) if math.isfinite(number) else DOUBLE


def _shown(value: Any) -> Any:
    return value.kind if isinstance(value, Element) else value


def _image(value: Any) -> Any:
    if isinstance(value, Image):
        return value
    if isinstance(value, (int, float, list, tuple, np.ndarray)):
        return constant_image(value)
    return _NO


def _collection(value: Any) -> Any:
    if isinstance(value, Collection):
        return value
    if isinstance(value, Element):
        return of_elements([value], "ImageCollection" if isinstance(value, Image) else "FeatureCollection")
    if isinstance(value, Geometry):
        return of_elements([Feature(value)], "FeatureCollection")
    if isinstance(value, (list, tuple)) and value and all(isinstance(e, Element) for e in value):
        return of_elements(value, "ImageCollection" if isinstance(value[0], Image) else "FeatureCollection")
    return _NO


def _image_collection(value: Any) -> Any:
    """A collection of which each element must be an image: looked at when it is asked for."""
    found = _collection(value)
    if found is _NO or found.kind == "ImageCollection":
        return found

    def source(query: Query) -> Iterator[Any]:
        for element in found.elements(query):
            if not isinstance(element, Image):
                raise EarthEngineError(f"The collection must hold images. Got a {element.kind}.")
            yield element

    return found.like(source)


def _element(value: Any) -> Any:
    if isinstance(value, Element):
        return value
    return Feature(value) if isinstance(value, Geometry) else _NO


def _feature(value: Any) -> Any:
    return _element(value)


def _geometry(value: Any) -> Any:
    if isinstance(value, Geometry):
        return value
    if isinstance(value, Collection):
        from eelocal.union import union_of  # noqa: PLC0415  - it needs this module's types

        return union_of(value)
    if isinstance(value, Element):
        return value.geometry if value.geometry is not None else _NO
    if isinstance(value, Mapping) and value.get("type") in _GEOJSON:
        return from_geojson(value)
    return _NO


def _projection(value: Any) -> Any:
    if isinstance(value, Projection):
        return value
    if isinstance(value, str):
        parse_crs(value)
        return Projection(value)
    if isinstance(value, Mapping) and value.get("type") == "Projection":
        code = value.get("crs") or value.get("wkt") or ""
        return Projection(str(code)).with_transform(to_transform(value.get("transform", [1, 0, 0, 0, 1, 0])))
    return _NO


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, (int, float)) else _NO


def _integer(value: Any) -> Any:
    number = _number(value)
    if number is _NO or not math.isfinite(number):
        return _NO
    return int(number) if abs(number) < 2**63 else _NO


def _float(value: Any) -> Any:
    number = _number(value)
    return _NO if number is _NO else float(number)


def _boolean(value: Any) -> Any:
    return bool(value) if isinstance(value, (bool, int, float)) else _NO


def _list(value: Any) -> Any:
    if isinstance(value, list):
        return value
    return list(value) if isinstance(value, (tuple, RegionTable)) else _NO


def _array(value: Any) -> Any:
    return to_array(value) if isinstance(value, (np.ndarray, list, tuple, int, float)) else _NO


def _dictionary(value: Any) -> Any:
    return value if isinstance(value, dict) else _NO


def _date(value: Any) -> Any:
    return to_date(value) if isinstance(value, (Date, str, int, float)) and not isinstance(value, bool) else _NO


def _date_range(value: Any) -> Any:
    if isinstance(value, DateRange):
        return value
    if isinstance(value, Date):
        return DateRange(value.ms, value.ms + 1)
    return _NO


def _pixel_type(value: Any) -> Any:
    if isinstance(value, PixelType):
        return value
    return CASTS.get(value, _NO) if isinstance(value, str) else _NO


def _exactly(*kinds: type) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, kinds) else _NO


def _callable(value: Any) -> Any:
    return value if callable(value) else _NO


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "Image": _image,
    "ImageCollection": _image_collection,
    "FeatureCollection": _collection,
    "Element": _element,
    "Feature": _feature,
    "Geometry": _geometry,
    "Projection": _projection,
    "Number": _number,
    "Integer": _integer,
    "Long": _integer,
    "Float": _float,
    "Boolean": _boolean,
    "String": _exactly(str),
    "List": _list,
    "Array": _array,
    "Dictionary": _dictionary,
    "Date": _date,
    "DateRange": _date_range,
    "PixelType": _pixel_type,
    "Filter": _exactly(Filter),
    "Reducer": _exactly(Reducer),
    "Kernel": _exactly(Kernel),
    "Algorithm": _callable,
}

_NAMES: tuple[tuple[type, str], ...] = (
    (float, "Float"),
    (str, "String"),
    (list, "List"),
    (tuple, "List"),
    (dict, "Dictionary"),
    (Geometry, "Geometry"),
    (Projection, "Projection"),
    (Date, "Date"),
    (DateRange, "DateRange"),
    (Filter, "Filter"),
    (Reducer, "Reducer"),
    (PixelType, "PixelType"),
    (np.ndarray, "Array"),
    (Kernel, "Kernel"),
)
