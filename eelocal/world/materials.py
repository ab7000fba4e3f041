"""What the ground is made of: spectra of bare and green surfaces, and how green each is through the year.

Reflectances (0..1) of the twelve Sentinel-2 bands, after the USGS Spectral Library Version 7
(https://doi.org/10.3133/ds1035) and real scenes of Belgian farmland, rounded by hand. A pixel is a mixture of its
material's bare and green spectrum by its greenness of the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

SPECTRAL_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
PHASES = 256  # steps of a year in the greenness table

_SPECTRA: dict[str, tuple[float, ...]] = {
    "brown soil": (0.050, 0.062, 0.088, 0.118, 0.146, 0.165, 0.182, 0.200, 0.215, 0.22, 0.290, 0.240),
    "dark soil": (0.034, 0.042, 0.060, 0.080, 0.100, 0.115, 0.130, 0.145, 0.158, 0.16, 0.215, 0.175),
    "red soil": (0.045, 0.056, 0.086, 0.142, 0.172, 0.190, 0.208, 0.225, 0.240, 0.25, 0.330, 0.280),
    "sand": (0.130, 0.165, 0.245, 0.325, 0.350, 0.365, 0.380, 0.400, 0.415, 0.42, 0.500, 0.450),
    "rock": (0.085, 0.100, 0.125, 0.150, 0.165, 0.175, 0.185, 0.195, 0.205, 0.21, 0.250, 0.220),
    "straw": (0.055, 0.072, 0.112, 0.150, 0.185, 0.215, 0.240, 0.265, 0.290, 0.30, 0.330, 0.230),
    "dry grass": (0.048, 0.062, 0.098, 0.128, 0.160, 0.195, 0.215, 0.240, 0.260, 0.27, 0.320, 0.220),
    "litter": (0.025, 0.032, 0.048, 0.058, 0.080, 0.115, 0.130, 0.145, 0.165, 0.17, 0.180, 0.110),
    "crop": (0.018, 0.024, 0.056, 0.027, 0.092, 0.330, 0.430, 0.460, 0.480, 0.47, 0.205, 0.095),
    "grass": (0.022, 0.030, 0.066, 0.038, 0.112, 0.300, 0.370, 0.400, 0.420, 0.42, 0.235, 0.120),
    "broad leaf": (0.014, 0.019, 0.042, 0.021, 0.074, 0.260, 0.335, 0.360, 0.380, 0.38, 0.165, 0.072),
    "rain forest": (0.013, 0.017, 0.036, 0.018, 0.062, 0.235, 0.300, 0.320, 0.340, 0.34, 0.145, 0.060),
    "needles": (0.011, 0.015, 0.028, 0.018, 0.048, 0.130, 0.165, 0.185, 0.200, 0.20, 0.085, 0.038),
    "shrub": (0.022, 0.030, 0.055, 0.045, 0.090, 0.180, 0.215, 0.240, 0.255, 0.26, 0.210, 0.125),
    "deep water": (0.030, 0.026, 0.019, 0.010, 0.008, 0.006, 0.006, 0.005, 0.005, 0.004, 0.002, 0.002),
    "river water": (0.036, 0.040, 0.055, 0.043, 0.038, 0.022, 0.022, 0.019, 0.017, 0.014, 0.007, 0.005),
    "shallow water": (0.060, 0.070, 0.075, 0.042, 0.030, 0.018, 0.016, 0.014, 0.012, 0.010, 0.005, 0.004),
    "asphalt": (0.070, 0.078, 0.090, 0.098, 0.104, 0.108, 0.114, 0.120, 0.126, 0.13, 0.140, 0.130),
    "tiles": (0.060, 0.068, 0.090, 0.155, 0.185, 0.200, 0.212, 0.225, 0.235, 0.24, 0.270, 0.250),
    "slate": (0.090, 0.098, 0.112, 0.120, 0.126, 0.132, 0.138, 0.145, 0.150, 0.15, 0.170, 0.160),
    "metal roof": (0.190, 0.210, 0.225, 0.235, 0.245, 0.250, 0.255, 0.262, 0.268, 0.27, 0.280, 0.255),
}
SNOW = np.array((0.90, 0.91, 0.90, 0.89, 0.88, 0.86, 0.85, 0.83, 0.80, 0.70, 0.11, 0.08), np.float32)
CLOUD = np.array((0.60, 0.61, 0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.65, 0.45, 0.44, 0.34), np.float32)


class Material(IntEnum):
    """Kinds of ground; the order is that of `TABLE`."""

    SEA = 0
    RIVER = 1
    SHORE = 2
    BROADLEAF = 3
    CONIFER = 4
    RAINFOREST = 5
    PASTURE = 6
    MEADOW = 7
    SHRUB = 8
    SAVANNA = 9
    SAND = 10
    ROCK = 11
    TUNDRA = 12
    WHEAT = 13
    RAPE = 14
    MAIZE = 15
    BEET = 16
    SOY = 17
    FALLOW = 18
    RED_FIELD = 19
    ORCHARD = 20
    ASPHALT = 21
    TILES = 22
    SLATE = 23
    HALL = 24
    GARDEN = 25
    TRACK = 26
    HEDGE = 27
    BEACH = 28


@dataclass(frozen=True)
class Ground:
    """A material: its spectra and its year.

    `year` holds (day, greenness) corners for the northern temperate year, joined by straight lines; greenness is
    how much of the pixel shows green leaves. `texture` is the relative spread of brightness from pixel to pixel.
    """

    bare: str
    green: str
    year: Sequence[tuple[float, float]]
    texture: float = 0.05
    worldcover: int = 40


_GRASS = ((0, 0.55), (75, 0.60), (120, 0.90), (160, 0.86), (215, 0.68), (270, 0.78), (320, 0.62))
_BARE = ((0, 0.0),)
# fmt: off

# ESA WorldCover classes: 10 trees, 20 shrub, 30 grass, 40 crop, 50 built-up, 60 bare, 80 water, 100 moss and lichen
TABLE: dict[Material, Ground] = {
    Material.SEA: Ground("deep water", "deep water", _BARE, 0.02, 80),
    Material.RIVER: Ground("river water", "river water", _BARE, 0.03, 80),
    Material.SHORE: Ground("shallow water", "shallow water", _BARE, 0.04, 80),
    Material.BROADLEAF: Ground(
        "litter", "broad leaf", ((0, 0.22), (95, 0.25), (130, 0.95), (250, 0.90), (290, 0.60), (315, 0.25)), 0.16, 10
    ),
    Material.CONIFER: Ground("litter", "needles", ((0, 0.85), (180, 0.95)), 0.16, 10),
    Material.RAINFOREST: Ground("litter", "rain forest", ((0, 0.96), (200, 0.90)), 0.13, 10),
    Material.PASTURE: Ground("dry grass", "grass", _GRASS, 0.06, 30),
    Material.MEADOW: Ground(
        "dry grass", "grass", ((0, 0.40), (80, 0.42), (135, 0.90), (200, 0.60), (280, 0.5)), 0.1, 30
    ),
    Material.SHRUB: Ground("brown soil", "shrub", ((0, 0.55), (120, 0.75), (200, 0.6)), 0.15, 20),
    Material.SAVANNA: Ground(
        "dry grass", "grass", ((0, 0.15), (100, 0.2), (190, 0.55), (260, 0.4), (310, 0.2)), 0.12, 30
    ),
    Material.SAND: Ground("sand", "shrub", ((0, 0.02),), 0.05, 60),
    Material.ROCK: Ground("rock", "shrub", ((0, 0.05), (180, 0.12)), 0.14, 60),
    Material.TUNDRA: Ground("litter", "shrub", ((0, 0.15), (140, 0.2), (190, 0.75), (240, 0.6),
        (270, 0.2)), 0.1, 100),
    Material.WHEAT: Ground(
        "straw",
        "crop",
        (
            (0, 0.32),
            (60, 0.42),
            (105, 0.92),
            (145, 0.97),
            (170, 0.75),
            (192, 0.15),
            (205, 0.06),
            (240, 0.08),
            (262, 0.03),
        ),
        0.05,
    ),
    Material.RAPE: Ground(
        "straw",
        "crop",
        ((0, 0.62), (70, 0.68), (100, 0.93), (155, 0.90), (190, 0.20), (205, 0.06), (245, 0.05), (290, 0.6)),
        0.05,
    ),
    Material.MAIZE: Ground(
        "brown soil",
        "crop",
        (
            (0, 0.10),
            (95, 0.16),
            (110, 0.02),
            (145, 0.06),
            (185, 0.86),
            (235, 0.94),
            (262, 0.60),
            (278, 0.12),
            (300, 0.06),
        ),
        0.05,
    ),
    Material.BEET: Ground(
        "dark soil",
        "crop",
        ((0, 0.04), (105, 0.02), (130, 0.10), (170, 0.90), (265, 0.92), (300, 0.80), (312, 0.05)),
        0.05,
    ),
    Material.SOY: Ground(
        "dark soil",
        "crop",
        ((0, 0.05), (130, 0.04), (160, 0.15), (200, 0.93), (240, 0.90), (268, 0.20), (280, 0.06)),
        0.05,
    ),
    Material.FALLOW: Ground("brown soil", "grass", ((0, 0.15), (110, 0.25), (125, 0.04), (200, 0.1),
        (300, 0.2)), 0.08),
    Material.RED_FIELD: Ground(
        "red soil",
        "crop",
        ((0, 0.06), (115, 0.04), (150, 0.2), (190, 0.85), (230, 0.88), (262, 0.2), (280, 0.05)),
        0.06,
    ),
    Material.ORCHARD: Ground(
        "dry grass", "broad leaf", ((0, 0.25), (100, 0.3), (135, 0.78), (280, 0.7), (315, 0.3)), 0.12
    ),
    Material.ASPHALT: Ground("asphalt", "grass", ((0, 0.06), (180, 0.10)), 0.06, 50),
    Material.TILES: Ground("tiles", "grass", ((0, 0.08), (180, 0.14)), 0.18, 50),
    Material.SLATE: Ground("slate", "grass", ((0, 0.08), (180, 0.14)), 0.18, 50),
    Material.HALL: Ground("metal roof", "grass", ((0, 0.02),), 0.12, 50),
    Material.GARDEN: Ground("brown soil", "grass", ((0, 0.45), (120, 0.75), (210, 0.62), (300, 0.5)), 0.14, 30),
    Material.TRACK: Ground("straw", "grass", ((0, 0.20), (130, 0.35), (220, 0.28)), 0.06, 60),
    Material.HEDGE: Ground(
        "litter", "broad leaf", ((0, 0.30), (95, 0.32), (130, 0.9), (260, 0.85), (315, 0.32)), 0.1, 10
    ),
    Material.BEACH: Ground("sand", "shrub", ((0, 0.03),), 0.05, 60),
}
# fmt: on


def _greenness() -> NDArray[np.float32]:
    days = (np.arange(PHASES) + 0.5) * 365.25 / PHASES
    rows = []
    for ground in TABLE.values():
        at = np.array([day for day, _ in ground.year])
        value = np.array([green for _, green in ground.year])
        rows.append(np.interp(days, np.append(at, at[0] + 365.25), np.append(value, value[0])))
    table = np.stack(rows)
    soft = np.roll(table, 1, 1) + 2 * table + np.roll(table, -1, 1)
    return np.asarray(soft / 4, np.float32)


GREENNESS = _greenness()  # (material, phase): share of green leaves
BARE = np.array([_SPECTRA[g.bare] for g in TABLE.values()], np.float32)  # (material, band)
GREEN = np.array([_SPECTRA[g.green] for g in TABLE.values()], np.float32)
TEXTURE = np.array([g.texture for g in TABLE.values()], np.float32)
WORLDCOVER = np.array([g.worldcover for g in TABLE.values()], np.uint8)
IS_WATER = WORLDCOVER == 80
IS_FOREST = WORLDCOVER == 10
