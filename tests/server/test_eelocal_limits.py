"""Limits: their numbers, texts and statuses. `E` is reference/recorded/errors.json, `D` Earth Engine's documentation.

| limit | evidence |
|---|---|
| values of getRegion, payload, request size, dimensions, reduceRegion's pixels, missing assets, bands | recorded, E |
| a mask byte for each band and pixel | recorded: google/Xee#50, 56623104 bytes |
| 5,000 elements; 100 MiB of result; 40 requests at once, 100 a second | documented, D guides/debugging, guides/usage |
| 429 by concurrency and by rate, with their texts | recorded, E |
| the header of restricted mode, and that the client warns | recorded, client_retry_behaviour.txt |
| 2 requests at once in restricted mode; that windows slide; 503 when the gate does not open | assumed |
"""

import concurrent.futures
import gzip
import http.client
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from types import SimpleNamespace

import ee
import pytest
from test_eelocal_support import ROOT, CodedCollection, CodedImage, post, serving

from eelocal import LocalEarthEngine, server, watch
from eelocal.errors import Aborted, EarthEngineError, OutOfMemory, TimedOut
from eelocal.gate import Gate
from eelocal.quota import Limits, Quota
from eelocal.watch import Watch

COMPUTE = "/v1/projects/p/value:compute"
PIXELS = "/v1/projects/p/image:computePixels"
TOO_MANY = "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."
ONE = {"expression": {"result": "0", "values": {"0": {"constantValue": 1}}}}
BIG = {"size": (40000, 40000)}


@pytest.fixture(scope="module")
def engine():
    images = [CodedImage(f"T/C/{i}", properties={"system:time_start": 10**12 + i}, **BIG) for i in range(30)]
    with serving(CodedCollection("T/C", images)) as running:
        yield running


def message(action):
    with pytest.raises(ee.EEException) as caught:
        action()
    return str(caught.value)


def square(side):
    return ee.Geometry.Rectangle([500000, 5000000 - side * 10, 500000 + side * 10, 5000000], "EPSG:32631", False)


def pixels(engine, width, height, image=None, bands=None):
    body = {
        "expression": ee.serializer.encode(image or ee.Image("T/C/0"), for_cloud_api=True),
        "fileFormat": "NPY",
        "grid": {
            "dimensions": {"width": width, "height": height},
            "affineTransform": {"scaleX": 10, "translateX": 500000, "scaleY": -10, "translateY": 5000000},
            "crsCode": "EPSG:32631",
        },
        **({"bandIds": bands} if bands else {}),
    }
    return post(engine.url, PIXELS, body, raw=True)


# ---- What one request may ask


@pytest.mark.parametrize(("call", "text"), [
    (lambda: ee.ImageCollection("X/Y").size(),
     "ImageCollection.load: ImageCollection asset 'X/Y' not found (does not exist or caller does not have access)."),
    (lambda: ee.Image("X/Y"),
     "Image.load: Image asset 'X/Y' not found (does not exist or caller does not have access)."),
    (lambda: ee.Image("T/C/0").select("B99"),
     "Image.select: Band pattern 'B99' did not match any bands. Available bands: [B1, B2]"),
    (lambda: ee.ImageCollection("T/C").select("SR_3").first(), "Collection.first: Error in map(ID=0):\n"
     "Image.select: Band pattern 'SR_3' did not match any bands. Available bands: [B1, B2]"),
    (lambda: ee.ImageCollection("T/C").getRegion(square(200), 10, "EPSG:32631"),
     "ImageCollection.getRegion: Too many values: 40000 points x 2 bands x 30 images > 1048576."),
    (lambda: ee.ImageCollection([]).getRegion(square(2), 10),
     "ImageCollection.getRegion: No bands in collection."),
    (lambda: ee.FeatureCollection(ee.List.sequence(1, 5001).map(lambda n: ee.Feature(None, {"n": n}))),
     "Collection query aborted after accumulating over 5000 elements."),
    (lambda: ee.Image("T/C/0").sampleRectangle(square(600)),
     "Image.sampleRectangle: Too many pixels in sample; must be <= 262144. Got 360000."),
])  # fmt: skip
def test_texts_recorded(engine, call, text):
    assert message(lambda: call().getInfo()) == text


def test_too_many_pixels_in_a_region_recorded(engine):
    text = message(lambda: ee.Image("T/C/0").reduceRegion("mean", square(8000), 10, "EPSG:32631").getInfo())
    assert text.startswith(
        "Image.reduceRegion: Too many pixels in the region. Found 64000000, but maxPixels allows only"
    )


