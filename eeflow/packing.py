"""Several bands of whole numbers in one double, without loss: getRegion counts values, and a double is one.

A double holds every whole number below 2**53. Each band of a pack is a digit of one, in a base of its own: 0 where the
band is masked, else the value counted from 2 at the least its dtype holds. The digits before and after those say that
a value was less or more than that, so that one which does not fit its dtype never spills into its neighbour unseen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from eeflow.errors import BadAnswer
from eeflow.series import BandType

Column = tuple[BandType, ...]
MOST = 2**53
_MASKED, _LESS, _LEAST = 0, 1, 2


def columns_of(bands: Sequence[BandType]) -> tuple[Column, ...]:
    """Bands in columns, each in the first one that has room for it; what has no whole numbers is alone."""
    columns: list[Column] = []
    for band in bands:
        base = _base(band)
        fitting = (n for n, column in enumerate(columns) if base and base * capacity(column) <= MOST)
        place = next(fitting, None)
        if place is None:
            columns.append((band,))
        else:
            columns[place] += (band,)
    return tuple(columns)


def capacity(column: Column) -> float:
    """How many numbers a column's values may be; infinite where it takes no second band."""
    return math.prod(_base(band) or math.inf for band in column)


def names_of(columns: Sequence[Column]) -> list[str]:
    """What the columns are called on the way."""
    return [f"c{number}" for number in range(len(columns))]


def packed(images: ee.ImageCollection, columns: tuple[Column, ...]) -> ee.ImageCollection:
    """Images with a band for each column; they keep index and footprint, and their time is 0, to be short."""
    return ee.ImageCollection(ee.call("Collection.map", images, _packing(columns)))


@lru_cache(maxsize=64)
def _packing(columns: tuple[Column, ...]) -> ee.CustomFunction:
    """Made once: the client runs what it maps three times to describe it, which takes it longer than all the rest."""
    return ee.CustomFunction.create(lambda image: _packed_image(ee.Image(image), columns), "Image", ["Image"])


def _packed_image(image: ee.Image, columns: Sequence[Column]) -> ee.Image:
    bands = ee.Image.cat([_packed(image, column) for column in columns]).rename(names_of(columns))
    return bands.set({"system:index": image.get("system:index"), "system:time_start": 0})


def unpacked(columns: Sequence[Column], values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """The bands' own values, NaN where masked, from those of the columns by their names.

    Raises:
        BadAnswer: a number that no pack is, or a band's value that its dtype cannot hold.
    """
    bands = {}
    for name, column in zip(names_of(columns), columns, strict=True):
        if len(column) == 1:
            bands[column[0].name] = values[name]
        else:
            bands |= _unpacked(column, values[name])
    return bands


def _packed(image: ee.Image, column: Column) -> ee.Image:
    first = image.select([column[0].name])
    if len(column) == 1:
        return first
    total = _digit(image, column[-1])
    for band in reversed(column[:-1]):
        total = total.multiply(_base(band)).add(_digit(image, band))
    # What is unmasked has no end. The mask has the image's footprint, and a value for all pixels.
    return first.mask().multiply(0).add(total)


def _digit(image: ee.Image, band: BandType) -> ee.Image:
    low, base = np.iinfo(band.dtype).min, _base(band)
    return image.select([band.name]).toDouble().subtract(low - _LEAST).clamp(_LESS, base - 1).unmask(_MASKED, False)


def _unpacked(column: Column, numbers: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    rest = np.where(np.isnan(numbers), 0, numbers)
    wrong = (rest < 0) | (rest >= capacity(column)) | (rest != np.rint(rest))
    if wrong.any():
        names = ", ".join(band.name for band in column)
        raise BadAnswer(f"getRegion returned {rest[int(np.argmax(wrong))]} for {names}, which is no pack of theirs.")
    whole, bands = rest.astype(np.int64), {}
    del rest, wrong  # a column of a large answer is 3 MB, and answers are read side by side
    for band in column:
        base = _base(band)
        digit = (whole % base).astype(np.float64)
        whole //= base
        spilt = (digit == _LESS) | (digit == base - 1)
        if spilt.any():
            than = "less" if digit[int(np.argmax(spilt))] == _LESS else "more"
            raise BadAnswer(f"Band {band.name} is {band.dtype}, but has a value that is {than} than it can hold.")
        digit[digit == _MASKED] = np.nan
        digit += float(np.iinfo(band.dtype).min - _LEAST)
        bands[band.name] = digit
    return bands


def _base(band: BandType) -> int:
    """How many digits a band has; 0 for one that is not packed."""
    dtype: np.dtype[Any] = np.dtype(band.dtype)
    if dtype.kind not in "iu":
        return 0
    info = np.iinfo(dtype)
    base = int(info.max) - int(info.min) + 4  # the values, masked, less and more
    return base if base < MOST else 0
