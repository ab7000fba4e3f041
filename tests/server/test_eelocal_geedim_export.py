"""geedim's search and its downloads on eelocal: grids, types, nodata, resampling, files and arrays; equal to the files.

Defaults and names of outputs are geedim's documentation of `prepareForExport`, `toGeoTIFF`, `toNumPy` and `toXarray`.
"""

import json

import ee
import numpy as np
import pytest
import rasterio
from peer_scenes import (
    CLOUD_SCORE,
    RAMP,
    S2,
    S2_CRS,
    S2_SHAPE,
    S2_STAMPS,
    S2_TRANSFORM,
    assert_same,
    filled,
    index,
    region,
    s2_image,
)
from pyproj import Transformer
from rasterio.transform import Affine

pytest.importorskip("geedim")


def exported(image, **grid):
    return image.gd.prepareForExport(**grid).gd.toNumPy(masked=True)


def scores(scene):
    return ee.Image(f"{CLOUD_SCORE}/{index(scene)}").select("cs")


def test_an_image_keeps_its_own_grid_type_and_names_documented(truth, tmp_path):
    path = tmp_path / "scene.tif"
    s2_image(2).gd.prepareForExport(bands=["B4", "B8", "B11", "SCL"]).gd.toGeoTIFF(path)
    with rasterio.open(path) as dataset:
        assert (dataset.crs, dataset.transform, dataset.shape) == (S2_CRS, S2_TRANSFORM, S2_SHAPE)
        assert (set(dataset.dtypes), dataset.nodata) == ({"uint16"}, 0)
        assert dataset.descriptions == ("B4", "B8", "B11", "SCL")
        assert dataset.tags()["system-index"] == index(2)
        assert dataset.tags()["CLOUDY_PIXEL_PERCENTAGE"] == "3"
        assert dataset.tags(1)["center_wavelength"] == "0.5"
        for name, band in zip(dataset.descriptions, dataset.read(masked=True), strict=True):
            assert_same(band, truth.s2(2)[name])


def test_tiles_make_the_same_image_as_one_request_documented(geedim_engine, truth, tmp_path):
    prepared = s2_image(1).gd.prepareForExport(bands=["B4", "B8"])
    before = geedim_engine.counts.copy()
    prepared.gd.toGeoTIFF(tmp_path / "tiles.tif", max_tile_dim=25, max_tile_bands=1)
    asked = {
        name: count - before.get(name, 0)
        for name, count in geedim_engine.counts.items()
        if count != before.get(name, 0)
    }
    assert 2 * 3 * 3 in asked.values()
    with rasterio.open(tmp_path / "tiles.tif") as dataset:
        for name, band in zip(dataset.descriptions, dataset.read(masked=True), strict=True):
            assert_same(band, truth.s2(1)[name])
    with pytest.raises(FileExistsError):
        prepared.gd.toGeoTIFF(tmp_path / "tiles.tif")


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 0), ("int16", -(2**15)), ("uint32", 0), ("float32", -np.inf), ("float64", -np.inf)],
)
def test_types_and_their_nodata_documented(truth, tmp_path, dtype, nodata):
    path = tmp_path / "typed.tif"
    s2_image(1).gd.prepareForExport(bands=["B4"], dtype=dtype).gd.toGeoTIFF(path)
    band = truth.s2(1)["B4"]
    expected = np.minimum(band.data, 255) if dtype == "uint8" else band.data
    with rasterio.open(path) as dataset:
        assert (dataset.dtypes, dataset.nodata) == ((dtype,), nodata)
        assert_same(dataset.read(1, masked=True), np.ma.masked_array(expected.astype(dtype), band.mask))


def test_nodata_of_ones_own_or_none_documented(truth, tmp_path):
    band = truth.s2(1)["B4"]
    image = s2_image(1).select("B4").unmask(65535).gd.prepareForExport()
    image.gd.toGeoTIFF(tmp_path / "own.tif", nodata=65535)
    image.gd.toGeoTIFF(tmp_path / "none.tif", nodata=False)
    with rasterio.open(tmp_path / "own.tif") as own, rasterio.open(tmp_path / "none.tif") as none:
        assert (own.nodata, none.nodata) == (65535, None)
        assert_same(own.read(1, masked=True), band)
        assert np.array_equal(none.read(1), band.filled(65535))


def test_scale_and_offset_of_the_catalogue_documented(truth):
    found = exported(s2_image(0), bands=["B4"], scale_offset=True, dtype="float32")
    assert np.allclose(found[:, :, 0], truth.s2(0)["B4"].data * 0.0001, rtol=1e-6)


