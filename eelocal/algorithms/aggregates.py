"""AggregateFeatureCollection and Collection.reduceColumns: statistics over properties."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

from eelocal import registry
from eelocal.algorithms.collection import sort_key
from eelocal.algorithms.lists import text_of
from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.collection import Collection
from eelocal.values.reducer import Reducer


def _values(collection: Collection, name: str) -> list[Any]:
    found = (element.get(name) for element in collection.elements())
    return [value for value in found if value is not None]


def _numbers(collection: Collection, name: str) -> list[float]:
    values = [getattr(value, "ms", value) for value in _values(collection, name)]
    bad = next((value for value in values if not isinstance(value, (int, float))), None)
    if bad is not None:
        raise EarthEngineError(f"Property '{name}' must be a number. Got {str(bad)[:100]!r}.")
    return values


def _product(values: list[float]) -> float:
    result = 1.0
    for value in values:
        result *= value
    return result


def _stats(values: list[float]) -> dict[str, Any]:
    mean = sum(values) / len(values) if values else 0
    return {
        "max": max(values, default=None),
        "mean": mean,
        "min": min(values, default=None),
        "sample_sd": _spread(statistics.stdev, values),
        "sample_var": _spread(statistics.variance, values),
        "sum": sum(values),
        "sum_sq": sum(value * value for value in values),
        "total_count": len(values),
        "total_sd": _spread(statistics.pstdev, values),
        "total_var": _spread(statistics.pvariance, values),
        "valid_count": len(values),
        "weight_sum": len(values),
        "weighted_sum": sum(values),
    }


def _spread(function: Callable[[list[float]], float], values: list[float]) -> float:
    return function(values) if len(values) > 1 else 0.0


_NUMERIC: dict[str, Callable[[list[float]], Any]] = {
    "mean": lambda values: sum(values) / len(values) if values else None,
    "sum": sum,
    "product": _product,
    "sample_sd": lambda values: _spread(statistics.stdev, values),
    "sample_var": lambda values: _spread(statistics.variance, values),
    "total_sd": lambda values: _spread(statistics.pstdev, values),
    "total_var": lambda values: _spread(statistics.pvariance, values),
    "stats": _stats,
}
_ANY: dict[str, Callable[[list[Any]], Any]] = {
    "array": list,
    "count": len,
    "first": lambda values: values[0] if values else None,
    "min": lambda values: min(values, key=sort_key, default=None),
    "max": lambda values: max(values, key=sort_key, default=None),
    "histogram": lambda values: dict(sorted(Counter(text_of(value) for value in values).items())),
    "count_distinct": lambda values: len({repr(value) for value in values}),
}


def _aggregate(read: Callable[[Collection, str], list[Any]], compute: Callable[[Any], Any]) -> Callable[..., Any]:
    def function(collection: Collection, property: str) -> Any:
        return compute(read(collection, property))

    return function


for _name, _compute in _NUMERIC.items():
    registry.add(f"AggregateFeatureCollection.{_name}", _aggregate(_numbers, _compute))
for _name, _reduce in _ANY.items():
    registry.add(f"AggregateFeatureCollection.{_name}", _aggregate(_values, _reduce))


@algorithm("Collection.reduceColumns")
def reduce_columns(
    collection: Collection, reducer: Reducer, selectors: list[Any], weightSelectors: list[Any] | None
) -> dict[str, Any]:
    """A reducer over properties of all elements."""
    if len(selectors) != reducer.inputs:
        raise EarthEngineError(f"The reducer needs {reducer.inputs} selectors. Got {len(selectors)}.")
    names = [str(selector) for selector in selectors]
    rows = [tuple(_plain(element.get(name)) for name in names) for element in collection.elements()]
    return reducer.rows(rows)


def _plain(value: Any) -> Any:
    return getattr(value, "ms", value)
