"""What the HTTP layer and the operations hand to one another: a request and its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from eelocal.errors import EarthEngineError
from eelocal.wire import WELL, Delivery

_PROJECT = re.compile(r"/v1/projects/([^/:]+)")
_SHARED = ("earthengine-public", "earthengine-legacy")  # projects that own public assets; nobody's quota


@dataclass(frozen=True)
class Request:
    """What the HTTP layer knows of a request; header names are in lower case."""

    method: str
    path: str
    parameters: Mapping[str, str]
    body: bytes
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The body as an object."""
        body = parse_json(self.body)
        if not isinstance(body, dict):
            raise EarthEngineError("Invalid JSON payload received: the body must be an object.")
        return body

    @property
    def projects(self) -> tuple[str, ...]:
        """The projects a request is counted on: the one its header names, and the one of its path."""
        named = self.headers.get("x-goog-user-project")
        in_path = _PROJECT.match(self.path)
        found = [named, in_path.group(1) if in_path else None]
        return tuple(dict.fromkeys(project for project in found if project and project not in _SHARED))

    @property
    def project(self) -> str:
        """The first of them, or nothing."""
        return next(iter(self.projects), "")


@dataclass(frozen=True)
class Answer:
    """Status, media type and bytes.

    Attributes:
        pixels: band pixels or values in it.
        headers: further ones.
        delivery: how it is sent.
        held: bytes counted by the gate until it has been sent.
    """

    body: bytes
    type: str = "application/json; charset=UTF-8"
    status: int = 200
    pixels: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = WELL
    held: int = 0


def json_answer(body: Any, status: int = 200) -> Answer:
    """JSON as an answer."""
    return Answer(orjson.dumps(body), status=status)


def error_answer(error: EarthEngineError) -> Answer:
    """An error as an answer."""
    return Answer(orjson.dumps(error.body()), status=error.code, headers=error.headers)


def parse_json(body: bytes) -> Any:
    """JSON of any depth; NaN and what is not JSON are a 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "recursion" not in str(error).lower():
            raise EarthEngineError(f"Invalid JSON payload received: {error}.") from error
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise EarthEngineError("Invalid JSON payload received: it is nested too deeply or not JSON.") from error


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
