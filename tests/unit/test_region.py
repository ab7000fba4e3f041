"""getRegion: what is asked, how rows are read, and that each value lands on its pixel or nowhere."""

import functools
import itertools
import json
import math
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import orjson
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from eeflow.errors import BadAnswer
from eeflow.grid import Window
from eeflow.region import GetRegion, decode, place, region_expression
from eeflow.series import Request

HEADER = ["id", "longitude", "latitude", "time"]
WHOLE = Window(0, 0, 4, 5)
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
DEGREE = math.degrees(10 / 6378137)
GRIDS = {
    "UTM": (32631, Affine(10, 0, 600000, 0, -10, 5700000)),
    "UTM south": (32723, Affine(10, 0, 609990, 0, -10, 7654330)),
    "UTM, odd multiples of 15": (32619, Affine(30, 0, 551475, 0, -30, -1185015)),
    "degrees west and south": (4326, Affine(DEGREE, 0, -500000 * DEGREE, 0, -DEGREE, -300000 * DEGREE)),
    "SRTM's degrees": (4326, Affine(1 / 3600, 0, -180.0001388888889 + 684000 / 3600, 0, -1 / 3600, 47.00013888888889)),
    "Europe": (3035, Affine(10, 0, 4321000, 0, -10, 3210020)),
    "not square": (32631, Affine(448.3, 0, 600000, 0, -455.9, 5700000)),
    "sinusoidal": (SINUSOIDAL, Affine(231.656, 0, -5000000, 0, -231.656, -1300000)),
}


def body(rows, bands=("B2",), **how):
    return json.dumps({"result": [[*HEADER, *bands], *rows]}, **how).encode()


def lonlat(crs, transform, row, col):
    """Of a pixel's centre, by PROJ alone."""
    x, y = transform.c + (col + 0.5) * transform.a, transform.f + (row + 0.5) * transform.e
    return to_lonlat(crs).transform(x, y)


@functools.cache
def to_lonlat(crs):
    return pyproj.Transformer.from_crs(crs, 4326, always_xy=True)


def code(number, row, col):
    """A value that says which scene and pixel it is of."""
    return 10000 * number + 100 * row + col


def rows_of(where, window=WHOLE, scenes=("S0",), skip=()):
    """Rows as Earth Engine would send them, pixel by pixel; coordinates by PROJ."""
    crs, transform = where
    return [
        [name, *lonlat(crs, transform, row, col), 1556881381750, code(number, row, col)]
        for row in range(window.row, window.row + window.height)
        for col in range(window.col, window.col + window.width)
        for number, name in enumerate(scenes)
        if (row, col) not in skip
    ]


def placed(series, rows, window=WHOLE, bands=("B2",)):
    request = Request(tuple(image.image_id for image in series.images), tuple(bands), window)
    return place(series, request, decode(body(rows, bands), bands))


@pytest.fixture(params=GRIDS, ids=str)
def where(request):
    return GRIDS[request.param]


@pytest.fixture
def farm(make_series):
    return make_series()


@pytest.fixture
def utm_rows():
    return rows_of(GRIDS["UTM"])


# --- reading rows


def test_null_is_masked_and_zero_is_a_value():
    rows = decode(body([["a", 4.5, 50.25, 7, 0], ["a", 4.5, 50.5, 7, None]]), ["B2"])
    assert rows.values["B2"][0] == 0
    assert np.isnan(rows.values["B2"][1])
    assert rows.longitude.tolist() == [4.5, 4.5]
    assert rows.latitude.tolist() == [50.25, 50.5]


def test_doubles_are_read_to_the_last_bit():
    draw = random.Random(7)
    numbers = [draw.uniform(-180, 180) for _ in range(500)]
    numbers += [106.87548887637286, 47.87521899374363, 0.699999988079071, 5e-324, 1.7976931348623157e308, -0.0]
    rows = decode(body([["a", x, x, 7, x] for x in numbers]), ["B2"])
    assert rows.longitude.tobytes() == rows.latitude.tobytes() == np.array(numbers).tobytes()
    assert rows.values["B2"].tobytes() == np.array(numbers).tobytes()


