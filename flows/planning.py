"""What a run would do, for people and programs: the same steps as the flow up to the first request for pixels."""

from __future__ import annotations

from typing import Any

from eeflow.aoi import load_aoi
from eeflow.config import Job
from eeflow.grid import build_grid, crs_name, grid_hash
from eeflow.ledger import Ledger
from eeflow.plan import check_limits, make_plan, make_series, outline
from eeflow.scenes import choose_bands, find_scenes, native_lattice
from eeflow.session import current_session
from flows.local import earth_engine

# What Earth Engine took for a request of this kind in others' measurements; a run shows the truth.
_SECONDS_PER_REQUEST = 3.0
# Body, decoded lists and columns of one row while it is placed.
_MEMORY_PER_ROW = 600


def draft(job: Job) -> dict[str, Any]:
    """The plan as plain values; asks Earth Engine only for the list of scenes.

    Raises:
        UserError: the job says something that cannot be, or plans more than its limits.
    """
    aoi = load_aoi(job.aoi)
    with earth_engine():
        session = current_session()
        scenes = find_scenes(session, job, aoi)
    if not scenes:
        return {"job": job.name, "scenes": 0, "products": [], "transports": {"get_region": {"requests": 0}}}
    bands = choose_bands(job.bands, scenes)
    grid = build_grid(job.grid, aoi, native_lattice(bands, scenes))
    on_disk = {entry.key for entry in Ledger(job.folder).intact().values()}
    plan = make_plan(
        job, make_series(job, scenes, bands, grid), outline(job, aoi, grid), lambda product: product.key in on_disk
    )
    check_limits(plan, job.limits)
    rows = max((request.rows for request in plan.requests), default=0)
    together = min(session.settings.max_concurrent, max(1, len(plan.requests)))
    return {
        "job": job.name,
        "grid": {
            "crs": crs_name(grid),
            "transform": list(grid.transform)[:6],
            "shape": list(grid.shape),
            "hash": grid_hash(grid),
        },
        "bands": {band.name: band.dtype for band in plan.series.bands},
        "scenes": len(scenes),
        "products": [product.name for product in plan.products],
        "present": sum(product.key in on_disk for product in plan.products),
        "transport": "get_region",
        "transports": {
            "get_region": {
                "requests": len(plan.requests),
                "values": plan.values,
                "largest_request_rows": rows,
                "answer_bytes": plan.wire_bytes,
                "memory_bytes": rows * _MEMORY_PER_ROW * together,
                "seconds": round(len(plan.requests) * _SECONDS_PER_REQUEST / together, 1),
            }
        },
        "pixel_bytes": plan.pixel_bytes,
    }


def describe(drafted: dict[str, Any]) -> str:
    """The plan as a few lines."""
    if not drafted["scenes"]:
        return f"{drafted['job']}: no scenes match the area, dates and filters, so there is nothing to download"
    grid = drafted["grid"]
    height, width = grid["shape"]
    cost = drafted["transports"]["get_region"]
    bands = ", ".join(f"{name} ({dtype})" for name, dtype in drafted["bands"].items())
    return "\n".join(
        [
            f"{drafted['job']}",
            f"  grid      {width} x {height} pixels of {grid['transform'][0]:g} in {grid['crs']}, hash {grid['hash']}",
            f"  bands     {bands}",
            f"  scenes    {drafted['scenes']}, of which {drafted['present']} are on disk",
            f"  requests  {cost['requests']} by getRegion, {cost['values']:,} values, "
            f"about {cost['answer_bytes'] / 1e6:,.1f} MB of answers",
            f"  pixels    {drafted['pixel_bytes'] / 1e6:,.1f} MB uncompressed",
            f"  memory    about {cost['memory_bytes'] / 1e6:,.0f} MB",
            f"  time      about {cost['seconds']:g} s of Earth Engine",
        ]
    )
