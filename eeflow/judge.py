"""Which scenes a job wants, told by the cloud over the area itself, before any of their pixels are fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask

from eeflow.aoi import AOI
from eeflow.blocks import Block, BlockStore
from eeflow.clouds import CloudFlag, bands_needed, check_clouds, find_scored
from eeflow.config import Job
from eeflow.fetch import Control, fetch_batch
from eeflow.grid import Window, build_grid, crs_name, parse_crs
from eeflow.images import Image, make_images
from eeflow.options import GridOptions
from eeflow.recipe import Recipe
from eeflow.region import MAX_ROWS
from eeflow.scenes import Scene, choose_bands, native_lattice, search_area
from eeflow.series import Request, Series, make_series
from eeflow.session import Session

# Pixels of a scene that are looked at: all of a field, about every thirtieth row and column of a whole granule.
_JUDGED_PIXELS = 4096
UNSCORED = "no_score"
"""The kind of refusal that may pass by itself: the scene has no Cloud Score+ yet."""


@dataclass(frozen=True)
class Refusal:
    """Why a scene is left out: in a word, and for people."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Judgement:
    """What is known of scenes before their pixels.

    Attributes:
        cloud: by scene id, the share of cloud over the area, 0 to 1; without those that have no pixel there.
        refusals: by scene id, why it is left out.
        unseen: ids of scenes that are still to be looked at, and count as wanted until then.
    """

    cloud: Mapping[str, float] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()

    def of(self, image: Image) -> Refusal | None:
        """Why an image is left out: all its scenes are."""
        if any(scene.scene_id not in self.refusals for scene in image.scenes):
            return None
        refusals = [self.refusals[scene.scene_id] for scene in image.scenes]
        first = next((refusal for refusal in refusals if refusal.kind == UNSCORED), refusals[0])
        count = len(refusals)
        return first if count == 1 else Refusal(first.kind, f"none of its {count} scenes is wanted: {first.reason}")

    def reasons(self, image: Image) -> dict[str, str]:
        """By scene id, why scenes of an image are left out."""
        ids = (scene.scene_id for scene in image.scenes)
        return {scene_id: self.refusals[scene_id].reason for scene_id in ids if scene_id in self.refusals}

    def cloud_of(self, image: Image) -> float | None:
        """Share of cloud over the area: the mean of the image's scenes."""
        known = [self.cloud[scene.scene_id] for scene in image.scenes if scene.scene_id in self.cloud]
        return sum(known) / len(known) if known else None


JUDGED_NOTHING = Judgement()


def is_judged(job: Job) -> bool:
    """Whether some of the job's scenes may be left out."""
    clouds, product = job.clouds, job.product
    return clouds.method != "none" or product.method in ("least_cloudy", "best_pixel")


def judge(session: Session, job: Job, aoi: AOI, scenes: Sequence[Scene], *, looking: bool = True) -> Judgement:
    """Looks at the cloud of all scenes, coarsely, in one request for hundreds of them.

    What was looked at is kept in the job's cache, so that a later run does not ask again.

    Args:
        session: the connection.
        job: its `clouds` and `product`; where they set no condition nothing is asked.
        aoi: the area.
        scenes: of the job.
        looking: whether to look at what no earlier run has looked at; else only lists are asked for.

    Raises:
        ConfigError: cloud cannot be told so for these scenes.
        RequestError: Earth Engine refuses.
    """
    clouds, least = job.clouds, job.product.method == "least_cloudy"
    check_clouds(clouds, scenes)
    refusals: dict[str, Refusal] = {}
    if clouds.method == "cloud-score-plus" or job.product.method == "best_pixel":
        scored = find_scored(session, search_area(job, aoi), scenes, job.cache / "scored.txt")
        unscored = Refusal(UNSCORED, "it has no Cloud Score+ (yet), so its clouds cannot be told")
        refusals = {scene.scene_id: unscored for scene in scenes if scene.scene_id not in scored}
    judged = [scene for scene in scenes if scene.scene_id not in refusals]
    if clouds.method == "none" or not judged or (clouds.max_fraction is None and not least):
        return Judgement({}, refusals)
    series, window = _looks(job, aoi, judged)
    store = BlockStore(job.cache / "judged" / job.name)
    if looking:
        _look(session, series, window, store)
    blocks = {scene.scene_id: store.load(series.block_key(scene.scene_id, ("cloud",), window)) for scene in judged}
    shares = {scene_id: cloud_fraction(series.grid, block, aoi) for scene_id, block in blocks.items() if block}
    cloud = {scene_id: fraction for scene_id, fraction in shares.items() if fraction is not None}
    limit = 1.0 if clouds.max_fraction is None else clouds.max_fraction
    for scene_id, fraction in cloud.items():
        if fraction > limit:
            text = f"cloud over {fraction:.1%} of the area; clouds.max_fraction is {limit:.1%}"
            refusals[scene_id] = Refusal("cloudy", text)
    return Judgement(cloud, refusals, frozenset(scene_id for scene_id, block in blocks.items() if block is None))


