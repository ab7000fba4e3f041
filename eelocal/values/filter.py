"""Filters: a test of an element, and what of it a store can use to search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from shapely.geometry.base import BaseGeometry

from eelocal.values.element import Element


@dataclass(frozen=True)
class Query:
    """What is known of the wanted elements before they are made. All wider than or equal to the truth.

    Attributes:
        start_ms: `system:time_start` is at or after this.
        end_ms: `system:time_start` is before this.
        region: the geometry touches this, in longitude and latitude.
        indices: `system:index` is one of these.
    """

    start_ms: float | None = None
    end_ms: float | None = None
    region: BaseGeometry | None = None
    indices: frozenset[str] | None = None

    def both(self, other: Query) -> Query:
        """What satisfies this and the other."""
        starts = [s for s in (self.start_ms, other.start_ms) if s is not None]
        ends = [e for e in (self.end_ms, other.end_ms) if e is not None]
        return Query(
            max(starts, default=None),
            min(ends, default=None),
            _smaller(self.region, other.region),
            _common(self.indices, other.indices),
        )

    def without_index(self) -> Query:
        """The same, for any index."""
        return replace(self, indices=None)


class Measure(float):
    """How far apart the two of a pair are: one that passes, even if it is 0."""

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True, eq=False)
class Filter:
    """A test of elements.

    Attributes:
        test: whether an element passes.
        query: what every element that passes satisfies.
        compare: for two-sided filters (joins), whether a pair passes.
    """

    test: Callable[[Element], bool]
    query: Query = Query()
    compare: Callable[[Element, Element], Any] | None = None


def _smaller(left: BaseGeometry | None, right: BaseGeometry | None) -> BaseGeometry | None:
    # Touching both is not touching the intersection, so one of the two is used: either is a bound.
    if left is None or right is None:
        return right if left is None else left
    return left if left.area <= right.area else right


def _common(left: frozenset[str] | None, right: frozenset[str] | None) -> frozenset[str] | None:
    if left is None or right is None:
        return right if left is None else left
    return left & right
