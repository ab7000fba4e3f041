"""Kernels: weights of the pixels around a pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights around a pixel, made for the size of the pixels they are used on.

    Attributes:
        weights: gives an array of odd sides for metres per pixel.
    """

    weights: Callable[[float], Weights]
