"""One gate on evaluation: however many requests wait, few compute, and few finished answers are in memory."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from eelocal.errors import EarthEngineError
from eelocal.texts import CAPACITY

HELD_BYTES = 256 * 2**20
_M_ARENA_MAX = -8  # glibc's malloc.h


class Gate:
    """Lets a few evaluations run at once, and none begin while too many answers have not been sent.

    Attributes:
        workers: evaluations at once.
        max_running: the most there were.
    """

    def __init__(self, workers: int | None = None, held_bytes: int = HELD_BYTES, patience: float = 300.0) -> None:
        """Opens the gate.

        Args:
            workers: evaluations at once; None for one a processor, at least two.
            held_bytes: bytes of answers not yet sent beyond which no evaluation begins.
            patience: seconds a request waits until it is told that there is no capacity.
        """
        self.workers = workers or max(2, os.cpu_count() or 2)
        self.max_running = 0
        self._held_bytes = held_bytes
        self._patience = patience
        self._running = 0
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Waits for a place, and keeps it.

        Raises:
            EarthEngineError: 503, after waiting too long.
        """
        with self._changed:
            if not self._changed.wait_for(self._open, self._patience):
                raise EarthEngineError(CAPACITY, 503)
            self._running += 1
            self.max_running = max(self.max_running, self._running)
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def hold(self, size: int) -> None:
        """Counts an answer that is in memory."""
        with self._changed:
            self._held += size

    def drop(self, size: int) -> None:
        """Counts an answer that has been sent."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def _open(self) -> bool:
        return self._running < self.workers and self._held < self._held_bytes


def share_arenas(count: int) -> None:
    """Lets threads share few of the allocator's arenas, where it has them (glibc).

    With one for each thread, as glibc likes it, what an evaluation frees stays with its thread: 40 large answers at
    once kept 1.4 GB, and keep 0.5 GB so.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, count)
    except (OSError, AttributeError, TypeError):
        return
