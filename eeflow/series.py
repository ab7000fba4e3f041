"""What is fetched: a series of images in some bands on one grid, and the requests that ask for parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from odc.geo.geobox import GeoBox

from eeflow.config import Job, digest
from eeflow.grid import Window, crs_name
from eeflow.images import Image
from eeflow.recipe import PLAIN, Recipe

TransportName = Literal["get_region", "compute_pixels"]


@dataclass(frozen=True)
class BandType:
    """A band as it is delivered: its name and numpy dtype."""

    name: str
    dtype: str


@dataclass(frozen=True, eq=False)
class Series:
    """Everything that decides which pixels are fetched: the images, the bands and the one grid.

    Each is itself alone, so that what belongs to one can be kept by it.

    Attributes:
        source: asset id of the collection, or of the single image.
        is_image: whether the source is a single image.
        recipe: how images are made of their scenes.
        region: how a window is named to Earth Engine, `rectangle` or `points`.
        packing: whether getRegion's rows are made short.
    """

    source: str
    is_image: bool
    images: tuple[Image, ...]
    bands: tuple[BandType, ...]
    grid: GeoBox
    recipe: Recipe = PLAIN
    region: Literal["rectangle", "points"] = "rectangle"
    packing: bool = False

    def image(self, image_id: str) -> Image:
        """The image of that id."""
        return self._by_id[image_id]

    @cached_property
    def _by_id(self) -> dict[str, Image]:
        return {image.image_id: image for image in self.images}

    def band(self, name: str) -> BandType:
        """The band of that name."""
        return next(band for band in self.bands if band.name == name)

    def dtypes(self, names: Sequence[str]) -> list[str]:
        """The dtypes of those bands."""
        return [self.band(name).dtype for name in names]

    def block_key(self, image_id: str, bands: Sequence[str], window: Window) -> str:
        """Content hash of a block: another version, band, dtype or grid never meets an old block."""
        part = window.of(self.grid)
        return digest(
            [
                "block-2",
                self.source,
                self.image(image_id).content,
                self.recipe.content,
                [[name, self.band(name).dtype] for name in bands],
                crs_name(part),
                list(part.transform)[:6],
                list(part.shape),
            ]
        )


@dataclass(frozen=True)
class Request:
    """One API call: some images, some bands, one window of the grid."""

    image_ids: tuple[str, ...]
    bands: tuple[str, ...]
    window: Window
    transport: TransportName = "get_region"

    @property
    def rows(self) -> int:
        """Pixels of all its images, which are the rows of a getRegion answer at most."""
        return self.window.size * len(self.image_ids)

    @property
    def values(self) -> int:
        """Pixels of all its images and bands."""
        return self.rows * len(self.bands)

    @property
    def title(self) -> str:
        """What it asks for, in a line for people."""
        first, others = self.image_ids[0], len(self.image_ids) - 1
        images = f"{first} and {others} more" if others else first
        window = self.window
        return (
            f"{images}, {' '.join(self.bands)}, {window.height} x {window.width} pixels from row {window.row}, column "
            f"{window.col}"
        )

    def split(self) -> list[Request]:
        """Smaller requests for the same pixels: window in 4, then images in 2, then bands in 2.

        One pixel of one band of one image cannot be split: then the list holds only this request.
        """
        if self.window.size > 1:
            return [replace(self, window=part) for part in self.window.quarters()]
        if len(self.image_ids) > 1:
            return [replace(self, image_ids=part) for part in _in_two(self.image_ids)]
        if len(self.bands) > 1:
            return [replace(self, bands=part) for part in _in_two(self.bands)]
        return [self]


def make_series(
    job: Job, images: Sequence[Image], bands: Sequence[str], grid: GeoBox, recipe: Recipe = PLAIN
) -> Series:
    """The series of a job: its images and bands on its grid."""
    scenes = [scene for image in images for scene in image.scenes]
    return Series(
        source=str(job.image or job.collection),
        is_image=job.image is not None,
        images=tuple(images),
        bands=tuple(BandType(name, recipe.dtype(name, scenes)) for name in bands),
        grid=grid,
        recipe=recipe,
        region=job.region,
        packing=job.packing == "auto" and job.region == "rectangle" and job.image is None,
    )


def _in_two(items: tuple[str, ...]) -> list[tuple[str, ...]]:
    half = (len(items) + 1) // 2
    return [items[:half], items[half:]]
