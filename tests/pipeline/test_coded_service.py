"""The stand-in service itself, asked by the real client: what it answers is worked out here by hand."""

import itertools
import math
import threading

import ee
import numpy as np
import pyproj
import pytest
import requests
from coded_service import ROW_FAULTS, CodedService, spoil_rows
from coded_world import code_pixels, code_validity, make_collection, to_milliseconds
from google.auth.credentials import AnonymousCredentials

UTM = make_collection(
    "CODED/UTM31N",
    "EPSG:32631",
    (10, 0, 499980, 0, -10, 5700000),
    (400, 300),
    {"B1": "uint16", "B2": "int16", "B5": "uint16", "D": "float64", "F": "float32", "I": "int32"},
    ["2023-06-01T10:30:15.123Z", "2023-06-03T10:40:16.999Z", "2023-06-05T10:50:17Z"],
    coarser={"B5": 2},
)
DEGREES = make_collection(
    "CODED/DEM",
    "EPSG:4326",
    (1 / 3600, 0, -180.0001388888889, 0, -1 / 3600, 60.00013888888889),
    (432001, 1296001),
    {"elevation": "int16"},
    ["2000-02-11T00:00:00Z"],
    mask="none",
    single=True,
)


@pytest.fixture(scope="module")
def service():
    with CodedService([UTM, DEGREES]) as running:
        yield running


@pytest.fixture(scope="module")
def client(service):
    """The real client, unpatched but for the catalogue file it fetches from the open network without a time limit."""
    patch = pytest.MonkeyPatch()
    patch.setattr(ee.deprecation, "InitializeDeprecatedAssets", lambda: None)
    ee.Initialize(AnonymousCredentials(), url=service.url, project="local-project")
    ee.data.setMaxRetries(0)
    yield ee
    ee.Reset()
    patch.undo()


@pytest.fixture(autouse=True)
def _fresh(service):
    service.reset()
    service.shuffle = None
    yield
    assert not service.unknown


def window(row, col, height, width, transform=(10, 0, 499980, 0, -10, 5700000), crs="EPSG:32631"):
    """A rectangle of whole pixels in the grid's CRS, its edges a hair inside."""
    a, _, c, _, e, f = transform
    x0, x1 = c + a * (col + 1e-3), c + a * (col + width - 1e-3)
    y0, y1 = f + e * (row + 1e-3), f + e * (row + height - 1e-3)
    return ee.Geometry.Rectangle([x0, min(y0, y1), x1, max(y0, y1)], crs, False)


def to_places(rows, transform=(10, 0, 499980, 0, -10, 5700000), crs="EPSG:32631"):
    """Native (row, col) of each answer row, from its longitude and latitude."""
    move = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform
    lon, lat = np.array([r[1] for r in rows]), np.array([r[2] for r in rows])
    x, y = move(lon, lat)
    return (y - transform[5]) / transform[4] - 0.5, (x - transform[2]) / transform[0] - 0.5


def test_native_window_comes_pixel_by_pixel_with_each_value_of_its_place(client, service):
    region = (
        ee.ImageCollection("CODED/UTM31N")
        .select(["B1", "D"])
        .getRegion(window(7, 11, 4, 5), crs="EPSG:32631", crsTransform=[10, 0, 499980, 0, -10, 5700000])
    )
    header, *rows = region.getInfo()
    assert header == ["id", "longitude", "latitude", "time", "B1", "D"]
    assert len(rows) == 4 * 5 * 3
    found_rows, found_cols = to_places(rows)
    places = list(itertools.product(range(7, 11), range(11, 16)))
    expected = np.repeat(np.array(places), 3, axis=0)
    np.testing.assert_allclose(np.column_stack([found_rows, found_cols]), expected, atol=1e-6)
    assert [r[0] for r in rows[:3]] == ["20230601T103015_N00", "20230603T104016_N01", "20230605T105017_N02"]
    assert [r[3] for r in rows[:3]] == [scene.time_start_ms for scene in UTM.scenes]
    for (row, col), number, answer in zip(expected, itertools.cycle(range(3)), rows, strict=False):
        masked = (row * 3 + col * 7 + number * 5) % 11 == 0
        uint16 = (row * 1009 + col * 30011 + number * 7919) % 65536
        double = row * 100_000 + col + number * 17_011 + 3 * 1_000_003 + (number + 1) / 3
        assert answer[4:] == ([None, None] if masked else [uint16, double])
    assert service.region_requests[0].region == {
        "points": 20,
        "bands": ["B1", "D"],
        "images": 3,
        "values": 120,
    }


