"""Sentinel-2 granules: the 100 km squares of the MGRS, their names, origins and outlines.

A granule is named after its 100 km square and is 109.8 km wide, so that neighbours overlap by 9.8 km. Its upper
left corner is the square's, moved outwards to the grid of 60 m that is anchored at (0, 0) of the projection with
northings counted from the equator: easting rounded down, northing rounded up. That rule gives every origin seen on
Earth Engine: 31UES (499980, 5700000), 33TWM (499980, 5200020), 23KPS (600000, 7700020).
Lettering: NGA.STND.0037 2.0.0 (MGRS), the AA scheme that WGS84 uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from shapely import affinity
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from eelocal.world import utm

SQUARE = 100_000
GRANULE_SIZE = 109_800
_BANDS = "CDEFGHJKLMNPQRSTUVWX"  # 8 degrees each from 80 S; X reaches 84 N
_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")  # by zone modulo 3
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_FIRST_ROW, _LAST_ROW = -89, 93  # 80 S and 84 N, in squares from the equator
# Norway and Svalbard: (zone, band) -> western and eastern longitude; None where the zone has no part in the band.
_EXCEPTIONS: dict[tuple[int, str], tuple[float, float] | None] = {
    (31, "V"): (0, 3),
    (32, "V"): (3, 12),
    (31, "X"): (0, 9),
    (32, "X"): None,
    (33, "X"): (9, 21),
    (34, "X"): None,
    (35, "X"): (21, 33),
    (36, "X"): None,
    (37, "X"): (33, 42),
}


def latitude_band(latitude: float) -> str | None:
    """Letter of the latitude band; None beyond 80 S and 84 N."""
    if not -80 <= latitude <= 84:
        return None
    return _BANDS[min(int((latitude + 80) // 8), 19)]


def zone_limits(zone: int, band: str) -> tuple[float, float] | None:
    """Western and eastern longitude of a zone within a band, in degrees (not wrapped)."""
    west = zone * 6.0 - 186.0
    return _EXCEPTIONS.get((zone, band), (west, west + 6.0))


def zone_at(longitude: float, latitude: float) -> int:
    """The MGRS zone of a place, with the exceptions of Norway and Svalbard."""
    band = latitude_band(latitude) or ""
    lon = (longitude + 180) % 360 - 180
    for zone in range(31, 38):
        limits = _EXCEPTIONS.get((zone, band))
        if limits and limits[0] <= lon < limits[1]:
            return zone
    return utm.zone_of(longitude)


@dataclass(frozen=True)
class Granule:
    """One granule: its zone and its 100 km square, counted from (0, 0); `row` is negative in the south."""

    zone: int
    column: int
    row: int

    @property
    def south(self) -> bool:
        """Whether its projection is a southern one, with a false northing of 10,000 km."""
        return self.row < 0

    @property
    def crs(self) -> str:
        """`EPSG:326zz` or `EPSG:327zz`."""
        return f"EPSG:32{7 if self.south else 6}{self.zone:02d}"

    @property
    def left(self) -> int:
        """Easting of the upper left corner, metres."""
        return self.column * SQUARE // 60 * 60

    @property
    def top(self) -> int:
        """Signed northing of the upper left corner: metres from the equator."""
        return -(-(self.row + 1) * SQUARE // 60) * 60

    @property
    def ul_northing(self) -> int:
        """Northing of the upper left corner as the projection has it."""
        return self.top + (utm.FALSE_NORTHING_SOUTH if self.south else 0)

    @cached_property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the granule's middle, degrees."""
        half = GRANULE_SIZE / 2
        lon, lat = utm.inverse(self.left + half, self.top - half, self.zone)
        return float(lon), float(lat)

    @cached_property
    def name(self) -> str:
        """MGRS name without the leading T, such as `31UES`."""
        letter = _COLUMNS[self.zone % 3][self.column - 1]
        return f"{self.zone:02d}{_band_of_row(self.row)}{letter}{_row_letter(self.zone, self.row)}"

    @cached_property
    def outline(self) -> Polygon:
        """The granule in longitude and latitude, continuous around its zone (may pass 180 degrees)."""
        return outline(self.zone, self.left, self.top - GRANULE_SIZE, self.left + GRANULE_SIZE, self.top)


def _row_letter(zone: int, row: int) -> str:
    return _ROWS[(row + (0 if zone % 2 else 5)) % 20]


def outline(zone: int, left: float, bottom: float, right: float, top: float, points: int = 8) -> Polygon:
    """A rectangle of a zone in longitude and latitude, its edges followed with some points each."""
    step = np.linspace(0, 1, points, endpoint=False)
    x = np.concatenate([left + 0 * step, left + (right - left) * step, right + 0 * step, right + (left - right) * step])
    y = np.concatenate([top + (bottom - top) * step, bottom + 0 * step, bottom + (top - bottom) * step, top + 0 * step])
    lon, lat = utm.inverse(x, y, zone)
    return Polygon(np.column_stack([lon, lat]))


