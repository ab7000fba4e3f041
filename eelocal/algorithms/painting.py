"""Image: shapes painted on it, and images moved."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import affinity

from eelocal.arrays import cast
from eelocal.errors import EarthEngineError
from eelocal.grid import Grid, Pixels
from eelocal.lattice import centres_inside
from eelocal.registry import algorithm
from eelocal.sampling import nearest
from eelocal.values.collection import Collection
from eelocal.values.element import Element
from eelocal.values.geometry import Geometry
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import PixelType, integer
from eelocal.values.projection import Projection


@algorithm("Image.paint", keeps="image")
def paint(image: Image, featureCollection: Collection, color: Any, width: Any) -> Image:
    """The image with shapes painted on: pixels whose centre is inside, or that an outline of a width covers.

    Colour and width are numbers or names of the features' properties.
    """
    features = [f for f in featureCollection.elements() if f.geometry is not None]

    def painted(band: Band) -> Band:
        kind = band.type
        if kind.is_integer:
            for feature in features:
                kind = kind.union(_kind(_number(feature, color, 0)))

        def read(grid: Grid) -> Pixels:
            values, valid = band.pixels(grid)
            values, valid = values.astype(kind.dtype), valid.copy()
            for feature in features:
                here = _covered(feature, width, grid)
                values[here], valid[here] = cast(np.array(_number(feature, color, 0)), kind), True
            return Pixels(values, valid)

        return replace(band.derived(read, kind), cast=band.cast and kind == band.type)

    return image.with_bands([painted(band) for band in image.bands])


def _kind(number: float) -> PixelType:
    return integer(int(number), int(number)) if float(number).is_integer() else PixelType("double")


def _number(feature: Element, wanted: Any, default: float) -> float:
    found = feature.get(wanted) if isinstance(wanted, str) else wanted
    if found is None:
        return default
    if not isinstance(found, (int, float)):
        raise EarthEngineError(f"Expected a number or the name of a property with one. Got {str(wanted)[:100]!r}.")
    return found


def _covered(feature: Element, width: Any, grid: Grid) -> NDArray[np.bool_]:
    geometry = feature.geometry
    assert geometry is not None
    if geometry.unbounded:
        return np.ones(grid.shape, bool)
    if width is None or geometry.shape.area == 0:
        return centres_inside(geometry, grid)
    pixel = max(abs(grid.transform[0]), abs(grid.transform[4]))
    line = geometry.in_crs(grid.crs).boundary.buffer(max(_number(feature, width, 1), 1) * pixel / 2)
    return centres_inside(Geometry(line, grid.crs), grid)


@algorithm("Image.translate")
def translate(input: Image, x: float, y: float, units: str, proj: Projection | None) -> Image:
    """The image moved by metres (east and north) or by pixels of a projection (right and down)."""
    if units not in ("meters", "pixels"):
        raise EarthEngineError(f"Units must be 'meters' or 'pixels'. Got '{units}'.")
    if not input.bands:
        return input
    place = proj or input.bands[0].projection
    a, _, _, _, e, _ = place.transform
    metre = abs(a) / place.nominal_scale  # units of the system in a metre
    dx, dy = (x * metre, y * metre) if units == "meters" else (x * a, y * e)

    def moved(band: Band) -> Band:
        ba, bb, bc, bd, be, bf = band.projection.transform
        same = band.projection.crs == place.crs
        target = Projection(place.crs, (ba, bb, bc + dx, bd, be, bf + dy)) if same else place

        def shifted(grid: Grid) -> Pixels:
            ga, gb, gc, gd, ge, gf = grid.transform
            return band.pixels(Grid(grid.crs, (ga, gb, gc - dx, gd, ge, gf - dy), grid.width, grid.height))

        def read(grid: Grid) -> Pixels:
            if grid.crs == place.crs:
                return shifted(grid)
            return nearest(
                lambda c, r, w, h: shifted(Grid(target.crs, target.transform, 1, 1).window(c, r, w, h)), target, grid
            )

        return replace(band.derived(read), projection=target, dimensions=band.dimensions if same else None)

    def footprint() -> Any:
        whole = input.footprint
        if whole is None:
            return None
        return Geometry(affinity.translate(Geometry(whole).in_crs(place.crs), dx, dy), place.crs).lonlat

    return input.with_bands([moved(band) for band in input.bands]).with_footprint(footprint)
