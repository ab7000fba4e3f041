"""Image: functions of single pixels, and images of other things than pixels."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eelocal import registry, special
from eelocal.algorithms.image_math import finite, map_bands, unary_band
from eelocal.bands import select_bands
from eelocal.errors import EarthEngineError
from eelocal.grid import Grid, Pixels
from eelocal.promote import constant_image
from eelocal.registry import algorithm
from eelocal.values.date import Date
from eelocal.values.image import Band, Image, constant_band
from eelocal.values.pixeltype import BOOLEAN, DOUBLE, FLOAT, PixelType, integer
from eelocal.values.reducer import Reducer
from eelocal.visual import stretch

TypeOf = Callable[[PixelType], PixelType]


def _real(kind: PixelType) -> PixelType:
    return DOUBLE if kind.precision == "double" or (kind.is_integer and kind.dtype.itemsize > 2) else FLOAT


def _boolean(kind: PixelType) -> PixelType:
    return BOOLEAN


def _whole(kind: PixelType) -> PixelType:
    return kind if kind.is_integer else integer(-(2**63), 2**63 - 1)


def _magnitude(kind: PixelType) -> PixelType:
    if not kind.is_integer:
        return kind.unbounded()
    low, high = kind.bounds
    return integer(0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high)))


def _sign(kind: PixelType) -> PixelType:
    return integer(-1, 1) if kind.is_integer else kind.unbounded()


def _inverted(kind: PixelType) -> PixelType:
    low, high = kind.bounds
    return integer(~high, ~low)


def _floating(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: function(values.astype(np.float64))


UNARY: dict[str, tuple[Callable[[Any], Any], TypeOf]] = {
    "abs": (lambda v: np.abs(v.astype(np.int64) if v.dtype.kind in "iu" else v), _magnitude),
    "sqrt": (_floating(np.sqrt), _real),
    "exp": (_floating(np.exp), _real),
    "log": (_floating(np.log), _real),
    "log10": (_floating(np.log10), _real),
    "sin": (_floating(np.sin), _real),
    "cos": (_floating(np.cos), _real),
    "tan": (_floating(np.tan), _real),
    "asin": (_floating(np.arcsin), _real),
    "acos": (_floating(np.arccos), _real),
    "atan": (_floating(np.arctan), _real),
    "sinh": (_floating(np.sinh), _real),
    "cosh": (_floating(np.cosh), _real),
    "tanh": (_floating(np.tanh), _real),
    "cbrt": (_floating(np.cbrt), _real),
    "floor": (np.floor, _whole),
    "ceil": (np.ceil, _whole),
    # Half up, as Java's Math.round.
    "round": (lambda v: v if v.dtype.kind in "iu" else np.floor(v + 0.5), _whole),
    "not": (lambda v: v == 0, _boolean),
    "signum": (lambda v: np.sign(v.astype(np.int64) if v.dtype.kind in "iu" else v), _sign),
    "bitwiseNot": (lambda v: ~v.astype(np.int64), _inverted),
    "bitwise_not": (lambda v: ~v.astype(np.int64), _inverted),
    "bitCount": (lambda v: np.bitwise_count(v.astype(np.int64).view(np.uint64)), lambda kind: integer(0, 64)),
    "erf": (_floating(special.erf), _real),
    "erfc": (_floating(special.erfc), _real),
    "erfInv": (_floating(special.erf_inverse), _real),
    "erfcInv": (_floating(special.erfc_inverse), _real),
    "gamma": (_floating(special.gamma), _real),
    "digamma": (_floating(special.digamma), _real),
    "trigamma": (_floating(special.trigamma), _real),
    "lanczos": (_floating(special.lanczos), _real),
}


def _unary(change: Callable[[Any], Any], kind: TypeOf) -> Callable[[Image], Image]:
    def function(value: Image) -> Image:
        return map_bands(value, change, kind)

    return function


for _name, (_change, _kind) in UNARY.items():
    registry.add(f"Image.{_name}", _unary(_change, _kind), keeps=("value",))


@algorithm("Image.normalizedDifference", keeps="input")
def normalized_difference(input: Image, bandNames: list[Any] | None) -> Image:
    """(first - second) / (first + second) as `nd`; masked where an input is negative."""
    bands = select_bands(input, bandNames) if bandNames is not None else list(input.bands[:2])
    if len(bands) != 2:
        raise EarthEngineError(f"Exactly two bands are needed. Got {len(bands)}.")
    first, second = bands

    def read(grid: Grid) -> Pixels:
        a, b = first.pixels(grid), second.pixels(grid)
        x, y = a.values.astype(np.float64), b.values.astype(np.float64)
        total = x + y
        values = np.divide(x - y, total, out=np.zeros(grid.shape), where=total != 0)
        valid = a.valid & b.valid & (x >= 0) & (y >= 0)
        return Pixels(values.astype(np.float32), valid)

    return input.bare([first.derived(read, PixelType("float", -1, 1)).renamed("nd")])


@algorithm("Image.clamp", keeps="input")
def clamp(input: Image, low: float, high: float) -> Image:
    """Values within limits."""
    if low > high:
        raise EarthEngineError(f"low ({low}) must not be greater than high ({high}).")

    def kind(band: Band) -> PixelType:
        if not band.type.is_integer or not (low.is_integer() and high.is_integer()):
            return _real(band.type) if band.type.is_integer else band.type
        least, greatest = band.type.bounds
        return integer(int(min(max(least, low), high)), int(max(min(greatest, high), low)))

    return input.with_bands(
        [unary_band(b, lambda v: np.clip(v.astype(np.float64), low, high), kind(b)) for b in input.bands]
    )


@algorithm("Image.unitScale", keeps="input")
def unit_scale(input: Image, low: float, high: float) -> Image:
    """Values with low as 0 and high as 1."""
    span = (high - low) or 1.0
    return input.with_bands(
        [unary_band(b, lambda v: (v.astype(np.float64) - low) / span, _real(b.type)) for b in input.bands]
    )


@algorithm("Image.polynomial", keeps="image")
def polynomial(image: Image, coefficients: list[Any]) -> Image:
    """A polynomial of each pixel, the constant coefficient first."""
    return map_bands(
        image, lambda v: np.polynomial.polynomial.polyval(v.astype(np.float64), coefficients), lambda k: DOUBLE
    )


@algorithm("Image.remap", keeps="image")
def remap(image: Image, from_: list[Any], to: list[Any], defaultValue: Any, bandName: str | None) -> Image:
    """Values of one band replaced by a table; values not in it are masked or get a default."""
    if len(from_) != len(to):
        raise EarthEngineError(
            f"'from' and 'to' must have as many values as each other. Got {len(from_)} and {len(to)}."
        )
    if not all(isinstance(n, (int, float)) for n in [*from_, *to]):
        raise EarthEngineError("'from' and 'to' must be lists of numbers.")
    if not image.bands:
        raise EarthEngineError("The image has no bands.")
    band = select_bands(image, [bandName])[0] if bandName is not None else image.bands[0]
    order = np.argsort(np.array(from_, np.float64), kind="stable")
    keys, results = np.array(from_, np.float64)[order], np.array(to, np.float64)[order]
    default = None if defaultValue is None else constant_image(defaultValue).bands[0]
    kind = _table_type([*to, *([defaultValue] if isinstance(defaultValue, (int, float)) else [])])

    def read(grid: Grid) -> Pixels:
        pixels = band.pixels(grid)
        values = pixels.values.astype(np.float64)
        at = np.minimum(np.searchsorted(keys, values), max(len(keys) - 1, 0))
        known = (keys[at] == values) if len(keys) else np.zeros(grid.shape, bool)
        found = np.where(known, results[at] if len(keys) else 0, 0)
        if default is None:
            return Pixels(found.astype(kind.dtype), pixels.valid & known)
        other = default.pixels(grid)
        return Pixels(np.where(known, found, other.values).astype(kind.dtype), pixels.valid)

    return image.bare([band.derived(read, kind).renamed("remapped")])


@algorithm("Image.metadata")
def metadata(image: Image, property: str, name: str | None) -> Image:
    """A property as an image of one value."""
    value = image.get(property)
    number = value.ms if isinstance(value, Date) else value
    if not isinstance(number, (int, float)):
        raise EarthEngineError(f"Property '{property}' is not a number, or is missing.")
    band = constant_band(name or property, float(number), DOUBLE)
    return Image([band], {}, image.footprint)


@algorithm("Image.date")
def date(image: Image) -> Date:
    """`system:time_start` as a date."""
    value = image.get("system:time_start")
    if not isinstance(value, (int, float)):
        raise EarthEngineError("The image has no 'system:time_start'.")
    return Date(value)


@algorithm("Image.reduce", keeps="image")
def reduce(image: Image, reducer: Reducer) -> Image:
    """A reducer over the bands of each pixel."""
    if reducer.reduce is None:
        raise EarthEngineError(f"The reducer of {', '.join(reducer.outputs)} cannot be applied to pixels.")
    if not image.bands:
        raise EarthEngineError("The image has no bands.")
    if reducer.inputs > 1 and reducer.inputs != len(image.bands):
        raise EarthEngineError(f"The reducer needs {reducer.inputs} bands. Got {len(image.bands)}.")
    together = image.bands[0].type
    for band in image.bands[1:]:
        together = together.union(band.type)
    kinds = reducer.output_types([together] if reducer.inputs == 1 else [b.type for b in image.bands])
    bands = [
        image.bands[0].derived(_reduced(image.bands, reducer, i, kind), kind).renamed(output)
        for i, (output, kind) in enumerate(zip(reducer.outputs, kinds, strict=True))
    ]
    return image.bare(bands)


def _reduced(bands: Sequence[Band], reducer: Reducer, output: int, kind: PixelType) -> Callable[[Grid], Pixels]:
    dtype = np.result_type(*(band.type.dtype for band in bands))

    def read(grid: Grid) -> Pixels:
        found = [band.pixels(grid) for band in bands]
        values = np.stack([pixels.values.astype(dtype, copy=False) for pixels in found])
        valid = np.stack([pixels.valid for pixels in found])
        stacks = (
            [Pixels(values, valid)]
            if reducer.inputs == 1
            else [Pixels(values[i : i + 1], valid[i : i + 1]) for i in range(len(bands))]
        )
        assert reducer.reduce is not None
        result = reducer.reduce(stacks, None)[output]
        return finite(result.values.astype(kind.dtype), result.valid)

    return read


def _table_type(numbers: Sequence[float]) -> PixelType:
    if numbers and all(isinstance(n, int) or float(n).is_integer() for n in numbers):
        return integer(int(min(numbers)), int(max(numbers)))
    return DOUBLE


@algorithm("Image.visualize", keeps="image")
def visualize(
    image: Image,
    bands: Any,
    gain: Any,
    bias: Any,
    min: Any,
    max: Any,
    gamma: Any,
    opacity: float | None,
    palette: Any,
    forceRgbOutput: bool,
) -> Image:
    """Three bands of bytes to look at."""
    chosen = select_bands(image, _listed(bands)) if bands is not None else list(image.bands)
    low, high = _numbers(min), _numbers(max)
    if gain is not None or bias is not None:
        gains, biases = _numbers(gain) or [1.0], _numbers(bias) or [0.0]
        low = [-b / g for g, b in zip(gains, biases, strict=False)]
        high = [(255 - b) / g for g, b in zip(gains, biases, strict=False)]
    exponents = _numbers(gamma) or [1.0]
    return stretch(image, chosen, low, high, exponents[0], _listed(palette) if palette is not None else None)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return value.split(",") if isinstance(value, str) else [value]


def _numbers(value: Any) -> list[float] | None:
    if value is None:
        return None
    try:
        return [float(item) for item in _listed(value)]
    except (TypeError, ValueError) as exc:
        raise EarthEngineError(f"Expected numbers. Got {str(value)[:100]}.") from exc
