"""Images: bands that make their pixels when a grid is asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from eelocal.errors import IMPOSSIBLE, EarthEngineError, OutOfMemory
from eelocal.evaluation import current
from eelocal.grid import Grid, Pixels
from eelocal.limits import MAX_PIXELS
from eelocal.values.element import Element
from eelocal.values.geometry import Geometry, geojson
from eelocal.values.pixeltype import PixelType
from eelocal.values.projection import WGS84, Projection

_OBJECT_BYTES = 200  # about, of the array of a pixel
Read = Callable[[Grid], Pixels]


@dataclass(frozen=True, eq=False)
class Band:
    """One band, not yet computed.

    Attributes:
        name: its id.
        type: what its pixels can be.
        projection: the default projection: in which it is computed when nobody asks for another.
        read: makes the pixels of a grid.
        dimensions: (width, height) of the stored pixels, if it has an end.
        origin: first (column, row) that is not clipped away.
        cast: its type was set by a cast, so that files carry a nodata value.
        stored: read is a plain read of an asset, so that keeping the result is no gain.
    """

    name: str
    type: PixelType
    projection: Projection
    read: Read
    dimensions: tuple[int, int] | None = None
    origin: tuple[int, int] | None = None
    cast: bool = False
    stored: bool = False

    def pixels(self, grid: Grid) -> Pixels:
        """Values in the type's dtype (anything where not valid) and validity, of the grid's shape."""
        evaluation = current()
        evaluation.check_time()
        if grid.width * grid.height > MAX_PIXELS:
            raise OutOfMemory
        if self.stored:
            return self.read(grid)
        try:
            return evaluation.remember((self.read, grid), lambda: self.read(grid), _size)
        except IMPOSSIBLE as exc:
            raise EarthEngineError(f"Band '{self.name}' cannot be computed: {exc}.") from exc

    def renamed(self, name: str) -> Band:
        """The same band under another name."""
        return replace(self, name=name)

    def derived(self, read: Read, type: PixelType | None = None) -> Band:
        """A band in the same place, computed in another way."""
        return replace(self, read=read, type=type or self.type, stored=False, cast=self.cast and type is None)

    def encode(self) -> dict[str, Any]:
        """As `getInfo` prints it; recorded/image_info_*.json."""
        placed = {"dimensions": self.dimensions, "origin": self.origin}
        projection = self.projection
        return {
            "id": self.name,
            "data_type": self.type.encode(),
            **{key: list(value) for key, value in placed.items() if value},
            "crs": projection.crs,
            "crs_transform": list(projection.transform),
        }


class Image(Element):
    """An image: bands, properties, and the area outside which it has no pixels."""

    kind = "Image"

    def __init__(
        self,
        bands: Sequence[Band] | Callable[[], Sequence[Band]],
        properties: Mapping[str, Any] | None = None,
        footprint: BaseGeometry | Callable[[], BaseGeometry | None] | None = None,
        id: str | None = None,
        version: int | None = None,
    ) -> None:
        super().__init__(properties, id, version)
        self._bands = bands
        self._footprint = footprint

    def __eq__(self, other: object) -> bool:
        """Whether both are the same asset with the same bands and properties, nothing computed."""
        if self is other or not isinstance(other, Image):
            return self is other
        if self.id is None or (self.id, self.version) != (other.id, other.version) or self.names != other.names:
            return False
        plain = all(band.stored for band in (*self.bands, *other.bands))
        return plain and dict(self.properties) == dict(other.properties)

    def __hash__(self) -> int:
        return hash(self.id) if self.id is not None else object.__hash__(self)

    @property
    def bands(self) -> tuple[Band, ...]:
        """Bands in their order."""
        if callable(self._bands):
            self._bands = self._bands()
        if not isinstance(self._bands, tuple):
            self._bands = tuple(self._bands)
        return self._bands

    @property
    def names(self) -> list[str]:
        """Band names."""
        return [band.name for band in self.bands]

    @property
    def footprint(self) -> BaseGeometry | None:
        """Longitude and latitude outline; None if the image has no end."""
        if callable(self._footprint):
            self._footprint = self._footprint()
        return self._footprint

    @property
    def geometry(self) -> Geometry | None:
        """The footprint as a geometry."""
        outline = self.footprint
        if outline is None:
            return Geometry(_WORLD, unbounded=True)
        return Geometry(outline)

    def with_bands(self, bands: Sequence[Band]) -> Image:
        """The same image (id, properties, footprint) with other bands."""
        new = copy.copy(self)
        new._bands = tuple(bands)
        return new

    def with_footprint(self, footprint: Any) -> Image:
        """The same image elsewhere."""
        new = copy.copy(self)
        new._footprint = footprint
        return new

    def bare(self, bands: Sequence[Band]) -> Image:
        """A computed image: the place and index of this one, without its id and other properties."""
        kept = {key: value for key, value in self.properties.items() if key in _KEPT}
        return Image(tuple(bands), kept, self._footprint)

    def encode(self) -> dict[str, Any]:
        """As `ee.Image.getInfo` prints it, values not yet encoded."""
        marks = {"version": self.version, "id": self.id}
        return {
            "type": "Image",
            "bands": [band.encode() for band in self.bands],
            **{key: value for key, value in marks.items() if value is not None},
            **({"properties": dict(self.properties)} if self.properties else {}),
        }


# Computed images keep their index and footprint, and lose the rest: "the input image properties are not
# retained in the output image" (ee.Image.normalizedDifference).
_KEPT = ("system:index", "system:footprint")
_WORLD = shapely.box(-180, -90, 180, 90)


def constant_band(name: str, value: Any, type: PixelType) -> Band:
    """The same value everywhere."""

    def read(grid: Grid) -> Pixels:
        values = np.empty(grid.shape, type.dtype)
        values.fill(value)
        return Pixels(values, np.ones(grid.shape, bool))

    return Band(name, type, WGS84, read)


def footprint_property(outline: BaseGeometry) -> dict[str, Any]:
    """`system:footprint` of an outline: the bare ring for a simple polygon, as Earth Engine stores it."""
    if outline.geom_type == "Polygon" and not outline.interiors:
        return {"type": "LinearRing", "coordinates": [list(xy) for xy in outline.exterior.coords]}
    return geojson(outline)


def _size(pixels: Pixels) -> int:
    arrays = _OBJECT_BYTES * pixels.values.size if pixels.values.dtype == object else 0
    return int(pixels.values.nbytes + pixels.valid.nbytes) + arrays
