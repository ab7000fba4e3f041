"""Other people's clients do their main job on eelocal; what they get equals what numpy reads from the files."""

import os

import ee
import numpy as np
import pytest
import rasterio
from test_eelocal_support import SHARED_DATA, serving

FLANDERS = SHARED_DATA / "s2_sr_flanders_T31UES"
SCENE = "20180804T105022_20180804T105022_T31UES"
pytestmark = pytest.mark.skipif(not FLANDERS.is_dir(), reason="the sample scenes are not at hand")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    catalogue = tmp_path_factory.mktemp("catalogue") / "flanders.yaml"
    catalogue.write_text(rf"""
collections:
  - id: COPERNICUS/S2_SR_HARMONIZED
    folder: {os.fspath(FLANDERS)}
    scene: "S2_(\\d{{8}}T\\d{{6}})_T31UES_(?:10|20)m"
    index: "{{time:%Y%m%dT%H%M%S}}_{{time:%Y%m%dT%H%M%S}}_T{{tile}}"
    table: {{file: images.json, rows: images, match: [file_10m, file_20m]}}
    time: time_start_ms
    nodata: 0
    bands: [B2, B3, B4, B5, B6, B7, B8, B8A, B11, B12, SCL]
    image_properties:
      CLOUDY_PIXEL_PERCENTAGE: "{{cloud_fraction_scl_3_8_9_10*100}}"
      MGRS_TILE: "{{tile}}"
""")
    with serving(data=[catalogue], world=True) as running:
        yield running


def truth(scene=0, size="10m"):
    path = sorted(FLANDERS.glob(f"*_{size}.tif"))[scene]
    with rasterio.open(path) as dataset:
        return dict(zip(dataset.descriptions, dataset.read(), strict=True)), dataset.transform


def test_all_scenes_of_the_folder_are_served(engine):
    collection = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED")
    assert collection.size().getInfo() == 72
    first = collection.first().getInfo()
    assert first["properties"]["system:index"] == SCENE
    assert first["properties"]["system:time_start"] == 1533379822000
    assert [band["id"] for band in first["bands"]][-1] == "SCL"
    assert collection.filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", 2)).size().getInfo() == 29


def test_get_region_equals_the_files(engine):
    area = ee.Geometry.Rectangle([574680, 5621800, 575320, 5622440], ee.Projection("EPSG:32631"), False)
    scene = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").limit(1).select(["B4", "B8"])
    found = scene.getRegion(area, crs="EPSG:32631", crsTransform=[10, 0, 574680, 0, -10, 5622440]).getInfo()[1:]
    values, _ = truth()
    assert np.array_equal(np.array([row[4] for row in found]).reshape(64, 64), values["B4"])
    assert np.array_equal(np.array([row[5] for row in found]).reshape(64, 64), values["B8"])


def test_xee_opens_and_loads_a_dataset(engine):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("xee")
    collection = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterDate("2018-08-01", "2018-10-01")
    grid = {"crs": "EPSG:32631", "crs_transform": (10, 0, 574680, 0, -10, 5622440), "shape_2d": (64, 64)}
    dataset = xarray.open_dataset(collection.select(["B4", "B8"]), engine="ee", **grid).load()
    assert dict(dataset.sizes) == {"time": 9, "y": 64, "x": 64}
    for scene in range(9):
        expected = truth(scene)[0]["B4"]
        found = dataset["B4"].isel(time=scene).transpose("y", "x").values
        assert np.array_equal(np.nan_to_num(found), expected)


@pytest.fixture
def no_stac(monkeypatch):
    """geedim reads band descriptions from a public catalogue over the internet; it works without."""
    stac = pytest.importorskip("geedim.stac")
    monkeypatch.setattr(type(stac.STACClient()), "get", lambda self, name: None)


def test_geedim_downloads_a_geotiff(engine, no_stac, tmp_path):
    pytest.importorskip("geedim")
    image = ee.Image(f"COPERNICUS/S2_SR_HARMONIZED/{SCENE}").select(["B4", "B8"])
    region = ee.Geometry.Rectangle([574680, 5621800, 575320, 5622440], ee.Projection("EPSG:32631"), False)
    path = tmp_path / "scene.tif"
    image.gd.prepareForExport(crs="EPSG:32631", region=region, scale=10).gd.toGeoTIFF(str(path))
    values, transform = truth()
    with rasterio.open(path) as dataset:
        assert dataset.transform == transform
        assert dataset.nodata == 0
        assert np.array_equal(dataset.read(1), values["B4"])
        assert np.array_equal(dataset.read(2), values["B8"])


def test_geedim_composites_by_median_and_mosaic(engine, no_stac, tmp_path):
    pytest.importorskip("geedim")
    collection = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterDate("2018-08-01", "2018-08-25").select("B4")
    collection = collection.set("system:id", "FLANDERS")  # else geedim looks for the bands of cloud masks
    region = ee.Geometry.Rectangle([574680, 5621800, 575320, 5622440], ee.Projection("EPSG:32631"), False)
    stack = np.stack([truth(scene)[0]["B4"] for scene in range(4)])
    assert (stack > 0).all()
    for method, expected in (("median", np.median(stack, axis=0)), ("mosaic", stack[-1])):
        path = tmp_path / f"{method}.tif"
        made = collection.gd.composite(method=method, mask=False)
        made.select("B4").gd.prepareForExport(crs="EPSG:32631", region=region, scale=10).gd.toGeoTIFF(str(path))
        with rasterio.open(path) as dataset:
            assert np.array_equal(dataset.read(1), expected)


def test_edown_downloads_scenes(engine, tmp_path, monkeypatch):
    edown = pytest.importorskip("edown")
    # The client is connected already, without credentials, which edown would look for.
    monkeypatch.setattr("edown.discovery.initialize_earth_engine", lambda url: "anonymous")
    monkeypatch.setattr("edown.download.initialize_earth_engine", lambda url: "anonymous", raising=False)
    area = edown.AOI.from_bbox((4.0600, 50.7440, 4.0650, 50.7480))
    config = edown.DownloadConfig(
        collection_id="COPERNICUS/S2_SR_HARMONIZED",
        start_date="2018-08-04",
        end_date="2018-08-04",
        aoi=area,
        bands=("B4", "B8"),
        output_root=tmp_path,
        server_url=engine.url,
    )
    summary = edown.download_images(config)
    assert [result.status for result in summary.results] == ["downloaded"]
    values, transform = truth()
    with rasterio.open(summary.results[0].tiff_path) as dataset:
        col, row = (round(v) for v in ~transform * (dataset.transform.c, dataset.transform.f))
        window = values["B4"][row : row + dataset.height, col : col + dataset.width]
        found = dataset.read(1)
    inside = found != 32767  # edown's own fill around the area of interest
    assert inside.sum() > 1000
    assert np.array_equal(found[inside], window[inside])
