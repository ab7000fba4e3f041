"""Kernel: weights around a pixel."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal import registry
from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.kernel import Kernel, Weights

MAX_REACH = 512  # pixels, as Earth Engine has it
Shape = Callable[[NDArray[Any], NDArray[Any], float], NDArray[np.bool_]]
Measure = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


SHAPES: dict[str, Shape] = {
    "circle": lambda dx, dy, r: dx**2 + dy**2 <= r**2,
    "square": lambda dx, dy, r: np.maximum(abs(dx), abs(dy)) <= r,
    "cross": lambda dx, dy, r: (abs(dx) == abs(dy)) & (abs(dx) <= r),
    "plus": lambda dx, dy, r: (dx == 0) | (dy == 0),
    "diamond": lambda dx, dy, r: abs(dx) + abs(dy) <= r,
    "octagon": lambda dx, dy, r: (np.maximum(abs(dx), abs(dy)) <= r) & (abs(dx) + abs(dy) <= 1.5 * r),
}
_MEASURES: dict[str, Measure] = {
    "euclidean": np.hypot,
    "manhattan": lambda dx, dy: abs(dx) + abs(dy),
    "chebyshev": lambda dx, dy: np.maximum(abs(dx), abs(dy)),
}
# https://developers.google.com/earth-engine/apidocs: ee-kernel-sobel and its neighbours print these.
_EDGES = {
    "laplacian4": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "laplacian8": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    "sobel": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "prewitt": [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
    "roberts": [[0, 0, 0], [0, 1, 0], [0, 0, -1]],  # 2 x 2, the pixel at its upper left
    "compass": [[1, 1, -1], [1, -2, -1], [1, 1, -1]],
    "kirsch": [[5, -3, -3], [5, 0, -3], [5, -3, -3]],
}


def shaped(shape: Shape, radius: float, units: str, *, normalize: bool, magnitude: float) -> Kernel:
    """A kernel of equal weights where a shape is."""

    def weights(metres: float) -> Weights:
        reach = radius / metres if _is_metres(units) else radius
        dx, dy = _offsets(reach, reach)
        return _scaled(shape(dx, dy, reach).astype(np.float64), normalize, magnitude)

    return Kernel(weights)


def _scaled(weights: Weights, normalize: bool, magnitude: float) -> Weights:
    total = weights.sum()
    return weights / total * magnitude if normalize and total else weights * magnitude


def _offsets(reach_x: float, reach_y: float) -> tuple[NDArray[Any], NDArray[Any]]:
    for reach in (reach_x, reach_y):
        if not 0 <= reach < MAX_REACH + 1:
            raise EarthEngineError(f"Kernel radius must be from 0 to {MAX_REACH} pixels. Got {reach:g}.")
    x, y = math.floor(reach_x + 1e-9), math.floor(reach_y + 1e-9)
    rows, cols = np.mgrid[-y : y + 1, -x : x + 1]
    return cols, rows


def _is_metres(units: str) -> bool:
    if units not in ("pixels", "meters"):
        raise EarthEngineError(f"Units must be 'pixels' or 'meters'. Got '{units}'.")
    return units == "meters"


def _shape_kernel(shape: Shape) -> Callable[..., Kernel]:
    def function(radius: float, units: str, normalize: bool, magnitude: float) -> Kernel:
        return shaped(shape, radius, units, normalize=normalize, magnitude=magnitude)

    return function


def _distance_kernel(measure: Measure) -> Callable[..., Kernel]:
    def function(radius: float, units: str, normalize: bool, magnitude: float) -> Kernel:
        def weights(metres: float) -> Weights:
            size = metres if _is_metres(units) else 1.0
            dx, dy = _offsets(radius / size, radius / size)
            return _scaled(np.asarray(measure(dx * size, dy * size), np.float64), normalize, magnitude)

        return Kernel(weights)

    return function


def _edge_kernel(rows: list[list[int]]) -> Callable[..., Kernel]:
    def function(magnitude: float, normalize: bool) -> Kernel:
        return Kernel(lambda metres: _scaled(np.array(rows, np.float64), normalize, magnitude))

    return function


for _name, _shape in SHAPES.items():
    registry.add(f"Kernel.{_name}", _shape_kernel(_shape))
for _name, _measure in _MEASURES.items():
    registry.add(f"Kernel.{_name}", _distance_kernel(_measure))
for _name, _rows in _EDGES.items():
    registry.add(f"Kernel.{_name}", _edge_kernel(_rows))


@algorithm("Kernel.rectangle")
def rectangle(xRadius: float, yRadius: float, units: str, normalize: bool, magnitude: float) -> Kernel:
    """Equal weights in a rectangle."""

    def weights(metres: float) -> Weights:
        size = metres if _is_metres(units) else 1.0
        dx, _ = _offsets(xRadius / size, yRadius / size)
        return _scaled(np.ones(dx.shape), normalize, magnitude)

    return Kernel(weights)


@algorithm("Kernel.gaussian")
def gaussian(radius: float, sigma: float, units: str, normalize: bool, magnitude: float) -> Kernel:
    """Weights of a bell curve."""
    if not sigma > 0:
        raise EarthEngineError(f"Sigma must be positive. Got {sigma}.")

    def weights(metres: float) -> Weights:
        factor = 1 / metres if _is_metres(units) else 1.0
        dx, dy = _offsets(radius * factor, radius * factor)
        return _scaled(np.exp(-(dx**2 + dy**2) / (2 * (sigma * factor) ** 2)), normalize, magnitude)

    return Kernel(weights)


@algorithm("Kernel.fixed")
def fixed(width: int, height: int, weights: list[Any], x: int, y: int, normalize: bool) -> Kernel:
    """Weights at hand, the middle one on the pixel."""
    try:
        found = np.array(weights, np.float64)
    except (ValueError, TypeError) as exc:
        raise EarthEngineError("Kernel weights must be rows of numbers of the same length.") from exc
    if found.ndim != 2 or not all(side % 2 for side in found.shape) or max(found.shape) > 2 * MAX_REACH + 1:
        raise EarthEngineError(f"A kernel must have an odd number of rows and columns, at most {2 * MAX_REACH + 1}.")
    return Kernel(lambda metres: _scaled(found, normalize, 1.0))


@algorithm("Kernel.rotate")
def rotate(kernel: Kernel, rotations: int) -> Kernel:
    """The kernel turned clockwise by right angles."""
    return Kernel(lambda metres: np.rot90(kernel.weights(metres), -rotations))


@algorithm("Kernel.inverse")
def inverse(kernel: Kernel) -> Kernel:
    """One over each weight; 0 stays 0."""

    def weights(metres: float) -> Weights:
        found = kernel.weights(metres)
        return np.divide(1.0, found, out=np.zeros(found.shape), where=found != 0)

    return Kernel(weights)


@algorithm("Kernel.add")
def add(kernel1: Kernel, kernel2: Kernel, normalize: bool) -> Kernel:
    """The sum of the weights of two kernels, centre on centre."""

    def weights(metres: float) -> Weights:
        found = [kernel.weights(metres) for kernel in (kernel1, kernel2)]
        total = np.zeros(np.max([part.shape for part in found], axis=0))
        for part in found:
            row, col = ((np.array(total.shape) - part.shape) // 2).tolist()
            total[row : row + part.shape[0], col : col + part.shape[1]] += part
        return _scaled(total, normalize, 1.0)

    return Kernel(weights)
