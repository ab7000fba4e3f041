"""Ends evaluations that take too long or too much memory, wherever they are.

Evaluations check the time themselves between their steps. What does not come to such a check (a long sort, a loop over
a million elements) is interrupted: the exception is raised in the evaluating thread at its next bytecode. One call into
a compiled library is not interrupted; those are kept small by the limits of each algorithm.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eelocal.errors import Aborted, OutOfMemory, TimedOut

_LOOK = 0.05  # seconds between looks at the memory
_STATM = Path("/proc/self/statm")  # Linux; elsewhere memory is not watched
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(eq=False)
class _Watched:
    thread: int
    begin: float
    deadline: float
    fired: bool = False


class Watch:
    """Looks after the evaluations of one server."""

    def __init__(self, time_limit: float, memory_limit: int | None = None) -> None:
        """Sets the limits.

        Args:
            time_limit: seconds of one evaluation.
            memory_limit: bytes of the process; beyond it the youngest evaluation ends. None for no limit.
        """
        self._time_limit = time_limit
        self._memory_limit = memory_limit
        self._watched: list[_Watched] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self) -> Iterator[None]:
        """Watches what this thread does.

        Raises:
            Aborted: in the midst of it.
        """
        now = time.monotonic()
        watched = _Watched(threading.get_ident(), now, now + self._time_limit)
        with self._changed:
            self._watched.append(watched)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="eelocal watch", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._watched.remove(watched)
                if watched.fired:  # it may not have been raised yet
                    _raise_in(watched.thread, None)

    def _run(self) -> None:
        with self._changed:
            while self._changed.wait_for(lambda: bool(self._watched), timeout=60):
                self._look()
                self._changed.wait(_LOOK)
            self._thread = None

    def _look(self) -> None:
        now = time.monotonic()
        for watched in self._watched:
            if now > watched.deadline:
                _fire(watched, TimedOut)
        if self._memory_limit is not None and resident() > self._memory_limit:
            _fire(max(self._watched, key=lambda watched: watched.begin), OutOfMemory)


def resident() -> int:
    """Bytes of memory the process has; 0 where that cannot be read."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def _fire(watched: _Watched, kind: type[Aborted]) -> None:
    if not watched.fired:
        watched.fired = True
        _raise_in(watched.thread, kind)


def _raise_in(thread: int, kind: type[Aborted] | None) -> None:
    exception = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)
