"""Inline SVG: elements whose texts are escaped, scales and round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup, escape


def element(name: str, *content: object, **attributes: object) -> Markup:
    """An element; texts and values are escaped, `_` in names is `-`, and attributes that are None are left out."""
    given = (
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(escape(part) for part in content)
    return Markup(f"<{name}{''.join(given)}>{inner}</{name}>")


def drawing(width: float, height: float, parts: Iterable[Markup], label: str) -> Markup:
    """The whole picture; `label` says what it shows to those who do not see it."""
    box = f"0 0 {_short(width)} {_short(height)}"
    return element("svg", *parts, viewBox=box, role="img", aria_label=label, xmlns="http://www.w3.org/2000/svg")


def text(words: object, x: float, y: float, anchor: str = "start", class_: str | None = None) -> Markup:
    """A line of text."""
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


@dataclass(frozen=True)
class Scale:
    """A number's place on an axis: from `low` to `high` it goes from `start` to `end` pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixels."""
        return self.start + (value - self.low) / ((self.high - self.low) or 1.0) * (self.end - self.start)


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` round numbers from `low` to `high`: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(
        power * m for m in (1, 2, 5, 10, 20) if math.floor(high / (power * m)) - math.ceil(low / (power * m)) < most
    )
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def date_ticks(start: float, end: float, most: int) -> list[tuple[datetime, str]]:
    """Days to mark between two times in seconds, at most `most`, and their names.

    Firsts of months, each or every second, third, ...; single days where fewer than two of those are in between.
    """
    first, last = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month + 1)
    every = next(n for n in (1, 2, 3, 6, 12, 24, 60, 120, 1200) if len(months) / n <= most)
    days = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months if month % every == 0]
    named = [(day, f"{day:%b %Y}" if day.month == 1 else f"{day:%b}") for day in days if first <= day <= last]
    if len(named) > 1:
        return named
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    every = max(1, math.ceil((last - midnight) / timedelta(days=most)))
    count = max(0, math.ceil((last - midnight) / timedelta(days=every)))
    return [(day, f"{day:%-d %b}") for day in (midnight + n * timedelta(days=every) for n in range(count))]


def _short(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
