"""`eeflow run` against a service whose pixels say where they lie: each written pixel must be the one at its place."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import geopandas
import pyproj
import pytest
import rasterio
import shapely
import yaml
from coded_service import CodedService
from coded_world import CodedCollection, make_collection, parse_crs, reproject_geometry
from pixel_check import (
    check_alignment,
    check_extent,
    check_pixels,
    check_tags,
    product_stamp,
    scene_of,
    sha256_of,
)

RUN_SECONDS = 400
TRANSPORTS = ("get_region", "compute_pixels")


def ways(names):
    """(transport, name) of the runs to make: one transport for each name, in turn, and both with EEFLOW_TEST_LONG=1.

    That both give the same is for test_transports to say.
    """
    if os.environ.get("EEFLOW_TEST_LONG") == "1":
        return [(transport, name) for name in names for transport in TRANSPORTS]
    return [(TRANSPORTS[number % 2], name) for number, name in enumerate(names)]


JUNE = ["2023-06-01T10:30:15.123Z", "2023-06-03T10:40:16.999Z", "2023-06-05T10:50:17Z"]

S2 = make_collection(
    "CODED/S2_SR",
    "EPSG:32631",
    (10, 0, 499980, 0, -10, 5700000),
    (10980, 10980),
    {"B2": "uint16", "B4": "uint16", "B8": "uint16"},
    JUNE,
)
S2_COARSE = make_collection(
    "CODED/S2_COARSE",
    "EPSG:32631",
    (10, 0, 499980, 0, -10, 5700000),
    (10980, 10980),
    {"B4": "uint16", "B9": "uint16", "B11": "uint16", "SCL": "uint8"},
    JUNE[:1],
    coarser={"B9": 6, "B11": 2, "SCL": 2},
    mask="none",
)
SOUTH = make_collection(
    "CODED/SOUTH",
    "EPSG:32733",
    (10, 0, 300000, 0, -10, 7600000),
    (10980, 10980),
    {"count": "int32", "height": "float64", "class": "uint8"},
    JUNE[:2],
)
LANDSAT = make_collection(
    "CODED/LANDSAT",
    "EPSG:32613",
    (30, 0, 543285, 0, -30, 4426515),
    (7801, 7681),
    {"SR_B4": "uint16", "ST_B10": "int16"},
    JUNE[:2],
)
DEM = make_collection(
    "CODED/DEM",
    "EPSG:4326",
    (1 / 3600, 0, -180.0001388888889, 0, -1 / 3600, 60.00013888888889),
    (432001, 1296001),
    {"elevation": "int16"},
    ["2000-02-11T00:00:00Z"],
    single=True,
)
CLIMATE = make_collection(
    "CODED/CLIMATE",
    "EPSG:4326",
    (0.1, 0, -180.05, 0, -0.1, 90.05),
    (1801, 3600),
    {"temperature": "float64"},
    JUNE[:2],
)
UPWARD = make_collection(
    "CODED/UPWARD",
    "EPSG:4326",
    (0.05, 0, -180, 0, 0.05, -90),
    (3600, 7200),
    {"rain": "float32"},
    JUNE[:1],
)
WEB = make_collection(
    "CODED/WEB",
    "EPSG:3857",
    (38.2, 0, -13000017.3, 0, -38.2, -4000011.9),
    (20000, 20000),
    {"ndvi": "float32"},
    JUNE[:1],
)
POLAR = make_collection(
    "CODED/POLAR",
    "EPSG:3413",
    (300, 0, -2500150, 0, -300, -600150),
    (9000, 9000),
    {"ice": "uint8"},
    JUNE[:1],
)
DRIFT = make_collection(
    "CODED/DRIFT",
    "EPSG:32634",
    (10, 0, 190615.1700898306, 0, -10, 5568907.024637105),
    (9000, 9000),
    {"VV": "float64"},
    JUNE[:2],
    origins=[(190615.1700898306, 5568907.024637105), (190615.1700898306 + 1234.37, 5568907.024637105 - 987.61)],
)
TILE = ("EPSG:32631", (10, 0, 499980, 0, -10, 5700000), (3000, 3000))
PER_BAND = make_collection(
    "CODED/PER_BAND",
    "EPSG:32631",
    (10, 0, 499980, 0, -10, 5700000),
    (10980, 10980),
    {"a": "uint16", "b": "uint16"},
    JUNE[:1],
    mask="per_band",
)
TWINS = make_collection(
    "CODED/TWINS",
    "EPSG:32631",
    (10, 0, 499980, 0, -10, 5700000),
    (2000, 2000),
    {"B4": "uint16"},
    ["2023-06-01T10:30:15.100Z", "2023-06-01T10:30:15.900Z"],
)
PER_BAND_BYTES = make_collection("CODED/PER_BAND_BYTES", *TILE, {"a": "uint8", "b": "uint8"}, JUNE[:1], mask="per_band")
SIGNED = make_collection("CODED/SIGNED", *TILE, {"small": "int8", "large": "uint32"}, JUNE[:1])
EMPTY = make_collection("CODED/EMPTY", *TILE, {"B4": "uint16"}, JUNE[:2], mask="all")
_WEST = make_collection("CODED/ZONES", *TILE, {"B4": "uint16"}, JUNE[:1]).scenes[0]
_EAST = make_collection(
    "CODED/ZONES", "EPSG:32632", (10, 0, 79980, 0, -10, 5720000), (3000, 3000), {"B4": "uint16"}, JUNE[1:2]
).scenes[0]
ZONES = CodedCollection(
    "CODED/ZONES", (_WEST, dataclasses.replace(_EAST, number=1, index=_EAST.index.replace("N00", "N01")))
)
COLLECTIONS = [
    *(S2, S2_COARSE, SOUTH, LANDSAT, DEM, CLIMATE, UPWARD, WEB, POLAR, DRIFT, PER_BAND, TWINS),
    *(PER_BAND_BYTES, SIGNED, EMPTY, ZONES),
]


@dataclasses.dataclass(frozen=True)
class Case:
    """One job: `area` (planar in `area_crs`) is what the raster must cover.

    Attributes:
        file: the AOI's file name, whose suffix is its format; None: a bbox.
        file_crs: CRS the file is written in.
        native: the raster's pixels must be native pixels.
        size: (height, width), where worked out by hand.
        scenes: how many products.
        grid: the job's grid section.
        dtype: the file's type, where the bands' own types differ.
    """

    name: str
    collection: object
    bands: tuple[str, ...]
    area: object
    area_crs: str
    file: str | None = None
    file_crs: str | None = None
    native: bool = True
    size: tuple[int, int] | None = None
    scenes: int = 1
    grid: dict = dataclasses.field(default_factory=dict)
    dates: tuple[str, str] = ("2023-06-01", "2023-06-02")
    patterns: tuple[str, ...] | None = None
    dtype: str | None = None


def pixels(collection, row, col, height, width, grow=0.0, scene=0):
    """The rectangle of native pixels, its edges moved out by `grow` pixels."""
    a, _, c, _, e, f = collection.scenes[scene].grid_band.transform
    xs = sorted((c + a * (col - grow), c + a * (col + width + grow)))
    ys = sorted((f + e * (row - grow), f + e * (row + height + grow)))
    return shapely.box(xs[0], ys[0], xs[1], ys[1])


def native(name, collection, bands, where, grow=0.0, **more):
    """A case whose area is a rectangle of native pixels (row, col, height, width), moved out by `grow`."""
    band = collection.scenes[0].grid_band
    return Case(name, collection, bands, pixels(collection, *where, grow=grow), band.crs, **more)


def degrees(name, collection, bands, west, south, width, height, **more):
    """A case whose area is a rectangle of longitude and latitude."""
    area = shapely.box(west, south, west + width, south + height)
    return Case(name, collection, bands, area, "EPSG:4326", **more)


def ring_area(x, y, size):
    """A crooked polygon with a hole, about `size` across."""
    outer = [(0, 0), (0.9, 0.13), (1, 0.71), (0.55, 0.6), (0.37, 1), (0.06, 0.8)]
    hole = [(0.3, 0.3), (0.5, 0.33), (0.4, 0.5)]
    return shapely.Polygon(
        [(x + size * u, y + size * v) for u, v in outer], [[(x + size * u, y + size * v) for u, v in hole]]
    )


CASES = [
    native(
        "one-pixel-from-inside",
        S2,
        ("B4", "B8"),
        (4321, 1234, 1, 1),
        -0.31,
        size=(1, 1),
        scenes=3,
        dates=("2023-06-01", "2023-06-06"),
    ),
    native("one-pixel-exact", S2, ("B4",), (77, 10979, 1, 1), size=(1, 1)),
    native("one-row", S2, ("B8",), (5000, 100, 1, 777), size=(1, 777)),
    native("one-column", S2, ("B8",), (5000, 100, 601, 1), size=(601, 1)),
    native("large", S2, ("B8", "B2", "B4"), (3001, 2003, 601, 603), size=(601, 603)),
    native(
        "many-bands-and-scenes",
        S2,
        ("B8", "B2", "B4"),
        (900, 1107, 83, 61),
        size=(83, 61),
        scenes=3,
        dates=("2023-06-01", "2023-06-06"),
    ),
    native("pattern", S2, ("B4", "B8"), (10, 10, 9, 8), size=(9, 8), patterns=("B[48]",)),
    native("coarse-bands", S2_COARSE, ("B11", "B4", "B9"), (333, 457, 47, 53), size=(47, 53)),
    native("mixed-types", S2_COARSE, ("SCL", "B4"), (333, 457, 31, 29), size=(31, 29), dtype="uint16"),
    native("over-the-edge", S2, ("B4", "B8"), (-17, 10950, 60, 51), size=(60, 51)),
    native(
        "south-exact",
        SOUTH,
        ("count",),
        (1203, 2011, 157, 213),
        size=(157, 213),
        scenes=2,
        dates=("2023-06-01", "2023-06-06"),
    ),
    native("south-a-hair-inside", SOUTH, ("height",), (8888, 9999, 40, 30), -0.02, size=(40, 30)),
    native("south-a-hair-outside", SOUTH, ("count",), (8888, 9999, 40, 30), 0.02, size=(42, 32)),
    native("full-range-bytes", SOUTH, ("class",), (4, 4, 64, 70), size=(64, 70)),
    native("negative-metres", WEB, ("ndvi",), (9731, 15013, 131, 97), size=(131, 97)),
    native("polar-negative", POLAR, ("ice",), (4711, 3333, 90, 120), 0.4),
    native("landsat-exact", LANDSAT, ("SR_B4",), (100, 200, 55, 44), size=(55, 44)),
    Case(
        "landsat-shapefile",
        LANDSAT,
        ("ST_B10", "SR_B4"),
        ring_area(-104.13, 39.31, 0.021),
        "EPSG:4326",
        "field.shp",
        "EPSG:4326",
        scenes=2,
        dates=("2023-06-01", "2023-06-06"),
    ),
    Case("farm-geojson", S2, ("B4",), ring_area(3.214, 51.113, 0.017), "EPSG:4326", "farm.geojson", "EPSG:4326"),
    Case("farm-gpkg-3035", S2, ("B4",), ring_area(3839123.4, 3121003.2, 1711.0), "EPSG:3035", "farm.gpkg", "EPSG:3035"),
    Case(
        "south-gpkg-web",
        SOUTH,
        ("count",),
        ring_area(1520123.0, -2490321.0, 1900.0),
        "EPSG:3857",
        "farm.gpkg",
        "EPSG:3857",
    ),
    degrees("dem-west-and-south", DEM, ("elevation",), -77.0364, -11.5123, 0.0371, 0.0213),
    degrees("dem-first-columns", DEM, ("elevation",), -179.9987, 59.9801, 0.0107, 0.0133),
    native("dem-exact-edges", DEM, ("elevation",), (36007, 720011, 33, 35)),
    native(
        "climate-odd-origin",
        CLIMATE,
        ("temperature",),
        (371, 1799, 12, 25),
        -0.2,
        size=(12, 25),
        scenes=2,
        dates=("2023-06-01", "2023-06-06"),
    ),
    native("rows-run-upwards", UPWARD, ("rain",), (2811, 3647, 14, 23), -0.2, size=(14, 23)),
    native(
        "shifted-scenes",
        DRIFT,
        ("VV",),
        (700, 801, 41, 37),
        -0.2,
        scenes=2,
        dates=("2023-06-01", "2023-06-06"),
        native=False,
    ),
    native("masks-of-their-own", PER_BAND, ("a", "b"), (500, 640, 33, 34), size=(33, 34)),
    # Every value of the type occurs as a valid one and each band has a mask of its own: only a wider type can say so.
    native("no-value-free", PER_BAND, ("a", "b"), (500, 640, 300, 400), size=(300, 400), dtype="int32"),
    native("no-byte-free", PER_BAND_BYTES, ("b", "a"), (500, 640, 60, 70), size=(60, 70), dtype="int16"),
    native("signed-bytes", SIGNED, ("small",), (500, 640, 60, 70), size=(60, 70)),
    native("unsigned-32", SIGNED, ("large",), (500, 640, 60, 70), size=(60, 70)),
    native("all-masked", EMPTY, ("B4",), (500, 640, 60, 70), scenes=2, dates=("2023-06-01", "2023-06-06")),
    degrees(
        "two-zones",
        ZONES,
        ("B4",),
        3.05,
        51.4,
        0.01,
        0.008,
        native=False,
        scenes=2,
        dates=("2023-06-01", "2023-06-06"),
    ),
    native("same-second", TWINS, ("B4",), (500, 640, 13, 14), size=(13, 14), scenes=2),
    native(
        "to-degrees", S2, ("B4",), (700, 900, 60, 70), native=False, grid={"crs": "EPSG:4326", "resolution": 0.000123}
    ),
    degrees(
        "to-degrees-own-size",
        SOUTH,
        ("count",),
        13.207,
        -21.913,
        0.0091,
        0.0077,
        native=False,
        grid={"crs": "EPSG:4326"},
    ),
    degrees(
        "to-laea",
        S2,
        ("B4",),
        3.3017,
        51.2011,
        0.0123,
        0.0081,
        native=False,
        grid={"crs": "EPSG:3035", "resolution": 13.7},
    ),
    degrees("to-laea-own-size", S2, ("B8",), 3.3017, 51.2011, 0.0093, 0.0081, native=False, grid={"crs": "EPSG:3035"}),
    degrees("to-utm", DEM, ("elevation",), -77.0364, -11.5123, 0.0171, 0.0113, native=False, grid={"crs": "utm"}),
    native("coarser-pixels", S2, ("B4",), (600, 612, 90, 120), native=False, grid={"resolution": 30}),
]
CASE = {case.name: case for case in CASES}
WAYS = ways(CASE)


def job_of(case, folder):
    """The job's YAML file, with its AOI file where it has one."""
    aoi = {"bbox": list(case.area.bounds), "crs": case.area_crs}
    if case.file:
        shape = reproject_geometry(case.area, case.area_crs, case.file_crs)
        frame = geopandas.GeoDataFrame({"name": ["one"]}, geometry=[shape], crs=case.file_crs)
        target = folder / f"{case.name}-{case.file}"
        frame.to_file(target)
        aoi = {"file": target.name}
    job = {"name": case.name, "aoi": aoi, "bands": list(case.patterns or case.bands), "grid": case.grid}
    if case.collection.single:
        job["image"] = case.collection.asset_id
    else:
        job["collection"] = case.collection.asset_id
        job["dates"] = dict(zip(("start", "end"), case.dates, strict=True))
    path = folder / f"{case.name}.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run left."""

    code: object
    stdout: str
    stderr: str
    folder: Path

    @property
    def report(self):
        return json.loads(self.stdout)

    @property
    def products(self):
        return sorted(self.folder.glob("*.tif"))


