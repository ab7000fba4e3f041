"""The ground as it is all year: what every pixel is made of, and what the seasons will do with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eelocal.world.hashing import unit
from eelocal.world.materials import TEXTURE, WORLDCOVER, Material
from eelocal.world.parcels import Parcels, parcels
from eelocal.world.terrain import Country, country, heights, smooth
from eelocal.world.window import F32, Window

M = Material
_SLOTS = 64
_TEMPERATE, _WARM, _DRY, _DESERT, _TROPIC, _BOREAL, _TUNDRA, _ALPINE = range(8)
_NATURAL = np.array([False, False, False, True, False, True, True, True])  # no fields: cover follows noise instead

# Shares out of 64 of what parcels hold, by climate; natural climates order them from hollows to heights.
# fmt: off
_PARCELS: dict[int, list[tuple[Material, int]]] = {
    _TEMPERATE: [
        (M.WHEAT, 18), (M.MAIZE, 13), (M.PASTURE, 12), (M.BEET, 7), (M.RAPE, 6), (M.MEADOW, 3), (M.FALLOW, 3),
        (M.ORCHARD, 2),
    ],
    _WARM: [
        (M.SOY, 14), (M.MAIZE, 12), (M.WHEAT, 10), (M.PASTURE, 9), (M.RED_FIELD, 8), (M.ORCHARD, 5), (M.FALLOW, 6),
    ],
    _DRY: [(M.SAVANNA, 18), (M.RED_FIELD, 12), (M.WHEAT, 10), (M.PASTURE, 9), (M.FALLOW, 7), (M.SHRUB, 8)],
    _DESERT: [(M.SAVANNA, 3), (M.SHRUB, 5), (M.SAND, 46), (M.ROCK, 10)],
    _TROPIC: [(M.PASTURE, 17), (M.SOY, 15), (M.RED_FIELD, 8), (M.ORCHARD, 9), (M.SAVANNA, 7), (M.MAIZE, 8)],
    _BOREAL: [(M.MEADOW, 11), (M.TUNDRA, 9), (M.CONIFER, 36), (M.BROADLEAF, 8)],
    _TUNDRA: [(M.MEADOW, 12), (M.TUNDRA, 46), (M.ROCK, 6)],
    _ALPINE: [(M.MEADOW, 24), (M.TUNDRA, 12), (M.ROCK, 28)],
}
_WOODS: dict[int, list[tuple[Material, int]]] = {
    _TEMPERATE: [(M.BROADLEAF, 44), (M.CONIFER, 20)],
    _WARM: [(M.BROADLEAF, 52), (M.CONIFER, 12)],
    _DRY: [(M.SHRUB, 44), (M.BROADLEAF, 20)],
    _DESERT: [(M.SHRUB, 40), (M.ROCK, 24)],
    _TROPIC: [(M.RAINFOREST, 64)],
    _BOREAL: [(M.CONIFER, 56), (M.BROADLEAF, 8)],
    _TUNDRA: [(M.TUNDRA, 40), (M.SHRUB, 24)],
    _ALPINE: [(M.CONIFER, 24), (M.ROCK, 40)],
}
_TOWN: list[tuple[Material, int]] = [
    (M.GARDEN, 24), (M.TILES, 17), (M.SLATE, 11), (M.ASPHALT, 7), (M.HEDGE, 4), (M.HALL, 1),
]
_CENTRE: list[tuple[Material, int]] = [
    (M.SLATE, 20), (M.TILES, 20), (M.ASPHALT, 14), (M.GARDEN, 4), (M.HALL, 3), (M.HEDGE, 3),
]
# fmt: on
TOWN_LEVEL = 1.52  # of the town noise


def _slots(shares: list[tuple[Material, int]]) -> list[int]:
    slots = [int(material) for material, share in shares for _ in range(share)]
    if len(slots) != _SLOTS:
        raise ValueError(f"shares add up to {len(slots)}, not {_SLOTS}: {shares}")
    return slots


_PARCEL_TABLE = np.array([_slots(_PARCELS[c]) for c in range(8)], np.uint8)
_WOOD_TABLE = np.array([_slots(_WOODS[c]) for c in range(8)], np.uint8)
_TOWN_TABLE = np.array([_slots(_TOWN), _slots(_CENTRE)], np.uint8)


@dataclass(frozen=True)
class Landscape:
    """The lasting properties of a window's pixels, each of shape (height, width)."""

    material: NDArray[np.uint8]
    phase: NDArray[np.uint8]  # what to add to the day of the year, in 1/256 of a year
    vigour: F32  # factor on greenness
    tone: F32  # factor on brightness
    height: F32  # metres
    east_slope: F32  # metres per metre
    north_slope: F32

    @property
    def worldcover(self) -> NDArray[np.uint8]:
        """Classes of ESA WorldCover."""
        return WORLDCOVER.take(self.material)

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.material.size * 22


