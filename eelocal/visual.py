"""Visualisation: bands stretched into bytes, with a palette or as red, green and blue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import ImageColor

from eelocal.bands import select_bands
from eelocal.errors import EarthEngineError
from eelocal.grid import Grid, Pixels
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import PixelType

_BYTE = PixelType("int", 0, 255)
_NAMES = ("vis-red", "vis-green", "vis-blue")


def visualized(image: Image, bands: Sequence[str], options: Mapping[str, Any]) -> Image:
    """An image for REST VisualizationOptions {ranges, paletteColors, gamma}."""
    ranges = options.get("ranges") or []
    low = [float(r.get("min", 0)) for r in ranges] or None
    high = [float(r.get("max", 0)) for r in ranges] or None
    gamma = (options.get("gamma") or {}).get("value", 1.0)
    chosen = select_bands(image, bands) if bands else list(image.bands)
    return stretch(image, chosen, low, high, float(gamma), options.get("paletteColors"))


def stretch(
    image: Image,
    bands: Sequence[Band],
    low: Sequence[float] | None,
    high: Sequence[float] | None,
    gamma: float,
    palette: Sequence[str] | None,
) -> Image:
    """Three bytes bands: values from low to high as 0 to 255, or along a palette.

    Args:
        image: gives place and index.
        bands: one, or three for red, green and blue.
        low: one for all or one per band; default the least of an integer type, else 0.
        high: likewise; default the greatest of an integer type, else 1.
        gamma: exponent 1 / gamma.
        palette: CSS colours, only with one band.
    """
    if len(bands) not in (1, 3):
        bands = bands[:1] if len(bands) == 2 else bands[:3]
    if not bands:
        raise EarthEngineError("Image.visualize: the image has no bands.")
    if palette and len(bands) != 1:
        raise EarthEngineError("Cannot specify a palette when rendering multiple bands.")
    scaled = [_scaled(b, _at(low, i, _low(b)), _at(high, i, _high(b)), gamma) for i, b in enumerate(bands)]
    if palette:
        ramp = _ramp(palette)
        return image.bare([_coloured(scaled[0], ramp[:, i], name) for i, name in enumerate(_NAMES)])
    spread = scaled * 3 if len(scaled) == 1 else scaled
    return image.bare([_coloured(b, None, name) for b, name in zip(spread, _NAMES, strict=True)])


def _scaled(band: Band, low: float, high: float, gamma: float) -> Band:
    def read(grid: Grid) -> Pixels:
        pixels = band.pixels(grid)
        span = (high - low) or 1.0
        unit = np.clip((pixels.values.astype(np.float64) - low) / span, 0, 1)
        return Pixels(unit ** (1 / gamma) if gamma != 1 else unit, pixels.valid)

    return band.derived(read, PixelType("double", 0, 1))


def _coloured(band: Band, ramp: Any, name: str) -> Band:
    def read(grid: Grid) -> Pixels:
        unit, valid = band.pixels(grid)
        if ramp is None:
            return Pixels(np.floor(unit * 255.999).astype(np.uint8), valid)
        steps = np.linspace(0, 1, len(ramp))
        return Pixels(np.round(np.interp(unit, steps, ramp)).astype(np.uint8), valid)

    return band.derived(read, _BYTE).renamed(name)


def _ramp(palette: Sequence[str]) -> Any:
    colours = [_colour(str(name)) for name in palette]
    return np.array(colours * 2 if len(colours) == 1 else colours, float)


def _colour(name: str) -> tuple[int, ...]:
    hexadecimal = len(name) in (3, 6) and all(c in "0123456789abcdefABCDEF" for c in name)
    try:
        return ImageColor.getrgb(f"#{name}" if hexadecimal else name)[:3]
    except ValueError as exc:
        raise EarthEngineError(f"Invalid colour '{name[:50]}'.") from exc


def _at(values: Sequence[float] | None, position: int, default: float) -> float:
    if not values:
        return default
    return values[position] if position < len(values) else values[-1]


def _low(band: Band) -> float:
    return float(band.type.bounds[0]) if band.type.is_integer else 0.0


def _high(band: Band) -> float:
    return float(band.type.bounds[1]) if band.type.is_integer else 1.0
