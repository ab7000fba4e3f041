"""Reducer: reducers made of reducers, and those that collect values instead of computing with them."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eelocal.algorithms.lists import text_of
from eelocal.errors import EarthEngineError
from eelocal.grid import Pixels
from eelocal.registry import algorithm
from eelocal.values.pixeltype import PixelType
from eelocal.values.reducer import Reducer, Rows, Stack, Weights

_MAX_COPIES = 10_000


@algorithm("Reducer.combine")
def combine(reducer1: Reducer, reducer2: Reducer, outputPrefix: str, sharedInputs: bool) -> Reducer:
    """Two reducers at once, on the same inputs or one after the other."""
    if sharedInputs and reducer1.inputs != reducer2.inputs:
        raise EarthEngineError(
            "Reducers with shared inputs must have as many inputs as each other. "
            f"Got {reducer1.inputs} and {reducer2.inputs}."
        )
    if len(reducer1.outputs) + len(reducer2.outputs) > _MAX_COPIES:
        raise EarthEngineError(f"A reducer may have at most {_MAX_COPIES} outputs.")
    start = 0 if sharedInputs else reducer1.inputs
    inputs = start + reducer2.inputs

    def reduce(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        first = _pixels(reducer1)(stacks[: reducer1.inputs], weights if reducer1.weighted else None)
        second = _pixels(reducer2)(stacks[start:inputs], weights if reducer2.weighted else None)
        return [*first, *second]

    def column(rows: Rows) -> list[Any]:
        first = reducer1.rows([row[: reducer1.inputs] for row in rows])
        second = reducer2.rows([row[start:inputs] for row in rows])
        return [*first.values(), *second.values()]

    def types(kinds: Sequence[PixelType]) -> list[PixelType]:
        return [*reducer1.output_types(kinds[: reducer1.inputs]), *reducer2.output_types(kinds[start:inputs])]

    outputs = (*reducer1.outputs, *(outputPrefix + name for name in reducer2.outputs))
    return Reducer(outputs, reduce, inputs, column, types, reducer1.weighted or reducer2.weighted)


@algorithm("Reducer.repeat")
def repeat(reducer: Reducer, count: int) -> Reducer:
    """Copies of a reducer, each on inputs of its own; every output is a list."""
    if not 1 <= count <= _MAX_COPIES:
        raise EarthEngineError(f"Count must be from 1 to {_MAX_COPIES}. Got {count}.")

    def column(rows: Rows) -> list[Any]:
        width = reducer.inputs
        results = [reducer.rows([row[i * width : (i + 1) * width] for row in rows]) for i in range(count)]
        return [[result[name] for result in results] for name in reducer.outputs]

    return Reducer(reducer.outputs, None, reducer.inputs * count, column)


@algorithm("Reducer.forEach")
def for_each(reducer: Reducer, outputNames: list[Any]) -> Reducer:
    """A copy of a reducer for each name."""
    copies = len(outputNames)
    if not 1 <= copies * len(reducer.outputs) <= _MAX_COPIES:
        raise EarthEngineError(f"Names must be from 1 to {_MAX_COPIES}. Got {copies}.")
    single = len(reducer.outputs) == 1

    def column(rows: Rows) -> list[Any]:
        width = reducer.inputs
        parts = [reducer.rows([row[i * width : (i + 1) * width] for row in rows]) for i in range(copies)]
        return [value for part in parts for value in part.values()]

    def reduce(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        width = reducer.inputs
        parts = [_pixels(reducer)(stacks[i * width : (i + 1) * width], weights) for i in range(copies)]
        return [pixels for part in parts for pixels in part]

    names = [str(n) if single else f"{n}_{o}" for n in outputNames for o in reducer.outputs]
    return Reducer(tuple(names), reduce, reducer.inputs * copies, column, weighted=reducer.weighted)


@algorithm("Reducer.setOutputs")
def set_outputs(reducer: Reducer, outputs: list[Any]) -> Reducer:
    """Outputs under new names."""
    return reducer.renamed([str(name) for name in outputs])


@algorithm("Reducer.getOutputs")
def get_outputs(reducer: Reducer) -> list[str]:
    """Names of the outputs."""
    return list(reducer.outputs)


@algorithm("Reducer.unweighted")
def unweighted(reducer: Reducer) -> Reducer:
    """The same reducer, parts of pixels counting as whole ones."""
    return replace(reducer, weighted=False)


@algorithm("Reducer.toList")
def to_list(tupleSize: int | None, numOptional: int) -> Reducer:
    """All values as a list, or all rows as lists."""
    inputs = tupleSize or 1
    needed = inputs - numOptional

    def column(rows: Rows) -> list[Any]:
        kept = [row for row in rows if all(value is not None for value in row[:needed])]
        return [[row[0] for row in kept] if tupleSize is None else [list(row) for row in kept]]

    return Reducer(("list",), None, inputs, column)


@algorithm("Reducer.frequencyHistogram")
def frequency_histogram() -> Reducer:
    """How often each value occurs."""

    def column(rows: Rows) -> list[Any]:
        counted = Counter(text_of(row[0]) for row in rows if row[0] is not None)
        return [dict(sorted(counted.items()))]

    return Reducer(("histogram",), None, 1, column)


@algorithm("Reducer.countDistinct")
def count_distinct() -> Reducer:
    """Number of different values, null among them."""
    return Reducer(("count",), None, 1, lambda rows: [len({repr(row[0]) for row in rows})])


@algorithm("Reducer.countDistinctNonNull")
def count_distinct_not_null() -> Reducer:
    """Number of different values."""
    return Reducer(("count",), None, 1, lambda rows: [len({repr(row[0]) for row in rows if row[0] is not None})])


@algorithm("Reducer.fixedHistogram")
def fixed_histogram(min: float, max: float, steps: int, cumulative: bool) -> Reducer:
    """Counts of values in equal steps, as rows of [start, count]."""
    if not 1 <= steps <= 1_000_000 or not min < max:
        raise EarthEngineError("A histogram needs min < max and from 1 to 1000000 steps.")

    def column(rows: Rows) -> list[Any]:
        values = [row[0] for row in rows if row[0] is not None and min <= row[0] < max]
        counts, edges = np.histogram(values, steps, (min, max))
        shown = np.cumsum(counts) if cumulative else counts
        return [[[float(edge), float(count)] for edge, count in zip(edges[:-1], shown, strict=True)]]

    return Reducer(("histogram",), None, 1, column)


@algorithm("Reducer.linearFit")
def linear_fit() -> Reducer:
    """Slope and offset of a line through (x, y)."""

    def reduce(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        valid = stacks[0].valid & stacks[1].valid
        weight = valid.astype(np.float64) if weights is None else np.where(valid, weights, 0)
        x, y = (np.where(valid, stack.values, 0).astype(np.float64) for stack in stacks[:2])
        total = weight.sum(axis=0)
        with np.errstate(all="ignore"):
            mean_x, mean_y = (x * weight).sum(axis=0) / total, (y * weight).sum(axis=0) / total
            spread = (weight * (x - mean_x) ** 2).sum(axis=0)
            scale = (weight * (x - mean_x) * (y - mean_y)).sum(axis=0) / spread
        ok = np.asarray(spread > 0)
        slope = np.where(ok, scale, 0)
        return [Pixels(slope, ok), Pixels(np.where(ok, mean_y - slope * mean_x, 0), ok)]

    return Reducer(("scale", "offset"), reduce, 2, weighted=True)


@algorithm("Reducer.group")
def group(reducer: Reducer, groupField: int, groupName: str) -> Reducer:
    """A reducer for the rows of each value of one input."""
    inputs = reducer.inputs + 1
    if not 0 <= groupField < inputs:
        raise EarthEngineError(f"groupField must be from 0 to {inputs - 1}. Got {groupField}.")

    def column(rows: Rows) -> list[Any]:
        groups: dict[Any, list[tuple[Any, ...]]] = {}
        for row in rows:
            if row[groupField] is not None:
                groups.setdefault(row[groupField], []).append((*row[:groupField], *row[groupField + 1 :]))
        return [[{groupName: key, **reducer.rows(part)} for key, part in sorted(groups.items())]]

    return Reducer(("groups",), None, inputs, column)


def _pixels(reducer: Reducer) -> Any:
    if reducer.reduce is None:
        raise EarthEngineError(f"The reducer of {', '.join(reducer.outputs)} cannot be applied to pixels.")
    return reducer.reduce
