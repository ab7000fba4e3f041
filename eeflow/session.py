"""The one way to Earth Engine: connects to it and sends the `ee` client's expressions.

The client builds the expression graphs; requests go out from here, because the client drops the HTTP status and
the Retry-After header of an error, retries on its own inside every other retry, and decodes answers of 98 MB
with the slowest parser. REST reference: https://developers.google.com/earth-engine/reference/rest
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import ee
import google.auth.exceptions
import orjson
import requests
import urllib3.exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from isal import isal_zlib
from requests.adapters import HTTPAdapter

from eeflow import __version__
from eeflow.client import find_credentials, initialise_client, known_algorithms, sign_in_error
from eeflow.errand import errand
from eeflow.errors import (
    BadAnswer,
    ConfigError,
    RequestError,
    TooManyRequests,
    TransientError,
    Unreachable,
    cause_of,
    request_error,
)
from eeflow.gate import Gate
from eeflow.room import Answer, Room
from eeflow.settings import Settings, load_settings

CONNECT_SECONDS = 20
# Earth Engine ends an interactive request after 5 minutes: https://developers.google.com/earth-engine/guides/usage
ANSWER_SECONDS = 330
# An answer is refused above 100 MiB: https://developers.google.com/earth-engine/guides/usage
_LARGEST_BODY = 128 * 2**20
_USUAL_BODY = 4 * 2**20
# Of bodies that wait to be decoded. The others come as far as the system keeps them, so that the line is not idle.
_ROOM = 16 * 2**20
_GZIP = b"\x1f\x8b"
# The client warns of it too: earthengine-api 1.7, ee/data.py.
_QUOTA_STATUS, _RESTRICTED = "x-earth-engine-quota-status", "parallelism_restricted=true"
_initialising = threading.Lock()
_gates: dict[Settings, Gate] = {}
_sessions: dict[Settings, Session] = {}


class _Threads(ThreadPoolExecutor):
    """Threads in which work has the context, and so the errand, of whoever submitted it."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """As the pool's own."""
        return super().submit(copy_context().run, function, *arguments, **options)


@dataclass
class Session:
    """An initialised connection. Safe to use from many threads.

    Attributes:
        requests: requests sent so far; pixels and listings alike.
        failures: requests that failed so far, for whatever reason.
        answer_seconds: that Earth Engine took to answer them.
        quickest: seconds of the quickest answer so far; None before the first.
        restricted: whether Earth Engine said with its last answer that the project's compute is used up.
        room: for answers that wait to be decoded.
        threads: one for each request that may be in flight, and some more that decode meanwhile.
    """

    settings: Settings
    http: requests.Session
    gate: Gate
    requests: int = 0
    failures: int = 0
    answer_seconds: float = 0.0
    quickest: float | None = None
    restricted: bool = False
    room: Room = field(default_factory=lambda: Room(_ROOM))
    _taken: tuple[int, float] = (0, 0.0)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        """Opens nothing: the threads are made as they are needed."""
        count = self.gate.max_concurrent + (os.cpu_count() or 1)
        self.threads = _Threads(count, thread_name_prefix="earth-engine")

    def compute(self, expression: ee.ComputedObject) -> Answer:
        """The JSON body of the answer to one `value:compute` request, as it came: `unpack` it where it is read.

        It keeps others from coming until the `with` it is for has ended, so that memory stays what it is.

        Raises:
            TransientError: the same request may succeed later.
            RequestTooLarge: it must be split.
            RequestError: Earth Engine refuses it for good.
        """
        return self._send("POST", "value:compute", {"expression": ee.serializer.encode(expression, for_cloud_api=True)})

    def compute_pixels(self, body: dict[str, Any]) -> Answer:
        """The binary body of the answer to one `image:computePixels` request; otherwise as `compute`."""
        return self._send("POST", "image:computePixels", body)

    def algorithms(self) -> Any:
        """What Earth Engine can do, as the client wants to know it; errors as in `compute`."""
        try:
            with self._send("GET", "algorithms") as body:
                return known_algorithms(_json(body))
        except BadAnswer as error:
            raise BadAnswer(f"{self.settings.ee_url} does not answer as Earth Engine does: {error}") from error

    def value(self, expression: ee.ComputedObject) -> Any:
        """The decoded result of one `value:compute` request; errors as in `compute`."""
        with self.compute(expression) as body:
            answer = _json(body)
        try:
            return answer["result"]
        except (KeyError, TypeError):
            raise BadAnswer("Earth Engine's answer is not the JSON object with a result it should be.") from None

    def count_failure(self) -> None:
        """One more request did not bring what was asked for."""
        with self._lock:
            self.failures += 1
            errand.get().count.failures += 1

    @contextmanager
    def new_usage(self) -> Iterator[tuple[int, float]]:
        """Requests begun since this was asked last, and the seconds that Earth Engine took to answer.

        No request begins, and nobody else is told of these, until whoever asks has written them down.
        """
        with self._lock:
            requests, seconds = self.requests, self.answer_seconds
            yield requests - self._taken[0], seconds - self._taken[1]
            self._taken = requests, seconds

    def _send(self, verb: str, method: str, body: dict[str, Any] | None = None) -> Answer:
        url = f"{self.settings.ee_url}/v1/projects/{self.settings.project}/{method}"
        whose = errand.get()
        whose = whose if whose.request_id else whose.of_request()
        if body and whose.tag:
            body = body | {"workloadTag": whose.tag}
        # What computes nothing is not counted by Earth Engine's limit, and goes out while slots are still being leased.
        with self.gate.slot() if body else nullcontext(time.monotonic()) as entered:
            with self._lock:
                whose.admit(self)
                self.requests += 1
                whose.count.requests += 1
            try:
                answer = self._exchange(verb, url, orjson.dumps(body) if body else None, whose.request_id)
                self._answered(time.monotonic() - entered)
            except RequestError as error:
                if isinstance(error, TooManyRequests):
                    self.gate.narrow(entered)
                if isinstance(error, TransientError) and error.retry_after:
                    self.gate.hold(error.retry_after)
                self.count_failure()
                whose.tell(logging.WARNING, "%s failed after %.2f s: %s", method, time.monotonic() - entered, error)
                raise
            finally:
                with self._lock:
                    self.answer_seconds += time.monotonic() - entered
        whose.tell(logging.DEBUG, "%s answered in %.2f s, %d bytes", method, time.monotonic() - entered, answer.size)
        return answer

    def _answered(self, seconds: float) -> None:
        self.gate.widen()
        with self._lock:
            self.quickest = min(seconds, self.quickest or seconds)

    def _exchange(self, verb: str, url: str, body: bytes | None, request_id: str) -> Answer:
        response = None
        try:
            response = self.http.request(
                verb,
                url,
                data=body,
                headers={
                    "Content-Type": "application/json",
                    "X-Goog-User-Project": str(self.settings.project),
                    "X-Request-Id": request_id,
                },
                params={"prettyPrint": "false", "alt": "json"},
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
                stream=True,
            )
            with response:
                answer = self.room.answer(_length(response), lambda: response.raw.read(decode_content=False))
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self._silence(cause_of(error), has_begun=response is not None) from error
        except google.auth.exceptions.GoogleAuthError as error:
            raise sign_in_error(error) from error
        self.restricted = _RESTRICTED in response.headers.get(_QUOTA_STATUS, "")
        if response.status_code != requests.codes.ok:
            with answer as content:
                raise request_error(response.status_code, _message(content, response.reason), _retry_after(response))
        return answer

    def _silence(self, cause: str, has_begun: bool) -> TransientError:
        """The error for no answer, or for one that only has begun."""
        url = self.settings.ee_url
        if self.quickest is None and not has_begun:
            return Unreachable(f"{url} cannot be reached: {cause}. Check EEFLOW_EE_URL and the network.")
        return TransientError(f"{url} did not answer whole: {cause}.")


