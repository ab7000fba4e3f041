"""Products on disk, read back with rasterio: every pixel, every mask, in every dtype."""

import hashlib
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rio_cogeo import cog_validate

from eeflow.blocks import Block, BlockStore
from eeflow.draft import Draft, write_product
from eeflow.errors import IncompleteProduct, ValueOutOfRange
from eeflow.plan import make_plan
from eeflow.raster import tiles


@pytest.fixture
def store(tmp_path):
    return BlockStore(tmp_path / "blocks")


@pytest.fixture
def make_output(make_job):
    """The `output` of a job, with changes."""
    return lambda **changes: make_job().output.model_dump() | changes


@pytest.fixture
def written(make_job, make_series, store):
    """Writes arrays by band, and masks where they are given, as the product of a scene; gives its path and entry."""

    def write(values, valid=None, seen=None, outline=None, job=None, **where):
        job = job or make_job()
        job.folder.mkdir(parents=True, exist_ok=True)
        shape = next(iter(values.values())).shape
        bands = {name: str(array.dtype) for name, array in values.items()}
        series = make_series(shape=shape, bands=bands, job=job, **where)
        plan = make_plan(job, series, outline)
        valid = {name: np.ones(shape, bool) for name in values} | (valid or {})
        seen = np.ones(shape, bool) if seen is None else seen
        for window, bands, key in plan.blocks_of(plan.products[0]):
            place = np.s_[window.row : window.row + window.height, window.col : window.col + window.width]
            store.save(
                key,
                Block(
                    {name: np.where(valid[name], values[name], 0)[place].astype(values[name].dtype) for name in bands},
                    {name: valid[name][place] for name in bands},
                    seen[place],
                ),
            )
        entry = write_product(job, plan, plan.products[0], store)
        return job.folder / entry.path, entry, plan

    return write


def coded(shape, dtype="uint16"):
    """Each pixel says its row and column, modulo what the dtype holds."""
    rows, cols = np.indices(shape)
    return (rows * 1009 + cols).astype("int64").astype(dtype)


def check(path, values, valid=None):
    """Every pixel and mask of every band, as rasterio reads them."""
    with rasterio.open(path) as raster:
        assert raster.count == len(values)
        assert raster.descriptions == tuple(values)
        for index, (name, expected) in enumerate(values.items(), start=1):
            right = np.ones(expected.shape, bool) if valid is None else valid[name]
            found = raster.read(index)
            np.testing.assert_array_equal(raster.read_masks(index) > 0, right, err_msg=name)
            np.testing.assert_array_equal(found[right], expected[right], err_msg=name)
            if raster.nodata is not None:
                is_nodata = np.isnan(found) if np.isnan(raster.nodata) else found == raster.nodata
                np.testing.assert_array_equal(is_nodata, ~right, err_msg=name)


