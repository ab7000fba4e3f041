"""Grids over bounds: of so many pixels, or on a lattice."""

from __future__ import annotations

import numpy as np
from shapely import MultiPoint

from eelocal.errors import EarthEngineError
from eelocal.grid import Grid, apply, to_pixels
from eelocal.values.geometry import Geometry
from eelocal.values.image import Band
from eelocal.values.projection import Projection


def extent(band: Band) -> Geometry | None:
    """The rectangle of a band's pixels in its own system; None for one without an end."""
    if band.dimensions is None:
        return None
    col, row = band.origin or (0, 0)
    width, height = band.dimensions
    corners = [apply(band.projection.transform, u, v) for u in (col, col + width) for v in (row, row + height)]
    return Geometry(MultiPoint(corners).envelope, band.projection.crs)


def bounds_in(region: Geometry | None, crs: str) -> tuple[float, float, float, float]:
    """Bounds of a region in a system; 400 for one without an end."""
    if region is None or region.unbounded or region.shape.is_empty:
        raise EarthEngineError("Unable to compute pixels of an unbounded image: give a grid with dimensions.")
    left, bottom, right, top = region.in_crs(crs).bounds
    return left, bottom, right, top


def stretched(crs: str, bounds: tuple[float, float, float, float], width: int, height: int) -> Grid:
    """Width x height pixels over bounds, north up."""
    left, bottom, right, top = bounds
    return Grid(crs, ((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top), width, height)


def snapped(projection: Projection, bounds: tuple[float, float, float, float]) -> Grid:
    """The pixels of a lattice that cover bounds."""
    left, bottom, right, top = bounds
    cols, rows = zip(
        *(to_pixels(projection.transform, x, y) for x in (left, right) for y in (bottom, top)), strict=True
    )
    col, row = int(np.floor(min(cols) + 1e-6)), int(np.floor(min(rows) + 1e-6))
    width, height = int(np.ceil(max(cols) - 1e-6)) - col, int(np.ceil(max(rows) - 1e-6)) - row
    return Grid(projection.crs, projection.transform, 1, 1).window(col, row, max(1, width), max(1, height))
