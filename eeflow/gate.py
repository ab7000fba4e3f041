"""How many requests a process may have open: one gate for all its threads, which narrows when Earth Engine says so."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Additive increase, multiplicative decrease, as networks do it: halve when refused, grow by one for each full round of
# answers.
_DECREASE = 0.5
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class Gate:
    """Keeps a process within a number of requests in flight and, if asked, of starts per second.

    A refusal (HTTP 429) is told once and holds for all: the gate narrows to half and lets nobody in for a while, as
    long as Retry-After says or, without it, for a random time that doubles while refusals go on. Answers widen it
    again.

    Attributes:
        peak: the most requests that were in flight at once.
    """

    def __init__(self, max_concurrent: int, max_per_second: float | None = None):
        self.max_concurrent = max_concurrent
        self.peak = 0
        self._interval = 1 / max_per_second if max_per_second else 0.0
        self._width = float(max_concurrent)
        self._open = 0
        self._next_start = 0.0
        self._pause = _FIRST_PAUSE_SECONDS
        self._narrowed_at = 0.0
        self._turn = threading.Condition()

    @property
    def width(self) -> int:
        """Requests that may be in flight now."""
        return max(1, int(self._width))

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Waits for a turn and holds a slot; yields the moment it was given, for `narrow`."""
        with self._turn:
            self._wait()
            self._open += 1
            self.peak = max(self.peak, self._open)
            entered = time.monotonic()
            self._next_start = max(entered, self._next_start) + self._interval
        try:
            yield entered
        finally:
            with self._turn:
                self._open -= 1
                self._turn.notify_all()

    def widen(self) -> None:
        """A request was answered."""
        with self._turn:
            if self._width < self.max_concurrent:
                self._width = min(self.max_concurrent, self._width + 1 / self._width)
                self._turn.notify_all()
            self._pause = _FIRST_PAUSE_SECONDS

    def narrow(self, entered: float, retry_after: float | None) -> None:
        """A request was refused for being one too many.

        Args:
            entered: when it had got its slot: one that was under way when the gate last narrowed tells nothing new.
            retry_after: seconds Earth Engine asked to wait; None when it did not.
        """
        with self._turn:
            now = time.monotonic()
            if entered > self._narrowed_at:
                self._width = max(1.0, self._width * _DECREASE)
                self._narrowed_at = now
                pause = self._pause * random.uniform(0.5, 1.5)
                self._pause = min(_LONGEST_PAUSE_SECONDS, self._pause * 2)
                self._next_start = max(self._next_start, now + pause)
            if retry_after:
                self._next_start = max(self._next_start, now + retry_after)

    def _wait(self) -> None:
        """Until there is room, and it is time; called with the lock held."""
        while True:
            if self._open >= self.width:
                self._turn.wait()
                continue
            early = self._next_start - time.monotonic()
            if early <= 0:
                return
            self._turn.wait(early)
