"""Sentinel-2 Level-2A: the images of `COPERNICUS/S2_SR_HARMONIZED` and `COPERNICUS/S2_SR`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from eelocal.assets import Band, StoredImage
from eelocal.world import mgrs
from eelocal.world.orbit import SWATH_HALF, cross_track
from eelocal.world.s2_bands import BANDS, BandSpec
from eelocal.world.s2_properties import properties_of
from eelocal.world.scenes import ARCHIVE_START_MS, Scene, scene_named, search_scenes
from eelocal.world.surface import day_of
from eelocal.world.tiles import Raster, across_zones, finer, mean_of_four
from eelocal.world.window import Window

_SWATH_NODES = 6400.0  # metres


class S2Image:
    """One Level-2A scene."""

    def __init__(self, collection: str, scene: Scene) -> None:
        """Nothing is computed until asked."""
        self._collection = collection
        self.scene = scene

    @property
    def id(self) -> str:
        """Asset id."""
        return f"{self._collection}/{self.scene.index}"

    @property
    def version(self) -> int:
        """`system:version`: when it came into the archive, microseconds."""
        return (self.scene.generation_ms + 5_400_000) * 1000 + self.scene.overpass.key % 1_000_000

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """Properties as Earth Engine gives them."""
        return properties_of(self.scene)

    @property
    def footprint(self) -> BaseGeometry:
        """The part of the granule inside the swath."""
        return self.scene.view.footprint

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """All 26 bands."""
        granule = self.scene.granule
        return tuple(spec.band(granule.crs, granule.left, granule.ul_northing) for spec in BANDS.values())

    def read(
        self, band: str, level: int, col: int, row: int, width: int, height: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Pixels of a window at a pyramid level; see `eelocal.assets.StoredImage`."""
        spec = BANDS[band]
        values = np.zeros((height, width), spec.dtype)
        valid = np.zeros((height, width), np.bool_)
        if not spec.present(self.scene.time_ms):
            return values, valid
        granule = self.scene.granule
        size = mgrs.GRANULE_SIZE // spec.resolution
        raster = Raster(granule.zone, granule.left, granule.top, spec.resolution, size, size).at_level(level)
        averaged = level > 0 and spec.pyramiding == "MEAN"
        for piece in raster.pieces(col, row, width, height, 2 if averaged else 1):
            inside = inside_swath(piece.window, self.scene)
            if inside.any():
                values[piece.target] = np.where(inside, self._make(spec, piece.window, averaged), 0)
                valid[piece.target] = inside
        return values, valid

    def _make(self, spec: BandSpec, window: Window, averaged: bool) -> NDArray[Any]:
        """Pixels of a window in the band's type, as if the swath reached everywhere."""
        scene = self.scene
        sun = scene.sun_near(window.zone, int(window.x // mgrs.SQUARE), int(window.y // mgrs.SQUARE))

        def samples(part: Window) -> NDArray[Any]:
            return spec.make(day_of(part, scene.overpass, sun))

        if averaged:
            return spec.typed(mean_of_four(across_zones(finer(window), samples)))
        return spec.typed(across_zones(window, samples))


def inside_swath(window: Window, scene: Scene) -> NDArray[np.bool_]:
    """Which pixels of a window the swath of a scene reaches."""
    if scene.view.share == 1.0:
        return np.ones((window.height, window.width), np.bool_)
    nodes = window.nodes(window.node_spacing(_SWATH_NODES))
    across, _ = cross_track(nodes.longitude, nodes.latitude, scene.view.relative_orbit)
    return np.asarray(np.abs(window.spread(nodes, across)) <= SWATH_HALF)


class S2Collection:
    """A Level-2A collection."""

    def __init__(self, asset_id: str) -> None:
        """Nothing is computed until asked."""
        self._id = asset_id

    @property
    def id(self) -> str:
        """Asset id."""
        return self._id

    @property
    def properties(self) -> Mapping[str, Any]:
        """Properties of the collection."""
        return {"date_range": [ARCHIVE_START_MS, None], "title": "Sentinel-2 Level-2A, generated"}

    def search(
        self, start_ms: float | None, end_ms: float | None, region: BaseGeometry | None
    ) -> Iterator[StoredImage]:
        """Images in asset id order; see `eelocal.assets.StoredCollection`."""
        start = float("-inf") if start_ms is None else start_ms
        end = float("inf") if end_ms is None else end_ms
        for scene in search_scenes(start, end, region):
            yield S2Image(self._id, scene)

    def get(self, index: str) -> StoredImage | None:
        """The image with that `system:index`, or None."""
        scene = scene_named(index)
        return S2Image(self._id, scene) if scene else None