def test_header_alone_is_no_rows():
    rows = decode(body([]), ["B2"])
    assert len(rows.longitude) == len(rows.values["B2"]) == 0


def test_missing_time_is_no_matter():
    assert decode(body([["a", 4.5, 50.25, None, 3]]), ["B2"]).values["B2"].tolist() == [3]


@pytest.mark.parametrize("how", [{"indent": 2}, {"separators": (",", ":")}, {"separators": (" , ", " : ")}])
def test_white_space_is_no_matter(how, farm, utm_rows):
    rows = decode(body(utm_rows, **how), ["B2"])
    block = place(farm, Request(("S0",), ("B2",), WHOLE), rows)["S0"]
    assert block.values["B2"].tolist() == [[code(0, row, col) for col in range(5)] for row in range(4)]


@pytest.mark.parametrize("name", ["20190503T105621_é", "a,b", "a b", "1_2_LC08"])
def test_scene_ids_of_any_kind(make_series, name):
    series = make_series()
    series = replace(series, images=(replace(series.images[0], image_id=name),))
    for how in ({}, {"ensure_ascii": False}):
        answer = body(rows_of(GRIDS["UTM"], scenes=(name,)), **how)
        block = place(series, Request((name,), ("B2",), WHOLE), decode(answer, ["B2"]))[name]
        assert block.seen.all()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b'{"result": null}',
        b'{"result": 5}',
        b'{"result": []}',
        b'{"result": [5]}',
        b'{"result": [null]}',
        b'{"result": "abc"}',
        b'{"result": {}}',
        b'{"error": {"message": "x"}}',
        b"\xff\xfe",
        body([["a", 4.5, 50.25, 7, 3]])[:-1],
        body([["a", 4.5, 50.25, 7, 3]])[:-2],
        body([["a", 4.5, 50.25, 7, 3]])[:-5],
        body([["a", 4.5, 50.25, 7, 3]], separators=(",", ":"))[:-4],
        body([["a", 4.5, 50.25, 7]]),
        body([["a", 4.5, 50.25, 7, 3, 4]]),
        body([["a", 4.5, 50.25, 7, 3], ["a", 4.5, 50.25, 7]]),
        body([["a", 4.5, 50.25, 7, 3], ["a", 4.5, 50.25, 7, 3, 4]]),
        body([["a", 4.5, 50.25, 7, 3], 5]),
        body([["a", 4.5, 50.25, 7, "x"]]),
        body([["a", 4.5, 50.25, 7, [3]]]),
        body([["a", "east", 50.25, 7, 3]]),
    ],
)
def test_cut_or_malformed_answer_is_a_bad_answer(answer):
    with pytest.raises(BadAnswer, match=r"^(Earth Engine's answer is not the list of rows|getRegion returned )"):
        decode(answer, ["B2"])


@pytest.mark.parametrize(
    "bands", [("B3",), ("B2", "B3"), ("B3", "B2", "B4"), ()], ids=["other", "more", "many", "fewer"]
)
def test_other_columns_than_asked_are_a_bad_answer(bands):
    answer = body([["a", 4.5, 50.25, 7, *range(len(bands))]], bands)
    with pytest.raises(BadAnswer, match=r"returned the columns \['id', 'longitude'.*; asked was \['id', .*'B2'\]"):
        decode(answer, ["B2"])


def test_bands_in_another_order_are_a_bad_answer():
    with pytest.raises(BadAnswer, match="returned the columns"):
        decode(body([["a", 4.5, 50.25, 7, 1, 2]], ("B3", "B2")), ["B2", "B3"])


# --- placing


