"""The engine: every request through quota, faults, gate and watch to the operation that answers it."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from eelocal.answers import Answer, Request, error_answer
from eelocal.assets import Assets
from eelocal.errors import Aborted, EarthEngineError
from eelocal.faults import Faults
from eelocal.gate import Gate, share_arenas
from eelocal.identity import Identity
from eelocal.listener import Listener
from eelocal.quota import Limits, Quota
from eelocal.record import Entry, Stats
from eelocal.routes import Route, find_route
from eelocal.service import Service
from eelocal.texts import INTERNAL, MEMORY_LIMIT
from eelocal.watch import Watch

_RECURSION = 20_000
_YOUNG = 100_000  # new objects between looks for garbage: rows are no cycles, and looking takes a sixth longer


@dataclass(frozen=True)
class Pace:
    """How far away the service seems to be.

    Attributes:
        latency: seconds before every request is begun.
        per_mpx: seconds that a million band pixels, or values of getRegion, take to evaluate, at least.
    """

    latency: float = 0.0
    per_mpx: float = 0.0


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
        max_per_second: int | None = None,
        max_per_minute: int | None = None,
        retry_after: float | None = None,
        compute_quota: float | None = None,
        time_limit: float = 300.0,
        workers: int | None = None,
        memory_limit: int | None = 4 * 2**30,
        faults: Any = None,
        oauth: str | Path | bool = False,
        oauth_project: str = "local-project",
        token_lifetime: float = 3600,
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
            per_mpx: seconds that a million band pixels, or values of getRegion, take to evaluate; what this machine
                takes is part of them, for a far service has processors of its own.
            max_concurrent: requests of a project at once; one more gets Earth Engine's 429.
            max_per_second: requests of a project in any second; one more gets Earth Engine's 429.
            max_per_minute: requests of a project in any minute; one more gets the 429 of a quota.
            retry_after: seconds that a 429 tells in a Retry-After header.
            compute_quota: EECU-seconds of a project until it is in restricted mode.
            time_limit: seconds until a request gets "Computation timed out."
            workers: evaluations at once, however many requests there are; None for one a processor, at least two.
            memory_limit: bytes of the process beyond which an evaluation ends with "User memory limit exceeded."
            faults: a plan of faults, see `eelocal.faults.Faults`.
            oauth: ask for credentials; a path is where the key file of the service account is written.
            oauth_project: the project which that account may use.
            token_lifetime: seconds an access token is valid.
            compress: gzip answers for clients that accept it.
        """
        self.assets = collect_assets(data, world, assets)
        self.stats = Stats()
        self.pace = Pace(latency, per_mpx)
        self.quota = Quota(Limits(max_concurrent, max_per_second, max_per_minute, compute_quota, retry_after))
        self.gate = Gate(workers, patience=time_limit)
        self.watch = Watch(time_limit, memory_limit)
        self.faults = Faults(faults)
        self.identity = Identity(oauth_project, token_lifetime) if oauth else None
        self.compress = compress
        self.service = Service(self.assets, time_limit)
        self._key_path = Path(oauth) if isinstance(oauth, (str, Path)) else None
        self._address = (host, port)
        self._server: Listener | None = None
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
        share_arenas(self.gate.workers)
        gc.set_threshold(max(gc.get_threshold()[0], _YOUNG), *gc.get_threshold()[1:])
        self._server = Listener(self._address, self)
        if self.identity is not None and self._key_path is not None:
            self.identity.write_key(self._key_path, self.url)
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
            if self.identity is not None and not route.public:
                self.identity.check(request)
            with self.quota.admitted(request.project):
                answer = self._admitted(route, names, request)
            return operation, self._marked(answer, request), ""
        except Exception as fault:  # noqa: BLE001 - a fault of this server must still be an answer
            error = _as_error(fault)
            return operation, self._marked(error_answer(error), request), error.message

    def _admitted(self, route: Route, names: Mapping[str, str], request: Request) -> Answer:
        def proceed(assets: Assets) -> Answer:
            time.sleep(self.pace.latency)
            begun = time.monotonic()
            answer = self._evaluated(route, names, request, assets)
            remaining = self.pace.per_mpx * answer.pixels / 1e6 - (time.monotonic() - begun)
            time.sleep(max(0.0, remaining))
            return answer

        return self.faults.run(route.operation, request, self.assets, proceed)

    def _evaluated(self, route: Route, names: Mapping[str, str], request: Request, assets: Assets) -> Answer:
        service = self.service if assets is self.assets else replace(self.service, assets=assets)
        if not route.heavy:
            return route.handler(service, request, names)
        with self.gate.slot(), self.watch.over():
            begin = time.thread_time()
            try:
                answer = route.handler(service, request, names)
            finally:
                self.quota.charge(request.project, time.thread_time() - begin)
            self.gate.hold(len(answer.body))
            return replace(answer, held=len(answer.body))

    def _marked(self, answer: Answer, request: Request) -> Answer:
        marks = self.quota.headers(request.project)
        return replace(answer, headers={**answer.headers, **marks}) if marks else answer


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
    if isinstance(fault, Aborted):
        return EarthEngineError(fault.message)
    if isinstance(fault, RecursionError):
        return EarthEngineError("The expression is nested too deeply.")
    if isinstance(fault, MemoryError):
        return EarthEngineError(MEMORY_LIMIT)
    return EarthEngineError(f"{INTERNAL} ({type(fault).__name__}: {fault})", 500)
