"""HTTP around an engine: connections, bodies, headers. Knows nothing of what is asked."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from eelocal import control, wire
from eelocal.answers import Answer, Request, error_answer
from eelocal.errors import EarthEngineError
from eelocal.identity import TOKEN_PATH
from eelocal.record import Entry
from eelocal.routes import operation_of

if TYPE_CHECKING:
    from eelocal.server import LocalEarthEngine

_GZIP_FROM = 1024  # bytes; below it a gzip header costs more than it saves
_GZIP_TO = 2**20  # bytes on loopback; 60 MB of JSON take 0.7 s to compress and 0.05 s to send
_STACK = 128 * 2**20  # bytes of address space a thread may use: deep expressions are walked by recursion


class Listener(ThreadingHTTPServer):
    """Takes connections for an engine, a thread for each."""

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
    server: Listener

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are in the engine's log."""

    def _serve(self) -> None:
        engine = self.server.engine
        parts = urlsplit(self.path)
        request = Request(
            self.command, unquote(parts.path), dict(parse_qsl(parts.query)), b"", self._url(), self._header_names()
        )
        if request.path.startswith(control.PREFIX):
            self._send(self._controlled(request))
            return
        engine.stats.enter()
        begin = time.monotonic()
        entry = Entry("unknown", self.command, request.path, 500, 0.0, 0)
        try:
            operation, answer, message = self._answered(request)
            entry = Entry(
                operation,
                self.command,
                request.path,
                answer.status,
                time.monotonic() - begin,
                len(answer.body),
                message,
                request.headers.get("x-request-id", ""),
            )
        finally:
            engine.stats.leave(entry)
        try:
            self._send(answer)
        finally:
            engine.gate.drop(answer.held)

    def _controlled(self, request: Request) -> Answer:
        try:
            return control.answer(self.server.engine, replace(request, body=wire.read_body(self)))
        except EarthEngineError as error:
            return error_answer(error)

    def _answered(self, request: Request) -> tuple[str, Answer, str]:
        engine = self.server.engine
        try:
            whole = replace(request, body=wire.read_body(self))
        except EarthEngineError as error:
            return operation_of(request.method, request.path), error_answer(error), error.message
        if engine.identity is not None and (request.method, request.path) == ("POST", TOKEN_PATH):
            return "token", engine.identity.token(whole), ""
        return engine.answer(whole)

    def _header_names(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _url(self) -> str:
        host = self.headers.get("Host")
        return f"http://{host}" if host else self.server.engine.url

    def _send(self, answer: Answer) -> None:
        body, headers = self._encoded(answer)
        wire.send(self, answer.status, headers, body, answer.delivery)

    def _encoded(self, answer: Answer) -> tuple[bytes, Mapping[str, str]]:
        headers = {"Content-Type": answer.type, "Server-Timing": "eelocal", **answer.headers}
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
