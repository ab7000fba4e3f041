"""Reducers: many values into few, over a stack of pixels or over rows of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.errors import EarthEngineError
from eelocal.grid import Pixels
from eelocal.values.pixeltype import DOUBLE, PixelType

# Stacks: values and validity of shape (n, ...); each input of the reducer is one stack. Weights have the same shape.
Stack = Pixels
Weights = NDArray[np.float64] | None
Reduce = Callable[[Sequence[Stack], Weights], list[Pixels]]
Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class Reducer:
    """A reducer.

    Attributes:
        outputs: names of its results.
        inputs: values it takes from each row.
        reduce: results over the first axis of stacks; None if pixels cannot be reduced so.
        column: results of rows of plain values; None means through `reduce` as numbers.
        types: pixel type of each result, from those of the inputs.
        weighted: whether parts of pixels count as parts.
    """

    outputs: tuple[str, ...]
    reduce: Reduce | None
    inputs: int = 1
    column: Callable[[Rows], list[Any]] | None = None
    types: Callable[[Sequence[PixelType]], list[PixelType]] | None = None
    weighted: bool = False

    def output_types(self, inputs: Sequence[PixelType]) -> list[PixelType]:
        """Pixel types of the results."""
        return self.types(inputs) if self.types else [DOUBLE] * len(self.outputs)

    def renamed(self, outputs: Sequence[str]) -> Reducer:
        """The same reducer under other output names."""
        if len(outputs) != len(self.outputs):
            raise EarthEngineError(f"Reducer has {len(self.outputs)} outputs, but {len(outputs)} names were given.")
        return replace(self, outputs=tuple(outputs))

    def rows(self, rows: Rows) -> dict[str, Any]:
        """Results of rows of values; rows with a null do not count unless the reducer wants them."""
        if self.column is not None:
            return dict(zip(self.outputs, self.column(rows), strict=True))
        if self.reduce is None:
            raise EarthEngineError("This reducer cannot be applied to a list of values.")
        results = self.reduce(_stacks(rows, self.inputs), None)
        return {name: _scalar(pixels) for name, pixels in zip(self.outputs, results, strict=True)}


def like_input(inputs: Sequence[PixelType]) -> list[PixelType]:
    """The result has the type of the input."""
    return [inputs[0]]


def constant_types(*types: PixelType) -> Callable[[Sequence[PixelType]], list[PixelType]]:
    """The results have these types, whatever the inputs."""
    return lambda inputs: list(types)


def _stacks(rows: Rows, inputs: int) -> list[Stack]:
    stacks = []
    for position in range(inputs):
        column = [row[position] for row in rows]
        bad = next((v for v in column if v is not None and not isinstance(v, (int, float))), None)
        if bad is not None:
            raise EarthEngineError(f"Reducer expects numbers. Got {str(bad)[:100]!r}.")
        valid = np.array([value is not None for value in column], bool).reshape(-1)
        values = np.array([0 if value is None else value for value in column], np.float64).reshape(-1)
        stacks.append(Pixels(values, valid))
    return stacks


def _scalar(pixels: Pixels) -> Any:
    if not bool(np.all(pixels.valid)):
        return None
    return pixels.values.item() if pixels.values.ndim == 0 else pixels.values.tolist()
