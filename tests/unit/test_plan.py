"""Requests within Earth Engine's limits, each pixel asked for once."""

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from eeflow.aoi import load_aoi
from eeflow.errors import LimitExceeded
from eeflow.grid import Window
from eeflow.images import make_images
from eeflow.jobfile import parse_job
from eeflow.options import AreaOfInterest, Limits
from eeflow.plan import band_groups, check_limits, make_plan, outline, window_shape
from eeflow.scenes import Band, Scene
from eeflow.series import BandType, Request, Series, make_series
from eeflow.transport import TRANSPORTS, Pace

MOST_VALUES = 1_048_576  # Earth Engine's own
MOST_ROWS = 300_000
START = datetime(2019, 5, 3, 10, 56, 21, 750_000, tzinfo=UTC)


def band(name, dtype="uint16"):
    return Band(name, dtype, "EPSG:32631", (10.0, 0.0, 600000.0, 0.0, -10.0, 5700000.0), (10980, 10980))


def scene(number, names=("B2",), dtype="uint16", **changes):
    made = Scene(
        scene_id=f"S{number:04d}",
        version=1000 + number,
        time_start=START + timedelta(days=number),
        bands=tuple(band(name, dtype) for name in names),
        footprint=None,
    )
    return replace(made, **changes)


def grid_of(height, width):
    return GeoBox((height, width), Affine(10, 0, 600000, 0, -10, 5700000), "EPSG:32631")


def series_of(shape, bands=1, scenes=1):
    names = [f"B{number}" for number in range(bands)]
    return Series(
        source="COPERNICUS/S2_SR_HARMONIZED",
        is_image=False,
        images=tuple(make_images(job(), [scene(number, names) for number in range(scenes)])),
        bands=tuple(BandType(name, "uint16") for name in names),
        grid=grid_of(*shape),
    )


def job(**changes):
    return parse_job(
        {
            "name": "farm",
            "aoi": {"bbox": [4, 50, 5, 51]},
            "collection": "COPERNICUS/S2_SR_HARMONIZED",
            "dates": {"start": "2019-05-01", "end": "2019-06-01"},
            **changes,
        }
    )


def plan_of(shape, bands=1, scenes=1, **changes):
    return make_plan(job(**changes), series_of(shape, bands, scenes))


def counted_bytes(request):
    """What Earth Engine counts for a computePixels request of uint16 bands: two bytes and a mask byte for each, and the
    masks of up to 32 bands as bits in one more band of 1, 2 or 4 bytes."""
    per_scene = 0
    for start in range(0, len(request.bands), 32):
        count = len(request.bands[start : start + 32])
        per_scene += 3 * count + {1: 1, 2: 2, 3: 4, 4: 4}[math.ceil(count / 8)] + 1
    return request.window.height * request.window.width * len(request.image_ids) * per_scene


shapes = st.tuples(st.integers(1, 1500), st.integers(1, 1500))
thin = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40_000)), st.tuples(st.integers(1, 40_000), st.integers(1, 40))
)
fan_outs = st.sampled_from(["auto", "bands", "none"])


