"""Bands in one double: what goes in comes out, and what does not belong is found."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eeflow.errors import BadAnswer
from eeflow.packing import columns_of, names_of, unpacked
from eeflow.series import BandType

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64", "float32", "float64"]


def types(*dtypes):
    return [BandType(f"b{number}", dtype) for number, dtype in enumerate(dtypes)]


def grouped(*dtypes):
    return [[band.dtype for band in column] for column in columns_of(types(*dtypes))]


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["uint16"] * 4, [["uint16"] * 3, ["uint16"]]),
        (["uint8"] * 7, [["uint8"] * 6, ["uint8"]]),
        (["uint16", "float32", "uint16", "uint8"], [["uint16", "uint16", "uint8"], ["float32"]]),
        (["int32", "int32", "uint16"], [["int32", "uint16"], ["int32"]]),
        (["int64", "uint8", "uint64", "float64", "int8"], [["int64"], ["uint8", "int8"], ["uint64"], ["float64"]]),
    ],
)
def test_bands_share_a_column_where_53_bits_hold_them(dtypes, expected):
    assert grouped(*dtypes) == expected


def numbers_of(column, values):
    """What Earth Engine would answer, in Python's own whole numbers: one pixel, None where masked."""
    total, weight = 0, 1
    for band, value in zip(column, values, strict=True):
        info = np.iinfo(band.dtype)
        total += weight * (0 if value is None else value - int(info.min) + 2)
        weight *= int(info.max) - int(info.min) + 4
    return total


@st.composite
def packs(draw):
    bands = types(*draw(st.lists(st.sampled_from(DTYPES[:6]), min_size=2, max_size=12)))
    columns = columns_of(bands)
    rows = [
        {
            band.name: draw(st.none() | st.integers(*limits(band.dtype)) | st.sampled_from(limits(band.dtype)))
            for band in bands
        }
        for _ in range(draw(st.integers(1, 4)))
    ]
    return columns, rows


def limits(dtype):
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


@given(packs())
def test_what_goes_in_comes_out(drawn):
    columns, rows = drawn
    values = {}
    for name, column in zip(names_of(columns), columns, strict=True):
        if len(column) == 1:
            numbers = [math.nan if row[column[0].name] is None else row[column[0].name] for row in rows]
        else:
            numbers = [numbers_of(column, [row[band.name] for band in column]) for row in rows]
            assert all(number < 2**53 and int(float(number)) == number for number in numbers)
        values[name] = np.array(numbers, np.float64)
    for name, found in unpacked(columns, values).items():
        expected = [math.nan if row[name] is None else float(row[name]) for row in rows]
        np.testing.assert_array_equal(found, expected)


def test_all_the_masked_and_all_the_greatest_fill_a_double_and_no_more():
    (column,) = columns_of(types("uint16", "uint16", "uint16"))
    most = numbers_of(column, [65535] * 3)
    assert 2**48 < most < 2**53
    found = unpacked([column], {"c0": np.array([0.0, most, math.nan])})
    for band in found.values():
        np.testing.assert_array_equal(band, [math.nan, 65535, math.nan])


@pytest.mark.parametrize("number", [-1, 0.5, 65539**2, 2**53, 1e300, math.inf])
def test_number_that_is_no_pack_is_a_bad_answer(number):
    (column,) = columns_of(types("uint16", "uint16"))
    with pytest.raises(BadAnswer, match=r"^getRegion returned .* for b0, b1, which is no pack of theirs\.$"):
        unpacked([column], {"c0": np.array([4.0, number])})


@pytest.mark.parametrize(("digit", "than"), [(1, "less"), (65538, "more")])
def test_value_its_band_cannot_hold_is_a_bad_answer(digit, than):
    (column,) = columns_of(types("int16", "int16"))
    with pytest.raises(BadAnswer, match=rf"^Band b1 is int16, but has a value that is {than} than it can hold\.$"):
        unpacked([column], {"c0": np.array([2.0 + 65539 * digit])})