@given(st.randoms(use_true_random=False), st.sampled_from(sorted(GRIDS)))
def test_shuffled_rows_give_the_same_raster(make_series, draw, name):
    crs, transform = GRIDS[name]
    series = make_series(scenes=2, crs=crs, transform=transform)
    rows = rows_of(GRIDS[name], scenes=("S0", "S1"))
    draw.shuffle(rows)
    blocks = placed(series, rows)
    for number, scene_id in enumerate(("S0", "S1")):
        expected = [[code(number, row, col) for col in range(5)] for row in range(4)]
        assert blocks[scene_id].values["B2"].tolist() == expected
        assert blocks[scene_id].valid["B2"].all()
        assert blocks[scene_id].seen.all()
        assert blocks[scene_id].values["B2"].dtype == np.uint16


def test_window_in_the_middle_of_the_grid(make_series, where):
    crs, transform = where
    series = make_series(shape=(40, 50), crs=crs, transform=transform)
    window = Window(7, 11, 3, 6)
    block = placed(series, rows_of(where, window), window)["S0"]
    assert block.values["B2"].tolist() == [[code(0, row, col) for col in range(11, 17)] for row in range(7, 10)]


def test_one_pixel(make_series, where):
    crs, transform = where
    series = make_series(shape=(1, 1), crs=crs, transform=transform)
    window = Window(0, 0, 1, 1)
    assert placed(series, rows_of(where, window), window)["S0"].values["B2"].tolist() == [[0]]


def test_each_band_keeps_its_own_mask_and_dtype(make_series):
    series = make_series(bands={"B2": "uint16", "SCL": "uint8", "VV": "float32", "t": "int16"})
    rows = []
    for row, col in itertools.product(range(4), range(5)):
        lon, lat = lonlat(*GRIDS["UTM"], row, col)
        masked = row == 1 and col == 2
        rows.append(["S0", lon, lat, 7, None if masked else 0, row, None if col == 4 else -0.7, -row])
    block = placed(series, rows, bands=("B2", "SCL", "VV", "t"))["S0"]
    assert {name: str(values.dtype) for name, values in block.values.items()} == {
        "B2": "uint16",
        "SCL": "uint8",
        "VV": "float32",
        "t": "int16",
    }
    assert block.seen.all()
    assert np.argwhere(~block.valid["B2"]).tolist() == [[1, 2]]
    assert (block.values["B2"] == 0).all()  # and yet 19 of them are valid
    assert block.valid["SCL"].all()
    assert (~block.valid["VV"]).sum() == 4
    assert block.values["VV"][0, 0] == np.float32(-0.7)
    assert block.values["t"][:, 0].tolist() == [0, -1, -2, -3]


def test_pixel_masked_in_all_bands_is_seen(farm, utm_rows):
    for row in utm_rows:
        row[-1] = None
    block = placed(farm, utm_rows)["S0"]
    assert block.seen.all()
    assert not block.valid["B2"].any()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 0),
        ("uint8", 255),
        ("uint16", 65535),
        ("uint16", 40000),
        ("int16", -32768),
        ("int8", -128),
        ("int32", 2**24 + 1),
        ("uint32", 2**32 - 1),
        ("int64", 2**53 - 1),
        ("int64", -(2**53) + 1),
        ("float64", 0.1),
        ("float32", 3.4028234663852886e38),
    ],
)
def test_values_at_the_ends_of_a_dtype_are_exact(make_series, dtype, value):
    series = make_series(shape=(1, 1), bands={"B2": dtype})
    window = Window(0, 0, 1, 1)
    rows = rows_of(GRIDS["UTM"], window)
    rows[0][-1] = value
    block = placed(series, rows, window)["S0"]
    assert block.valid["B2"].all()
    assert block.values["B2"][0, 0].item() == value


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("uint16", 65536),
        ("uint16", 1.5),
        ("int16", 40000),
        ("int16", -32769),
        ("int32", 2**31),
        ("uint32", -1),
        ("int64", 2**53),
        ("int64", 2**53 + 1),
        ("int64", 2**63),
        ("int64", -(2**53) - 1),
    ],
)
def test_value_its_band_cannot_hold_is_a_bad_answer(make_series, dtype, value):
    series = make_series(shape=(1, 1), bands={"B2": dtype})
    window = Window(0, 0, 1, 1)
    rows = rows_of(GRIDS["UTM"], window)
    rows[0][-1] = value
    with pytest.raises(BadAnswer, match=rf"^Band B2 is {dtype}, but getRegion returned .*, which it cannot hold\.$"):
        placed(series, rows, window)


