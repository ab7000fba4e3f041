"""What computePixels answers becomes blocks: every value and mask, and nothing of a body that is not what was asked."""

import io

import numpy as np
import pytest

from eeflow.errors import BadAnswer
from eeflow.grid import Window
from eeflow.pixels import decode_pixels
from eeflow.series import Request

SHAPE = (3, 5)


@pytest.fixture
def series(make_series):
    return make_series(shape=SHAPE, bands={"B2": "uint16", "B3": "float32"}, scenes=2)


REQUEST = Request(("S0", "S1"), ("B2", "B3"), Window(0, 0, *SHAPE), "compute_pixels")


def answer(**changes):
    """The pixels of two scenes, as a structured array: two bands each, and a band of one bit a band for its masks."""
    rows, cols = np.indices(SHAPE)
    fields = {}
    for scene in (0, 1):
        fields[f"s{scene}_b0"] = (40000 + 1000 * scene + 10 * rows + cols).astype("<u2")
        fields[f"s{scene}_b1"] = (rows - cols / 8 - scene).astype("<f4")
        fields[f"s{scene}_m0"] = np.where(rows == scene, 1, 3).astype("u1")  # in row `scene` only B2 is valid
    fields |= changes
    found = np.zeros(SHAPE, [(name, array.dtype) for name, array in fields.items()])
    for name, array in fields.items():
        found[name] = array
    return found


def body(array, version=(1, 0)):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_value_and_mask_is_that_of_its_scene(series, version, order):
    blocks = decode_pixels(body(np.asarray(answer(), order=order), version), series, REQUEST)
    assert list(blocks) == ["S0", "S1"]
    for scene, block in enumerate(blocks.values()):
        assert {name: values.dtype.name for name, values in block.values.items()} == {"B2": "uint16", "B3": "float32"}
        for row in range(SHAPE[0]):
            for col in range(SHAPE[1]):
                assert block.values["B2"][row, col] == 40000 + 1000 * scene + 10 * row + col
                assert block.valid["B2"][row, col]
                assert block.valid["B3"][row, col] == (row != scene)
                assert block.values["B3"][row, col] == (0 if row == scene else row - col / 8 - scene)


def test_blocks_can_be_written_to(series):
    blocks = decode_pixels(body(answer()), series, REQUEST)
    blocks["S0"].values["B2"][0, 0] = 7  # not the answer's own memory, which is read-only


@pytest.mark.parametrize(
    "wrong",
    [
        body(answer())[:-1],
        body(answer())[:20],
        b"",
        b"<html>no</html>",
        body(np.zeros(SHAPE, object).astype(object)),
    ],
    ids=["cut", "cut in its header", "empty", "a page", "objects"],
)
def test_a_body_that_is_no_array_is_a_bad_answer(series, wrong):
    with pytest.raises(BadAnswer, match="NPY array"):
        decode_pixels(wrong, series, REQUEST)


@pytest.mark.parametrize(
    "array", [answer()[:2], answer()[["s0_b0", "s0_b1"]], np.zeros(SHAPE, "u2")], ids=["a row less", "bands", "plain"]
)
def test_other_pixels_than_were_asked_for_are_a_bad_answer(series, array):
    with pytest.raises(BadAnswer, match="asked was"):
        decode_pixels(body(array), series, REQUEST)


def test_a_value_that_its_band_cannot_hold_is_a_bad_answer(series):
    too_large = answer(s0_b0=np.full(SHAPE, 70000, "<i4"))
    with pytest.raises(BadAnswer, match="Band B2 is uint16, but computePixels returned 70000, which it cannot hold"):
        decode_pixels(body(too_large), series, REQUEST)
