"""Scenes that are cut out of a satellite's strip: a rectangle along and across the track, on a north-up UTM grid.

Landsat and Sentinel-1 deliver such scenes. The outline is where the strip and the cuts are; the raster is its
bounding box, masked outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from eelocal.values.geometry import prepared
from eelocal.world import utm
from eelocal.world.mgrs import wrapped
from eelocal.world.orbit import on_ground, seen_from
from eelocal.world.window import Window

Key = TypeVar("Key")
_NODES = 6400.0  # metres
_STEPS = 6  # points along each side of an outline


def touching(
    region: BaseGeometry | None,
    keys: Sequence[Key],
    centres: tuple[NDArray[np.float64], NDArray[np.float64]],
    reach: float,
    strip_of: Callable[[Key], Strip],
) -> Iterator[Key]:
    """The scenes of an orbit that touch a region, be it beyond 180 degrees; all without one.

    Args:
        region: in longitude and latitude.
        keys: all scenes, in their order.
        centres: longitudes and latitudes of their middles.
        reach: degrees of a great circle no scene goes beyond from its middle.
        strip_of: the ground of a scene.
    """
    if region is None:
        yield from keys
        return
    lon, lat = centres
    turned = [affinity.translate(region, turn) for turn in (-360, 0, 360)]
    near = np.zeros(len(keys), np.bool_)
    wide = 1.1 * reach / np.maximum(np.cos(np.radians(lat)), 0.08)
    for part in (p for shape in turned for p in getattr(shape, "geoms", [shape]) if not p.is_empty):
        west, south, east, north = part.bounds
        near |= (lat > south - reach) & (lat < north + reach) & (lon > west - wide) & (lon < east + wide)
    turned = [prepared(shape) for shape in turned]
    for place in np.flatnonzero(near).tolist():
        outline = strip_of(keys[place]).outline
        if any(shape.intersects(outline) for shape in turned):
            yield keys[place]


@dataclass(frozen=True)
class Strip:
    """A rectangle seen from an orbit: degrees across the track, revolutions since the node along it."""

    node_longitude: float
    inclination: float
    turn: float
    ascending: bool
    near: float
    far: float
    begin: float
    end: float

    def _ring(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        step = np.linspace(0, 1, _STEPS, endpoint=False)
        across = np.concatenate(
            [
                self.near + 0 * step,
                self.near + (self.far - self.near) * step,
                self.far + 0 * step,
                self.far + (self.near - self.far) * step,
            ]
        )
        along = np.concatenate(
            [
                self.begin + (self.end - self.begin) * step,
                self.end + 0 * step,
                self.end + (self.begin - self.end) * step,
                self.begin + 0 * step,
            ]
        )
        return on_ground(across, along, self.node_longitude, self.inclination, self.turn, self.ascending)

    @cached_property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of its middle."""
        middle = ((self.near + self.far) / 2, (self.begin + self.end) / 2)
        lon, lat = on_ground(*middle, self.node_longitude, self.inclination, self.turn, self.ascending)
        return float(lon), float(lat)

    @cached_property
    def zone(self) -> int:
        """The UTM zone of its middle."""
        return utm.zone_of(self.centre[0])

    @cached_property
    def outline(self) -> Polygon:
        """In longitude and latitude, continuous around its middle (may pass 180 degrees)."""
        lon, lat = self._ring()
        middle = self.centre[0]
        return Polygon(np.column_stack([(lon - middle + 180) % 360 - 180 + middle, lat]))

    @cached_property
    def footprint(self) -> BaseGeometry:
        """In longitude and latitude within 180 degrees."""
        return wrapped(self.outline)

    @cached_property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in the frame of its zone, metres (signed northings)."""
        east, north = utm.forward(*self._ring(), self.zone)
        return float(east.min()), float(north.min()), float(east.max()), float(north.max())

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window are within it."""
        nodes = window.nodes(window.node_spacing(_NODES))
        across, along = seen_from(
            nodes.longitude, nodes.latitude, self.node_longitude, self.inclination, self.turn, self.ascending
        )
        side = window.spread(nodes, across)
        time = window.spread(nodes, (along - self.begin) / (self.end - self.begin))
        return np.asarray((side >= self.near) & (side <= self.far) & (time >= 0) & (time <= 1))

    def across(self, window: Window) -> NDArray[np.float32]:
        """Degrees across the track of every pixel."""
        nodes = window.nodes(window.node_spacing(_NODES))
        seen, _ = seen_from(
            nodes.longitude, nodes.latitude, self.node_longitude, self.inclination, self.turn, self.ascending
        )
        return window.spread(nodes, seen)
