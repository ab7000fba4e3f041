"""A picture of a product for people: true colour, classes in their colours, a ramp or grey, by its preset."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.io import DatasetReader

from eeflow.encoding import rgb
from eeflow.grid import pixel_metres
from eeflow.output import whole_file
from eeflow.presets import BandPreset, Picture, band_preset, preset_for, presets

MAX_SIDE = 1024
MIN_SIDE = 512
# What collections without a preset call the bands that look like red, green and blue.
_TRUE_COLOUR = (Picture(bands=("red", "green", "blue")), Picture(bands=("R", "G", "B")))
# For classes without a colour of their own: the qualitative set 3 of ColorBrewer, by Cynthia Brewer.
_DISTINCT = (
    "#8dd3c7", "#ffffb3", "#bebada", "#fb8072", "#80b1d3", "#fdb462",
    "#b3de69", "#fccde5", "#d9d9d9", "#bc80bd", "#ccebc5", "#ffed6f",
)  # fmt: skip
_NO_CLASS = (0, 0, 0)
# Light from the north-west, 45 degrees high, as maps have it.
_LIGHT = np.array([-0.5, 0.5, np.sqrt(0.5)])
_RELIEF = 1.5

Values = NDArray[np.float64]


def write_quicklook(geotiff: Path) -> Path:
    """Writes `<name>.png` beside a GeoTIFF; pixels that are not valid are transparent.

    Stretched by the preset's range, so that pictures of a series can be compared, else from 2 to 98 %.
    """
    with rasterio.open(geotiff) as raster:
        picture = _picture(raster)
    path = geotiff.with_suffix(".png")
    with whole_file(path) as part:
        Image.fromarray(picture).save(part, format="PNG", optimize=True)
    return path


def thumbnail(picture: Path, width: int) -> bytes:
    """A quicklook as a smaller PNG of few colours, at most so many pixels wide and high."""
    with Image.open(picture) as image:
        image.thumbnail((width, width))
        file = io.BytesIO()
        image.quantize(128).save(file, format="PNG", optimize=True)
    return file.getvalue()


def _picture(raster: DatasetReader) -> NDArray[np.uint8]:
    """RGBA of shape (height, width, 4)."""
    source, names = raster.tags().get("COLLECTION", ""), list(raster.descriptions)
    preset = preset_for(source)
    for picture in (*(preset.pictures if preset else ()), *_TRUE_COLOUR):
        if set(picture.bands) <= set(names):
            values = _read(raster, [names.index(name) + 1 for name in picture.bands])
            bright = _stretched(values, picture.range) ** (1 / picture.gamma)
            return _enlarged(_painted(bright * 255, values), raster.shape)
    index, band = _chosen(source, names, raster.dtypes)
    if band.kind in {"classes", "flags"}:
        values = _read(raster, [index], Resampling.mode)
        return _enlarged(_painted(_class_colours(values[0], band), values), raster.shape)
    values = _read(raster, [index])
    colours = _ramp(_stretched(values, band.range)[0], presets().palettes.get(band.palette or "grey", ()))
    if band.shaded:
        colours *= _light(values[0], raster)
    return _enlarged(_painted(colours, values), raster.shape)


def _chosen(source: str, names: Sequence[str], dtypes: Sequence[str]) -> tuple[int, BandPreset]:
    """Index, from 1, of the band that says most in one picture: the first with a ramp or classes, else the first."""
    bands = [band_preset(source, name, dtype) for name, dtype in zip(names, dtypes, strict=True)]
    best = next((number for number, band in enumerate(bands) if band.palette or band.classes), 0)
    return best + 1, bands[best]


def _read(raster: DatasetReader, indexes: list[int], shrink: Resampling = Resampling.average) -> Values:
    """Physical values of shape (band, height, width), shrunk to `MAX_SIDE`; NaN where not valid."""
    factor = min(1.0, MAX_SIDE / max(raster.shape))
    shape = tuple(max(1, round(size * factor)) for size in raster.shape)
    endless = raster.dtypes[0] == "int64"  # GDAL 3.10 never ends with some nodata values
    how = shrink if factor < 1 and not endless else Resampling.nearest
    found = raster.read(indexes, out_shape=(len(indexes), *shape), resampling=how, masked=True)
    values = np.where(np.ma.getmaskarray(found), np.nan, found.data.astype(np.float64))
    scales, offsets = (np.array([kind[index - 1] for index in indexes]) for kind in (raster.scales, raster.offsets))
    physical: Values = values * scales[:, None, None] + offsets[:, None, None]
    return physical


def _stretched(values: Values, limits: tuple[float, float] | None) -> Values:
    """All bands together from 0 to 1; a range that goes down turns them round."""
    valid = values[np.isfinite(values)]
    low, high = limits or (np.percentile(valid, (2, 98)) if valid.size else (0.0, 1.0))
    spread = high - low or 1.0
    stretched: Values = np.clip((np.nan_to_num(values, nan=low) - low) / spread, 0, 1)
    return stretched


def _ramp(values: Values, colours: Sequence[str]) -> Values:
    """Colours, of shape (3, height, width), of values from 0 to 1."""
    stops = np.array([rgb(colour) for colour in colours or ("#000000", "#ffffff")], float)
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, places, stops[:, channel]) for channel in range(3)])


def _class_colours(values: Values, band: BandPreset) -> Values:
    colours = np.zeros((3, *values.shape))
    listed = band.classes or dict.fromkeys(int(value) for value in np.unique(values[np.isfinite(values)]))
    for number, (value, each) in enumerate(listed.items()):
        colour = (each and each.colour) or _DISTINCT[number % len(_DISTINCT)]
        colours[:, values == value] = np.array(rgb(colour))[:, None]
    return colours


def _light(elevation: Values, raster: DatasetReader) -> Values:
    """How bright slopes are, of shape (height, width): 1 for level ground."""
    height, width = elevation.shape
    metres = pixel_metres(raster.crs.to_wkt(), raster.transform)
    middle = raster.lnglat()[1] if raster.crs.is_geographic else 0.0
    down = metres * raster.height / height
    across = metres * raster.width / width * np.cos(np.radians(middle))
    level = np.where(np.isfinite(elevation), elevation, np.nanmean(elevation) if np.isfinite(elevation).any() else 0)
    if min(level.shape) < 2:
        return np.ones(level.shape)
    by_row, by_col = np.gradient(level * _RELIEF, down, across)
    normal = np.stack([-by_col, by_row, np.ones(level.shape)])
    lit = np.tensordot(_LIGHT, normal / np.linalg.norm(normal, axis=0), axes=1) / _LIGHT[2]
    return np.asarray(np.clip(lit, 0.3, 1.3))


def _painted(colours: Values, values: Values) -> NDArray[np.uint8]:
    """Colours of 0 to 255, opaque where every band has a value; shape (height, width, 4)."""
    valid = np.asarray(np.isfinite(values).all(axis=0))
    rgba = np.concatenate([np.clip(colours, 0, 255), 255.0 * valid[None]])
    rgba[:3, ~valid] = 0
    return rgba.round().astype(np.uint8).transpose(1, 2, 0)


def _enlarged(picture: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Each pixel as a square of whole size, so that a small field is seen."""
    factor = max(1, MIN_SIDE // max(shape))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