def test_pixel_twice_is_a_bad_answer(farm, utm_rows):
    with pytest.raises(
        BadAnswer, match=r"^getRegion returned row 1, column 2 of scene S0 2 times; each pixel may come once\.$"
    ):
        placed(farm, [*utm_rows, utm_rows[7]])


def test_same_pixel_of_two_scenes_is_not_twice(make_series):
    series = make_series(scenes=3)
    assert set(placed(series, rows_of(GRIDS["UTM"], scenes=("S0", "S1", "S2")))) == {"S0", "S1", "S2"}


def test_pixel_twice_in_the_second_scene_names_it(make_series):
    rows = rows_of(GRIDS["UTM"], scenes=("S0", "S1"))
    with pytest.raises(BadAnswer, match=r"row 0, column 1 of scene S1 2 times"):
        placed(make_series(scenes=2), [*rows, rows[3]])


def shifted(where, rows, number, dx, dy):
    """One row moved by parts of a pixel."""
    crs, transform = where
    row, col = divmod(number, 5)
    rows[number][1:3] = lonlat(crs, transform, row + dy, col + dx)
    return rows


@pytest.mark.parametrize(("dx", "dy"), [(0.02, 0), (0, 0.02), (-0.02, 0), (0, -0.3), (0.5, 0), (0.49, 0.49)])
def test_row_off_the_pixel_centre_is_a_bad_answer(make_series, where, dx, dy):
    series = make_series(crs=where[0], transform=where[1])
    with pytest.raises(BadAnswer, match=r"pixels from the nearest pixel centre of the grid; at most 0\.01 is allowed"):
        placed(series, shifted(where, rows_of(where), 7, dx, dy))


@pytest.mark.parametrize(("dx", "dy"), [(0.005, 0), (0, -0.005), (1e-6, 1e-6)])
def test_hair_off_the_pixel_centre_is_rounding(make_series, where, dx, dy):
    series = make_series(crs=where[0], transform=where[1])
    assert placed(series, shifted(where, rows_of(where), 7, dx, dy))["S0"].seen.all()


@pytest.mark.parametrize(("row", "col"), [(-1, 0), (0, -1), (4, 0), (0, 5), (1000, 1000)])
def test_row_outside_the_window_is_a_bad_answer(make_series, where, row, col):
    series = make_series(shape=(40, 50), crs=where[0], transform=where[1])
    rows = [*rows_of(where), ["S0", *lonlat(*where, row, col), 7, 1]]
    with pytest.raises(
        BadAnswer, match=rf"which is row {row}, column {col}, outside the 4 x 5 window that was asked for\.$"
    ):
        placed(series, rows)


@pytest.mark.parametrize("coordinates", [(None, 50.0), (4.5, None), (4.5, 1000.0), (1e300, 50.0)])
def test_row_that_lies_nowhere_is_a_bad_answer(farm, utm_rows, coordinates):
    utm_rows[3][1:3] = coordinates
    with pytest.raises(BadAnswer, match=r"^getRegion returned longitude "):
        placed(farm, utm_rows)


def test_scene_that_was_not_asked_for_is_a_bad_answer(farm, utm_rows):
    utm_rows[3][0] = "S9"
    with pytest.raises(BadAnswer, match=r"^getRegion returned scene 'S9', which was not asked for\.$"):
        placed(farm, utm_rows)


def test_missing_pixel_is_a_bad_answer(farm):
    with pytest.raises(
        BadAnswer,
        match=r"^Scene S0 returned 19 of 20 pixels of the 5 x 4 window, though its footprint covers 1 of the others; "
        r"the first missing is row 2, column 3\. No file was written\.$",
    ):
        placed(farm, rows_of(GRIDS["UTM"], skip={(2, 3)}))