def test_whole_doubles_print_as_integers_and_float32_as_its_exact_double(client, service):
    region = (
        ee.ImageCollection("CODED/UTM31N")
        .select(["D", "F"])
        .getRegion(window(20, 20, 3, 3), crs="EPSG:32631", crsTransform=[10, 0, 499980, 0, -10, 5700000])
    )
    rows = [row for row in region.getInfo()[1:] if row[0].endswith("N02")]
    assert all(type(row[4]) is int for row in rows if row[4] is not None)  # scene 2 adds 3/3
    floats = [row[5] for row in rows if row[5] is not None]
    assert floats == [float(np.float32(value)) for value in floats]
    assert any(value != round(value, 1) for value in floats)


def test_coarse_band_repeats_on_the_fine_grid(client):
    region = (
        ee.ImageCollection("CODED/UTM31N")
        .limit(1)
        .select("B5")
        .getRegion(window(6, 8, 2, 4), crs="EPSG:32631", crsTransform=[10, 0, 499980, 0, -10, 5700000])
    )
    values = [row[4] for row in region.getInfo()[1:]]
    pair = [(3 * 1009 + col * 30011 + 2 * 12347) % 65536 for col in (4, 5)]
    valid = [(3 * 3 + col * 7) % 11 != 0 for col in (4, 5)]
    line = [value if ok else None for value, ok in zip(pair, valid, strict=True) for _ in range(2)]
    assert values == line * 2


def test_pixels_outside_the_raster_have_no_row(client):
    region = (
        ee.ImageCollection("CODED/UTM31N")
        .limit(1)
        .select("B1")
        .getRegion(window(-2, -3, 5, 5), crs="EPSG:32631", crsTransform=[10, 0, 499980, 0, -10, 5700000])
    )
    rows = region.getInfo()[1:]
    assert len(rows) == 3 * 2
    assert min(to_places(rows)[0]) > -0.01


def test_scale_anchors_pixels_at_zero_and_rows_run_upwards(client):
    # (floor(v / d) + 0.5) * d with d = degrees(30 / 6378137), as recorded from Earth Engine.
    size = math.degrees(30 / 6378137)
    west, south = 3.001, 51.432
    box = ee.Geometry.BBox(west, south, west + 2 * size, south + 3 * size)
    rows = ee.ImageCollection("CODED/UTM31N").limit(1).select("B1").getRegion(box, 30).getInfo()[1:]
    assert len(rows) == 6
    columns = {row[1] for row in rows}
    assert {round(lon / size - 0.5, 6) % 1 for lon in columns} <= {0.0, 1.0}
    latitudes = [row[2] for row in rows]
    assert latitudes == sorted(latitudes)


def test_scale_in_a_projected_crs_is_not_the_native_grid(client):
    # Origin 499980 on a 10 m grid: lattice (0, 0) with 20 m pixels has centres at odd tens.
    rows = (
        ee.ImageCollection("CODED/UTM31N")
        .limit(1)
        .select("B1")
        .getRegion(window(0, 0, 8, 8), 20, "EPSG:32631")
        .getInfo()[1:]
    )
    move = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform
    xs, _ = move([r[1] for r in rows], [r[2] for r in rows])
    assert {round(x) % 20 for x in xs} == {10}


def test_points_give_the_pixel_they_lie_in_once(client):
    transform = [10, 0, 499980, 0, -10, 5700000]
    points = ee.Geometry.MultiPoint([[500001.0, 5699998.0], [500003.0, 5699996.0], [500021.0, 5699951.0]], "EPSG:32631")
    rows = (
        ee.ImageCollection("CODED/UTM31N")
        .limit(1)
        .select("B1")
        .getRegion(points, crs="EPSG:32631", crsTransform=transform)
        .getInfo()[1:]
    )
    places = {(round(r), round(c)) for r, c in zip(*to_places(rows), strict=True)}
    assert places == {(0, 2), (4, 4)}
    assert len(rows) == 2


def test_server_side_grid_of_points(client):
    xs = ee.List.sequence(500000, 500040, 10)
    ys = ee.List.sequence(5699900, 5699930, 10)
    crs = ee.Projection("EPSG:32631")

    def line(y):
        def feature(x):
            return ee.Feature(ee.Geometry.Point([x, y], crs))

        return ee.FeatureCollection(xs.map(feature))

    grid = ee.FeatureCollection(ys.map(line)).flatten()
    rows = (
        ee.ImageCollection("CODED/UTM31N").limit(1).select("B1").getRegion(grid.geometry(), 10, "EPSG:32631").getInfo()
    )
    assert len(rows) == 1 + 5 * 4