def landscape(window: Window) -> Landscape:
    """The landscape of a window."""
    outer = window.padded(1)
    land = country(outer)
    high = heights(outer, land)
    step = np.float32(0.5 / window.resolution)
    east = (high[1:-1, 2:] - high[1:-1, :-2]) * step
    north = (high[:-2, 1:-1] - high[2:, 1:-1]) * step
    high = np.ascontiguousarray(high[1:-1, 1:-1])
    lots = parcels(window)
    climate, moisture = _climate(window, land, high)
    soil = window.spread(land.nodes, land.soil)
    material = _cover(window, land, lots, climate, soil)
    tone = _tone(window, lots, climate, material, soil)
    phase = _phase(window, land, lots, climate)
    vigour = _vigour(window, lots, climate, moisture, soil)
    return Landscape(material, phase, vigour, tone, high, east, north)


def _climate(window: Window, land: Country, high: F32) -> tuple[NDArray[np.uint8], F32]:
    latitude = np.abs(window.spread(land.nodes, land.nodes.latitude))
    moisture = window.spread(land.nodes, land.moisture)
    blur = window.noise(600, 805)
    blur += np.float32(0.6) * window.noise(170, 806)
    blur += np.float32(0.4) * window.noise(60, 807)
    blur *= np.float32(0.018)
    moisture += blur
    climate = np.full(high.shape, _TEMPERATE, np.uint8)
    climate[latitude < 36] = _WARM
    climate[moisture < 0.36] = _DRY
    climate[moisture < 0.17] = _DESERT
    climate[(moisture > 0.66) & (latitude < 22)] = _TROPIC
    climate[latitude > np.float32(62.5) - blur * 20] = _BOREAL
    climate[latitude > np.float32(68.5) - high * np.float32(0.004)] = _TUNDRA
    climate[high > np.float32(3300) - latitude * 38 + blur * 4000] = _ALPINE
    return climate, moisture


def _cover(window: Window, land: Country, lots: Parcels, climate: NDArray[np.uint8], soil: F32) -> NDArray[np.uint8]:
    chance = unit(lots.field)
    natural = _NATURAL.take(climate)
    hollow = window.noise(900, 811)
    hollow += np.float32(0.8) * window.noise(280, 812)
    if natural.any():  # a broken transition, not a line
        hollow += np.float32(0.6) * window.noise(90, 813)
        hollow += np.float32(0.7) * window.noise(24, 814)
    by_noise = np.clip((soil + np.float32(0.8) * hollow) * np.float32(12) + np.float32(32), 0, 63).astype(np.uint32)
    favoured = np.clip(soil * np.float32(15) + np.float32(32), 0, 63).astype(np.uint32)
    grown = np.where((lots.field & np.uint32(0xFF00)) < np.uint32(0x5000), favoured, lots.field >> np.uint32(26))
    slot = np.where(natural, by_noise, grown)
    row = climate.astype(np.uint32) * np.uint32(_SLOTS)
    material = _PARCEL_TABLE.ravel().take(row + slot)
    _plant_woods(window, land, lots, climate, material, chance, hollow)
    if window.resolution <= 25:
        _draw_lines(lots, material, natural)
        material[np.abs(window.spread(land.nodes, land.road / land.road_slope)) < 11] = M.ASPHALT
    _build_towns(window, land, lots, climate, material, chance)
    _let_water_flow(window, land, material)
    return material


