"""Reducer: statistics over pixels of a stack, over regions and over lists of values."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal import registry
from eelocal.errors import EarthEngineError
from eelocal.grid import Pixels
from eelocal.registry import algorithm
from eelocal.values.pixeltype import BOOLEAN, DOUBLE, PixelType
from eelocal.values.reducer import Reduce, Reducer, Stack, Weights, constant_types, like_input

_COUNT = PixelType("int", 0, 2**32 - 1)
_MAX_PERCENTILES = 1000
Statistic = Callable[[Stack, NDArray[np.float64]], NDArray[Any]]


def where_any(statistic: Statistic) -> Reduce:
    """A statistic of valid values; masked where there are none. Weights are 0 for masked values."""

    def run(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        valid = stacks[0].valid
        weight = valid.astype(np.float64) if weights is None else np.where(valid, weights, 0.0)
        some = np.asarray((weight > 0).any(axis=0))
        with np.errstate(all="ignore"):
            return [Pixels(np.where(some, statistic(stacks[0], weight), 0), some)]

    return run


def _sum(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    return np.asarray(np.sum(np.where(weight > 0, stack.values, 0) * weight, axis=0))


def _mean(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    return np.asarray(_sum(stack, weight) / weight.sum(axis=0))


def _variance(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    mean = _mean(stack, weight)
    deviation = np.where(weight > 0, stack.values - mean, 0)
    return np.asarray((deviation**2 * weight).sum(axis=0) / weight.sum(axis=0))


def _sample_variance(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    count = (weight > 0).sum(axis=0)
    return np.asarray(_variance(stack, weight) * count / np.maximum(count - 1, 1))


def _least(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    return np.asarray(np.min(stack.values, axis=0, where=weight > 0, initial=_extreme(stack.values, high=True)))


def _greatest(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    return np.asarray(np.max(stack.values, axis=0, where=weight > 0, initial=_extreme(stack.values, high=False)))


def _extreme(values: NDArray[Any], *, high: bool) -> Any:
    if values.dtype.kind == "f":
        return np.inf if high else -np.inf
    info = np.iinfo(values.dtype)
    return info.max if high else info.min


def _product(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    return np.asarray(np.prod(np.where(weight > 0, stack.values, 1).astype(np.float64), axis=0))


def _first(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    return _take(stack.values, np.argmax(weight > 0, axis=0))


def _last(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    return _take(stack.values, len(weight) - 1 - np.argmax(weight[::-1] > 0, axis=0))


def _take(values: NDArray[Any], index: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.take_along_axis(values, index[None], axis=0)[0])


def _mode(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    """The most frequent value, the least of several."""
    if weight.ndim == 1:
        values, counts = np.unique(stack.values[weight > 0], return_counts=True)
        return np.asarray(values[np.argmax(counts)] if values.size else 0)
    order = np.argsort(np.where(weight > 0, stack.values.astype(np.float64), np.inf), axis=0, kind="stable")
    values = np.take_along_axis(stack.values, order, axis=0)
    ok = np.take_along_axis(weight, order, axis=0) > 0
    run = np.zeros(values.shape[1:], np.int64)
    best, best_run = values[0].copy(), np.zeros(values.shape[1:], np.int64)
    for i in range(len(values)):
        same = ok[i] & (values[i] == values[i - 1]) if i else np.zeros(values.shape[1:], bool)
        run = np.where(ok[i], np.where(same, run + 1, 1), 0)
        better = run > best_run
        best, best_run = np.where(better, values[i], best), np.where(better, run, best_run)
    return np.asarray(best)


def percentiles(stack: Stack, weight: NDArray[np.float64], wanted: Sequence[float]) -> list[NDArray[Any]]:
    """Percentiles with linear interpolation between ranks; the median of an even number is the mean of two."""
    ordered = np.sort(np.where(weight > 0, stack.values.astype(np.float64), np.inf), axis=0)
    last = (weight > 0).sum(axis=0) - 1
    results = []
    for percent in wanted:
        rank = np.maximum(last, 0) * (percent / 100)
        low = np.floor(rank).astype(np.int64)
        high = np.minimum(low + 1, np.maximum(last, 0))
        below, above = _take(ordered, low), _take(ordered, high)
        part = rank - low
        results.append(np.where(part == 0, below, below + (above - below) * part))
    return results


def _median(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
    return percentiles(stack, weight, [50])[0]


def _count(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
    found = np.asarray(stacks[0].valid.sum(axis=0))
    return [Pixels(found, np.ones(found.shape, bool))]


def _count_every(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
    shape = stacks[0].valid.shape
    return [Pixels(np.full(shape[1:], shape[0]), np.ones(shape[1:], bool))]


def _logical(every: bool) -> Statistic:
    def run(stack: Stack, weight: NDArray[np.float64]) -> NDArray[Any]:
        nonzero, ok = stack.values != 0, weight > 0
        return np.asarray((nonzero | ~ok).all(axis=0) if every else (nonzero & ok).any(axis=0)).astype(np.uint8)

    return run


def _min_max(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
    return [*where_any(_least)(stacks, weights), *where_any(_greatest)(stacks, weights)]


def _first_column(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [rows[0][0] if rows else None]


def _last_column(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [rows[-1][0] if rows else None]


def _not_null(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [row for row in rows if row[0] is not None]


def _with_range(inputs: Sequence[PixelType]) -> list[PixelType]:
    return [PixelType("double", inputs[0].min, inputs[0].max)]


_double = constant_types(DOUBLE)
_SIMPLE: dict[str, Reducer] = {
    "mean": Reducer(("mean",), where_any(_mean), types=_with_range, weighted=True),
    "sum": Reducer(("sum",), where_any(_sum), types=_double, weighted=True),
    "product": Reducer(("product",), where_any(_product), types=_double),
    "variance": Reducer(("variance",), where_any(_variance), types=_double, weighted=True),
    "stdDev": Reducer(("stdDev",), where_any(lambda s, w: np.sqrt(_variance(s, w))), types=_double, weighted=True),
    "sampleVariance": Reducer(("variance",), where_any(_sample_variance), types=_double, weighted=True),
    "sampleStdDev": Reducer(
        ("stdDev",), where_any(lambda s, w: np.sqrt(_sample_variance(s, w))), types=_double, weighted=True
    ),
    "count": Reducer(("count",), _count, types=constant_types(_COUNT), column=lambda rows: [len(_not_null(rows))]),
    "countEvery": Reducer(("count",), _count_every, types=constant_types(_COUNT), column=lambda rows: [len(rows)]),
    "minMax": Reducer(("min", "max"), _min_max, types=lambda inputs: [inputs[0], inputs[0]]),
    "first": Reducer(("first",), where_any(_first), types=like_input, column=_first_column),
    "last": Reducer(("last",), where_any(_last), types=like_input, column=_last_column),
    "firstNonNull": Reducer(
        ("first",), where_any(_first), types=like_input, column=lambda rows: _first_column(_not_null(rows))
    ),
    "lastNonNull": Reducer(
        ("last",), where_any(_last), types=like_input, column=lambda rows: _last_column(_not_null(rows))
    ),
    "allNonZero": Reducer(("all",), where_any(_logical(True)), types=constant_types(BOOLEAN)),
    "anyNonZero": Reducer(("any",), where_any(_logical(False)), types=constant_types(BOOLEAN)),
    "and": Reducer(("and",), where_any(_logical(True)), types=constant_types(BOOLEAN)),
    "or": Reducer(("or",), where_any(_logical(False)), types=constant_types(BOOLEAN)),
}
MEDIAN = Reducer(("median",), where_any(_median), types=_with_range)
MODE = Reducer(("mode",), where_any(_mode), types=like_input)
MINIMUM = Reducer(("min",), where_any(_least), types=like_input)
MAXIMUM = Reducer(("max",), where_any(_greatest), types=like_input)


def named(name: str) -> Reducer:
    """A reducer without arguments, by name."""
    special = {"median": MEDIAN, "mode": MODE, "min": MINIMUM, "max": MAXIMUM}
    return special.get(name) or _SIMPLE[name]


def add_simple(reducers: Mapping[str, Reducer]) -> None:
    """Registers reducers that take no arguments, by name."""

    def constant(reducer: Reducer) -> Callable[[], Reducer]:
        def function() -> Reducer:
            return reducer

        return function

    for name, reducer in reducers.items():
        registry.add(f"Reducer.{name}", constant(reducer))


add_simple(_SIMPLE)


@algorithm("Reducer.median")
def median(maxBuckets: int | None, minBucketWidth: float | None, maxRaw: int | None) -> Reducer:
    """The middle value."""
    return MEDIAN


@algorithm("Reducer.mode")
def mode(maxBuckets: int | None, minBucketWidth: float | None, maxRaw: int | None) -> Reducer:
    """The most frequent value."""
    return MODE


@algorithm("Reducer.percentile")
def percentile(
    percentiles: list[Any],
    outputNames: list[Any] | None,
    maxBuckets: int | None,
    minBucketWidth: float | None,
    maxRaw: int | None,
) -> Reducer:
    """Percentiles, named p10, p50, ..."""
    if not all(isinstance(p, (int, float)) and 0 <= p <= 100 for p in percentiles):
        raise EarthEngineError(f"Percentiles must be numbers from 0 to 100. Got {str(percentiles)[:100]}.")
    if len(percentiles) > _MAX_PERCENTILES:
        raise EarthEngineError(f"There may be at most {_MAX_PERCENTILES} percentiles. Got {len(percentiles)}.")
    names = [f"p{p:g}" for p in percentiles] if outputNames is None else [str(name) for name in outputNames]
    if len(names) != len(percentiles):
        raise EarthEngineError(f"There are {len(percentiles)} percentiles, but {len(names)} names.")
    return Reducer(tuple(names), _percentile_reduce(percentiles), types=lambda t: _with_range(t) * len(names))


def _percentile_reduce(wanted: Sequence[float]) -> Reduce:
    def run(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        valid = stacks[0].valid
        weight = valid.astype(np.float64) if weights is None else np.where(valid, weights, 0.0)
        some = np.asarray((weight > 0).any(axis=0))
        return [Pixels(np.where(some, found, 0), some) for found in percentiles(stacks[0], weight, wanted)]

    return run


@algorithm("Reducer.min")
def minimum(numInputs: int) -> Reducer:
    """The least value, and the values of further inputs beside it."""
    return MINIMUM if numInputs == 1 else _beside("min", numInputs, np.argmin)


@algorithm("Reducer.max")
def maximum(numInputs: int) -> Reducer:
    """The greatest value, and the values of further inputs beside it."""
    return MAXIMUM if numInputs == 1 else _beside("max", numInputs, np.argmax)


def _beside(name: str, inputs: int, choose: Callable[..., Any]) -> Reducer:
    if not 1 <= inputs <= 1024:
        raise EarthEngineError(f"numInputs must be from 1 to 1024. Got {inputs}.")
    worst = np.inf if name == "min" else -np.inf
    outputs = (name, *(f"{name}{i}" for i in range(1, inputs)))

    def run(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        valid = np.logical_and.reduce([stack.valid for stack in stacks])
        index = choose(np.where(valid, stacks[0].values.astype(np.float64), worst), axis=0)
        some = valid.any(axis=0)
        return [Pixels(np.where(some, _take(stack.values, index), 0), some) for stack in stacks]

    return replace(MINIMUM, outputs=outputs, reduce=run, inputs=inputs, types=list)
