"""Date and DateRange: moments, their parts, and steps from one to another."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import calendar
import datetime as dt
import math
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from eelocal.dateformat import format_date, parse_date
from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.date import Date, DateRange, to_date

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Average lengths in milliseconds: a year is 365.2425 days, a month a twelfth of it.
_UNITS = {
    "year": 31_556_952_000.0,
    "month": 2_629_746_000.0,
    "week": 604_800_000.0,
    "day": 86_400_000.0,
    "hour": 3_600_000.0,
    "minute": 60_000.0,
    "second": 1000.0,
    "millisecond": 1.0,
}
_UNBOUNDED = DateRange(-math.inf, math.inf)


@algorithm("Date")
def make(value: Any, timeZone: str | None) -> Date:
    """A date of milliseconds, a date, or ISO text."""
    found = to_date(value)
    if timeZone is None or not isinstance(value, str):
        return found
    local = found.utc.replace(tzinfo=_zone(timeZone))
    return _date(local)


@algorithm("Date.fromYMD")
def from_ymd(year: int, month: int, day: int, timeZone: str | None) -> Date:
    """Midnight of a day."""
    return _made(year, month, day, 0, 0, 0.0, timeZone)


@algorithm("Date.parse")
def parse(format: str, date: str, timeZone: str | None) -> Date:
    """A date of text in a pattern of Joda-Time."""
    return _date(parse_date(format, date).replace(tzinfo=_zone(timeZone)))


@algorithm("Date.format")
def format_text(date: Date, format: str | None, timeZone: str | None) -> str:
    """A date as text, in a pattern of Joda-Time; ISO 8601 without one."""
    return format_date(_local(date, timeZone), format or "YYYY-MM-dd'T'HH:mm:ss")


@algorithm("Date.millis")
def millis(date: Date) -> float:
    """Milliseconds since 1970."""
    return date.ms


@algorithm("Date.advance")
def advance(date: Date, delta: float, unit: str, timeZone: str | None) -> Date:
    """A date later by some units; months and years by the calendar."""
    name = unit_name(unit)
    if name not in ("year", "month"):
        return Date(date.ms + delta * _UNITS[name])
    months = delta * (12 if name == "year" else 1)
    whole = math.floor(months)
    moved = _add_months(_local(date, timeZone), whole)
    return Date(_date(moved).ms + (months - whole) * _UNITS["month"])


@algorithm("Date.difference")
def difference(date: Date, start: Date, unit: str) -> float:
    """Units from start to date, by their average length."""
    return (date.ms - start.ms) / _UNITS[unit_name(unit)]


@algorithm("Date.unitRatio")
def unit_ratio(numerator: str, denominator: str) -> float:
    """How many of one unit are in another."""
    return _UNITS[unit_name(numerator)] / _UNITS[unit_name(denominator)]


@algorithm("Date.get")
def get(date: Date, unit: str, timeZone: str | None) -> int:
    """A part of a date, as the calendar has it."""
    return _PARTS[unit_name(unit)](_local(date, timeZone))


@algorithm("Date.getRelative")
def get_relative(date: Date, unit: str, inUnit: str, timeZone: str | None) -> int:
    """How many whole units have passed since the larger unit began."""
    local = _local(date, timeZone)
    start = _floor(local, unit_name(inUnit))
    if unit_name(unit) == "month":
        return (local.year - start.year) * 12 + local.month - start.month
    return math.floor((local - start) / dt.timedelta(milliseconds=_UNITS[unit_name(unit)]))


@algorithm("Date.getFraction")
def get_fraction(date: Date, unit: str, timeZone: str | None) -> float:
    """Which part of a unit has passed."""
    local, name = _local(date, timeZone), unit_name(unit)
    start = _floor(local, name)
    return (local - start) / (_next(start, name) - start)


@algorithm("Date.getRange")
def get_range(date: Date, unit: str, timeZone: str | None) -> DateRange:
    """The unit a date is in, from its start to its end."""
    name = unit_name(unit)
    start = _floor(_local(date, timeZone), name)
    return DateRange(_date(start).ms, _date(_next(start, name)).ms)


@algorithm("Date.update")
def update(
    date: Date,
    year: int | None,
    month: int | None,
    day: int | None,
    hour: int | None,
    minute: int | None,
    second: float | None,
    timeZone: str | None,
) -> Date:
    """A date with some parts changed."""
    now = _local(date, timeZone)

    def part(new: Any, old: Any) -> Any:
        return old if new is None else new

    seconds = part(second, now.second + now.microsecond / 1e6)
    ymd = (part(year, now.year), part(month, now.month), part(day, now.day))
    return _made(*ymd, part(hour, now.hour), part(minute, now.minute), seconds, timeZone)


@algorithm("DateRange")
def date_range(start: Any, end: Any, timeZone: str | None) -> DateRange:
    """From start to end, the end not included; one millisecond without an end; a range is itself."""
    if isinstance(start, DateRange) and end is None:
        return start
    first = make(start, timeZone).ms
    return DateRange(first, first + 1 if end is None else make(end, timeZone).ms)


@algorithm("DateRange.unbounded")
def unbounded() -> DateRange:
    """All time."""
    return _UNBOUNDED


@algorithm("DateRange.start")
def start(dateRange: DateRange) -> Date:
    """The first moment."""
    return Date(dateRange.start_ms)


@algorithm("DateRange.end")
def end(dateRange: DateRange) -> Date:
    """The moment after the last."""
    return Date(dateRange.end_ms)


@algorithm("DateRange.contains")
def contains(dateRange: DateRange, other: Any) -> bool:
    """Whether a date or a range is inside."""
    if isinstance(other, DateRange):
        return dateRange.start_ms <= other.start_ms and other.end_ms <= dateRange.end_ms
    return dateRange.contains(to_date(other).ms)


@algorithm("DateRange.intersects")
def intersects(dateRange: DateRange, other: DateRange) -> bool:
    """Whether two ranges share a moment."""
    return dateRange.start_ms < other.end_ms and other.start_ms < dateRange.end_ms


@algorithm("DateRange.intersection")
def intersection(dateRange: DateRange, other: DateRange) -> DateRange:
    """What two ranges share."""
    return DateRange(max(dateRange.start_ms, other.start_ms), min(dateRange.end_ms, other.end_ms))


@algorithm("DateRange.union")
def union(dateRange: DateRange, other: DateRange) -> DateRange:
    """The range around two ranges."""
    return DateRange(min(dateRange.start_ms, other.start_ms), max(dateRange.end_ms, other.end_ms))


@algorithm("DateRange.isEmpty")
def is_empty(dateRange: DateRange) -> bool:
    """Whether there is no moment in it."""
    return dateRange.is_empty


@algorithm("DateRange.isUnbounded")
def is_unbounded(dateRange: DateRange) -> bool:
    """Whether it is all time."""
    return dateRange == _UNBOUNDED


def unit_name(unit: str) -> str:
    """A unit without the s of the plural; 400 for one that is not known."""
    name = unit.lower().removesuffix("s")
    if name not in _UNITS:
        raise EarthEngineError(f"Unknown unit '{unit[:50]}'; known are {', '.join(_UNITS)}.")
    return name


_PARTS: dict[str, Callable[[dt.datetime], int]] = {
    "year": lambda t: t.year,
    "month": lambda t: t.month,
    "week": lambda t: t.isocalendar().week,
    "day": lambda t: t.day,
    "hour": lambda t: t.hour,
    "minute": lambda t: t.minute,
    "second": lambda t: t.second,
    "millisecond": lambda t: t.microsecond // 1000,
}


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise EarthEngineError(f"Unknown time zone '{str(name)[:50]}'.") from exc


def _local(date: Date, zone: str | None) -> dt.datetime:
    return date.utc.astimezone(_zone(zone))


def _date(moment: dt.datetime) -> Date:
    return Date(round((moment - _EPOCH) / dt.timedelta(milliseconds=1)))


def _made(year: int, month: int, day: int, hour: int, minute: int, second: float, zone: str | None) -> Date:
    try:
        midnight = dt.datetime(year, month, day, hour, minute, tzinfo=_zone(zone))
        return _date(midnight + dt.timedelta(seconds=second))
    except (ValueError, OverflowError) as exc:
        raise EarthEngineError(f"Invalid date: {exc}.") from exc


def _add_months(moment: dt.datetime, months: int) -> dt.datetime:
    count = moment.year * 12 + moment.month - 1 + months
    year, month = divmod(count, 12)
    if not 1 <= year <= 9999:
        raise EarthEngineError(f"The year {year} is out of range.")
    last = calendar.monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last))


def _floor(moment: dt.datetime, unit: str) -> dt.datetime:
    if unit == "week":
        midnight = _floor(moment, "day")
        return midnight - dt.timedelta(days=midnight.weekday())
    parts: dict[str, Any] = {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    order = ("year", "month", "day", "hour", "minute", "second", "millisecond")
    names = ("month", "day", "hour", "minute", "second", "microsecond")
    return moment.replace(**{name: parts[name] for name in names[order.index(unit) :]})


def _next(start: dt.datetime, unit: str) -> dt.datetime:
    if unit in ("year", "month"):
        return _add_months(start, 12 if unit == "year" else 1)
    return start + dt.timedelta(milliseconds=_UNITS[unit])
