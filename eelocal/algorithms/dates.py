"""Date and DateRange, the part every filter needs."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.date import Date, DateRange, to_date


@algorithm("DateRange")
def date_range(start: Any, end: Any, timeZone: str | None) -> DateRange:  # noqa: N803
    """From start to end, the end not included; one millisecond without an end."""
    first = to_date(start).ms
    last = first + 1 if end is None else to_date(end).ms
    return DateRange(first, last)


@algorithm("Date.millis")
def millis(date: Date) -> float:
    """Milliseconds since 1970."""
    return date.ms


def zone(name: str | None) -> ZoneInfo:
    """A time zone by name, UTC without one."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise EarthEngineError(f"Unknown time zone '{name}'.") from exc
