"""Folders of GeoTIFFs as collections, alone or described by a catalogue file. The format is in docs/eelocal.md."""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from shapely import box
from shapely.geometry.base import BaseGeometry

from eelocal.assets import Assets, Band
from eelocal.errors import EarthEngineError
from eelocal.geotiff import BandFile, read_window, scan, tags
from eelocal.values.date import parse_iso
from eelocal.values.geometry import Geometry
from eelocal.values.image import footprint_property

CATALOGUES = ("eelocal.yaml", "eelocal.yml", "eelocal.json")
_TIFFS = (".tif", ".tiff")
_STAMP = re.compile(
    r"(?<!\d)((?:19|20)\d{2})[-:]?(0[1-9]|1[0-2])[-:]?([0-3]\d)(?:[T _-]?(\d{2}):?(\d{2}):?(\d{2}))?(?!\d)"
)
# What the names of the files of one scene differ in: a resolution or a band.
_PART = re.compile(r"[_.-](R?\d{1,4}m|B\d{1,2}A?)$", re.IGNORECASE)
_TIME_TAGS = (
    "system:time_start",
    "datetime",
    "ACQUISITIONDATETIME",
    "ACQUISITION_DATE",
    "DATE_ACQUIRED",
    "TIFFTAG_DATETIME",
)
_POLICIES = ("MEAN", "SAMPLE", "MODE")


class CatalogueError(EarthEngineError, ValueError):
    """A catalogue file or folder that cannot be served."""


@dataclass(frozen=True)
class FolderImage:
    """An image of one or more GeoTIFFs."""

    id: str
    version: int
    declared: Mapping[str, Any]
    files: Mapping[str, BandFile]

    @property
    def bands(self) -> tuple[Band, ...]:
        """Bands in the order of the files."""
        return tuple(entry.band for entry in self.files.values())

    @cached_property
    def footprint(self) -> BaseGeometry | None:
        """Outline of the first band's pixels."""
        first = next(iter(self.files.values())).band
        a, b, c, d, e, f = first.transform
        xs = [c, c + a * first.width + b * first.height]
        ys = [f, f + d * first.width + e * first.height]
        return Geometry(box(min(xs), min(ys), max(xs), max(ys)), first.crs).lonlat

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """Declared properties and those of the system."""
        outline = self.footprint
        place = {"system:footprint": footprint_property(outline)} if outline is not None else {}
        return {**self.declared, **place}

    def read(self, band: str, level: int, col: int, row: int, width: int, height: int) -> Any:
        """Pixels of a window; see `eelocal.assets.StoredImage.read`."""
        return read_window(self.files[band], level, col, row, width, height)


@dataclass
class FolderCollection:
    """Images of a folder, by index."""

    id: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    images: dict[str, FolderImage] = field(default_factory=dict)

    def search(
        self, start_ms: float | None, end_ms: float | None, region: BaseGeometry | None
    ) -> Iterator[FolderImage]:
        """Images in index order."""
        for _, image in sorted(self.images.items()):
            time = image.declared.get("system:time_start")
            if start_ms is not None and (time is None or time < start_ms):
                continue
            if end_ms is not None and (time is None or time >= end_ms):
                continue
            if region is None or image.footprint is None or image.footprint.intersects(region):
                yield image

    def get(self, index: str) -> FolderImage | None:
        """The image of that index, or None."""
        return self.images.get(index)


def load_folder(path: Path) -> Assets:
    """Assets of a catalogue file, or of a folder with one in it, or of a folder of GeoTIFFs without one."""
    from eelocal.stac import ENTRIES, is_stac, load_stac  # noqa: PLC0415  - it builds on this module

    if path.is_file():
        return load_stac(path) if is_stac(path) else _from_catalogue(path)
    if not path.is_dir():
        raise CatalogueError(f"{path} is neither a folder nor a catalogue file.")
    found = next((path / name for name in CATALOGUES if (path / name).is_file()), None)
    if found is not None:
        return _from_catalogue(found)
    entry = next((path / name for name in ENTRIES if is_stac(path / name)), None)
    return load_stac(entry) if entry is not None else _from_tree(path)


