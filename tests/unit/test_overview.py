"""What a raster looks like from twice as far, beside a loop over its pixels."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eeflow.overview import halved


def one_by_one(values, valid, resampling):
    """The same by a loop, with Python's own numbers."""
    bands, height, width = values.shape
    found = np.zeros((bands, math.ceil(height / 2), math.ceil(width / 2)), values.dtype)
    seen = np.zeros(found.shape, bool)
    for band, row, col in np.ndindex(found.shape):
        places = [(2 * row + down, 2 * col + right) for down in (0, 1) for right in (0, 1)]
        inside = [(r, c) for r, c in places if r < height and c < width]
        four = [values[band, r, c].item() for r, c in inside if valid[band, r, c]]
        if not four:
            continue
        seen[band, row, col] = True
        if resampling == "mode":
            value = Counter(four).most_common(1)[0][0]  # the first of several
        elif resampling == "nearest":
            value = four[0]
        else:
            mean = sum(four) / len(four)
            value = mean if values.dtype.kind == "f" else math.floor(mean + 0.5)
        found[band, row, col] = value
    return found, seen


@pytest.mark.parametrize("resampling", ["average", "mode", "nearest"])
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    st.sampled_from(["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_each_pixel_is_made_of_the_valid_ones_of_its_place(resampling, shape, dtype, share, seed):
    draw = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        values = draw.integers(-4, 4, shape).astype(dtype) / 4
    else:
        info = np.iinfo(dtype)
        ends = draw.integers(info.min, info.max, shape, dtype, endpoint=True)
        values = np.where(draw.random(shape) < 0.5, ends, draw.integers(0, 3, shape, dtype))
    valid = draw.random(shape) < share
    found, seen = halved(values, valid, resampling)
    expected, expected_seen = one_by_one(values, valid, resampling)
    assert found.dtype == dtype
    np.testing.assert_array_equal(seen, expected_seen)
    np.testing.assert_array_equal(found[seen], expected[seen])
