"""Products that are written while their blocks arrive."""

import pickle

import numpy as np
import pytest
import rasterio

from eeflow.blocks import Block, BlockStore
from eeflow.draft import Draft, Drafts, write_product
from eeflow.errors import IncompleteProduct
from eeflow.plan import make_plan

SHAPE = (900, 1100)
NAMES = ("B2", "B3", "B4")


@pytest.fixture
def prepared(make_job, make_series, tmp_path):
    """Puts the blocks of a product of several windows into a store; gives what a draft is made of."""

    def prepare(values, valid):
        job = make_job(transport="get_region")
        job.folder.mkdir(parents=True, exist_ok=True)
        plan = make_plan(job, make_series(shape=SHAPE, bands=dict.fromkeys(NAMES, str(values.dtype)), job=job))
        assert len(plan.windows) > 3
        store = BlockStore(tmp_path / "blocks")
        for window, bands, key in plan.blocks_of(plan.products[0]):
            place = np.s_[window.row : window.row + window.height, window.col : window.col + window.width]
            pixels = {name: np.where(valid, values, 0)[NAMES.index(name)][place] for name in bands}
            masks = {name: valid[NAMES.index(name)][place] for name in bands}
            store.save(key, Block(pixels, masks, np.ones((window.height, window.width), bool)))
        return job, plan, plan.products[0], store

    return prepare


@pytest.fixture
def pixels():
    """Noise, and a mask that all bands share."""
    draw = np.random.default_rng(2)
    values = draw.integers(0, 3000, (3, *SHAPE), "uint16")
    return values, np.repeat(draw.random((1, *SHAPE)) < 0.9, 3, axis=0)


def check(path, values, valid, nodata):
    with rasterio.open(path) as raster:
        assert raster.nodata == nodata
        found = raster.read()
        np.testing.assert_array_equal(raster.read_masks() > 0, valid)
        np.testing.assert_array_equal(found[valid], values[valid])
        assert (found[~valid] == nodata).all()
        assert raster.overviews(1) == [2, 4, 8]


def test_file_is_the_same_whatever_the_order_of_its_windows(prepared, pixels):
    job, plan, product, store = prepared(*pixels)
    first = write_product(job, plan, product, store)
    draft = Draft(job, plan, product, store)
    for window in (*plan.windows[3:], *plan.windows[2::-1]):
        draft.add(window)
    assert draft.finish().sha256 == first.sha256
    draft.discard()
    check(job.folder / first.path, *pixels, nodata=65535)
    assert [path.name for path in job.folder.iterdir()] == [first.path]


@pytest.mark.parametrize("late", ["nodata", "mask"])
def test_what_only_the_last_window_tells_holds_for_the_whole_file(prepared, pixels, late):
    values, valid = pixels
    if late == "nodata":
        values[:, -1, -1], valid[:, -1, -1] = 65535, True
    else:
        valid[:, -1, -1] = [True, False, True]
    job, plan, product, store = prepared(values, valid)
    entry = write_product(job, plan, product, store)
    check(job.folder / entry.path, values, valid, nodata=65534 if late == "nodata" else 65535)


def test_windows_are_taken_in_as_their_blocks_are_kept_and_nothing_shows_before_the_end(prepared, pixels):
    job, plan, product, store = prepared(*pixels)
    keys = [key for _, _, key in plan.blocks_of(product)]
    drafts = Drafts(job, plan, plan.products, store)
    drafts.kept(keys[:-1])
    drafts.kept(keys[:-1])
    draft = drafts.take(product)
    assert len(draft._added) == len(plan.windows) - 1
    assert all(path.name.startswith(".") for path in job.folder.iterdir())
    check(job.folder / draft.finish().path, *pixels, nodata=65535)
    draft.discard()
    drafts.close()


def test_nothing_is_left_of_a_product_that_nobody_took(prepared, pixels):
    job, plan, product, store = prepared(*pixels)
    drafts = Drafts(job, plan, plan.products, store)
    drafts.kept(key for _, _, key in plan.blocks_of(product))
    drafts.close()
    assert list(job.folder.iterdir()) == []


def test_what_went_wrong_early_is_told_by_who_finishes(prepared, pixels):
    job, plan, product, store = prepared(*pixels)
    drafts = Drafts(job, plan, plan.products, store)
    keys = [key for _, _, key in plan.blocks_of(product)]
    store.discard(keys[1])
    drafts.kept(keys)
    draft = drafts.take(product)
    with pytest.raises(IncompleteProduct, match="were not fetched"):
        draft.finish()
    draft.discard()
    drafts.close()
    assert list(job.folder.iterdir()) == []


def test_in_another_process_nothing_is_begun(prepared, pixels):
    job, plan, product, store = prepared(*pixels)
    drafts = pickle.loads(pickle.dumps(Drafts(job, plan, plan.products, store)))
    drafts.kept(key for _, _, key in plan.blocks_of(product))
    assert list(job.folder.iterdir()) == []
    assert drafts.take(product).complete().shared_mask
