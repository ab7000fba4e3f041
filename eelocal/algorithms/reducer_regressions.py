"""Reducer: lines through values, and how two values go together."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal import special
from eelocal.arrays import objects
from eelocal.errors import EarthEngineError, OutOfMemory
from eelocal.grid import Pixels
from eelocal.registry import algorithm
from eelocal.values.pixeltype import DOUBLE
from eelocal.values.reducer import Reduce, Reducer, Stack, Weights, constant_types

Floats = NDArray[np.float64]
_MAX_INPUTS = 256
_MAX_PAIRS = 2**24  # values compared with each other at once
_TALWAR = 2.795  # the constant of the Talwar function that loses 5 % on normal errors
_ROUNDS = 50


def _table(stacks: Sequence[Stack], weights: Weights) -> tuple[Floats, Floats, tuple[int, ...]]:
    """Values by pixel, row and input, weights by pixel and row (0 where an input is masked), and the pixels' shape."""
    shape = stacks[0].valid.shape
    valid = np.logical_and.reduce([stack.valid for stack in stacks])
    weight = np.where(valid, 1.0 if weights is None else weights, 0.0).reshape(shape[0], -1).T
    values = np.stack([np.where(valid, s.values, 0).astype(np.float64).reshape(shape[0], -1).T for s in stacks], -1)
    return values, weight, shape[1:]


def _as_objects(stack: Floats, ok: NDArray[np.bool_], shape: tuple[int, ...]) -> Pixels:
    values = np.zeros(len(stack), object)
    values[ok] = objects(stack[ok])
    return Pixels(values.reshape(shape), ok.reshape(shape))


Fit = Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]