def test_more_pixels_than_can_be_listed_are_refused_and_not_empty(engine):
    """The text is recorded; that a mean over them fails is assumed."""
    many = ee.Image("T/C/0").reduceRegion("mean", square(8000), 10, "EPSG:32631", maxPixels=10**12)
    assert message(many.getInfo) == "User memory limit exceeded."


def test_missing_assets_are_denied_recorded(engine):
    """The text is recorded, its status of 403 assumed."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(engine.url + "/v1/projects/p/assets/X")
    assert caught.value.code == 403
    error = json.loads(caught.value.read())["error"]
    assert error["status"] == "PERMISSION_DENIED"
    assert error["message"] == (
        "Permission 'earthengine.assets.get' denied on resource 'projects/p/assets/X' (or it may not exist)."
    )


def test_the_mask_byte_counts_recorded(engine):
    """48 MiB / (2 + 1 bytes) = 16,777,216 pixels of one uint16 band: 4096 x 4096 is the most, one row more too much."""
    status, answer = pixels(engine, 4096, 4097, bands=["B1"])
    assert status == 400
    assert answer["error"]["message"] == (
        "Total request size (50343936 bytes) must be less than or equal to 50331648 bytes."
    )
    assert pixels(engine, 4096, 4096, bands=["B1"])[0] == 200
    assert pixels(engine, 4096, 4096)[0] == 400


def test_dimensions_recorded(engine):
    status, answer = pixels(engine, 40818, 1)
    assert (status, answer["error"]["message"]) == (
        400,
        "Pixel grid dimensions (40818x1) must be less than or equal to 32768.",
    )
    assert pixels(engine, 32768, 1)[0] == 200


def test_five_thousand_elements_are_listed_documented(engine):
    features = ee.FeatureCollection(ee.List.sequence(1, 5000).map(lambda n: ee.Feature(None, {"n": n})))
    assert len(features.getInfo()["features"]) == 5000


def test_a_value_that_is_too_large_documented(engine, monkeypatch):
    """100 MiB; with a smaller number here so that it is quick."""
    monkeypatch.setattr("eelocal.encode.MAX_RESULT_BYTES", 1000)
    assert message(lambda: ee.List.sequence(1, 1000).getInfo()) == "Computed value is too large."
    assert message(lambda: ee.ImageCollection("T/C").getRegion(square(9), 10, "EPSG:32631").getInfo()) == (
        "Computed value is too large."
    )


PAYLOAD = "Request payload size exceeds the limit: 10485760 bytes."


def test_payload_recorded(engine):
    wrapper = json.dumps({**ONE, "workloadTag": ""}).encode()
    fitting = wrapper[:-2] + b"x" * (10 * 2**20 - len(wrapper)) + b'"}'
    assert len(fitting) == 10 * 2**20
    assert post(engine.url, COMPUTE, fitting) == (200, {"result": 1})
    status, answer = post(engine.url, COMPUTE, fitting + b" ")
    assert (status, answer["error"]["message"]) == (400, PAYLOAD)
    assert engine.log[-1].operation == "value:compute"


def test_a_compressed_payload_is_not_inflated_beyond_the_limit_assumed(engine):
    bomb = gzip.compress(b"x" * (50 * 2**20), 1)
    request = urllib.request.Request(engine.url + COMPUTE, bomb, {"Content-Encoding": "gzip"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert json.loads(caught.value.read())["error"]["message"] == PAYLOAD


@pytest.mark.parametrize(("headers", "body"), [
    ({"Content-Encoding": "gzip"}, b"{}"),
    ({"Transfer-Encoding": "chunked"}, b"zz\r\n{}\r\n0\r\n\r\n"),
])  # fmt: skip
def test_bodies_that_are_not_what_they_say_are_400(engine, headers, body):
    connection = http.client.HTTPConnection(engine.url.removeprefix("http://"))
    connection.request("POST", COMPUTE, body, headers)
    answer = connection.getresponse()
    assert answer.status == 400
    assert json.loads(answer.read())["error"]["status"] == "INVALID_ARGUMENT"
    connection.close()


# ---- What a project may ask: no clock but the test's


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def admitted(quota, project="p"):
    with quota.admitted(project):
        pass


def refusal(quota, project="p"):
    with pytest.raises(EarthEngineError) as caught:
        admitted(quota, project)
    assert caught.value.code == 429
    assert caught.value.status == "RESOURCE_EXHAUSTED"
    return caught.value


def test_requests_a_second_slide_assumed():
    clock = Clock()
    quota = Quota(Limits(max_per_second=3), clock)
    for moment in (0.0, 0.5, 0.9):
        clock.now = moment
        admitted(quota)
    assert refusal(quota).message == TOO_MANY  # recorded
    admitted(quota, "another")
    clock.now = 1.0
    admitted(quota)
    refusal(quota)
    clock.now = 1.5
    admitted(quota)


def test_requests_a_minute_have_the_text_of_the_quota_recorded():
    clock = Clock()
    quota = Quota(Limits(max_per_minute=2, retry_after=1.5), clock)
    admitted(quota)
    admitted(quota)
    error = refusal(quota)
    assert error.message.startswith(
        "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per "
        "user' of service 'earthengine.googleapis.com' for consumer 'project_number:"
    )
    assert error.message.removesuffix("'.").rpartition(":")[2].isdecimal()
    assert error.headers == {"Retry-After": "1.5"}
    clock.now += 60
    admitted(quota)


def test_rates_reach_the_client_and_requests_of_others_do_not_count_recorded():
    with serving(max_per_minute=5) as engine:  # three requests of Initialize, of which the discovery has no project
        codes = [post(engine.url, COMPUTE, ONE)[0] for _ in range(7)]
        assert codes == [200] * 5 + [429] * 2
        assert ee.Number(1).add(1).getInfo() == 2
        for _ in range(6):
            post(engine.url, "/v1/projects/local-project/value:compute", ONE)
        assert "Quota exceeded for quota metric" in message(lambda: ee.Number(1).add(1).getInfo())


def test_requests_at_once_are_counted_per_project_recorded():
    quota = Quota(Limits(max_concurrent=1))
    with quota.admitted("p"):
        assert refusal(quota).message == TOO_MANY
        admitted(quota, "q")
    admitted(quota)


@pytest.mark.filterwarnings("ignore:Your project has exceeded")
def test_compute_that_is_used_up_restricts_parallelism_recorded():
    """The header is recorded; that 2 requests may still run at once is assumed."""
    with serving(compute_quota=0.0) as engine:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ee.Number(1).add(1).getInfo()
            ee.Number(1).add(2).getInfo()
        assert "exceeded its noncommercial compute quota and is now in restricted mode" in str(caught[-1].message)
        with engine.quota.admitted("local-project"), engine.quota.admitted("local-project"):
            assert message(lambda: ee.Number(1).add(1).getInfo()) == TOO_MANY
        assert ee.Number(1).add(1).getInfo() == 2
        with urllib.request.urlopen(engine.url + "/_eelocal/stats") as answer:
            stats = json.loads(answer.read())
    assert stats["restricted"] == ["local-project"]
    assert stats["compute"]["local-project"] > 0


def test_compute_within_the_quota_is_not_marked():
    with (
        serving(compute_quota=1000.0) as engine,
        urllib.request.urlopen(engine.url + COMPUTE, json.dumps(ONE).encode()) as answer,
    ):
        assert answer.headers["x-earth-engine-quota-status"] is None


def test_latency_and_the_pace_of_values_are_waited_for_less_what_evaluating_took(monkeypatch):
    waited, clock = [], [0.0]
    with serving(CodedImage("T/one"), latency=0.25, per_mpx=1000.0) as engine:
        evaluated = engine._evaluated

        def in_ten_milliseconds(*arguments):
            clock[0] += 0.01
            return evaluated(*arguments)

        monkeypatch.setattr(engine, "_evaluated", in_ten_milliseconds)
        monkeypatch.setattr(server, "time", SimpleNamespace(
            sleep=waited.append, monotonic=lambda: clock[0], thread_time=time.thread_time
        ))  # fmt: skip
        area = ee.Geometry.Rectangle([500001, 4999961, 500039, 4999999], "EPSG:32631", False)
        ee.ImageCollection([ee.Image("T/one")]).getRegion(area, 10, "EPSG:32631").getInfo()
        pixels(engine, 20, 10, ee.Image("T/one"))
    values = [1000 * 4 * 4 * 2 / 1e6, 1000 * 20 * 10 * 2 / 1e6]
    assert [seconds for seconds in waited if seconds] == pytest.approx([0.25, values[0] - 0.01, 0.25, values[1] - 0.01])


# ---- Time, memory, and many at once

LONG = {
    "one value after the other": lambda: ee.List.sequence(1, 3_000_000).map(lambda n: ee.Number(n).add(1)).size(),
    "iterate": lambda: ee.List.sequence(1, 1_000_000).iterate(lambda n, p: ee.Number(p).add(n), 0),
    "one long sort": lambda: ee.List.sequence(1, 3_000_000).shuffle(1).sort(),
    "a deep list": lambda: ee.List.repeat(ee.List.repeat(1, 100_000), 100_000).flatten().size(),
    "pixels of a region": lambda: ee.ImageCollection("T/C").median().reduceRegion("mean", square(2000), 10),
    "features of pixels": lambda: ee.Image("T/C/0").sample(square(3000), 10).size(),
    "polygons": lambda: square(30000).coveringGrid("EPSG:32631", 100).size(),
}


@pytest.fixture(scope="module")
def hurried(engine):
    with LocalEarthEngine(world=False, assets=engine.assets, time_limit=0.3) as running:
        yield running


@pytest.mark.parametrize("name", LONG)
def test_no_request_runs_far_over_the_time_limit_recorded(engine, hurried, name):
    """The text is recorded: without the name of an algorithm before it. How far over: a second here."""
    body = {"expression": ee.serializer.encode(LONG[name](), for_cloud_api=True)}
    begin = time.process_time()  # which a busy machine does not lengthen; the server is in this process
    status, answer = post(hurried.url, COMPUTE, body)
    assert time.process_time() - begin < 0.3 + 1.5
    assert (status, answer["error"]["message"]) == (400, "Computation timed out.")
    assert post(hurried.url, COMPUTE, ONE) == (200, {"result": 1})


def test_a_band_too_large_to_hold_is_the_memory_error_recorded(engine):
    # Coarse pixels are made a row at a time, here each of 255 x 255 fine ones.
    coarse = ee.Image("T/C/0").reduceResolution("mean", maxPixels=65535).reproject("EPSG:32631", None, 2550)
    text = message(lambda: coarse.reduceRegion("mean", square(30000), 2550, maxPixels=1e13).getInfo())
    assert text == "User memory limit exceeded."


def endless():
    while True:
        sum(range(10))


def test_a_loop_that_asks_for_nothing_is_ended():
    with pytest.raises(TimedOut), Watch(0.1).over():
        endless()


def test_the_youngest_ends_when_memory_runs_out(monkeypatch):
    used = [0]
    monkeypatch.setattr(watch, "resident", lambda: used[0])
    watching, elder, ended = Watch(60.0, memory_limit=100), threading.Event(), []

    def younger():
        try:
            with watching.over():
                used[0] = 101
                endless()
        except Aborted as error:
            ended.append(error)
            used[0] = 0
            elder.set()

    with watching.over():
        thread = threading.Thread(target=younger)
        thread.start()
        assert elder.wait(10)
        thread.join()
    assert [type(error) for error in ended] == [OutOfMemory]


def test_the_gate_lets_few_in_and_says_so_when_it_stays_shut_assumed():
    gate = Gate(workers=1, held_bytes=100, patience=0.01)
    with gate.slot(), pytest.raises(EarthEngineError, match="Earth Engine memory capacity exceeded") as caught:
        gate.slot().__enter__()
    assert caught.value.code == 503
    gate.hold(100)
    with pytest.raises(EarthEngineError):
        gate.slot().__enter__()
    gate.drop(1)
    with gate.slot():
        assert gate.max_running == 1


FORTY = """
import concurrent.futures, json, sys, threading, urllib.request
sys.path.insert(0, sys.argv[1])
from test_eelocal_support import CodedCollection, CodedImage, assets
from eelocal import LocalEarthEngine
from pathlib import Path
images = [CodedImage(f"T/C/{i}", size=(40000, 40000)) for i in range(10)]
with LocalEarthEngine(world=False, assets=assets(CodedCollection("T/C", images))) as engine:
    print(engine.url, flush=True)
    sys.stdin.read()
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"kb": int(peak.split()[1]), "at_once": engine.gate.max_running, "in_flight": engine.max_in_flight,
                      "held": engine.gate._held}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory from /proc")
def test_forty_heavy_requests_at_once_stay_below_a_gigabyte(engine):
    """40 answers of 32 MB, all asked for at once: 1.3 GB if each were computed and held."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORTY, str(ROOT / "tests" / "server")], cwd=ROOT, stdin=-1, stdout=-1, text=True
    )
    try:
        running = SimpleNamespace(url=process.stdout.readline().strip())
        image = ee.Image("T/C/0").addBands(ee.Image([1, 2]).toUint16())

        def one(_):
            status, body = pixels(running, 2000, 2000, image)
            return status, len(body)

        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            found = list(pool.map(one, range(40)))
        assert {status for status, _ in found} == {200}
        assert min(size for _, size in found) > 2000 * 2000 * 4 * 2
        process.stdin.close()
        measured = json.loads(process.stdout.readline())
    finally:
        process.wait(30)
        process.stdout.close()
    assert measured["kb"] < 1_000_000
    assert measured["at_once"] <= 8
    assert measured["held"] == 0