def test_a_region_in_another_system_is_covered_by_nearest_pixels_documented(truth):
    box = [4.4135, 50.5392, 4.4195, 50.5427]
    area = ee.Geometry.Rectangle(box, None, False)
    image = s2_image(0).gd.prepareForExport(crs="EPSG:4326", scale=10, region=area, bands=["B4"])
    transform, (height, width) = Affine(*image.gd.transform), image.gd.shape
    assert transform.a == pytest.approx(np.degrees(10 / 6378137))
    west, south, east, north = rasterio.transform.array_bounds(height, width, transform)
    assert west <= box[0] < west + transform.a and east - transform.a < box[2] <= east
    assert south <= box[1] < south + transform.a and north - transform.a < box[3] <= north
    cols, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    xs, ys = Transformer.from_crs("EPSG:4326", S2_CRS, always_xy=True).transform(*(transform @ (cols, rows)))
    source_cols, source_rows = (np.floor(v).astype(int) for v in ~S2_TRANSFORM @ (xs, ys))
    assert_same(image.gd.toNumPy(masked=True)[:, :, 0], truth.s2(0)["B4"].data[source_rows, source_cols])


def test_a_number_of_pixels_over_a_region_documented(truth):
    # An image within 256 x 256 pixels has no coarser levels (guides/scale): it is the pixel at the centre.
    found = exported(s2_image(0), crs=S2_CRS, region=region(12, 6, 60, 54), shape=(16, 12), bands=["B4"])
    assert_same(found[:, :, 0], truth.s2(0)["B4"][6:54, 12:60][1::3, 2::4])


def test_averages_of_smaller_pixels_documented(truth):
    found = exported(scores(0), crs=S2_CRS, region=region(12, 6, 60, 54), scale=20, resampling="average")
    means = truth.s2(0)["cs"].data[6:54, 12:60].reshape(24, 2, 24, 2).mean(axis=(1, 3))
    assert np.allclose(found[:, :, 0], means, rtol=1e-6)


def test_pixels_are_repeated_where_smaller_ones_are_asked_for_documented(truth):
    found = exported(s2_image(1), crs=S2_CRS, region=region(12, 6, 60, 54), scale=5, bands=["B4"])
    assert_same(found[:, :, 0], truth.s2(1)["B4"][6:54, 12:60].repeat(2, 0).repeat(2, 1))


def test_interpolation_between_the_centres_of_pixels_documented(truth):
    # Pixels of 5 m lie a quarter of a pixel from the centre: three parts of the one and one of the next.
    values = truth.s2(0)["cs"].data.astype(float)
    along = (3 * values[:, 1:-1] + values[:, 2:]) / 4
    expected = (3 * along[1:-1] + along[:-2]) / 4
    grid = {"crs": S2_CRS, "crs_transform": list(S2_TRANSFORM @ Affine(0.5, 0, 1, 0, 0.5, 1))[:6], "shape": (116, 140)}
    found = exported(scores(0), resampling="bilinear", **grid)[:, :, 0]
    assert np.allclose(found[::2, 1::2], expected, rtol=1e-5)
    # What is straight stays straight, whichever cubic it is.
    found = exported(ee.Image(RAMP), resampling="bicubic", **grid)[:, :, 0]
    rows, cols = np.indices((116, 140)) / 2 + 0.75
    assert np.allclose(found[8:-8, 8:-8], (3 * cols - 2 * rows)[8:-8, 8:-8], atol=1e-4)


def test_arrays_with_names_and_coordinates_documented(truth):
    prepared = s2_image(1).gd.prepareForExport(bands=["B4", "B11"])
    plain = prepared.gd.toNumPy()
    named = prepared.gd.toNumPy(structured=True, masked=True)
    assert plain.shape == (*S2_SHAPE, 2)
    assert np.array_equal(plain[:, :, 1], truth.s2(1)["B11"].filled(0))
    assert_same(named["B11"], truth.s2(1)["B11"])
    pytest.importorskip("xarray")
    array = prepared.gd.toXarray(masked=True)
    assert array.dims == ("y", "x", "band")
    assert array.band.values.tolist() == ["B4", "B11"]
    assert np.array_equal(array.x, 600005 + 10 * np.arange(72))
    assert np.array_equal(array.y, 5600035 - 10 * np.arange(60))
    assert (array.attrs["crs"], array.attrs["transform"]) == (S2_CRS, tuple(S2_TRANSFORM)[:6])
    assert np.isnan(array.attrs["nodata"])
    assert array.attrs["date"] == "2021-06-06T10:50:22.000+00:00"
    assert json.loads(array.attrs["ee"])["CLOUDY_PIXEL_PERCENTAGE"] == 60
    expected = truth.s2(1)["B4"].astype("float32").filled(np.nan)
    assert np.array_equal(array.sel(band="B4").values, expected, equal_nan=True)


