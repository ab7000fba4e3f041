"""A stand-in Earth Engine for tests: an HTTP service on loopback whose every pixel says where it lies.

It speaks the REST protocol of the real client (discovery, algorithms, value:compute, image:computePixels, one asset),
evaluates expression graphs over `coded_world` scenes, keeps a record of every request, and misbehaves on demand. Put it
in Earth Engine's place with EEFLOW_EE_URL. It shares no code with the product.

    with CodedService([make_collection(...)]) as service:
        service.inject("429", None, "cut")       # the next three pixel requests
        ...                                      # EEFLOW_EE_URL=service.url
        service.region_requests                  # what was asked, answered and counted
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import http.server
import io
import json
import pathlib
import random
import re
import socket
import threading
import time
import urllib.parse

import coded_products  # noqa: F401  makes its algorithms known
import ee
import numpy as np
import orjson
from coded_graph import Evaluator, GraphError, compute_pixels, scene_image, to_json

MAX_BODY = 10_485_760
STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
TRANSIENT = {
    "429": (429, "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."),
    "500": (500, "An internal error has occurred"),
    "503": (503, "Earth Engine memory capacity exceeded."),
}
JSON = "application/json; charset=UTF-8"
ROW_FAULTS = ("missing", "duplicate", "replaced", "shifted", "one_shifted", "moved")


@dataclasses.dataclass
class Recorded:
    """One request.

    Attributes:
        number: its place among all requests, from 1.
        kind: "region", "pixels", "value", "discovery", "algorithms" or "asset".
        body: the JSON body, None for GET.
        key: hash of path and body: two requests with one key asked for the same.
        status: HTTP status of the answer; None while unanswered.
        answered: moment (monotonic) at which the last byte was handed to the network; None if the answer never went
            out whole.
        fault: what was done to it on purpose.
        region: points, bands, images and values of a getRegion.
        message: the error text, if an error was answered.
        called: names of the algorithms in its graph.
        column_width: degrees of longitude between a getRegion's neighbouring pixels.
    """

    number: int
    kind: str
    path: str
    body: dict | None
    key: str
    started: float
    status: int | None = None
    answered: float | None = None
    fault: str | None = None
    region: dict | None = None
    message: str | None = None
    called: frozenset = frozenset()
    column_width: float = 0.0

    @property
    def good(self):
        """Answered whole, with status 200 and nothing spoiled."""
        return self.status == 200 and self.answered is not None and self.fault is None


@functools.cache
def _client_file(name):
    return (pathlib.Path(ee.__file__).parent / "tests" / name).read_text()


class CodedService:
    """The service; a context manager.

    Args:
        coded_collections: the assets it has.
        shuffle: seed by which the rows of each getRegion answer are put out of order; None keeps Earth Engine's order.
        latency: seconds every getRegion and computePixels request waits before its answer.
        keep_index: images of a collection made from a list keep their own system:index instead of "0", "1", ...

    Attributes:
        records: every request so far, in order of arrival.
        unknown: names of algorithms asked for that are not here.
        max_in_flight: the largest number of pixel requests (getRegion, computePixels) under way at one moment.
        always: asset id to a fault for every pixel request on it, after those of `inject` are used up.
    """

    def __init__(self, coded_collections, *, shuffle=None, latency=0.0, keep_index=False):
        self.collections = {c.asset_id: c for c in coded_collections}
        self.shuffle = shuffle
        self.latency = latency
        self.keep_index = keep_index
        self.records = []
        self.unknown = set()
        self.always = {}
        self.max_in_flight = 0
        self._faults = collections.defaultdict(collections.deque)
        self._in_flight = 0
        self._triggers = {}
        self._pixel_count = 0
        self._lock = threading.Condition()
        self._stopping = threading.Event()
        self._server = None
        self._thread = None

    def __enter__(self):
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def url(self):
        """Where it listens: http://127.0.0.1:PORT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def region_requests(self):
        """The getRegion requests so far, in order of arrival."""
        return [record for record in list(self.records) if record.kind == "region"]

    @property
    def pixel_requests(self):
        """Those and the computePixels requests."""
        return [record for record in list(self.records) if record.kind in ("region", "pixels")]

    def count_by_body(self):
        """How often each exact pixel request came: key to count."""
        return collections.Counter(record.key for record in self.pixel_requests)

    def inject(self, *faults, asset=None):
        """Faults for the next getRegion or computePixels requests (on `asset`), one each; None lets one pass.

        "429", "500", "503": that status. "cut": the connection breaks in mid-answer. "truncated": half the body.
        "400:TEXT": that error. "shorter": a computePixels array without its last row. In getRegion's rows only:
        "missing", "duplicate", "replaced" (a row's place taken by another row's copy), "shifted" (all rows, half a
        pixel east), "one_shifted" (one row), "moved" (all rows, a whole pixel east).
        """
        with self._lock:
            self._faults[asset].extend(faults)

    def when_pixels(self, count, phase, action):
        """Run `action()` in the request's own thread when the `count`-th pixel request from now on reaches a phase.

        Phases are "arrives", "half_sent" and "answered"; each trigger fires once.
        """
        with self._lock:
            self._triggers[self._pixel_count + count, phase] = action

    def settle(self, seconds=30):
        """Wait until no pixel request is under way, so that the records say how each one ended."""
        with self._lock:
            if not self._lock.wait_for(lambda: self._in_flight == 0, seconds):
                raise TimeoutError(f"{self._in_flight} requests still under way after {seconds} s")

    def reset(self):
        """Forget requests, faults and triggers."""
        with self._lock:
            self.records.clear()
            self.unknown.clear()
            self._faults.clear()
            self._triggers.clear()
            self.always = {}
            self.max_in_flight = 0

    # What follows is called by the request handler.

    def wait(self, seconds):
        """Hold an answer back; returns at once when the service stops."""
        if seconds:
            self._stopping.wait(seconds)

    def record(self, kind, path, body):
        with self._lock:
            text = json.dumps([path, body], sort_keys=True)
            key = hashlib.sha256(text.encode()).hexdigest()
            found = Recorded(len(self.records) + 1, kind, path, body, key, time.monotonic())
            self.records.append(found)
            return found

    @contextlib.contextmanager
    def in_flight(self):
        with self._lock:
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1
                self._lock.notify_all()

    def next_pixels(self, body):
        """(number of this pixel request, its fault)."""
        text = json.dumps(body)
        with self._lock:
            self._pixel_count += 1
            asset = next((name for name in self.collections if re.search(f'"{re.escape(name)}["/]', text)), None)
            for waiting in (self._faults[asset], self._faults[None]):
                if waiting:
                    return self._pixel_count, waiting.popleft()
            return self._pixel_count, self.always.get(asset)

    def trigger(self, count, phase):
        with self._lock:
            action = self._triggers.pop((count, phase), None)
        if action:
            action()

    def discovery(self):
        """The client's own discovery document, as version v1."""
        document = json.loads(_client_file("cloud_api_discovery_document.json").replace("v1alpha", "v1"))
        document["schemas"].setdefault(
            "ProjectConfig",
            {"id": "ProjectConfig", "type": "object", "properties": {"name": {"type": "string"}}},
        )
        document["resources"]["projects"]["methods"].setdefault(
            "getConfig",
            {
                "id": "earthengine.projects.getConfig",
                "path": "v1/{+name}",
                "flatPath": "v1/projects/{projectsId}/config",
                "httpMethod": "GET",
                "parameterOrder": ["name"],
                "parameters": {
                    "name": {
                        "type": "string",
                        "required": True,
                        "location": "path",
                        "pattern": "^projects/[^/]+/config$",
                    }
                },
                "response": {"$ref": "ProjectConfig"},
            },
        )
        return document

    def algorithms(self):
        """The client's own list of algorithms."""
        return json.loads(_client_file("algorithms.json"))

    def asset(self, name):
        """assets.get."""
        bare = name.removeprefix("projects/earthengine-public/assets/")
        for coded in self.collections.values():
            if coded.asset_id == bare and not coded.single:
                return {"type": "IMAGE_COLLECTION", "name": name, "id": bare}
            for scene in coded.scenes:
                if bare == (coded.asset_id if coded.single else f"{coded.asset_id}/{scene.index}"):
                    return _asset_of(name, bare, scene_image(coded, scene))
        raise GraphError(f"Permission 'earthengine.assets.get' denied on resource '{name}' (or it may not exist).", 403)


