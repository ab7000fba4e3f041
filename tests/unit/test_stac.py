"""STAC beside the products: valid, relative, and true to the file."""

import hashlib
import json
import shutil

import numpy as np
import pyproj
import pystac
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from eeflow.aoi import load_aoi
from eeflow.beside import finish_folder, remove_product, write_beside
from eeflow.gridfile import read_grid
from eeflow.stac import item_name, write_catalog, write_item

GRID = GeoBox((6, 8), Affine(10, 0, 600000, 0, -10, 5700000), "EPSG:32631")


def read(path):
    return json.loads(path.read_text())


def check(content, kind=pystac.STACObjectType.ITEM):
    """By the schemas that pystac carries; those of extensions are on the network only."""
    JsonSchemaSTACValidator().validate_core(content, kind, "1.1.0")


def test_folder_is_a_valid_catalog_that_can_be_moved(make_job, make_product, tmp_path):
    job = make_job()
    for day in (3, 8):
        write_beside(job, make_product(job, f"farm_2019050{day}", time=f"2019-05-0{day}T10:56:21.750000+00:00"))
    finish_folder(job, load_aoi(job.aoi))
    moved = tmp_path / "elsewhere"
    shutil.move(job.folder, moved)
    check(read(moved / "catalog.json"), pystac.STACObjectType.CATALOG)
    check(read(moved / "collection.json"), pystac.STACObjectType.COLLECTION)
    catalog = pystac.Catalog.from_file(str(moved / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    assert [item.id for item in items] == ["farm_20190503", "farm_20190508"]
    for item in items:
        check(read(moved / f"{item.id}.json"))
        assert all((moved / asset.href).exists() for asset in item.assets.values())
        assert set(item.assets) == {"data", "thumbnail"}
        assert item.get_collection().id == item.get_parent().id == "farm"
    (collection,) = catalog.get_children()
    assert [f"{time:%Y-%m-%dT%H:%M:%S.%f}" for time in collection.extent.temporal.intervals[0]] == [
        "2019-05-03T10:56:21.750000",
        "2019-05-08T10:56:21.750000",
    ]
    for path in moved.glob("*.json"):
        assert str(tmp_path) not in path.read_text()


def test_item_says_what_the_file_is(make_job, make_product):
    job = make_job()
    valid = np.ones((6, 8), bool)
    valid[0, :4] = False
    entry = make_product(job, valid=valid, cloud_fraction=0.25, scene_ids=("S0",), versions=(1556881381000000,))
    item = read(write_item(job, entry))
    properties, asset = item["properties"], item["assets"]["data"]
    assert properties["datetime"] == "2019-05-03T10:56:21Z"
    assert properties["proj:code"] == "EPSG:32631"
    assert properties["proj:shape"] == [6, 8]
    assert properties["proj:transform"] == [10, 0, 600000, 0, -10, 5700000]
    assert properties["proj:bbox"] == [600000, 5699940, 600080, 5700000]
    assert properties["eo:cloud_cover"] == 25
    assert properties["gsd"] == 10
    assert properties["processing:lineage"] == ("scene of COPERNICUS/S2_SR_HARMONIZED on Earth Engine, from scene S0.")
    assert properties["processing:software"].keys() == {"eeflow"}
    assert asset["file:size"] == (job.folder / entry.path).stat().st_size
    content = (job.folder / entry.path).read_bytes()
    assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()  # multihash: sha2-256, 32 bytes
    assert asset["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    red, nir = asset["bands"]
    assert (red["name"], red["data_type"], red["nodata"], red["eo:common_name"]) == ("B4", "uint16", 65535, "red")
    assert (nir["name"], nir["eo:common_name"], nir["raster:scale"], nir["raster:offset"]) == ("B8", "nir", 1, 0)
    numbers = np.arange(48).reshape(6, 8)[valid]
    assert red["statistics"]["minimum"] == 4
    assert red["statistics"]["mean"] == pytest.approx(numbers.mean())
    assert red["statistics"]["stddev"] == pytest.approx(numbers.std())
    assert red["statistics"]["valid_percent"] == pytest.approx(100 * 44 / 48, abs=1e-3)
    names = {uri.split("/")[3] for uri in item["stac_extensions"]}
    assert names == {"projection", "raster", "eo", "processing", "file"}


def test_footprint_is_around_the_valid_pixels(make_job, make_product):
    job = make_job()
    valid = np.zeros((6, 8), bool)
    valid[2:5, 1:7] = True
    item = read(write_item(job, make_product(job, valid=valid)))
    left, bottom, right, top = 600010, 5699950, 600070, 5699980  # columns 1 to 6, rows 2 to 4, by hand
    to_utm = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True)
    footprint = shapely.transform(
        shapely.geometry.shape(item["geometry"]), lambda xy: np.column_stack(to_utm.transform(xy[:, 0], xy[:, 1]))
    )
    assert footprint.symmetric_difference(shapely.box(left, bottom, right, top)).area < 10  # of 1,800 square metres
    nothing = read(write_item(job, make_product(job, "empty", valid=np.zeros((6, 8), bool))))
    assert shapely.geometry.shape(nothing["geometry"]).contains(shapely.geometry.shape(item["geometry"]))
    assert "statistics" not in nothing["assets"]["data"]["bands"][0]


def test_footprint_over_the_antimeridian_is_cut(make_job, make_product):
    job = make_job(aoi={"bbox": [179, -19, 179.5, -18]})
    grid = GeoBox((6, 8), Affine(40000, 0, 700000, 0, -40000, 8000000), "EPSG:32760")
    item = read(write_item(job, make_product(job, grid=grid)))
    west, _, east, _ = item["bbox"]
    assert item["geometry"]["type"] == "MultiPolygon"
    assert 170 < west < 180
    assert -180 < east < -170
    check(item)


def test_periods_and_no_time_at_all(make_job, make_product):
    job = make_job(product={"kind": "composite", "every": "month"})
    entry = make_product(
        job,
        time="2019-05-01T00:00:00+00:00",
        time_end="2019-06-01T00:00:00+00:00",
        kind="composite",
        scene_ids=("S0", "S1"),
        versions=(1, None),
    )
    item = read(write_item(job, entry))
    assert item["properties"]["datetime"] is None
    assert item["properties"]["start_datetime"] == "2019-05-01T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2019-06-01T00:00:00Z"
    assert item["properties"]["processing:lineage"] == (
        "composite of COPERNICUS/S2_SR_HARMONIZED on Earth Engine by median, from 2 scenes: S0, S1."
    )
    assert item["properties"]["eeflow:versions"] == [1, None]
    check(item)
    timeless = read(write_item(job, make_product(job, "dem", time=None)))
    assert timeless["properties"]["datetime"] == "2026-01-01T00:00:00Z"
    check(timeless)


def test_crs_without_a_code_is_given_in_words(make_job, make_product):
    sinusoidal = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
    grid = GeoBox((6, 8), Affine(231.656358, 0, 300000, 0, -231.656358, 5600000), sinusoidal)
    job = make_job()
    item = read(write_item(job, make_product(job, grid=grid)))
    assert item["properties"]["proj:code"] is None
    assert "inusoidal" in item["properties"]["proj:wkt2"]
    check(item)


def test_items_never_take_the_names_of_other_files():
    assert item_name("farm_20190503T105621.tif") == "farm_20190503T105621.json"
    assert {item_name(f"{name}.tif") for name in ("grid", "catalog", "collection")} == {
        "grid_item.json",
        "catalog_item.json",
        "collection_item.json",
    }


def test_catalog_is_that_of_the_ledger_and_makes_items_that_lack(make_job, make_product):
    job = make_job()
    kept, removed = make_product(job, "farm_20190503"), make_product(job, "farm_20190508")
    write_beside(job, removed)
    grid = read_grid(job.folder)
    write_catalog(job, grid, [kept, removed])
    assert (job.folder / "farm_20190503.json").exists()
    remove_product(job.folder, removed.path)
    write_catalog(job, grid, [kept])
    links = [link["href"] for link in read(job.folder / "collection.json")["links"] if link["rel"] == "item"]
    assert links == ["./farm_20190503.json"]
    assert not list(job.folder.glob("farm_20190508*"))


def test_nothing_but_what_the_job_wants(make_job, make_product, tmp_path):
    job = make_job(output={"root": str(tmp_path), "quicklook": False, "stac": False})
    write_beside(job, make_product(job))
    finish_folder(job, load_aoi(job.aoi))
    assert {path.name for path in job.folder.iterdir()} == {
        "farm_20190503T105621.tif", "grid.json", "area.geojson", "ledger.sqlite"
    }  # fmt: skip


def test_no_grid_no_catalog(make_job):
    job = make_job()
    finish_folder(job, load_aoi(job.aoi))
    assert not job.folder.exists()
