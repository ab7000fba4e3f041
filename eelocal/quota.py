"""What a project may ask: requests at once, requests per time, and compute.

Numbers and their evidence: https://developers.google.com/earth-engine/guides/usage (40 at once, 100 a second, 6,000 a
minute per project); compute and restricted mode: https://developers.google.com/earth-engine/guides/noncommercial_tiers.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from eelocal.errors import EarthEngineError
from eelocal.texts import QUOTA_EXCEEDED, TOO_MANY_REQUESTS

STATUS_HEADER = "x-earth-engine-quota-status"  # ee.data reads it and warns: earthengine-api 1.7, ee/data.py
RESTRICTED_CONCURRENT = 2  # requests at once in restricted mode: assumed, the documentation names no number


@dataclass(frozen=True)
class Limits:
    """What is allowed per project; None for no limit.

    Attributes:
        max_concurrent: requests at once.
        max_per_second: requests started in any second.
        max_per_minute: requests started in any minute.
        compute: EECU-seconds (CPU seconds of evaluation) until a project is in restricted mode.
        retry_after: seconds that a 429 tells in a Retry-After header; None for no header.
    """

    max_concurrent: int | None = None
    max_per_second: int | None = None
    max_per_minute: int | None = None
    compute: float | None = None
    retry_after: float | None = None


class Window:
    """Counts what happened in the last seconds."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self._times: deque[float] = deque()

    def full(self, now: float) -> bool:
        """Whether one more would be too many."""
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        return len(self._times) >= self.limit

    def add(self, now: float) -> None:
        """Counts one."""
        self._times.append(now)


@dataclass
class _Rates:
    """The windows of one project, with what is said when one of them is full."""

    windows: tuple[tuple[Window, str], ...]


@dataclass
class Quota:
    """Admits requests, or refuses them in Earth Engine's words.

    Attributes:
        limits: what is allowed.
        clock: seconds that only grow; tests replace it.
        used: EECU-seconds by project.
    """

    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.monotonic
    used: Counter[str] = field(default_factory=Counter)
    _running: Counter[str] = field(default_factory=Counter)
    _rates: defaultdict[str, _Rates] = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._rates = defaultdict(self._new_rates)

    @contextmanager
    def admitted(self, project: str) -> Iterator[None]:
        """Counts a request while it runs.

        Raises:
            EarthEngineError: 429, for too many at once or in too short a time.
        """
        with self._lock:
            self._admit(project)
            self._running[project] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[project] -= 1

    def charge(self, project: str, seconds: float) -> None:
        """Counts compute."""
        with self._lock:
            self.used[project] += max(0.0, seconds)  # type: ignore[assignment]

    def restricted(self, project: str) -> bool:
        """Whether a project has used up its compute."""
        return self.limits.compute is not None and self.used[project] > self.limits.compute

    def headers(self, project: str) -> Mapping[str, str]:
        """What every answer to a project carries."""
        return {STATUS_HEADER: "parallelism_restricted=true"} if self.restricted(project) else {}

    def snapshot(self) -> dict[str, object]:
        """The numbers as JSON."""
        with self._lock:
            used = dict(self.used)
        return {"compute": used, "restricted": sorted(project for project in used if self.restricted(project))}

    def _admit(self, project: str) -> None:
        now = self.clock()
        if self._running[project] >= self._concurrent(project):
            raise self._refusal(TOO_MANY_REQUESTS)
        windows = self._rates[project].windows
        for window, text in windows:
            if window.full(now):
                raise self._refusal(text.format(number=project_number(project)))
        for window, _ in windows:
            window.add(now)

    def _concurrent(self, project: str) -> float:
        allowed = float("inf") if self.limits.max_concurrent is None else self.limits.max_concurrent
        return min(allowed, RESTRICTED_CONCURRENT) if self.restricted(project) else allowed

    def _refusal(self, text: str) -> EarthEngineError:
        wait = self.limits.retry_after
        return EarthEngineError(text, 429, headers={} if wait is None else {"Retry-After": f"{wait:g}"})

    def _new_rates(self) -> _Rates:
        wanted = (
            (self.limits.max_per_second, 1.0, TOO_MANY_REQUESTS),
            (self.limits.max_per_minute, 60.0, QUOTA_EXCEEDED),
        )
        return _Rates(tuple((Window(limit, seconds), text) for limit, seconds, text in wanted if limit is not None))


def project_number(project: str) -> int:
    """A number of 12 digits that stands for a project in quota messages."""
    return 10**11 + zlib.crc32(project.encode())
