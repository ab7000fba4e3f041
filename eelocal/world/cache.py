"""A small store of what was computed last, bounded in bytes, safe to use from many threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that knows how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes."""


T = TypeVar("T", bound=Sized)


class ByteCache(Generic[T]):
    """Least recently used out first. Two threads that want the same thing make it once."""

    def __init__(self, limit: int) -> None:
        """Hold at most `limit` bytes."""
        self._limit = limit
        self._size = 0
        self._items: OrderedDict[Hashable, T] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The item of that key, made now if it is not held."""
        with self._lock:
            found = self._find(key)
            if found is not None:
                return found
            maker = self._making.setdefault(key, threading.Lock())
        with maker:
            with self._lock:
                found = self._find(key)
            if found is None:
                found = make()
                with self._lock:
                    self._keep(key, found)
            return found

    def _find(self, key: Hashable) -> T | None:
        item = self._items.get(key)
        if item is not None:
            self._items.move_to_end(key)
        return item

    def _keep(self, key: Hashable, item: T) -> None:
        self._making.pop(key, None)
        self._items[key] = item
        self._size += item.nbytes
        while self._size > self._limit and len(self._items) > 1:
            _, old = self._items.popitem(last=False)
            self._size -= old.nbytes
