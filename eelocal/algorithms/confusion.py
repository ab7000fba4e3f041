"""ConfusionMatrix: how often a class was taken for another. Rows are the actual, columns the predicted classes."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.arrays import to_array
from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.collection import Collection

_MOST_CLASSES = 4096


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Counts of shape (classes, classes), and the classes' numbers."""

    counts: NDArray[Any]
    order: list[int]

    def encode(self) -> Any:
        """As `getInfo` prints it."""
        return self.counts.tolist()


@algorithm("ConfusionMatrix")
def make(array: Any, order: list[Any] | None) -> ConfusionMatrix:
    """A matrix of counts."""
    counts = to_array(array)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise EarthEngineError(f"A confusion matrix must be square. Got the shape {list(counts.shape)}.")
    classes = list(range(len(counts))) if order is None else [int(n) for n in order]
    if len(classes) != len(counts):
        raise EarthEngineError(f"The order must name {len(counts)} classes. Got {len(classes)}.")
    return ConfusionMatrix(counts, classes)


@algorithm("Collection.errorMatrix")
def error_matrix(collection: Collection, actual: str, predicted: str, order: list[Any] | None) -> ConfusionMatrix:
    """The matrix of two properties with class numbers."""
    pairs = [(e.get(actual), e.get(predicted)) for e in collection.elements()]
    if not all(isinstance(n, (int, float)) and float(n).is_integer() for pair in pairs for n in pair):
        raise EarthEngineError(f"The properties '{actual}' and '{predicted}' must be whole numbers.")
    known = (
        [int(n) for n in order] if order is not None else list(range(1 + max((int(max(p)) for p in pairs), default=0)))
    )
    if len(known) > _MOST_CLASSES:
        raise EarthEngineError(f"There may be at most {_MOST_CLASSES} classes. Got {len(known)}.")
    place = {number: i for i, number in enumerate(known)}
    counts = np.zeros((len(known), len(known)), np.int64)
    for row, column in pairs:
        if row in place and column in place:
            counts[place[row], place[column]] += 1
    return ConfusionMatrix(counts, known)


@algorithm("ConfusionMatrix.array")
def array(confusionMatrix: ConfusionMatrix) -> NDArray[Any]:
    """The counts."""
    return _matrix(confusionMatrix).counts


@algorithm("ConfusionMatrix.order")
def order(confusionMatrix: ConfusionMatrix) -> list[int]:
    """The classes' numbers."""
    return _matrix(confusionMatrix).order


@algorithm("ConfusionMatrix.accuracy")
def accuracy(confusionMatrix: ConfusionMatrix) -> float:
    """The part that is right."""
    counts = _matrix(confusionMatrix).counts
    return float(np.trace(counts) / counts.sum()) if counts.sum() else 0.0


@algorithm("ConfusionMatrix.kappa")
def kappa(confusionMatrix: ConfusionMatrix) -> float:
    """The part that is right beyond what chance would give (Cohen 1960)."""
    counts = _matrix(confusionMatrix).counts.astype(np.float64)
    total = counts.sum()
    chance = float((counts.sum(axis=0) * counts.sum(axis=1)).sum() / total**2) if total else 1.0
    return float((np.trace(counts) / total - chance) / (1 - chance)) if total and chance < 1 else 0.0


@algorithm("ConfusionMatrix.producersAccuracy")
def producers_accuracy(confusionMatrix: ConfusionMatrix) -> NDArray[Any]:
    """The part of each actual class that is right, as a column."""
    counts = _matrix(confusionMatrix).counts
    return _parts(counts, counts.sum(axis=1))[:, None]


@algorithm("ConfusionMatrix.consumersAccuracy")
def consumers_accuracy(confusionMatrix: ConfusionMatrix) -> NDArray[Any]:
    """The part of each predicted class that is right, as a row."""
    counts = _matrix(confusionMatrix).counts
    return _parts(counts, counts.sum(axis=0))[None, :]


@algorithm("ConfusionMatrix.fscore")
def f_score(confusionMatrix: ConfusionMatrix, beta: float) -> NDArray[Any]:
    """The harmonic mean of both accuracies of each class, producers' weighing beta squared times as much."""
    counts = _matrix(confusionMatrix).counts
    recall, precision = _parts(counts, counts.sum(axis=1)), _parts(counts, counts.sum(axis=0))
    below = beta**2 * precision + recall
    return np.asarray(np.divide((1 + beta**2) * precision * recall, below, out=np.zeros(len(counts)), where=below != 0))


def _parts(counts: NDArray[Any], totals: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.divide(np.diagonal(counts), totals, out=np.zeros(len(counts)), where=totals != 0))


def _matrix(value: Any) -> ConfusionMatrix:
    if not isinstance(value, ConfusionMatrix):
        raise EarthEngineError("The argument must be a ConfusionMatrix.")
    return value