@pytest.fixture(scope="module")
def service():
    with CodedService(COLLECTIONS, shuffle=20240229) as running:
        yield running


@pytest.fixture(scope="module")
def outcomes(service, prefect_environment, tmp_path_factory):
    """Every case: (transport, name) to `Outcome`."""
    folder = tmp_path_factory.mktemp("every-pixel")
    jobs = {case.name: job_of(case, folder) for case in CASES}
    return run_all(folder, jobs, WAYS, service, prefect_environment)


def run_all(folder, jobs, wanted, service, environment):
    """Runs jobs, by name the path, each by the transports wanted; runs of one transport share a process."""
    names = {transport: [name for way, name in wanted if way == transport] for transport in TRANSPORTS}
    started = {
        transport: start_runs(
            folder / transport, transport, [jobs[name] for name in names[transport]], service, environment
        )
        for transport in TRANSPORTS
    }
    found = {}
    for transport, process in started.items():
        _, err = process.communicate(timeout=RUN_SECONDS)
        assert process.returncode == 0, err[-3000:]
        results = json.loads((folder / transport / "results.json").read_text())
        for name, result in zip(names[transport], results, strict=True):
            out = folder / transport / "out" / name
            found[transport, name] = Outcome(result["code"], result["stdout"], result["stderr"], out)
    return found


