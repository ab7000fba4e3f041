"""Which jobs share, in which windows, and what each gets of it."""

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine

from eeflow.aoi import load_aoi
from eeflow.blocks import Block, BlockStore
from eeflow.grid import Window
from eeflow.judge import JUDGED_NOTHING
from eeflow.prospect import look_ahead
from eeflow.sharing import _around, overlapping, shares
from eeflow.transport import USUAL_PACE

BANDS = {"B2": "uint16", "B3": "uint16"}


@pytest.fixture
def make_outlook(make_job, make_series):
    """What a job would do whose grid begins at a row and column of a common lattice of 10 m."""

    def make(name, row, col, shape, scenes=2, shift=0, **changes):
        transform = Affine(10, 0, 600000 + 10 * col + shift, 0, -10, 5700000 - 10 * row)
        job = make_job(name=name, **changes)
        own = ("EPSG:32631", (10, 0, 590000, 0, -10, 5710000), (4000, 4000))
        series = make_series(shape, BANDS, scenes, transform=transform, own=own, job=job)
        return look_ahead(job, load_aoi(job.aoi), series, JUDGED_NOTHING, USUAL_PACE)

    return make


def test_windows_are_shared_where_that_saves_pixels():
    # By hand: rows and columns 0 to 9, 5 to 14: 15 x 15 = 225 around 200; a little more, in one request.
    assert _around({"a": Window(0, 0, 10, 10), "b": Window(5, 5, 10, 10)}) == [(Window(0, 0, 15, 15), ["a", "b"])]
    # Corner to corner: 19 x 19 = 361 around 200.
    assert _around({"a": Window(0, 0, 10, 10), "b": Window(9, 9, 10, 10)}) == []
    # Side by side without a common pixel.
    assert _around({"a": Window(0, 0, 10, 10), "b": Window(0, 10, 10, 10)}) == []
    # Large ones must save pixels: 1,500 x 1,500 = 2,250,000 around 2,000,000; and 1,400 x 1,000 around as many.
    assert _around({"a": Window(0, 0, 1000, 1000), "b": Window(500, 500, 1000, 1000)}) == []
    assert _around({"a": Window(0, 0, 1000, 1000), "b": Window(0, 400, 1000, 1000)}) == [
        (Window(0, 0, 1000, 1400), ["a", "b"])
    ]
    # One after the other, with the one that touches none alone.
    row = {str(n): Window(0, 8 * n, 10, 10) for n in range(5)} | {"far": Window(100, 0, 10, 10)}
    assert _around(row) == [(Window(0, 0, 10, 42), ["0", "1", "2", "3", "4"])]


def test_jobs_are_together_when_they_say_the_same_and_their_areas_touch(make_job):
    def job(name, west, **changes):
        return make_job(name=name, aoi={"bbox": [west, 50, west + 1, 51]}, **changes)

    bow = {"geojson": {"type": "Polygon", "coordinates": [[[0, 50], [1, 51], [1, 50], [0, 51], [0, 50]]]}}
    jobs = [
        job("a", 0),
        job("far", 10),
        job("b", 1.5, dates={"start": "2020-05-01", "end": "2020-06-01"}),
        job("c", 0.8, output={"root": make_job().output.root, "dtype": "float32"}),
        job("other-bands", 0, bands=["B2"]),
        job("other-root", 0, output={"root": "elsewhere"}),
        make_job(name="bow", aoi=bow),
    ]
    groups = [[job.name for job in group] for group in overlapping(jobs)]
    assert groups == [["a", "b", "c"], ["far"], ["other-bands"], ["other-root"], ["bow"]]


def coded(series, window, bands):
    """A block whose values are the lattice's own rows and columns; every seventh is masked, every eleventh missed."""
    grid = window.of(series.grid)
    rows, cols = np.indices(tuple(grid.shape))
    rows, cols = rows + int(5700000 - grid.transform.f) // 10, cols + int(grid.transform.c - 600000) // 10
    seen = (rows + cols) % 11 != 0
    valid = {name: seen & ((rows + cols + number) % 7 != 0) for number, name in enumerate(bands)}
    values = {name: np.where(valid[name], 300 * rows + cols + 7 * int(name[1:]), 0).astype("uint16") for name in bands}
    return Block(values, valid, seen)


@pytest.mark.parametrize("fan_out", ["none", "bands"])
def test_each_job_gets_its_own_pixels_of_many_windows(make_outlook, tmp_path, fan_out):
    """Windows of the large one and those of the jobs lie across each other; each block is coded by its place."""
    first = make_outlook("first", 0, 0, (200, 90), transport="get_region", fan_out=fan_out)
    second = make_outlook("second", 120, 30, (150, 60), transport="get_region", fan_out=fan_out)
    (share,) = shares([first, second], USUAL_PACE)
    assert share.plan.series.grid.shape == (270, 90)
    windows = tuple(Window(row, col, min(64, 270 - row), 45) for row in range(0, 270, 64) for col in (0, 45))
    share.plan = replace(share.plan, drafts=(replace(share.plan.chosen, windows=windows),))
    store = BlockStore(tmp_path / "together")
    for image in share.plan.series.images:
        for window, bands, key in share.plan.blocks(image.image_id):
            store.save(key, coded(share.plan.series, window, bands))
    one, other = [image.image_id for image in share.plan.series.images]
    lost = next(key for window, _, key in share.plan.blocks(other) if window == windows[-1])
    store.discard(lost)
    for image_id in (one, other):
        share.hand_over(image_id, store)
    assert store.size() == 0
    for outlook, image_id in [(first, one), (second, one), (first, other)]:
        for window, bands, key in outlook.plan.blocks(image_id):
            expected, found = coded(outlook.plan.series, window, bands), outlook.store.load(key)
            np.testing.assert_array_equal(found.seen, expected.seen)
            for name in bands:
                np.testing.assert_array_equal(found.values[name], expected.values[name])
                np.testing.assert_array_equal(found.valid[name], expected.valid[name])
                assert found.values[name].dtype == np.uint16
    there = [second.store.has(key) for _, _, key in second.plan.blocks(other)]
    assert not all(there), "the last window is the second's alone"


def test_other_pixels_scenes_or_bands_are_not_shared(make_outlook):
    first = make_outlook("first", 0, 0, (20, 20))
    assert shares([first, make_outlook("second", 5, 5, (20, 20))], USUAL_PACE)
    assert not shares([first, make_outlook("second", 5, 5, (20, 20), shift=3)], USUAL_PACE)
    (share,) = shares([first, make_outlook("second", 5, 5, (20, 20), scenes=1)], USUAL_PACE)
    assert len(share.plan.series.images) == 1
