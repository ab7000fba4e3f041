"""The server: HTTP around the operations of `eelocal.service`, and what is known of the requests."""

from __future__ import annotations

import gzip
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

from eelocal.assets import Assets
from eelocal.errors import EarthEngineError
from eelocal.service import MAX_PAYLOAD, Answer, Request, Service, find_route

_GZIP_FROM = 1024  # bytes; below it a gzip header costs more than it saves
_GZIP_TO = 2**20  # bytes on loopback; 60 MB of JSON take 0.7 s to compress and 0.05 s to send
_STACK = 128 * 2**20  # bytes of address space a thread may use: deep expressions are walked by recursion
_RECURSION = 20_000
_TOO_MANY = "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."


@dataclass(frozen=True)
class Entry:
    """One answered request in the log."""

    operation: str
    method: str
    path: str
    status: int
    seconds: float
    bytes: int
    message: str = ""


@dataclass
class Stats:
    """What was asked, how often, and how many at once."""

    counts: Counter[str] = field(default_factory=Counter)
    log: list[Entry] = field(default_factory=list)
    in_flight: int = 0
    max_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self) -> int:
        """Counts one more in flight; how many there are now."""
        with self.lock:
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            return self.in_flight

    def leave(self, entry: Entry) -> None:
        """Counts one less in flight and logs it."""
        with self.lock:
            self.in_flight -= 1
            self.counts[entry.operation] += 1
            self.log.append(entry)

    def snapshot(self) -> dict[str, Any]:
        """The numbers as JSON."""
        with self.lock:
            return {
                "counts": dict(self.counts),
                "in_flight": self.in_flight,
                "max_in_flight": self.max_in_flight,
                "statuses": dict(Counter(str(entry.status) for entry in self.log)),
                "log": [asdict(entry) for entry in self.log[-1000:]],
            }


@dataclass(frozen=True)
class Pace:
    """How a far and limited service behaves.

    Attributes:
        latency: seconds added to every request.
        per_mpx: seconds added per million band pixels.
        max_concurrent: requests at once; one more is a 429. None for no limit.
    """

    latency: float = 0.0
    per_mpx: float = 0.0
    max_concurrent: int | None = None

    def delay(self, answer: Answer) -> float:
        """Seconds an answer is held back."""
        return self.latency + self.per_mpx * answer.pixels / 1e6


class LocalEarthEngine:
    """A local Earth Engine: serves the REST protocol of the real client until stopped.

    `with LocalEarthEngine() as engine: ee.Initialize(AnonymousCredentials(), url=engine.url, project="local")`
    """

    def __init__(
        self,
        data: Sequence[str | Path] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        world: bool = True,
        *,
        assets: Assets | None = None,
        latency: float = 0.0,
        per_mpx: float = 0.0,
        max_concurrent: int | None = None,
        time_limit: float = 300.0,
        compress: bool = True,
    ) -> None:
        """Prepares the server; `start` opens it.

        Args:
            data: folders of GeoTIFFs, or catalogue files that point to them; they win over the generated world.
            host: address to listen on.
            port: 0 for any that is free.
            world: serve the generated world.
            assets: further assets; these win over all others.
            latency: seconds added to every request.
            per_mpx: seconds added per million band pixels of an answer.
            max_concurrent: requests at once; one more gets Earth Engine's 429.
            time_limit: seconds until a request gets "Computation timed out."
            compress: gzip answers for clients that accept it.
        """
        self.assets = collect_assets(data, world, assets)
        self.stats = Stats()
        self.pace = Pace(latency, per_mpx, max_concurrent)
        self.compress = compress
        self.service = Service(self.assets, time_limit)
        self._address = (host, port)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it serves, without a slash at the end."""
        if self._server is None:
            raise RuntimeError("The server is not running: call start() first.")
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def counts(self) -> Counter[str]:
        """Answered requests by operation."""
        return self.stats.counts

    @property
    def log(self) -> list[Entry]:
        """Answered requests in order."""
        return self.stats.log

    @property
    def max_in_flight(self) -> int:
        """The most requests there were at once."""
        return self.stats.max_in_flight

    def start(self) -> LocalEarthEngine:
        """Serves in a thread of its own; itself."""
        if self._server is not None:
            return self
        sys.setrecursionlimit(max(sys.getrecursionlimit(), _RECURSION))
        self._server = _Server(self._address, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="eelocal", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Closes the server; what is in flight is cut."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> LocalEarthEngine:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, request: Request) -> tuple[str, Answer, str]:
        """The operation's name, the answer, and the message if it is an error."""
        operation = "unknown"
        try:
            route, names = find_route(request.method, request.path)
            operation = route.operation
            if len(request.body) > MAX_PAYLOAD:
                raise EarthEngineError(f"Request payload size exceeds the limit: {MAX_PAYLOAD} bytes.")
            if self.pace.max_concurrent is not None and self.stats.in_flight > self.pace.max_concurrent:
                raise EarthEngineError(_TOO_MANY, 429)
            answer = route.handler(self.service, request, names)
            time.sleep(self.pace.delay(answer))
            return operation, answer, ""
        except Exception as fault:  # noqa: BLE001 - a fault of this server must still be an answer
            error = _as_error(fault)
            return operation, _error_answer(error), error.message


