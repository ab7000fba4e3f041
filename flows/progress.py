"""How far a run is, for whoever watches: the command's progress bar, and the run's page in the Prefect UI."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL

_EVERY_SECONDS = 2.0

Watcher = Callable[[str, int, int], None]
"""Called with the stage's name, how much of it is done, and how much there is."""

watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)

stopping: ContextVar[threading.Event | None] = ContextVar("stopping", default=None)
"""Set by whoever runs a flow in another thread, which cannot be interrupted, to stop it."""


def stop_event() -> threading.Event:
    """What stops this run's requests: the event that others know of, or one of its own."""
    return stopping.get() or threading.Event()


class Stage:
    """One countable stage of a run. Safe to advance from many threads."""

    def __init__(self, name: str, total: int):
        self.name, self.total, self.done = name, total, 0
        self._lock = threading.Lock()
        self._watcher = watcher.get()
        self._page = _Page(name)
        self._tell()

    def advance(self) -> None:
        """One more is done."""
        with self._lock:
            self.done += 1
            done = self.done
            self._tell()
        self._page.show(done, self.total)

    def _tell(self) -> None:
        if self._watcher:
            self._watcher(self.name, self.done, self.total)


class _Page:
    """A stage's progress on the run's page: begun when it takes longer than a moment, renewed every few seconds."""

    def __init__(self, name: str):
        context = FlowRunContext.get()
        # A run's temporary server has no pages that anyone could look at meanwhile.
        self._run = context.flow_run.id if context and context.flow_run and PREFECT_API_URL.value() else None
        self._name = name
        self._artifact: UUID | None = None
        self._due = time.monotonic() + _EVERY_SECONDS
        self._busy = threading.Lock()

    def show(self, done: int, total: int) -> None:
        """Tells the server, in the thread that comes when it is time; the others do not wait."""
        ends = done == total and self._artifact is not None
        if self._run is None or not (ends or time.monotonic() >= self._due) or not self._busy.acquire(blocking=ends):
            return
        try:
            with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
                told = {"data": 100 * done / total, "description": f"{self._name}: {done:,} of {total:,}"}
                if self._artifact is None:
                    new = ArtifactCreate(type="progress", flow_run_id=self._run, **told)
                    self._artifact = client.create_artifact(new).id
                else:
                    client.update_artifact(self._artifact, ArtifactUpdate(**told))
        finally:
            self._due = time.monotonic() + _EVERY_SECONDS
            self._busy.release()
