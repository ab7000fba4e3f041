"""What a raster looks like from twice as far, made of its pixels as they come."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


def halved(
    values: NDArray[Any], valid: NDArray[np.bool_], resampling: Literal["average", "mode", "nearest"]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels of twice the size, each of the 2 x 2 of its place; at the end of an odd side, of those there are.

    Args:
        values: of shape (band, height, width).
        valid: of the same shape; other pixels do not count.
        resampling: `average`, whole numbers rounded half up; `mode`, the most frequent, of several the first in the
            order of rows; or `nearest`, the first.

    Returns:
        Values and whether any of the four was valid, of half the height and width, rounded up.
    """
    four, there = _fours(values), _fours(valid)
    if resampling == "nearest":
        return _first(four, there)
    make = _mean if resampling == "average" else _most_frequent
    return make(np.stack(four), np.stack(there))


def _fours(array: NDArray[Any]) -> list[NDArray[Any]]:
    """The upper left, upper right, lower left and lower right pixel of each 2 x 2; 0 or False beyond the raster."""
    height, width = array.shape[1:]
    if height % 2 or width % 2:
        array = np.pad(array, ((0, 0), (0, height % 2), (0, width % 2)))
    return [array[:, row::2, col::2] for row in (0, 1) for col in (0, 1)]


def _mean(four: NDArray[Any], there: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    dtype, count = four.dtype, np.add.reduce(there, dtype=np.uint8)
    is_whole = dtype.kind in "iu"
    wide = np.int64 if is_whole and dtype.itemsize == 4 else np.int32 if is_whole and dtype.itemsize < 4 else np.float64
    with np.errstate(all="ignore"):  # an infinity may be a pixel's value
        total: NDArray[Any] = np.add.reduce(four, dtype=wide, where=there)
        if wide is not np.float64 and (count == len(four)).all():
            quarter: NDArray[Any] = (total + 2) >> 2
            return quarter.astype(dtype), count > 0  # a fifth of the time of dividing
        mean: NDArray[Any] = total / np.maximum(count, 1)
        return (np.floor(mean + 0.5) if is_whole else mean).astype(dtype), count > 0


def _most_frequent(four: NDArray[Any], there: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    votes = there.astype(np.uint8)
    for one in range(len(four)):
        for other in range(len(four)):
            if one != other:
                votes[one] += there[one] & there[other] & (four[one] == four[other])
    found: NDArray[Any] = np.take_along_axis(four, votes.argmax(axis=0)[None], axis=0)[0]
    return found, np.logical_or.reduce(there)


def _first(four: list[NDArray[Any]], there: list[NDArray[np.bool_]]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    found, known = four[0].copy(), there[0].copy()
    for values, valid in zip(four[1:], there[1:], strict=True):
        if known.all():
            break
        np.copyto(found, values, where=valid & ~known)
        known |= valid
    return found, known
