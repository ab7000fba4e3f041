"""Blocks come back as they were, or count as absent."""

import numpy as np
import pytest

from eeflow.blocks import Block, BlockStore

KEY = "ab12cd"


@pytest.fixture
def block():
    """A block of 3 x 11 pixels (11 bits need more than a byte), one with masks of its own in each band."""
    draw = np.random.default_rng(5)
    values = {"B2": draw.integers(0, 65536, (3, 11), "uint16"), "VV": draw.normal(size=(3, 11)).astype("float32")}
    valid = {name: draw.random((3, 11)) < 0.6 for name in values}
    return Block(values, valid, draw.random((3, 11)) < 0.8)


@pytest.fixture
def store(tmp_path):
    return BlockStore(tmp_path / "blocks")


def test_block_comes_back_as_it_was(store, block):
    store.save(KEY, block)
    again = store.load(KEY)
    assert store.has(KEY)
    assert list(again.values) == ["B2", "VV"]
    for name in block.values:
        assert again.values[name].dtype == block.values[name].dtype
        np.testing.assert_array_equal(again.values[name], block.values[name])
        np.testing.assert_array_equal(again.valid[name], block.valid[name])
        assert again.valid[name].dtype == bool
    np.testing.assert_array_equal(again.seen, block.seen)


def test_block_that_is_not_there(store):
    assert not store.has(KEY)
    assert store.load(KEY) is None
    store.discard(KEY)


def test_block_cut_anywhere_counts_as_absent(store, block):
    store.save(KEY, block)
    path = store.path(KEY)
    whole = path.read_bytes()
    for length in [0, 1, 3, 4, 30, 100, len(whole) // 2, len(whole) - 23, len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert store.load(KEY) is None, length
        assert not store.has(KEY)


def test_block_with_a_changed_byte_counts_as_absent_or_is_right(store, block):
    store.save(KEY, block)
    path = store.path(KEY)
    whole = path.read_bytes()
    for place in range(0, len(whole) - 22, 7):  # the last 22 bytes say where the zip's directory is
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        again = store.load(KEY)
        if again is not None:
            np.testing.assert_array_equal(again.values["B2"], block.values["B2"])
            np.testing.assert_array_equal(again.values["VV"], block.values["VV"])
            np.testing.assert_array_equal(again.seen, block.seen)


def test_discarded_block_is_gone_and_size_counts_the_rest(store, block):
    store.save(KEY, block)
    store.save("ff00", block)
    both = store.size()
    store.discard(KEY)
    assert not store.has(KEY)
    assert store.size() == both / 2


def test_saving_leaves_no_temporary_file(store, block):
    store.save(KEY, block)
    assert [path.name for path in store.folder.rglob("*") if path.is_file()] == [f"{KEY}.npz"]


def test_parts_are_pasted_in_their_places():
    whole = Block.empty((2, 3), {"B2": "uint8"})
    part = Block({"B2": np.array([[7], [8]], "uint8")}, {"B2": np.array([[True], [False]])}, np.array([[True], [True]]))
    whole.paste(part, 0, 2)
    assert whole.values["B2"].tolist() == [[0, 0, 7], [0, 0, 8]]
    assert whole.valid["B2"].tolist() == [[False, False, True], [False, False, False]]
    assert whole.seen.tolist() == [[False, False, True]] * 2
