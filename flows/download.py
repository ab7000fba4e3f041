"""One job: an area of interest becomes verified GeoTIFFs on the local disk."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.utilities.annotations import quote, unmapped

from eeflow.aoi import AOI
from eeflow.blocks import BlockStore
from eeflow.config import Job
from eeflow.errors import AccessDenied, RequestError, Stopped, TransientError
from eeflow.fetch import Control, Receipt
from eeflow.ledger import Entry, Ledger
from eeflow.output import exclusive
from eeflow.plan import Plan, Product, check_limits, make_plan, outline
from eeflow.presets import wanted_bands, with_preset
from eeflow.scenes import Scene
from eeflow.series import make_series
from eeflow.session import current_session
from eeflow.transport import Pace
from flows.local import earth_engine
from flows.progress import Stage, stop_event
from flows.report import ProductReport, RunReport
from flows.runner import task_runner
from tasks.aoi import load_aoi_task
from tasks.geotiff import Writing, write_task
from tasks.grid import build_grid_task
from tasks.region import Fetching, fetch_task, make_batches
from tasks.scenes import find_scenes_task
from tasks.session import connect_task
from tasks.slots import leased_slots


@dataclass
class _Tally:
    """What a run counts, and the errors it met."""

    requests_before: int
    failures_before: int
    fetched: int = 0
    splits: int = 0
    cached: int = 0
    errors: list[Exception] = field(default_factory=list)


@flow(name="download", flow_run_name="{job.name}", task_runner=task_runner())
def download(job: Job, fresh: bool = False) -> State[RunReport]:
    """Downloads what a job asks for: one GeoTIFF a scene, each complete or not there at all.

    Args:
        job: What to download, where and when.
        fresh: Ask for everything again, whatever is there from earlier runs.

    Returns:
        The run's report; the run counts as failed when a product is.
    """
    started = time.monotonic()
    job = with_preset(job)
    aoi = load_aoi_task(job.aoi)
    with earth_engine(), exclusive(job.folder), leased_slots():
        session = connect_task()
        tally = _Tally(session.requests, session.failures)
        scenes = find_scenes_task(job, aoi)
        products = _make_products(job, aoi, scenes, fresh, tally) if scenes else []
        report = RunReport(
            job=job.name,
            folder=str(job.folder),
            products=products,
            requests=session.requests - tally.requests_before,
            retries=session.failures - tally.failures_before - len(tally.errors),
            splits=tally.splits,
            cached=tally.cached,
            seconds=round(time.monotonic() - started, 3),
        )
    create_markdown_artifact(report.markdown(), key="download-report", description=report.summary)
    get_run_logger().info(report.summary)
    if report.failed:
        return Failed(message=report.summary, data=report)
    return Completed(message=report.summary, data=report)


def _make_products(job: Job, aoi: AOI, scenes: list[Scene], fresh: bool, tally: _Tally) -> list[ProductReport]:
    bands = wanted_bands(job, scenes)
    grid = build_grid_task(job, aoi, bands, quote(scenes))
    ledger = Ledger(job.folder)
    on_disk = {} if fresh else {entry.key: entry for entry in ledger.intact().values()}
    plan = make_plan(
        job,
        make_series(job, scenes, bands, grid),
        outline(job, aoi, grid),
        lambda product: product.key in on_disk,
        Pace.of(current_session()),
        ledger.names(),
    )
    check_limits(plan, job.limits)
    store = BlockStore(Path(job.output.root).expanduser() / ".eeflow" / "blocks" / job.name)
    _fetch(plan, store, fresh, tally)
    if plan.other and _was_refused(tally):
        get_run_logger().warning("%s was refused (%s); going on with the other.", plan.transport, tally.errors[0])
        plan, tally.errors = plan.other, []
        _fetch(plan, store, fresh, tally)
    wanted = [product for product in plan.products if product.key not in on_disk]
    written = _write(Writing(job, plan, store), wanted, tally)
    return [_product_report(job, product, on_disk, written, tally) for product in plan.products]


def _fetch(plan: Plan, store: BlockStore, fresh: bool, tally: _Tally) -> None:
    """Fetches what is missing, batch by batch; a batch whose blocks are all there is taken from Prefect's cache."""
    batches = make_batches(plan)
    if fresh:
        for key in (key for batch in batches for key in batch.keys):
            store.discard(key)
    tally.cached += sum(store.has(key) for batch in batches for key in batch.keys)
    open_requests = [batch.missing(store) for batch in batches]
    stored = [batch for batch, count in zip(batches, open_requests, strict=True) if not count]
    missing = [batch for batch, count in zip(batches, open_requests, strict=True) if count]
    stage = Stage("fetch", sum(open_requests))
    fetching = Fetching(store, Control(stage.advance, stop_event()))
    futures = [
        *fetch_task.map(stored, unmapped(fetching)),
        *fetch_task.with_options(refresh_cache=True).map(missing, unmapped(fetching)),
    ]
    try:
        receipts = [receipt for future in futures if (receipt := _result(future, tally))]
    finally:
        fetching.control.stop.set()
    tally.fetched += len(receipts)
    tally.splits += sum(receipt.splits for receipt in receipts)


def _was_refused(tally: _Tally) -> bool:
    """Whether the endpoint does not take this kind of request, so that the other transport may serve instead."""
    refused = [
        error for error in tally.errors if isinstance(error, RequestError) and not isinstance(error, AccessDenied)
    ]
    return any(not isinstance(error, TransientError) or tally.fetched == 0 for error in refused)


def _write(writing: Writing, products: list[Product], tally: _Tally) -> dict[str, Entry]:
    """Writes every product whose blocks are all there; entries by product key."""
    ready = [product for product in products if writing.is_ready(product)]
    stage = Stage("write", len(ready))
    futures = write_task.map(unmapped(writing), ready)
    written = {}
    for product, future in zip(ready, futures, strict=True):
        if entry := _result(future, tally):
            written[product.key] = entry
        stage.advance()
    return written


def _result(future: PrefectFuture[Any], tally: _Tally) -> Any:
    """A task's result; None, with the error noted, when it failed."""
    result: Receipt | Entry | Exception = future.result(raise_on_failure=False)
    if isinstance(result, Exception):
        if not isinstance(result, Stopped):
            tally.errors.append(result)
        return None
    return result


def _product_report(
    job: Job, product: Product, on_disk: dict[str, Entry], written: dict[str, Entry], tally: _Tally
) -> ProductReport:
    entry = written.get(product.key) or on_disk.get(product.key)
    error = None if entry else str(tally.errors[0] if tally.errors else "its pixels were not fetched")
    return ProductReport(
        path=str(job.folder / (entry.path if entry else f"{product.name}.tif")),
        sha256=entry.sha256 if entry else None,
        scene_ids=[product.scene_id],
        time_start=product.time_start.isoformat() if product.time_start else None,
        valid_fraction=round(entry.valid_fraction, 6) if entry else None,
        status="failed" if entry is None else "written" if product.key in written else "present",
        error=error,
    )
