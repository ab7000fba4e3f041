"""Collections: elements made one after the other, only when someone asks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from eelocal.assets import StoredCollection
from eelocal.errors import EarthEngineError
from eelocal.evaluation import current
from eelocal.values.element import Element
from eelocal.values.filter import Filter, Query

MAX_LISTED = 5000  # https://developers.google.com/earth-engine/guides/debugging
ANY = Query()


class Collection(Element):
    """Elements in an order.

    Attributes:
        kind: `ImageCollection` or `FeatureCollection`.
        source: gives the elements; may leave out what does not satisfy the query, never what does.
    """

    def __init__(
        self,
        source: Callable[[Query], Iterator[Any]],
        kind: str = "FeatureCollection",
        properties: Mapping[str, Any] | None = None,
        id: str | None = None,
        version: int | None = None,
    ) -> None:
        super().__init__(properties, id, version)
        self.kind = kind
        self.source = source
        self.counted: Collection | None = None

    def elements(self, query: Query = ANY) -> Iterator[Any]:
        """Elements, at least those that satisfy the query."""
        evaluation = current()
        for element in self.source(query):
            evaluation.check_time()
            yield element

    def count(self) -> int:
        """Number of elements; what only changes elements is not computed for it."""
        return self.counted.count() if self.counted is not None else sum(1 for _ in self.elements())

    def listed(self) -> list[Any]:
        """All elements, up to the number Earth Engine lists."""
        found = list(itertools.islice(self.elements(), MAX_LISTED + 1))
        if len(found) > MAX_LISTED:
            raise EarthEngineError(f"Collection query aborted after accumulating over {MAX_LISTED} elements.")
        return found

    def like(self, source: Callable[[Query], Iterator[Any]], *, keep_id: bool = True) -> Collection:
        """Another collection of the same kind and properties."""
        return Collection(
            source, self.kind, self.properties, self.id if keep_id else None, self.version if keep_id else None
        )

    def filtered(self, condition: Filter) -> Collection:
        """The elements that pass; what a store can search by goes down to it."""

        def source(query: Query) -> Iterator[Any]:
            return (e for e in self.elements(query.both(condition.query)) if condition.test(e))

        return self.like(source)

    def mapped(self, change: Callable[[Element], Any], *, narrow: bool, drop_nulls: bool = False) -> Collection:
        """The results of a function, each under the index of what it was made of.

        Args:
            change: gives the new element, or None.
            narrow: whether a result has the time of its source, or none, and lies inside it, so that a search of
                results can be a search of sources.
            drop_nulls: leave out what became None, else it is an error.
        """

        def source(query: Query) -> Iterator[Any]:
            inner = query if narrow else Query(indices=query.indices)
            for element in self.elements(inner):
                result = _apply(change, element)
                if result is not None:
                    yield result
                elif not drop_nulls:
                    raise EarthEngineError("A mapped algorithm must return an Element, not null.").at("Collection.map")

        result = self.like(source)
        result.counted = None if drop_nulls else self
        return result


def _apply(change: Callable[[Element], Any], element: Element) -> Element | None:
    try:
        result = change(element)
    except EarthEngineError as exc:
        raise EarthEngineError(f"Error in map(ID={element.index}):\n{exc.message}", exc.code) from exc
    if result is None:
        return None
    if not isinstance(result, Element):
        raise EarthEngineError(
            "A mapped algorithm must return a Feature or Image: use map with a function whose result is one."
        ).at("Collection.map")
    return result.set(**{"system:index": element.index}) if result.index != element.index else result


def of_elements(elements: Iterable[Any], kind: str) -> Collection:
    """A collection of elements at hand; those without an index are numbered "0", "1", ..."""
    numbered = tuple(
        element if element.index else element.set(**{"system:index": str(position)})
        for position, element in enumerate(elements)
    )
    return Collection(lambda query: iter(numbered), kind)


def of_stored(stored: StoredCollection, wrap: Callable[[Any], Element]) -> Collection:
    """An asset's collection."""

    def source(query: Query) -> Iterator[Element]:
        if query.indices is not None:
            found = (stored.get(index) for index in sorted(query.indices))
            return (wrap(image) for image in found if image is not None)
        return (wrap(image) for image in stored.search(query.start_ms, query.end_ms, query.region))

    properties = dict(stored.properties)
    version = properties.pop("system:version", None)
    return Collection(source, "ImageCollection", properties, stored.id, version)
