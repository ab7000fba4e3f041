"""Where the sun stands."""

from __future__ import annotations

import math
from dataclasses import dataclass

DAY_MS = 86_400_000
_J2000_MS = 946_728_000_000  # 2000-01-01T12:00Z


@dataclass(frozen=True)
class Sun:
    """Zenith angle and azimuth (clockwise from north), degrees."""

    zenith: float
    azimuth: float

    @property
    def toward(self) -> tuple[float, float]:
        """How far east and north one looks per metre of height to see the sun: 0 when it is overhead."""
        tangent = math.tan(math.radians(min(self.zenith, 82.0)))
        angle = math.radians(self.azimuth)
        return tangent * math.sin(angle), tangent * math.cos(angle)


def sun_at(time_ms: float, longitude: float, latitude: float) -> Sun:
    """The sun over a place, to about 0.05 degrees (NOAA/Astronomical Almanac low-precision formulae)."""
    days = (time_ms - _J2000_MS) / DAY_MS
    anomaly = math.radians(357.528 + 0.9856003 * days)
    ecliptic = math.radians(280.460 + 0.9856474 * days + 1.915 * math.sin(anomaly) + 0.020 * math.sin(2 * anomaly))
    tilt = math.radians(23.439 - 4e-7 * days)
    ascension = math.atan2(math.cos(tilt) * math.sin(ecliptic), math.cos(ecliptic))
    declination = math.asin(math.sin(tilt) * math.sin(ecliptic))
    sidereal = math.radians((280.46062 + 360.98564737 * days) % 360)
    hour = sidereal + math.radians(longitude) - ascension
    lat = math.radians(latitude)
    up = math.sin(lat) * math.sin(declination) + math.cos(lat) * math.cos(declination) * math.cos(hour)
    east = -math.cos(declination) * math.sin(hour)
    north = math.cos(lat) * math.sin(declination) - math.sin(lat) * math.cos(declination) * math.cos(hour)
    return Sun(math.degrees(math.acos(max(-1.0, min(1.0, up)))), math.degrees(math.atan2(east, north)) % 360)


def sun_distance(time_ms: float) -> float:
    """Distance to the sun in astronomical units."""
    anomaly = math.radians(357.528 + 0.9856003 * (time_ms - _J2000_MS) / DAY_MS)
    return 1.00014 - 0.01671 * math.cos(anomaly) - 0.00014 * math.cos(2 * anomaly)


def year_phase(time_ms: float) -> float:
    """How far the year has gone, 0 at the start of January, below 1."""
    return ((time_ms / DAY_MS - 10957) % 365.25) / 365.25
