"""Pictures of products: colours worked out by hand, transparency, size."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from eeflow.quicklook import write_quicklook

UTM = Affine(10, 0, 600000, 0, -10, 5700000)


@pytest.fixture
def picture_of(tmp_path):
    """Writes arrays by band as a GeoTIFF of a collection; gives its picture, one pixel for each of the raster's."""

    def make(values, collection="", scale=1.0, offset=0.0, nodata=None, shape=None, transform=UTM):
        path = tmp_path / "p.tif"
        bands = [np.asarray(array) for array in values.values()]
        height, width = bands[0].shape
        profile = {"driver": "GTiff", "height": height, "width": width, "count": len(bands), "dtype": bands[0].dtype}
        with rasterio.open(path, "w", **profile, crs=32631, transform=transform, nodata=nodata) as raster:
            raster.write(np.stack(bands))
            raster.descriptions = tuple(values)
            raster.scales, raster.offsets = (scale,) * len(bands), (offset,) * len(bands)
            raster.update_tags(COLLECTION=collection)
        assert write_quicklook(path) == path.with_suffix(".png")
        with Image.open(path.with_suffix(".png")) as image:
            assert image.mode == "RGBA"
            found = np.asarray(image)
        step = max(1, 512 // max(height, width))
        return found if shape == "whole" else found[step // 2 :: step, step // 2 :: step]

    return make


@pytest.mark.parametrize(
    ("shape", "size"), [((3, 7), (219, 511)), ((700, 600), (700, 600)), ((1500, 300), (1024, 205))]
)
def test_size_is_a_whole_multiple_or_at_most_1024(picture_of, shape, size):
    values = np.ones(shape, "uint16")
    values[: shape[0] // 3] = 65535
    found = picture_of({"x": values}, nodata=65535, shape="whole")
    assert found.shape[:2] == size
    alpha = found[..., 3]
    assert (alpha[: size[0] // 3 - 2] == 0).all()
    assert (alpha[size[0] // 3 + 2 :] == 255).all()


@pytest.mark.parametrize(("scale", "dtype"), [(0.0001, "uint16"), (1.0, "float32")])
def test_true_colour_is_of_physical_values_and_the_same_on_every_day(picture_of, scale, dtype):
    stored = {"B2": 0.0, "B3": 0.3, "B4": 0.075, "B8": 9.0}
    values = {name: np.full((2, 2), value / scale).astype(dtype) for name, value in stored.items()}
    found = picture_of(values, "COPERNICUS/S2_SR_HARMONIZED", scale)
    # Red is a quarter of the range 0 to 0.3, shown with gamma 1.5: 255 * 0.25 ** (1 / 1.5).
    assert found[0, 0].tolist() == [101, 255, 0, 255]


def test_offset_counts_in_landsat_colours(picture_of):
    values = {name: np.full((1, 1), 18182, "uint16") for name in ("SR_B2", "SR_B3", "SR_B4")}  # 0.300005
    assert picture_of(values, "LANDSAT/LC09/C02/T1_L2", 0.0000275, -0.2)[0, 0].tolist() == [255, 255, 255, 255]


def test_classes_have_their_own_colours_and_others_none(picture_of):
    found = picture_of({"SCL": np.array([[4, 6, 11, 0, 77]], "uint8")}, "COPERNICUS/S2_SR_HARMONIZED", nodata=0)
    assert found[0].tolist() == [[16, 210, 44, 255], [0, 0, 255, 255], [82, 255, 249, 255], [0] * 4, [0, 0, 0, 255]]


def test_flags_and_classes_without_colours_are_told_apart(picture_of):
    found = picture_of({"QA_PIXEL": np.array([[21824, 22280, 21824]], "uint16")}, "LANDSAT/LC08/C02/T1_L2")
    assert found[0, 0].tolist() == found[0, 2].tolist() != found[0, 1].tolist()


def test_index_has_its_ramp_whatever_the_collection(picture_of):
    values = {"B8": np.full((1, 3), 0.5, "float32"), "NDVI": np.array([[0, 0.5, 1]], "float32")}
    found = picture_of(values, "some/collection")
    assert found[0].tolist() == [[0xA5, 0x76, 0x3A, 255], [0xB8, 0xD6, 0x7A, 255], [0x00, 0x40, 0x1D, 255]]


def test_radar_is_grey_by_decibels(picture_of):
    found = picture_of({"VV": np.array([[-25, -12.5, 0, np.nan]])}, "COPERNICUS/S1_GRD", nodata=np.nan)
    assert found[0].tolist() == [[0, 0, 0, 255], [128, 128, 128, 255], [255] * 4, [0] * 4]


def test_slopes_that_face_north_west_are_lit(picture_of):
    rows, cols = np.indices((30, 30))
    roof = (
        np.minimum(rows + cols, 58 - rows - cols) * 10
    )  # rises to the anti-diagonal: one face north-west, one south-east
    found = picture_of({"elevation": roof.astype("int16")}, "USGS/SRTMGL1_003")[..., :3].sum(axis=-1, dtype=int)
    assert found[8, 8] > found[21, 21]  # the same height


@pytest.mark.parametrize("values", [np.full((5, 5), 7, "int16"), np.full((1, 1), -32768, "int16")])
def test_one_value_and_nothing_at_all_have_a_picture(picture_of, values):
    found = picture_of({"elevation": values}, "USGS/SRTMGL1_003", nodata=-32768)
    assert (found[..., 3] == 255).all() == (values != -32768).all()
