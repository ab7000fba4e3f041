"""What one request needs while it is evaluated: the assets, a time limit, and pixels already made."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from eelocal.assets import Assets
from eelocal.errors import TimedOut

T = TypeVar("T")
TIME_LIMIT = 300.0  # seconds of an interactive request: https://developers.google.com/earth-engine/guides/usage
_CACHE_BYTES = 96 * 2**20


@dataclass
class Evaluation:
    """State of one request; lives in one thread."""

    assets: Assets
    deadline: float = field(default_factory=lambda: time.monotonic() + TIME_LIMIT)
    cache: OrderedDict[Any, tuple[Any, int]] = field(default_factory=OrderedDict)
    cached_bytes: int = 0
    pixels: int = 0

    def check_time(self) -> None:
        """Raises Earth Engine's own error when the request has taken too long."""
        if time.monotonic() > self.deadline:
            raise TimedOut

    def remember(self, key: Any, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value of a key, made once unless the cache has run over."""
        found = self.cache.get(key)
        if found is not None:
            self.cache.move_to_end(key)
            return found[0]  # type: ignore[no-any-return]
        value = make()
        self._store(key, value, size(value))
        return value

    def _store(self, key: Any, value: Any, size: int) -> None:
        self.cache[key] = (value, size)
        self.cached_bytes += size
        while self.cached_bytes > _CACHE_BYTES and len(self.cache) > 1:
            _, (_, dropped) = self.cache.popitem(last=False)
            self.cached_bytes -= dropped


_current: ContextVar[Evaluation] = ContextVar("eelocal_evaluation")


def current() -> Evaluation:
    """The evaluation this thread is in."""
    return _current.get()


@contextmanager
def evaluating(evaluation: Evaluation) -> Iterator[Evaluation]:
    """Makes an evaluation current."""
    token = _current.set(evaluation)
    try:
        yield evaluation
    finally:
        _current.reset(token)
