"""One job: an area of interest becomes verified GeoTIFFs on the local disk."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Literal

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.utilities.annotations import quote

from eeflow.aoi import AOI
from eeflow.budget import Budget, metered
from eeflow.config import Job
from eeflow.errand import errand
from eeflow.fetch import missing_requests
from eeflow.judge import JUDGED_NOTHING, Refusal, is_judged, judged_images
from eeflow.ledger import Entry, Ledger
from eeflow.outcome import failed, rejected
from eeflow.output import exclusive
from eeflow.plan import Product
from eeflow.presets import with_preset
from eeflow.prospect import foreseen, look_ahead
from eeflow.recipe import averaged_classes, make_recipe
from eeflow.retention import prune
from eeflow.scenes import Scene
from eeflow.series import make_series
from eeflow.session import current_session
from eeflow.transport import Pace
from eeflow.window import Window, download_window, sync_window
from flows.ending import ended
from flows.local import earth_engine
from flows.page import show
from flows.pipeline import Tally, carry_out
from flows.report import Change, ProductReport, RunReport, Status
from flows.runner import task_runner
from flows.stale import end_dead_runs
from tasks.aoi import load_aoi_task
from tasks.beside import finish_folder_task
from tasks.clouds import judge_task
from tasks.geotiff import Writing
from tasks.grid import build_grid_task
from tasks.scenes import find_scenes_task
from tasks.slots import leased_slots

FlowName = Literal["download", "sync"]
RESTRICTED = (
    "Earth Engine has put the project into restricted mode: its compute of this month is used up, and few requests are "
    "answered at a time."
)


@flow(name="download", flow_run_name="{job.title}", task_runner=task_runner(), persist_result=False)
def download(job: Job, fresh: bool = False) -> State[RunReport]:
    """Downloads what a job asks for: one GeoTIFF a scene, each complete or not there at all.

    Args:
        job: What to download, where and when.
        fresh: Ask for everything again, whatever is there from earlier runs.

    Returns:
        The run's report; the run counts as failed when a product is.
    """
    return run_job(job, "download", fresh=fresh)


def run_job(job: Job, kind: FlowName, *, fresh: bool = False) -> State[RunReport]:
    """Carries out a job within the flow `kind`, whose report it makes.

    Args:
        job: what to download.
        kind: the flow's name; it decides which days are looked at.
        fresh: ask for everything again.
    """
    started = time.monotonic()
    end_dead_runs()
    job = with_preset(job)
    window = sync_window(job) if kind == "sync" else download_window(job)
    aoi = load_aoi_task(job.aoi)
    with earth_engine(), exclusive(job.folder), metered(job, get_run_logger()) as budget, leased_slots():
        budget.check(job.limits, requests=1)
        session = current_session()
        count = errand.get().count
        tally = Tally(count.requests, count.failures)
        ledger = Ledger(job.folder)
        scenes = _find_scenes(job, aoi, window)
        disappeared = window.disappeared(ledger.entries(), scenes) if window and kind == "sync" else []
        products = _make_products(job, aoi, scenes, fresh, tally, budget) if scenes else []
        removed = prune(job)
        finish_folder_task(job, aoi)
        report = RunReport(
            job=job.name,
            folder=str(job.folder),
            products=products,
            requests=count.requests - tally.requests_before,
            retries=count.failures - tally.failures_before - len(tally.errors),
            splits=tally.splits,
            cached=tally.cached,
            seconds=round(time.monotonic() - started, 3),
            disappeared=[entry.path for entry in disappeared],
            removed=[entry.path for entry in removed],
            warnings=([RESTRICTED] if session.restricted else []) + (averaged_classes(job, scenes) if scenes else []),
            limit=str(tally.limit) if tally.limit else None,
        )
    show(report, job, kind)
    return ended(report)


def _find_scenes(job: Job, aoi: AOI, window: Window | None) -> list[Scene]:
    if ahead := foreseen.get():
        return ahead.scenes
    find = partial(find_scenes_task, aoi=aoi)
    return window.find(find, job, aoi.lonlat.centroid.x) if window else find(job)


def _make_products(
    job: Job, aoi: AOI, scenes: list[Scene], fresh: bool, tally: Tally, budget: Budget
) -> list[ProductReport]:
    ahead, session = foreseen.get(), current_session()
    bands, recipe = make_recipe(job, scenes)
    judgement = JUDGED_NOTHING
    if is_judged(job):
        judgement = ahead.judgement if ahead else judge_task(job, aoi, quote(scenes))
    images = judged_images(job, scenes, judgement, aoi.lonlat.centroid.x)
    grid = build_grid_task(job, aoi, recipe.own(bands), quote(scenes))
    series = make_series(job, images, bands, grid, recipe)
    outlook = look_ahead(job, aoi, series, judgement, Pace.of(session), fresh=fresh)
    plan, wanted, store = outlook.plan, outlook.wanted, outlook.store
    before, on_disk, known, refused = outlook.before, outlook.on_disk, outlook.known, outlook.refused
    budget.count(session)
    budget.check(job.limits, len(plan.requests if fresh else missing_requests(series, plan.requests, store)))
    carry_out(Writing(job, plan, store, judgement), wanted, tally, fresh)
    if plan.other and tally.was_refused:
        get_run_logger().warning("%s was refused (%s); going on with the other.", plan.transport, tally.errors[0])
        plan, tally.errors = plan.other, []
        carry_out(Writing(job, plan, store, judgement), wanted, tally, fresh)
    ledger = Ledger(job.folder)
    # A scene that came since, and is not wanted, leaves the product as it is.
    ledger.record(
        *(
            replace(entry, left_out=product.image.left_out)
            for product in plan.products
            if (entry := on_disk.get(product.key)) and entry.left_out != product.image.left_out
        )
    )
    lacking = [product for product in wanted if product.key not in tally.written]
    ledger.record(*(failed(job, plan, product, tally.why_not(product)) for product in lacking))
    ledger.record(
        *(
            rejected(job, plan, product, refusal.kind, refusal.reason, judgement.cloud_of(product.image))
            for product in plan.products
            if product.key not in on_disk and product.image.image_id not in known
            if (refusal := refused.get(product.image.image_id))
        )
    )
    return [_product_report(job, product, before, on_disk, tally, refused) for product in plan.products]


def _product_report(
    job: Job, product: Product, before: Mapping[str, Entry], on_disk: Mapping[str, Entry], tally: Tally,
    refused: Mapping[str, Refusal],
) -> ProductReport:  # fmt: skip
    entry = tally.written.get(product.key) or on_disk.get(product.key)
    refusal = refused.get(product.image.image_id)
    status: Status = "present"
    if product.key in tally.written:
        status = "written" if entry and entry.on_disk else "rejected"
    elif entry is None:
        status = "rejected" if refusal else "failed"
    reason = entry.reason if entry else refusal.reason if refusal else str(tally.why_not(product))
    return ProductReport(
        path=str(job.folder / (entry.path if entry else f"{product.name}.tif")),
        sha256=entry.sha256 if entry else None,
        scene_ids=[scene.scene_id for scene in product.image.scenes],
        time_start=product.time_start.isoformat() if product.time_start else None,
        valid_fraction=round(entry.valid_fraction, 6) if entry else None,
        status=status,
        error=reason,
        change=_change(product, before) if status == "written" else None,
        left_out=dict(product.image.left_out),
    )


def _change(product: Product, before: Mapping[str, Entry]) -> Change:
    """Why a product was written, given what was on disk before."""
    if any(entry.product_id == product.image.image_id for entry in before.values()):
        return "changed"
    time = product.time_start
    newest = max((datetime.fromisoformat(e.time_start) for e in before.values() if e.time_start), default=None)
    return "late" if time and newest and time < newest else "new"
