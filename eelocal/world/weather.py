"""The sky of one overpass: clouds with soft edges, their shadows, cirrus; and how warm it is.

Clouds are fractal noise over the sphere above a threshold that a much slower noise raises and lowers, so that whole
regions are clear, broken or overcast. The same function, asked at a few points, gives a scene's cloud percentage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eelocal.world.hashing import scalar_hash
from eelocal.world.sun import DAY_MS, Sun, year_phase
from eelocal.world.terrain import Field, moisture_of, smooth
from eelocal.world.window import F32, Nodes, Window

CLOUD_NODES = 400.0  # metres
_FINE = ((800.0, 0.26), (350.0, 0.17), (150.0, 0.10), (64.0, 0.06))
_FINE_SPREAD = 0.33  # standard deviation of the fine part
_EDGE = 0.6  # of the field, from no cloud to full cloud
_SPELL_MS = 9 * DAY_MS  # how long cold and warm spells last


@dataclass(frozen=True)
class Overpass:
    """A moment of observation: what the weather hangs on."""

    key: int  # hash of the pass: the same for all its granules
    time_ms: float

    @property
    def year(self) -> float:
        """How far the year has gone, 0..1."""
        return year_phase(self.time_ms)

    @property
    def cloud_height(self) -> float:
        """Height of the clouds over ground, metres."""
        return 900 + 2400 * ((self.key >> 7) % 1000) / 1000


@dataclass(frozen=True)
class Sky:
    """What is between the ground and the satellite, 0..1 each, shape (height, width)."""

    cloud: F32  # opacity
    depth: F32  # brightness of the cloud
    cirrus: F32  # opacity
    shadow: F32


def cloud_field(nodes: Nodes, overpass: Overpass) -> Field:
    """Cloud field at nodes, without its fine part; there are clouds where it is above 0."""
    key = overpass.key
    synoptic = nodes.octaves((2400, 0.8), (800, 0.55), (280, 0.4), seed=key)
    local = nodes.octaves((70, 0.5), (26, 0.5), (10, 0.45), (4, 0.36), (1.6, 0.25), seed=key + 7)
    moist = moisture_of(nodes)
    winter = math.cos(2 * math.pi * (overpass.year - 0.04)) * np.clip(nodes.latitude / 45, -1, 1)
    season = np.where(np.abs(nodes.latitude) < 25, -0.5, 0.35) * winter
    return np.asarray(1.2 * synoptic + 0.8 * local + 0.9 * (moist - 0.55) + season - 0.55)


def cirrus_field(nodes: Nodes, overpass: Overpass) -> Field:
    """Opacity of cirrus at nodes."""
    noise = nodes.octaves((900, 0.7), (160, 0.5), (45, 0.4), (14, 0.3), seed=overpass.key + 23)
    return np.asarray(0.30 * smooth(0.9, 2.4, noise))


def cloud_share(nodes: Nodes, overpass: Overpass) -> Field:
    """Share of each node's neighbourhood that is cloud, 0..1: for percentages of scenes."""
    middle = 0.35 * _EDGE
    reach = 2 * _FINE_SPREAD
    return np.asarray(smooth(middle - reach, middle + reach, cloud_field(nodes, overpass)))


def sky(window: Window, overpass: Overpass, sun: Sun) -> Sky:
    """The sky over a window. `sun` decides where the shadows fall."""
    field = _clouds(window, overpass)
    nodes = window.nodes(window.node_spacing(1600.0))
    cirrus = window.spread(nodes, cirrus_field(nodes, overpass))
    east, north = sun.toward
    shaded = _clouds(window.moved(east * overpass.cloud_height, north * overpass.cloud_height), overpass)
    cloud = _opacity(field)
    shadow = _opacity(shaded)
    shadow *= 1 - cloud
    depth = np.clip(np.float32(0.72) + np.float32(0.16) * field, 0.6, 1.25, out=field)
    return Sky(cloud, depth, cirrus, shadow)


def clear_sky(window: Window) -> Sky:
    """A sky with nothing in it."""
    none = np.zeros((window.height, window.width), np.float32)
    return Sky(none, none, none, none)


def _opacity(field: F32) -> F32:
    t: F32 = field * np.float32(1 / _EDGE)
    np.clip(t, 0, 1, out=t)
    s: F32 = np.float32(3) - np.float32(2) * t
    t *= t
    t *= s
    return t


def _clouds(window: Window, overpass: Overpass) -> F32:
    nodes = window.nodes(window.node_spacing(CLOUD_NODES))
    coarse = cloud_field(nodes, overpass)
    field = window.spread(nodes, coarse)
    if coarse.max() < -1.8 or coarse.min() > 2.4:  # neither edge is within reach of the fine part
        return field
    for order, (wavelength, weight) in enumerate(_FINE):
        if wavelength >= 2 * window.resolution:
            term = window.lattice(wavelength, overpass.key + 31 + order)
            term *= np.float32(weight)
            field += term
    return field


def temperature(nodes: Nodes, overpass: Overpass) -> Field:
    """Daily mean temperature at sea level, degrees Celsius."""
    latitude = nodes.latitude
    mean = 27.5 - 0.0068 * latitude**2
    swing = 0.20 * latitude * math.cos(2 * math.pi * (overpass.year - 0.055))
    spell, part = divmod(overpass.time_ms, _SPELL_MS)
    noise = [nodes.octaves((1800, 0.9), (500, 0.4), seed=scalar_hash("spell", int(spell) + n)) for n in (0, 1)]
    share = part / _SPELL_MS
    return np.asarray(mean - swing + 2.5 * (noise[0] * (1 - share) + noise[1] * share))