def unpack(body: bytes) -> bytes:
    """An answer's body without the compression of the line.

    Bodies wait for their turn to be decoded as they came: getRegion's are six times as large when they are unpacked.

    Raises:
        BadAnswer: it is cut or damaged.
    """
    if not body.startswith(_GZIP):
        return body
    size = min(int.from_bytes(body[-4:], "little"), _LARGEST_BODY)  # gzip's last word: its contents' length
    try:
        return isal_zlib.decompress(body, wbits=31, bufsize=max(1, size))
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub says that the class is an instance
        raise BadAnswer(f"Earth Engine's answer is not the gzip it should be: {error}.") from None


def current_session() -> Session:
    """The process's session for the environment's settings, made when first asked for; no request is sent by that.

    Raises:
        ConfigError: the environment lacks a project, or names a key that cannot be read.
        AccessDenied: the client does not accept the credentials.
    """
    settings = load_settings()
    with _initialising:
        if settings not in _sessions:
            _sessions[settings] = connect(settings, current_gate())
        return _sessions[settings]


def known_session() -> Session | None:
    """The session that `current_session` has connected, if it has."""
    return _sessions.get(load_settings())


def current_gate() -> Gate:
    """The gate of `current_session`; it is there before the session is. Raises ConfigError."""
    settings = load_settings()
    return _gates.setdefault(settings, Gate(settings.max_concurrent, settings.max_per_second))


def connect(settings: Settings, gate: Gate | None = None) -> Session:
    """A new session, by default behind a gate of its own; initialises the `ee` client for this process.

    Errors as in `current_session`.
    """
    credentials = find_credentials(settings)
    project = settings.project or getattr(credentials, "quota_project_id", None)
    project = project or getattr(credentials, "project_id", None)
    if not project:
        raise ConfigError(
            "No Google Cloud project is set. Set EEFLOW_EE_PROJECT to one that is registered for Earth Engine "
            "(https://console.cloud.google.com/earth-engine), or EEFLOW_EE_URL=local to try without an account."
        )
    settings = settings.model_copy(update={"ee_project": project})
    http = requests.Session() if isinstance(credentials, AnonymousCredentials) else AuthorizedSession(credentials)
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=settings.max_concurrent, max_retries=0)
    http.mount("https://", adapter)
    http.mount("http://", adapter)
    http.headers.update({"User-Agent": f"eeflow/{__version__} (gzip)", "Accept-Encoding": "gzip"})
    session = Session(settings, http, gate or Gate(settings.max_concurrent, settings.max_per_second))
    initialise_client(settings, credentials, session.algorithms)
    return session


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(unpack(body))
    except orjson.JSONDecodeError:
        raise BadAnswer("Earth Engine's answer is not the JSON it should be.") from None


def _message(content: bytes, reason: str) -> str:
    try:
        return str(_json(content)["error"]["message"])
    except (BadAnswer, KeyError, TypeError):
        return reason or "no message"


def _length(response: requests.Response) -> int:
    """Bytes that a body will have, as far as that is told."""
    told = response.headers.get("Content-Length", "")
    return int(told) if told.isdigit() else _USUAL_BODY


def _retry_after(response: requests.Response) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