@pytest.mark.parametrize("form", ["cog", "gtiff"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (256, 256), (257, 300), (700, 600)])
def test_every_pixel_of_every_window_is_in_its_place(written, make_job, form, shape):
    values = {"B4": coded(shape), "B3": coded(shape)[::-1], "B2": coded(shape)[:, ::-1]}
    draw = np.random.default_rng(1)
    shared = draw.random(shape) < 0.9
    output = make_job().output.model_dump() | {"format": form}
    path, _, _ = written(values, dict.fromkeys(values, shared), job=make_job(output=output))
    check(path, values, dict.fromkeys(values, shared))
    with rasterio.open(path) as raster:
        assert raster.dtypes == ("uint16",) * 3
        assert raster.shape == shape


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (32631, Affine(10, 0, 600000, 0, -10, 5700000)),
        (32723, Affine(10, 0, 609990, 0, -10, 7654330)),
        (4326, Affine(1 / 3600, 0, -180.0001388888889, 0, -1 / 3600, 60.00013888888889)),
        (3035, Affine(10, 0, 4321000, 0, -10, 3210020)),
        (32619, Affine(448.3, 0, 1000, 0, -455.9, 2000)),
    ],
)
def test_crs_and_outer_edge_transform(written, crs, transform):
    path, _, _ = written({"B2": coded((5, 9))}, crs=crs, transform=transform)
    with rasterio.open(path) as raster:
        assert raster.crs.to_epsg() == crs
        assert raster.transform.almost_equals(transform, 1e-12)
        assert raster.tags()["AREA_OR_POINT"] == "Area"


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("uint16", [0, 1, 40000, 65535, 65534, 7]),
        ("uint8", [0, 1, 254, 255, 7, 8]),
        ("int8", [-128, 127, 0, -1, 1, 2]),
        ("int16", [-32768, 32767, 0, -1, 40, 2]),
        ("int32", [2**24 + 1, -(2**31), 2**31 - 1, 0, 5, 6]),
        ("uint32", [0, 2**32 - 1, 2**31, 2**24 + 1, 5, 6]),
        ("int64", [2**53 - 1, -(2**53) + 1, 0, 1, 2, 3]),
        ("float32", [0.0, -9999.0, 3.4e38, 0.7, -0.5, 1e-30]),
        ("float64", [0.0, 0.1, -9999.0, 1e300, 0.7, 1e-300]),
    ],
)
@pytest.mark.parametrize("masked", [True, False])
def test_values_at_the_ends_of_each_dtype_stay_valid(written, dtype, values, masked):
    array = np.array([[*values, 0]], dtype)
    valid = np.array([[True] * len(values) + [not masked]])
    path, _, _ = written({"B2": array}, {"B2": valid})
    check(path, {"B2": array}, {"B2": valid})
    with rasterio.open(path) as raster:
        assert raster.dtypes == (dtype,)


def test_nodata_is_the_far_end_that_no_pixel_has(written):
    def nodata_of(values, dtype):
        path, _, _ = written({"B2": np.array([values], dtype)})
        with rasterio.open(path) as raster:
            return raster.nodata

    assert nodata_of([0, 5], "uint16") == 65535
    assert nodata_of([1, 65535], "uint16") == 65534
    assert nodata_of([0, 65535], "uint16") == 65534
    assert nodata_of([0, 65535, 65534], "uint16") == 65533
    assert nodata_of([0, 5], "int16") == -32768
    assert nodata_of([-32768, 5], "int16") == 32767
    assert nodata_of([-32768, 32767], "int16") == -32767
    assert np.isnan(nodata_of([0, 5], "float32"))


def test_every_value_in_use_leaves_the_mask_alone_to_tell(written):
    array = np.arange(256, dtype="uint8").reshape(16, 16)
    everything = np.vstack([array, np.zeros((1, 16), "uint8")])
    valid = np.ones(everything.shape, bool)
    valid[16] = False
    path, _, _ = written({"SCL": everything}, {"SCL": valid})
    with rasterio.open(path) as raster:
        assert raster.nodata is None
        assert raster.dtypes == ("uint8",)
    check(path, {"SCL": everything}, {"SCL": valid})


def test_bands_with_masks_of_their_own(written):
    values = {"B2": coded((40, 30)), "B3": coded((40, 30)) + 1}
    draw = np.random.default_rng(2)
    valid = {name: draw.random((40, 30)) < 0.7 for name in values}
    path, entry, _ = written(values, valid)
    check(path, values, valid)
    both = int((valid["B2"] & valid["B3"]).sum())
    assert (entry.valid_pixels, entry.masked_pixels) == (both, 1200 - both)


def test_bands_with_masks_of_their_own_and_every_value_in_use_get_a_wider_dtype(written):
    array = np.arange(256, dtype="uint8").reshape(16, 16)
    values = {"a": array, "b": array[::-1].copy()}
    everything = {name: np.vstack([part, np.zeros((2, 16), "uint8")]) for name, part in values.items()}
    valid = {name: np.ones((18, 16), bool) for name in values}
    valid["a"][16], valid["b"][17] = False, False
    path, _, _ = written(everything, valid)
    with rasterio.open(path) as raster:
        assert raster.dtypes == ("int16", "int16")
    check(path, {name: part.astype("int16") for name, part in everything.items()}, valid)


