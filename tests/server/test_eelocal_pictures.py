"""Maps and tables through the real client: `maps`, its tiles, and `table:computeFeatures`.

Tiles are *documented* (https://developers.google.com/earth-engine/reference/rest/v1/projects.maps.tiles/get and the
scheme of Web Mercator); that there are 24 levels is *assumed*. Pages of features are *documented*
(https://developers.google.com/earth-engine/reference/rest/v1/projects.table/computeFeatures).
"""

import io
import math
import urllib.error
import urllib.request

import ee
import numpy as np
import pytest
from PIL import Image as Picture
from test_eelocal_support import CodedImage, serving


@pytest.fixture(scope="module")
def engine():
    # Ten degrees around (0, 0) in pixels of a hundredth of a degree; the value is the column's number, 0 to 255.
    image = CodedImage(
        "T/EQUATOR", bands=("v",), crs="EPSG:4326", transform=(0.01, 0.0, -5.0, 0.0, -0.01, 5.0), size=(1000, 1000),
        dtype="uint8", function=lambda k, row, col: col * 255 // 999,
    )  # fmt: skip
    with serving(image) as running:
        yield running


def tile(fetcher, x, y, z):
    with urllib.request.urlopen(fetcher.format_tile_url(x, y, z)) as answer:
        return np.asarray(Picture.open(io.BytesIO(answer.read())).convert("RGBA"))


def test_tiles_of_a_map_lie_where_web_mercator_says_documented(engine):
    fetcher = ee.Image("T/EQUATOR").getMapId({"min": 0, "max": 255})["tile_fetcher"]
    picture = tile(fetcher, 64, 63, 7)  # north-east of (0, 0): 360 / 128 = 2.8125 degrees wide
    longitudes = (np.arange(256) + 0.5) * 360 / 128 / 256
    expected = ((longitudes + 5) / 0.01).astype(int) * 255 // 999
    assert np.abs(picture[100, :, 0].astype(int) - expected).max() <= 1
    assert (picture[..., 3] == 255).all()
    west = tile(fetcher, 62, 63, 7)  # 2.8 to 5.6 degrees west; the image ends at 5
    ends = math.ceil((-5 + 360 / 128 * 2) / (360 / 128) * 256)
    assert (west[100, : ends - 1, 3] == 0).all()
    assert (west[100, ends + 1 :, 3] == 255).all()


def test_a_map_with_a_palette_documented(engine):
    options = {"min": 0, "max": 1, "palette": ["000000", "FF0000"], "format": "png"}
    fetcher = ee.Image("T/EQUATOR").getMapId(options)["tile_fetcher"]
    assert tile(fetcher, 64, 63, 7)[5, 200].tolist() == [255, 0, 0, 255]


@pytest.mark.parametrize(("path", "status"), [("25/0/0", 400), ("3/8/0", 400), ("999999999/0/0", 400)])
def test_tiles_that_are_not_there_say_so(engine, path, status):
    name = ee.Image("T/EQUATOR").getMapId()["mapid"]
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{engine.url}/v1/{name}/tiles/{path}")
    assert caught.value.code == status
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{engine.url}/v1/projects/p/maps/nothing/tiles/0/0/0")
    assert caught.value.code == 404


def test_features_come_in_pages_and_in_degrees_documented(engine):
    points = ee.FeatureCollection(
        ee.List.sequence(0, 24).map(
            lambda n: ee.Feature(ee.Geometry.Point([500000, ee.Number(n).multiply(1000)], "EPSG:32631"), {"n": n})
        )
    )
    page = ee.data.computeFeatures({"expression": points, "pageSize": 10})
    assert page["type"] == "FeatureCollection"
    assert [f["properties"]["n"] for f in page["features"]] == list(range(10))
    assert page["features"][1]["geometry"]["coordinates"] == pytest.approx([3.0, 0.00904], abs=1e-4)
    table = ee.data.computeFeatures({"expression": points, "pageSize": 10, "fileFormat": "PANDAS_DATAFRAME"})
    assert table["n"].tolist() == list(range(25))
    assert engine.counts["table:computeFeatures"] == 4
    with pytest.raises(ee.EEException, match="pageToken"):
        ee.data.computeFeatures({"expression": points, "pageToken": "x"})