def test_missing_scene_is_a_bad_answer(make_series):
    with pytest.raises(BadAnswer, match=r"^Scene S1 returned 0 of 20 pixels .*the first missing is row 0, column 0\."):
        placed(make_series(scenes=2), rows_of(GRIDS["UTM"]))


def test_no_rows_at_all_where_the_scene_lies_is_a_bad_answer(farm):
    with pytest.raises(BadAnswer, match=r"^Scene S0 returned 0 of 20 pixels"):
        placed(farm, [])


def test_pixels_the_scenes_raster_misses_may_be_missing(make_series):
    # The raster begins 16 pixels before the grid; 18 columns of it reach to the grid's column 1.
    series = make_series(extent=(36, 18))
    rows = rows_of(GRIDS["UTM"], skip={(row, col) for row in range(4) for col in (2, 3, 4)})
    block = placed(series, rows)["S0"]
    assert block.seen.tolist() == [[True, True, False, False, False]] * 4
    assert not block.valid["B2"][:, 2:].any()
    with pytest.raises(BadAnswer, match=r"covers 1 of the others; the first missing is row 3, column 1\."):
        placed(series, [row for row in rows if row[-1] != code(0, 3, 1)])


def test_pixels_far_outside_the_footprint_may_be_missing(make_series):
    # 40 columns of 10 m; the footprint ends at column 20, and up to 3 pixels within it are its rim.
    crs, transform = GRIDS["UTM"]
    west = [lonlat(crs, transform, row, col) for row, col in [(-9.5, -9.5), (-9.5, 19.5), (13.5, 19.5), (13.5, -9.5)]]
    series = make_series(shape=(4, 40), footprint=shapely.Polygon(west))
    window = Window(0, 0, 4, 40)

    def answer(*last):
        return rows_of(GRIDS["UTM"], window, skip={(row, col) for row in range(4) for col in range(*last)})

    assert placed(series, answer(20, 40), window)["S0"].seen.sum() == 80
    assert placed(series, answer(18, 40), window)["S0"].seen.sum() == 72
    with pytest.raises(BadAnswer, match=r"the first missing is row 0, column 15\."):
        placed(series, answer(15, 40), window)
    assert placed(series, answer(0, 0), window)["S0"].seen.all()  # more than the footprint says is welcome


def test_single_image_may_be_called_anything(make_job, make_series):
    single = make_job(collection=None, dates=None, image="USGS/SRTMGL1_003")
    series = make_series(job=single)
    rows = rows_of(GRIDS["UTM"], scenes=("0",))
    assert placed(series, rows)["S0"].values["B2"][3, 4] == code(0, 3, 4)


# --- the request


def encoded(series, request):
    import ee

    return ee.serializer.encode(region_expression(series, request), for_cloud_api=True)


def call_of(graph, name):
    """The arguments of the one call of that name, with references followed."""
    found = []

    def walk(node):
        if isinstance(node, dict):
            if "valueReference" in node:
                return walk(graph["values"][node["valueReference"]])
            call = node.get("functionInvocationValue")
            if call and call["functionName"] == name:
                found.append(call["arguments"])
            return [walk(value) for value in node.values()]
        return [walk(value) for value in node] if isinstance(node, list) else None

    walk(graph["values"][graph["result"]])
    assert found, f"{name} is not in {orjson.dumps(graph)}"
    return found[0]


def constant(graph, node):
    if "valueReference" in node:
        node = graph["values"][node["valueReference"]]
    if "functionInvocationValue" in node:
        assert node["functionInvocationValue"]["functionName"] == "Projection"
        return constant(graph, node["functionInvocationValue"]["arguments"]["crs"])
    if "arrayValue" in node:
        return [constant(graph, value) for value in node["arrayValue"]["values"]]
    return node["constantValue"]


