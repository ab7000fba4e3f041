"""What a run would do, for people and programs: the same steps as the flow up to the first request for pixels."""

from __future__ import annotations

from typing import Any

from eeflow.budget import metered
from eeflow.config import Job
from eeflow.grid import crs_name, grid_hash
from eeflow.judge import Judgement
from eeflow.plan import Draft
from eeflow.presets import with_preset
from eeflow.prospect import foresee
from eeflow.recipe import averaged_classes
from eeflow.session import current_session
from eeflow.transport import Pace
from flows.local import earth_engine

# How often an answer is in memory while it is fetched and placed: the body, its columns, its blocks.
_COPIES = 3


def draft(job: Job, *, syncing: bool = False) -> dict[str, Any]:
    """The plan as plain values; asks Earth Engine only for lists of scenes.

    Args:
        job: what to download.
        syncing: whether it is a sync that would run, not a download.

    Raises:
        UserError: the job says something that cannot be, or plans more than its limits.
    """
    job = with_preset(job)
    with earth_engine(), metered(job):
        session = current_session()
        prospect = foresee(session, job, syncing=syncing, looking=False)
    if prospect.outlook is None:
        return {"job": job.name, "scenes": 0, "products": [], "transports": {}}
    outlook, pace = prospect.outlook, Pace.of(session)
    plan, on_disk, refused = outlook.plan, outlook.on_disk, outlook.refused
    grid = plan.series.grid
    return {
        "job": job.name,
        "grid": {
            "crs": crs_name(grid),
            "transform": list(grid.transform)[:6],
            "shape": list(grid.shape),
            "hash": grid_hash(grid),
        },
        "bands": {band.name: band.dtype for band in plan.series.bands},
        "scenes": len(prospect.scenes),
        "products": [product.name for product in plan.products],
        "present": sum(product.key in on_disk for product in plan.products),
        "refused": sum(p.key not in on_disk and p.image.image_id in refused for p in plan.products),
        "latency": round(pace.latency, 3),
        "transport": plan.chosen.transport,
        "transports": {draft.transport: _cost(draft, pace.concurrent) for draft in plan.drafts},
        "pixel_bytes": plan.pixel_bytes,
        "judged_later": _judged_later(job, prospect.judgement),
        "warnings": averaged_classes(job, prospect.scenes),
    }


def _judged_later(job: Job, judgement: Judgement) -> list[str]:
    """What only a run finds out, of which less may come than is planned."""
    clouds, product = job.clouds, job.product
    later = []
    if clouds.max_fraction is not None and judgement.unseen:
        most = f"cloud over more than {clouds.max_fraction:.1%} of the area"
        later.append(f"of {len(judgement.unseen)} scenes, those with {most} are left out")
    if product.min_valid_fraction:
        later.append(f"products with less than {product.min_valid_fraction:.1%} valid pixels are not kept")
    return later


def _cost(draft: Draft, concurrent: int) -> dict[str, Any]:
    largest = max((request.values for request in draft.requests), default=0)
    together = min(concurrent, max(1, len(draft.requests)))
    return {
        "requests": len(draft.requests),
        "values": draft.values,
        "largest_request_values": largest,
        "answer_bytes": draft.answer_bytes,
        "memory_bytes": draft.answer_bytes // max(1, len(draft.requests)) * together * _COPIES,
        "seconds": round(draft.seconds, 1),
    }


def describe(drafted: dict[str, Any]) -> str:
    """The plan as a few lines."""
    if not drafted["scenes"]:
        return f"{drafted['job']}: no scenes match the area, dates and filters, so there is nothing to download"
    grid = drafted["grid"]
    height, width = grid["shape"]
    bands = ", ".join(f"{name} ({dtype})" for name, dtype in drafted["bands"].items())
    lines = [
        f"{drafted['job']}",
        f"  grid      {width} x {height} pixels of {grid['transform'][0]:g} in {grid['crs']}, hash {grid['hash']}",
        f"  bands     {bands}",
        f"  scenes    {drafted['scenes']}",
        f"  products  {len(drafted['products'])}, of which {drafted['present']} are on disk and {drafted['refused']} "
        "were rejected or removed",
        f"  pixels    {drafted['pixel_bytes'] / 1e6:,.1f} MB uncompressed",
        *(f"  later     {text}" for text in drafted["judged_later"]),
        *(f"  warning   {text}" for text in drafted["warnings"]),
    ]
    for name, cost in drafted["transports"].items():
        lines.append(
            f"  {name:14} {cost['requests']:,} requests, {cost['values']:,} values, "
            f"{cost['answer_bytes'] / 1e6:,.1f} MB of answers, {cost['memory_bytes'] / 1e6:,.0f} MB of memory, "
            f"about {cost['seconds']:g} s"
        )
    lines.append(f"  latency   {drafted['latency']:g} s a request, as measured just now")
    lines.append(f"  transport {drafted['transport']}: {_reason(drafted)}")
    return "\n".join(lines)


def _reason(drafted: dict[str, Any]) -> str:
    """Why the transport was taken: the rule is that of `eeflow.plan.make_plan`."""
    if len(drafted["transports"]) == 1:
        return "the only one this job may use"
    if drafted["transport"] == "get_region":
        return "preferred, since compute_pixels is not estimated to be twice as quick for the whole series"
    return "estimated to be at least twice as quick as get_region for the whole series"
