"""Projections: a coordinate system and the affine transform of its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyproj
from affine import Affine

from eelocal.errors import EarthEngineError

Transform = tuple[float, float, float, float, float, float]
IDENTITY: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
EARTH_RADIUS = 6378137.0  # metres; Earth Engine turns scale into degrees with the equatorial radius
METRES_PER_DEGREE = 111319.49079327357

# Earth Engine's own names for systems without an EPSG code. MODIS is on a sphere.
_KNOWN = {
    "SR-ORG:6974": "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs",
    "SR-ORG:6842": "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs",
}


@dataclass(frozen=True)
class Projection:
    """A coordinate system and the pixels laid on it.

    `transform` is Earth Engine's crs_transform order: scaleX, shearX, translateX, shearY, scaleY, translateY.
    """

    crs: str
    transform: Transform = IDENTITY

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are degrees."""
        return is_geographic(self.crs)

    @property
    def nominal_scale(self) -> float:
        """Size of a pixel in metres, at the equator for degrees."""
        return math.sqrt(abs(determinant(self.transform))) * metres_per_unit(self.crs)

    def at_scale(self, metres: float) -> Projection:
        """The same lattice with pixels of that size: its origin and directions stay.

        With the transform [1, 0, 0, 0, 1, 0] of a bare code this is the lattice anchored at the system's (0, 0),
        and 10 m gives 8.983152841195215e-05 degrees: math.degrees(scale / 6378137), bit for bit as recorded.
        """
        if not metres > 0 or not math.isfinite(metres):
            raise EarthEngineError(f"Scale must be greater than 0. Got {metres}.")
        size = math.degrees(metres / EARTH_RADIUS) if self.is_geographic else metres / metres_per_unit(self.crs)
        factor = size / math.sqrt(abs(determinant(self.transform)))
        a, b, c, d, e, f = self.transform
        return Projection(self.crs, (a * factor, b * factor, c, d * factor, e * factor, f))

    def with_transform(self, transform: Transform) -> Projection:
        """The same system with other pixels."""
        if determinant(transform) == 0:
            raise EarthEngineError(f"The crs_transform {list(transform)} cannot be inverted: a scale in it is 0.")
        return Projection(self.crs, transform)

    @property
    def affine(self) -> Affine:
        """Pixel to coordinate."""
        return Affine(*self.transform)

    def encode(self) -> dict[str, Any]:
        """As `getInfo` prints it."""
        name = {"crs": self.crs} if len(self.crs) < 40 else {"wkt": self.crs}
        return {"type": "Projection", **name, "transform": list(self.transform)}


WGS84 = Projection("EPSG:4326")


def determinant(transform: Transform) -> float:
    """Area of a pixel, signed."""
    return transform[0] * transform[4] - transform[1] * transform[3]


def to_transform(numbers: Any) -> Transform:
    """Six numbers as a transform."""
    if not isinstance(numbers, (list, tuple)) or len(numbers) != 6:
        raise EarthEngineError("The crs_transform must be a list of 6 numbers.")
    if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers):
        raise EarthEngineError(f"The crs_transform must be a list of 6 finite numbers. Got {list(numbers)}.")
    a, b, c, d, e, f = (float(n) for n in numbers)
    return (a, b, c, d, e, f)


@lru_cache(maxsize=512)
def parse_crs(crs: str) -> pyproj.CRS:
    """The coordinate system of a code or WKT; 400 if there is none."""
    try:
        return pyproj.CRS.from_user_input(_KNOWN.get(crs, crs))
    except (pyproj.exceptions.CRSError, TypeError) as exc:
        raise EarthEngineError(f"The CRS of a map projection could not be parsed: '{crs[:200]}'.") from exc


@lru_cache(maxsize=512)
def is_geographic(crs: str) -> bool:
    """Whether coordinates of the system are degrees."""
    return bool(parse_crs(crs).is_geographic)


@lru_cache(maxsize=512)
def metres_per_unit(crs: str) -> float:
    """Metres per coordinate unit, at the equator for degrees."""
    parsed = parse_crs(crs)
    if parsed.is_geographic:
        return METRES_PER_DEGREE
    return float(parsed.axis_info[0].unit_conversion_factor) if parsed.axis_info else 1.0


@lru_cache(maxsize=512)
def transformer(source: str, target: str) -> pyproj.Transformer:
    """Coordinates of one system in another, x before y. Thread safe since pyproj 3.1."""
    return pyproj.Transformer.from_crs(parse_crs(source), parse_crs(target), always_xy=True)