def test_bands_of_several_dtypes_share_one_that_holds_them(written):
    values = {"B2": np.array([[65535, 0]], "uint16"), "SCL": np.array([[255, 11]], "uint8")}
    path, _, _ = written(values)
    with rasterio.open(path) as raster:
        assert raster.dtypes == ("uint16", "uint16")
    check(path, values)
    signed = {"B2": np.array([[65535, 0]], "uint16"), "t": np.array([[-32768, 32767]], "int16")}
    check(written(signed)[0], signed)
    with rasterio.open(written(signed)[0]) as raster:
        assert raster.dtypes == ("int32", "int32")


def test_all_masked_product_is_written_as_such(written):
    nothing = np.zeros((5, 6), bool)
    path, entry, _ = written({"B2": coded((5, 6))}, {"B2": nothing})
    check(path, {"B2": coded((5, 6))}, {"B2": nothing})
    assert (entry.valid_pixels, entry.masked_pixels, entry.missed_pixels) == (0, 30, 0)


def test_pixels_the_scene_misses_are_counted_apart(written):
    seen = np.ones((4, 5), bool)
    seen[:, 3:] = False
    valid = seen.copy()
    valid[0, 0] = False
    _, entry, _ = written({"B2": coded((4, 5))}, {"B2": valid}, seen)
    assert (entry.valid_pixels, entry.masked_pixels, entry.missed_pixels, entry.clipped_pixels) == (11, 1, 8, 0)


def test_clipped_pixels_are_those_whose_centre_lies_outside(written):
    # Grid of 10 m from (600000, 5700000); a triangle with its right angle at the upper left corner of the grid.
    outline = shapely.Polygon([(600000, 5700000), (600060, 5700000), (600000, 5699940)])
    values = {"B2": coded((6, 6))}
    path, entry, _ = written(values, outline=outline)
    # Of row r the centres at column c + 0.5 with (c + 0.5) + (r + 0.5) < 6 lie inside; those on the line are left out
    # of the count, since a centre on the edge may fall to either side.
    rows, cols = np.indices((6, 6))
    inside, edge = rows + cols + 1 < 6, rows + cols + 1 == 6
    with rasterio.open(path) as raster:
        mask = raster.read_masks(1) > 0
    np.testing.assert_array_equal(mask[~edge], inside[~edge])
    assert entry.valid_pixels + entry.clipped_pixels == 36
    assert 15 <= entry.valid_pixels <= 21


def test_outline_elsewhere_clips_everything(written):
    _, entry, _ = written({"B2": coded((6, 6))}, outline=shapely.box(0, 0, 10, 10))
    assert (entry.valid_pixels, entry.clipped_pixels) == (0, 36)


def test_cog_has_tiles_overviews_and_its_mask_on_each(written):
    shape = (700, 600)
    valid = np.ones(shape, bool)
    valid[:350] = False
    path, _, _ = written({"B2": coded(shape)}, {"B2": valid})
    with rasterio.open(path) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.block_shapes == [(256, 256)]
        # Halved until it fits a tile: 350 x 300, then 175 x 150.
        assert raster.overviews(1) == [2, 4]
    with rasterio.open(path, overview_level=0) as half:
        assert half.shape == (350, 300)
        np.testing.assert_array_equal(half.read_masks(1) > 0, valid[::2, ::2])


def test_tags_say_where_it_comes_from(written):
    path, entry, _ = written({"B2": coded((3, 4))})
    with rasterio.open(path) as raster:
        tags = raster.tags()
    assert tags["COLLECTION"] == "COPERNICUS/S2_SR_HARMONIZED"
    assert tags["SCENE_IDS"] == "S0"
    assert tags["SCENE_VERSIONS"] == "1556881381000000"
    assert tags["TIME_START"] == "2019-05-03T10:56:21.750000+00:00"
    assert tags["JOB_HASH"] == entry.job_hash
    assert tags["GRID_HASH"] == entry.grid_hash
    assert tags["SOFTWARE"].startswith("eeflow ")
    assert tags["TIFFTAG_DATETIME"] == "2019:05:03 10:56:21"


def test_entry_describes_the_file(written):
    path, entry, plan = written({"B2": coded((3, 4))})
    assert path.name == entry.path == "farm_20190503T105621.tif"
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry.size == path.stat().st_size
    assert entry.key == plan.products[0].key
    assert entry.versions == (1556881381000000,)
    assert entry.time_start == "2019-05-03T10:56:21.750000+00:00"


