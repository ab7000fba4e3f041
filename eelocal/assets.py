"""What a store of assets must offer: images with bands, and collections that can be searched.

Every source of data (the generated world, a folder of GeoTIFFs) gives its assets in this form; the evaluation
of Earth Engine's algorithms knows nothing else about where pixels come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

NO_GRID = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # pixels of one degree


@dataclass(frozen=True)
class Band:
    """One band as it is stored: its type and its own grid.

    `transform` is Earth Engine's crs_transform order (scaleX, shearX, translateX, shearY, scaleY, translateY),
    anchored at the outer corner of the first pixel. `value_range` is the declared (min, max) of an integer type,
    None for floats. A band of 0 x 0 pixels is masked everywhere, on `NO_GRID` in EPSG:4326.
    """

    name: str
    dtype: np.dtype[Any]
    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int
    value_range: tuple[int, int] | None = None
    pyramiding: str = "MEAN"  # MEAN | SAMPLE | MODE: how coarser levels are made


class StoredImage(Protocol):
    """An image asset. Cheap to hold: pixels are read or made only by `read`."""

    @property
    def id(self) -> str:
        """Full asset id, such as `COPERNICUS/S2_SR_HARMONIZED/20240611T130251_20240611T130251_T23KPS`."""

    @property
    def version(self) -> int:
        """`system:version`, microseconds since 1970, as Earth Engine has it."""

    @property
    def properties(self) -> Mapping[str, Any]:
        """All properties, `system:index`, `system:time_start` and `system:footprint` (GeoJSON) among them."""

    @property
    def footprint(self) -> BaseGeometry | None:
        """Where the image has pixels, in longitude and latitude; None for one without bounds."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """Bands in their order."""

    def read(
        self, band: str, level: int, col: int, row: int, width: int, height: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels of a window at a pyramid level.

        Args:
            band: name of the band.
            level: 0 is the band's own grid; each further level halves the resolution, same outer corner, so that
                level n has ceil(size / 2**n) pixels a side. MEAN bands average, SAMPLE bands take the upper left.
            col: first column at that level. The window may reach outside the image: what is outside is masked.
            row: first row at that level.
            width: columns.
            height: rows.

        Returns:
            values of shape (height, width) in the band's dtype (0 where masked) and valid, True where there is data.
        """


class StoredCollection(Protocol):
    """A collection asset."""

    @property
    def id(self) -> str:
        """Asset id, such as `COPERNICUS/S2_SR_HARMONIZED`."""

    @property
    def properties(self) -> Mapping[str, Any]:
        """Properties of the collection itself."""

    def search(
        self, start_ms: float | None, end_ms: float | None, region: BaseGeometry | None
    ) -> Iterator[StoredImage]:
        """Images in asset id order, lazily.

        Args:
            start_ms: only images whose `system:time_start` is at or after this; None for no bound.
            end_ms: only images before this; None for no bound.
            region: only images whose footprint touches this geometry in longitude and latitude; None for all.
                A source may return more than asked (callers filter again), never less.
        """

    def get(self, index: str) -> StoredImage | None:
        """The image with that `system:index`, or None."""


@dataclass
class Assets:
    """All assets one server offers, by id. A later source wins over an earlier one of the same id."""

    collections: dict[str, StoredCollection] = field(default_factory=dict)
    images: dict[str, StoredImage] = field(default_factory=dict)

    def image(self, asset_id: str) -> StoredImage | None:
        """The image of that id, alone or inside a collection."""
        if asset_id in self.images:
            return self.images[asset_id]
        parent, _, index = asset_id.rpartition("/")
        collection = self.collections.get(parent)
        return collection.get(index) if collection else None
