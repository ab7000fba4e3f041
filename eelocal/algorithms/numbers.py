"""Number: arithmetic on plain numbers, by the same rules as on pixels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from eelocal import registry, special
from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.pixeltype import CASTS, PixelType

Number = int | float
_INT64 = 2**63


def whole(value: Number) -> int:
    """A number as an integer, its fraction dropped."""
    if not math.isfinite(value):
        raise EarthEngineError(f"{value} is not a number that can be an integer.")
    return int(value)


def divide(left: Number, right: Number) -> Number:
    """Division; by zero gives infinity with the sign of the dividend, 0 / 0 is 0."""
    if right != 0:
        return left / right
    return 0 if left == 0 else math.copysign(math.inf, left)


def modulo(left: Number, right: Number) -> Number:
    """Remainder with the sign of the dividend."""
    if right == 0:
        return 0
    result = math.fmod(left, right)
    return int(result) if isinstance(left, int) and isinstance(right, int) else result


def power(left: Number, right: Number) -> Number:
    """Left to the power of right, as floating point."""
    try:
        result = float(left) ** float(right)
    except OverflowError:
        return math.inf
    except ZeroDivisionError:
        return math.inf
    return result if isinstance(result, float) else math.nan


def bounded(value: Number) -> Number:
    """Integers that leave 64 bits become floating point."""
    return float(value) if isinstance(value, int) and not -_INT64 <= value < _INT64 else value


def shift(left: Number, right: Number) -> int:
    """Left * 2**right within 64 bits."""
    moved = (whole(left) << (whole(right) & 63)) & (2 * _INT64 - 1)
    return moved - 2 * _INT64 if moved >= _INT64 else moved


def _special(function: Callable[..., Any]) -> Callable[..., float]:
    """A function of arrays, of numbers."""

    def run(*numbers: Number) -> float:
        with np.errstate(all="ignore"):
            return float(function(*(np.array(float(number)) for number in numbers)))

    return run


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": divide,
    "max": max,
    "min": min,
    "first": lambda a, b: a,
    "firstNonZero": lambda a, b: a if a != 0 else b,
    "mod": modulo,
    "pow": power,
    "atan2": lambda a, b: math.atan2(b, a),
    "hypot": math.hypot,
    "and": lambda a, b: int(a != 0 and b != 0),
    "or": lambda a, b: int(a != 0 or b != 0),
    "lt": lambda a, b: int(a < b),
    "lte": lambda a, b: int(a <= b),
    "gt": lambda a, b: int(a > b),
    "gte": lambda a, b: int(a >= b),
    "eq": lambda a, b: int(a == b),
    "neq": lambda a, b: int(a != b),
    "bitwiseAnd": lambda a, b: whole(a) & whole(b),
    "bitwiseOr": lambda a, b: whole(a) | whole(b),
    "bitwiseXor": lambda a, b: whole(a) ^ whole(b),
    "leftShift": shift,
    "rightShift": lambda a, b: whole(a) >> (whole(b) & 63),
    "gammainc": _special(special.gamma_lower),
}
ALIASES = {
    "bitwise_and": "bitwiseAnd",
    "bitwise_or": "bitwiseOr",
    "bitwise_xor": "bitwiseXor",
    "left_shift": "leftShift",
    "right_shift": "rightShift",
    "first_nonzero": "firstNonZero",
}


def _safe(function: Callable[..., Any]) -> Callable[..., Any]:
    """Nan where there is no result, inf where it is too large."""

    def run(*numbers: Any) -> Any:
        try:
            return function(*numbers)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return run


def _round(value: Number) -> int:
    """Half up, as Java's Math.round."""
    return math.floor(value + 0.5)


UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": abs,
    "sqrt": _safe(math.sqrt),
    "exp": _safe(math.exp),
    "log": _safe(lambda v: math.log(v) if v > 0 else (-math.inf if v == 0 else math.nan)),
    "log10": _safe(lambda v: math.log10(v) if v > 0 else (-math.inf if v == 0 else math.nan)),
    "sin": _safe(math.sin),
    "cos": _safe(math.cos),
    "tan": _safe(math.tan),
    "asin": _safe(math.asin),
    "acos": _safe(math.acos),
    "atan": math.atan,
    "sinh": _safe(math.sinh),
    "cosh": _safe(math.cosh),
    "tanh": math.tanh,
    "cbrt": lambda v: math.copysign(abs(v) ** (1 / 3), v),
    "floor": _safe(math.floor),
    "ceil": _safe(math.ceil),
    "round": _safe(_round),
    "not": lambda v: int(v == 0),
    "signum": lambda v: (v > 0) - (v < 0),
    "bitwiseNot": lambda v: ~whole(v),
    "bitwise_not": lambda v: ~whole(v),
    "bitCount": lambda v: (whole(v) & (2 * _INT64 - 1)).bit_count(),
    "erf": math.erf,
    "erfc": math.erfc,
    "gamma": _safe(math.gamma),
    "digamma": _special(special.digamma),
    "trigamma": _special(special.trigamma),
    "erfInv": _special(special.erf_inverse),
    "erfcInv": _special(special.erfc_inverse),
    "lanczos": _special(special.lanczos),
}


def cast(value: Number, kind: PixelType) -> Number:
    """A number as a type: cut to its range."""
    if not kind.is_integer:
        return float(value)
    low, high = kind.bounds
    return min(max(whole(value), low), high)


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def run(left: Number, right: Number) -> Any:
        return bounded(_safe(function)(left, right))

    return run


def _unary(function: Callable[[Any], Any]) -> Callable[..., Any]:
    def run(input: Number) -> Any:
        return bounded(function(input))

    return run


def _cast(kind: PixelType) -> Callable[..., Any]:
    def run(input: Number) -> Any:
        return cast(input, kind)

    return run


for _name, _function in BINARY.items():
    registry.add(f"Number.{_name}", _binary(_function))
for _alias, _name in ALIASES.items():
    registry.add(f"Number.{_alias}", _binary(BINARY[_name]))
for _name, _change in UNARY.items():
    registry.add(f"Number.{_name}", _unary(_change))
for _name, _kind in CASTS.items():
    registry.add(f"Number.{_name}", _cast(_kind))
    registry.add(f"Number.to{_name.capitalize()}", _cast(_kind))


@algorithm("Number.clamp")
def clamp(number: Number, min: float, max: float) -> Number:
    """The number within limits."""
    return min if number < min else max if number > max else number


@algorithm("Number.unitScale")
def unit_scale(number: Number, min: float, max: float) -> float:
    """The number with min as 0 and max as 1."""
    return float(divide(number - min, max - min))


@algorithm("Number.parse")
def parse(input: str, radix: int) -> Number:
    """A number from text."""
    try:
        if radix != 10:
            return int(input, radix)
        return int(input) if input.strip().lstrip("+-").isdecimal() else float(input)
    except ValueError as exc:
        raise EarthEngineError(f"Cannot parse '{input[:100]}' as a number.") from exc


@algorithm("Number.format")
def format_number(number: Number, pattern: str) -> str:
    """The number as text, by a pattern of printf."""
    return formatted(pattern, number)


def formatted(pattern: str, number: Number) -> str:
    """Java's String.format with one number: %d wants an integer, %s shows it as it is."""
    if re.search(r"\d{4}", pattern):
        raise EarthEngineError(f"Invalid format pattern '{pattern[:100]}': widths go to 999.")
    whole_number = isinstance(number, int) or float(number).is_integer()
    if "%s" in pattern:
        return pattern.replace("%s", str(int(number) if whole_number else number))
    try:
        return pattern % (int(number) if pattern.rstrip("%")[-1:] in "dxXo" and whole_number else number)
    except (ValueError, TypeError) as exc:
        raise EarthEngineError(f"Invalid format pattern '{pattern[:100]}' for {number}.") from exc
