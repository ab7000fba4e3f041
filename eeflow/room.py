"""How much memory answers may take that wait to be decoded: they may all come at once, and are decoded one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial


class Room:
    """Bytes that are shared out among answers; one that is larger than all of them has its turn alone."""

    def __init__(self, size: int):
        self.size = size
        self._taken = 0
        self._turn = threading.Condition()

    def answer(self, size: int, read: Callable[[], bytes]) -> Answer:
        """What is read when so many bytes are free, or all are."""
        with self._turn:
            self._turn.wait_for(lambda: not self._taken or self._taken + size <= self.size)
            self._taken += size
        try:
            return Answer(read(), partial(self._free, size))
        except BaseException:
            self._free(size)
            raise

    def _free(self, size: int) -> None:
        with self._turn:
            self._taken -= size
            self._turn.notify_all()


class Answer:
    """The body of an answer, in memory until the end of the `with` that it is for.

    Attributes:
        size: in bytes.
    """

    def __init__(self, body: bytes, free: Callable[[], None]):
        self.size = len(body)
        self._body, self._free = body, free

    def __enter__(self) -> bytes:
        """The body as it came."""
        return self._body

    def __exit__(self, *_error: object) -> None:
        """Lets go of the body and of its room."""
        self._body = b""
        self._free()
