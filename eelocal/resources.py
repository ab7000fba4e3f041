"""Assets as REST resources: getting one, and listing a collection with filters and pages."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from eelocal.assets import Assets, Band, StoredCollection, StoredImage
from eelocal.encode import encode
from eelocal.errors import EarthEngineError
from eelocal.stored import plain_id
from eelocal.values.date import parse_iso
from eelocal.values.filter import Query
from eelocal.values.geometry import geojson, meet
from eelocal.values.pixeltype import of_dtype

_PUBLIC = "projects/earthengine-public/assets/"
_PAGE = {
    "FULL": 1000,
    "BASIC": 10_000,
}  # https://developers.google.com/earth-engine/reference/rest/v1/projects.assets/listAssets
_AFFINE = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
_PRECISION = {"int": "INT", "float": "FLOAT", "double": "DOUBLE"}


def get_asset(assets: Assets, name: str) -> dict[str, Any]:
    """One asset; 403 for one that is not there, as Earth Engine does not tell."""
    known = plain_id(name)
    collection = assets.collections.get(known)
    if collection is not None:
        return _collection(collection)
    image = assets.image(known)
    if image is not None:
        return _image(image, full=True)
    if any(asset.startswith(known + "/") for asset in _roots(assets)):
        return {"type": "FOLDER", "name": _PUBLIC + known, "id": known}
    raise EarthEngineError(
        f"Permission 'earthengine.assets.get' denied on resource '{name}' (or it may not exist).", 403
    )


def list_assets(assets: Assets, parent: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """A page of what a folder or collection holds."""
    known = plain_id(parent)
    view = parameters.get("view") or "FULL"
    if view not in _PAGE:
        raise EarthEngineError(f"Invalid view '{view}'; known are FULL and BASIC.")
    size = _whole("pageSize", parameters.get("pageSize") or "0")
    offset = _whole("pageToken", parameters.get("pageToken") or "0")
    found = _children(assets, known, parse_filter(parameters.get("filter") or ""), full=view == "FULL")
    count = min(size or _PAGE[view], _PAGE[view])
    page = list(itertools.islice(found, offset, offset + count + 1))
    more = {"nextPageToken": str(offset + count)} if len(page) > count else {}
    return {"assets": page[:count], **more} if page else {}


@dataclass(frozen=True)
class ListFilter:
    """A filter string: what a store can search by, and the rest."""

    query: Query
    conditions: tuple[Callable[[Mapping[str, Any]], bool], ...]

    def passes(self, properties: Mapping[str, Any]) -> bool:
        """Whether an image's properties satisfy all conditions on properties."""
        return all(condition(properties) for condition in self.conditions)


def parse_filter(text: str) -> ListFilter:
    """`startTime >= "A" AND endTime < "B" AND intersects("{...}") AND properties.X < 10`.

    The client writes regions as JSON with single quotes, or as a Python dict: both are read.
    """
    query = Query()
    conditions: list[Callable[[Mapping[str, Any]], bool]] = []
    for term in _terms(text):
        region = re.fullmatch(r"intersects\s*\(\s*(\"|')(.*)\1\s*\)", term, re.DOTALL)
        comparison = re.fullmatch(r"([\w.:]+)\s*(>=|<=|!=|=|<|>)\s*(.+)", term, re.DOTALL)
        if region:
            query = query.both(Query(region=_region(region.group(2))))
        elif comparison:
            field, operator, value = comparison.group(1), comparison.group(2), _literal(comparison.group(3))
            time = _time_bound(field, operator, value)
            if time is not None:
                query = query.both(time)
            else:
                conditions.append(_condition(field.removeprefix("properties."), operator, value))
        else:
            raise EarthEngineError(f"Invalid filter: '{term[:200]}'.")
    return ListFilter(query, tuple(conditions))


def _terms(text: str) -> list[str]:
    """Parts between ANDs that are not inside quotes or braces."""
    parts = re.split(r"(?<!\s)\s+AND\s+(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", text.strip(), flags=re.IGNORECASE)
    return [part.strip() for part in parts if part.strip()]


def _region(text: str) -> BaseGeometry:
    for parse in (json.loads, ast.literal_eval, lambda t: json.loads(t.replace("'", '"'))):
        try:
            body = parse(text)
            return shape(body)
        except (ValueError, SyntaxError, TypeError, AttributeError, KeyError, RecursionError, MemoryError):
            continue
    raise EarthEngineError(f"Filter parameter 'intersects' must be GeoJSON. Got: {text[:200]}.")