def _plant_woods(
    window: Window,
    land: Country,
    lots: Parcels,
    climate: NDArray[np.uint8],
    material: NDArray[np.uint8],
    chance: F32,
    hollow: F32,
) -> None:
    """Woods grow by noise, with edges partly straightened by the fields, more of them on hills and in the tropics."""
    bias = np.array([-1.0, -0.85, -0.9, -1.6, 0.5, 0.2, -0.7, -0.6], np.float32)
    squared = np.where(_NATURAL, 0, 0.9).astype(np.float32)
    density = window.spread(land.nodes, land.wood + 0.9 * smooth(80, 500, land.relief))
    density += bias.take(climate)
    density += squared.take(climate) * (chance - np.float32(0.5))
    density += np.float32(0.12) * hollow
    grown = density > 0
    by_noise = np.clip(hollow * np.float32(14) + np.float32(32), 0, 63).astype(np.uint32)
    kind = np.where(_NATURAL.take(climate), by_noise, lots.block >> np.uint32(26))
    pick = climate.astype(np.uint32) * np.uint32(_SLOTS) + kind
    np.copyto(material, _WOOD_TABLE.ravel().take(pick), where=grown)


def _draw_lines(lots: Parcels, material: NDArray[np.uint8], natural: NDArray[np.bool_]) -> None:
    """Hedges between some fields, tracks and roads between blocks: a pixel wide at 10 m."""
    open_land = ~natural
    open_land &= material != M.RAINFOREST
    kind = lots.field & np.uint32(7)
    line = (lots.field_edge < 5) & open_land
    material[line & (kind == 0)] = M.HEDGE
    material[line & (kind == 1)] = M.TRACK
    border = (lots.block_edge < 6) & open_land
    paved = (lots.road & np.uint32(3)) == 0
    material[border] = M.TRACK
    material[border & paved] = M.ASPHALT


def _build_towns(
    window: Window,
    land: Country,
    lots: Parcels,
    climate: NDArray[np.uint8],
    material: NDArray[np.uint8],
    chance: F32,
) -> None:
    """Streets and houses wherever the town noise is high; the outskirts follow field edges."""
    fitness = land.town - 0.8 * smooth(150, 700, land.relief) - 0.9 * smooth(60, 68, np.abs(land.nodes.latitude))
    density = window.spread(land.nodes, fitness) - np.float32(TOWN_LEVEL)
    density += np.float32(0.45) * (chance - np.float32(0.5))
    density -= np.array([0, 0, 0.1, 0.7, 0.35, 0.3, 0.8, 0.8], np.float32).take(climate)
    built = density > 0
    if not built.any():
        return
    rows, columns = np.nonzero(built)
    along, across, dense = lots.along[built], lots.across[built], density[built]
    block = lots.block[built]
    lot = np.floor(along / 17).astype(np.int32).astype(np.uint32) * np.uint32(0x9E3779B1)
    lot ^= np.floor(across / 19).astype(np.int32).astype(np.uint32) * np.uint32(0x85EBCA6B)
    lot = (lot ^ block) * np.uint32(0xC2B2AE35)
    lot ^= lot >> np.uint32(15)
    lot *= np.uint32(0x846CA68B)
    centre = (dense + np.float32(0.3) * (unit(lot) - np.float32(0.5)) > 0.62).astype(np.uint32)
    house = _TOWN_TABLE.ravel().take(centre * np.uint32(_SLOTS) + (lot >> np.uint32(26)))
    works = (chance[built] < 0.05) & (dense > 0.05)
    shed = np.where((along % 130 < 85) & (across % 90 < 60), M.HALL, M.ASPHALT).astype(np.uint8)
    house = np.where(works, shed, house)
    if window.resolution <= 25:
        street = (along % 118 < 10) | (across % 76 < 9) | (lots.block_edge[built] < 9)
        house[street] = M.ASPHALT
    park = (chance[built] > 0.95) & (dense > 0.1)
    house[park] = M.GARDEN
    material[rows, columns] = house


