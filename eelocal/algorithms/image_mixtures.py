"""Image: colours, tables and mixtures, pixel by pixel."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.errors import EarthEngineError
from eelocal.grid import Grid, Pixels
from eelocal.registry import algorithm
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import DOUBLE, FLOAT, PixelType

Floats = NDArray[np.float64]


def together(image: Image, names: list[str], kind: PixelType, change: Callable[[Floats], Floats]) -> Image:
    """Bands that are a function of all bands; shape (bands, rows, columns) in and out."""
    bands = image.bands

    def values(grid: Grid) -> tuple[Floats, NDArray[np.bool_]]:
        found = [band.pixels(grid) for band in bands]
        return np.stack([p.values.astype(np.float64) for p in found]), np.logical_and.reduce([p.valid for p in found])

    def made(position: int) -> Band:
        def read(grid: Grid) -> Pixels:
            stack, valid = values(grid)
            with np.errstate(all="ignore"):
                return Pixels(np.where(valid, change(stack)[position], 0).astype(kind.dtype), valid)

        return bands[0].derived(read, kind).renamed(names[position])

    return image.bare([made(i) for i in range(len(names))])


@algorithm("Image.rgbToHsv", keeps="image")
def rgb_to_hsv(image: Image) -> Image:
    """Hue, saturation and value, each from 0 to 1."""
    _three(image)

    def change(rgb: Floats) -> Floats:
        value, least = rgb.max(axis=0), rgb.min(axis=0)
        span = value - least
        r, g, b = rgb
        sectors = [((g - b) / span) % 6, (b - r) / span + 2, (r - g) / span + 4]
        hue = np.where(span > 0, np.select([value == r, value == g, value == b], sectors) / 6, 0)
        return np.stack([hue, np.where(value > 0, span / value, 0), value])

    return together(image, ["hue", "saturation", "value"], FLOAT, change)


@algorithm("Image.hsvToRgb", keeps="image")
def hsv_to_rgb(image: Image) -> Image:
    """Red, green and blue, each from 0 to 1."""
    _three(image)

    def change(hsv: Floats) -> Floats:
        hue, saturation, value = hsv
        shifts = np.array([5.0, 3.0, 1.0])[:, None, None]
        k = (shifts + hue * 6) % 6
        found: Floats = value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)
        return found

    return together(image, ["red", "green", "blue"], FLOAT, change)


def _three(image: Image) -> None:
    if len(image.bands) != 3:
        raise EarthEngineError(f"The image must have 3 bands. Got {len(image.bands)}.")


@algorithm("Image.unmix", keeps="image")
def unmix(image: Image, endmembers: list[Any], sumToOne: bool, nonNegative: bool) -> Image:
    """How much of each endmember is in a pixel, by the pseudo-inverse; optionally adding to one, and not negative."""
    try:
        spectra = np.array(endmembers, np.float64)
    except (ValueError, TypeError) as exc:
        raise EarthEngineError("Endmembers must be lists of numbers of the same length.") from exc
    if spectra.ndim != 2 or not spectra.size or spectra.shape[1] != len(image.bands):
        raise EarthEngineError(f"Each endmember must have {len(image.bands)} values, one for each band.")
    names = [f"band_{i}" for i in range(len(spectra))]
    return together(image, names, DOUBLE, lambda pixels: _fractions(spectra.T, pixels, sumToOne, nonNegative))


def _fractions(spectra: Floats, pixels: Floats, whole: bool, positive: bool) -> Floats:
    shape = pixels.shape[1:]
    flat = pixels.reshape(len(pixels), -1)
    used = np.ones((spectra.shape[1], flat.shape[1]), bool)
    found = np.zeros(used.shape)
    for _ in range(spectra.shape[1] if positive else 1):
        patterns, which = np.unique(used, axis=1, return_inverse=True)
        for i, pattern in enumerate(patterns.T):
            at = which.reshape(-1) == i
            part = _constrained(spectra[:, pattern], flat[:, at], whole)
            block = np.zeros((len(used), int(at.sum())))
            block[pattern] = part
            found[:, at] = block
        if not positive or not (found < 0).any():
            break
        used &= found > 0
    return np.maximum(found, 0).reshape(-1, *shape) if positive else found.reshape(-1, *shape)


def _constrained(spectra: Floats, pixels: Floats, whole: bool) -> Floats:
    """Least squares, by Lagrange's multiplier where the sum must be one."""
    if not spectra.shape[1]:
        return np.zeros((0, pixels.shape[1]))
    if not whole:
        return np.linalg.pinv(spectra) @ pixels
    count = spectra.shape[1]
    left = np.ones((count + 1, count + 1))
    left[:count, :count] = 2 * spectra.T @ spectra
    left[count, count] = 0
    right = np.concatenate([2 * spectra.T @ pixels, np.ones((1, pixels.shape[1]))])
    solved: Floats = (np.linalg.pinv(left) @ right)[:count]
    return solved


@algorithm("Image.interpolate", keeps="image")
def interpolate(image: Image, x: list[Any], y: list[Any], behavior: str) -> Image:
    """The first band through a line of pieces; what is beyond its ends by a behaviour."""
    beyond = _BEYOND.get(behavior)
    if beyond is None:
        raise EarthEngineError(f"Unknown behavior '{behavior}'; known are {', '.join(_BEYOND)}.")
    if len(x) != len(y) or len(x) < 2 or not all(isinstance(n, (int, float)) for n in [*x, *y]):
        raise EarthEngineError("x and y must be lists of at least two numbers, as many as each other.")
    xs, ys = np.array(x, np.float64), np.array(y, np.float64)
    if not (np.diff(xs) > 0).all():
        raise EarthEngineError("The x values must be strictly increasing.")
    if not image.bands:
        raise EarthEngineError("The image has no bands.")
    band = image.bands[0]

    def read(grid: Grid) -> Pixels:
        values, valid = band.pixels(grid)
        points = values.astype(np.float64)
        outside = (points < xs[0]) | (points > xs[-1])
        other, known = beyond(points, xs, ys)
        return Pixels(np.where(outside, other, np.interp(points, xs, ys)), valid & (~outside | known))

    return image.bare([band.derived(read, DOUBLE)])


def _extrapolated(points: Floats, xs: Floats, ys: Floats) -> tuple[Floats, bool]:
    first, last = (ys[1] - ys[0]) / (xs[1] - xs[0]), (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
    return np.where(points < xs[0], ys[0] + (points - xs[0]) * first, ys[-1] + (points - xs[-1]) * last), True


_BEYOND: dict[str, Callable[[Floats, Floats, Floats], tuple[Floats, bool]]] = {
    "extrapolate": _extrapolated,
    "clamp": lambda points, xs, ys: (np.interp(points, xs, ys), True),
    "input": lambda points, xs, ys: (points, True),
    "mask": lambda points, xs, ys: (points, False),
}