def test_missing_block_writes_no_file(written, store):
    path, _, plan = written({"B2": coded((700, 600)), "B3": coded((700, 600))})
    path.unlink()
    *_, key = list(plan.blocks_of(plan.products[0]))[-1]
    store.discard(key)
    with pytest.raises(IncompleteProduct, match=r"^farm_20190503T105621: bands .* of the .* window at row .*, column"):
        list(tiles(plan, plan.products[0], store))
    assert list(path.parent.iterdir()) == []


def test_failing_write_leaves_nothing_behind(written, make_job, store):
    path, _, plan = written({"B2": coded((300, 300))})
    path.unlink()
    *_, key = next(iter(plan.blocks_of(plan.products[0])))
    store.discard(key)
    with pytest.raises(IncompleteProduct):
        write_product(make_job(), plan, plan.products[0], store)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("fan_out", ["bands", "none"])
def test_tiles_go_by_band_order_whatever_the_groups(written, make_job, store, fan_out):
    values = {f"B{n}": np.full((3, 4), n, "uint16") for n in range(20)}
    path, _, plan = written(values, job=make_job(fan_out=fan_out))
    (tile,) = tiles(plan, plan.products[0], store)
    assert tile.values[:, 0, 0].tolist() == list(range(20))
    check(path, values)


def test_summary_finds_the_shared_mask(written, make_job, store):
    values = {"B2": coded((4, 5)), "B3": coded((4, 5))}
    valid = np.ones((4, 5), bool)
    valid[1, 1] = False
    _, _, plan = written(values, dict.fromkeys(values, valid))
    assert Draft(make_job(), plan, plan.products[0], store).complete().shared_mask
    _, _, plan = written({"B2": coded((4, 6)), "B3": coded((4, 6))}, {"B2": np.eye(4, 6, dtype=bool)})
    assert not Draft(make_job(), plan, plan.products[0], store).complete().shared_mask


def test_series_with_another_version_does_not_take_old_blocks(written, make_job, store):
    _, _, plan = written({"B2": coded((3, 4))})
    image = plan.series.images[0]
    scene = replace(image, scenes=(replace(image.scenes[0], version=2),))
    newer = make_plan(make_job(), replace(plan.series, images=(scene,)))
    with pytest.raises(IncompleteProduct):
        write_product(make_job(), newer, newer.products[0], store)


@pytest.mark.parametrize("shared", [True, False])
def test_64_bit_whole_numbers_end(written, shared):
    # GDAL 3.10's overviews of 64-bit whole numbers with a nodata value never end.
    values = {"a": coded((600, 300), "int64"), "b": coded((600, 300), "int64") + 2**40}
    valid = {
        name: np.random.default_rng(seed * (not shared)).random((600, 300)) < 0.8 for seed, name in enumerate("ab")
    }
    path, _, _ = written(values, valid)
    check(path, values, valid)
    with rasterio.open(path) as raster:
        assert bool(raster.overviews(1)) == shared


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint32"])
def test_wide_whole_numbers_with_masks_of_their_own(written, dtype):
    # -9 because rasterio stores a nodata of -2**63 as -9.
    info = np.iinfo(dtype)
    ends = [-(2**53) + 1, 2**53 - 1] if dtype == "int64" else [info.min, info.max]
    low = -9 if info.min else 9
    values = {"a": np.array([[*ends, low, 5]], dtype), "b": np.array([[7, low, *ends]], dtype)}
    valid = {"a": np.array([[True, True, True, False]]), "b": np.array([[False, True, True, True]])}
    path, _, _ = written(values, valid)
    check(path, values, valid)


LANDSAT = "LANDSAT/LC08/C02/T1_L2"


def test_raw_numbers_say_their_scale_and_unit(written, make_job):
    values = {"SR_B4": coded((5, 6)), "ST_B10": coded((5, 6)) + 9, "QA_PIXEL": coded((5, 6))}
    path, _, _ = written(values, job=make_job(collection=LANDSAT))
    check(path, values)
    with rasterio.open(path) as raster:
        assert raster.scales == (0.0000275, 0.00341802, 1.0)
        assert raster.offsets == (-0.2, 149.0, 0.0)
        assert raster.units == (None, "K", None)