def _literal(text: str) -> Any:
    stripped = text.strip()
    if len(stripped) >= 2 and stripped[0] == stripped[-1] and stripped[0] in "\"'":
        return stripped[1:-1]
    try:
        return float(stripped)
    except ValueError as exc:
        raise EarthEngineError(f"Invalid value in filter: {stripped[:100]}.") from exc


def _time_bound(field: str, operator: str, value: Any) -> Query | None:
    """`startTime` bounds the beginning, `endTime` the end; images here are moments, so both bound the same time."""
    if field not in ("startTime", "endTime"):
        return None
    moment = parse_iso(value).ms if isinstance(value, str) else float(value)
    after = {">=": moment, ">": moment + 1, "=": moment}.get(operator)
    before = {"<=": moment + 1, "<": moment, "=": moment + 1}.get(operator)
    return Query(start_ms=after, end_ms=before)


def _condition(name: str, operator: str, value: Any) -> Callable[[Mapping[str, Any]], bool]:
    test = _OPERATORS[operator]

    def passes(properties: Mapping[str, Any]) -> bool:
        actual = properties.get(name)
        return actual is not None and isinstance(actual, str) == isinstance(value, str) and test(actual, value)

    return passes


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": lambda a, b: bool(a >= b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    "<": lambda a, b: bool(a < b),
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
}


def _children(assets: Assets, parent: str, wanted: ListFilter, *, full: bool) -> Iterator[dict[str, Any]]:
    collection = assets.collections.get(parent)
    if collection is not None:
        return (_image(image, full=full) for image in _search(collection, wanted))
    prefix = f"{parent}/" if parent else ""
    below = sorted({root[len(prefix) :].split("/")[0] for root in _roots(assets) if root.startswith(prefix)})
    if not below:
        raise EarthEngineError(
            f"Permission 'earthengine.assets.list' denied on resource '{parent}' (or it may not exist).", 403
        )
    return (get_asset(assets, prefix + name) for name in below)


def _search(collection: StoredCollection, wanted: ListFilter) -> Iterator[StoredImage]:
    query = wanted.query
    for image in collection.search(query.start_ms, query.end_ms, query.region):
        time, outline = image.properties.get("system:time_start"), image.footprint
        if query.start_ms is not None and (time is None or time < query.start_ms):
            continue
        if query.end_ms is not None and (time is None or time >= query.end_ms):
            continue
        if query.region is not None and outline is not None and not meet(outline, query.region):
            continue
        if wanted.passes(image.properties):
            yield image


def _roots(assets: Assets) -> set[str]:
    return {*assets.collections, *assets.images}


def _collection(collection: StoredCollection) -> dict[str, Any]:
    version = collection.properties.get("system:version")
    return {
        "type": "IMAGE_COLLECTION",
        "name": _PUBLIC + collection.id,
        "id": collection.id,
        **({"updateTime": _stamp(version / 1000)} if version else {}),
        "properties": encode(dict(collection.properties)),
    }


def _image(image: StoredImage, *, full: bool) -> dict[str, Any]:
    basic = {"type": "IMAGE", "name": _PUBLIC + image.id, "id": image.id}
    if not full:
        return basic
    properties = dict(image.properties)
    start, end = properties.get("system:time_start"), properties.get("system:time_end")
    size = properties.get("system:asset_size")
    outline = image.footprint
    return {
        **basic,
        "updateTime": _stamp(image.version / 1000),
        **({"startTime": _stamp(start)} if start is not None else {}),
        **({"endTime": _stamp(end)} if end is not None else {}),
        "properties": {k: encode(v) for k, v in properties.items() if not k.startswith("system:")},
        **({"geometry": geojson(outline)} if outline is not None else {}),
        **({"sizeBytes": str(int(size))} if size else {}),
        "bands": [_band(band) for band in image.bands],
    }


def _band(band: Band) -> dict[str, Any]:
    """A band; zeros are left out, as recorded in recorded/asset_band_s2_l1c.json."""
    kind = of_dtype(band.dtype, band.value_range)
    limits = {"min": kind.min, "max": kind.max} if kind.is_integer else {}
    shown = {key: value for key, value in limits.items() if value}
    return {
        "id": band.name,
        "dataType": {"precision": _PRECISION[kind.precision], **({"range": shown} if shown else {})},
        "grid": {
            "crsCode": band.crs,
            **({"dimensions": {"width": band.width, "height": band.height}} if band.width else {}),
            "affineTransform": {k: encode(v) for k, v in zip(_AFFINE, band.transform, strict=True) if v},
        },
        "pyramidingPolicy": band.pyramiding,
    }


def _stamp(ms: float) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".") + "Z"


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 12:
        raise EarthEngineError(f"Invalid {name}: '{text[:50]}'.")
    return int(text)
