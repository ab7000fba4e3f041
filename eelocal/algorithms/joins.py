"""Join: pairs of elements of two collections that satisfy a condition."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from eelocal.algorithms.collection import in_order
from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.collection import Collection
from eelocal.values.element import Element, Feature
from eelocal.values.filter import Filter, Query

Matches = list[tuple[Element, Any]]


@dataclass(frozen=True, eq=False)
class Join:
    """How matches become results: a function of a primary element and its matches (element, measure)."""

    results: Callable[[Element, Matches], Iterator[Element]]
    kind: str | None = None


@algorithm("Join.apply")
def apply(join: Any, primary: Collection, secondary: Collection, condition: Filter) -> Collection:
    """The results of a join, computed when they are asked for."""
    if not isinstance(join, Join):
        raise EarthEngineError("The join must be made by one of the Join algorithms.")
    compare = condition.compare
    if compare is None:
        raise EarthEngineError("The condition of a join must compare a left with a right field.")

    def source(query: Query) -> Iterator[Any]:
        others = list(secondary.elements())
        for element in primary.elements():
            pairs = ((other, compare(element, other)) for other in others)
            yield from join.results(element, [(other, measure) for other, measure in pairs if measure])

    return Collection(source, join.kind or primary.kind)


@algorithm("Join.simple")
def simple() -> Join:
    """Elements that have a match."""
    return Join(lambda element, matches: iter([element] if matches else []))


@algorithm("Join.inverted")
def inverted() -> Join:
    """Elements that have no match."""
    return Join(lambda element, matches: iter([] if matches else [element]))


@algorithm("Join.inner")
def inner(primaryKey: str, secondaryKey: str, measureKey: str | None) -> Join:
    """A feature for every pair."""

    def results(element: Element, matches: Matches) -> Iterator[Element]:
        for number, (other, measure) in enumerate(matches):
            index = {"system:index": f"{element.index}_{other.index or number}"}
            pair = {primaryKey: element, secondaryKey: _measured(other, measureKey, measure)}
            yield Feature(element.geometry, {**index, **pair})

    return Join(results, "FeatureCollection")


@algorithm("Join.saveFirst")
def save_first(matchKey: str, ordering: str | None, ascending: bool, measureKey: str | None, outer: bool) -> Join:
    """Elements with their first match as a property."""
    return _saving(lambda found: found[0] if found else None, matchKey, ordering, ascending, measureKey, outer)


@algorithm("Join.saveAll")
def save_all(matchesKey: str, ordering: str | None, ascending: bool, measureKey: str | None, outer: bool) -> Join:
    """Elements with all their matches as a property."""
    return _saving(lambda found: found, matchesKey, ordering, ascending, measureKey, outer)


@algorithm("Join.saveBest")
def save_best(matchKey: str, measureKey: str, outer: bool) -> Join:
    """Elements with the match of least measure as a property."""

    def results(element: Element, matches: Matches) -> Iterator[Element]:
        if matches:
            best, measure = min(matches, key=lambda pair: float(pair[1]))
            yield element.set(**{matchKey: _measured(best, measureKey, measure)})
        elif outer:
            yield element

    return Join(results)


def _saving(
    choose: Callable[[list[Element]], Any],
    key: str,
    ordering: str | None,
    ascending: bool,
    measure_key: str | None,
    outer: bool,
) -> Join:
    def results(element: Element, matches: Matches) -> Iterator[Element]:
        found = [_measured(other, measure_key, measure) for other, measure in matches]
        if ordering is not None:
            found = in_order(iter(found), ordering, ascending)
        if found or outer:
            yield element.set(**{key: choose(found)})

    return Join(results)


def _measured(element: Element, key: str | None, measure: Any) -> Element:
    return element if key is None else element.set(**{key: float(measure)})
