"""Faults on demand, met by the real `ee` client and by plain HTTP.

Texts and statuses of errors: *recorded* in reference/recorded/errors.json, except those marked otherwise in TEXTS. How
the client meets each: *recorded* in reference/recorded/client_retry_behaviour.txt. That rows go missing, come twice,
move or are permuted, that scenes are late or change: *assumed*; a client must be right even so.
"""

import concurrent.futures
import http.client
import json
import urllib.error
import urllib.request

import ee
import httplib2
import pytest
from test_eelocal_support import ROOT, CodedCollection, CodedImage, post, serving

from eelocal import LocalEarthEngine
from eelocal.errors import EarthEngineError
from eelocal.faults import Faults, kinds

POINT = [500025, 4999965]
# kind -> status, text
TEXTS = {
    "429": (429, "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."),
    "quota_exceeded": (429, "Quota exceeded for quota metric 'Number of read requests' and limit"),
    "too_many_aggregations": (429, "Quota exceeded: Too many concurrent aggregations."),  # text documented
    "500": (500, "An internal error has occurred"),
    "503": (503, "The service is currently unavailable."),  # assumed: Google's usual words
    "capacity_exceeded": (503, "Earth Engine memory capacity exceeded."),
    "memory_limit": (400, "User memory limit exceeded."),
    "timed_out": (400, "Computation timed out."),
}


@pytest.fixture(scope="module")
def server():
    scenes = [CodedImage(f"T/C/{i}", properties={"system:time_start": 10**12 + i * 10**8}) for i in range(3)]
    with serving(CodedCollection("T/C", scenes), CodedImage("T/one")) as running:
        yield running


@pytest.fixture
def engine(server):
    server.faults.clear()
    yield server
    server.faults.clear()


def table():
    area = ee.Geometry.Rectangle([500001, 4999961, 500039, 4999999], "EPSG:32631", False)
    return ee.ImageCollection("T/C").getRegion(area, 10, "EPSG:32631").getInfo()