def test_geodesic_edges_bulge_and_planar_edges_do_not(client):
    box = [-60.0, 50.0, -59.0, 50.0 + 5.2 / 3600]
    transform = list(DEGREES.scenes[0].bands[0].transform)
    images = ee.ImageCollection([ee.Image("CODED/DEM")])

    def count(geometry):
        return len(images.getRegion(geometry, crs="EPSG:4326", crsTransform=transform).getInfo()) - 1

    planar = count(ee.Geometry.Rectangle(box, "EPSG:4326", False))
    assert planar % 3600 == 0
    assert count(ee.Geometry.Rectangle(box, "EPSG:4326", True)) != planar


def test_filters_sort_and_metadata(client):
    found = (
        ee.ImageCollection("CODED/UTM31N")
        .filterDate("2023-06-02", "2023-07-01")
        .filterBounds(ee.Geometry.Point([3.001, 51.44]))
        .filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", 60))
        .sort("system:time_start", False)
    )
    assert found.size().getInfo() == 2
    assert found.aggregate_array("system:index").getInfo() == ["20230605T105017_N02", "20230603T104016_N01"]
    assert found.aggregate_array("system:version").getInfo() == [1_700_000_000_000_002, 1_700_000_000_000_001]
    assert found.first().date().millis().getInfo() == to_milliseconds("2023-06-05T10:50:17Z")
    assert found.first().select("B5").projection().getInfo() == {
        "type": "Projection",
        "crs": "EPSG:32631",
        "transform": [20, 0, 499980, 0, -20, 5700000],
    }
    assert found.filterBounds(ee.Geometry.Point([4.5, 51.44])).size().getInfo() == 0
    for chosen, wanted in (
        (ee.Filter.inList("TILE", ["T0", "T2"]), ["T0", "T2"]),
        (ee.Filter.eq("TILE", "T1"), ["T1"]),
        (ee.Filter.neq("TILE", "T1"), ["T0", "T2"]),
        (ee.Filter.Or(ee.Filter.gte("ORBIT", 1), ee.Filter.stringContains("TILE", "2")), ["T1", "T2"]),
        (ee.Filter.And(ee.Filter.eq("ORBIT", 0), ee.Filter.eq("TILE", "T0").Not()), ["T2"]),
        (ee.Filter.rangeContains("CLOUDY_PIXEL_PERCENTAGE", 5, 15), ["T1"]),
        (ee.Filter.date("2023-06-01", "2023-06-03T10:40:16.999Z"), ["T0"]),
    ):
        tiles = ee.ImageCollection("CODED/UTM31N").filter(chosen).aggregate_array("TILE")
        assert tiles.getInfo() == wanted


def test_image_and_collection_information_has_the_recorded_shape(client):
    info = ee.ImageCollection("CODED/UTM31N").select(["B1", "I", "F", "D"]).getInfo()
    assert info["type"] == "ImageCollection"
    assert info["id"] == "CODED/UTM31N"
    image = info["features"][1]
    assert image["type"] == "Image"
    assert image["id"] == "CODED/UTM31N/20230603T104016_N01"
    assert image["version"] == 1_700_000_000_000_001
    assert image["properties"]["system:time_start"] == to_milliseconds("2023-06-03T10:40:16.999Z")
    assert image["properties"]["system:footprint"]["type"] == "LinearRing"
    assert image["bands"][0] == {
        "id": "B1",
        "data_type": {"type": "PixelType", "precision": "int", "min": 0, "max": 65535},
        "dimensions": [300, 400],
        "crs": "EPSG:32631",
        "crs_transform": [10, 0, 499980, 0, -10, 5700000],
    }
    assert [b["data_type"]["precision"] for b in image["bands"]] == ["int", "int", "float", "double"]
    mapped = ee.ImageCollection("CODED/UTM31N").map(
        lambda i: ee.Feature(None, {"id": i.get("system:index"), "bands": i.bandNames(), "at": i.date().format()})
    )
    first = mapped.first().toDictionary().getInfo()
    assert first == {
        "id": "20230601T103015_N00",
        "bands": ["B1", "B2", "B5", "D", "F", "I"],
        "at": "2023-06-01T10:30:15",
    }


