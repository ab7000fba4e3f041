"""How far a run is, for whoever watches: the command's progress bar, later others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar

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
        self._tell()

    def advance(self) -> None:
        """One more is done."""
        with self._lock:
            self.done += 1
            self._tell()

    def _tell(self) -> None:
        if self._watcher:
            self._watcher(self.name, self.done, self.total)