@pytest.mark.parametrize(
    ("name", "crs"), [("UTM", "EPSG:32631"), ("Europe", "EPSG:3035"), ("sinusoidal", "SR-ORG:6974")]
)
def test_request_names_crs_and_transform_and_never_scale(offline_ee, make_series, name, crs):
    transform = GRIDS[name][1]
    series = make_series(shape=(40, 50), crs=GRIDS[name][0], transform=transform)
    graph = encoded(series, Request(("S0",), ("B2",), Window(7, 11, 3, 6)))
    arguments = call_of(graph, "ImageCollection.getRegion")
    assert set(arguments) == {"collection", "geometry", "crs", "crsTransform"}
    assert constant(graph, arguments["crs"]) == crs
    # Of the whole grid, not of the window: the lattice is the same for all requests.
    assert constant(graph, arguments["crsTransform"]) == [transform.a, 0, transform.c, 0, transform.e, transform.f]


def test_rectangle_lies_a_thousandth_of_a_pixel_inside_the_window(offline_ee, make_series):
    series = make_series(shape=(40, 50))
    graph = encoded(series, Request(("S0",), ("B2",), Window(7, 11, 3, 6)))
    polygon = call_of(graph, "GeometryConstructors.Polygon")
    assert constant(graph, polygon["crs"]) == "EPSG:32631"
    assert constant(graph, polygon["geodesic"]) is False
    # Columns 11 to 16 are x 600110 to 600170; rows 7 to 9 are y 5699930 down to 5699900; a hair is 0.01 m.
    (ring,) = constant(graph, polygon["coordinates"])
    corners = {(round(x, 6), round(y, 6)) for x, y in ring}
    assert corners == {
        (600110.01, 5699929.99),
        (600110.01, 5699900.01),
        (600169.99, 5699900.01),
        (600169.99, 5699929.99),
    }


def test_scenes_are_chosen_by_id_within_their_seconds(offline_ee, make_series, make_job):
    graph = encoded(make_series(scenes=5, job=make_job(packing="off")), Request(("S1", "S3"), ("B2",), WHOLE))
    assert constant(graph, call_of(graph, "ImageCollection.load")["id"]) == "COPERNICUS/S2_SR_HARMONIZED"
    chosen = call_of(graph, "Filter.listContains")
    assert constant(graph, chosen["leftValue"]) == ["S1", "S3"]
    assert constant(graph, chosen["rightField"]) == "system:index"
    # S1 is of 4 May 10:56:21.75, S3 of 6 May; the end is exclusive.
    period = call_of(graph, "DateRange")
    assert constant(graph, period["start"]) == "2019-05-04T10:56:21"
    assert constant(graph, period["end"]) == "2019-05-06T10:56:22"


def test_bands_are_selected_in_the_order_asked(offline_ee, make_series, make_job):
    bands = {"B2": "uint16", "B8": "uint16", "SCL": "uint8"}
    series = make_series(bands=bands, job=make_job(packing="off"))
    graph = encoded(series, Request(("S0",), ("SCL", "B2"), WHOLE))
    (select,) = [call for call in _calls(graph) if call["functionName"] == "Image.select"]
    assert constant(graph, select["arguments"]["bandSelectors"]) == ["SCL", "B2"]


def test_scenes_of_a_packed_request_are_listed_until_they_are_many(offline_ee, make_series):
    series = make_series(scenes=3)
    listed = encoded(series, Request(("S2", "S0"), ("B2",), WHOLE))
    loads = [call["arguments"] for call in _calls(listed) if call["functionName"] == "Image.load"]
    prefix = "COPERNICUS/S2_SR_HARMONIZED"
    assert [constant(listed, load["id"]) for load in loads] == [f"{prefix}/S2", f"{prefix}/S0"]
    many = make_series(scenes=1001)
    ids = tuple(image.image_id for image in many.images)
    searched = encoded(many, Request(ids, ("B2",), WHOLE))
    assert constant(searched, call_of(searched, "Filter.listContains")["leftValue"]) == list(ids)
    assert "Image.load" not in json.dumps(searched)


