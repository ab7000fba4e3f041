"""Terrain: slope, aspect and shade of a band of heights in metres.

"The local gradient is computed using the 4-connected neighbors of each pixel, so missing values will occur around the
edges of an image" (ee.Terrain.slope).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.algorithms.neighbourhoods import padded
from eelocal.bands import joined
from eelocal.errors import EarthEngineError
from eelocal.grid import Grid, Pixels
from eelocal.registry import algorithm
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import CASTS, FLOAT, PixelType

Floats = NDArray[np.float64]
Made = Callable[[Floats, Floats], NDArray[Any]]


def _heights(image: Image) -> Band:
    if not image.bands:
        raise EarthEngineError("The image has no bands.")
    return next((band for band in image.bands if band.name == "elevation"), image.bands[0])


def _metres(grid: Grid) -> tuple[float, float]:
    """Width and height of the pixels in metres, in the middle of the grid."""
    a, b, _, d, e, f = grid.transform
    wide, high = math.hypot(a, d), math.hypot(b, e)
    if not grid.projection.is_geographic:
        return wide, high
    degree = math.pi / 180 * 6378137.0
    return wide * degree * math.cos(math.radians(f + e * grid.height / 2)), high * degree


def _gradient(band: Band, grid: Grid) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Rise per metre to the east and to the north, and where all four neighbours are known."""
    values, valid = padded(band, grid, 1, 1)
    heights = values.astype(np.float64)
    width, height = _metres(grid)
    east = (heights[1:-1, 2:] - heights[1:-1, :-2]) / (2 * width)
    north = (heights[:-2, 1:-1] - heights[2:, 1:-1]) / (2 * height)
    if grid.transform[4] > 0:
        north = -north
    known = valid[1:-1, 1:-1] & valid[1:-1, 2:] & valid[1:-1, :-2] & valid[:-2, 1:-1] & valid[2:, 1:-1]
    return east, north, known


def _derived(image: Image, name: str, kind: PixelType, make: Made) -> Band:
    band = _heights(image)

    def read(grid: Grid) -> Pixels:
        east, north, known = _gradient(band, grid)
        return Pixels(make(east, north).astype(kind.dtype), known)

    return band.derived(read, kind).renamed(name)


def _slope(east: Floats, north: Floats) -> Floats:
    return np.asarray(np.degrees(np.arctan(np.hypot(east, north))))


def _aspect(east: Floats, north: Floats) -> Floats:
    """The direction downhill, clockwise from north; 0 where it is flat."""
    return np.asarray(np.degrees(np.arctan2(-east, -north)) % 360)


def _shade(azimuth: float, elevation: float) -> Made:
    zenith, sun = math.radians(90 - elevation), math.radians(azimuth)

    def make(east: Floats, north: Floats) -> Floats:
        slope, aspect = np.arctan(np.hypot(east, north)), np.arctan2(-east, -north)
        light = math.cos(zenith) * np.cos(slope) + math.sin(zenith) * np.sin(slope) * np.cos(sun - aspect)
        return np.asarray(np.clip(np.floor(255 * light), 0, 255))

    return make


@algorithm("Terrain.slope", keeps="input")
def slope(input: Image) -> Image:
    """Degrees from horizontal, 0 to 90."""
    return input.bare([_derived(input, "slope", FLOAT, _slope)])


@algorithm("Terrain.aspect", keeps="input")
def aspect(input: Image) -> Image:
    """Degrees clockwise from north of the direction downhill."""
    return input.bare([_derived(input, "aspect", FLOAT, _aspect)])


@algorithm("Terrain.hillshade", keeps="input")
def hillshade(input: Image, azimuth: float, elevation: float) -> Image:
    """How the sun at an azimuth and elevation lights the ground, 0 to 255."""
    return input.bare([_derived(input, "hillshade", CASTS["byte"], _shade(azimuth, elevation))])


@algorithm("Terrain", "Terrain.products", keeps="input")
def products(input: Image) -> Image:
    """The image with slope, aspect and hillshade added."""
    made = [
        _derived(input, "slope", FLOAT, _slope),
        _derived(input, "aspect", FLOAT, _aspect),
        _derived(input, "hillshade", CASTS["byte"], _shade(270.0, 45.0)),
    ]
    return input.with_bands(joined(input.bands, made, overwrite=True))
