"""What was asked: a log of requests, and counts."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One answered request in the log.

    Attributes:
        request_id: what the caller calls it, in a header `X-Request-Id`.
    """

    operation: str
    method: str
    path: str
    status: int
    seconds: float
    bytes: int
    message: str = ""
    request_id: str = ""


@dataclass
class Stats:
    """What was asked, how often, and how many at once."""

    counts: Counter[str] = field(default_factory=Counter)
    log: list[Entry] = field(default_factory=list)
    in_flight: int = 0
    max_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self) -> int:
        """Counts one more in flight; how many there are now."""
        with self.lock:
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            return self.in_flight

    def leave(self, entry: Entry) -> None:
        """Counts one less in flight and logs it."""
        with self.lock:
            self.in_flight -= 1
            self.counts[entry.operation] += 1
            self.log.append(entry)

    def snapshot(self) -> dict[str, Any]:
        """The numbers as JSON."""
        with self.lock:
            return {
                "counts": dict(self.counts),
                "in_flight": self.in_flight,
                "max_in_flight": self.max_in_flight,
                "statuses": dict(Counter(str(entry.status) for entry in self.log)),
                "log": [asdict(entry) for entry in self.log[-1000:]],
            }
