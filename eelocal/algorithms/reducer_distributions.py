"""Reducer: how values are spread: moments, directions, histograms, bits, and reducers of parts of values."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.algorithms.reducer_combinations import for_each
from eelocal.algorithms.reducers import add_simple, percentiles, where_any
from eelocal.errors import EarthEngineError
from eelocal.grid import Pixels
from eelocal.registry import algorithm
from eelocal.values.collection import of_elements
from eelocal.values.element import Feature
from eelocal.values.image import Image
from eelocal.values.pixeltype import INT64, PixelType, integer
from eelocal.values.reducer import Reducer, Rows, Stack, Weights, constant_types

Floats = NDArray[np.float64]
_BUCKETS = 256
_MOST_BUCKETS = 2**16


def _moment(stack: Stack, weight: Floats, power: int) -> Floats:
    total = weight.sum(axis=0)
    mean = (np.where(weight > 0, stack.values, 0) * weight).sum(axis=0) / total
    return np.asarray((np.where(weight > 0, stack.values - mean, 0) ** power * weight).sum(axis=0) / total)


def _skew(stack: Stack, weight: Floats) -> Floats:
    return np.asarray(_moment(stack, weight, 3) / _moment(stack, weight, 2) ** 1.5)


def _kurtosis(stack: Stack, weight: Floats) -> Floats:
    """In excess of the normal distribution's 3."""
    return np.asarray(_moment(stack, weight, 4) / _moment(stack, weight, 2) ** 2 - 3)


def _direction(stack: Stack, weight: Floats) -> tuple[Floats, Floats]:
    """Mean sine and cosine of angles in radians."""
    total = weight.sum(axis=0)
    angle = np.where(weight > 0, stack.values, 0)
    return (np.sin(angle) * weight).sum(axis=0) / total, (np.cos(angle) * weight).sum(axis=0) / total


def _circular_mean(stack: Stack, weight: Floats) -> Floats:
    return np.asarray(np.arctan2(*_direction(stack, weight)))


def _circular_variance(stack: Stack, weight: Floats) -> Floats:
    return np.asarray(1 - np.hypot(*_direction(stack, weight)))


def _circular_deviation(stack: Stack, weight: Floats) -> Floats:
    return np.asarray(np.sqrt(-2 * np.log(np.hypot(*_direction(stack, weight)))))


def _bits(function: Callable[..., Any], start: int) -> Callable[[Stack, Floats], NDArray[Any]]:
    def run(stack: Stack, weight: Floats) -> NDArray[Any]:
        whole = np.where(weight > 0, stack.values, 0).astype(np.int64)
        return np.asarray(function(np.where(weight > 0, whole, start), axis=0))

    return run


_SIMPLE: dict[str, Reducer] = {
    "skew": Reducer(("skew",), where_any(_skew), weighted=True),
    "kurtosis": Reducer(("kurtosis",), where_any(_kurtosis), weighted=True),
    "circularMean": Reducer(("circularMean",), where_any(_circular_mean), weighted=True),
    "circularVariance": Reducer(("circularVariance",), where_any(_circular_variance), weighted=True),
    "circularStddev": Reducer(("circularStdDev",), where_any(_circular_deviation), weighted=True),
    "bitwiseAnd": Reducer(
        ("bitwiseAnd",), where_any(_bits(np.bitwise_and.reduce, -1)), types=constant_types(PixelType("int", *INT64))
    ),
    "bitwiseOr": Reducer(
        ("bitwiseOr",), where_any(_bits(np.bitwise_or.reduce, 0)), types=constant_types(PixelType("int", *INT64))
    ),
}


add_simple(_SIMPLE)


