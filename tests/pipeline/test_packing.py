"""Packed rows give the same blocks as plain ones on eelocal: dtypes, swath edges, seams of tiles, zones and CRSs."""

import dataclasses

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

import eelocal
from eeflow.aoi import AOI
from eeflow.blocks import BlockStore
from eeflow.fetch import Control, fetch_batch
from eeflow.grid import Window, parse_crs
from eeflow.images import make_images
from eeflow.jobfile import parse_job
from eeflow.recipe import make_recipe
from eeflow.scenes import find_scenes
from eeflow.series import Request, make_series
from eeflow.session import connect
from eeflow.settings import Settings

S2, L8, S1 = "COPERNICUS/S2_SR_HARMONIZED", "LANDSAT/LC08/C02/T1_L2", "COPERNICUS/S1_GRD"
S2_BANDS = ["B2", "SCL", "B3", "B11", "B8", "QA60", "B4"]
CASES = {
    "two tiles": (S2, S2_BANDS, GeoBox((30, 40), Affine(10, 0, 609_600, 0, -10, 5_600_240), "EPSG:32631"), {}),
    "coarse, over swath and zone": (
        S2,
        S2_BANDS,
        GeoBox((40, 50), Affine(1500, 0, 590_000, 0, -1500, 5_710_000), "EPSG:32631"),
        {},
    ),
    "laea": (S2, S2_BANDS, GeoBox((20, 30), Affine(20, 0, 3_900_000, 0, -20, 3_100_000), "EPSG:3035"), {}),
    "degrees, signed and floats": (
        L8,
        ["SR_B2", "QA_PIXEL", "ST_QA", "SR_B5", "QA_RADSAT"],
        GeoBox((20, 30), Affine(0.005, 0, 4.0, 0, -0.005, 50.7), "EPSG:4326"),
        {},
    ),
    "clouds masked and days merged": (
        S2,
        ["B2", "B8", "SCL", "NDVI"],
        GeoBox((30, 40), Affine(10, 0, 609_600, 0, -10, 5_600_240), "EPSG:32631"),
        {"clouds": {"method": "scl"}, "product": {"kind": "day"}},
    ),
}


@pytest.fixture(scope="module")
def session():
    with eelocal.LocalEarthEngine() as engine:
        yield connect(Settings(ee_url=engine.url, _env_file=None))


@pytest.mark.parametrize("name", CASES)
def test_packed_and_plain_rows_give_the_same_blocks(session, tmp_path, name):
    collection, bands, grid, more = CASES[name]
    west, south, east, north = grid.extent.to_crs("EPSG:4326").boundingbox
    dates = {"start": "2023-06-01", "end": "2023-06-16"}
    aoi = {"bbox": [west, south, east, north]}
    job = parse_job({"name": "t", "aoi": aoi, "collection": collection, "bands": bands, "dates": dates, **more})
    scenes = find_scenes(session, job, AOI(grid.extent.geom, parse_crs(str(grid.crs))))
    names, recipe = make_recipe(job, scenes)
    series = make_series(job, make_images(job, scenes)[:9], names, grid, recipe)
    assert series.packing
    ids = tuple(image.image_id for image in series.images)
    half = grid.height // 2
    windows = [Window(0, 0, half, grid.width), Window(half, 0, grid.height - half, grid.width)]
    requests = [Request(ids, tuple(names), window) for window in windows]
    stores = {}
    for packing in (True, False):
        stores[packing] = BlockStore(tmp_path / str(packing))
        own = dataclasses.replace(series, packing=packing)
        keys = fetch_batch(session, own, requests, stores[packing], Control()).keys
    some = dict.fromkeys(names, False)
    for key in keys:
        packed, plain = stores[True].load(key), stores[False].load(key)
        assert packed.seen.tobytes() == plain.seen.tobytes()
        for band in names:
            assert packed.values[band].dtype == plain.values[band].dtype
            assert packed.values[band].tobytes() == plain.values[band].tobytes()
            np.testing.assert_array_equal(packed.valid[band], plain.valid[band])
            some[band] |= bool(plain.values[band].any())
    assert sum(some.values()) > len(names) // 2  # it was about something
