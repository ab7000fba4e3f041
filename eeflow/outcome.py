"""What became of a product, as its row of the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from eeflow.config import Job
from eeflow.grid import grid_hash
from eeflow.ledger import Entry, Stage
from eeflow.plan import Plan, Product
from eeflow.raster import Summary


def written(
    job: Job, plan: Plan, product: Product, path: Path, sha256: str, size: int, summary: Summary, seconds: float
) -> Entry:
    """The row of a product whose file is there, or about to get its name."""
    return replace(
        _of(job, plan, product),
        status="written",
        stage="write",
        path=path.name,
        sha256=sha256,
        size=size,
        valid_pixels=summary.valid_pixels,
        masked_pixels=summary.masked_pixels,
        missed_pixels=summary.missed_pixels,
        clipped_pixels=summary.clipped_pixels,
        seconds=round(seconds, 3),
    )


def failed(job: Job, plan: Plan, product: Product, error: Exception | str, stage: Stage = "fetch") -> Entry:
    """The row of a product that could not be made."""
    kind = type(error).__name__ if isinstance(error, Exception) else None
    return replace(_of(job, plan, product), stage=stage, error_kind=kind, reason=" ".join(str(error).split()))


def rejected(
    job: Job,
    plan: Plan,
    product: Product,
    kind: str,
    reason: str,
    cloud_fraction: float | None = None,
    summary: Summary | None = None,
) -> Entry:
    """The row of a product that the job does not want.

    Args:
        job: what does not want it.
        plan: its grid and scenes.
        product: what is not wanted.
        kind: in a word, the same for all that are rejected so, such as `cloudy`.
        reason: for people, with the numbers.
        cloud_fraction: share of cloud over the area, where it was judged.
        summary: its pixels, where they were fetched and counted; without, it was judged before.
    """
    row = replace(_of(job, plan, product), status="rejected", error_kind=kind, reason=reason, stage="judge")
    row = replace(row, cloud_fraction=cloud_fraction)
    if summary is None:
        return row
    return replace(
        row,
        stage="write",
        valid_pixels=summary.valid_pixels,
        masked_pixels=summary.masked_pixels,
        missed_pixels=summary.missed_pixels,
        clipped_pixels=summary.clipped_pixels,
    )


def _of(job: Job, plan: Plan, product: Product) -> Entry:
    """What is known of a product before any of its pixels."""
    image = product.image
    return Entry(
        product_id=image.image_id,
        kind=job.product.kind,
        stage="fetch",
        status="failed",
        path=f"{product.name}.tif",
        key=product.key,
        scene_ids=tuple(scene.scene_id for scene in image.scenes),
        versions=tuple(scene.version for scene in image.scenes),
        left_out=dict(image.left_out),
        time_start=image.time_start.isoformat() if image.time_start else None,
        time_end=image.time_end.isoformat() if image.time_end else None,
        grid_hash=grid_hash(plan.series.grid),
        job_hash=job.content_hash(),
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
