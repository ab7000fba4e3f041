"""How a band is declared and how its pixels are made, whatever the sensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world.surface import Day
from eelocal.world.tiles import Raster, across_zones, finer, mean_of_four
from eelocal.world.window import Window

Make = Callable[[Day], NDArray[Any]]
Request = tuple[int, int, int, int]  # first column, first row, columns, rows


@dataclass(frozen=True)
class BandSpec:
    """One band: metres per pixel, type, and its values (before rounding to the type) for the samples of a day."""

    name: str
    resolution: int
    dtype: np.dtype[Any]
    make: Make
    pyramiding: str = "MEAN"
    masked_ms: tuple[float, float] | None = None  # scenes in [from, to) have no valid pixel

    @property
    def limits(self) -> tuple[int, int] | None:
        """Least and greatest value of an integer type; None for floats."""
        if self.dtype.kind == "f":
            return None
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    def present(self, time_ms: float) -> bool:
        """Whether scenes of that time have data in this band."""
        return self.masked_ms is None or not self.masked_ms[0] <= time_ms < self.masked_ms[1]

    def typed(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values in the band's type: integers rounded and held within it, never wrapped."""
        if values.dtype == self.dtype:
            return values
        if self.limits is None:
            return values.astype(self.dtype)
        return np.asarray(np.clip(np.rint(values), *self.limits), self.dtype)

    def read(
        self,
        raster: Raster,
        level: int,
        request: Request,
        inside: Callable[[Window], NDArray[np.bool_]],
        samples: Callable[[Window, Window], NDArray[Any]],
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels of a window at a pyramid level, as `eelocal.assets.StoredImage.read` gives them.

        Args:
            raster: the band's grid at level 0.
            level: pyramid level.
            request: first column, first row, columns and rows at that level.
            inside: which pixels of a window the scene covers.
            samples: values of a window (first argument) that belongs to a piece of the request (second).
        """
        col, row, width, height = request
        values = np.zeros((height, width), self.dtype)
        valid = np.zeros((height, width), np.bool_)
        averaged = level > 0 and self.pyramiding == "MEAN"
        for piece in raster.at_level(level).pieces(col, row, width, height, 2 if averaged else 1):
            covered = inside(piece.window)
            if not covered.any():
                continue
            window = finer(piece.window) if averaged else piece.window
            made = across_zones(window, lambda part, whole=piece.window: samples(part, whole))  # type: ignore[misc]
            typed = self.typed(mean_of_four(made) if averaged else made)
            values[piece.target] = np.where(covered, typed, typed.dtype.type(0))
            valid[piece.target] = covered
        return values, valid
