"""Stored assets as images and collections of the evaluation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from eelocal.assets import Band as StoredBand
from eelocal.assets import StoredImage
from eelocal.errors import EarthEngineError
from eelocal.evaluation import current
from eelocal.grid import Grid, Pixels
from eelocal.sampling import read_level
from eelocal.values.collection import Collection, of_stored
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import of_dtype
from eelocal.values.projection import Projection

_PREFIXES = ("projects/earthengine-public/assets/", "projects/earthengine-legacy/assets/")


def load_image(asset_id: str) -> Image:
    """The image asset of that id."""
    stored = current().assets.image(plain_id(asset_id))
    if stored is None:
        raise EarthEngineError(f"Image asset '{asset_id}' not found (does not exist or caller does not have access).")
    return as_image(stored)


def load_collection(asset_id: str) -> Collection:
    """The collection asset of that id."""
    assets = current().assets
    known = plain_id(asset_id)
    stored = assets.collections.get(known)
    if stored is not None:
        return of_stored(stored, as_image)
    if assets.image(known) is not None:
        raise EarthEngineError(f"Asset '{asset_id}' is not an ImageCollection.")
    raise EarthEngineError(
        f"ImageCollection asset '{asset_id}' not found (does not exist or caller does not have access)."
    )


def plain_id(name: str) -> str:
    """An asset's id without the project of public assets."""
    stripped = name.strip("/")
    for prefix in _PREFIXES:
        stripped = stripped.removeprefix(prefix)
    return stripped


def as_image(stored: StoredImage) -> Image:
    """An image of the evaluation; bands are made when they are asked for."""

    def bands() -> list[Band]:
        return [_band(stored, band) for band in stored.bands]

    return Image(bands, stored.properties, lambda: stored.footprint, stored.id, stored.version)


def _band(stored: StoredImage, band: StoredBand) -> Band:
    projection = _projection(band.crs, band.transform)

    def read_window(level: int, col: int, row: int, width: int, height: int) -> Pixels:
        values, valid = stored.read(band.name, level, col, row, width, height)
        return Pixels(np.asarray(values), np.asarray(valid, bool))

    def read(grid: Grid) -> Pixels:
        return read_level(read_window, projection, band.width, band.height, grid)

    kind = of_dtype(band.dtype, band.value_range)
    size = (band.width, band.height) if band.width else None
    return Band(band.name, kind, projection, read, size, stored=True)


@lru_cache(maxsize=4096)
def _projection(crs: str, transform: tuple[float, float, float, float, float, float]) -> Projection:
    return Projection(crs, tuple(map(float, transform)))  # type: ignore[arg-type]