@algorithm("Reducer.countRuns")
def count_runs() -> Reducer:
    """The number of runs of equal values, nulls left out."""

    def reduce(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        values, valid = stacks[0]
        runs = np.zeros(valid.shape[1:], np.int64)
        last, seen = np.zeros(valid.shape[1:], values.dtype), np.zeros(valid.shape[1:], bool)
        for row, ok in zip(values, valid, strict=True):
            runs += ok & (~seen | (row != last))
            last, seen = np.where(ok, row, last), seen | ok
        return [Pixels(runs, np.ones(runs.shape, bool))]

    def column(rows: Rows) -> list[Any]:
        known = [row[0] for row in rows if row[0] is not None]
        return [sum(1 for i, value in enumerate(known) if not i or value != known[i - 1])]

    return Reducer(("count",), reduce, 1, column, constant_types(integer(0, 2**32 - 1)))


@algorithm("Reducer.intervalMean")
def interval_mean(
    minPercentile: float,
    maxPercentile: float,
    maxBuckets: int | None,
    minBucketWidth: float | None,
    maxRaw: int | None,
) -> Reducer:
    """The mean of the values between two percentiles."""
    if not 0 <= minPercentile <= maxPercentile <= 100:
        raise EarthEngineError("Percentiles must be from 0 to 100, the first not greater than the second.")

    def mean(stack: Stack, weight: Floats) -> Floats:
        low, high = percentiles(stack, weight, [minPercentile, maxPercentile])
        inside = (weight > 0) & (stack.values >= low) & (stack.values <= high)
        return np.asarray(np.where(inside, stack.values, 0).sum(axis=0) / inside.sum(axis=0))

    return Reducer(("mean",), where_any(mean))


def _buckets(values: Floats, most: int | None, least_width: float | None) -> tuple[float, float, Floats]:
    """The lower edge of the first bucket, the width (a power of 2, or of it times the least) and the counts."""
    wanted = min(max(most or _BUCKETS, 1), _MOST_BUCKETS)
    limit = 2 ** math.ceil(math.log2(wanted))
    low, high = float(values.min()), float(values.max())
    unit = least_width if least_width is not None and least_width > 0 else 1.0
    exponent = math.ceil(math.log2(max((high - low) / limit, 1e-300) / unit)) if high > low else 0
    width = unit * 2.0 ** (max(exponent, 0) if least_width else exponent)
    while math.floor(high / width) - math.floor(low / width) + 1 > limit:
        width *= 2
    start = math.floor(low / width)
    counts = np.bincount((np.floor(values / width) - start).astype(np.int64)).astype(np.float64)
    return start * width, width, counts


@algorithm("Reducer.histogram")
def histogram(maxBuckets: int | None, minBucketWidth: float | None, maxRaw: int | None) -> Reducer:
    """Counts in buckets of equal width, with the mean of each."""

    def column(rows: Rows) -> list[Any]:
        values = _doubles(rows)
        if not values.size:
            return [None]
        start, width, counts = _buckets(values, maxBuckets, minBucketWidth)
        position = np.floor((values - start) / width).astype(np.int64)
        totals = np.bincount(position, values, len(counts))
        middles = start + (np.arange(len(counts)) + 0.5) * width
        means = np.where(counts > 0, totals / np.maximum(counts, 1), middles)
        return [{"bucketMeans": means.tolist(), "bucketMin": start, "bucketWidth": width, "histogram": counts.tolist()}]

    return Reducer(("histogram",), None, 1, column)


@algorithm("Reducer.autoHistogram")
def auto_histogram(
    maxBuckets: int | None, minBucketWidth: float | None, maxRaw: int | None, cumulative: bool
) -> Reducer:
    """Rows of a bucket's lower edge and its count."""

    def column(rows: Rows) -> list[Any]:
        values = _doubles(rows)
        if not values.size:
            return [None]
        start, width, counts = _buckets(values, maxBuckets, minBucketWidth)
        shown = np.cumsum(counts) if cumulative else counts
        return [np.column_stack([start + np.arange(len(counts)) * width, shown])]

    return Reducer(("histogram",), None, 1, column)


@algorithm("Reducer.fixed2DHistogram")
def fixed_2d_histogram(xMin: float, xMax: float, xSteps: int, yMin: float, yMax: float, ySteps: int) -> Reducer:
    """Counts of pairs of values in equal steps, and the lower edges of both."""
    if not (xMin < xMax and yMin < yMax and xSteps >= 1 and ySteps >= 1 and xSteps * ySteps <= 10**6):
        raise EarthEngineError("A histogram needs min < max and from 1 to 1000000 steps on both axes.")

    def column(rows: Rows) -> list[Any]:
        known = [row[:2] for row in rows if None not in row[:2]]
        inside = [(x, y) for x, y in known if xMin <= x < xMax and yMin <= y < yMax]
        pairs = np.array(inside, np.float64).reshape(-1, 2)
        bounds = ((xMin, xMax), (yMin, yMax))
        counts, x_edges, y_edges = np.histogram2d(pairs[:, 0], pairs[:, 1], (xSteps, ySteps), bounds)
        return [counts, x_edges[:-1], y_edges[:-1]]

    return Reducer(("histogram", "xAxis", "yAxis"), None, 2, column)


@algorithm("Reducer.forEachBand")
def for_each_band(reducer: Reducer, image: Image) -> Reducer:
    """A copy of a reducer for each band, under its name."""
    return for_each(reducer, list(image.names))


@algorithm("Reducer.forEachElement")
def for_each_element(reducer: Reducer) -> Reducer:
    """A reducer for each position of arrays of one shape."""

    def column(rows: Rows) -> list[Any]:
        kept = [row for row in rows if all(value is not None for value in row)]
        if not kept:
            return [None for _ in reducer.outputs]
        arrays = [np.asarray(row, np.float64) for row in kept]
        if len({array.shape for array in arrays}) > 1:
            raise EarthEngineError("The arrays must have the same shape.")
        flat = np.stack(arrays).reshape(len(arrays), reducer.inputs, -1)
        found = [reducer.rows([tuple(row) for row in flat[:, :, i].tolist()]) for i in range(flat.shape[2])]
        shape = arrays[0].shape[1:]
        return [np.array([part[name] for part in found], np.float64).reshape(shape) for name in reducer.outputs]

    return Reducer(reducer.outputs, None, reducer.inputs, column)


@algorithm("Reducer.disaggregate")
def disaggregate(reducer: Reducer, axis: int | None) -> Reducer:
    """A reducer of the items of lists, arrays or dictionaries; along an axis of arrays if one is named."""

    def items(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return list(value.values())
        if isinstance(value, np.ndarray):
            if axis is None or value.ndim == 1:
                return list(value.reshape(-1).tolist())
            if not 0 <= axis < value.ndim:
                raise EarthEngineError(f"Axis {axis} is out of range: the array has {value.ndim} dimensions.")
            return [np.take(value, i, axis=axis) for i in range(value.shape[axis])]
        return value if isinstance(value, list) else [value]

    def column(rows: Rows) -> list[Any]:
        return list(reducer.rows([(item,) for row in rows for item in items(row[0])]).values())

    return replace(reducer, reduce=None, column=column)


@algorithm("Reducer.splitWeights")
def split_weights(reducer: Reducer) -> Reducer:
    """A reducer that takes its weights as inputs of their own, one after each input."""

    def reduce(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        if reducer.reduce is None:
            raise EarthEngineError("This reducer cannot be weighted.")
        valid = np.logical_and.reduce([stack.valid for stack in stacks])
        return reducer.reduce(
            [Pixels(stack.values, valid) for stack in stacks[::2]], stacks[1].values.astype(np.float64)
        )

    return replace(reducer, reduce=reduce, inputs=2 * reducer.inputs, column=None, weighted=False)


@algorithm("Reducer.toCollection")
def to_collection(propertyNames: list[Any], numOptional: int) -> Reducer:
    """The rows as features with properties of these names."""
    names = [str(name) for name in propertyNames]
    needed = len(names) - numOptional

    def column(rows: Rows) -> list[Any]:
        kept = [row for row in rows if all(value is not None for value in row[:needed])]
        made = [{k: v for k, v in zip(names, row, strict=False) if v is not None} for row in kept]
        return [of_elements([Feature(None, properties) for properties in made], "FeatureCollection")]

    return Reducer(("features",), None, len(names), column)


def _doubles(rows: Rows) -> Floats:
    values = np.array([row[0] for row in rows if row[0] is not None], np.float64)
    return values[np.isfinite(values)]