def control(engine, method, path, body=None):
    request = urllib.request.Request(
        engine.url + "/_eelocal/" + path, None if body is None else json.dumps(body).encode(), method=method
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


def value(number):
    return {"expression": ee.serializer.encode(ee.Number(number).add(1), for_cloud_api=True)}


@pytest.mark.parametrize("kind", TEXTS)
def test_errors_have_their_status_and_text_and_happen_as_often_as_told(engine, kind):
    status, text = TEXTS[kind]
    engine.faults.add(kind, operation="value:compute", count=1)
    found, body = post(engine.url, "/v1/projects/p/value:compute", value(1))
    assert found == status == body["error"]["code"]
    assert body["error"]["message"].startswith(text)
    assert ee.Number(1).add(1).getInfo() == 2
    assert engine.faults.used(kind) == 1


def test_the_client_retries_what_it_retries_with_real_earth_engine_recorded(engine, monkeypatch):
    """recorded/client_retry_behaviour.txt: 429 and 5xx are retried, a memory error (400) is not."""
    monkeypatch.setattr("googleapiclient.http.time.sleep", lambda seconds: None, raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    ee.data.setMaxRetries(5)
    try:
        engine.faults.set([{"kind": "429", "count": 2}, {"kind": "503", "count": 2}, {"kind": "500", "count": 1}])
        assert ee.Number(1).add(1).getInfo() == 2
        assert [fault["used"] for fault in engine.faults.snapshot()["faults"]] == [2, 2, 1]
        engine.faults.set([{"kind": "memory_limit"}])
        with pytest.raises(ee.EEException, match=r"^User memory limit exceeded\.$"):
            ee.Number(1).add(1).getInfo()
        assert engine.faults.used("memory_limit") == 1
    finally:
        ee.data.setMaxRetries(0)


def test_retry_after_is_sent_when_told_documented(engine):
    """https://www.rfc-editor.org/rfc/rfc9110#field.retry-after; the client ignores it (recorded)."""
    engine.faults.add("429", retry_after=7, count=1)
    with pytest.raises(urllib.error.HTTPError) as caught:
        request = urllib.request.Request(engine.url + "/v1/projects/p/value:compute", json.dumps(value(1)).encode())
        urllib.request.urlopen(request)
    assert caught.value.headers["Retry-After"] == "7"


def test_a_bad_gateway_speaks_html_recorded(engine):
    """recorded/client_retry_behaviour.txt, `html 502`: the client only has the reason phrase."""
    engine.faults.add("bad_gateway", count=1)
    with pytest.raises(ee.EEException, match=r"Bad Gateway|Ok"):
        ee.Number(1).add(1).getInfo()


def test_answers_that_are_no_answers_reach_the_client_recorded(engine):
    """recorded/client_retry_behaviour.txt: `200 empty obj` is a KeyError in the client."""
    engine.faults.add("no_result", count=1)
    with pytest.raises(KeyError):
        ee.Number(1).add(1).getInfo()
    engine.faults.add("malformed_json", count=1)
    with pytest.raises((TypeError, ValueError)):
        ee.Number(1).add(1).getInfo()


def test_operations_are_told_apart(engine):
    engine.faults.set([
        {"kind": "500", "operation": "getRegion", "id": "table"},
        {"kind": "503", "operation": "image:computePixels", "id": "pixels"},
        {"kind": "429", "operation": "assets:*", "id": "assets"},
    ])  # fmt: skip
    assert ee.Number(1).add(1).getInfo() == 2
    with pytest.raises(ee.EEException, match="internal error"):
        table()
    with pytest.raises(ee.EEException, match="unavailable"):
        ee.data.computePixels({"expression": ee.Image("T/one"), "fileFormat": "NPY"})
    with pytest.raises(ee.EEException, match="Too Many Requests"):
        ee.data.getAsset("T/one")
    with pytest.raises(ee.EEException, match="Too Many Requests"):
        ee.data.listImages("T/C")
    assert [engine.faults.used(name) for name in ("table", "pixels", "assets")] == [1, 1, 2]


def test_any_skip_count_and_contains(engine):
    engine.faults.set([{"kind": "500", "skip": 2, "count": 1}, {"kind": "503", "contains": "T/C/1"}])
    codes = [post(engine.url, "/v1/projects/p/value:compute", value(1))[0] for _ in range(4)]
    assert codes == [200, 200, 500, 200]
    assert ee.Image("T/C/0").id().getInfo() == "0"
    with pytest.raises(ee.EEException, match="unavailable"):
        ee.Image("T/C/1").id().getInfo()


def test_a_rate_depends_on_the_seed_and_the_request_not_on_the_order(engine):
    def struck(seed, order):
        engine.faults.set({"seed": seed, "faults": [{"kind": "503", "rate": 0.3}]})

        def one(number):
            return number, post(engine.url, "/v1/projects/p/value:compute", value(number))[0] == 503

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            return dict(pool.map(one, order))

    first = struck(1, range(60))
    assert first == struck(1, range(59, -1, -1))
    assert first != struck(2, range(60))
    assert engine.faults.used("503") == sum(struck(2, range(60)).values())
    assert 5 <= sum(first.values()) <= 32


def test_rows_missing_twice_and_permuted(engine):
    good = table()
    assert len(good) == 1 + 16 * 3
    engine.faults.add("row_missing", operation="getRegion", row=4, count=1)
    assert table() == good[:5] + good[6:]
    engine.faults.add("row_twice", operation="getRegion", row=0, count=1)
    assert table() == [*good, good[1]]
    engine.faults.add("rows_permuted", operation="getRegion", count=1)
    mixed = table()
    assert mixed[0] == good[0]
    assert mixed != good
    assert sorted(map(str, mixed)) == sorted(map(str, good))
    assert table() == good
    assert {name: engine.faults.used(name) for name in ("row_missing", "row_twice", "rows_permuted")} == {
        "row_missing": 1,
        "row_twice": 1,
        "rows_permuted": 1,
    }


def test_a_coordinate_is_wrong(engine):
    good = table()
    engine.faults.add("wrong_coordinate", row=2, column="latitude", by=0.5, count=1)
    bad = table()
    assert [i for i, (a, b) in enumerate(zip(good, bad, strict=True)) if a != b] == [3]
    assert bad[3][2] == good[3][2] + 0.5


def test_a_fault_that_finds_nothing_to_do_has_not_happened(engine):
    engine.faults.add("row_missing", count=1)
    assert ee.Number(1).add(1).getInfo() == 2
    assert engine.faults.used("row_missing") == 0
    assert len(table()) == 16 * 3
    assert engine.faults.used("row_missing") == 1


def test_a_body_is_cut(engine):
    engine.faults.add("cut_body", operation="value:compute", count=1)
    connection = http.client.HTTPConnection(engine.url.removeprefix("http://"))
    connection.request("POST", "/v1/projects/p/value:compute", json.dumps(value(1)))
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()
    assert ee.Number(1).add(1).getInfo() == 2


def test_a_connection_is_reset(engine):
    engine.faults.add("connection_reset", operation="value:compute", count=1)
    with pytest.raises((ConnectionError, httplib2.HttpLib2Error, OSError)):
        ee.Number(1).add(1).getInfo()
    engine.faults.add("connection_reset", operation="value:compute", part=0.5, count=1)
    connection = http.client.HTTPConnection(engine.url.removeprefix("http://"))
    connection.request("POST", "/v1/projects/p/value:compute", json.dumps(value(1)))
    with pytest.raises((ConnectionResetError, http.client.HTTPException)):
        connection.getresponse().read()
    connection.close()
    assert engine.faults.used("connection_reset") == 2
    assert ee.Number(1).add(1).getInfo() == 2


def test_a_body_is_slow(engine):
    """It comes in pieces: with a client that does not wait as long, it does not come."""
    engine.faults.add("slow_body", operation="value:compute", seconds=1.0, count=1)
    connection = http.client.HTTPConnection(engine.url.removeprefix("http://"), timeout=0.04)
    connection.request("POST", "/v1/projects/p/value:compute", json.dumps(value(1)))
    with pytest.raises(TimeoutError):
        connection.getresponse().read()
    connection.close()
    engine.faults.add("slow_body", operation="value:compute", seconds=0.1, count=1)
    assert ee.Number(1).add(1).getInfo() == 2
    assert engine.faults.used("slow_body") == 2


def test_a_late_scene_is_nowhere_until_it_is_released(engine):
    late = engine.faults.add("scene_late", scene="T/C/1")
    collection = ee.ImageCollection("T/C")
    assert collection.size().getInfo() == 2
    assert [image["id"] for image in ee.data.listImages("T/C")["images"]] == ["T/C/0", "T/C/2"]
    assert {row[0] for row in table()[1:]} == {"0", "2"}
    with pytest.raises(ee.EEException, match=r"Image asset 'T/C/1' not found"):
        ee.Image("T/C/1").getInfo()
    with pytest.raises(ee.EEException, match="denied on resource"):
        ee.data.getAsset("T/C/1")
    assert engine.faults.used(late) == 5
    engine.faults.end(late)
    assert collection.size().getInfo() == 3
    assert engine.faults.used(late) == 5
    assert len(ee.data.listImages("T/C")["images"]) == 3


def test_a_late_image_of_no_collection(engine):
    engine.faults.add("scene_late", scene="T/one", count=1)
    with pytest.raises(ee.EEException, match="not found"):
        ee.Image("T/one").getInfo()
    assert ee.Image("T/one").getInfo()["id"] == "T/one"


def test_a_scene_changes_its_version_and_its_pixels(engine):
    before = ee.Image("T/C/1").getInfo()["version"]
    engine.faults.add("scene_version", scene="T/C/1", skip=1, add=3)

    def seen():
        point = ee.Geometry.Point(POINT, "EPSG:32631")
        found = ee.ImageCollection("T/C").getRegion(point, 10, "EPSG:32631").getInfo()
        return ee.Image("T/C/1").getInfo()["version"], [row[4] for row in found[1:]]

    assert ee.Image("T/C/1").getInfo()["version"] == before  # skipped
    assert seen() == (before + 1, [10302, 10305, 10302])
    assert ee.Image("T/C/0").getInfo()["version"] == before


def test_faults_over_http(engine):
    plan = {"seed": 5, "faults": [{"kind": "500", "operation": "value:compute", "count": 1, "id": "a"}]}
    assert control(engine, "PUT", "faults", plan)["faults"][0]["used"] == 0
    assert control(engine, "POST", "faults", {"kind": "503", "count": 1}) == {"id": "1"}
    codes = [post(engine.url, "/v1/projects/p/value:compute", value(1))[0] for _ in range(3)]
    assert codes == [500, 503, 200]
    found = control(engine, "GET", "faults")
    assert found["seed"] == 5
    assert [(fault["id"], fault["kind"], fault["used"], fault["ended"]) for fault in found["faults"]] == [
        ("a", "500", 1, False),
        ("1", "503", 1, False),
    ]
    assert control(engine, "DELETE", "faults/a")["faults"][0]["ended"]
    assert control(engine, "DELETE", "faults") == {}
    assert control(engine, "GET", "faults")["faults"] == []
    status, _ = post(engine.url, "/_eelocal/stats", {})
    assert status == 405


@pytest.mark.parametrize("plan", [
    3, {"x": 1}, ["429"], [{"kind": "nothing"}], [{"kind": "429", "count": -1}], [{"kind": "429", "rate": 2}],
    [{"kind": "429", "row": 1}], [{"kind": "429", "id": "a"}, {"kind": "500", "id": "a"}], {"seed": "a"},
])  # fmt: skip
def test_bad_plans_are_a_sentence(engine, plan):
    with pytest.raises(EarthEngineError) as caught:
        Faults(plan)
    assert len(caught.value.message) > 20
    with pytest.raises(urllib.error.HTTPError) as refused:
        control(engine, "PUT", "faults", plan)
    assert refused.value.code == 400


@pytest.mark.parametrize(("name", "text"), [
    ("plan.yaml", "seed: 3\nfaults:\n- kind: 429\n  count: 1\n"),
    ("plan.json", '{"seed": 3, "faults": [{"kind": "429", "count": 1}]}'),
])  # fmt: skip
def test_a_plan_from_a_file(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    engine = LocalEarthEngine(world=False, faults=path)
    assert engine.faults.snapshot()["seed"] == 3
    assert engine.faults.snapshot()["faults"][0]["kind"] == "429"


def test_every_kind_is_in_the_documentation():
    text = (ROOT / "docs" / "eelocal.md").read_text()
    assert [name for name in kinds() if f"`{name}`" not in text] == []