def test_masks_and_arithmetic_follow_the_scene(client):
    def clear(image):
        return image.select(["B1"]).updateMask(image.select("B2").gte(0)).copyProperties(image, ["system:time_start"])

    region = (
        ee.ImageCollection("CODED/UTM31N")
        .map(clear)
        .getRegion(window(0, 0, 12, 12), crs="EPSG:32631", crsTransform=[10, 0, 499980, 0, -10, 5700000])
    )
    rows = region.getInfo()[1:]
    assert len(rows) == 12 * 12 * 3
    seen = [row[4] is not None for row in rows if row[0].endswith("N00")]
    grid_rows, grid_cols = np.mgrid[0:12, 0:12]
    wanted = (code_pixels("int16", 0, 1, grid_rows, grid_cols) >= 0) & code_validity(
        "shared", 0, 0, grid_rows, grid_cols
    )
    assert seen == wanted.ravel().tolist()


def test_value_limit_has_earth_engines_text(client):
    region = (
        ee.ImageCollection("CODED/UTM31N")
        .select(["B1", "B2", "D"])
        .getRegion(window(0, 0, 400, 300), crs="EPSG:32631", crsTransform=[10, 0, 499980, 0, -10, 5700000])
    )
    text = r"^ImageCollection.getRegion: Too many values: 120000 points x 3 bands x 3 images > 1048576\.$"
    with pytest.raises(ee.EEException, match=text):
        region.getInfo()


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda: (
                ee.ImageCollection("CODED/UTM31N")
                .filterDate("1999-01-01", "1999-02-01")
                .getRegion(ee.Geometry.Point([3, 51]), 10)
            ),
            r"^ImageCollection.getRegion: No bands in collection\.$",
        ),
        (
            lambda: ee.ImageCollection("CODED/UTM31N").first().select("B99"),
            r"^Image.select: Band pattern 'B99' did not match any bands. Available bands: \[B1, B2, B5, D, F, I\]$",
        ),
        (
            lambda: ee.ImageCollection("CODED/NONE"),
            r"^ImageCollection.load: ImageCollection asset 'CODED/NONE' not found",
        ),
        (lambda: ee.Image("CODED/NONE"), r"^Image.load: Image asset 'CODED/NONE' not found"),
    ],
)
def test_errors_have_earth_engines_text(client, build, text):
    with pytest.raises(ee.EEException, match=text):
        build().getInfo()


def test_an_unknown_algorithm_is_named(client, service):
    with pytest.raises(ee.EEException, match=r"Unknown algorithm: Image\.glcmTexture"):
        ee.Image("CODED/DEM").glcmTexture().getInfo()
    assert service.unknown == {"Image.glcmTexture"}
    service.unknown.clear()


def test_compute_pixels_gives_the_same_values_with_masked_as_zero(client):
    grid = {
        "dimensions": {"width": 6, "height": 4},
        "affineTransform": {
            "scaleX": 10,
            "shearX": 0,
            "translateX": 500000,
            "shearY": 0,
            "scaleY": -10,
            "translateY": 5699950,
        },
        "crsCode": "EPSG:32631",
    }
    image = ee.Image("CODED/UTM31N/20230603T104016_N01").select(["B1", "D"])
    found = ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid})
    rows, cols = np.mgrid[5:9, 2:8]
    valid = code_validity("shared", 1, 0, rows, cols)
    np.testing.assert_array_equal(found["B1"], np.where(valid, code_pixels("uint16", 1, 0, rows, cols), 0))
    np.testing.assert_array_equal(found["D"], np.where(valid, code_pixels("float64", 1, 3, rows, cols), 0))
    filled = ee.data.computePixels(
        {"expression": image.select("B1").unmask(-1, False), "fileFormat": "NUMPY_NDARRAY", "grid": grid}
    )
    np.testing.assert_array_equal(filled["B1"] == -1, ~valid)


