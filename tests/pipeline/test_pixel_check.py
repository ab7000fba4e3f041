"""The checker itself: it must accept the right raster and refuse every kind of wrong one."""

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from coded_world import make_collection
from pixel_check import WrongRaster, check_alignment, check_extent, check_pixels, check_tags, scene_of

COLLECTION = make_collection(
    "CODED/CHECK",
    "EPSG:32733",
    (10, 0, 300000, 0, -10, 7600000),
    (500, 600),
    {"a": "uint16", "b": "uint16"},
    ["2023-06-01T10:30:15.123Z"],
)
SCENE = COLLECTION.scenes[0]
AREA = shapely.box(300200, 7599500, 300500, 7599700)


def write(path, transform=None, change=lambda data: data, mask=lambda mask: mask, nodata=None, **more):
    """The 20 x 30 window at row 30, column 20, with what `change` and `mask` make of it."""
    rows, cols = np.mgrid[30:50, 20:50]
    data = np.stack([(rows * 1009 + cols * 30011 + band * 12347) % 65536 for band in (0, 1)]).astype("uint16")
    valid = (rows * 3 + cols * 7) % 11 != 0
    data[:, ~valid] = 0
    profile = {"count": 2, "height": 20, "width": 30, "dtype": "uint16", "crs": "EPSG:32733", "nodata": nodata} | more
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", transform=transform or Affine(10, 0, 300200, 0, -10, 7599700), **profile) as target,
    ):
        target.write(change(data).astype(profile["dtype"]))
        if nodata is None:
            target.write_mask(mask(valid))
        target.descriptions = ("a", "b")
        target.update_tags(collection=COLLECTION.asset_id, scenes=SCENE.index, versions=SCENE.version)
    return path


def test_the_right_raster_passes_every_check(tmp_path):
    path = write(tmp_path / "check_20230601T103015.tif")
    assert scene_of(path, COLLECTION) is SCENE
    check_pixels(path, SCENE, ("a", "b"))
    check_alignment(path, SCENE.grid_band)
    check_tags(path, COLLECTION, SCENE)
    assert check_extent(path, AREA, "EPSG:32733") == (20, 30)


def swap(data):
    data[:, 3, 4], data[:, 3, 5] = data[:, 3, 5].copy(), data[:, 3, 4].copy()
    return data


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"change": lambda data: np.roll(data, 1, axis=2)}, "wrong value"),
        ({"change": lambda data: data[:, ::-1]}, "wrong value"),
        ({"change": lambda data: data[::-1]}, "wrong value"),
        ({"change": swap}, "wrong value"),
        ({"mask": np.ones_like}, "wrong mask"),
        ({"nodata": 0, "change": lambda data: np.where(data == data.max(), 0, data)}, "wrong mask"),
        ({"transform": Affine(10, 0, 300210, 0, -10, 7599700)}, "wrong"),
        ({"transform": Affine(10, 0, 300205, 0, -10, 7599700)}, "native edges"),
        ({"dtype": "float32"}, "dtype float32"),
    ],
)
def test_wrong_pixels_are_refused(tmp_path, wrong, text):
    with pytest.raises(WrongRaster, match=text):
        check_pixels(write(tmp_path / "check_20230601T103015.tif", **wrong), SCENE, ("a", "b"))


def test_bands_in_another_order_are_refused(tmp_path):
    path = write(tmp_path / "check_20230601T103015.tif")
    with pytest.raises(WrongRaster, match="bands are"):
        check_pixels(path, SCENE, ("b", "a"))


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((300199.8, 7599500, 300500, 7599700), "sticks out 0.0200 pixels on the left"),
        ((300200, 7599500, 300500, 7599705), "sticks out 0.5000 pixels on the top"),
        ((300200, 7599500, 300489, 7599700), "exceeds the area by 1.1000 pixels on the right"),
    ],
)
def test_an_extent_that_is_not_the_areas_is_refused(tmp_path, bounds, text):
    path = write(tmp_path / "check_20230601T103015.tif")
    with pytest.raises(WrongRaster, match=text):
        check_extent(path, shapely.box(*bounds), "EPSG:32733")


def test_pixels_between_the_native_ones_are_refused(tmp_path):
    path = write(tmp_path / "check_20230601T103015.tif", transform=Affine(10, 0, 300203, 0, -10, 7599700))
    with pytest.raises(WrongRaster, match="off the native columns"):
        check_alignment(path, SCENE.grid_band)
