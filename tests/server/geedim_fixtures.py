"""The `conftest.py` that geedim's source package leaves out: its own tests on eelocal (`make peers`).

The regions are geedim's; the scenes are those that the generated world has there, partly cloudy as geedim wants them.
In place of images that the world lacks: a mean of Landsat 8 (the 8-day NDVI composite) and three images with holes
(GEDI). In place of the public STAC catalogue on the internet: what the tests look for in it.
"""

import itertools

import ee
import geedim.stac
import numpy as np
import pytest
from click.testing import CliRunner
from geedim import utils
from geedim.collection import ImageCollectionAccessor
from geedim.image import ImageAccessor
from rasterio.features import bounds
from rasterio.warp import transform_geom
from test_eelocal_support import CodedCollection, CodedImage, assets, connect

from eelocal import LocalEarthEngine

GEDI, NDVI = "LARSE/GEDI/GEDI02_A_002_MONTHLY", "LANDSAT/COMPOSITES/C02/T1_L2_8DAY_NDVI"
S2, L9 = "COPERNICUS/S2_SR_HARMONIZED", "LANDSAT/LC09/C02/T1_L2"
LANDSAT = {4: ("LT04", "19880310"), 5: ("LT05", "20051112"), 7: ("LE07", "20211202"), 8: ("LC08", "20180217"),
           9: ("LC09", "20220612")}  # fmt: skip
LEVELS = {"sr": "T1_L2", "toa": "T1_TOA", "raw": "T1"}
GRANULES = ("20200706T082836_20200706T083636_T34HEJ", "20210303T082833_20210303T083633_T34HEJ",
            "20190801T082837_20190801T083637_T34HEJ")  # fmt: skip


# What geedim's tests import from their conftest.


def accessors_from_images(images):
    """Accessors with their info, fetched in one request."""
    infos = ee.List(images).getInfo()
    return [ImageAccessor._with_info(image, info) for image, info in zip(images, infos, strict=True)]


def accessors_from_collections(collections):
    """Accessors with their info and that of their images, fetched in one request."""
    lists = [collection.toList(ImageCollectionAccessor._max_export_images) for collection in collections]
    infos, features = ee.List([collections, lists]).getInfo()
    return [
        ImageCollectionAccessor._with_info(collection, dict(**info, features=images))
        for collection, info, images in zip(collections, infos, features, strict=True)
    ]


def transform_bounds(geometry, crs="EPSG:4326"):
    """Bounds of a GeoJSON geometry in a system."""
    source = geometry["crs"]["properties"]["name"] if "crs" in geometry else "EPSG:4326"
    return bounds(geometry if crs == source else transform_geom(source, crs, geometry))


# The catalogue.


def described(names, gsd, **more):
    return [{"name": name, "description": f"{name} band", "gsd": gsd, **more} for name in names]


def catalogue():
    s2 = described(["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"], 10,
                   **{"center_wavelength": 0.4, "gee:scale": 0.0001})  # fmt: skip
    s2 += described(["AOT", "WVP", "SCL", "TCI_R", "TCI_G", "TCI_B", "MSK_CLDPRB", "MSK_SNWPRB", "QA10", "QA20", "QA60",
                     "MSK_CLASSI_OPAQUE", "MSK_CLASSI_CIRRUS", "MSK_CLASSI_SNOW_ICE"], 10)  # fmt: skip
    landsat = described([f"SR_B{i}" for i in range(1, 8)], 30,
                        **{"center_wavelength": 0.4, "gee:scale": 2.75e-5, "gee:offset": -0.2})  # fmt: skip
    landsat += described(["ST_B10"], 30, **{"center_wavelength": 10.9, "gee:scale": 0.00341802, "gee:offset": 149.0,
                                            "gee:units": "K"})  # fmt: skip
    landsat += described(["SR_QA_AEROSOL", "ST_ATRAN", "ST_CDIST", "ST_DRAD", "ST_EMIS", "ST_EMSD", "ST_QA", "ST_TRAD",
                          "ST_URAD", "QA_PIXEL", "QA_RADSAT"], 30)  # fmt: skip
    modis = described([f"Nadir_Reflectance_Band{i}" for i in range(1, 8)], 500,
                      **{"center_wavelength": 0.4, "gee:scale": 1e-4})  # fmt: skip
    modis += described([f"BRDF_Albedo_Band_Mandatory_Quality_Band{i}" for i in range(1, 8)], 500)
    bands = {S2: s2, L9: landsat, "LANDSAT/LC08/C02/T1_L2": landsat, "MODIS/061/MCD43A4": modis,
             NDVI: described(["NDVI"], 30), GEDI: described(["rh98"], 25)}  # fmt: skip
    schema = [{"name": "CLOUD_COVERAGE_ASSESSMENT", "description": "Cloud coverage. of it"}]
    return {
        name: {
            "id": name,
            "links": [{"rel": "license", "href": "https://example.org/licence"}],
            "summaries": {"eo:bands": found, "gsd": [found[0]["gsd"]], "gee:schema": schema},
        }
        for name, found in bands.items()
    }


