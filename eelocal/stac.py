"""STAC catalogues as assets: plain JSON of version 1, files on the local disk.

A collection of STAC is a collection, an item an image; items without a collection are single images.
https://github.com/radiantearth/stac-spec; extensions eo, raster, projection and classification are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from affine import Affine

from eelocal.assets import Assets
from eelocal.geotiff import BandFile, scan
from eelocal.rasters import TIFFS, CatalogueError, FolderCollection, FolderImage
from eelocal.values.date import parse_iso

ENTRIES = ("catalog.json", "collection.json")
_KINDS = ("Catalog", "Collection", "Feature", "FeatureCollection")


def is_stac(path: Path) -> bool:
    """Whether a file is JSON of STAC."""
    if path.suffix.lower() not in (".json", ".geojson") or not path.is_file():
        return False
    try:
        body = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    known = isinstance(body, dict) and body.get("type") in _KINDS
    return known and ("stac_version" in body or body["type"] == "FeatureCollection")


def load_stac(path: Path) -> Assets:
    """All collections and items that a catalogue, a collection or an item leads to."""
    assets = Assets()
    _walk(path, assets, None, set())
    if not assets.collections and not assets.images:
        raise CatalogueError(f"{path} leads to no item with a GeoTIFF.")
    return assets


def _walk(path: Path, assets: Assets, collection: FolderCollection | None, seen: set[Path]) -> None:
    path = path.resolve()
    if path in seen:
        return
    seen.add(path)
    body = _read(path)
    kind = body.get("type")
    if kind in ("Feature", "FeatureCollection"):
        for item in body.get("features", [body]):
            _add(path, item, assets, collection)
        return
    if kind == "Collection":
        properties = {key: body[key] for key in ("title", "description", "license") if isinstance(body.get(key), str)}
        collection = FolderCollection(str(body.get("id", path.parent.name)), properties)
    for relation in ("item", "items", "child"):
        for target in _links(path, body, relation):
            _walk(target, assets, collection, seen)
    if kind == "Collection" and collection is not None and collection.images:
        assets.collections[collection.id] = collection


def _read(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise CatalogueError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(body, dict):
        raise CatalogueError(f"{path} is not a STAC object.")
    return body


def _links(path: Path, body: Mapping[str, Any], relation: str) -> Iterator[Path]:
    for link in body.get("links", []):
        if link.get("rel") == relation:
            yield _local(path, str(link.get("href", "")))


def _local(base: Path, href: str) -> Path:
    """The file a link points to, relative to the file it is in."""
    parts = urlsplit(href)
    if parts.scheme not in ("", "file"):
        raise CatalogueError(f"{base} points to {href[:100]!r}: only files on this disk are served.")
    return (base.parent / unquote(parts.path)).resolve()


def _add(path: Path, item: Mapping[str, Any], assets: Assets, collection: FolderCollection | None) -> None:
    identity = str(item.get("id", path.stem))
    named = item.get("collection")
    if collection is None and isinstance(named, str):
        known = assets.collections.get(named)
        collection = known if isinstance(known, FolderCollection) else FolderCollection(named)
        assets.collections[named] = collection
    files = _bands(path, item)
    if not files:
        return
    full = f"{collection.id}/{identity}" if collection is not None else identity
    version = max(int(entry.path.stat().st_mtime_ns // 1000) for entry in files.values())
    image = FolderImage(full, version, {**_properties(item), "system:index": identity}, files)
    if collection is not None:
        collection.images[identity] = image
    else:
        assets.images[full] = image


def _properties(item: Mapping[str, Any]) -> dict[str, Any]:
    found = item.get("properties") or {}
    kept = {key: value for key, value in found.items() if _plain(value)}
    start = found.get("start_datetime") or found.get("datetime")
    end = found.get("end_datetime") or start
    times = {"system:time_start": start, "system:time_end": end}
    return {**kept, **{key: int(parse_iso(str(value)).ms) for key, value in times.items() if value}}


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(entry, (str, int, float)) for entry in value)
    return isinstance(value, (str, int, float))


def _bands(path: Path, item: Mapping[str, Any]) -> dict[str, BandFile]:
    """Bands of all assets that are GeoTIFFs with data, in the order of the assets."""
    result: dict[str, BandFile] = {}
    for key, asset in (item.get("assets") or {}).items():
        href = str(asset.get("href", ""))
        roles = asset.get("roles") or ["data"]
        if Path(urlsplit(href).path).suffix.lower() not in TIFFS or set(roles) & {"thumbnail", "overview"}:
            continue
        file = _local(path, href)
        if not file.is_file():
            raise CatalogueError(f"{path}: the asset {key!r} of {item.get('id')!r} has no file {file}.")
        for name, band in _named(key, asset, scan(file, place=_place(item, asset))):
            result.setdefault(name, band)
    return result


def _place(item: Mapping[str, Any], asset: Mapping[str, Any]) -> tuple[str, Affine] | None:
    """CRS and transform of the projection extension, for files without."""
    found = {**(item.get("properties") or {}), **asset}
    code = found.get("proj:code") or (f"EPSG:{found['proj:epsg']}" if found.get("proj:epsg") else None)
    transform = found.get("proj:transform")
    return (str(code), Affine(*transform[:6])) if code and transform else None


def _named(key: str, asset: Mapping[str, Any], files: Sequence[BandFile]) -> Iterator[tuple[str, BandFile]]:
    eo, raster = asset.get("eo:bands") or asset.get("bands") or [], asset.get("raster:bands") or []
    for position, band in enumerate(files):
        about = {**_at(eo, position), **_at(raster, position)}
        name = _at(eo, position).get("name") or _at(raster, position).get("name")
        if name is None:
            name = key if len(files) == 1 else band.band.name if band.described else f"{key}_{position + 1}"
        yield str(name), _declared(band.named(str(name)), about, asset)


def _declared(band: BandFile, about: Mapping[str, Any], asset: Mapping[str, Any]) -> BandFile:
    nodata = about.get("nodata", asset.get("nodata"))
    if band.nodata is None and nodata is not None:
        band = band.with_nodata(float(nodata))
    classes = about.get("classification:classes") or asset.get("classification:classes")
    policy = about.get("eelocal:pyramiding") or asset.get("eelocal:pyramiding") or ("MODE" if classes else None)
    if policy is not None and policy not in ("MEAN", "SAMPLE", "MODE"):
        raise CatalogueError(f"The pyramiding policy must be MEAN, SAMPLE or MODE. Got {policy!r:.80}.")
    return band.with_policy(str(policy)) if policy else band


def _at(entries: Any, position: int) -> Mapping[str, Any]:
    entry = entries[position] if isinstance(entries, list) and position < len(entries) else {}
    return entry if isinstance(entry, Mapping) else {}