def test_physical_values_have_no_scale_left_and_nan_where_masked(written, make_job, make_output):
    stored, valid = coded((5, 6)), np.eye(5, 6, dtype=bool)
    job = make_job(collection=LANDSAT, output=make_output(reflectance=True))
    path, entry, _ = written({"SR_B4": stored}, {"SR_B4": valid}, job=job)
    check(path, {"SR_B4": (stored.astype("float64") * 0.0000275 - 0.2).astype("float32")}, {"SR_B4": valid})
    with rasterio.open(path) as raster:
        assert (raster.dtypes, raster.scales, raster.offsets) == (("float32",), (1.0,), (0.0,))
    assert entry.valid_pixels == 5


def test_numbers_of_unharmonized_sentinel_2_are_given_no_scale(written, make_job):
    path, _, _ = written({"B4": coded((5, 6))}, job=make_job(collection="COPERNICUS/S2_SR"))
    with rasterio.open(path) as raster:
        assert (raster.scales, raster.offsets) == ((1.0,), (0.0,))


@pytest.mark.parametrize("form", ["cog", "gtiff"])
def test_classes_have_colours_names_and_overviews_by_majority(written, make_job, make_output, form):
    rows, cols = np.indices((600, 500))
    classes = np.where(cols % 2 + rows % 2 == 0, 80, 10).astype("uint8")  # three of every four are 10
    job = make_job(collection="ESA/WorldCover/v200", output=make_output(format=form))
    path, _, _ = written({"Map": classes}, {"Map": rows > 300}, job=job)
    check(path, {"Map": classes}, {"Map": rows > 300})
    with rasterio.open(path) as raster:
        assert raster.nodata == 0
        assert (raster.colormap(1)[10], raster.colormap(1)[80]) == ((0, 100, 0, 255), (0, 100, 200, 255))
    if form == "cog":
        with rasterio.open(path, overview_level=0) as half:
            assert (half.read(1)[151:] == 10).all()
    names = ElementTree.parse(f"{path}.aux.xml").findall("./PAMRasterBand/CategoryNames/Category")
    assert {value: name.text for value, name in enumerate(names) if name.text}[95] == "Mangroves"
    assert len(names) == 101


def test_overviews_are_means_of_valid_pixels_alone(written):
    values, valid = coded((600, 500)), np.random.default_rng(3).random((600, 500)) < 0.5
    path, _, _ = written({"B4": values, "B8": values}, {"B4": valid, "B8": valid})
    count = valid.reshape(300, 2, 250, 2).sum(axis=(1, 3))
    total = np.where(valid, values, 0).reshape(300, 2, 250, 2).sum(axis=(1, 3))
    with rasterio.open(path, overview_level=0) as half:
        np.testing.assert_array_equal(half.read_masks(1) > 0, count > 0)
        found = half.read(2).astype(float)
    np.testing.assert_allclose(found[count > 0], total[count > 0] / count[count > 0], atol=0.5)


def test_flags_beside_numbers_are_not_averaged(written):
    cols = np.indices((600, 500))[1]
    values = {"B4": coded((600, 500)), "SCL": np.where(cols % 2, 4, 8).astype("uint8")}
    path, _, _ = written(values)
    with rasterio.open(path, overview_level=0) as half:
        assert set(np.unique(half.read(2))) <= {4, 8}
        assert np.isin(half.read(1), values["B4"]).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_asked_for_dtype_keeps_every_value(written, make_job, make_output, dtype):
    values, valid = {"b": np.array([[0, 1, 127, 5]], "int64")}, {"b": np.array([[True, True, True, False]])}
    job = make_job(collection="some/collection", output=make_output(dtype=dtype))
    path, _, _ = written(values, valid, job=job)
    check(path, {"b": values["b"].astype(dtype)}, valid)
    with rasterio.open(path) as raster:
        assert raster.dtypes == (dtype,)


