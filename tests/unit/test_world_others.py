"""The generated collections beside Sentinel-2 Level-2A: grids, identities, values."""

from datetime import UTC, datetime
from itertools import islice

import numpy as np
import pytest
from pyproj import Transformer
from shapely.geometry import Point, box

from eelocal.world import world

ASSETS = world()
BELGIUM = Point(4.06, 50.745)
S1 = "COPERNICUS/S1_GRD"
LC08, LC09 = "LANDSAT/LC08/C02/T1_L2", "LANDSAT/LC09/C02/T1_L2"
CSP = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"


def ms(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


def search(asset_id, start, end, region=BELGIUM):
    return list(ASSETS.collections[asset_id].search(ms(start), ms(end), region))


def grid_of(image, band):
    return next(b for b in image.bands if b.name == band)


def pixel_of(image, band, lon, lat):
    grid = grid_of(image, band)
    x, y = lon, lat
    if grid.crs.startswith("EPSG:32"):
        x, y = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(lon, lat)
    return int((x - grid.transform[2]) // grid.transform[0]), int((y - grid.transform[5]) // grid.transform[4])


# --- Landsat


@pytest.mark.parametrize("index", ["LC08_044034_20140318", "LC08_001070_20190114"])
def test_landsat_scenes_of_real_days_exist(index):
    image = ASSETS.image(f"{LC08}/{index}")
    assert image is not None
    assert image.properties["system:index"] == index
    assert ASSETS.image(f"{LC08}/{index[:-1]}9") is None


def test_landsat_9_follows_eight_days_later():
    eight = {image.id[-8:] for image in search(LC08, "2023-06-01", "2023-07-01")}
    nine = {image.id[-8:] for image in search(LC09, "2023-06-09", "2023-07-09")}
    later = {(datetime.strptime(day, "%Y%m%d") - datetime(1970, 1, 1)).days + 8 for day in eight}
    assert later == {(datetime.strptime(day, "%Y%m%d") - datetime(1970, 1, 1)).days for day in nine}


def test_landsat_search_is_in_asset_id_order():
    ids = [image.id for image in search(LC08, "2021-01-01", "2021-07-01")]
    assert len(ids) > 20
    assert ids == sorted(ids)


@pytest.mark.parametrize(("lon", "lat"), [(4.06, 50.745), (-55.0, -10.0)])
def test_landsat_grid_is_northern_with_odd_origins(lon, lat):
    image = search(LC08, "2021-06-01", "2021-08-01", Point(lon, lat))[0]
    grid = image.bands[0]
    assert grid.crs.startswith("EPSG:326")
    assert grid.transform[2] % 30 == grid.transform[5] % 30 == 15
    assert (grid.transform[5] < 0) == (lat < 0)


def test_landsat_values_are_scaled_as_documented():
    images = search(LC08, "2019-05-01", "2019-09-01")
    image = min(images, key=lambda i: i.properties["CLOUD_COVER"])
    col, row = pixel_of(image, "SR_B4", 4.06, 50.745)
    red, near = (image.read(b, 0, col, row, 60, 60)[0] * 2.75e-5 - 0.2 for b in ("SR_B4", "SR_B5"))
    kelvin = image.read("ST_B10", 0, col, row, 60, 60)[0] * 0.00341802 + 149
    assert 0.0 < red.mean() < 0.2
    assert near.mean() > 1.5 * red.mean()
    assert 285 < kelvin.mean() < 315
    quality, _ = image.read("QA_PIXEL", 0, col, row, 60, 60)
    assert np.isin(quality, (21824, 21952, 22280, 23888, 54596, 21762, 30048)).all()


def test_landsat_cloud_cover_is_that_of_qa_pixel():
    for image in search(LC08, "2020-04-01", "2020-08-01")[:4]:
        quality, valid = image.read("QA_PIXEL", 5, 0, 0, 240, 240)
        cloudy = 100 * ((quality[valid] >> 3) & 1).mean()
        assert abs(cloudy - image.properties["CLOUD_COVER"]) < 12


# --- Sentinel-1


def test_the_recorded_sentinel_1_slice_exists_on_its_second():
    images = search(S1, "2019-12-02", "2019-12-03", Point(18.8, 49.25))
    assert [i.id.split("/")[-1][:56] for i in images] == ["S1A_IW_GRDH_1SDV_20191202T163455_20191202T163520_030172_"]
    properties = images[0].properties
    assert properties["relativeOrbitNumber_start"] == 175
    assert properties["orbitProperties_pass"] == "ASCENDING"
    assert ASSETS.image(images[0].id).properties == properties


def test_sentinel_1_band_sets_differ_between_places():
    assert [b.name for b in search(S1, "2020-01-01", "2020-01-20")[0].bands] == ["VV", "VH", "angle"]
    assert [b.name for b in search(S1, "2020-01-01", "2020-01-20", Point(20, 78))[0].bands] == ["HH", "HV", "angle"]


def test_sentinel_1_is_decibels_on_an_odd_origin():
    image = search(S1, "2020-06-01", "2020-06-13")[0]
    grid = image.bands[0]
    assert grid.dtype == np.float64
    assert grid.transform[2] % 10 != 0
    col, row = pixel_of(image, "VV", 4.06, 50.745)
    co, valid = image.read("VV", 0, col, row, 80, 80)
    cross, _ = image.read("VH", 0, col, row, 80, 80)
    assert valid.all()
    assert -20 < co.mean() < -5
    assert 4 < (co - cross).mean() < 12
    angle, there = image.read("angle", 0, 0, 0, 21, 10)
    assert there.all()
    assert 29 < angle.min() < angle.max() < 47


# --- Cloud Score+ and Level-1C


def test_cloud_score_shares_indices_and_agrees_with_the_clouds():
    scenes = search("COPERNICUS/S2_SR_HARMONIZED", "2020-05-01", "2020-07-01")
    scored = {image.properties["system:index"]: image for image in search(CSP, "2020-05-01", "2020-07-01")}
    assert set(scored) <= {image.properties["system:index"] for image in scenes}
    scene = next(i for i in scenes if 20 < i.properties["CLOUDY_PIXEL_PERCENTAGE"] < 80)
    score, valid = scored[scene.properties["system:index"]].read("cs", 3, 0, 0, 300, 300)
    classes, _ = scene.read("SCL", 2, 0, 0, 300, 300)
    assert score.dtype == np.float32
    assert valid.all()
    assert score.min() >= 0
    assert score.max() <= 1
    assert score[classes == 9].mean() < 0.3 < 0.8 < score[np.isin(classes, (4, 5))].mean()


def test_a_few_scenes_have_no_score():
    scenes = search("COPERNICUS/S2_HARMONIZED", "2018-01-01", "2020-01-01")
    scored = search(CSP, "2018-01-01", "2020-01-01")
    assert 0 < len(scenes) - len(scored) < 0.06 * len(scenes)


def test_level_1c_has_its_cirrus_band_and_is_brighter_in_the_blue():
    top = search("COPERNICUS/S2_HARMONIZED", "2020-05-01", "2020-07-01")
    image = min(top, key=lambda i: i.properties["CLOUDY_PIXEL_PERCENTAGE"])
    ground = ASSETS.image(image.id.replace("S2_HARMONIZED", "S2_SR_HARMONIZED"))
    assert [b.name for b in image.bands][10:13] == ["B10", "B11", "B12"]
    assert image.read("B2", 4, 0, 0, 99, 99)[0].mean() > ground.read("B2", 4, 0, 0, 99, 99)[0].mean() + 300
    assert "MSIL1C" in image.properties["PRODUCT_ID"]


# --- grids over the Earth


def test_modis_composites_have_the_recorded_times_and_grid():
    image = ASSETS.image("MODIS/061/MOD13Q1/2000_02_18")
    assert image.properties["system:time_start"] == 950832000000
    assert image.properties["system:time_end"] == 952214400000
    grid = grid_of(image, "NDVI")
    assert grid.crs == "SR-ORG:6974"
    assert (grid.width, grid.height) == (172800, 86400)
    assert grid.transform[2] == -20015109.353988
    assert [i.id[-10:] for i in search("MODIS/061/MOD13Q1", "2019-12-01", "2020-01-20")] == [
        "2019_12_03",
        "2019_12_19",
        "2020_01_01",
        "2020_01_17",
    ]


def test_modis_ndvi_is_greener_in_summer():
    x = np.radians(4.06) * 6371007.181 * np.cos(np.radians(50.745))
    y = np.radians(50.745) * 6371007.181
    col, row = int((x + 20015109.353988) / 231.65635826395825), int((10007554.676994 - y) / 231.65635826395834)
    winter, summer = (
        ASSETS.image(f"MODIS/061/MOD13Q1/{day}").read("NDVI", 0, col, row, 40, 40)
        for day in ("2019_01_01", "2019_05_25")
    )
    assert summer[1].mean() > 0.9
    assert winter[0].mean() + 1500 < summer[0].mean() < 9000


@pytest.mark.parametrize(
    ("asset_id", "band", "transform", "low", "high"),
    [
        ("ECMWF/ERA5_LAND/DAILY_AGGR/20200701", "temperature_2m", (0.1, 0, -180.05, 0, -0.1, 90.05), 200, 330),
        ("UCSB-CHG/CHIRPS/DAILY/20200701", "precipitation", (0.05, 0, -180, 0, -0.05, 50), 0, 400),
    ],
)
def test_weather_is_float_on_its_grid_and_masked_at_sea(asset_id, band, transform, low, high):
    image = ASSETS.image(asset_id)
    grid = grid_of(image, band)
    assert (grid.crs, grid.dtype, grid.transform) == ("EPSG:4326", np.float32, transform)
    values, valid = image.read(band, 5, 0, 0, grid.width // 32, grid.height // 32)
    assert 0.8 < valid.mean() < 1
    assert low <= values[valid].min() <= values[valid].max() <= high
    assert (values[~valid] == 0).all()


def test_daily_series_are_named_by_day_and_lazy():
    days = islice(ASSETS.collections["UCSB-CHG/CHIRPS/DAILY"].search(None, None, None), 2)
    assert [image.id[-8:] for image in days] == ["19810101", "19810102"]
    assert ASSETS.image("UCSB-CHG/CHIRPS/DAILY/19801231") is None
    assert ASSETS.image("UCSB-CHG/CHIRPS/DAILY/hello") is None


def test_elevations_agree_between_models():
    heights = []
    for image, band in (
        (ASSETS.images["USGS/SRTMGL1_003"], "elevation"),
        (ASSETS.images["NASA/NASADEM_HGT/001"], "elevation"),
        (ASSETS.image("COPERNICUS/DEM/GLO30/Copernicus_DSM_COG_10_N50_00_E004_00_DEM"), "DEM"),
    ):
        col, row = pixel_of(image, band, 4.06, 50.745)
        values, valid = image.read(band, 0, col, row, 1 if band == "DEM" else 20, 20)
        assert valid.all()
        heights.append(float(values[:, 0].mean()))
    assert np.ptp(heights) < 3
    assert ASSETS.images["USGS/SRTMGL1_003"].bands[0].dtype == np.int16


def test_glo30_tiles_narrow_towards_the_pole():
    widths = {
        lat: search("COPERNICUS/DEM/GLO30", "2000-01-01", "2030-01-01", Point(4.5, lat + 0.5))[0].bands[0].width
        for lat in (10, 49, 50, 60, 70, 80)
    }
    assert widths == {10: 3601, 49: 3601, 50: 2401, 60: 1801, 70: 1201, 80: 721}


def test_worldcover_classes_are_the_known_ones():
    image = next(iter(ASSETS.collections["ESA/WorldCover/v200"].search(None, None, BELGIUM)))
    col, row = pixel_of(image, "Map", 4.06, 50.745)
    classes, valid = image.read("Map", 0, col, row, 300, 300)
    assert valid.all()
    assert set(np.unique(classes)) <= {10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100}
    assert (classes == 40).mean() > 0.2


@pytest.mark.parametrize(
    ("asset_id", "band", "col", "row"),
    [
        ("MODIS/061/MOD13Q1/2019_05_25", "NDVI", 43_600, 9_690),
        ("USGS/SRTMGL1_003", "elevation", 334_700, 16_690),
        ("ECMWF/ERA5_LAND/DAILY_AGGR/20200701", "temperature_2m", 700, 190),
    ],
)
def test_global_window_is_a_slice_of_a_larger_one(asset_id, band, col, row):
    image = ASSETS.image(asset_id)
    large, there = image.read(band, 1, col, row, 90, 80)
    small, valid = image.read(band, 1, col + 33, row + 10, 21, 33)
    assert valid.any()
    np.testing.assert_array_equal(small, large[10:43, 33:54])
    np.testing.assert_array_equal(valid, there[10:43, 33:54])


def test_every_collection_answers_for_a_place_on_land():
    region = box(11.05, 44.74, 11.07, 44.75)
    for collection in ASSETS.collections.values():
        image = next(iter(collection.search(ms("2021-06-01"), ms("2021-07-01"), region)), None)
        elsewhere = ("COPERNICUS/DEM/GLO30", "ESA", "GRIDMET", "LANDSAT/LC09", "LANDSAT/LT0")  # or at another time
        if collection.id.startswith(elsewhere):
            continue
        assert image is not None, collection.id
        assert image.footprint.intersects(region)
        assert image.version > 10**15
