"""geedim and xee on the generated world: what they get equals numpy's work on pixels read by another route."""

import ee
import numpy as np
import pytest
from peer_scenes import CLOUD_SCORE, S2, assert_same, read, without_catalogue
from rasterio.transform import Affine

pytest.importorskip("geedim")
INDICES = ("20200706T082836_20200706T083636_T34HEJ", "20190801T082837_20190801T083637_T34HEJ")
CRS, SHAPE = "EPSG:32734", (40, 50)
TRANSFORM = Affine(10, 0, 559200, 0, -10, 6298920)


@pytest.fixture(autouse=True)
def world(local_ee, monkeypatch):
    without_catalogue(monkeypatch)
    return local_ee


def stored(asset, *bands):
    """Pixels of an asset as they are stored: `assets:getPixels`, without a graph."""
    a, _, c, _, e, f = tuple(TRANSFORM)[:6]
    grid = {
        "dimensions": {"width": SHAPE[1], "height": SHAPE[0]},
        "affineTransform": {"scaleX": a, "translateX": c, "scaleY": e, "translateY": f},
        "crsCode": CRS,
    }
    return ee.data.getPixels({"assetId": asset, "bandIds": list(bands), "fileFormat": "NUMPY_NDARRAY", "grid": grid})


def cloudless(index):
    return stored(f"{CLOUD_SCORE}/{index}", "cs")["cs"] > 0.6


def test_geedim_masks_and_merges_scenes_of_the_world_documented():
    images = [ee.Image(f"{S2}/{index}") for index in INDICES]
    clear = np.stack([cloudless(index) for index in INDICES])
    assert 100 < clear.sum() < clear.size - 100
    red = np.ma.masked_array([stored(f"{S2}/{index}", "B4")["B4"] for index in INDICES], ~clear)
    for image, expected in zip(images, red, strict=True):
        found = read(image.gd.addMaskBands().gd.maskClouds(), "B4", crs=CRS, transform=TRANSFORM, shape=SHAPE)
        assert_same(found["B4"], expected)
    composite = ee.ImageCollection.gd.fromImages(images).gd.composite("median")
    found = read(composite, "B4", crs=CRS, transform=TRANSFORM, shape=SHAPE, dtype="float64")
    assert_same(found["B4"], np.ma.median(red, axis=0))


def test_xee_opens_scenes_of_the_world_documented():
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("xee")
    images = ee.ImageCollection([f"{S2}/{index}" for index in INDICES]).select(["B4", "SCL"])
    grid = {"crs": CRS, "crs_transform": tuple(TRANSFORM)[:6], "shape_2d": SHAPE[::-1]}
    dataset = xarray.open_dataset(images, engine="ee", **grid).transpose("time", "y", "x")
    rows = images.getRegion(
        ee.Geometry.Rectangle([559200, 6298520, 559700, 6298920], ee.Projection(CRS), False),
        crs=CRS,
        crsTransform=list(TRANSFORM)[:6],
    ).getInfo()[1:]
    for i, index in enumerate(INDICES):
        for k, name in enumerate(("B4", "SCL"), 4):
            assert np.array_equal(dataset[name].isel(time=i).values, stored(f"{S2}/{index}", name)[name])
            column = np.array([row[k] for row in rows if row[0] in (index, str(i))])
            assert np.array_equal(dataset[name].isel(time=i).values, column.reshape(SHAPE))


def test_bands_that_a_scene_lacks_have_no_grid_documented():
    # geedim's own test_projection: MSK_CLASSI_* of scenes before 2024.
    early = ee.Image(f"{S2}/{INDICES[0]}")
    bands = {band["id"]: band for band in early.getInfo()["bands"]}
    assert (bands["MSK_CLASSI_OPAQUE"]["crs"], bands["MSK_CLASSI_OPAQUE"]["crs_transform"]) == (
        "EPSG:4326",
        [1, 0, 0, 0, 1, 0],
    )
    assert "dimensions" not in bands["MSK_CLASSI_OPAQUE"]
    coarsest = ee.Image(early).gd.projection(min_scale=False).getInfo()
    assert (coarsest["crs"], coarsest["transform"]) == ("EPSG:4326", [1, 0, 0, 0, 1, 0])
    found = read(early, "B4", "MSK_CLASSI_OPAQUE", crs=CRS, transform=TRANSFORM, shape=SHAPE)
    assert found["MSK_CLASSI_OPAQUE"].mask.all()
    assert not np.ma.getmaskarray(found["B4"]).any()
