"""What operations share: the assets, what is remembered between requests, and the evaluation of an expression."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eelocal.assets import Assets
from eelocal.errors import EarthEngineError
from eelocal.evaluation import Evaluation
from eelocal.graph import Graph

_KEPT = 1000  # pictures and maps


@dataclass
class Service:
    """The assets, and what must be remembered between requests."""

    assets: Assets
    time_limit: float = 300.0
    _kept: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def evaluation(self) -> Evaluation:
        """State for one request."""
        return Evaluation(self.assets, time.monotonic() + self.time_limit)

    def keep(self, body: dict[str, Any]) -> str:
        """Keeps a request for pictures until they are fetched; the id."""
        identity = secrets.token_hex(16)
        with self._lock:
            self._kept[identity] = body
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return identity

    def kept(self, kind: str, identity: str) -> dict[str, Any]:
        """The request that was kept under an id; 404 if there is none."""
        with self._lock:
            found = self._kept.get(identity)
        if found is None:
            raise EarthEngineError(f"{kind} '{identity[:100]}' not found.", 404)
        return found


def evaluate(body: Mapping[str, Any]) -> Any:
    """The value of a request's expression."""
    if "expression" not in body:
        raise EarthEngineError("The request has no expression.")
    return Graph(body["expression"]).evaluate()