def collection():
    return ee.ImageCollection(S2).filterDate("2021-06-01", "2021-07-01").select(["B4", "B8"])


def test_a_collection_becomes_a_file_for_each_image_or_band_documented(truth, tmp_path):
    prepared = collection().gd.prepareForExport(region=region(12, 6, 60, 54), scale=10, crs=S2_CRS)
    part = (slice(6, 54), slice(12, 60))
    names = [index(scene) for scene in range(4)]
    for split in ("images", "bands"):
        (tmp_path / split).mkdir()
        prepared.gd.toGeoTIFF(tmp_path / split, split=split)
    assert sorted(p.stem for p in (tmp_path / "images").iterdir()) == names
    assert sorted(p.stem for p in (tmp_path / "bands").iterdir()) == ["B4", "B8"]
    for scene, name in enumerate(names):
        with rasterio.open(tmp_path / "images" / f"{name}.tif") as image:
            assert image.descriptions == ("B4", "B8")
            assert image.transform == S2_TRANSFORM @ Affine.translation(12, 6)
            assert image.tags()["system-index"] == name
            assert_same(image.read(1, masked=True), truth.s2(scene)["B4"][part])
        with rasterio.open(tmp_path / "bands" / "B8.tif") as band:
            assert band.descriptions == tuple(names)
            assert_same(band.read(scene + 1, masked=True), truth.s2(scene)["B8"][part])


def test_a_collection_becomes_arrays_documented(truth):
    prepared = collection().gd.prepareForExport()
    array = prepared.gd.toNumPy(masked=True)
    assert array.shape == (*S2_SHAPE, 2, 4)
    for scene in range(4):
        assert_same(array[:, :, 1, scene], truth.s2(scene)["B8"])
    pytest.importorskip("xarray")
    dataset = prepared.gd.toXarray(masked=True)
    assert set(dataset.data_vars) == {"B4", "B8"}
    assert [str(t)[:19] for t in dataset.time.values] == [f"2021-06-{d:02}T10:50:22" for d in (1, 6, 11, 16)]
    expected = truth.s2(1)["B4"].astype("float32").filled(np.nan)
    assert np.array_equal(dataset["B4"].isel(time=1).values, expected, equal_nan=True)


def test_images_of_different_grids_cannot_be_exported_together_documented(truth, tmp_path):
    mixed = ee.ImageCollection([s2_image(0).select("B4"), s2_image(1).select("B11")])
    with pytest.raises(ValueError, match="Inconsistent number of bands"):
        mixed.gd.toGeoTIFF(tmp_path)


def found_by(**criteria):
    return list(ee.ImageCollection(S2).gd.filter(**criteria).gd.properties)


def test_search_by_date_region_and_properties_documented(truth):
    names = [index(scene) for scene in range(5)]
    assert found_by(start_date="2021-06-06", end_date="2021-06-16") == names[1:3]
    assert found_by(start_date="2021-06-16T10:50:22") == names[3:4]  # one millisecond, without an end
    assert found_by(region=region(0, 0, 5, 5)) == names
    assert found_by(region=region(-500, 0, -400, 60)) == []
    assert found_by(custom_filter="CLOUDY_PIXEL_PERCENTAGE < 13 and MGRS_TILE == '31UES'") == [
        names[i] for i in (0, 2, 4)
    ]


def test_search_by_what_is_clear_documented(truth):
    area, part = region(12, 6, 60, 30), (slice(6, 30), slice(12, 60))
    valid = np.stack([filled(truth.s2(scene))[part] for scene in range(4)])
    clear = np.stack([truth.s2(scene)["cs"].filled(0)[part] > np.float32(0.4) for scene in range(4)]) & valid
    portions = 100 * clear.sum(axis=(1, 2)) / valid.sum(axis=(1, 2))
    enough = float(np.sort(portions)[-2:].mean())
    criteria = {"start_date": "2021-06-01", "end_date": "2024-01-01", "region": area, "score": 0.4}
    best = index(int(portions.argmax()))
    assert found_by(cloudless_portion=enough, **criteria) == [best]
    full = [index(scene) for scene in (0, 3, 4)]
    assert found_by(fill_portion=99.9, **criteria) == full
    assert found_by(custom_filter=f"CLOUDLESS_PORTION > {enough}", **criteria) == [best]
    searched = ee.ImageCollection(S2).gd.filter(fill_portion=1, **criteria).gd
    rows = searched.propertiesTable.splitlines()
    assert [row.split()[0] for row in rows if row.startswith("20")] == [index(scene) for scene in range(5)]
    shown = [row for row in rows if row.startswith(S2_STAMPS[0])]
    assert f"{portions[0]:.2f}" in shown[0] and "100" in shown[0]