CATALOGUE = catalogue()


async def looked_up(self, ee_id, session):
    """In place of STACClient._get: an entry of the image, or of the collection that it is of."""
    name = ee_id or ""
    found = CATALOGUE.get(name, CATALOGUE.get(name.rpartition("/")[0]))
    if found:
        self._cache[ee_id] = found
    return found


# The server.


def with_holes(index, tenths):
    """An image of which so many tenths of the pixels are masked."""
    west, north, size, count = 21.5, -33.3, 0.000224578821, 1500
    east, south = west + count * size, north - count * size
    ring = [[west, north], [east, north], [east, south], [west, south], [west, north]]
    return CodedImage(
        f"{GEDI}/{index}",
        bands=("rh98", "sensitivity"),
        crs="EPSG:4326",
        transform=(size, 0, west, 0, -size, north),
        size=(count, count),
        dtype="float32",
        properties={
            "system:time_start": 1640995200000,
            "system:footprint": {"type": "LinearRing", "coordinates": ring},
        },
        masked=lambda k, row, col: (row * 7 + col * 3) % 10 < tenths,
        function=lambda k, row, col: (row + col) % 50,
    )


@pytest.fixture(scope="session", autouse=True)
def ee_initialize():
    images = [with_holes(*i) for i in (("202112_018E_036S", 3), ("202205_018E_036S", 6), ("202207_018E_036S", 1))]
    with (
        LocalEarthEngine(assets=assets(CodedCollection(GEDI, images))) as engine,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(type(geedim.stac.STACClient()), "_get", looked_up)
        patch.setattr(utils, "Initialize", lambda **options: ee.data.is_initialized() or connect(engine.url))
        connect(engine.url)
        yield engine


@pytest.fixture
def runner():
    return CliRunner()


# Regions and images.


def given(value):
    """A fixture of a value that is at hand."""
    return pytest.fixture(scope="session")(lambda: value)


def region(west, north, east, south):
    ring = [[west, north], [west, south], [east, south], [east, north]]
    return {"type": "Polygon", "coordinates": [ring], "evenOdd": True}


region_25ha = given(region(21.6389, -33.4474, 21.6442, -33.452))
region_100ha = given(region(21.6374, -33.4455, 21.648, -33.4547))
region_10000ha = given(region(21.5893, -33.4038, 21.696, -33.4964))


def pytest_generate_tests(metafunc):
    """test_filter wants scenes that cover its region in part: here, a region at the edge of their path."""
    if metafunc.function.__name__ == "test_filter":
        metafunc.parametrize("region_10000ha", [region(20.8370, -33.4455, 20.8476, -33.4547)], ids=["edge"])


def landsat(number, level):
    sensor, date = LANDSAT[number]
    return f"LANDSAT/{sensor}/C02/{LEVELS[level]}/{sensor}_173083_{date}"


for _number, _level in itertools.product(LANDSAT, LEVELS):
    globals()[f"l{_number}_{_level}_image_id"] = given(landsat(_number, _level))
ls_sr_image_ids, ls_toa_image_ids, ls_raw_image_ids = (given([landsat(n, lev) for n in LANDSAT]) for lev in LEVELS)
l9_sr_image_ids = given([f"{L9}/LC09_173083_{date}" for date in ("20220612", "20220831", "20230615")])

S2_IDS = [f"COPERNICUS/{name}/{granule}" for name, granule in
          zip(("S2_SR", "S2", "S2_SR_HARMONIZED", "S2_HARMONIZED"), GRANULES[:2] * 2, strict=True)]  # fmt: skip
s2_sr_image_id, s2_toa_image_id, s2_sr_hm_image_id, s2_toa_hm_image_id = map(given, S2_IDS)
s2_image_ids = given(S2_IDS)
s2_sr_hm_image_ids = given([f"{S2}/{granule}" for granule in GRANULES])
modis_nbar_image_id = given("MODIS/061/MCD43A4/2022_01_01")
gedi_cth_image_id = given(f"{GEDI}/202112_018E_036S")
landsat_ndvi_image_id = given(f"{NDVI}/20211211")


def accessor(name):
    return pytest.fixture(scope="session")(lambda: ImageAccessor(ee.Image(name)))


l9_sr_image = accessor(landsat(9, "sr"))
s2_sr_hm_image = accessor(S2_IDS[2])
modis_nbar_image = accessor("MODIS/061/MCD43A4/2022_01_01")


@pytest.fixture(scope="session")
def landsat_ndvi_image(region_10000ha):
    collection = ee.ImageCollection("LANDSAT/LC08/C02/T1_L2").filterDate("2021-12-01", "2022-01-30")
    mean = collection.filterBounds(ee.Geometry(region_10000ha)).mean()
    index = mean.normalizedDifference(["SR_B5", "SR_B4"]).rename("NDVI")
    return ImageAccessor(index.set({"system:id": f"{NDVI}/20211211", "system:index": "20211211"}))


@pytest.fixture(scope="session")
def const_image():
    return ImageAccessor(ee.Image([1, 2, 3]))


@pytest.fixture(scope="session")
def prepared_image(const_image):
    """Three bands of 20 x 20 pixels, masked but for 10 x 10 in the middle."""
    crs = "EPSG:3857"
    whole, middle = (ee.Geometry.Rectangle((-r, -r, r, r), proj=crs) for r in (1.0, 0.5))
    image = const_image._ee_image.toUint8().setDefaultProjection(crs, scale=0.1).clipToBoundsAndScale(whole)
    image = image.updateMask(image.clip(middle).mask()).rename(["B2", "B3", "B4"])
    return ImageAccessor(identified(image, 1, 0))


def identified(image, number, time):
    name = f"prepared_image{number}"
    return image.set({"system:id": f"{S2}/{name}", "system:index": name, "system:time_start": time})


@pytest.fixture(scope="session")
def prepared_image_array(prepared_image):
    values = np.zeros((*prepared_image.shape, prepared_image.count), prepared_image.dtype)
    values[5:-5, 5:-5] = np.arange(1, prepared_image.count + 1)
    return np.ma.masked_equal(values, 0)


@pytest.fixture(scope="session")
def prepared_coll(prepared_image):
    first = prepared_image._ee_image
    second = identified(first.add(3).toUint8(), 2, 24 * 60 * 60e3)
    properties = {"system:id": S2, "period": 0, "type_name": "ImageCollection"}
    return ImageCollectionAccessor(ee.ImageCollection([first, second]).set(properties))


@pytest.fixture(scope="session")
def prepared_coll_array(prepared_image_array):
    return np.ma.stack([prepared_image_array, prepared_image_array + prepared_image_array.shape[2]], axis=-1)


# Export tasks, which are not done.

DONE = {"metadata": {"state": "SUCCEEDED", "description": "export", "progress": 1}, "done": True}
PENDING = {"metadata": {"state": "PENDING", "description": "export"}}
RUNNING = {"metadata": {"state": "RUNNING", "description": "export", "progress": 0.5}}
FAILED = {
    "metadata": {"state": "FAILED", "description": "export"},
    "done": True,
    "error": {"message": "error message"},
}
export_task_success = given([DONE])
export_task_success_sequence = given([PENDING, RUNNING, DONE])
export_task_fail = given([FAILED])


@pytest.fixture
def patch_export_task(monkeypatch, request):
    states = itertools.cycle(request.getfixturevalue(request.param))
    monkeypatch.setattr(ee.batch.Task, "start", lambda self: setattr(self, "name", "test-task"))
    monkeypatch.setattr(ee.data, "getOperation", lambda name: next(states))
