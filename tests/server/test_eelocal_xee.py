"""xee on eelocal: collections, composites and grids opened as datasets, with and without dask; equal to the files.

What is lazy, how grids are laid and what is masked is xee's documentation (`ext.py`, `helpers.py`).
"""

import ee
import numpy as np
import pytest
from peer_scenes import L8, L8_CRS, L8_TRANSFORM, S2, S2_CRS, S2_SHAPE, S2_TRANSFORM, index, peer_world, s2_image
from pyproj import Transformer
from rasterio.transform import Affine
from shapely import box

xarray = pytest.importorskip("xarray")
xee = pytest.importorskip("xee")
helpers = pytest.importorskip("xee.helpers")

GRID = {"crs": S2_CRS, "crs_transform": tuple(S2_TRANSFORM)[:6], "shape_2d": S2_SHAPE[::-1]}
DAYS = np.array(["2021-06-01", "2021-06-06", "2021-06-11", "2021-06-16"], "datetime64[ns]")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with peer_world(tmp_path_factory.mktemp("scenes")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(engine):
    """B4, B8 and B11 of four scenes with NaN where masked, shape (time, y, x)."""
    scenes = [engine.truth.s2(scene) for scene in range(4)]
    return {name: np.stack([s[name].astype("float32").filled(np.nan) for s in scenes]) for name in ("B4", "B8", "B11")}


def scenes(*bands):
    return ee.ImageCollection(S2).filterDate("2021-06-01", "2021-07-01").select(list(bands))


def opened(source, grid=GRID, **options):
    return xarray.open_dataset(source, engine="ee", **{**grid, **options})


def asked(engine):
    return engine.counts.get("image:computePixels", 0)


def assert_same(found, expected):
    assert np.array_equal(found.transpose(..., "y", "x").values, expected, equal_nan=True)


def source_pixels(crs, transform, shape_2d, source_crs, source_transform):
    """Rows and columns of the source at the centres of a grid's pixels."""
    cols, rows = np.meshgrid(np.arange(shape_2d[0]) + 0.5, np.arange(shape_2d[1]) + 0.5)
    xs, ys = Affine(*transform) @ (cols, rows)
    xs, ys = Transformer.from_crs(crs, source_crs, always_xy=True).transform(xs, ys)
    cols, rows = ~source_transform @ (xs, ys)
    return np.floor(rows).astype(int), np.floor(cols).astype(int)


def test_a_stack_of_scenes_with_masked_pixels_documented(stack):
    dataset = opened(scenes("B4", "B8", "B11"))
    assert dict(dataset.sizes) == {"time": 4, "y": 60, "x": 72}
    assert np.array_equal(dataset.time.values.astype("datetime64[D]"), DAYS.astype("datetime64[D]"))
    assert np.array_equal(dataset.x, 600005 + 10 * np.arange(72))
    assert np.array_equal(dataset.y, 5600035 - 10 * np.arange(60))
    assert dataset["B4"].attrs["data_type"] == "{'type': 'PixelType', 'precision': 'int', 'min': 0, 'max': 65535}"
    for name, expected in stack.items():
        assert name == "B11" or np.isnan(expected[1]).sum() == 24 * 60
        assert_same(dataset[name], expected)


def test_only_what_is_asked_for_is_fetched_documented(engine, stack):
    before = asked(engine)
    part = opened(f"ee://{S2}", n_images=4)["B8"].isel(time=slice(1, 3), y=slice(10, 25), x=7)
    assert asked(engine) == before
    assert np.array_equal(part.values, stack["B8"][1:3, 10:25, 7], equal_nan=True)
    assert asked(engine) == before + 1


def test_dask_loads_in_chunks_documented(engine, stack):
    pytest.importorskip("dask.array")
    before = asked(engine)
    dataset = opened(scenes("B4", "B8"), chunks={}, io_chunks={"time": 2, "x": 30, "y": 20})
    assert dataset["B4"].chunks == ((2, 2), (20, 20, 20), (30, 30, 12))
    index_of_plants = (dataset["B8"] - dataset["B4"]) / (dataset["B8"] + dataset["B4"])
    assert asked(engine) == before
    mean = index_of_plants.mean("time").compute(scheduler="threads")
    assert asked(engine) == before + 2 * 2 * 3 * 3
    expected = np.nanmean((stack["B8"] - stack["B4"]) / (stack["B8"] + stack["B4"]), axis=0)
    assert np.allclose(mean.transpose("y", "x"), expected, rtol=1e-5)


def test_requests_in_parts_or_whole_are_the_same_documented(stack):
    for chunks in ({"time": 1, "x": 72, "y": 7}, {"index": 3, "width": 11, "height": 60}, -1):
        assert_same(opened(scenes("B4"), io_chunks=chunks)["B4"], stack["B4"])


def test_composites_open_as_datasets_documented(stack):
    with pytest.warns(UserWarning, match="Unable to retrieve 'system:time_start'"):
        median = opened(scenes("B4", "B11").median())
    for name in ("B4", "B11"):
        assert_same(median[name].isel(time=0), np.nanmedian(stack[name], axis=0).astype("float32"))
    halves = [scenes("B4").filterDate(*days) for days in (("2021-06-01", "2021-06-10"), ("2021-06-10", "2021-07-01"))]
    made = [half.mosaic().set("system:time_start", half.first().get("system:time_start")) for half in halves]
    mosaics = opened(ee.ImageCollection(made))
    assert np.array_equal(mosaics.time.values.astype("datetime64[D]"), DAYS[[0, 2]].astype("datetime64[D]"))
    for i, (under, over) in enumerate([(0, 1), (2, 3)]):
        above = stack["B4"][over]
        assert_same(mosaics["B4"].isel(time=i), np.where(np.isnan(above), stack["B4"][under], above))


def test_what_is_computed_and_masked_at_the_server_documented(engine):
    def clear(image):
        return image.select("B8").divide(10000).updateMask(image.select("SCL").neq(5))

    collection = ee.ImageCollection(S2).filterDate("2021-06-01", "2021-06-10").map(clear)
    found = opened(collection)["B8"]
    for scene in range(2):
        bands = engine.truth.s2(scene)
        hidden = bands["B8"].mask | bands["SCL"].mask | (bands["SCL"].data == 5)
        assert_same(found.isel(time=scene), np.where(hidden, np.nan, bands["B8"].data / 10000).astype("float32"))


def test_other_axes_and_masked_values_documented(stack):
    dataset = opened(
        scenes("B4").sort("CLOUDY_PIXEL_PERCENTAGE"), primary_dim_property="CLOUDY_PIXEL_PERCENTAGE",
        primary_dim_name="cloudy", ee_mask_value=-9999, fast_time_slicing=True,
    )  # fmt: skip
    assert dataset.cloudy.values.tolist() == [3, 12.5, 40, 60]
    assert_same(dataset["B4"], stack["B4"][[2, 0, 3, 1]])


def test_the_grid_of_an_image_documented(engine, stack):
    native = helpers.extract_grid_params(scenes("B4"))
    assert native == GRID
    assert_same(opened(s2_image(2).select("B4"), native)["B4"].isel(time=0), stack["B4"][2])
    landsat = helpers.extract_grid_params(ee.ImageCollection(L8))
    assert landsat == {"crs": L8_CRS, "crs_transform": tuple(L8_TRANSFORM)[:6], "shape_2d": (36, 28)}
    found = opened(ee.ImageCollection(L8).select("SR_B4"), landsat)["SR_B4"]
    for scene in range(2):
        assert_same(found.isel(time=scene), engine.truth.l8(scene)["SR_B4"].astype("float32").filled(np.nan))


AREA = box(4.4135, 50.5392, 4.4195, 50.5427)


@pytest.mark.parametrize(
    "wanted",
    [
        {"grid_crs": S2_CRS, "grid_scale": (10, -10)},
        {"grid_crs": "EPSG:32632", "grid_scale": (12.5, -12.5)},
        {"grid_crs": "EPSG:4326", "grid_scale": (0.0001, -0.0001)},
        {"grid_crs": "EPSG:4326", "grid_shape": (40, 25)},
        {"grid_crs": "EPSG:3857", "grid_shape": (31, 33), "buffer": 20},
    ],
    ids=["scale", "other zone", "degrees", "shape", "buffer"],
)
def test_grids_that_fit_an_area_take_the_nearest_pixels_documented(stack, wanted):
    grid = helpers.fit_geometry(AREA, **wanted)
    rows, cols = source_pixels(grid["crs"], grid["crs_transform"], grid["shape_2d"], S2_CRS, S2_TRANSFORM)
    assert grid["shape_2d"] == wanted.get("grid_shape", grid["shape_2d"])
    assert rows.size > 500 and rows.min() >= 0 and cols.min() >= 0 and rows.max() < 60 and cols.max() < 72
    found = opened(scenes("B4"), grid)["B4"]
    assert_same(found, stack["B4"][:, rows, cols])


def test_pixels_beside_the_images_are_masked_documented(stack):
    beyond = Affine(*GRID["crs_transform"]) @ Affine.translation(-5, -4)
    found = opened(scenes("B8"), GRID | {"crs_transform": tuple(beyond)[:6], "shape_2d": (20, 10)})["B8"]
    expected = np.full((4, 10, 20), np.nan, "float32")
    expected[:, 4:, 5:] = stack["B8"][:, :6, :15]
    assert_same(found, expected)


def test_scenes_are_named_by_their_ids_documented():
    store = xee.EarthEngineStore.open(scenes("B4"), **GRID)
    assert store.image_ids == [f"{S2}/{index(scene)}" for scene in range(4)]
