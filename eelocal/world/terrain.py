"""The slow shape of the land: sea, relief, rivers, climate, where woods and towns stand, at the nodes of a window.

Everything here is noise over the sphere (or a plain function of latitude), so it runs on through the seams between
UTM zones. Seas are kept small on purpose: wherever somebody looks there should be land.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eelocal.world.window import F32, Nodes, Window

Field = NDArray[np.float64]
NODE_SPACING = 320.0  # metres
# Seeds picked among thousands so that the world is a little like ours where people look first: the seas keep away from
# large cities, the Himalaya, the Andes and northern Norway are high, the Sahara and Arabia dry, Flanders is open land.
_SEA, _MOUNTAINS, _MOISTURE, _WOOD = 3604, 27303, 5356, 556
SEA_LEVEL = 2.15  # of the continental noise: about 3 % of the Earth is sea
_FINE_RELIEF = ((2000.0, 0.085), (1000.0, 0.042), (500.0, 0.021), (240.0, 0.010), (110.0, 0.0045))


@dataclass(frozen=True)
class Country:
    """Fields at the nodes of a window, each of shape (rows, columns)."""

    nodes: Nodes
    sea: Field  # above 0 in the sea, growing with depth
    moisture: Field  # 0 desert .. 1 rain forest
    relief: Field  # metres: how high its hills are
    height: Field  # metres, without what is finer than 4 km
    river: Field  # signed noise whose zero line is a river
    river_slope: Field  # its gradient per metre
    brook: Field
    brook_slope: Field
    lake: Field  # standard deviations
    road: Field  # signed noise whose zero line is a main road
    road_slope: Field
    soil: Field  # how light the soil is and what does well on it
    wood: Field
    town: Field


def smooth(low: float, high: float, value: Any) -> Any:
    """0 below `low`, 1 above `high`, an S between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def moisture_of(nodes: Nodes) -> Field:
    """Wet tropics, dry belts at 24 degrees, temperate beyond; and regions within."""
    distance = np.abs(nodes.latitude)
    belt = 0.25 * np.exp(-(((distance - 24) / 9) ** 2))
    region = 0.12 * nodes.octaves((2200, 0.8), (500, 0.6), seed=_MOISTURE)
    return np.asarray(np.clip(0.63 - belt + 0.24 * np.exp(-((distance / 10) ** 2)) + region, 0, 1))


def country(window: Window) -> Country:
    """The slow fields of a window."""
    margin = 1
    wide = window.nodes(window.node_spacing(NODE_SPACING), margin)
    river = wide.octaves((34, 1.0), (11, 0.42), (3.6, 0.17), seed=11)
    brook = wide.octaves((7.5, 1.0), (2.6, 0.40), seed=21)
    road = wide.octaves((24, 1.0), (8, 0.2), seed=25)
    river_slope, brook_slope = _slope(river, wide.spacing), _slope(brook, wide.spacing)
    ruggedness = _ruggedness(wide)
    relief = _relief(ruggedness)
    sea = sea_depth(wide)
    valley = np.clip(np.abs(river) / (river_slope + 1e-9) / 3500, 0.12, 1)
    fields = {
        "sea": sea,
        "moisture": moisture_of(wide),
        "relief": relief * np.clip(-sea * 4, 0.05, 1),
        "height": _height(wide, relief, ruggedness, valley) * np.clip(-sea * 3, 0, 1),
        "river": river,
        "river_slope": np.maximum(river_slope, 4e-5),
        "brook": brook,
        "brook_slope": np.maximum(brook_slope, 1.5e-4),
        "lake": wide.octaves((10, 0.93), (3, 0.36), seed=61),
        "road": road,
        "road_slope": np.maximum(_slope(road, wide.spacing), 6e-5),
        "soil": wide.octaves((70, 0.6), (17, 0.55), (4.5, 0.45), (1.7, 0.3), seed=65),
        "wood": wide.octaves((300, 0.5), (26, 0.5), (8, 0.6), (2.6, 0.5), (1.1, 0.3), seed=_WOOD),
        "town": wide.octaves((60, 0.3), (14, 0.6), (4.6, 0.66), (1.8, 0.35), seed=81),
    }
    inner = slice(margin, -margin)
    nodes = Nodes(
        wide.spacing,
        wide.first_column + margin,
        wide.first_row + margin,
        wide.longitude[inner, inner],
        wide.latitude[inner, inner],
    )
    return Country(nodes, **{name: values[inner, inner] for name, values in fields.items()})


def sea_depth(nodes: Nodes) -> Field:
    """Above 0 in the sea, growing with depth; no unit."""
    parts = ((3000, 0.75), (900, 0.55), (260, 0.35), (70, 0.18), (18, 0.06), (5, 0.02))
    return np.asarray(nodes.octaves(*parts, seed=_SEA) - SEA_LEVEL)


def land_height(nodes: Nodes) -> Field:
    """Height at nodes far apart, metres: hills without valleys and dells."""
    ruggedness = _ruggedness(nodes)
    return np.asarray(_height(nodes, _relief(ruggedness), ruggedness, np.ones(ruggedness.shape)))


def _ruggedness(nodes: Nodes) -> Field:
    return nodes.octaves((1100, 0.85), (330, 0.5), (90, 0.3), seed=_MOUNTAINS)


def _relief(ruggedness: Field) -> Field:
    return np.asarray(22 + 42 * np.exp(0.7 * np.minimum(ruggedness, 1.5)) + 2300 * smooth(0.85, 2.3, ruggedness))


def _slope(values: Field, spacing: float) -> Field:
    down, across = np.gradient(values, spacing)
    return np.asarray(np.hypot(down, across))


def _height(nodes: Nodes, relief: Field, ruggedness: Field, valley: Field) -> Field:
    base = 90 + 60 * nodes.noise(400, 91) + 350 * smooth(0.4, 2.4, ruggedness)
    ridges = [1 - 1.6 * np.abs(nodes.noise(length, 93 + order)) for order, length in enumerate((38, 17, 8))]
    hills = 0.5 * ridges[0] + 0.36 * ridges[1] + 0.22 * ridges[2] + 0.12 * nodes.noise(4, 97)
    return np.asarray(base + relief * (0.6 + hills) * valley)


def heights(window: Window, land: Country) -> F32:
    """Height in metres of every pixel, hills and dells down to the window's resolution included; never below 0."""
    high = window.spread(land.nodes, land.height)
    rough = np.zeros_like(high)
    for order, (wavelength, weight) in enumerate(_FINE_RELIEF):
        if wavelength >= 2 * window.resolution:
            term = window.lattice(wavelength, 700 + order)
            term *= np.float32(weight)
            rough += term
    rough *= window.spread(land.nodes, land.relief)
    high += rough
    return np.maximum(high, np.float32(0), out=high)