def _asset_of(name, bare, image):
    """An image as assets.get describes it: zeros left out."""
    bands = []
    for band in image.bands:
        keys = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
        affine = {k: v for k, v in zip(keys, band.transform, strict=True) if v}
        limits = {k: band.data_type[k] for k in ("min", "max") if band.data_type.get(k)}
        bands.append(
            {
                "id": band.name,
                "dataType": {"precision": band.data_type["precision"].upper()} | ({"range": limits} if limits else {}),
                "grid": {
                    "crsCode": band.crs,
                    "dimensions": {"width": band.dimensions[0], "height": band.dimensions[1]},
                    "affineTransform": affine,
                },
                "pyramidingPolicy": "MEAN",
            }
        )
    start = time.gmtime(image.get("system:time_start") / 1000)
    return {
        "type": "IMAGE",
        "name": name,
        "id": bare,
        "updateTime": "2024-01-01T00:00:00Z",
        "startTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", start),
        "properties": {k: v for k, v in image.properties.items() if not k.startswith("system:")},
        "geometry": image.geometry.info(),
        "bands": bands,
    }


def spoil_rows(rows, fault, seed, column_width):
    """A getRegion answer with one of `ROW_FAULTS` in it; a header alone stays as it is.

    Args:
        rows: the right answer.
        fault: which fault.
        seed: chooses the row.
        column_width: degrees of longitude between neighbouring pixels.
    """
    if len(rows) < 2:
        return rows
    rng = random.Random(seed)
    header, body = rows[0], rows[1:]
    chosen = rng.randrange(len(body))
    if fault == "missing":
        del body[chosen]
    elif fault == "duplicate":
        body.append(list(body[chosen]))
    elif fault == "replaced":
        body[chosen] = list(body[(chosen + 1) % len(body)])
    elif fault in ("shifted", "moved", "one_shifted"):
        step = (1.0 if fault == "moved" else 0.5) * column_width
        for row in body if fault != "one_shifted" else [body[chosen]]:
            row[1] += step
    return [header, *body]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, service):
        self.service = service
        super().__init__(address, _Handler)

    def handle_error(self, request, client_address):
        """A client that goes away (a killed run) is no error of the service's."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """Nothing on stderr."""

    @property
    def service(self):
        return self.server.service

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path == "/$discovery/rest":
            self._reply("discovery", path, self.service.discovery)
        elif path.endswith("/algorithms"):
            self._reply("algorithms", path, self.service.algorithms)
        elif re.fullmatch(r"/v1/projects/[^/]+/config", path):
            self._reply("asset", path, lambda: {"name": path.removeprefix("/v1/")})
        elif path.startswith("/v1/projects/") and "/assets/" in path and ":" not in path:
            self._reply("asset", path, lambda: self.service.asset(path.removeprefix("/v1/")))
        else:
            self._refuse(path)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if length > MAX_BODY:
            record = self.service.record("value", path, None)
            self._error(record, 400, f"Request payload size exceeds the limit: {MAX_BODY} bytes.")
        elif path.endswith("/value:compute"):
            self._compute(path, json.loads(body))
        elif path.endswith("/image:computePixels"):
            self._pixels(path, json.loads(body))
        else:
            self._refuse(path)

    def _refuse(self, path):
        record = self.service.record("refused", path, None)
        self.service.unknown.add(f"{self.command} {path}")
        self._error(record, 404, f"{self.command} {path} is not in the stand-in service.")

    def _reply(self, kind, path, make):
        record = self.service.record(kind, path, None)
        try:
            found = make()
        except GraphError as error:
            self._error(record, error.code, str(error))
        else:
            self._send(record, 200, orjson.dumps(found))

    def _compute(self, path, body):
        kind = "region" if "ImageCollection.getRegion" in json.dumps(body) else "value"
        record = self.service.record(kind, path, body)
        if kind == "region":
            with self.service.in_flight():
                self._region(record)
            return
        answer = self._evaluate(record, lambda evaluator: {"result": to_json(evaluator.run())})
        if answer is not None:
            self._send(record, 200, _dump(answer))

    def _evaluate(self, record, use):
        """What `use(evaluator)` returns; None once an error was answered."""
        evaluator = Evaluator(self.service, record.body["expression"])
        try:
            answer = use(evaluator)
        except GraphError as error:
            record.region = evaluator.region
            self._error(record, error.code, str(error))
            return None
        except Exception as error:  # noqa: BLE001 - a bug in the stand-in must show in the test, not hang the client
            self.service.unknown.add(f"{type(error).__name__}: {error}")
            self._error(record, 400, f"Stand-in service failed: {type(error).__name__}: {error}")
            return None
        record.called = frozenset(evaluator.called)
        record.column_width = evaluator.column_width
        record.region = evaluator.region
        return answer

    def _region(self, record):
        def make(fault, count):
            result = self._evaluate(record, lambda evaluator: evaluator.run())
            if result is None or not (isinstance(result, list) and result and isinstance(result[0], list)):
                return None if result is None else _dump({"result": result})
            if fault in ROW_FAULTS:
                result = spoil_rows(result, fault, count, record.column_width)
            if self.service.shuffle is not None:
                order = np.random.default_rng([self.service.shuffle, count]).permutation(len(result) - 1)
                result = [result[0], *[result[1 + place] for place in order]]
            return _dump({"result": result})

        self._answer(record, make, JSON)

    def _pixels(self, path, body):
        def make(fault, _):
            found = self._evaluate(record, lambda evaluator: compute_pixels(evaluator.run(), body))
            if found is None:
                return None
            out = io.BytesIO()
            np.save(out, found[:-1] if fault == "shorter" else found)
            return out.getvalue()

        record = self.service.record("pixels", path, body)
        with self.service.in_flight():
            if body.get("fileFormat") != "NPY":
                self.service.unknown.add(f"fileFormat {body.get('fileFormat')}")
                self._error(record, 400, f"fileFormat {body.get('fileFormat')} is not in the stand-in service.")
                return
            self._answer(record, make, "application/octet-stream")

    def _answer(self, record, make, content_type):
        """Answer a pixel request with `make(fault, number)`, or as its fault says."""
        count, fault = self.service.next_pixels(record.body)
        record.fault = fault
        self.service.trigger(count, "arrives")
        self.service.wait(self.service.latency)
        if fault in TRANSIENT:
            self._error(record, *TRANSIENT[fault])
            return
        if fault and fault.startswith("400:"):
            self._error(record, 400, fault.removeprefix("400:"))
            return
        payload = make(fault, count)
        if payload is None:
            return
        half = len(payload) // 2
        if fault == "truncated":
            self._send(record, 200, payload[:half], content_type)
            return
        self._start(200, len(payload), content_type)
        record.status = 200
        self.wfile.write(payload[:half])
        self.wfile.flush()
        self.service.trigger(count, "half_sent")
        if fault == "cut":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(payload[half:])
        self.wfile.flush()
        record.answered = time.monotonic()
        self.service.trigger(count, "answered")

    def _error(self, record, code, message):
        record.message = message
        status = STATUS_NAMES.get(code, "UNKNOWN")
        payload = {"error": {"code": code, "message": message, "status": status}}
        self._send(record, code, orjson.dumps(payload))

    def _start(self, code, length, content_type=JSON):
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, record, code, payload, content_type=JSON):
        self._start(code, len(payload), content_type)
        self.wfile.write(payload)
        self.wfile.flush()
        record.status = code
        record.answered = time.monotonic()


def _dump(answer):
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