def _let_water_flow(window: Window, land: Country, material: NDArray[np.uint8]) -> None:
    nodes = land.nodes
    size = np.exp(0.8 * nodes.noise(150, 95))
    wide = 27 * size * smooth(0.1, 0.3, land.moisture) + 1e-3
    bank = window.spread(nodes, land.river / land.river_slope / wide)
    np.abs(bank, out=bank)
    brook_width = 7 * smooth(0.3, 0.5, land.moisture) + 1e-3
    brook = window.spread(nodes, land.brook / land.brook_slope / brook_width)
    np.abs(brook, out=brook)
    if window.resolution <= 25:
        open_land = WORLDCOVER.take(material) == 40
        material[(brook < 2.6) & open_land] = M.HEDGE
        material[brook < 0.75] = M.RIVER
    meadows = (bank < 1.9) & (WORLDCOVER.take(material) == 40)
    material[meadows] = M.MEADOW
    material[bank < 1] = M.RIVER
    lake = window.spread(
        nodes, land.lake - 1.2 * smooth(120, 600, land.relief) - 1.5 * (1 - smooth(0.12, 0.25, land.moisture))
    )
    material[lake > 2.18] = M.RIVER
    sea = window.spread(nodes, land.sea)
    if sea.max() > -0.02:
        sea += np.float32(0.004) * window.noise(400, 821)
        material[sea > -0.004] = M.BEACH
        material[sea > 0] = M.SHORE
        material[sea > 0.025] = M.SEA


def _tone(window: Window, lots: Parcels, climate: NDArray[np.uint8], material: NDArray[np.uint8], soil: F32) -> F32:
    grain = window.noise(20, 831)
    grain *= TEXTURE.take(material)
    patch = window.noise(130, 832)
    patch *= np.float32(0.035)
    grain += patch
    own = unit(lots.field * np.uint32(0x9E3779B1))
    own -= np.float32(0.5)
    own *= np.where(_NATURAL.take(climate), np.float32(0), np.float32(0.32))
    grain += own
    grain += np.float32(0.07) * soil
    grain += np.float32(1)
    return np.clip(grain, 0.4, 1.8, out=grain)


def _vigour(window: Window, lots: Parcels, climate: NDArray[np.uint8], moisture: F32, soil: F32) -> F32:
    """How well things grow: by climate, by soil, from field to field and within a field."""
    vigour = np.float32(0.93) + np.float32(0.045) * window.noise(230, 801)
    vigour -= np.float32(0.03) * soil
    own = unit(lots.field * np.uint32(0x7FEB352D))
    own *= own
    own *= np.where(_NATURAL.take(climate), np.float32(0), np.float32(-0.16))
    vigour += own
    vigour *= np.clip(np.float32(0.55) + moisture, 0.5, 1.06)
    return vigour


def _phase(window: Window, land: Country, lots: Parcels, climate: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Neighbours sow days apart; towards the equator, where no season rules, at any time of the year."""
    latitude = window.spread(land.nodes, land.nodes.latitude)
    spread = np.float32(7) + np.float32(121) * (1 - smooth(8, 24, np.abs(latitude))).astype(np.float32)
    own = unit(lots.field * np.uint32(0xC2B2AE35))
    own -= np.float32(0.5)
    own *= spread
    own *= np.where(_NATURAL.take(climate), np.float32(0), np.float32(2))
    own += np.where(latitude < 0, np.float32(128), np.float32(0))
    own += (np.abs(latitude) - np.float32(50)) * np.where(np.abs(latitude) > 30, np.float32(-0.25), np.float32(0))
    return own.astype(np.int32).astype(np.uint8)
