"""A picture of a product for people: true colour where the bands allow it, else grey."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling

from eeflow.output import whole_file

MAX_SIDE = 1024
MIN_SIDE = 512
# Bands that look like red, green, blue, by the names collections give them, the first that is there.
_TRUE_COLOUR = (("B4", "B3", "B2"), ("SR_B4", "SR_B3", "SR_B2"), ("red", "green", "blue"), ("TCI_R", "TCI_G", "TCI_B"))


def write_quicklook(geotiff: Path) -> Path:
    """Writes `<name>.png` beside a GeoTIFF: 2 to 98 % stretch over all colours together, not valid is transparent."""
    with rasterio.open(geotiff) as raster:
        shape = _shape(raster.height, raster.width)
        indexes = _colours(list(raster.descriptions))
        how = Resampling.average if shape[0] < raster.height else Resampling.nearest
        bands = raster.read(indexes, out_shape=(len(indexes), *shape), resampling=how, masked=True)
    picture = _picture(bands)
    path = geotiff.with_suffix(".png")
    with whole_file(path) as part:
        Image.fromarray(picture).save(part, format="PNG", optimize=True)
    return path


def _shape(height: int, width: int) -> tuple[int, int]:
    """Shrunk to `MAX_SIDE`, or enlarged by a whole factor so that a small field is seen."""
    longest = max(height, width)
    if longest > MAX_SIDE:
        return max(1, round(height * MAX_SIDE / longest)), max(1, round(width * MAX_SIDE / longest))
    factor = max(1, MIN_SIDE // longest)
    return height * factor, width * factor


def _colours(names: list[str]) -> list[int]:
    for colours in _TRUE_COLOUR:
        if all(colour in names for colour in colours):
            return [names.index(colour) + 1 for colour in colours]
    return [1]


def _picture(bands: np.ma.MaskedArray[Any, Any]) -> NDArray[np.uint8]:
    """Bands of shape (1 or 3, height, width) as RGBA of shape (height, width, 4)."""
    values = np.where(np.ma.getmaskarray(bands), np.nan, bands.data.astype(np.float64))
    valid = np.asarray(np.isfinite(values).all(axis=0))
    low, high = np.percentile(values[:, valid], (2, 98)) if valid.any() else (0.0, 1.0)
    scaled = np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-12), 0, 1)
    rgb = np.broadcast_to(scaled, (3, *valid.shape))
    return (np.concatenate([rgb, valid[None]]) * 255).round().astype(np.uint8).transpose(1, 2, 0)
