"""Folders of GeoTIFFs as collections, alone or described by a catalogue. The formats are in docs/eelocal.md."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eelocal.assets import Assets
from eelocal.catalogue import CATALOGUES, from_catalogue
from eelocal.geotiff import BandFile, scan, tags
from eelocal.rasters import TIFFS, CatalogueError, FolderCollection, FolderImage, stamped, version_of
from eelocal.stac import ENTRIES, is_stac, load_stac

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


def load_folder(path: Path) -> Assets:
    """Assets of a catalogue file, or of a folder with one in it, or of a folder of GeoTIFFs without one."""
    if path.is_file():
        return load_stac(path) if is_stac(path) else from_catalogue(path)
    if not path.is_dir():
        raise CatalogueError(f"{path} is neither a folder nor a catalogue file.")
    found = next((path / name for name in CATALOGUES if (path / name).is_file()), None)
    if found is not None:
        return from_catalogue(found)
    entry = next((path / name for name in ENTRIES if is_stac(path / name)), None)
    return load_stac(entry) if entry is not None else _from_tree(path)


def _from_tree(root: Path) -> Assets:
    """A collection for every folder with GeoTIFFs, under the names of the folders from the root on."""
    root = root.resolve()
    folders = sorted({file.parent for file in root.rglob("*") if file.suffix.lower() in TIFFS})
    if not folders:
        raise CatalogueError(f"{root} has no GeoTIFF and none of {', '.join(CATALOGUES)}.")
    made = [_plain_collection(folder, "/".join((root.name, *folder.relative_to(root).parts))) for folder in folders]
    return Assets(collections={collection.id: collection for collection in made})


def _plain_collection(folder: Path, identity: str) -> FolderCollection:
    """GeoTIFFs without a catalogue: an image for each, or for those that differ in a resolution or a band."""
    collection = FolderCollection(identity)
    scenes: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in TIFFS):
        scenes.setdefault(_PART.sub("", path.stem), []).append(path)
    for scene, paths in scenes.items():
        index = scene if len(paths) > 1 else paths[0].stem
        files = _described_by_names(paths)
        found = tags(paths[0])
        moment = stamped(index) or next((t for t in map(stamped, _times(found)) if t is not None), None)
        time = {} if moment is None else {"system:time_start": moment, "system:time_end": moment}
        properties = {**_tag_properties(found), **_scales(files), **time, "system:index": index}
        collection.images[index] = FolderImage(f"{identity}/{index}", version_of(files), properties, files)
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
