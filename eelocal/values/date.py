"""Dates and ranges of dates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from eelocal.errors import EarthEngineError


@dataclass(frozen=True)
class Date:
    """A moment, in milliseconds since 1970, UTC."""

    ms: float

    @property
    def utc(self) -> datetime:
        """The same moment as a datetime, cut to microseconds."""
        try:
            return datetime.fromtimestamp(math.floor(self.ms) / 1000, UTC)
        except (ValueError, OverflowError, OSError) as exc:
            raise EarthEngineError(f"Date {self.ms} is out of range.") from exc

    def encode(self) -> dict[str, Any]:
        """As `getInfo` prints it."""
        return {"type": "Date", "value": self.ms}


@dataclass(frozen=True)
class DateRange:
    """From start, included, to end, not included."""

    start_ms: float
    end_ms: float

    def contains(self, ms: float) -> bool:
        """Whether a moment is in it."""
        return self.start_ms <= ms < self.end_ms

    @property
    def is_empty(self) -> bool:
        """Whether no moment is in it."""
        return not self.start_ms < self.end_ms

    def encode(self) -> dict[str, Any]:
        """As `getInfo` prints it."""
        return {"type": "DateRange", "dates": [self.start_ms, self.end_ms]}


def parse_iso(text: str) -> Date:
    """`2023-01-01`, `2023-01`, `2023`, or with a time `2023-01-01T12:00:00.5Z`."""
    padded = text.strip()
    if len(padded) == 4:
        padded += "-01-01"
    if len(padded) == 7:
        padded += "-01"
    try:
        moment = datetime.fromisoformat(padded.replace("Z", "+00:00"))
    except ValueError as exc:
        raise EarthEngineError(f"Invalid date '{text}': expected the ISO 8601 format, such as 2023-01-31.") from exc
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Date(round((aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000))


def to_date(value: Any) -> Date:
    """A date from a date, milliseconds or ISO text."""
    if isinstance(value, Date):
        return value
    if isinstance(value, str):
        return parse_iso(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return Date(value)
    raise EarthEngineError(f"Cannot make a date of {str(value)[:100]!r}.")
