"""What is fetched: a series of scenes in some bands on one grid, and the requests that ask for parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from odc.geo.geobox import GeoBox

from eeflow.config import Job, digest
from eeflow.grid import Window, crs_name
from eeflow.scenes import Scene, band_dtype

TransportName = Literal["get_region", "compute_pixels"]


@dataclass(frozen=True)
class BandType:
    """A band as it is delivered: its name and numpy dtype."""

    name: str
    dtype: str


@dataclass(frozen=True)
class Series:
    """Everything that decides which pixels are fetched: the images, the bands and the one grid.

    Attributes:
        source: asset id of the collection, or of the single image.
        is_image: whether the source is a single image.
        region: how a window is named to Earth Engine, `rectangle` or `points`.
    """

    source: str
    is_image: bool
    scenes: tuple[Scene, ...]
    bands: tuple[BandType, ...]
    grid: GeoBox
    region: Literal["rectangle", "points"] = "rectangle"

    def scene(self, scene_id: str) -> Scene:
        """The scene of that id."""
        return self._by_id[scene_id]

    @cached_property
    def _by_id(self) -> dict[str, Scene]:
        return {scene.scene_id: scene for scene in self.scenes}

    def band(self, name: str) -> BandType:
        """The band of that name."""
        return next(band for band in self.bands if band.name == name)

    def dtypes(self, names: Sequence[str]) -> list[str]:
        """The dtypes of those bands."""
        return [self.band(name).dtype for name in names]

    def block_key(self, scene_id: str, bands: Sequence[str], window: Window) -> str:
        """Content hash of a block: another version, band, dtype or grid never meets an old block."""
        part = window.of(self.grid)
        return digest(
            [
                "block-1",
                self.source,
                scene_id,
                self.scene(scene_id).version,
                [[name, self.band(name).dtype] for name in bands],
                crs_name(part),
                list(part.transform)[:6],
                list(part.shape),
            ]
        )


@dataclass(frozen=True)
class Request:
    """One API call: some scenes, some bands, one window of the grid."""

    scene_ids: tuple[str, ...]
    bands: tuple[str, ...]
    window: Window
    transport: TransportName = "get_region"

    @property
    def rows(self) -> int:
        """Pixels of all its scenes, which are the rows of a getRegion answer at most."""
        return self.window.size * len(self.scene_ids)

    @property
    def values(self) -> int:
        """Pixels of all its scenes and bands."""
        return self.rows * len(self.bands)

    def split(self) -> list[Request]:
        """Smaller requests for the same pixels: window in 4, then scenes in 2, then bands in 2.

        One pixel of one band of one scene cannot be split: then the list holds only this request.
        """
        if self.window.size > 1:
            return [replace(self, window=part) for part in self.window.quarters()]
        if len(self.scene_ids) > 1:
            return [replace(self, scene_ids=part) for part in _in_two(self.scene_ids)]
        if len(self.bands) > 1:
            return [replace(self, bands=part) for part in _in_two(self.bands)]
        return [self]


def make_series(job: Job, scenes: Sequence[Scene], bands: Sequence[str], grid: GeoBox) -> Series:
    """The series of a job: its scenes and bands on its grid."""
    return Series(
        source=str(job.image or job.collection),
        is_image=job.image is not None,
        scenes=tuple(scenes),
        bands=tuple(BandType(name, str(band_dtype(name, scenes))) for name in bands),
        grid=grid,
        region=job.region,
    )


def _in_two(items: tuple[str, ...]) -> list[tuple[str, ...]]:
    half = (len(items) + 1) // 2
    return [items[:half], items[half:]]