def _from_tree(root: Path) -> Assets:
    """A collection for every folder with GeoTIFFs, under the names of the folders from the root on."""
    root = root.resolve()
    folders = sorted({file.parent for file in root.rglob("*") if file.suffix.lower() in _TIFFS})
    if not folders:
        raise CatalogueError(f"{root} has no GeoTIFF and none of {', '.join(CATALOGUES)}.")
    made = [_plain_collection(folder, "/".join((root.name, *folder.relative_to(root).parts))) for folder in folders]
    return Assets(collections={collection.id: collection for collection in made})


def _plain_collection(folder: Path, identity: str) -> FolderCollection:
    """GeoTIFFs without a catalogue: an image for each, or for those that differ in a resolution or a band."""
    collection = FolderCollection(identity)
    scenes: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in _TIFFS):
        scenes.setdefault(_PART.sub("", path.stem), []).append(path)
    for scene, paths in scenes.items():
        index = scene if len(paths) > 1 else paths[0].stem
        files = _described_by_names(paths)
        found = tags(paths[0])
        moment = _stamped(index) or next((t for t in map(_stamped, _times(found)) if t is not None), None)
        time = {} if moment is None else {"system:time_start": moment, "system:time_end": moment}
        properties = {**_tag_properties(found), **_scales(files), **time, "system:index": index}
        collection.images[index] = FolderImage(f"{identity}/{index}", _version(files), properties, files)
    return collection


def _described_by_names(paths: Sequence[Path]) -> dict[str, BandFile]:
    """Bands of the files of a scene; one without a description is named by what its file's name ends in."""
    found: dict[str, BandFile] = {}
    for path in paths:
        part = _PART.search(path.stem)
        bands = scan(path)
        for band in bands:
            name = band.band.name
            if not band.described and part and part.group(1).upper().startswith("B") and len(bands) == 1:
                name = part.group(1)
            elif name in found and part:
                name = f"{name}_{part.group(1)}"
            found.setdefault(name, band.named(name))
    return found


def _times(found: Mapping[str, str]) -> list[str]:
    return [found[name] for name in _TIME_TAGS if name in found]


def _tag_properties(found: Mapping[str, str]) -> dict[str, Any]:
    """Tags as properties, but for those of the format; numbers as numbers."""
    kept = {key: value for key, value in found.items() if key != "AREA_OR_POINT" and not key.startswith("TIFFTAG_")}
    return {key: as_number(value) for key, value in kept.items()}


def as_number(text: str) -> Any:
    """A number if the text is one."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else text


def _scales(files: Mapping[str, BandFile]) -> dict[str, Any]:
    """Scale and offset that files declare; as in Earth Engine, pixels are served as they are stored."""
    result: dict[str, Any] = {}
    for name, entry in files.items():
        if entry.declared != (1.0, 0.0):
            result |= {f"{name}_scale": entry.declared[0], f"{name}_offset": entry.declared[1]}
    return result


def _stamped(text: str) -> int | None:
    """Milliseconds of the first date in a text, or of a text that is milliseconds."""
    if re.fullmatch(r"-?\d{11,14}", text):
        return int(text)
    found = _STAMP.search(text)
    if not found:
        return None
    parts = [int(part) for part in found.groups(default="0")]
    try:
        return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]
    except ValueError:
        return None


def _from_catalogue(path: Path) -> Assets:
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
    return FolderImage(str(entry["id"]), _version(files), {"system:index": index, **properties}, files)


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
        found = pattern.match(path.name) if path.suffix.lower() in _TIFFS else None
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
    return FolderImage(f"{collection}/{index}", _version(files), properties, files)


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
    return _stamped(scene)


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


def _version(files: Mapping[str, BandFile]) -> int:
    return max(int(entry.path.stat().st_mtime_ns // 1000) for entry in files.values())
