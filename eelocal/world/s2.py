"""Sentinel-2 and what is derived from it granule by granule: Level-2A, Level-1C, Cloud Score+."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from eelocal.assets import NO_GRID, Band, StoredImage
from eelocal.world import mgrs
from eelocal.world.bandspec import BandSpec
from eelocal.world.cloud_score import SCORES, has_match, score_properties
from eelocal.world.orbit import SWATH_HALF, cross_track
from eelocal.world.s2_bands import CLOUD_PROBABILITY, LEVEL_1C, LEVEL_2A
from eelocal.world.s2_properties import level_1c_properties, level_2a_properties
from eelocal.world.scenes import L1C_START_MS, L2A_START_MS, Scene, scene_named, search_scenes
from eelocal.world.surface import day_of
from eelocal.world.tiles import Raster
from eelocal.world.window import Window

_SWATH_NODES = 6400.0  # metres


@dataclass(frozen=True)
class Product:
    """A collection whose images are Sentinel-2 granules."""

    id: str
    title: str
    bands: Mapping[str, BandSpec]
    properties: Callable[[Scene], dict[str, Any]]
    start_ms: int
    delay_ms: int  # from the making of the Level-2A product to the archive
    holds: Callable[[Scene], bool] = lambda scene: True


class S2Image:
    """One granule of one pass."""

    def __init__(self, product: Product, scene: Scene) -> None:
        """Nothing is computed until asked."""
        self._product = product
        self.scene = scene

    @property
    def id(self) -> str:
        """Asset id."""
        return f"{self._product.id}/{self.scene.index}"

    @property
    def version(self) -> int:
        """`system:version`: when it came into the archive, microseconds."""
        return (self.scene.generation_ms + self._product.delay_ms) * 1000 + self.scene.overpass.key % 1_000_000

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """Properties as Earth Engine gives them."""
        return self._product.properties(self.scene)

    @property
    def footprint(self) -> BaseGeometry:
        """The part of the granule inside the swath."""
        return self.scene.view.footprint

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """All bands."""
        return tuple(_stored(spec, self.scene) for spec in self._product.bands.values())

    def read(
        self, band: str, level: int, col: int, row: int, width: int, height: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels of a window at a pyramid level; see `eelocal.assets.StoredImage`."""
        spec, scene = self._product.bands[band], self.scene
        if not spec.present(scene.time_ms):
            return np.zeros((height, width), spec.dtype), np.zeros((height, width), np.bool_)
        granule = scene.granule
        size = mgrs.GRANULE_SIZE // spec.resolution
        raster = Raster(granule.zone, granule.left, granule.top, spec.resolution, size, size)
        request = (col, row, width, height)
        return spec.read(raster, level, request, lambda window: inside_swath(window, scene), self._samples(spec))

    def _samples(self, spec: BandSpec) -> Callable[[Window, Window], NDArray[Any]]:
        scene = self.scene

        def samples(window: Window, whole: Window) -> NDArray[Any]:
            sun = scene.sun_near(whole.zone, int(whole.x // mgrs.SQUARE), int(whole.y // mgrs.SQUARE))
            return spec.make(day_of(window, scene.overpass, sun))

        return samples


def _stored(spec: BandSpec, scene: Scene) -> Band:
    """A band on the granule's grid; one that scenes of that time lack has none.

    geedim's test_projection tells it of MSK_CLASSI_*; that QA60 is alike is assumed.
    """
    if not spec.present(scene.time_ms):
        return Band(spec.name, spec.dtype, "EPSG:4326", NO_GRID, 0, 0, spec.limits, spec.pyramiding)
    granule = scene.granule
    size = mgrs.GRANULE_SIZE // spec.resolution
    transform = (spec.resolution, 0, granule.left, 0, -spec.resolution, granule.ul_northing)
    return Band(spec.name, spec.dtype, granule.crs, transform, size, size, spec.limits, spec.pyramiding)


def inside_swath(window: Window, scene: Scene) -> NDArray[np.bool_]:
    """Which pixels of a window the swath of a scene reaches."""
    if scene.view.share == 1.0:
        return np.ones((window.height, window.width), np.bool_)
    nodes = window.nodes(window.node_spacing(_SWATH_NODES))
    across, _ = cross_track(nodes.longitude, nodes.latitude, scene.view.relative_orbit)
    return np.asarray(np.abs(window.spread(nodes, across)) <= SWATH_HALF)


class S2Collection:
    """A collection of granules."""

    def __init__(self, product: Product) -> None:
        """Nothing is computed until asked."""
        self._product = product

    @property
    def id(self) -> str:
        """Asset id."""
        return self._product.id

    @property
    def properties(self) -> Mapping[str, Any]:
        """Properties of the collection."""
        return {"title": self._product.title, "date_range": [self._product.start_ms, None]}

    def search(
        self, start_ms: float | None, end_ms: float | None, region: BaseGeometry | None
    ) -> Iterator[StoredImage]:
        """Images in asset id order; see `eelocal.assets.StoredCollection`."""
        start = self._product.start_ms if start_ms is None else max(start_ms, self._product.start_ms)
        end = float("inf") if end_ms is None else end_ms
        for scene in search_scenes(start, end, region):
            if self._product.holds(scene):
                yield S2Image(self._product, scene)

    def get(self, index: str) -> StoredImage | None:
        """The image with that `system:index`, or None."""
        scene = scene_named(index)
        if scene is None or scene.time_ms < self._product.start_ms or not self._product.holds(scene):
            return None
        return S2Image(self._product, scene)


PRODUCTS = (
    Product(
        "COPERNICUS/S2_SR_HARMONIZED", "Sentinel-2 Level-2A", LEVEL_2A, level_2a_properties, L2A_START_MS, 5_400_000
    ),
    Product("COPERNICUS/S2_SR", "Sentinel-2 Level-2A", LEVEL_2A, level_2a_properties, L2A_START_MS, 5_400_000),
    Product("COPERNICUS/S2_HARMONIZED", "Sentinel-2 Level-1C", LEVEL_1C, level_1c_properties, L1C_START_MS, 1_800_000),
    Product("COPERNICUS/S2", "Sentinel-2 Level-1C", LEVEL_1C, level_1c_properties, L1C_START_MS, 1_800_000),
    Product(
        "COPERNICUS/S2_CLOUD_PROBABILITY",
        "Sentinel-2 cloud probability",
        CLOUD_PROBABILITY,
        level_1c_properties,
        L1C_START_MS,
        86_400_000,
    ),
    Product(
        "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED",
        "Cloud Score+",
        SCORES,
        score_properties,
        L1C_START_MS,
        86_400_000,
        has_match,
    ),
)
