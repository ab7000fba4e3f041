"""Catalogue files: collections and images of GeoTIFFs, described in YAML or JSON. The format is in docs/eelocal.md."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from eelocal.assets import Assets
from eelocal.geotiff import BandFile, scan
from eelocal.rasters import TIFFS, CatalogueError, FolderCollection, FolderImage, stamped, version_of
from eelocal.values.date import parse_iso

CATALOGUES = ("eelocal.yaml", "eelocal.yml", "eelocal.json")
_POLICIES = ("MEAN", "SAMPLE", "MODE")


def from_catalogue(path: Path) -> Assets:
    """Assets of a catalogue file."""
    try:
        body = yaml.safe_load(path.read_text("utf-8"))  # YAML reads JSON as well
    except (OSError, yaml.YAMLError) as exc:
        raise CatalogueError(f"{path} cannot be read: {exc}") from exc
    entries = body.get("collections") if isinstance(body, dict) else None
    images = body.get("images", []) if isinstance(body, dict) else []
    if not isinstance(entries or [], list) or not isinstance(images, list) or not (entries or images):
        raise CatalogueError(f"{path} must have a list `collections` or `images`.")
    assets = Assets()
    for entry in entries or []:
        collection = _collection(str(path), path.parent, _checked(path, entry, _COLLECTION_KEYS, ("id", "folder")))
        assets.collections[collection.id] = collection
    for entry in images:
        image = _single(path.parent, _checked(path, entry, _IMAGE_KEYS, ("id", "files")))
        assets.images[image.id] = image
    return assets


_COLLECTION_KEYS = {
    "id",
    "folder",
    "files",
    "scene",
    "index",
    "time",
    "bands",
    "properties",
    "image_properties",
    "table",
    "nodata",
    "pyramiding",
    "scaled",
}
_IMAGE_KEYS = {"id", "files", "bands", "properties", "time", "nodata", "pyramiding", "scaled"}


def _checked(path: Path, entry: Any, known: set[str], needed: Sequence[str]) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise CatalogueError(f"{path}: each entry must be a mapping. Got {entry!r:.80}.")
    unknown = sorted(set(entry) - known)
    if unknown:
        raise CatalogueError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}.")
    missing = [key for key in needed if key not in entry]
    if missing:
        raise CatalogueError(f"{path}: an entry has no {missing[0]!r}.")
    return entry


def _single(base: Path, entry: Mapping[str, Any]) -> FolderImage:
    files = _banded([base / name for name in entry["files"]], entry)
    properties = dict(entry.get("properties", {}))
    if "time" in entry:
        properties["system:time_start"] = int(parse_iso(str(entry["time"])).ms)
    index = str(entry["id"]).rpartition("/")[2]
    return FolderImage(str(entry["id"]), version_of(files), {"system:index": index, **properties}, files)


def _collection(source: str, base: Path, entry: Mapping[str, Any]) -> FolderCollection:
    folder = base / str(entry["folder"])
    if not folder.is_dir():
        raise CatalogueError(f"{source}: the folder {folder} does not exist.")
    collection = FolderCollection(str(entry["id"]), dict(entry.get("properties", {})))
    rows = _table(folder, entry)
    for scene, files in _scenes(folder, entry).items():
        image = _scene_image(collection.id, scene, files, entry, rows)
        collection.images[str(image.declared["system:index"])] = image
    if not collection.images:
        raise CatalogueError(f"{source}: no file in {folder} belongs to {collection.id}.")
    return collection


def _scenes(folder: Path, entry: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Files by scene: what the first group of the pattern `scene` matches, or the name without its ending."""
    pattern = re.compile(str(entry.get("scene", r"(.+)\.tiff?$")))
    scenes: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(str(entry.get("files", "*")))):
        found = pattern.match(path.name) if path.suffix.lower() in TIFFS else None
        if found:
            scenes.setdefault(found.group(1) if found.groups() else found.group(0), []).append(path)
    return scenes


