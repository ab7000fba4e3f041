"""How large a request may be, learnt from refusals: what one request found out holds for all others of its run."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from eeflow.errors import RequestTooLarge
from eeflow.series import Request


@dataclass
class _Size:
    """The largest size, in rows, that is worth sending; whether it has been answered, or is being tried."""

    most: float = math.inf
    works: bool = True
    on_trial: bool = False


class Sizes:
    """The sizes that work, by transport and bands. Safe to use from many threads.

    After a refusal one smaller request goes ahead and others of its kind wait for how it fares, so that a size which is
    still too large is refused once, and not for every request that is under way.
    """

    def __init__(self) -> None:
        self._sizes: dict[tuple[str, tuple[str, ...]], _Size] = {}
        self._news = threading.Condition()

    def admits(self, request: Request) -> bool:
        """Whether a request may be sent as it is; False when it is larger than what works. May wait for a trial."""
        with self._news:
            size = self._of(request)
            self._news.wait_for(lambda: size.works or not size.on_trial or request.rows > size.most)
            if request.rows > size.most:
                return False
            size.on_trial = not size.works
            return True

    @contextmanager
    def attempt(self, request: Request) -> Iterator[None]:
        """Learns from how an admitted request fares, which is sent within this."""
        try:
            yield
        except BaseException as error:
            with self._news:
                size = self._of(request)
                size.on_trial = False
                if isinstance(error, RequestTooLarge):
                    smaller = max(part.rows for part in request.split())
                    if smaller < size.most:
                        size.most, size.works = smaller, False
                self._news.notify_all()
            raise
        with self._news:
            self._of(request).works = True
            self._news.notify_all()

    def _of(self, request: Request) -> _Size:
        return self._sizes.setdefault((request.transport, request.bands), _Size())
