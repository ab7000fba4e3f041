"""How many requests a process may have open: one gate for all its threads, which narrows when Earth Engine says so."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Additive increase, multiplicative decrease, as networks do it: halve when refused, grow by one for each full round of
# answers.
_DECREASE = 0.5
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# Retry-After is obeyed up to this: a run that stands still for longer looks dead.
_LONGEST_WISH_SECONDS = 600.0


class Gate:
    """Keeps a process within a number of requests in flight and, if asked, of starts per second.

    A refusal (HTTP 429) is told once and holds for all: the gate narrows to half and lets nobody in for a while, for a
    random time that doubles while refusals go on. Answers widen it again. A wish to be left alone (Retry-After) holds
    for all as well, whatever the error it came with.

    Attributes:
        max_concurrent: the most that may ever be in flight.
        peak: the most requests that were in flight at once.
    """

    def __init__(self, max_concurrent: int, max_per_second: float | None = None):
        self.max_concurrent = max_concurrent
        self.peak = 0
        self._allowed = max_concurrent
        self._interval = 1 / max_per_second if max_per_second else 0.0
        self._width = float(max_concurrent)
        self._open = 0
        self._waiting = 0
        self._next_start = 0.0
        self._pause = _FIRST_PAUSE_SECONDS
        self._narrowed_at = 0.0
        self._turn = threading.Condition()

    @property
    def width(self) -> int:
        """Requests that may be in flight now."""
        return min(self._allowed, max(1, int(self._width)))

    @property
    def allowed(self) -> int:
        """What `allow` said last."""
        return self._allowed

    @property
    def in_flight(self) -> int:
        """Requests that are in flight."""
        return self._open

    @property
    def wanted(self) -> int:
        """Requests that would be in flight if nothing but `max_concurrent` held them back."""
        return min(self.max_concurrent, self._open + self._waiting)

    def allow(self, count: int) -> None:
        """From now on at most so many may be in flight; those that are, end as they would."""
        with self._turn:
            self._allowed = min(count, self.max_concurrent)
            self._turn.notify_all()

    def wait_until(self, happened: Callable[[], bool], seconds: float) -> None:
        """Returns when it has happened, looking whenever something changes here; or after so many seconds."""
        with self._turn:
            self._turn.wait_for(happened, seconds)

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Waits for a turn and holds a slot; yields the moment it was given, for `narrow`."""
        with self._turn:
            self._waiting += 1
            self._turn.notify_all()
            try:
                self._wait()
            finally:
                self._waiting -= 1
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

    def narrow(self, entered: float) -> None:
        """A request was refused for being one too many.

        Args:
            entered: when it had got its slot: one that was under way when the gate last narrowed tells nothing new.
        """
        with self._turn:
            now = time.monotonic()
            if entered > self._narrowed_at:
                self._width = max(1.0, min(self._width, self._allowed) * _DECREASE)
                self._narrowed_at = now
                pause = self._pause * random.uniform(0.5, 1.5)
                self._pause = min(_LONGEST_PAUSE_SECONDS, self._pause * 2)
                self._next_start = max(self._next_start, now + pause)

    def hold(self, seconds: float) -> None:
        """Lets nobody in for so long, as Earth Engine asked with Retry-After."""
        with self._turn:
            self._next_start = max(self._next_start, time.monotonic() + min(seconds, _LONGEST_WISH_SECONDS))

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