def start_runs(folder, transport, jobs, service, environment):
    """The process that runs the jobs by one transport, one after the other, and writes results.json."""
    folder.mkdir()
    more = ["--set", f"transport={transport}", "--out", str(folder / "out"), "--json"]
    (folder / "calls.json").write_text(json.dumps([["run", str(job), *more] for job in jobs]))
    script = Path(__file__).with_name("many_runs.py")
    return subprocess.Popen(
        [sys.executable, str(script), str(folder / "calls.json"), str(folder / "results.json")],
        env=environment | {"EEFLOW_EE_URL": service.url},
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("transport", "name"), WAYS)
def test_every_written_pixel_is_the_pixel_at_its_place(outcomes, transport, name):
    case = CASE[name]
    outcome = outcomes[transport, case.name]
    assert outcome.code == 0, outcome.stderr[-2000:]
    assert len(outcome.products) == case.scenes
    seen = set()
    for path in outcome.products:
        scene = scene_of(path, case.collection)
        seen.add(scene.index)
        height, width = check_extent(path, case.area, case.area_crs)
        if case.size:
            assert (height, width) == case.size
        if case.native:
            check_alignment(path, scene.grid_band)
        check_pixels(path, scene, case.bands, case.dtype)
        check_tags(path, case.collection, scene)
    assert len(seen) == case.scenes


