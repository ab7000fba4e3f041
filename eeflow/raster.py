"""A product's pixels, put together from its blocks window by window: memory does not grow with the raster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from eeflow.blocks import BlockStore
from eeflow.encoding import Encoding
from eeflow.errors import IncompleteProduct
from eeflow.grid import Window
from eeflow.plan import Plan, Product

# The nodata value of 64-bit whole numbers. rasterio passes it as a double: -2**63 was stored as -9, and a valid -9 read
# as masked.
_WIDEST = 2**53
_AT_ONCE = 2**16  # values that are looked at together, eight bytes each


@dataclass(frozen=True)
class Tile:
    """All bands of a product in one window.

    Attributes:
        values: shape (band, height, width), as delivered, in the dtype that holds all bands; 0 where not valid.
        valid: shape (band, height, width), True where the band has a value and the pixel is kept.
        seen: shape (height, width), True where the scene has data, be it masked.
        kept: shape (height, width), False where the product is clipped.
    """

    window: Window
    values: NDArray[Any]
    valid: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class Summary:
    """What a product holds.

    Attributes:
        nodata: a value no valid pixel has, for pixels that are not valid; None where every value is taken.
        shared_mask: whether all bands are valid in the same pixels.
        valid_pixels: pixels valid in every band.
        masked_pixels: pixels the scene has, masked in some band.
        missed_pixels: pixels the scene has no data for.
        clipped_pixels: pixels outside the area, where the product is clipped to it; in none of the other counts.
    """

    nodata: float | int | None
    shared_mask: bool
    valid_pixels: int
    masked_pixels: int
    missed_pixels: int
    clipped_pixels: int


def tiles(plan: Plan, product: Product, store: BlockStore) -> Iterator[Tile]:
    """The product, window by window; errors as in `tile_of`."""
    return (tile_of(plan, product, store, window) for window in plan.windows)


def tile_of(plan: Plan, product: Product, store: BlockStore, window: Window) -> Tile:
    """The product in one of the plan's windows.

    Raises:
        IncompleteProduct: a block is not in the store.
    """
    names = [band.name for band in plan.series.bands]
    values = np.zeros((len(names), window.height, window.width), raster_dtype(plan))
    valid = np.zeros(values.shape, bool)
    seen = np.zeros(values.shape[1:], bool)
    for bands in plan.band_groups:
        block = store.load(plan.series.block_key(product.image.image_id, bands, window))
        if block is None:
            raise IncompleteProduct(
                f"{product.name}: bands {', '.join(bands)} of the {window.width} x {window.height} window at row "
                f"{window.row}, column {window.col} were not fetched. No file was written."
            )
        for name in bands:
            values[names.index(name)] = block.values[name]
            valid[names.index(name)] = block.valid[name]
        seen |= block.seen
    kept = _inside(plan, window)
    return Tile(window, values, valid & kept, seen, kept)


def _inside(plan: Plan, window: Window) -> NDArray[np.bool_]:
    """True where a pixel's centre lies in the outline; everywhere without one."""
    if plan.outline is None:
        return np.ones((window.height, window.width), bool)
    box = window.of(plan.series.grid)
    return np.asarray(geometry_mask([plan.outline], (window.height, window.width), box.transform, invert=True))


def raster_dtype(plan: Plan) -> np.dtype[Any]:
    """The one dtype that holds every band as delivered, without loss."""
    return np.result_type(*(np.dtype(band.dtype) for band in plan.series.bands))


class Count:
    """Counts validity, and finds a nodata value for the numbers that are stored, as tiles come in, in any order."""

    def __init__(self, encoding: Encoding):
        self._free = _FreeValue(encoding.dtype, encoding.nodata)
        self._shared = True
        self._counts = np.zeros(4, np.int64)

    def add(self, tile: Tile, stored: NDArray[Any]) -> None:
        """Counts a tile.

        Args:
            tile: its pixels.
            stored: what is stored of them, of shape (band, height, width) in the encoding's dtype.
        """
        whole = tile.valid.all(axis=0)
        self._shared = self._shared and all(np.array_equal(valid, tile.valid[0]) for valid in tile.valid[1:])
        kinds = (whole, tile.kept & tile.seen & ~whole, tile.kept & ~tile.seen, ~tile.kept)
        self._counts += [np.count_nonzero(kind) for kind in kinds]
        for values, valid in zip(stored, tile.valid, strict=True):
            self._free.add(values if valid.all() else values[valid])

    @property
    def summary(self) -> Summary:
        """Of the tiles so far."""
        return Summary(self._free.find(), self._shared, *(int(count) for count in self._counts))


def nodata_ends(dtype: np.dtype[Any]) -> list[int]:
    """Ends of a whole-number dtype's range as nodata values, the one further from 0 first; never 0 itself."""
    info = np.iinfo(dtype)
    if dtype.itemsize == 8:
        return [_WIDEST]
    return [info.min, info.max] if info.min else [info.max]


class _FreeValue:
    """Finds a value of a dtype that no valid pixel has.

    The preset's own if it has one and that is free, else an end of the range, else any. It is 0 only where a preset
    says so: elsewhere 0 is a measurement (no rain, no reflectance), and readers take it for one.
    """

    def __init__(self, dtype: np.dtype[Any], wish: int | None):
        self.dtype, self.wish = dtype, wish
        small = dtype.kind in "iu" and dtype.itemsize <= 2
        self._used = np.zeros(2 ** (8 * dtype.itemsize), bool) if small else None
        self._low: int | None = None
        self._high: int | None = None

    def add(self, values: NDArray[Any]) -> None:
        if self.dtype.kind == "f" or not values.size:
            return
        low, high = int(values.min()), int(values.max())
        self._low = low if self._low is None else min(self._low, low)
        self._high = high if self._high is None else max(self._high, high)
        if self._used is not None:
            flat = values.ravel()
            for start in range(0, flat.size, _AT_ONCE):
                self._used[flat[start : start + _AT_ONCE].astype(np.int64) - np.iinfo(self.dtype).min] = True

    def find(self) -> float | int | None:
        if self.dtype.kind == "f":
            return np.nan  # the one of numpy, equal to itself as a field of what is compared
        usual = nodata_ends(self.dtype)
        for value in usual if self.wish is None else [self.wish, *usual]:
            if self._is_free(value):
                return value
        if self._used is None:
            return None
        least = int(np.iinfo(self.dtype).min)
        free = [value for value in (np.flatnonzero(~self._used) + least).tolist() if value]
        return (free[0] if least else free[-1]) if free else None

    def _is_free(self, value: int) -> bool:
        if self._used is not None:
            return not self._used[value - int(np.iinfo(self.dtype).min)]
        return self._low is None or self._high is None or not self._low <= value <= self._high