def _table(folder: Path, entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows of a JSON list of objects, by the file names they mention."""
    if "table" not in entry:
        return {}
    declared = entry["table"]
    try:
        body = json.loads((folder / str(declared["file"])).read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise CatalogueError(f"The table {declared!r} cannot be read: {exc}") from exc
    rows = body.get(declared["rows"], []) if isinstance(body, dict) and "rows" in declared else body
    keys = declared.get("match", ["file"])
    return {str(row[key]): row for row in rows for key in keys if key in row}


def _scene_image(
    collection: str, scene: str, paths: Sequence[Path], entry: Mapping[str, Any], rows: Mapping[str, dict[str, Any]]
) -> FolderImage:
    row: dict[str, Any] = next((rows[path.name] for path in paths if path.name in rows), {})
    files = _banded(paths, entry)
    moment = _time(scene, row, entry)
    names = _Fields({**row, "scene": scene}, moment)
    index = names.fill(str(entry.get("index", "{scene}")))
    computed = {key: names.value(value) for key, value in entry.get("image_properties", {}).items()}
    time = {} if moment is None else {"system:time_start": moment, "system:time_end": moment}
    properties = {**computed, **time, "system:index": index}
    return FolderImage(f"{collection}/{index}", version_of(files), properties, files)


class _Fields(string.Formatter):
    """`{name}` of a table's row, `{scene}`, and `{time:%Y%m%d}`; a value that is all one field keeps its type."""

    def __init__(self, fields: Mapping[str, Any], moment: int | None) -> None:
        self.fields: dict[str, Any] = dict(fields)
        if moment is not None:
            self.fields["time"] = datetime.fromtimestamp(moment / 1000, UTC)

    def fill(self, template: str) -> str:
        """The text with its fields filled in."""
        try:
            return self.vformat(template, (), self.fields)
        except (KeyError, ValueError, IndexError) as exc:
            raise CatalogueError(f"The template {template!r} cannot be filled: {exc}.") from exc

    def value(self, template: Any) -> Any:
        """The field itself if the template is nothing but one, with a factor as `{cloud*100}`; else text."""
        if not isinstance(template, str):
            return template
        whole = re.fullmatch(r"\{(\w+)(?:\*([\d.]+))?\}", template)
        if whole is None:
            return self.fill(template)
        value = self.fields.get(whole.group(1))
        return value * float(whole.group(2)) if whole.group(2) and value is not None else value


def _time(scene: str, row: Mapping[str, Any], entry: Mapping[str, Any]) -> int | None:
    """Milliseconds: the table's field named by `time`, else the first date in the scene's name."""
    if "time" in entry:
        value = row.get(str(entry["time"]))
        if value is not None:
            return int(value) if isinstance(value, (int, float)) else int(parse_iso(str(value)).ms)
    return stamped(scene)


def _banded(paths: Sequence[Path], entry: Mapping[str, Any]) -> dict[str, BandFile]:
    """Bands of all files in the order asked for, or in that of the files."""
    found: dict[str, BandFile] = {}
    for path in paths:
        for band in scan(path, entry.get("nodata")):
            made = band.scaled(*band.declared) if entry.get("scaled") else band
            found.setdefault(band.band.name, made.with_policy(_policy(entry, band)))
    order = entry.get("bands")
    if order is None:
        return found
    missing = [name for name in order if name not in found]
    if missing:
        raise CatalogueError(f"{paths[0].name}: no band {missing[0]!r}; there are {', '.join(found)}.")
    return {name: found[name] for name in order}


def _policy(entry: Mapping[str, Any], band: BandFile) -> str:
    """How coarser levels are made: one policy for all bands, or one for each by name."""
    declared = entry.get("pyramiding", band.band.pyramiding)
    found = declared.get(band.band.name, band.band.pyramiding) if isinstance(declared, Mapping) else declared
    if found not in _POLICIES:
        raise CatalogueError(f"The pyramiding policy must be one of {', '.join(_POLICIES)}. Got {found!r:.80}.")
    return str(found)
