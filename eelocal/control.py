"""What a test asks of the server itself, under `/_eelocal/`: what was asked, and which faults there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from eelocal.answers import Answer, Request, error_answer, json_answer, parse_json
from eelocal.errors import EarthEngineError

if TYPE_CHECKING:
    from eelocal.server import LocalEarthEngine

PREFIX = "/_eelocal/"
Control = Callable[["LocalEarthEngine", Request, Mapping[str, str]], Answer]


def answer(engine: LocalEarthEngine, request: Request) -> Answer:
    """The answer to a request of control."""
    try:
        known = [(control, match) for (control, match) in _matches(request.path)]
        if not known:
            raise EarthEngineError(f"The requested URL {request.path[:200]} was not found on this server.", 404)
        for (method, control), match in known:
            if method == request.method:
                return control(engine, request, match.groupdict())
        raise EarthEngineError(f"Method {request.method} is not allowed for {request.path}.", 405)
    except EarthEngineError as error:
        return error_answer(error)


def stats(engine: LocalEarthEngine, request: Request, names: Mapping[str, str]) -> Answer:
    """GET stats: requests, and compute by project."""
    gate = {"workers": engine.gate.workers, "max_evaluating": engine.gate.max_running}
    return json_answer({**engine.stats.snapshot(), **engine.quota.snapshot(), **gate})


def read_faults(engine: LocalEarthEngine, request: Request, names: Mapping[str, str]) -> Answer:
    """GET faults: all of them and their uses."""
    return json_answer(engine.faults.snapshot())


def set_faults(engine: LocalEarthEngine, request: Request, names: Mapping[str, str]) -> Answer:
    """PUT faults: these instead of what there was."""
    engine.faults.set(parse_json(request.body))
    return json_answer(engine.faults.snapshot())


def add_fault(engine: LocalEarthEngine, request: Request, names: Mapping[str, str]) -> Answer:
    """POST faults: one more; its id."""
    entry = request.json()
    if not isinstance(entry.get("kind"), str):
        raise EarthEngineError("A fault must have a kind, a string.")
    return json_answer({"id": engine.faults.add(**entry)})


def clear_faults(engine: LocalEarthEngine, request: Request, names: Mapping[str, str]) -> Answer:
    """DELETE faults: none any more."""
    engine.faults.clear()
    return json_answer({})


def end_fault(engine: LocalEarthEngine, request: Request, names: Mapping[str, str]) -> Answer:
    """DELETE faults/ID: it happens no more, its uses stay readable."""
    engine.faults.end(names["id"])
    return json_answer(engine.faults.snapshot())


_CONTROLS: tuple[tuple[str, str, Control], ...] = (
    ("GET", "stats", stats),
    ("GET", "faults", read_faults),
    ("PUT", "faults", set_faults),
    ("POST", "faults", add_fault),
    ("DELETE", "faults", clear_faults),
    ("DELETE", "faults/(?P<id>[^/]+)", end_fault),
)


def _matches(path: str) -> list[tuple[tuple[str, Control], re.Match[str]]]:
    found = [((method, control), re.fullmatch(PREFIX + pattern, path)) for method, pattern, control in _CONTROLS]
    return [(pair, match) for pair, match in found if match]
