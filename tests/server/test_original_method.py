"""The method eeflow grew from, run on eelocal by the plain client, against what `eeflow run` writes."""

import json
import math
import subprocess
import sys
from pathlib import Path

import ee
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from original_method import original_method

COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
CRS = "EPSG:32631"
# 7.3 m and 2.9 m from pixel edges, so that no corner of the area is a corner of a pixel.
AOI = shapely.box(574_687.3, 5_621_812.9, 575_142.3, 5_622_077.9)


@pytest.fixture(scope="module")
def aoi_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("aoi") / "farm.gpkg"
    gpd.GeoDataFrame(geometry=[AOI], crs=CRS).to_file(path)
    return path


@pytest.fixture(scope="module")
def scene(local_ee):
    found = (
        ee.ImageCollection(COLLECTION)
        .filterBounds(ee.Geometry.Point([4.065, 50.746]))
        .filterDate("2024-05-01", "2024-06-01")
        .filter(ee.Filter.eq("MGRS_TILE", "31UES"))
        .filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", 30))
    )
    return found.first().getInfo()


@pytest.fixture(scope="module")
def script_raster(local_ee, scene, aoi_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "B4.tif"
    images = ee.ImageCollection(COLLECTION).filter(ee.Filter.eq("system:index", scene["properties"]["system:index"]))
    original_method(aoi_file, CRS, images, "B4", 10, path)
    with rasterio.open(path) as raster:
        return raster.read(1), raster.transform


@pytest.fixture(scope="module", params=["rectangle", "points"])
def eeflow_raster(request, local_ee, scene, aoi_file, tmp_path_factory, prefect_environment):
    folder = tmp_path_factory.mktemp(f"eeflow_{request.param}")
    job = {
        "name": "farm",
        "aoi": {"file": str(aoi_file)},
        "collection": COLLECTION,
        "bands": ["B4"],
        "dates": {"start": "2024-05-01", "end": "2024-06-01"},
        "filters": {"system:index": {"eq": scene["properties"]["system:index"]}},
        "region": request.param,
        "output": {"root": str(folder)},
    }
    (folder / "job.yaml").write_text(json.dumps(job))  # JSON is YAML
    command = [Path(sys.executable).parent / "eeflow", "run", folder / "job.yaml", "--json"]
    environment = prefect_environment | {"EEFLOW_EE_URL": local_ee.url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (product,) = json.loads(done.stdout)["products"]
    with rasterio.open(product["path"]) as raster:
        return raster.read(1), raster.transform


def test_eeflow_writes_the_collections_own_pixels(eeflow_raster, scene):
    values, transform = eeflow_raster
    band = next(band for band in scene["bands"] if band["id"] == "B4")
    scale_x, _, x, _, scale_y, y = band["crs_transform"]
    assert (transform.a, transform.e) == (scale_x, scale_y)
    assert (transform.c - x) % 10 == 0
    assert (transform.f - y) % 10 == 0
    # 574687.3 lies in the pixel that starts at 574680, 575142.3 in the one that ends at 575150: 47 columns;
    # 5622077.9 in the one that ends at 5622080, 5621812.9 in the one that starts at 5621810: 27 rows.
    assert values.shape == (27, 47)
    assert (transform.c, transform.f) == (574_680, 5_622_080)


def test_original_method_has_the_same_values(eeflow_raster, script_raster):
    """Each of the script's values is the native pixel that its point lies in."""
    values, transform = eeflow_raster
    script, _ = script_raster
    minx, miny, maxx, maxy = AOI.bounds
    assert script.shape == (27, 46)
    for row, northing in enumerate(np.arange(miny, maxy + 1e-9, 10)[::-1]):
        for col, easting in enumerate(np.arange(minx, maxx + 1e-9, 10)):
            native_col = math.floor((easting - transform.c) / 10)
            native_row = math.floor((transform.f - northing) / 10)
            assert script[row, col] == values[native_row, native_col]


def test_original_method_is_shifted_by_up_to_a_pixel(eeflow_raster, script_raster):
    """Where the script's own transform says a value lies is not where that value is."""
    values, transform = eeflow_raster
    script, shifted = script_raster
    # The script writes its first column at minx = 574687.3, 7.3 m right of the pixel it sampled; and its top row, which
    # it sampled at 5622072.9, at maxy = 5622077.9, 2.1 m below the top of that pixel.
    assert shifted.c - transform.c == pytest.approx(7.3)
    assert transform.f - shifted.f == pytest.approx(2.1)
    centres_x = shifted.c + (np.arange(46) + 0.5) * 10
    centres_y = shifted.f - (np.arange(27) + 0.5) * 10
    columns = np.floor((centres_x - transform.c) / 10).astype(int)
    rows = np.floor((transform.f - centres_y) / 10).astype(int)
    inside = columns < values.shape[1], rows < values.shape[0]
    claimed = script[np.ix_(inside[1], inside[0])]
    true = values[np.ix_(rows[inside[1]], columns[inside[0]])]
    assert (claimed != true).mean() > 0.5  # most pixels of the script show their neighbour