def test_short_rows_are_of_the_scenes_in_the_requests_order(make_series):
    series = make_series(scenes=3, bands={"B2": "uint16", "VV": "float32", "t": "int16"})
    rows = []
    for row, col in itertools.product(range(4), range(5)):
        place = lonlat(*GRIDS["UTM"], row, col)
        # B2 counts from 2 in a base of 65,539, t from -32,768; row 1 is masked in both, row 2 in t alone.
        b2, t = 7 + row + 2, -col + 32768 + 2
        pack = {1: 0, 2: b2}.get(row, b2 + 65539 * t)
        rows += [["0", *place, 0, pack, 0.5], ["1", *place, 0, 2 + 65539 * 2, None]]
    answer = body(rows, ("c0", "c1"), separators=(",", ":"))
    blocks = GetRegion().read(answer, series, Request(("S2", "S0"), ("B2", "VV", "t"), WHOLE))
    late, first = blocks["S2"], blocks["S0"]
    assert late.values["B2"].tolist() == [[7] * 5, [0] * 5, [9] * 5, [10] * 5]
    assert late.valid["B2"][:, 0].tolist() == [True, False, True, True]
    assert late.values["t"].tolist() == [[0, -1, -2, -3, -4], [0] * 5, [0] * 5, [0, -1, -2, -3, -4]]
    assert late.valid["t"][:, 0].tolist() == [True, False, False, True]
    assert (late.values["VV"] == 0.5).all()
    assert not first.valid["VV"].any()
    assert (first.values["B2"] == 0).all()
    assert (first.values["t"] == -32768).all()
    assert all(first.valid[name].all() for name in ("B2", "t"))
    assert first.seen.all()
    assert {name: str(values.dtype) for name, values in late.values.items()} == {
        "B2": "uint16",
        "VV": "float32",
        "t": "int16",
    }


def test_single_image_goes_as_a_collection_of_one(offline_ee, make_job, make_series):
    single = make_job(collection=None, dates=None, image="USGS/SRTMGL1_003")
    graph = encoded(make_series(job=single), Request(("S0",), ("B2",), WHOLE))
    assert constant(graph, call_of(graph, "Image.load")["id"]) == "USGS/SRTMGL1_003"
    assert "ImageCollection.fromImages" in json.dumps(graph)
    assert "ImageCollection.load" not in json.dumps(graph)


def test_points_are_the_windows_pixel_centres(offline_ee, make_job, make_series):
    series = make_series(shape=(40, 50), job=make_job(region="points"))
    graph = encoded(series, Request(("S0",), ("B2",), Window(7, 11, 3, 6)))
    sequences = [node["arguments"] for node in _calls(graph) if node["functionName"] == "List.sequence"]
    found = {(constant(graph, s["start"]), constant(graph, s["step"]), constant(graph, s["count"])) for s in sequences}
    assert found == {(600115.0, 10.0, 6), (5699925.0, -10.0, 3)}


def _calls(node):
    if isinstance(node, dict):
        if "functionInvocationValue" in node:
            yield node["functionInvocationValue"]
        for value in node.values():
            yield from _calls(value)
    elif isinstance(node, list):
        for value in node:
            yield from _calls(value)


def test_a_run_does_without_pandas():
    """It weighs 70 MiB, and Arrow imports it by itself where an array is made of its columns."""
    program = (
        "import sys, eeflow.aoi, eeflow.fetch, eeflow.geotiff\n"
        "from eeflow.region import decode\n"
        'body = b\'{"result":[["id","longitude","latitude","time","B2"],["S",3.5,50.5,0,7],["S",3.6,50.5,0,null]]}\'\n'
        'rows = decode(body, ["B2"])\n'
        'print(rows.values["B2"].tolist(), rows.longitude.tolist(), "pandas" in sys.modules)\n'
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[7.0, nan] [3.5, 3.6] False\n"
