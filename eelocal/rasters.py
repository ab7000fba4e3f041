"""Images of GeoTIFFs, alone and in collections, however they were described."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from shapely import box
from shapely.geometry.base import BaseGeometry

from eelocal.assets import Band
from eelocal.errors import EarthEngineError
from eelocal.geotiff import BandFile, read_window
from eelocal.values.geometry import Geometry, meet
from eelocal.values.image import footprint_property

TIFFS = (".tif", ".tiff")
_STAMP = re.compile(
    r"(?<!\d)((?:19|20)\d{2})[-:]?(0[1-9]|1[0-2])[-:]?([0-3]\d)(?:[T _-]?(\d{2}):?(\d{2}):?(\d{2}))?(?!\d)"
)


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
            if region is None or image.footprint is None or meet(image.footprint, region):
                yield image

    def get(self, index: str) -> FolderImage | None:
        """The image of that index, or None."""
        return self.images.get(index)


def stamped(text: str) -> int | None:
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


def version_of(files: Mapping[str, BandFile]) -> int:
    """Microseconds of the latest change of a file."""
    return max(int(entry.path.stat().st_mtime_ns // 1000) for entry in files.values())