@pytest.mark.parametrize("fault", ["429", "truncated", "cut", "shorter"])
def test_compute_pixels_fails_on_demand(client, service, fault):
    grid = {
        "dimensions": {"width": 40, "height": 30},
        "affineTransform": {"scaleX": 10, "scaleY": -10, "translateX": 500000, "translateY": 5699950},
        "crsCode": "EPSG:32631",
    }
    image = ee.Image("CODED/UTM31N/20230603T104016_N01").select("B1")
    request = {"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid}
    service.inject(None, fault)
    assert ee.data.computePixels(request).shape == (30, 40)
    if fault == "shorter":
        assert ee.data.computePixels(request).shape == (29, 40)
    else:
        with pytest.raises((ee.EEException, ConnectionError, ValueError, OSError)):
            ee.data.computePixels(request)
    service.settle()
    assert [record.good for record in service.pixel_requests] == [True, False]


def test_images_of_a_list_are_numbered_and_single_assets_load(client):
    images = ee.ImageCollection([ee.Image("CODED/DEM")])
    transform = list(DEGREES.scenes[0].bands[0].transform)
    header, row = images.getRegion(
        ee.Geometry.Point([-77.0364, -11.5]), crs="EPSG:4326", crsTransform=transform
    ).getInfo()
    assert header[4:] == ["elevation"]
    assert row[0] == "0"
    col = math.floor((-77.0364 + 180.0001388888889) * 3600)
    line = math.floor((60.00013888888889 + 11.5) * 3600)
    assert row[4] == (line * 1009 + col * 30011) % 65536 - 32768
    assert ee.Image("CODED/DEM").getInfo()["id"] == "CODED/DEM"
    assert ee.data.getAsset("CODED/DEM")["type"] == "IMAGE"
    assert ee.data.getAsset("CODED/UTM31N")["type"] == "IMAGE_COLLECTION"


def small_region():
    return (
        ee.ImageCollection("CODED/UTM31N")
        .limit(1)
        .select("B1")
        .getRegion(window(3, 3, 26, 37), crs="EPSG:32631", crsTransform=[10, 0, 499980, 0, -10, 5700000])
    )


def test_shuffled_rows_are_the_same_rows(client, service):
    plain = small_region().getInfo()
    service.shuffle = 1
    mixed = small_region().getInfo()
    assert mixed != plain
    assert mixed[0] == plain[0]
    assert sorted(mixed[1:], key=str) == sorted(plain[1:], key=str)
    assert set(service.count_by_body().values()) == {2}


def test_a_fault_can_be_kept_for_one_asset(client, service):
    service.always["CODED/UTM31N"] = "400:Only here."
    with pytest.raises(ee.EEException, match=r"^Only here\.$"):
        small_region().getInfo()
    images = ee.ImageCollection([ee.Image("CODED/DEM")])
    assert len(images.getRegion(ee.Geometry.Point([-77.0364, -11.5]), 30).getInfo()) == 2


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        ("429", ee.EEException, "Too Many Requests"),
        ("503", ee.EEException, "Earth Engine memory capacity exceeded"),
        ("400:Made up.", ee.EEException, "^Made up.$"),
        ("cut", (ConnectionError, ee.EEException), None),
        ("truncated", (TypeError, ValueError, ee.EEException), None),
    ],
)
def test_failures_are_injected_in_order(client, service, fault, error, text):
    service.inject(None, fault)
    good = small_region().getInfo()
    with pytest.raises(error, match=text):
        small_region().getInfo()
    assert small_region().getInfo() == good
    service.settle()
    first, second, third = service.region_requests
    assert (first.good, second.good, third.good) == (True, False, True)


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_row_faults_change_what_they_say(client, service, fault):
    good = small_region().getInfo()
    service.inject(fault)
    bad = small_region().getInfo()
    places = [tuple(row[:3]) for row in bad[1:]]
    if fault == "missing":
        assert len(bad) == len(good) - 1
    elif fault == "duplicate":
        assert len(bad) == len(good) + 1
        assert len(set(places)) == len(places) - 1
    elif fault == "replaced":
        assert len(bad) == len(good)
        assert len(set(places)) == len(places) - 1
    else:
        moved = [b for g, b in zip(good[1:], bad[1:], strict=True) if g != b]
        assert len(moved) == (1 if fault == "one_shifted" else 26 * 37)
        shift = to_places(moved)[1] - to_places([g for g, b in zip(good[1:], bad[1:], strict=True) if g != b])[1]
        np.testing.assert_allclose(shift, 1.0 if fault == "moved" else 0.5, atol=0.01)
    assert spoil_rows([good[0]], fault, 1, 0.1) == [good[0]]


def test_counts_requests_in_flight_and_runs_triggers(service, client):
    body = {"expression": ee.data.serializer.encode(small_region(), for_cloud_api=True)}
    at_once = threading.Barrier(3, timeout=20)
    phases = []
    for count in (1, 2, 3):
        service.when_pixels(count, "arrives", at_once.wait)
    service.when_pixels(3, "half_sent", lambda: phases.append("half_sent"))
    service.when_pixels(3, "answered", lambda: phases.append("answered"))

    def post():
        requests.post(f"{service.url}/v1/projects/local-project/value:compute", json=body, timeout=20)

    threads = [threading.Thread(target=post) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert service.max_in_flight == 3
    service.settle()
    assert phases == ["half_sent", "answered"]
    assert all(record.good for record in service.region_requests)
