"""What a job would do: its scenes, which of its products are there or not wanted, and the plan for the others."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

from eeflow.aoi import AOI, load_aoi
from eeflow.blocks import BlockStore
from eeflow.config import Job
from eeflow.grid import build_grid
from eeflow.gridfile import kept_grid
from eeflow.judge import JUDGED_NOTHING, Judgement, Refusal, is_judged, judge, judged_images
from eeflow.ledger import Entry, Ledger
from eeflow.plan import Plan, Product, check_limits, make_plan, outline
from eeflow.presets import with_preset
from eeflow.recipe import make_recipe
from eeflow.retention import known_refusals, too_old
from eeflow.scenes import Scene, find_scenes, native_lattice
from eeflow.series import Series, make_series
from eeflow.session import Session
from eeflow.transport import Pace
from eeflow.window import download_window, sync_window


@dataclass(frozen=True)
class Outlook:
    """The plan of a job, and what it is about.

    Attributes:
        job: with its preset.
        plan: for the products that are wanted.
        before: products on disk, by path.
        on_disk: those of them that are not made again, by key.
        known: by image id, what earlier runs refused.
        refused: by image id, all that is not wanted, and why.
    """

    job: Job
    plan: Plan
    before: Mapping[str, Entry]
    on_disk: Mapping[str, Entry]
    known: Mapping[str, Refusal]
    refused: Mapping[str, Refusal]

    @property
    def wanted(self) -> list[Product]:
        """Products that are to be made."""
        return [product for product in self.plan.products if not self._is_settled(product)]

    @property
    def store(self) -> BlockStore:
        """Where blocks wait for the job's products."""
        return BlockStore(self.job.cache / "blocks" / self.job.name)

    def _is_settled(self, product: Product) -> bool:
        return product.key in self.on_disk or product.image.image_id in self.refused


@dataclass(frozen=True)
class Prospect:
    """What is known of a job before its pixels.

    Attributes:
        scenes: all that its listing found.
        judgement: which of them it does not want.
        outlook: None where there are no scenes.
    """

    scenes: list[Scene]
    judgement: Judgement = JUDGED_NOTHING
    outlook: Outlook | None = None


foreseen: ContextVar[Prospect | None] = ContextVar("foreseen", default=None)
"""What is known of the job that this context runs, so that it does not ask for it again."""


def foresee(
    session: Session, job: Job, *, syncing: bool, seen: dict[Scene, Scene] | None = None, looking: bool = True
) -> Prospect:
    """Finds out what a job would do; it asks Earth Engine for the list of scenes, and for the clouds over them.

    Args:
        session: the connection.
        job: what to download.
        syncing: whether to look at the days that a sync does.
        seen: scenes of other jobs, which takes up those of this one: what jobs have in common is in memory once.
        looking: whether to look at clouds that no earlier run has looked at; else only lists are asked for.

    Raises:
        UserError: the job says something that cannot be, or plans more than its limits.
        RequestError: Earth Engine refuses.
    """
    job = with_preset(job)
    window = sync_window(job) if syncing else download_window(job)
    aoi = load_aoi(job.aoi)
    longitude = aoi.lonlat.centroid.x
    find = partial(find_scenes, session, aoi=aoi)
    scenes = window.find(find, job, longitude) if window else find(job)
    if seen is not None:
        scenes = [seen.setdefault(scene, scene) for scene in scenes]
    if not scenes:
        return Prospect(scenes)
    bands, recipe = make_recipe(job, scenes)
    judgement = judge(session, job, aoi, scenes, looking=looking) if is_judged(job) else JUDGED_NOTHING
    images = judged_images(job, scenes, judgement, longitude)
    grid = kept_grid(job, aoi, build_grid(job.grid, aoi, native_lattice(recipe.own(bands), scenes)))
    series = make_series(job, images, bands, grid, recipe)
    return Prospect(scenes, judgement, look_ahead(job, aoi, series, judgement, Pace.of(session)))


def look_ahead(job: Job, aoi: AOI, series: Series, judgement: Judgement, pace: Pace, *, fresh: bool = False) -> Outlook:
    """What of a series is there, what is not wanted, and the plan for the rest.

    Args:
        job: whose ledger tells.
        aoi: the area.
        series: all the job's images.
        judgement: of their scenes.
        pace: what requests cost.
        fresh: whether to make again what is there.

    Raises:
        LimitExceeded: the plan is larger than the job allows.
    """
    images, ledger = series.images, Ledger(job.folder)
    known = {} if fresh else known_refusals(job, images)
    judged = {image.image_id: refusal for image in images if (refusal := judgement.of(image))}
    refused = too_old(job, images) | judged | known
    before = ledger.intact()
    on_disk = {} if fresh else {entry.key: entry for entry in before.values()}
    plan = make_plan(
        job,
        series,
        outline(job, aoi, series.grid),
        lambda product: product.key in on_disk or product.image.image_id in refused,
        pace,
        ledger.names(),
    )
    check_limits(plan, job.limits)
    return Outlook(job, plan, before, on_disk, known, refused)