@pytest.mark.parametrize(("transport", "name"), WAYS)
def test_report_names_each_file_and_its_scene(outcomes, transport, name):
    case = CASE[name]
    outcome = outcomes[transport, case.name]
    assert outcome.code == 0, outcome.stderr[-2000:]
    reported = {Path(product["path"]).name: product for product in outcome.report["products"]}
    assert set(reported) == {path.name for path in outcome.products}
    for path in outcome.products:
        product = reported[path.name]
        assert product["sha256"] == sha256_of(path)
        if not case.collection.single:
            assert product["scene_ids"] == [scene_of(path, case.collection).index]
        assert path.name.startswith(f"{case.name}_{product_stamp(path)}")


@pytest.mark.parametrize(
    ("transport", "name"), [way for way in WAYS if way[1] in ("to-degrees", "to-laea", "to-utm", "coarser-pixels")]
)
def test_a_chosen_grid_is_the_grid_written(outcomes, transport, name):
    case = CASE[name]
    with rasterio.open(outcomes[transport, name].products[0]) as source:
        crs = pyproj.CRS.from_wkt(source.crs.to_wkt())
        wanted = {"utm": "EPSG:32718"}.get(case.grid.get("crs"), case.grid.get("crs", "EPSG:32631"))
        assert crs == parse_crs(wanted)
        if "resolution" in case.grid:
            assert source.transform.a == case.grid["resolution"]
            assert source.transform.e == -case.grid["resolution"]


def test_no_request_went_over_the_limit_or_came_twice(outcomes, service):
    refused = [record.message for record in service.pixel_requests if record.message]
    assert refused == []
    assert set(service.count_by_body().values()) == {1}
    assert service.max_in_flight <= 32


def test_each_transport_was_the_one_asked_for(outcomes, service):
    assert {record.kind for record in service.pixel_requests} == {"region", "pixels"}


def test_the_service_knew_every_algorithm_it_was_asked_for(outcomes, service):
    assert service.unknown == set()
