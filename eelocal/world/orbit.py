"""When a Sentinel-2 satellite sees a place: the repeating orbit, its swath and its datatakes.

A circular sun-synchronous orbit of 143 revolutions in 10 days, two satellites half a cycle apart (ESA, "Sentinel-2
User Handbook", 2015: inclination 98.62 degrees, descending node 10:30 local time, swath 290 km). The clock is set by a
recorded scene: S2A orbit 46853 (relative orbit 95) passed the middle of T23KPS at 2024-06-11T13:08:13.493Z. The
relative orbits and dates of real tiles follow: T31UES 2018-08-04 (R051), T48NUG 2023-07-24T03:37:53Z.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world.hashing import scalar_unit

ORBITS = 143
CYCLE_MS = 10 * 86_400_000
PERIOD_MS = CYCLE_MS / ORBITS
SWATH_HALF = np.degrees(145.0 / 6371.0)  # half the swath seen from the Earth's centre, degrees
_INCLINATION = 98.62  # degrees
_TURN = 360.0 * 10 / ORBITS  # degrees of longitude the Earth turns under the orbit in one revolution
_ANCHOR_ORBIT = 95
_ANCHOR_NODE_MS = 1_718_110_930_490  # descending node of S2A orbit 46853
_ANCHOR_LONGITUDE = -38.17  # puts the western edge of R079 where real scenes of T33TWM end (2023-08-15)

_S2B_START = 1_498_867_200_000  # 2017-07-01
_S2C_START = 1_737_417_600_000  # 2025-01-21: Sentinel-2C took the place of 2A
# spacecraft: the absolute orbit number at the anchor (of 2B: five days before it)
_ORBIT_AT_ANCHOR = {"A": 46853, "B": 37873, "C": 46853 - 44644}


def seen_from(
    longitude: Any, latitude: Any, node_longitude: Any, inclination: float, turn: float, ascending: bool = False
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where places lie as seen from half a revolution of a circular orbit around one of its nodes.

    Args:
        longitude: degrees.
        latitude: degrees.
        node_longitude: of the descending (or ascending) node, degrees.
        inclination: degrees, above 90 for a retrograde orbit.
        turn: degrees of longitude the Earth turns under the orbit in a revolution.
        ascending: whether the half going north is meant.

    Returns:
        angle across the track in degrees, positive to the east, and the share of a revolution since the node.
    """
    lon = np.radians((np.asarray(longitude, dtype=np.float64) - node_longitude + 180.0) % 360.0 - 180.0)
    lat = np.radians(np.asarray(latitude, dtype=np.float64))
    sin_i, cos_i = np.sin(np.radians(inclination)), np.cos(np.radians(inclination))
    heading = 1.0 if ascending else -1.0
    z = np.sin(lat)
    along = heading * np.arcsin(np.clip(z / sin_i, -1, 1))
    for _ in range(4):
        inertial = lon + along * np.radians(turn) / (2 * np.pi)
        x, y = np.cos(lat) * np.cos(inertial), np.cos(lat) * np.sin(inertial)
        along = np.arctan2(y * cos_i + heading * z * sin_i, x)
    across = np.degrees(np.arcsin(np.clip(y * sin_i - heading * z * cos_i, -1, 1)))
    return across, along / (2 * np.pi)


def on_ground(
    across: Any, revolutions: Any, node_longitude: Any, inclination: float, turn: float, ascending: bool = False
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The way back of `seen_from`: longitude (within 180 degrees of the node) and latitude, degrees."""
    heading = 1.0 if ascending else -1.0
    sin_i, cos_i = np.sin(np.radians(inclination)), np.cos(np.radians(inclination))
    along, side = np.radians(360.0 * np.asarray(revolutions)), np.radians(np.asarray(across))
    x = np.cos(side) * np.cos(along)
    y = np.cos(side) * np.sin(along) * cos_i + np.sin(side) * sin_i
    z = heading * (np.cos(side) * np.sin(along) * sin_i - np.sin(side) * cos_i)
    longitude = np.degrees(np.arctan2(y, x)) - turn * np.asarray(revolutions) + node_longitude
    return (longitude + 180.0) % 360.0 - 180.0, np.degrees(np.arcsin(z))


def cross_track(longitude: Any, latitude: Any, relative_orbit: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where places lie as seen from a descending pass of Sentinel-2.

    Args:
        longitude: degrees.
        latitude: degrees.
        relative_orbit: 1..143, or an array of them.

    Returns:
        angle across the track in degrees (positive to the east) and milliseconds after the descending node (negative
        in the north).
    """
    node = _ANCHOR_LONGITUDE - (relative_orbit - _ANCHOR_ORBIT) * _TURN
    across, revolutions = seen_from(longitude, latitude, node, _INCLINATION, _TURN)
    return across, revolutions * PERIOD_MS


@dataclass(frozen=True)
class Pass:
    """One descending revolution; `cycle` counts 5-day steps from the anchor, even ones are the slot of S2A."""

    relative_orbit: int
    cycle: int

    @cached_property
    def node_ms(self) -> float:
        """Time of the descending node."""
        return _ANCHOR_NODE_MS + (self.relative_orbit - _ANCHOR_ORBIT) * PERIOD_MS + self.cycle * CYCLE_MS / 2

    @cached_property
    def satellite(self) -> str | None:
        """`A`, `B` or `C`; None before the second satellite flew."""
        if self.cycle % 2:
            return "B" if self.node_ms >= _S2B_START else None
        return "C" if self.node_ms >= _S2C_START else "A"

    @cached_property
    def absolute_orbit(self) -> int:
        """Absolute orbit number of its satellite."""
        half_cycles = self.cycle + 1 if self.satellite == "B" else self.cycle
        start = _ORBIT_AT_ANCHOR[self.satellite or "A"]
        return start + self.relative_orbit - _ANCHOR_ORBIT + half_cycles // 2 * ORBITS

    def datatake_start(self, after_node_ms: float) -> int:
        """Start of the datatake that holds a moment, in milliseconds since 1970, whole seconds.

        The instrument is switched on in three stretches of a pass. Where they begin belongs to the relative orbit;
        the second they begin moves a little from pass to pass.
        """
        start = _stretches(self.relative_orbit)
        begun = max(s for s in start if s <= max(after_node_ms, start[0]))
        jitter = scalar_unit("datatake", self.relative_orbit, self.cycle, start.index(begun)) * 12_000
        return int((self.node_ms + begun - jitter) // 1000) * 1000


@lru_cache(maxsize=ORBITS)
def _stretches(relative_orbit: int) -> tuple[float, float, float]:
    """Milliseconds after the node at which the datatakes of a pass begin."""
    degrees = [
        base + 10 * scalar_unit("stretch", relative_orbit, part) for part, base in enumerate((-98.0, -8.0, 34.0))
    ]
    return degrees[0] / 360 * PERIOD_MS, degrees[1] / 360 * PERIOD_MS, degrees[2] / 360 * PERIOD_MS


def cycles_between(relative_orbit: int, start_ms: float, end_ms: float) -> range:
    """5-day steps whose pass has its descending node in [start_ms, end_ms]."""
    first = Pass(relative_orbit, 0).node_ms
    step = CYCLE_MS / 2
    return range(int(np.ceil((start_ms - first) / step)), int(np.floor((end_ms - first) / step)) + 1)
