"""The kinds of faults: one function each. Parameters after the answer and the chances are options of a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import orjson

from eelocal import texts
from eelocal.answers import Answer
from eelocal.assets import Assets
from eelocal.errors import EarthEngineError
from eelocal.faults import altering, refusing, staging
from eelocal.quota import project_number
from eelocal.shadow import other_version, without
from eelocal.wire import Delivery

_TABLE = b'{"result":[["id","longitude","latitude","time"'  # how an answer of getRegion begins


def _error(text: str, code: int, retry_after: float | None = None) -> EarthEngineError:
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return EarthEngineError(text, code, headers=headers)


@refusing("429", "too_many_requests")
def too_many_requests(message: str = texts.TOO_MANY_REQUESTS, retry_after: float | None = None) -> Answer:
    """429 by rate or concurrency; recorded."""
    raise _error(message, 429, retry_after)


@refusing("quota_exceeded")
def quota_exceeded(project: str = "local-project", retry_after: float | None = None) -> Answer:
    """429 of a quota per minute; recorded."""
    raise _error(texts.QUOTA_EXCEEDED.format(number=project_number(project)), 429, retry_after)


@refusing("too_many_aggregations")
def too_many_aggregations() -> Answer:
    """429; text documented, status assumed."""
    raise _error(texts.TOO_MANY_AGGREGATIONS, 429)


@refusing("500", "internal_error")
def internal_error(message: str = texts.INTERNAL) -> Answer:
    """500; text recorded."""
    raise _error(message, 500)


@refusing("503", "unavailable")
def unavailable(message: str = texts.UNAVAILABLE, retry_after: float | None = None) -> Answer:
    """503 in Google's usual words."""
    raise _error(message, 503, retry_after)


@refusing("capacity_exceeded")
def capacity_exceeded() -> Answer:
    """503 of a service without memory; text recorded."""
    raise _error(texts.CAPACITY, 503)


@refusing("502", "bad_gateway")
def bad_gateway() -> Answer:
    """502 of a proxy, in HTML."""
    return Answer(b"<html><title>Error 502 (Server Error)</title></html>", "text/html; charset=UTF-8", 502)


@refusing("memory_limit")
def memory_limit() -> Answer:
    """400; recorded."""
    raise _error(texts.MEMORY_LIMIT, 400)


@refusing("timed_out")
def timed_out() -> Answer:
    """400; text recorded."""
    raise _error(texts.TIMED_OUT, 400)


@altering("slow_body")
def slow_body(answer: Answer, random: Random, seconds: float = 5.0) -> Answer:
    """The body comes in pieces over some seconds."""
    return replace(answer, delivery=replace(answer.delivery, seconds=float(seconds)))


@altering("cut_body")
def cut_body(answer: Answer, random: Random, part: float = 0.5) -> Answer:
    """The connection ends before the body that Content-Length promised does."""
    return replace(answer, delivery=replace(answer.delivery, part=min(float(part), 1 - 1e-9)))


@altering("connection_reset")
def connection_reset(answer: Answer, random: Random, part: float = 0.0) -> Answer:
    """The connection is reset before the answer, or after a part of it."""
    return replace(answer, delivery=Delivery(answer.delivery.seconds, min(float(part), 1 - 1e-9), reset=True))


@altering("malformed_json")
def malformed_json(answer: Answer, random: Random, part: float = 0.5) -> Answer | None:
    """An answer of 200 whose JSON ends in the middle."""
    if not answer.type.startswith("application/json"):
        return None
    return replace(answer, body=answer.body[: min(int(len(answer.body) * float(part)), len(answer.body) - 1)])


@altering("no_result")
def no_result(answer: Answer, random: Random) -> Answer | None:
    """An answer of 200 that is an empty object."""
    return replace(answer, body=b"{}") if answer.body.startswith(b'{"result":') else None


def _rows(answer: Answer, change: Callable[[list[list[Any]]], list[list[Any]]]) -> Answer | None:
    """An answer of getRegion with other rows; None if there is none or nothing changed."""
    if not answer.body.startswith(_TABLE):
        return None
    header, *rows = orjson.loads(answer.body)["result"]
    changed = change(rows) if rows else rows
    return None if changed == rows else replace(answer, body=orjson.dumps({"result": [header, *changed]}))


def _chosen(rows: list[list[Any]], random: Random, row: int | None) -> int:
    return random.randrange(len(rows)) if row is None else int(row) % len(rows)


@altering("row_missing")
def row_missing(answer: Answer, random: Random, row: int | None = None) -> Answer | None:
    """One row of getRegion is not there."""

    def change(rows: list[list[Any]]) -> list[list[Any]]:
        at = _chosen(rows, random, row)
        return rows[:at] + rows[at + 1 :]

    return _rows(answer, change)


@altering("row_twice")
def row_twice(answer: Answer, random: Random, row: int | None = None) -> Answer | None:
    """One row of getRegion comes again at the end."""
    return _rows(answer, lambda rows: [*rows, rows[_chosen(rows, random, row)]])


@altering("rows_permuted")
def rows_permuted(answer: Answer, random: Random) -> Answer | None:
    """The rows of getRegion come in another order."""
    return _rows(answer, lambda rows: random.sample(rows, len(rows)))


@altering("wrong_coordinate")
def wrong_coordinate(
    answer: Answer, random: Random, row: int | None = None, column: str = "longitude", by: float = 0.001
) -> Answer | None:
    """One row of getRegion says that it is elsewhere."""

    def change(rows: list[list[Any]]) -> list[list[Any]]:
        at, place = _chosen(rows, random, row), {"longitude": 1, "latitude": 2}[column]
        moved = [value + float(by) if i == place else value for i, value in enumerate(rows[at])]
        return [*rows[:at], moved, *rows[at + 1 :]]

    if column not in ("longitude", "latitude"):
        raise EarthEngineError("The column of the fault 'wrong_coordinate' must be longitude or latitude.")
    return _rows(answer, change)


@staging("scene_version")
def scene_version(assets: Assets, use: Callable[[], None], scene: str = "*", by: int = 1, add: float = 0) -> Assets:
    """A scene has a version that is later by some microseconds, and pixels that differ by `add`."""
    return other_version(assets, scene, int(by), add, use)


@staging("scene_late")
def scene_late(assets: Assets, use: Callable[[], None], scene: str = "*") -> Assets:
    """A scene is not there yet."""
    return without(assets, scene, use)
