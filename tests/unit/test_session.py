"""The environment's settings, the gate, and what an HTTP answer becomes."""

import gzip
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import ee
import pytest
from google.auth.credentials import AnonymousCredentials

from eeflow import client, session
from eeflow.budget import metered
from eeflow.client import known_algorithms
from eeflow.errors import (
    AccessDenied,
    BadAnswer,
    ConfigError,
    LimitExceeded,
    RequestError,
    RequestTooLarge,
    TooManyRequests,
    TransientError,
    Unreachable,
)
from eeflow.gate import Gate
from eeflow.session import connect
from eeflow.settings import HIGH_VOLUME_URL, Settings, load_settings
from eeflow.transport import Pace


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch, tmp_path, offline_ee):
    for name in ("URL", "PROJECT", "CREDENTIALS"):
        monkeypatch.delenv(f"EEFLOW_EE_{name}", raising=False)
    for name in ("MAX_CONCURRENT", "MAX_PER_SECOND"):
        monkeypatch.delenv(f"EEFLOW_{name}", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)  # no .env
    monkeypatch.setattr(session, "initialise_client", lambda *_: None)  # the client stays offline


@pytest.fixture
def service():
    """A server that gives the answers it is told to, in turn, and keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.asked.append((self.path, dict(self.headers), json.loads(body)))
            status, headers, content = self.server.answers.pop(0)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content)), "Connection": "close"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answers = [], []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def session_to(url):
    return connect(Settings(ee_url=url, ee_project="p-1", ee_credentials="anonymous", max_concurrent=4))


def refusal(status, message):
    return json.dumps({"error": {"code": status, "message": message, "status": "X"}}).encode()


def error_for(service, status, headers, content, kind):
    service.answers = [(status, headers, content)] * 3
    connection = session_to(service.url)
    with pytest.raises(RequestError) as caught:
        connection.value(ee.Number(1))
    assert type(caught.value) is kind
    assert len(service.asked) == 1  # one layer retries, and it is not this one
    assert connection.requests == 1
    return caught.value


def test_defaults_are_googles_high_volume_endpoint_and_no_guessed_account():
    settings = load_settings()
    assert settings.ee_url == HIGH_VOLUME_URL == "https://earthengine-highvolume.googleapis.com"
    assert settings.credentials is None
    assert settings.project is None
    assert settings.max_concurrent == 32
    assert settings.max_per_second is None


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:1", "[::1]:99"])
def test_loopback_means_anonymous_and_the_local_project(monkeypatch, host):
    monkeypatch.setenv("EEFLOW_EE_URL", f"http://{host}/")
    settings = load_settings()
    assert settings.ee_url == f"http://{host}"
    assert settings.credentials == "anonymous"
    assert settings.project == "local-project"


def test_what_is_said_wins_over_the_loopback_defaults(monkeypatch):
    monkeypatch.setenv("EEFLOW_EE_URL", "http://127.0.0.1:8080")
    monkeypatch.setenv("EEFLOW_EE_PROJECT", "mine")
    monkeypatch.setenv("EEFLOW_EE_CREDENTIALS", "key.json")
    settings = load_settings()
    assert settings.project == "mine"
    assert settings.credentials == "key.json"


@pytest.mark.parametrize("url", ["https://localhost.example.org", "http://127.0.0.1.example.org", "https://10.0.0.1"])
def test_other_hosts_are_not_loopback(monkeypatch, url):
    monkeypatch.setenv("EEFLOW_EE_URL", url)
    assert load_settings().credentials is None


def test_settings_are_read_from_a_file_beside_the_work(tmp_path):
    (tmp_path / ".env").write_text("EEFLOW_EE_PROJECT=from-file\nEEFLOW_MAX_CONCURRENT=5\nOTHER=1\n", encoding="utf-8")
    settings = load_settings()
    assert settings.project == "from-file"
    assert settings.max_concurrent == 5
    (tmp_path / ".env").write_text("EEFLOW_EE_PROJECT=edited\n", encoding="utf-8")
    assert load_settings().project == "edited"
    (tmp_path / ".env").unlink()
    assert load_settings().project is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MAX_CONCURRENT", "0", r"^EEFLOW_MAX_CONCURRENT is '0'; it must be greater than or equal to 1$"),
        ("MAX_CONCURRENT", "many", r"^EEFLOW_MAX_CONCURRENT is 'many'; it must be a valid integer"),
        ("MAX_PER_SECOND", "-1", r"^EEFLOW_MAX_PER_SECOND is '-1'; it must be greater than 0$"),
        ("EE_URL", "earthengine.example.org", r"^EEFLOW_EE_URL is 'earthengine.example.org'; it must be `local` or"),
        ("EE_URL", "ftp://x", r"^EEFLOW_EE_URL is 'ftp://x'; it must be"),
        ("EE_URL", "http://[::1", r"^EEFLOW_EE_URL is 'http://\[::1'; it must be"),
        ("EE_URL", "http://", r"^EEFLOW_EE_URL is 'http://'; it must be"),
        ("EE_URL", "http://:80", r"^EEFLOW_EE_URL is 'http://:80'; it must be"),
    ],
)
def test_bad_setting_is_named_with_its_value(monkeypatch, name, value, expected):
    monkeypatch.setenv(f"EEFLOW_{name}", value)
    with pytest.raises(ConfigError, match=expected):
        load_settings()


def test_every_bad_setting_is_named_in_full(monkeypatch):
    monkeypatch.setenv("EEFLOW_MAX_CONCURRENT", "0")
    monkeypatch.setenv("EEFLOW_MAX_PER_SECOND", "0")
    with pytest.raises(ConfigError, match=r"^EEFLOW_MAX_CONCURRENT is '0'.*; EEFLOW_MAX_PER_SECOND is '0'; it must"):
        load_settings()


def test_gate_keeps_its_bound_and_lets_everyone_through():
    gate, lock = Gate(3), threading.Lock()
    inside, most, passed = 0, 0, 0
    together = threading.Barrier(3)

    def go(_):
        nonlocal inside, most, passed
        with gate.slot():
            with lock:
                inside += 1
                most = max(most, inside)
            together.wait(timeout=5)  # three are inside at once, or this breaks
            with lock:
                inside -= 1
                passed += 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(go, range(24)))
    assert most == 3
    assert passed == 24


def test_gate_frees_its_slot_after_an_error():
    gate = Gate(1)
    for _ in range(3):
        with pytest.raises(KeyError), gate.slot():
            raise KeyError
    with gate.slot():
        pass


def test_gate_spaces_the_starts():
    gate, starts = Gate(8, max_per_second=100), []
    lock = threading.Lock()

    def go(_):
        with gate.slot(), lock:
            starts.append(time.monotonic())

    before = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(go, range(11)))
    # The first starts at once and ten more a hundredth of a second apart each.
    assert max(starts) - before >= 0.099
    assert len(starts) == 11


def test_gate_lets_nobody_in_until_the_asked_time_is_over():
    gate = Gate(4)
    before = time.monotonic()
    gate.hold(0.1)
    with gate.slot() as entered:
        assert entered - before >= 0.1


def test_gate_follows_what_it_is_allowed():
    gate, entered = Gate(4), threading.Event()
    gate.allow(0)

    def go():
        with gate.slot():
            entered.set()

    thread = threading.Thread(target=go)
    thread.start()
    gate.wait_until(lambda: gate.wanted > gate.allowed, 5)
    assert (gate.in_flight, gate.wanted, gate.width) == (0, 1, 0)
    gate.allow(9)
    thread.join(5)
    assert entered.is_set()
    assert (gate.wanted, gate.width) == (0, 4)


def test_a_refusal_narrows_the_gate_and_answers_widen_it():
    gate = Gate(8)
    with gate.slot() as first, gate.slot() as second:
        gate.narrow(first)
        gate.narrow(second)  # was under way already, so it tells nothing new
    assert gate.width == 4
    for _ in range(4 + 5 + 6 + 7 + 4):  # a round of answers for each further slot
        gate.widen()
    assert gate.width == 8


def test_request_goes_where_the_rest_reference_says(service):
    service.answers = [(200, {}, b'{"result": [1, null]}')]
    assert session_to(service.url).value(ee.Number(7)) == [1, None]
    path, headers, body = service.asked[0]
    assert path.partition("?")[0] == "/v1/projects/p-1/value:compute"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Goog-User-Project"] == "p-1"
    assert body == {"expression": {"result": "0", "values": {"0": {"constantValue": 7}}}}


def test_429_keeps_its_retry_after(service):
    error = error_for(service, 429, {"Retry-After": "7"}, refusal(429, "Too Many Requests: slow"), TooManyRequests)
    assert error.retry_after == 7
    assert error.status == 429


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_holds_back_the_next_request_whatever_the_error(service, status):
    service.answers = [(status, {"Retry-After": "0.2"}, refusal(status, "slow")), (200, {}, b'{"result": 1}')]
    connection = session_to(service.url)
    with pytest.raises(TransientError):
        connection.value(ee.Number(1))
    refused_at = time.monotonic()
    assert connection.value(ee.Number(1)) == 1
    assert time.monotonic() - refused_at >= 0.19
    assert 0 < connection.quickest < 0.2  # what was waited for at the gate is not the service's time


def test_the_quickest_answer_of_the_run_is_its_latency(service):
    service.answers = [(200, {}, b'{"result": 1}')]
    connection = session_to(service.url)
    assert Pace.of(connection) == Pace(concurrent=4, latency=0.5)  # nothing measured yet
    connection.value(ee.Number(1))
    assert Pace.of(connection).latency == 0.05  # quicker than any service far away
    connection.quickest = 0.8
    assert Pace.of(connection) == Pace(concurrent=4, latency=0.8)
    connection.quickest = 60.0
    assert Pace.of(connection).latency == 5.0


def test_compressed_answers_stay_as_they_came_until_they_are_read(service):
    packed = gzip.compress(b'{"result": [1, null]}')
    service.answers = [(200, {"Content-Encoding": "gzip"}, packed)] * 2
    connection = session_to(service.url)
    with connection.compute(ee.Number(1)) as body:
        assert body == packed
    assert connection.value(ee.Number(1)) == [1, None]
    assert service.asked[0][1]["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"x" * 99)[:-9], b"\x1f\x8b", gzip.compress(b"{}") + b"more"],
    ids=["cut", "two bytes", "more after the end"],
)
def test_damaged_compression_is_a_bad_answer(service, body):
    error_for(service, 200, {"Content-Encoding": "gzip"}, body, BadAnswer)


@pytest.mark.parametrize("header", ["Wed, 21 Oct 2026 07:28:00 GMT", "soon", ""])
def test_other_forms_of_retry_after_are_no_error(service, header):
    error = error_for(service, 429, {"Retry-After": header}, refusal(429, "x"), TooManyRequests)
    assert error.retry_after is None


def test_html_error_body_is_told_by_its_reason(service):
    body = b"<html><body>Service Unavailable, please wait</body></html>"
    error = error_for(service, 503, {"Content-Type": "text/html"}, body, TransientError)
    assert str(error) == "Earth Engine answered 503: Service Unavailable"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error": "text"}', b'{"error": null}', b"{}"])
def test_error_body_of_any_shape_is_read(service, body):
    assert str(error_for(service, 500, {}, body, TransientError)) == "Earth Engine answered 500: Internal Server Error"


def test_cut_body_is_transient(service):
    error = error_for(service, 200, {"Content-Length": "5000"}, b'{"result": [["id"', TransientError)
    assert "did not answer whole" in str(error)


def test_success_that_is_no_json_is_a_bad_answer(service):
    error_for(service, 200, {}, b"<html>welcome</html>", BadAnswer)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"7", b""])
def test_success_without_a_result_is_a_bad_answer(service, body):
    error_for(service, 200, {}, body, BadAnswer)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "User memory limit exceeded.", RequestTooLarge),
        (400, "Image.select: Band pattern 'X' did not match any bands.", RequestError),
        (401, "Request had invalid authentication credentials.", AccessDenied),
        (403, "Project 'p-1' is not registered to use Earth Engine.", AccessDenied),
        (502, "Bad Gateway", TransientError),
    ],
)
def test_refusals_become_their_class(service, status, message, kind):
    assert message in str(error_for(service, status, {}, refusal(status, message), kind))


def test_redirect_is_not_followed(service):
    error_for(service, 302, {"Location": service.url + "/elsewhere"}, b"", RequestError)


def test_an_endpoint_that_never_answered_is_unreachable_and_named():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    connection = session_to(f"http://127.0.0.1:{port}")
    expected = rf"^http://127\.0\.0\.1:{port} cannot be reached: .*refused.*Check EEFLOW_EE_URL"
    with pytest.raises(Unreachable, match=expected):
        connection.value(ee.Number(1))
    assert connection.failures == 1


def test_an_endpoint_that_answered_before_is_only_away(service):
    service.answers = [(200, {}, b'{"result": 1}'), (200, {"Content-Length": "5000"}, b"{")]
    connection = session_to(service.url)
    assert connection.value(ee.Number(1)) == 1
    with pytest.raises(TransientError, match="did not answer whole") as raised:
        connection.value(ee.Number(1))
    assert not isinstance(raised.value, Unreachable)


def test_connecting_asks_nothing(service, monkeypatch):
    monkeypatch.undo()
    session_to(service.url)
    assert service.asked == []


@pytest.mark.parametrize("listed", [[], {"algorithms": [{"noName": 1}]}], ids=["a list", "nameless"])
def test_a_list_of_algorithms_that_is_none_is_a_bad_answer(listed):
    with pytest.raises(BadAnswer, match="no list of algorithms"):
        known_algorithms(listed)


def test_where_the_package_lacks_the_list_earth_engine_is_asked(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(client.resources, "files", lambda _: tmp_path)
    asked = []
    algorithms = known_algorithms(json.loads((Path(ee.__file__).parent / "tests" / "algorithms.json").read_text()))
    settings = Settings(ee_url="http://127.0.0.1:9", ee_project="p-1")
    client.initialise_client(settings, AnonymousCredentials(), lambda: asked.append(1) or algorithms)
    assert asked == [1]


def test_no_project_and_no_key_are_named():
    with pytest.raises(ConfigError, match=r"^No Google Cloud project is set\. Set EEFLOW_EE_PROJECT to one"):
        connect(Settings(ee_credentials="anonymous"))
    with pytest.raises(
        ConfigError, match=r"^EEFLOW_EE_CREDENTIALS names none\.json, which cannot be read: No such file"
    ):
        connect(Settings(ee_project="p-1", ee_credentials="none.json"))


def test_key_that_is_no_key_is_named(tmp_path):
    (tmp_path / "key.json").write_text('{"type": "other"}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"key\.json, which is not a service-account key in JSON form\.$"):
        connect(Settings(ee_project="p-1", ee_credentials="key.json"))


def test_failures_are_counted_and_successes_are_not(service):
    service.answers = [(500, {}, b""), (200, {}, b'{"result": 1}')]
    connection = session_to(service.url)
    with pytest.raises(TransientError):
        connection.value(ee.Number(1))
    assert connection.value(ee.Number(1)) == 1
    assert (connection.requests, connection.failures) == (2, 1)


def test_a_months_budget_is_not_exceeded_by_many_threads(service, make_job):
    """The month is looked at before the first request and again after twenty."""
    service.answers = [(200, {}, b'{"result": 1}')] * 40
    connection = session_to(service.url)
    with metered(make_job(limits={"max_requests_per_month": 33})):
        futures = [connection.threads.submit(connection.value, ee.Number(1)) for _ in range(40)]
        errors = [error for future in futures if (error := future.exception())]
    assert len(service.asked) == connection.requests == 33
    assert {type(error) for error in errors} == {LimitExceeded}
    assert "and this run needs 1 more; limits.max_requests_per_month is 33." in str(errors[0])