def test_value_that_does_not_fit_leaves_no_file(written, make_job, make_output):
    job = make_job(output=make_output(dtype="uint8"))
    with pytest.raises(ValueOutOfRange, match=r"Band B4 has the value 3000, which uint8 cannot hold"):
        written({"B4": np.full((300, 300), 3000, "uint16")}, job=job)
    assert list(job.folder.iterdir()) == []


def test_dtype_without_a_value_to_spare_is_refused_where_it_was_asked_for(written, make_job, make_output):
    every = np.arange(256, dtype="uint8").reshape(16, 16)
    valid = {"a": np.ones((16, 16), bool), "b": np.ones((16, 16), bool)}
    valid["a"][0, 0] = False
    with pytest.raises(ValueOutOfRange, match="no value of uint8 is free to stand for masked ones"):
        written({"a": every, "b": every}, valid, job=make_job(output=make_output(dtype="uint8")))


def test_nodata_is_the_presets_unless_a_valid_pixel_has_it(written, make_job):
    def nodata_of(values):
        path, _, _ = written({"NDVI": np.array([values], "int16")}, job=make_job(collection="MODIS/061/MOD13Q1"))
        with rasterio.open(path) as raster:
            return raster.nodata

    assert nodata_of([-2000, 0, 10000]) == -3000
    assert nodata_of([-3000, 0, 10000]) == -32768


def test_zero_is_never_nodata_of_numbers(written):
    every = np.arange(1, 256, dtype="uint8").reshape(15, 17)
    path, _, _ = written({"TCI_R": every})
    with rasterio.open(path) as raster:
        assert raster.nodata is None


@pytest.mark.parametrize(
    ("collection", "bands", "output"),
    [
        ("COPERNICUS/S2_SR_HARMONIZED", {"B4": "uint16", "B8": "uint16"}, {}),
        ("COPERNICUS/S2_SR_HARMONIZED", {"B4": "uint16", "SCL": "uint8"}, {"reflectance": True}),
        ("ESA/WorldCover/v200", {"Map": "uint8"}, {}),
        ("COPERNICUS/S1_GRD", {"VV": "float64", "VH": "float64"}, {}),
        ("some/collection", {"b": "int8"}, {}),
        ("some/collection", {"b": "uint32"}, {}),
    ],
)
def test_rio_cogeo_finds_nothing_to_object_to(written, make_job, make_output, collection, bands, output):
    shape = (600, 300)
    values = {name: (coded(shape) % 100).astype(dtype) for name, dtype in bands.items()}
    draw = np.random.default_rng(5)
    for shared, compress in ((True, "zstd"), (False, "deflate")):
        masks = {name: draw.random(shape) < 0.8 for name in bands}
        valid = dict.fromkeys(bands, next(iter(masks.values()))) if shared else masks
        job = make_job(collection=collection, output=make_output(compress=compress, **output))
        path, _, _ = written(values, valid, job=job)
        assert cog_validate(path, strict=True) == (True, [], [])
        with rasterio.open(path) as raster:
            assert raster.compression.name.lower() == compress
            for index, name in enumerate(bands, start=1):
                np.testing.assert_array_equal(raster.read_masks(index) > 0, valid[name])


def test_rioxarray_reads_physical_values_masks_and_zeros(written, make_job):
    rioxarray = pytest.importorskip("rioxarray")
    values = {"SR_B4": coded((5, 6)), "SR_B5": coded((5, 6)) + 7}
    valid = np.ones((5, 6), bool)
    valid[2, 3] = False
    path, _, _ = written(values, dict.fromkeys(values, valid), job=make_job(collection=LANDSAT))
    with rioxarray.open_rasterio(path, mask_and_scale=True) as found:
        expected = np.where(valid, np.stack(list(values.values())) * 0.0000275 - 0.2, np.nan)
        np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    every = np.arange(256, dtype="uint8").reshape(16, 16)
    valid = every < 255
    path, _, _ = written({"b": every}, {"b": valid}, job=make_job(collection="some/collection"))
    with rioxarray.open_rasterio(path, masked=True) as found:
        np.testing.assert_array_equal(found.values[0], np.where(valid, every, np.nan))