@given(st.one_of(shapes, thin), st.integers(1, 70), st.integers(1, 400), fan_outs)
@settings(max_examples=100)
def test_no_request_exceeds_the_limits_of_its_transport(shape, bands, scenes, fan_out):
    scenes = min(scenes, 1 + 2_000_000 // (shape[0] * shape[1]))
    plan = plan_of(shape, bands, scenes, transport="auto", fan_out=fan_out)
    assert {draft.transport for draft in plan.drafts} == {"get_region", "compute_pixels"}
    for draft in plan.drafts:
        for request in draft.requests:
            pixels = request.window.height * request.window.width * len(request.image_ids)
            assert request.transport == draft.transport
            assert request.rows == pixels
            assert request.values == pixels * len(request.bands)
            if draft.transport == "get_region":
                assert request.values <= MOST_VALUES
                assert request.rows <= MOST_ROWS
            else:
                assert counted_bytes(request) <= 48 * 2**20
                assert len(request.image_ids) * (len(request.bands) + math.ceil(len(request.bands) / 32)) <= 1024


@given(
    st.tuples(st.integers(1, 50_000), st.integers(1, 50_000)), st.integers(65_536, 1_048_576), st.integers(256, 50_000)
)
def test_windows_are_whole_tiles_within_the_budget_and_no_longer_than_may_be(shape, most, most_side):
    rows, cols = window_shape(shape, most, most_side)
    assert rows * cols <= most
    assert max(rows, cols) <= most_side
    assert 1 <= rows <= shape[0]
    assert 1 <= cols <= shape[1]
    assert rows % 256 == 0 or rows == shape[0]
    assert cols % 256 == 0 or cols == shape[1]


@given(shapes, st.integers(1, 20), st.integers(1, 4), fan_outs)
def test_every_pixel_of_every_band_and_scene_is_asked_once(shape, bands, scenes, fan_out):
    height, width = shape
    for draft in plan_of(shape, bands, scenes, transport="auto", fan_out=fan_out).drafts:
        asked, area = Counter(), Counter()
        for request in draft.requests:
            window = request.window
            assert window.row + window.height <= height
            assert window.col + window.width <= width
            for scene_id in request.image_ids:
                for name in request.bands:
                    asked[scene_id, name, window] += 1
                    area[scene_id, name] += window.height * window.width
        assert set(asked.values()) == {1}
        assert len(area) == bands * scenes
        assert set(area.values()) == {height * width}
        covered = np.zeros(shape, int)
        for window in draft.windows:
            covered[window.row : window.row + window.height, window.col : window.col + window.width] += 1
        assert (covered == 1).all()


@given(shapes, st.integers(1, 6), st.integers(1, 5), st.integers(0, 4))
def test_windows_do_not_depend_on_what_is_wanted_still(shape, bands, scenes, done):
    # A run that goes on after a killed one finds its blocks only if both cut the grid alike.
    series = series_of(shape, bands, scenes)
    whole = make_plan(job(), series)
    rest = make_plan(job(), series, is_done=lambda product: int(product.image.image_id[1:]) < done)
    assert rest.transport == whole.transport
    before = {draft.transport: (draft.windows, draft.band_groups) for draft in whole.drafts}
    assert {draft.transport: (draft.windows, draft.band_groups) for draft in rest.drafts} == before


def test_get_region_is_preferred_until_pixels_are_twice_as_quick_and_a_named_transport_is_the_only_one():
    field = plan_of((100, 100), 4, 10, transport="auto")
    raster = plan_of((2000, 2000), 4, 1, transport="auto")
    assert [draft.transport for draft in field.drafts] == ["get_region", "compute_pixels"]
    assert field.drafts[0].seconds < 2 * field.drafts[1].seconds
    assert [draft.transport for draft in raster.drafts] == ["compute_pixels", "get_region"]
    assert raster.drafts[0].seconds * 2 < raster.drafts[1].seconds
    assert field.other.transport == "compute_pixels"
    assert field.other.other is None
    for name in ("get_region", "compute_pixels"):
        only = plan_of((100, 100), 4, 10, transport=name)
        assert [draft.transport for draft in only.drafts] == [name]
        assert only.other is None
    points = make_plan(job(transport="auto"), replace(series_of((10, 10)), region="points"))
    assert [draft.transport for draft in points.drafts] == ["get_region"]


def test_time_by_hand():
    pace = Pace(concurrent=4, latency=0.5, seconds_per_value=1e-6, bytes_per_second=1e6, seconds_per_request=0.01)
    # Ten requests on four slots are three waves; each of 0.5 s and 200,000 values; 10 x 0.01 s; 2 MB on the line and
    # 2 MB x 1e-7 s of decoding: 3 x 0.7 + 0.1 + 2 + 0.2.
    assert pace.seconds(10, 2_000_000, 2_000_000, 1e-7) == pytest.approx(4.4)
    assert pace.seconds(0, 0, 0, 1e-7) == 0


@pytest.mark.parametrize(
    ("shape", "most", "windows"),
    [
        # Whole where it fits: 500 * 600 = 300,000 rows, 512 * 512 * 4 = 1,048,576 values.
        ((500, 600), 300_000, 1),
        ((512, 512), 262_144, 1),
        ((1, 300_000), 300_000, 1),
        # One row too many: 512 x 512 windows (262,144 rows) over 501 x 600 is two; 256 x 600 is two as well.
        ((501, 600), 300_000, 2),
        # 513 x 513 at 4 bands: 262,144 pixels a window; 256 rows x 513 columns is 3, 512 x 512 is 4.
        ((513, 513), 262_144, 3),
        # A Sentinel-2 tile, one band: 43 tiles a side. 300,000 / 65,536 = 4 tiles a window: 22 * 22 of 2 x 2,
        # 43 * 11 of 1 x 4: 473.
        ((10980, 10980), 300_000, 473),
        # 16 bands: one tile a window, 43 * 43.
        ((10980, 10980), 65_536, 1849),
        # Narrow: 29,952 rows (117 tiles) of 10 pixels a window: 2,000,000 / 29,952 = 66.8.
        ((2_000_000, 10), 300_000, 67),
        ((10, 2_000_000), 300_000, 67),
        # 1,500 x 900, one band: 256 rows of 900 (230,400) is 6; 768 x 256 is 2 * 4; 512 x 512 is 3 * 2.
        ((1500, 900), 300_000, 6),
    ],
)
def test_fewest_windows_by_hand(shape, most, windows):
    rows, cols = window_shape(shape, most, MOST_VALUES)
    assert rows * cols <= most
    assert math.ceil(shape[0] / rows) * math.ceil(shape[1] / cols) == windows


def test_of_as_few_windows_the_squarest():
    # Six windows either way: 256 x 900 or 512 x 512.
    assert window_shape((1500, 900), MOST_ROWS, MOST_VALUES) == (512, 512)


def test_windows_a_bit_smaller_where_that_fills_the_last_wave():
    # 121 windows of 768 x 768, the largest, are four waves of 32 requests, each 0.5 s and 2.2 s for its 2.2 million
    # values; 128 of 512 x 1,024 are four as well, of 2.1 s.
    draft = plan_of((8192, 8192), 4, transport="compute_pixels").chosen
    assert len(draft.requests) == 128
    assert (draft.windows[0].height, draft.windows[0].width) == (512, 1024)


def test_a_strip_is_cut_where_no_longer_side_may_be_asked_for():
    # computePixels allows 32,768 pixels a side; the strip's 1.6 million pixels would fit in one request.
    assert window_shape((20, 80_000), 1_677_721, 32_768) == (20, 32_768)


@pytest.mark.parametrize(
    ("count", "fan_out", "sizes"),
    [
        (4, "auto", [4]),
        (4, "none", [4]),
        (4, "bands", [1, 1, 1, 1]),
        (1, "auto", [1]),
        (16, "auto", [16]),
        # More than 16 would not let a 256 x 256 tile fit; 17 go as 9 and 8.
        (17, "auto", [9, 8]),
        (26, "none", [13, 13]),
        (33, "auto", [11, 11, 11]),
    ],
)
def test_bands_asked_together(count, fan_out, sizes):
    series = series_of((10, 10), bands=count)
    names = [band.name for band in series.bands]
    groups = band_groups(TRANSPORTS["get_region"], series, fan_out)
    assert [len(group) for group in groups] == sizes
    assert [name for group in groups for name in group] == names


def test_scenes_share_a_request_while_they_fit():
    one = Pace(concurrent=1, latency=100)  # where waiting is dear, a request takes all it may

    def together(bands, scenes):
        plan = make_plan(job(transport="get_region"), series_of((100, 100), bands, scenes), pace=one)
        return [len(request.image_ids) for request in plan.requests]

    # 100 x 100 pixels: 30 scenes are 300,000 rows. With 16 bands values decide: 1,048,576 / 160,000 = 6.55.
    assert max(together(2, 65)) == 30
    assert len(together(2, 65)) == 3
    assert max(together(16, 13)) == 6
    assert len(together(16, 13)) == 3


def test_split_goes_down_to_one_pixel_and_loses_nothing():
    waiting, single = [Request(("a", "b", "c"), ("B1", "B2"), Window(4, 7, 5, 3))], []
    while waiting:
        request = waiting.pop()
        parts = request.split()
        if parts == [request]:
            single.append(request)
        else:
            assert sum(part.values for part in parts) == request.values
            assert len(parts) in {2, 4}
            waiting.extend(parts)
    pixels = {(r.image_ids, r.bands, r.window.row, r.window.col) for r in single}
    assert all(request.values == 1 for request in single)
    assert len(single) == len(pixels) == 3 * 2 * 5 * 3
    assert {(row, col) for *_, row, col in pixels} == {(row, col) for row in range(4, 9) for col in range(7, 10)}


def test_split_order_is_window_then_scenes_then_bands():
    assert [part.window for part in Request(("a", "b"), ("B1",), Window(0, 0, 2, 2)).split()] == [
        Window(0, 0, 1, 1),
        Window(0, 1, 1, 1),
        Window(1, 0, 1, 1),
        Window(1, 1, 1, 1),
    ]
    pixel = Window(0, 0, 1, 1)
    assert Request(("a", "b", "c"), ("B1", "B2"), pixel).split() == [
        Request(("a", "b"), ("B1", "B2"), pixel),
        Request(("c",), ("B1", "B2"), pixel),
    ]
    assert Request(("a",), ("B1", "B2"), pixel).split() == [
        Request(("a",), ("B1",), pixel),
        Request(("a",), ("B2",), pixel),
    ]


def names_of(*scenes, name="farm", source="C", is_image=False):
    own = {"collection": None, "image": source} if is_image else {"collection": source}
    named = job(name=name, **own)
    series = make_series(named, make_images(named, scenes), ["B2"], grid_of(2, 3))
    return [product.name for product in make_plan(named, series).products]


def test_product_is_named_by_the_scenes_own_time_in_utc():
    assert names_of(scene(0)) == ["farm_20190503T105621"]


def test_two_scenes_in_one_second_get_numbers():
    moments = [START.replace(microsecond=0), START, START + timedelta(milliseconds=100), START + timedelta(seconds=1)]
    assert names_of(*(scene(n, time_start=moment) for n, moment in enumerate(moments))) == [
        "farm_20190503T105621",
        "farm_20190503T105621_2",
        "farm_20190503T105621_3",
        "farm_20190503T105622",
    ]


def test_scene_without_a_time_is_named_by_its_id_made_safe():
    timeless = [scene(n, scene_id=text, time_start=None) for n, text in enumerate(["2000_02_18", "a/../b", "a|..|b"])]
    assert names_of(*timeless) == ["farm_2000_02_18", "farm_a_.._b", "farm_a_.._b_2"]


def test_numbered_name_never_meets_a_scenes_own():
    timeless = [scene(n, scene_id=text, time_start=None) for n, text in enumerate(["a!", "a", "a_2", "a?"])]
    names = names_of(*timeless)
    assert len(set(names)) == 4


def test_single_image_has_the_jobs_name():
    assert names_of(scene(0, time_start=None), is_image=True) == ["farm"]


def other_version(series, version):
    image = series.images[0]
    return replace(series, images=(replace(image, scenes=(replace(image.scenes[0], version=version),)),))


def block_key(series, window=Window(0, 0, 2, 3), bands=("B0",), image_id="S0000"):  # noqa: B008  frozen
    return series.block_key(image_id, bands, window)


def test_block_key_changes_with_all_that_decides_pixels():
    base = series_of((20, 30), bands=2, scenes=2)
    keys = [
        block_key(base),
        block_key(base, bands=("B1",)),
        block_key(base, bands=("B0", "B1")),
        block_key(base, bands=("B1", "B0")),
        block_key(base, image_id="S0001"),
        block_key(base, window=Window(0, 1, 2, 3)),
        block_key(base, window=Window(1, 0, 2, 3)),
        block_key(base, window=Window(0, 0, 3, 2)),
        block_key(replace(base, source="COPERNICUS/S2_SR")),
        block_key(other_version(base, 2)),
        block_key(other_version(base, None)),
        block_key(replace(base, bands=(BandType("B0", "int16"),))),
        block_key(replace(base, grid=GeoBox((20, 30), base.grid.transform, "EPSG:32632"))),
        block_key(replace(base, grid=GeoBox((20, 30), Affine(10, 0, 600005, 0, -10, 5700000), "EPSG:32631"))),
        block_key(replace(base, grid=GeoBox((20, 30), Affine(20, 0, 600000, 0, -20, 5700000), "EPSG:32631"))),
    ]
    assert len(set(keys)) == len(keys)


def test_block_key_stays_with_what_decides_nothing():
    base = series_of((20, 30), bands=2, scenes=2)
    key = block_key(base)
    assert block_key(series_of((20, 30), bands=2, scenes=2)) == key
    assert block_key(replace(base, region="points")) == key  # the same pixels by another request
    assert block_key(replace(base, images=base.images[:1])) == key
    assert block_key(replace(base, bands=(*base.bands, BandType("B9", "float32")))) == key
    assert block_key(replace(base, grid=grid_of(200, 300))) == key  # a larger area on the same pixels
    moved = GeoBox((20, 30), Affine(10, 0, 599990, 0, -10, 5700010), "EPSG:32631")
    assert block_key(replace(base, grid=moved), window=Window(1, 1, 2, 3)) == key


def product_key(series, clip=None):
    return make_plan(job(), series, clip).products[0].key


def test_product_key_changes_with_version_bands_grid_and_outline_only():
    base = series_of((20, 30), bands=2)
    keys = [
        product_key(base),
        product_key(base, shapely.box(600000, 5699900, 600100, 5700000)),
        product_key(base, shapely.box(600000, 5699900, 600100, 5699999)),
        product_key(replace(base, bands=base.bands[:1])),
        product_key(replace(base, bands=base.bands[::-1])),
        product_key(replace(base, grid=grid_of(20, 31))),
        product_key(other_version(base, 2)),
    ]
    assert len(set(keys)) == len(keys)
    assert product_key(series_of((20, 30), bands=2, scenes=3)) == keys[0]


def test_products_on_disk_are_planned_but_not_asked_for():
    plan = make_plan(job(), series_of((10, 10), scenes=3), is_done=lambda product: product.image.image_id == "S0001")
    assert [product.image.image_id for product in plan.products] == ["S0000", "S0001", "S0002"]
    assert {name for request in plan.requests for name in request.image_ids} == {"S0000", "S0002"}
    assert make_plan(job(), series_of((10, 10)), is_done=lambda product: True).requests == ()


def test_sizes_are_counted_by_hand():
    plan = plan_of((10, 20), bands=3, scenes=4)
    assert plan.chosen.values == 10 * 20 * 3 * 4
    assert plan.pixel_bytes == 10 * 20 * 3 * 4 * 2


@pytest.mark.parametrize("transport", ["get_region", "compute_pixels"])
def test_blocks_of_a_product_are_those_its_requests_bring(transport):
    plan = plan_of((300, 1200), bands=20, scenes=2, transport=transport)
    brought = {
        (scene_id, plan.series.block_key(scene_id, request.bands, request.window))
        for request in plan.requests
        for scene_id in request.image_ids
    }
    needed = {(product.image.image_id, key) for product in plan.products for *_, key in plan.blocks_of(product)}
    assert brought == needed


def test_limits_stop_a_plan_with_the_number_and_the_fix():
    plan = plan_of((100, 100), bands=5, fan_out="bands")
    count = len(plan.requests)
    assert count >= 5
    check_limits(plan, Limits(max_requests=count))
    with pytest.raises(
        LimitExceeded,
        match=rf"^The plan needs {count} requests; limits\.max_requests is {count - 1}\. Take a smaller area, "
        r"fewer bands or dates or a coarser grid\.resolution, or raise the limit\.$",
    ):
        check_limits(plan, Limits(max_requests=count - 1))


def test_limit_of_bytes():
    plan = plan_of(
        (1024, 1024), bands=4, scenes=16
    )  # 2^20 pixels x 4 bands x 2 bytes x 16 scenes = 2^27 bytes = 0.125 GiB
    check_limits(plan, Limits(max_gib=0.125))
    with pytest.raises(LimitExceeded, match=r"0\.1.* GiB.*limits\.max_gib is 0\.1\b"):
        check_limits(plan, Limits(max_gib=0.1))


def test_series_takes_the_dtype_that_holds_every_scene():
    scenes = [scene(0, dtype="uint16"), scene(1, dtype="int16")]
    made = make_series(job(), make_images(job(), scenes), ["B2"], grid_of(2, 3))
    assert made.bands == (BandType("B2", "int32"),)
    assert made.source == "COPERNICUS/S2_SR_HARMONIZED"


def test_outline_is_the_area_in_the_grids_crs_when_clipping_is_asked_for():
    box = {"bbox": [600003, 5699903, 600097, 5699997], "crs": "EPSG:32631"}
    area = load_aoi(AreaOfInterest.model_validate(box))
    assert outline(job(aoi=box), area, grid_of(10, 10)) is None
    clipped = outline(job(aoi={**box, "clip": True}), area, grid_of(10, 10))
    assert clipped.bounds == (600003, 5699903, 600097, 5699997)
