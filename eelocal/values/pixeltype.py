"""Pixel types: a precision and, for integers, the range of values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

INT64 = (-(2**63), 2**63 - 1)
_INTEGER_DTYPES = tuple(
    (np.dtype(name), int(np.iinfo(name).min), int(np.iinfo(name).max))
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")
)
_PRECISIONS = ("int", "float", "double")
_OBJECTS = np.dtype(object)


@dataclass(frozen=True)
class PixelType:
    """Type of a band's pixels, as `Image.bandTypes` prints it.

    Attributes:
        precision: `int`, `float` (32 bits) or `double`.
        min: least value, None if not bounded (floats as a rule).
        max: greatest value.
        dimensions: 0 for scalars; array pixels have 1 or 2.
    """

    precision: str
    min: float | None = None
    max: float | None = None
    dimensions: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest numpy type that holds the range; arrays of any shape are objects."""
        return _dtype(self.precision, self.min, self.max) if not self.dimensions else _OBJECTS

    @property
    def element(self) -> PixelType:
        """The type of the numbers in an array."""
        return replace(self, dimensions=0) if self.dimensions else self

    def array(self, dimensions: int) -> PixelType:
        """Arrays of such numbers."""
        return self if dimensions == self.dimensions else replace(self, dimensions=dimensions)

    @property
    def is_integer(self) -> bool:
        """Whether pixels are whole numbers."""
        return self.precision == "int"

    @property
    def bounds(self) -> tuple[int, int]:
        """Range of an integer type."""
        low = INT64[0] if self.min is None else int(self.min)
        high = INT64[1] if self.max is None else int(self.max)
        return low, high

    def union(self, other: PixelType) -> PixelType:
        """The type that holds the values of both."""
        precision = _PRECISIONS[max(_PRECISIONS.index(self.precision), _PRECISIONS.index(other.precision))]
        if self.precision != other.precision and precision == "float" and not _fits_float(self, other):
            precision = "double"
        known = None not in (self.min, other.min, self.max, other.max)
        if not known:
            return PixelType(precision, dimensions=max(self.dimensions, other.dimensions))
        low = min(self.min, other.min)  # type: ignore[type-var]
        high = max(self.max, other.max)  # type: ignore[type-var]
        return PixelType(precision, low, high, max(self.dimensions, other.dimensions))

    def unbounded(self) -> PixelType:
        """The same precision without a range (the whole of int64 for integers)."""
        return replace(self, min=None, max=None)

    def encode(self) -> dict[str, Any]:
        """As `getInfo` prints it; recorded/image_info_*.json."""
        limits = {"min": self.min, "max": self.max}
        shown = {key: value for key, value in limits.items() if value is not None}
        extra = {"dimensions": self.dimensions} if self.dimensions else {}
        return {"type": "PixelType", "precision": self.precision, **shown, **extra}


def _fits_float(left: PixelType, right: PixelType) -> bool:
    integer = left if left.is_integer else right
    return integer.element.dtype.itemsize <= 2


@lru_cache(maxsize=4096)
def _dtype(precision: str, low: float | None, high: float | None) -> np.dtype[Any]:
    if precision != "int":
        return np.dtype(np.float32 if precision == "float" else np.float64)
    if low is None or high is None:
        return np.dtype(np.int64)
    for dtype, least, greatest in _INTEGER_DTYPES:
        if least <= low and high <= greatest:
            return dtype
    return np.dtype(np.int64)


def of_dtype(dtype: np.dtype[Any], value_range: tuple[int, int] | None = None) -> PixelType:
    """The pixel type of a stored band."""
    if dtype.kind == "f":
        return FLOAT if dtype.itemsize <= 4 else DOUBLE
    if dtype.kind == "b":
        return BOOLEAN
    if value_range is not None:
        return PixelType("int", *value_range)
    info = np.iinfo(dtype)
    return PixelType("int", int(info.min), int(info.max))


def integer(low: int, high: int) -> PixelType:
    """Whole numbers from low to high, cut to 64 bits."""
    return PixelType("int", max(low, INT64[0]), min(high, INT64[1]))


def named(name: str) -> PixelType:
    """The type of a cast such as `uint16`, `byte` or `toFloat`."""
    return CASTS[name]


FLOAT = PixelType("float")
DOUBLE = PixelType("double")
BOOLEAN = PixelType("int", 0, 1)
CASTS = {
    "uint8": PixelType("int", 0, 2**8 - 1),
    "int8": PixelType("int", -(2**7), 2**7 - 1),
    "uint16": PixelType("int", 0, 2**16 - 1),
    "int16": PixelType("int", -(2**15), 2**15 - 1),
    "uint32": PixelType("int", 0, 2**32 - 1),
    "int32": PixelType("int", -(2**31), 2**31 - 1),
    "int64": PixelType("int", *INT64),
    "byte": PixelType("int", 0, 2**8 - 1),
    "short": PixelType("int", -(2**15), 2**15 - 1),
    "int": PixelType("int", -(2**31), 2**31 - 1),
    "long": PixelType("int", *INT64),
    "float": FLOAT,
    "double": DOUBLE,
}