def collect_assets(data: Sequence[str | Path], world: bool, assets: Assets | None) -> Assets:
    """The generated world, then folders, then assets at hand: the later win."""
    from eelocal.folder import load_folder  # noqa: PLC0415 - rasterio is slow to import

    sources: list[Assets] = []
    if world:
        from eelocal.world import world as generated  # noqa: PLC0415 - not needed with --no-world

        sources.append(generated())
    sources += [load_folder(Path(path)) for path in data]
    sources += [assets] if assets is not None else []
    merged = Assets()
    for source in sources:
        merged.collections.update(source.collections)
        merged.images.update(source.images)
    return merged


def _as_error(fault: Exception) -> EarthEngineError:
    """What the caller is told of an exception."""
    if isinstance(fault, EarthEngineError):
        return fault
    if isinstance(fault, RecursionError):
        return EarthEngineError("The expression is nested too deeply.")
    if isinstance(fault, MemoryError):
        return EarthEngineError("User memory limit exceeded.")
    return EarthEngineError(f"An internal error has occurred ({type(fault).__name__}: {fault})", 500)


def _error_answer(error: EarthEngineError) -> Answer:
    return Answer(orjson.dumps(error.body()), status=error.code)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], engine: LocalEarthEngine) -> None:
        self.engine = engine
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the thread of a connection with a stack for deep expressions."""
        before = threading.stack_size(_STACK)
        try:
            super().process_request(request, client_address)
        finally:
            threading.stack_size(before)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no fault worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "eelocal"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are in the engine's log."""

    def _serve(self) -> None:
        engine = self.server.engine
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        body = self._read_body()
        if path == "/_eelocal/stats":
            self._send(Answer(orjson.dumps(engine.stats.snapshot())))
            return
        engine.stats.enter()
        start = time.monotonic()
        entry = Entry("unknown", self.command, path, 500, 0.0, 0)
        try:
            request = Request(self.command, path, dict(parse_qsl(parts.query)), body, self._url())
            operation, answer, message = engine.answer(request)
            entry = Entry(
                operation, self.command, path, answer.status, time.monotonic() - start, len(answer.body), message
            )
        finally:
            engine.stats.leave(entry)
        self._send(answer)

    def _url(self) -> str:
        host = self.headers.get("Host")
        return f"http://{host}" if host else self.server.engine.url

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._read_chunks()
        length = self.headers.get("Content-Length", "0")
        body = self.rfile.read(int(length)) if length.isdecimal() else b""
        if self.headers.get("Content-Encoding") == "gzip":
            return gzip.decompress(body)
        return body

    def _read_chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, answer: Answer) -> None:
        body, headers = self._encoded(answer)
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _encoded(self, answer: Answer) -> tuple[bytes, Mapping[str, str]]:
        headers = {"Content-Type": answer.type, "Server-Timing": "eelocal"}
        body = answer.body
        if self._compresses(answer):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return body, {**headers, "Content-Length": str(len(body))}

    def _compresses(self, answer: Answer) -> bool:
        """JSON for clients that accept it; on loopback only while it is quicker than sending it plainly."""
        size = len(answer.body)
        accepted = "gzip" in self.headers.get("Accept-Encoding", "") and answer.type.startswith("application/json")
        near = self.client_address[0].startswith("127.") or self.client_address[0] == "::1"
        return self.server.engine.compress and accepted and size > _GZIP_FROM and not (near and size > _GZIP_TO)
