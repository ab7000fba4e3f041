"""Dates as text in the patterns of Joda-Time: https://www.joda.org/joda-time/apidocs/org/joda/time/format/DateTimeFormat.html."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from eelocal.errors import EarthEngineError

T = TypeVar("T")
_TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")


def _padded(value: Callable[[dt.datetime], int]) -> Callable[[dt.datetime, int], str]:
    return lambda moment, width: f"{value(moment):0{width}d}"


def _year(moment: dt.datetime, width: int) -> str:
    return f"{moment.year % 100:02d}" if width == 2 else f"{moment.year:0{width}d}"


def _month(moment: dt.datetime, width: int) -> str:
    names = {3: f"{moment:%b}", 4: f"{moment:%B}"}
    return names.get(min(width, 4)) or f"{moment.month:0{width}d}"


def _weekday(moment: dt.datetime, width: int) -> str:
    return f"{moment:%A}" if width > 3 else f"{moment:%a}"


_FIELDS: dict[str, Callable[[dt.datetime, int], str]] = {
    "y": _year,
    "Y": _year,
    "x": lambda moment, width: f"{moment.isocalendar().year:0{width}d}",
    "M": _month,
    "d": _padded(lambda t: t.day),
    "D": _padded(lambda t: t.timetuple().tm_yday),
    "w": _padded(lambda t: t.isocalendar().week),
    "e": _padded(lambda t: t.isoweekday()),
    "E": _weekday,
    "H": _padded(lambda t: t.hour),
    "k": _padded(lambda t: t.hour or 24),
    "h": _padded(lambda t: (t.hour - 1) % 12 + 1),
    "K": _padded(lambda t: t.hour % 12),
    "m": _padded(lambda t: t.minute),
    "s": _padded(lambda t: t.second),
    "S": lambda moment, width: f"{moment.microsecond:06d}".ljust(width, "0")[:width],
    "a": lambda moment, width: "AM" if moment.hour < 12 else "PM",
    "Z": lambda moment, width: f"{moment:%z}" if width == 1 else f"{moment:%z}"[:3] + ":" + f"{moment:%z}"[3:],
    "z": lambda moment, width: f"{moment:%Z}",
}
_PARSE = {"y": "year", "Y": "year", "M": "month", "d": "day", "H": "hour", "m": "minute", "s": "second", "D": "doy"}


def format_date(moment: dt.datetime, pattern: str) -> str:
    """A moment in a pattern; text in quotes stays as it is."""
    return "".join(_formatted(token, moment, pattern) for token in _TOKEN.finditer(pattern))


def parse_date(pattern: str, text: str) -> dt.datetime:
    """The moment, without a zone, that a text in a pattern names."""
    expression = "".join(_expected(token, pattern) for token in _TOKEN.finditer(pattern))
    try:
        found = re.fullmatch(expression, text)
    except (re.error, OverflowError) as exc:
        raise EarthEngineError(f"Invalid date format '{pattern[:100]}': {exc}.") from exc
    if found is None:
        raise EarthEngineError(f"Invalid date '{text[:100]}' for the format '{pattern[:100]}'.")
    parts = {name: int(value) for name, value in found.groupdict().items()}
    day_of_year = parts.pop("doy", None)
    try:
        moment = dt.datetime(**{"year": 1970, "month": 1, "day": 1, **parts})  # type: ignore[arg-type]
    except ValueError as exc:
        raise EarthEngineError(f"Invalid date '{text[:100]}': {exc}.") from exc
    return moment if day_of_year is None else moment + dt.timedelta(days=day_of_year - 1)


def _formatted(token: re.Match[str], moment: dt.datetime, pattern: str) -> str:
    if token.group(2):
        return _field(token.group(2), pattern, _FIELDS)(moment, len(token.group(0)))
    if token.group(1) is not None:
        return token.group(1).replace("''", "'") or "'"
    return token.group(0)


def _expected(token: re.Match[str], pattern: str) -> str:
    if token.group(2):
        name = _field(token.group(2), pattern, _PARSE)
        width = len(token.group(0))
        return rf"(?P<{name}>\d{{{width}}})" if width > 1 else rf"(?P<{name}>\d+)"
    literal = token.group(1) if token.group(1) is not None else token.group(0)
    return re.escape(literal.replace("''", "'"))


def _field(letter: str, pattern: str, known: Mapping[str, T]) -> T:
    if letter not in known:
        raise EarthEngineError(f"Illegal pattern component '{letter}' in the date format '{pattern[:100]}'.")
    return known[letter]
