"""Array and Image: linear algebra, of one matrix or of the matrices of all pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from eelocal import registry
from eelocal.algorithms.image_arrays import array_band
from eelocal.algorithms.image_math import pair_bands
from eelocal.arrays import Array, on_array
from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.image import Image
from eelocal.values.pixeltype import DOUBLE, PixelType

Stacked = Callable[..., Any]
_MAX_SIDE = 512


def _matrices(stack: Array, *, square: bool = False) -> Array:
    if stack.ndim != 3:
        raise EarthEngineError(f"A matrix must have two dimensions. Got {stack.ndim - 1}.")
    if max(stack.shape[1:]) > _MAX_SIDE:
        raise EarthEngineError(f"A matrix may have at most {_MAX_SIDE} rows and columns. Got {list(stack.shape[1:])}.")
    if square and stack.shape[1] != stack.shape[2]:
        raise EarthEngineError(f"The matrix must be square. Got {stack.shape[1]} x {stack.shape[2]}.")
    return stack.astype(np.float64)


def _regular(stack: Array) -> tuple[Array, Array]:
    """Square matrices that can be inverted (one in place of the others), and which of them can."""
    matrices = _matrices(stack, square=True)
    ok = np.linalg.matrix_rank(matrices) == matrices.shape[1]
    return np.where(ok[:, None, None], matrices, np.eye(matrices.shape[1])), ok


def _multiply(left: Array, right: Array) -> Array:
    a, b = _matrices(left), _matrices(right)
    if a.shape[2] != b.shape[1]:
        raise EarthEngineError(
            f"Cannot multiply a {a.shape[1]} x {a.shape[2]} matrix by a {b.shape[1]} x {b.shape[2]} matrix."
        )
    return a @ b


def _inverse(stack: Array) -> Array:
    matrices, ok = _regular(stack)
    return np.where(ok[:, None, None], np.linalg.inv(matrices), np.nan)


def _solve(left: Array, right: Array) -> Array:
    """X of A X = B; by least squares where A is not square."""
    a, b = _matrices(left), _matrices(right)
    if a.shape[1] != b.shape[1]:
        raise EarthEngineError(f"Both matrices must have as many rows. Got {a.shape[1]} and {b.shape[1]}.")
    if a.shape[1] < a.shape[2]:
        raise EarthEngineError("The system is underdetermined: the left matrix has more columns than rows.")
    if a.shape[1] > a.shape[2]:
        return np.linalg.pinv(a) @ b
    matrices, ok = _regular(a)
    return np.where(ok[:, None, None], np.linalg.solve(matrices, b), np.nan)


def _diagonal(stack: Array) -> Array:
    return np.diagonal(_matrices(stack), axis1=1, axis2=2)[..., None]


def _to_diagonal(stack: Array) -> Array:
    column = _matrices(stack)
    if column.shape[2] != 1:
        raise EarthEngineError(f"The matrix must have one column. Got {column.shape[2]}.")
    return column * np.eye(column.shape[1])


def _eigen(stack: Array) -> Array:
    """Rows of an eigenvalue and its vector, the greatest value first."""
    matrices = _matrices(stack, square=True)
    symmetric = np.allclose(matrices, matrices.transpose(0, 2, 1))
    values, vectors = np.linalg.eigh(matrices) if symmetric else np.linalg.eig(matrices)
    if np.iscomplexobj(values) and np.abs(values.imag).max(initial=0) > 1e-12:
        raise EarthEngineError("The matrix has eigenvalues that are not real.")
    order = np.argsort(-values.real, axis=1)
    rows = np.take_along_axis(vectors.real.transpose(0, 2, 1), order[..., None], axis=1)
    return np.concatenate([np.take_along_axis(values.real, order, axis=1)[..., None], rows], axis=2)


def _cholesky(stack: Array) -> Array:
    try:
        return np.linalg.cholesky(_matrices(stack, square=True))
    except np.linalg.LinAlgError as exc:
        raise EarthEngineError("The matrix is not symmetric and positive-definite.") from exc


def _singular(part: int) -> Stacked:
    def run(stack: Array) -> Array:
        u, s, v = np.linalg.svd(_matrices(stack), full_matrices=False)
        return (u, s[:, :, None] * np.eye(s.shape[1]), v.transpose(0, 2, 1))[part]

    return run


def _orthogonal(part: int) -> Stacked:
    return lambda stack: np.linalg.qr(_matrices(stack))[part]


def _triangles(part: int) -> Stacked:
    """L, U and P of P A = L U, by rows of greatest pivots."""

    def run(stack: Array) -> Array:
        upper = _matrices(stack, square=True).copy()
        count, size = upper.shape[:2]
        lower = np.tile(np.eye(size), (count, 1, 1))
        order = np.tile(np.arange(size), (count, 1))
        every = np.arange(count)
        for k in range(size):
            pivot = k + np.argmax(np.abs(upper[:, k:, k]), axis=1)
            for held, stop in ((upper, size), (lower, k)):
                held[every, k, :stop], held[every, pivot, :stop] = (
                    held[every, pivot, :stop].copy(),
                    held[every, k, :stop].copy(),
                )
            order[every, k], order[every, pivot] = order[every, pivot].copy(), order[every, k].copy()
            head = upper[:, k, k]
            factor = np.divide(
                upper[:, k + 1 :, k], head[:, None], out=np.zeros((count, size - k - 1)), where=head[:, None] != 0
            )
            lower[:, k + 1 :, k] = factor
            upper[:, k + 1 :] -= factor[..., None] * upper[:, k : k + 1]
        permutation = np.eye(size)[order]
        return (lower, np.triu(upper), permutation)[part]

    return run


# What they are of one matrix: the function, and the dimensions of its result.
_OF_ONE: dict[str, tuple[Stacked, int]] = {
    "matrixDiagonal": (_diagonal, 2),
    "matrixToDiag": (_to_diagonal, 2),
    "matrixInverse": (_inverse, 2),
    "matrixPseudoInverse": (lambda stack: np.linalg.pinv(_matrices(stack)), 2),
    "matrixFnorm": (lambda stack: np.linalg.norm(_matrices(stack), axis=(1, 2)), 0),
    "matrixTrace": (lambda stack: np.trace(_matrices(stack, square=True), axis1=1, axis2=2), 0),
    "matrixDeterminant": (lambda stack: np.linalg.det(_matrices(stack, square=True)), 0),
}
_OF_TWO: dict[str, Stacked] = {"matrixMultiply": _multiply, "matrixSolve": _solve}
_PARTS: dict[str, dict[str, Stacked]] = {
    "matrixCholeskyDecomposition": {"L": _cholesky},
    "matrixSingularValueDecomposition": {"U": _singular(0), "S": _singular(1), "V": _singular(2)},
    "matrixLUDecomposition": {"L": _triangles(0), "U": _triangles(1), "P": _triangles(2)},
    "matrixQRDecomposition": {"Q": _orthogonal(0), "R": _orthogonal(1)},
}


@algorithm("Array.eigen")
def eigen(input: Array) -> Array:
    """Rows of an eigenvalue and its vector, the greatest value first."""
    return on_array(_eigen, input)


def _known(result: Array) -> Array:
    if np.isnan(result).any():
        raise EarthEngineError("The matrix is singular.")
    return result


def _of_one(function: Stacked, dimensions: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    kind = DOUBLE.array(dimensions)

    def arrays(input: Array) -> Any:
        result = _known(on_array(function, input))
        return result if dimensions else result.item()

    def images(value: Image) -> Image:
        return value.bare([array_band([band], function, kind) for band in value.bands])

    return arrays, images


def _of_two(function: Stacked) -> tuple[Callable[..., Any], Callable[..., Any]]:
    kind = DOUBLE.array(2)

    def arrays(left: Array, right: Array) -> Array:
        return _known(on_array(function, left, right))

    def images(image1: Image, image2: Image) -> Image:
        return image1.bare([array_band([a, b], function, kind) for a, b in pair_bands(image1, image2)])

    return arrays, images


def _in_parts(parts: dict[str, Stacked]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    kind: PixelType = DOUBLE.array(2)

    def arrays(array: Array) -> dict[str, Array]:
        return {name: on_array(function, array) for name, function in parts.items()}

    def images(image: Image) -> Image:
        if len(image.bands) != 1:
            raise EarthEngineError(f"The image must have one band. Got {len(image.bands)}.")
        band = image.bands[0]
        return image.bare([array_band([band], function, kind).renamed(name) for name, function in parts.items()])

    return arrays, images


def _register(name: str, made: tuple[Callable[..., Any], Callable[..., Any]]) -> None:
    for family, function in zip(("Array", "Image"), made, strict=True):
        registry.add(f"{family}.{name}", function)


for _name, _entry in _OF_ONE.items():
    _register(_name, _of_one(*_entry))
for _name, _function in _OF_TWO.items():
    _register(_name, _of_two(_function))
for _name, _functions in _PARTS.items():
    _register(_name, _in_parts(_functions))
