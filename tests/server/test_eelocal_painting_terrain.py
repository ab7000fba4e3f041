"""Painted and moved images, slopes, footprints, and what geedim's own tests asked for; values worked by hand."""

import ee
import numpy as np
import pytest
from test_eelocal_support import CodedCollection, CodedImage, serving

CRS = "EPSG:32631"
GRID = {
    "dimensions": {"width": 6, "height": 4},
    "affineTransform": {
        "scaleX": 10,
        "shearX": 0,
        "translateX": 500000,
        "shearY": 0,
        "scaleY": -10,
        "translateY": 5000000,
    },
    "crsCode": CRS,
}


@pytest.fixture(scope="module")
def engine():
    slope = CodedImage("T/SLOPE", bands=("elevation",), function=lambda k, row, col: 1000 + 10 * col + 0 * row)
    plain = CodedImage("T/C/plain", bands=("B1",), properties={"system:time_start": 0})
    with serving(CodedCollection("T/C", [plain]), slope) as running:
        yield running


def pixels(image):
    return ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": GRID})


def rectangle(west, south, east, north):
    return ee.Geometry.Rectangle([west, south, east, north], ee.Projection(CRS), False)


def test_paint_fills_the_pixels_whose_centre_is_inside_documented(engine):
    area = rectangle(500014, 4999970, 500036, 5000000)
    found = pixels(ee.Image(0).byte().paint(area, 7))["constant"]
    expected = np.zeros((4, 6))
    expected[:3, 2:4] = 7  # centres at 25 and 35; 15 as well
    expected[:3, 1] = 7
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_paint_takes_colours_from_properties_and_unmasks_documented(engine):
    features = ee.FeatureCollection(
        [
            ee.Feature(rectangle(500000, 4999990, 500020, 5000000), {"class": 3}),
            ee.Feature(rectangle(500010, 4999990, 500030, 5000000), {"class": 5}),
        ]
    )
    painted = ee.Image(0).updateMask(0).paint(features, "class")
    assert pixels(painted.unmask(9))["constant"][0].tolist() == [3, 5, 5, 9, 9, 9]


def test_translate_moves_east_and_north_by_metres_assumed(engine):
    image = ee.Image("T/C/plain")
    moved = pixels(image.translate(20, -10))["B1"]
    still = pixels(image)["B1"]
    assert np.array_equal(moved[1:, 2:], still[:-1, :-2])


def test_slope_aspect_and_shade_of_an_even_slope_documented(engine):
    # Ten metres up for every ten metres to the east: 45 degrees, downhill to the west.
    found = pixels(ee.Terrain.products(ee.Image("T/SLOPE")).unmask(-1))
    inner = (slice(1, 4), slice(1, 6))
    assert np.allclose(found["slope"][inner], 45)
    assert np.allclose(found["aspect"][inner], 270)
    assert (found["slope"][0] == -1).all()  # "missing values will occur around the edges"
    assert (found["hillshade"][inner] == 255).all()  # the sun in the west, 45 degrees high


def test_a_mapped_collection_keeps_its_id_documented(engine):
    mapped = ee.ImageCollection("T/C").map(lambda image: image.multiply(2))
    assert mapped.getInfo()["id"] == "T/C"


def test_an_id_can_be_set_documented(engine):
    info = ee.Image(1).set("system:id", "A/B").getInfo()
    assert info["id"] == "A/B"
    assert "system:id" not in info.get("properties", {})


def test_a_collection_within_a_list_comes_without_its_images_documented(engine):
    inner = ee.List([ee.ImageCollection("T/C")]).getInfo()[0]
    assert inner["id"] == "T/C"
    assert "features" not in inner


def test_the_sum_of_masked_pixels_is_zero_documented(engine):
    area = rectangle(500000, 4999960, 500060, 5000000)
    sums = ee.Image("T/C/plain").updateMask(0).reduceRegion("sum", area, 10).getInfo()
    assert sums == {"B1": 0}


def test_resolution_is_reduced_by_the_parts_of_pixels_documented(engine):
    # Pixels of 20 m, off by half a pixel: a whole pixel and half of two neighbours in each direction.
    shifted = {**GRID["affineTransform"], "scaleX": 20, "scaleY": -20, "translateX": 500005, "translateY": 4999995}
    image = ee.Image("T/C/plain").reduceResolution(ee.Reducer.mean())
    grid = {**GRID, "dimensions": {"width": 2, "height": 1}, "affineTransform": shifted}
    found = ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid})["B1"]
    weights = np.array([0.25, 0.5, 0.25])
    source = 10000 + np.arange(3)[:, None] * 100 + np.arange(5)
    expected = [weights @ source[:, c : c + 3] @ weights for c in (0, 2)]
    assert np.allclose(found[0], expected)