def judged_images(
    job: Job, scenes: Sequence[Scene], judgement: Judgement, longitude: float, now: datetime | None = None
) -> list[Image]:
    """The images of the scenes that are wanted, and those of which no scene is, by time; errors as in `make_images`."""
    wanted = [scene for scene in scenes if scene.scene_id not in judgement.refusals]
    images = {image.image_id: image for image in make_images(job, wanted, longitude, judgement.cloud, now)}
    if len(wanted) < len(scenes):
        shares = {scene.scene_id: judgement.cloud.get(scene.scene_id, 1.0) for scene in scenes}
        for whole in make_images(job, scenes, longitude, shares, now):
            image = images.get(whole.image_id, whole)
            images[whole.image_id] = replace(image, left_out=judgement.reasons(whole))
    return sorted(images.values(), key=lambda image: (str(image.time_start or ""), image.image_id))


def _looks(job: Job, aoi: AOI, scenes: Sequence[Scene]) -> tuple[Series, Window]:
    """What is looked at: a band of cloud on a coarse grid, in one window."""
    grid = judging_grid(job, aoi, scenes)
    flag = CloudFlag(job.clouds.model_copy(update={"max_fraction": None, "mask": True}))  # neither changes what is seen
    recipe = Recipe(made=(flag,))
    series = make_series(job, [Image(scene.scene_id, (scene,), "") for scene in scenes], ["cloud"], grid, recipe)
    return series, Window(0, 0, *grid.shape)


def _look(session: Session, series: Series, window: Window, store: BlockStore) -> None:
    together = max(1, MAX_ROWS // window.size)
    ids = [image.image_id for image in series.images]
    parts = [tuple(ids[start : start + together]) for start in range(0, len(ids), together)]
    fetch_batch(session, series, [Request(part, ("cloud",), window) for part in parts], store, Control())


def judging_grid(job: Job, aoi: AOI, scenes: Sequence[Scene]) -> GeoBox:
    """Few enough pixels to look at, each on the centre of a pixel of the band that tells cloud.

    The coarser pixels are an odd number of fine ones wide, so that their centres are centres of fine ones.
    """
    bands = bands_needed(job.clouds)[:1] or choose_bands([], scenes)  # a score has the finest band's pixels
    fine = build_grid(GridOptions.model_validate({}), aoi, native_lattice(bands, scenes))
    factor = 1
    while fine.shape[0] * fine.shape[1] > _JUDGED_PIXELS * factor**2:
        factor += 2
    height, width = (-(-size // factor) for size in fine.shape)
    return GeoBox((height, width), fine.transform @ Affine.scale(factor), fine.crs)


def cloud_fraction(grid: GeoBox, block: Block, aoi: AOI) -> float | None:
    """Share of a scene's pixels over the area that count as cloud; None where it has none there.

    Args:
        grid: of the block.
        block: with the band `cloud`, 1 where there is.
        aoi: pixels whose centre lies in it count; all of them where it holds no centre.
    """
    outline = aoi.to_crs(parse_crs(crs_name(grid)))
    inside = geometry_mask([outline], tuple(grid.shape), grid.transform, invert=True)
    valid = block.valid["cloud"] & (inside if inside.any() else np.True_)
    return float(block.values["cloud"][valid].mean()) if valid.any() else None
