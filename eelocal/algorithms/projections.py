"""Projection: coordinate systems and the pixels on them."""

from __future__ import annotations

from typing import Any

from eelocal.errors import EarthEngineError
from eelocal.registry import algorithm
from eelocal.values.projection import Projection, Transform, parse_crs, to_transform


@algorithm("Projection", "Proj")
def make(crs: Any, transform: list[Any] | None, transformWkt: str | None) -> Projection:  # noqa: N803
    """A projection from a code or WKT, and six numbers."""
    if transformWkt is not None:
        raise EarthEngineError("transformWkt is not understood by eelocal; give transform instead.")
    if not isinstance(crs, (str, Projection)):
        raise EarthEngineError(f"The CRS must be a string. Got {str(crs)[:100]!r}.")
    base = crs if isinstance(crs, Projection) else Projection(_checked(crs))
    return base if transform is None else base.with_transform(to_transform(transform))


@algorithm("Projection.nominalScale")
def nominal_scale(proj: Projection) -> float:
    """Size of a pixel in metres."""
    return proj.nominal_scale


@algorithm("Projection.atScale")
def at_scale(projection: Projection, meters: float) -> Projection:
    """The same system with pixels of that size."""
    return projection.at_scale(meters)


@algorithm("Projection.crs")
def crs(projection: Projection) -> str:
    """Code of the system."""
    return projection.crs


@algorithm("Projection.wkt")
def wkt(projection: Projection) -> str:
    """WKT of the system."""
    return str(parse_crs(projection.crs).to_wkt("WKT1_GDAL", pretty=True))


@algorithm("Projection.transform")
def transform(projection: Projection) -> str:
    """WKT of the affine transform."""
    a, b, c, d, e, f = projection.transform
    elements = {"elt_0_0": a, "elt_0_1": b, "elt_0_2": c, "elt_1_0": d, "elt_1_1": e, "elt_1_2": f}
    listed = "".join(f', \n  PARAMETER["{name}", {value!r}]' for name, value in elements.items() if value)
    return f'PARAM_MT["Affine", \n  PARAMETER["num_row", 3], \n  PARAMETER["num_col", 3]{listed}]'


@algorithm("Projection.scale")
def scale(projection: Projection, x: float, y: float) -> Projection:
    """Pixels larger by x and y."""
    a, b, c, d, e, f = projection.transform
    return projection.with_transform((a * x, b * y, c, d * x, e * y, f))


@algorithm("Projection.translate")
def translate(projection: Projection, x: float, y: float) -> Projection:
    """Pixels moved by x and y of them."""
    moved: Transform = (projection.affine * projection.affine.translation(x, y))[:6]
    return projection.with_transform(moved)


def _checked(code: str) -> str:
    parse_crs(code)
    return code