def _regression(numX: int, numY: int, fit: Fit, columns: int) -> Reducer:
    if not (numX >= 1 and numY >= 1 and numX + numY <= _MAX_INPUTS):
        raise EarthEngineError(f"numX and numY must be positive and at most {_MAX_INPUTS} together.")

    def reduce(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        values, weight, shape = _table(stacks, weights)
        enough = (weight > 0).sum(axis=1) > columns
        with np.errstate(all="ignore"):
            coefficients, weight = fit(values[..., :numX], values[..., numX:], weight)
            x = _with_ones(values[..., :numX], columns)
            squares = (values[..., numX:] - x @ coefficients) ** 2 * weight[..., None]
            residuals = np.sqrt(squares.sum(axis=1) / weight.sum(axis=1)[:, None])
        ok = enough & np.isfinite(coefficients).all(axis=(1, 2))
        return [_as_objects(coefficients, ok, shape), _as_objects(residuals, ok, shape)]

    kinds = constant_types(DOUBLE.array(2), DOUBLE.array(1))
    return Reducer(("coefficients", "residuals"), reduce, numX + numY, types=kinds, weighted=True)


def _with_ones(x: Floats, columns: int) -> Floats:
    return np.concatenate([x, np.ones((*x.shape[:2], columns - x.shape[2]))], axis=2)


def _least_squares(x: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
    root = np.sqrt(weight)[..., None]
    return np.linalg.pinv(x * root) @ (y * root), weight


@algorithm("Reducer.linearRegression")
def linear_regression(numX: int, numY: int) -> Reducer:
    """Least squares without a constant: coefficients (numX, numY) and the root mean squares of the residuals."""
    return _regression(numX, numY, _least_squares, numX)


@algorithm("Reducer.robustLinearRegression")
def robust_linear_regression(numX: int, numY: int, beta: float | None) -> Reducer:
    """Least squares without outliers: rows whose residuals are too large do not count (Talwar)."""

    def fit(x: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
        kept = weight
        for _ in range(_ROUNDS):
            coefficients, _ = _least_squares(x, y, kept)
            error = np.sqrt(((y - x @ coefficients) ** 2).mean(axis=2))
            scale = np.nanmedian(np.where(weight > 0, error, np.nan), axis=1) / 0.6745
            limit = np.full(len(x), beta) if beta is not None else _TALWAR * np.maximum(scale, 1e-12)
            new = np.where(error <= limit[:, None], weight, 0)
            if np.array_equal(new, kept):
                break
            kept = new
        return coefficients, kept

    return _regression(numX, numY, fit, numX)


@algorithm("Reducer.ridgeRegression")
def ridge_regression(numX: int, numY: int, lambda_: float) -> Reducer:
    """Least squares with a constant, in the last row of the coefficients, and a penalty on their size."""

    def fit(x: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
        w = weight[..., None]
        total = w.sum(axis=1, keepdims=True)
        mean_x, mean_y = (x * w).sum(axis=1, keepdims=True) / total, (y * w).sum(axis=1, keepdims=True) / total
        root = np.sqrt(w)
        a, b = (x - mean_x) * root, (y - mean_y) * root
        left = a.transpose(0, 2, 1) @ a + lambda_ * np.eye(numX)
        slopes = np.linalg.pinv(left) @ (a.transpose(0, 2, 1) @ b)
        return np.concatenate([slopes, mean_y - mean_x @ slopes], axis=1), weight

    return _regression(numX, numY, fit, numX + 1)


def _covariance(values: Floats, weight: Floats, centre: bool) -> Floats:
    w = weight[..., None]
    total = w.sum(axis=1, keepdims=True)
    centred = values - (values * w).sum(axis=1, keepdims=True) / total if centre else values
    return np.asarray(((centred * w).transpose(0, 2, 1) @ centred) / (total - 1))


def _of_arrays(centre: bool) -> Reduce:
    def reduce(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        stack = stacks[0]
        shape = stack.valid.shape
        columns = stack.values.reshape(shape[0], -1).T
        known = stack.valid.reshape(shape[0], -1).T
        values, ok = np.zeros(len(columns), object), np.zeros(len(columns), bool)
        for i, (column, valid) in enumerate(zip(columns, known, strict=True)):
            rows = [np.asarray(array, np.float64).reshape(-1) for array in column[valid]]
            if len({len(row) for row in rows}) > 1:
                raise EarthEngineError("The arrays must have the same length.")
            if len(rows) > 1:
                values[i], ok[i] = _covariance(np.stack(rows)[None], np.ones((1, len(rows))), centre)[0], True
        return [Pixels(values.reshape(shape[1:]), ok.reshape(shape[1:]))]

    return reduce


def _arrays_in_rows(reduce: Reduce) -> Callable[[Any], list[Any]]:
    def column(rows: Any) -> list[Any]:
        found = [row[0] for row in rows if row[0] is not None]
        stack = np.empty(len(found), object)
        for i, array in enumerate(found):
            stack[i] = np.asarray(array, np.float64)
        result = reduce([Pixels(stack, np.ones(len(found), bool))], None)[0]
        return [result.values.item() if bool(result.valid) else None]

    return column


@algorithm("Reducer.covariance")
def covariance() -> Reducer:
    """The covariance matrix of arrays of one dimension."""
    reduce = _of_arrays(True)
    return Reducer(("covariance",), reduce, 1, _arrays_in_rows(reduce), constant_types(DOUBLE.array(2)))


@algorithm("Reducer.centeredCovariance")
def centered_covariance() -> Reducer:
    """The covariance matrix of arrays of one dimension whose means are 0."""
    reduce = _of_arrays(False)
    return Reducer(("covariance",), reduce, 1, _arrays_in_rows(reduce), constant_types(DOUBLE.array(2)))


def _pearson(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    found = _covariance(values, weight, True)
    count = (weight > 0).sum(axis=1).astype(np.float64)
    r = found[:, 0, 1] / np.sqrt(found[:, 0, 0] * found[:, 1, 1])
    free = np.maximum(count - 2, 1e-9)
    t = r * np.sqrt(free / np.maximum(1 - r * r, 1e-300))
    return r, special.student_two_sided(t, free)


def _correlation(names: tuple[str, ...], measure: Callable[[Floats, Floats], tuple[Floats, ...]]) -> Reducer:
    def reduce(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        values, weight, shape = _table(stacks, None)
        if values.shape[0] * values.shape[1] > _MAX_PAIRS:
            raise OutOfMemory
        with np.errstate(all="ignore"):
            results = measure(values, weight)
        enough = np.asarray((weight > 0).sum(axis=1) > 1)
        made = [(np.where(np.isfinite(r) & enough, r, 0), np.isfinite(r) & enough) for r in results]
        return [Pixels(value.reshape(shape), ok.reshape(shape)) for value, ok in made]

    return Reducer(names, reduce, 2)


@algorithm("Reducer.pearsonsCorrelation")
def pearsons_correlation() -> Reducer:
    """Pearson's correlation of two inputs, and the two-sided probability that there is none."""
    return _correlation(("correlation", "p-value"), _pearson)


def _ranks(values: Floats, weight: Floats) -> Floats:
    """Ranks from 1 within each pixel's valid values; equal ones share the mean of theirs."""
    made = np.zeros(values.shape)
    for i, (row, ok) in enumerate(zip(values, weight > 0, strict=True)):
        known = row[ok]
        below = (known[None, :] < known[:, None]).sum(axis=1)
        same = (known[None, :] == known[:, None]).sum(axis=1)
        made[i, ok] = below + (same + 1) / 2
    return made


@algorithm("Reducer.spearmansCorrelation")
def spearmans_correlation() -> Reducer:
    """Pearson's correlation of the ranks of two inputs."""

    def measure(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
        _check_pairs(values)
        return _pearson(np.stack([_ranks(values[..., i], weight) for i in (0, 1)], axis=-1), weight)

    return _correlation(("correlation", "p-value"), measure)


@algorithm("Reducer.kendallsCorrelation")
def kendalls_correlation(numInputs: int) -> Reducer:
    """Kendall's tau-b of two inputs, or of one and its order, and the two-sided probability that there is none."""
    if numInputs not in (1, 2):
        raise EarthEngineError(f"numInputs must be 1 or 2. Got {numInputs}.")

    def measure(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
        _check_pairs(values)
        tau, chance = np.full(len(values), np.nan), np.full(len(values), np.nan)
        for i, (rows, ok) in enumerate(zip(values, weight > 0, strict=True)):
            tau[i], chance[i] = _kendall(rows[ok, 0], rows[ok, -1])
        return tau, chance

    both = _correlation(("tau", "p-value"), measure)
    if numInputs == 2:
        return both
    assert both.reduce is not None
    of_two = both.reduce

    def reduce(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        order = np.arange(len(stacks[0].valid), dtype=np.float64)
        steps = np.broadcast_to(order.reshape(-1, *[1] * (stacks[0].valid.ndim - 1)), stacks[0].valid.shape)
        return of_two([Pixels(steps, stacks[0].valid), stacks[0]], None)

    return Reducer(both.outputs, reduce, 1)


def _kendall(x: Floats, y: Floats) -> tuple[float, float]:
    count = len(x)
    dx, dy = np.sign(x[:, None] - x[None, :]), np.sign(y[:, None] - y[None, :])
    score = float((dx * dy).sum()) / 2
    pairs_x, pairs_y = float(np.abs(dx).sum()) / 2, float(np.abs(dy).sum()) / 2
    if not pairs_x or not pairs_y:
        return math.nan, math.nan
    spread = count * (count - 1) * (2 * count + 5) / 18
    return score / math.sqrt(pairs_x * pairs_y), math.erfc(abs(score) / math.sqrt(spread) / math.sqrt(2))


@algorithm("Reducer.sensSlope")
def sens_slope() -> Reducer:
    """The median of the slopes between all pairs of points, and the offset of the line through the medians."""

    def measure(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
        _check_pairs(values)
        slope, offset = np.full(len(values), np.nan), np.full(len(values), np.nan)
        for i, (rows, ok) in enumerate(zip(values, weight > 0, strict=True)):
            x, y = rows[ok, 0], rows[ok, 1]
            dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]
            found = np.divide(dy, dx)[dx > 0]
            if found.size:
                slope[i] = np.median(found)
                offset[i] = np.median(y) - slope[i] * np.median(x)
        return slope, offset

    return _correlation(("slope", "offset"), measure)


def _check_pairs(values: Floats) -> None:
    if values.shape[1] ** 2 > _MAX_PAIRS:
        raise OutOfMemory


@algorithm("Reducer.geometricMedian")
def geometric_median(numX: int, eta: float, initialStepSize: float) -> Reducer:
    """The point of least distance to all others, by Weiszfeld's steps."""
    if not 1 <= numX <= _MAX_INPUTS:
        raise EarthEngineError(f"numX must be from 1 to {_MAX_INPUTS}. Got {numX}.")

    def reduce(stacks: Sequence[Stack], weights: Weights) -> list[Pixels]:
        values, weight, shape = _table(stacks, weights)
        ok = (weight > 0).any(axis=1)
        with np.errstate(all="ignore"):
            centre = (values * weight[..., None]).sum(axis=1) / weight.sum(axis=1)[:, None]
            for _ in range(200):
                distance = np.maximum(np.linalg.norm(values - centre[:, None], axis=2), 1e-12)
                pull = (weight / distance)[..., None]
                new = (values * pull).sum(axis=1) / pull.sum(axis=1)
                moved = np.nanmax(np.abs(new - centre), initial=0)
                centre = new
                if moved < min(eta, 1e-6):
                    break
        found = np.where(np.expand_dims(ok, 1), centre, 0)
        return [Pixels(found[:, i].reshape(shape), np.reshape(ok, shape)) for i in range(numX)]

    names = ("median",) if numX == 1 else tuple(f"median_{i}" for i in range(numX))
    return Reducer(names, reduce, numX, weighted=True)
