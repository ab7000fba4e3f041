"""Regions over the antimeridian, through the real client.

*documented*: a box whose east is less than its west goes over it (https://developers.google.com/earth-engine/apidocs,
ee-geometry-bbox); geodesic edges are the shortest, planar ones straight in longitude (guides/geometry_planar_geodesic).
*assumed*: that longitudes of getRegion and pixelLonLat are from -180 to 180 there.
"""

import ee
import numpy as np
import pytest
from test_eelocal_support import CodedCollection, CodedImage, serving

FIJI = (179.0, -17.0, -179.0, -16.0)


@pytest.fixture(scope="module")
def engine():
    grid = {"crs": "EPSG:4326", "dtype": "int32", "function": lambda k, row, col: 1000 * row + col, "bands": ("v",)}
    # The whole Earth in degrees, a strip up to 180, one from -180, and one far away.
    earth = CodedImage("T/EARTH", transform=(1.0, 0.0, -180.0, 0.0, -1.0, 90.0), size=(360, 180), **grid)
    parts = [
        CodedImage(f"T/C/{name}", transform=(1.0, 0.0, west, 0.0, -1.0, -10.0), size=(5, 10), **grid)
        for name, west in (("west", 175.0), ("east", -180.0), ("far", 0.0))
    ]
    with serving(earth, CodedCollection("T/C", parts)) as running:
        yield running


REGIONS = {
    "box": lambda: ee.Geometry.BBox(*FIJI),
    "geodesic": lambda: ee.Geometry.Polygon([[[179, -17], [-179, -17], [-179, -16], [179, -16]]], None, True),
    "beyond 180": lambda: ee.Geometry.Rectangle([179, -17, 181, -16], None, False),
    "below -180": lambda: ee.Geometry.Rectangle([-181, -17, -179, -16], None, False),
}


@pytest.mark.parametrize("name", REGIONS)
def test_regions_go_the_short_way_documented(engine, name):
    region = REGIONS[name]()
    assert region.area(1).getInfo() == pytest.approx(2 * 111_320 * np.cos(np.radians(16.5)) * 110_650, rel=5e-3)
    found = ee.ImageCollection("T/C").filterBounds(region).aggregate_array("system:index").getInfo()
    assert found == ["east", "west"]
    rows = ee.ImageCollection("T/C").getRegion(region, crs="EPSG:4326", crsTransform=[1, 0, -180, 0, -1, 90]).getInfo()
    assert sorted((row[0], row[1], row[2], row[4]) for row in rows[1:] if row[4] is not None) == [
        ("east", -179.5, -16.5, 6000), ("west", 179.5, -16.5, 6004),
    ]  # fmt: skip


def test_a_planar_region_is_what_it_says_documented(engine):
    planar = ee.Geometry.Polygon([[[179, -17], [-179, -17], [-179, -16], [179, -16]]], None, False)
    assert ee.ImageCollection("T/C").filterBounds(planar).size().getInfo() == 3


def test_pixels_and_their_areas_over_the_antimeridian_assumed(engine):
    region = REGIONS["box"]()
    sums = ee.Image("T/EARTH").addBands(ee.Image.pixelArea()).addBands(ee.Image.pixelLonLat()).reduceRegion(
        ee.Reducer.toList(), region, crs="EPSG:4326", crsTransform=[1, 0, -180, 0, -1, 90]
    ).getInfo()  # fmt: skip
    assert sorted(sums["v"]) == [106_000, 106_359]
    assert sorted(sums["longitude"]) == [-179.5, 179.5]
    assert sums["area"] == pytest.approx([111_320 * np.cos(np.radians(16.5)) * 110_650] * 2, rel=5e-3)
    grid = {
        "dimensions": {"width": 4, "height": 1},
        "affineTransform": {"scaleX": 1, "translateX": 178, "scaleY": -1, "translateY": -16},
        "crsCode": "EPSG:4326",
    }
    for image in (ee.Image("T/EARTH"), ee.ImageCollection([ee.Image("T/EARTH")]).mosaic()):
        row = ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid})["v"][0]
        assert row.tolist() == [106_358, 106_359, 106_000, 106_001]
