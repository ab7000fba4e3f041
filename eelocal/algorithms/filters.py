"""Filter: tests of an element's properties and place, which stores can search by where they know how."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from eelocal import registry
from eelocal.algorithms.collection import compare
from eelocal.algorithms.geometries import measured_area, measured_distance
from eelocal.errors import EarthEngineError
from eelocal.promote import type_name
from eelocal.registry import algorithm
from eelocal.union import union_of
from eelocal.values.collection import Collection
from eelocal.values.date import Date, DateRange
from eelocal.values.element import Element
from eelocal.values.filter import Filter, Measure, Query
from eelocal.values.geometry import Geometry, meet, on_every_turn, prepared

Test = Callable[[Any, Any], Any]
_TIME = "system:time_start"


class _Side:
    """One operand: a value given with the filter, or a field of the element."""

    def __init__(self, field: str | None, value: Any, spatial: bool) -> None:
        self.field = field
        self.value = _place(value) if spatial and field is None else value
        self.spatial = spatial

    def of(self, element: Element) -> Any:
        """The operand for an element."""
        if self.field is None:
            return self.value
        if self.spatial:
            return element.geometry if self.field in (".all", ".geo") else _place(element.get(self.field))
        return element.get(self.field) if isinstance(element, Element) else element


def _operands(leftField: Any, rightValue: Any, rightField: Any, leftValue: Any, spatial: bool) -> tuple[_Side, _Side]:
    if (leftField is None) == (leftValue is None):
        raise EarthEngineError("Filter must have exactly one of leftField and leftValue.")
    if (rightField is None) == (rightValue is None):
        raise EarthEngineError("Filter must have exactly one of rightField and rightValue.")
    return _Side(leftField, leftValue, spatial), _Side(rightField, rightValue, spatial)


def _binary(test: Test, query: Callable[[_Side, _Side], Query] | None = None, *, spatial: bool = False) -> Any:
    """A function for a filter of two operands."""

    def make(leftField: Any, rightValue: Any, rightField: Any, leftValue: Any) -> Filter:
        left, right = _operands(leftField, rightValue, rightField, leftValue, spatial)
        bound = query(left, right) if query else Query()
        return Filter(lambda e: bool(test(left.of(e), right.of(e))), bound, lambda a, b: test(left.of(a), right.of(b)))

    def make_with_error(leftField: Any, rightValue: Any, rightField: Any, leftValue: Any, maxError: Any) -> Filter:
        return make(leftField, rightValue, rightField, leftValue)

    return make_with_error if spatial else make


def _known(test: Test) -> Test:
    """A test that fails when a value is missing."""
    return lambda a, b: a is not None and b is not None and test(a, b)


def _equal(a: Any, b: Any) -> bool:
    return bool(getattr(a, "ms", a) == getattr(b, "ms", b))


def _text(test: Callable[[str, str], bool]) -> Test:
    return _known(lambda a, b: isinstance(a, str) and isinstance(b, str) and test(a, b))


def _millis(value: Any) -> float | None:
    value = getattr(value, "ms", value)
    return float(value) if isinstance(value, (int, float)) else None


def _time_query(name: str) -> Callable[[_Side, _Side], Query]:
    """Bounds of a comparison of the time with a number. Ends are not included in a query, so they get 1 ms."""

    def query(left: _Side, right: _Side) -> Query:
        value = _millis(right.value) if left.field == _TIME and right.field is None else None
        if value is None:
            return Query()
        after, before = name in ("gt", "gte", "eq"), name in ("lt", "lte", "eq")
        return Query(start_ms=value if after else None, end_ms=value + 1 if before else None)

    return query


def _equality_query(left: _Side, right: _Side) -> Query:
    if left.field == "system:index" and isinstance(right.value, str):
        return Query(indices=frozenset([right.value]))
    return _time_query("eq")(left, right)


def _index_list_query(left: _Side, right: _Side) -> Query:
    if left.field == "system:index" and isinstance(right.value, list):
        return Query(indices=frozenset(v for v in right.value if isinstance(v, str)))
    return Query()


def _date_test(a: Any, b: Any) -> bool:
    moment = _millis(b)
    return isinstance(a, DateRange) and moment is not None and a.contains(moment)


def _date_query(left: _Side, right: _Side) -> Query:
    if right.field == _TIME and isinstance(left.value, DateRange):
        return Query(left.value.start_ms, left.value.end_ms)
    return Query()


def _place(value: Any) -> Geometry | None:
    if value is None or isinstance(value, Geometry):
        return value
    if isinstance(value, Collection):
        return union_of(value)
    if isinstance(value, Element):
        return value.geometry
    raise EarthEngineError(f"The operand of a spatial filter must be a geometry. Got {str(value)[:100]!r}.")


def _spatial(test: Callable[[Any, Any], bool], unbounded: bool) -> Test:
    def run(a: Geometry | None, b: Geometry | None) -> bool:
        if a is None or b is None:
            return False
        return unbounded if a.unbounded or b.unbounded else bool(test(a.lonlat, b.lonlat))

    return run


def _region_query(left: _Side, right: _Side) -> Query:
    place = right.value if left.field is not None else left.value
    if not isinstance(place, Geometry) or place.unbounded or ".all" not in (left.field, right.field):
        return Query()
    return Query(region=prepared(place.lonlat))


_COMPARISONS: dict[str, Test] = {
    "eq": _known(_equal),
    "neq": lambda a, b: a is None or b is None or not _equal(a, b),
    "lt": _known(lambda a, b: compare(a, b) < 0),
    "lte": _known(lambda a, b: compare(a, b) <= 0),
    "gt": _known(lambda a, b: compare(a, b) > 0),
    "gte": _known(lambda a, b: compare(a, b) >= 0),
    "stringStartsWith": _text(str.startswith),
    "stringEndsWith": _text(str.endswith),
    "stringContains": _text(lambda a, b: b in a),
    "inList": _known(lambda a, b: isinstance(b, list) and any(_equal(a, item) for item in b)),
    "listContains": _known(lambda a, b: isinstance(a, list) and any(_equal(item, b) for item in a)),
}
_QUERIES: dict[str, Callable[[_Side, _Side], Query]] = {
    "eq": _equality_query,
    "inList": _index_list_query,
    **{name: _time_query(name) for name in ("lt", "lte", "gt", "gte")},
}
_ALIASES = {
    "equals": "eq",
    "notEquals": "neq",
    "lessThan": "lt",
    "lessThanOrEquals": "lte",
    "greaterThan": "gt",
    "greaterThanOrEquals": "gte",
}
for _name, _test in _COMPARISONS.items():
    registry.add(f"Filter.{_name}", _binary(_test, _QUERIES.get(_name)))
for _alias, _name in _ALIASES.items():
    registry.add(f"Filter.{_alias}", _binary(_COMPARISONS[_name], _QUERIES.get(_name)))
registry.add("Filter.dateRangeContains", _binary(_date_test, _date_query))
for _name, _holds, _unbounded, _bound in (
    ("intersects", meet, True, _region_query),
    ("disjoint", lambda a, b: not meet(a, b), False, None),
    ("contains", lambda a, b: on_every_turn(a, b).contains(b), True, _region_query),
    ("isContained", lambda a, b: on_every_turn(b, a).contains(a), True, _region_query),
):
    registry.add(f"Filter.{_name}", _binary(_spatial(_holds, _unbounded), _bound, spatial=True))


@algorithm("Filter.maxDifference")
def max_difference(difference: float, leftField: Any, rightValue: Any, rightField: Any, leftValue: Any) -> Filter:
    """Passes numbers that differ by no more; the difference is the measure of a join."""
    left, right = _operands(leftField, rightValue, rightField, leftValue, spatial=False)

    def measure(a: Any, b: Any) -> Any:
        first, second = _millis(a), _millis(b)
        apart = abs(first - second) if first is not None and second is not None else None
        return Measure(apart) if apart is not None and apart <= difference else None

    return Filter(
        lambda e: measure(left.of(e), right.of(e)) is not None, Query(), lambda a, b: measure(left.of(a), right.of(b))
    )


@algorithm("Filter.withinDistance")
def within_distance(
    distance: float, leftField: Any, rightValue: Any, rightField: Any, leftValue: Any, maxError: Any
) -> Filter:
    """Passes geometries that are no farther apart in metres; the distance is the measure of a join."""
    left, right = _operands(leftField, rightValue, rightField, leftValue, spatial=True)

    def measure(a: Geometry | None, b: Geometry | None) -> Any:
        if a is None or b is None:
            return None
        apart = 0.0 if a.unbounded or b.unbounded else measured_distance(a, b, None)
        return Measure(apart) if apart <= distance else None

    return Filter(
        lambda e: measure(left.of(e), right.of(e)) is not None, Query(), lambda a, b: measure(left.of(a), right.of(b))
    )


@algorithm("Filter.hasType")
def has_type(leftField: Any, rightValue: Any, rightField: Any, leftValue: Any) -> Filter:
    """Passes values of a type, such as `Number` or `Image`."""
    left, right = _operands(leftField, rightValue, rightField, leftValue, spatial=False)

    def test(a: Any, b: Any) -> bool:
        name = "Number" if a is not None and type_name(a) in ("Integer", "Long", "Float") else type_name(a)
        return a is not None and b in (name, type_name(a))

    return Filter(lambda e: test(left.of(e), right.of(e)), Query(), lambda a, b: test(left.of(a), right.of(b)))


@algorithm("Filter.area")
def area(min: float, max: float, maxError: Any, geometrySelector: str | None) -> Filter:
    """Passes geometries whose area in square metres is in a range, ends included."""

    def test(element: Element) -> bool:
        place = element.geometry if geometrySelector is None else _place(element.get(geometrySelector))
        return place is not None and min <= measured_area(place, None) <= max

    return Filter(test)


@algorithm("Filter.always")
def always() -> Filter:
    """Everything passes."""
    return Filter(lambda element: True, compare=lambda a, b: True)


@algorithm("Filter.never")
def never() -> Filter:
    """Nothing passes."""
    return Filter(lambda element: False, compare=lambda a, b: False)


@algorithm("Filter.and")
def all_of(filters: list[Any]) -> Filter:
    """Passes what passes every filter."""
    parts = _filters(filters)
    query = Query()
    for part in parts:
        query = query.both(part.query)
    return Filter(lambda e: all(p.test(e) for p in parts), query, lambda a, b: all(_pair(p, a, b) for p in parts))


@algorithm("Filter.or")
def any_of(filters: list[Any]) -> Filter:
    """Passes what passes one of the filters."""
    parts = _filters(filters)
    return Filter(lambda e: any(p.test(e) for p in parts), compare=lambda a, b: any(_pair(p, a, b) for p in parts))


@algorithm("Filter.not")
def negation(filter: Filter) -> Filter:
    """Passes what does not pass."""
    return Filter(lambda e: not filter.test(e), compare=lambda a, b: not _pair(filter, a, b))


@algorithm("Filter.notNull")
def not_null(properties: list[Any]) -> Filter:
    """Passes what has all the properties."""
    return Filter(lambda e: all(e.get(name) is not None for name in properties))


@algorithm("Filter.hasGeometry")
def has_geometry() -> Filter:
    """Passes what has a place."""
    return Filter(lambda e: e.geometry is not None and not e.geometry.shape.is_empty)


@algorithm("Filter.rangeContains")
def range_contains(field: str, minValue: Any, maxValue: Any) -> Filter:
    """Passes a value from min to max, both included."""

    def test(element: Element) -> bool:
        value = element.get(field)
        return value is not None and compare(minValue, value) <= 0 <= compare(maxValue, value)

    low, high = _millis(minValue), _millis(maxValue)
    known = field == _TIME and low is not None and high is not None
    return Filter(test, Query(low, high + 1 if high is not None else None) if known else Query())


@algorithm("Filter.dayOfYear")
def day_of_year(start: int, end: int) -> Filter:
    """Passes days from start to end, the first of January being 1; a range may go over the new year."""
    return _calendar(lambda t: t.timetuple().tm_yday, start, end - 1)


@algorithm("Filter.calendarRange")
def calendar_range(start: int, end: int | None, field: str) -> Filter:
    """Passes times whose year, month, day, ... is from start to end, both included; ranges may wrap."""
    part = _CALENDAR.get(field)
    if part is None:
        raise EarthEngineError(f"Unknown calendar field '{field}'; known are {', '.join(sorted(_CALENDAR))}.")
    return _calendar(part, start, start if end is None else end)


_CALENDAR: dict[str, Callable[[dt.datetime], int]] = {
    "year": lambda t: t.year,
    "month": lambda t: t.month,
    "hour": lambda t: t.hour,
    "minute": lambda t: t.minute,
    "day_of_year": lambda t: t.timetuple().tm_yday,
    "day_of_month": lambda t: t.day,
    "day_of_week": lambda t: t.isoweekday(),
}


def _calendar(part: Callable[[dt.datetime], int], start: int, end: int) -> Filter:
    def test(element: Element) -> bool:
        moment = _millis(element.get(_TIME))
        if moment is None:
            return False
        value = part(Date(moment).utc)
        return start <= value <= end if start <= end else value >= start or value <= end

    return Filter(test)


def _filters(values: list[Any]) -> list[Filter]:
    bad = next((value for value in values if not isinstance(value, Filter)), None)
    if bad is not None:
        raise EarthEngineError(f"Each of the filters must be a Filter. Got {str(bad)[:100]!r}.")
    return values


def _pair(condition: Filter, left: Element, right: Element) -> bool:
    return bool(condition.compare(left, right)) if condition.compare else condition.test(left)