def wrapped(geometry: BaseGeometry) -> BaseGeometry:
    """A geometry that may pass the antimeridian, cut there and brought back within 180 degrees."""
    west, _, east, _ = geometry.bounds
    if west >= -180 and east <= 180:
        return geometry
    parts: list[BaseGeometry] = []
    for turn in (-360, 0, 360):
        part = affinity.translate(geometry, turn).intersection(box(-180, -90, 180, 90))
        parts.extend(g for g in getattr(part, "geoms", [part]) if g.area > 0)
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def columns_of(zone: int, row: int) -> tuple[int, ...]:
    """Columns whose 100 km squares have a part inside the zone, in a row of squares."""
    band = _band_of_row(row)
    limits = zone_limits(zone, band) if band else None
    if limits is None:
        return ()
    middle = utm.central_meridian(zone)
    return _columns_between(limits[0] - middle, limits[1] - middle, row)


@lru_cache(maxsize=512)
def _band_of_row(row: int) -> str | None:
    _, lat = utm.inverse(utm.FALSE_EASTING, (row + 0.5) * SQUARE, 31)
    return latitude_band(float(lat))


@lru_cache(maxsize=4096)
def _columns_between(west: float, east: float, row: int) -> tuple[int, ...]:
    """Columns between two longitudes counted from the central meridian, where the row is widest."""
    _, widest = utm.inverse(utm.FALSE_EASTING, (row if row >= 0 else row + 1) * SQUARE, 31)
    x, _ = utm.forward(np.array([west, east]) + utm.central_meridian(31), np.full(2, float(widest)), 31)
    first, last = int(x[0] // SQUARE), int(-(-x[1] // SQUARE)) - 1
    return tuple(range(max(first, 1), min(last, 8) + 1))


@lru_cache(maxsize=4096)
def granule_named(name: str) -> Granule | None:
    """The granule of an MGRS name such as `31UES`; None if there is no such square."""
    if len(name) != 5 or not name[:2].isdigit() or not 1 <= int(name[:2]) <= 60 or name[2] not in _BANDS:
        return None
    zone, band = int(name[:2]), name[2]
    middle = -80 + 8 * _BANDS.index(band) + 4
    _, northing = utm.forward(utm.central_meridian(zone), middle, zone)
    for row in range(int(northing // SQUARE) - 9, int(northing // SQUARE) + 10):
        if _row_letter(zone, row) != name[4]:
            continue
        for column in columns_of(zone, row):
            granule = Granule(zone, column, row)
            if granule.name == name:
                return granule
    return None


def granules_touching(region: BaseGeometry) -> list[Granule]:
    """Granules whose outline touches a region in longitude and latitude, sorted by name."""
    found: set[Granule] = set()
    for part in getattr(region, "geoms", [region]):
        if not part.is_empty:
            found.update(_candidates(part))
    return sorted(found, key=lambda granule: granule.name)


def _candidates(part: BaseGeometry) -> Iterator[Granule]:
    west, south, east, north = part.bounds
    if east - west >= 348:
        zones = list(range(1, 61))
    else:  # a granule reaches less than 6 degrees beyond its zone up to 84 N, where a square is 8 degrees wide
        margin = 1.2 / max(np.cos(np.radians(min(max(abs(south), abs(north)), 84))), 0.1) + 12 * (north > 56)
        span = range(int(np.floor((west - margin + 180) / 6)), int(np.floor((east + margin + 180) / 6)) + 1)
        zones = sorted({index % 60 + 1 for index in span})
    first = max(_FIRST_ROW, int(np.floor((south - 1.5) * 1.105)))
    last = min(_LAST_ROW, int(np.ceil((north + 1.5) * 1.12)))
    if south < 0:
        first = max(_FIRST_ROW, int(np.floor((south - 1.5) * 1.12)))
    for zone in zones:
        shifted = [affinity.translate(part, turn) for turn in (-360, 0, 360)]
        near = [p for p in shifted if _overlaps(p.bounds, utm.central_meridian(zone))]
        if not near:
            continue
        for row in range(first, last + 1):
            for column in columns_of(zone, row):
                granule = Granule(zone, column, row)
                if any(granule.outline.intersects(p) for p in near):
                    yield granule


def _overlaps(bounds: tuple[float, float, float, float], meridian: float) -> bool:
    return bounds[0] <= meridian + 30 and bounds[2] >= meridian - 30


def all_granules() -> Iterator[Granule]:
    """Every granule of the Earth, zone by zone."""
    for zone in range(1, 61):
        for row in range(_FIRST_ROW, _LAST_ROW + 1):
            for column in columns_of(zone, row):
                yield Granule(zone, column, row)
