"""Whether a product is worth keeping, told by its pixels."""

from __future__ import annotations

from dataclasses import replace

from eeflow.config import Job
from eeflow.ledger import Entry
from eeflow.outcome import rejected
from eeflow.plan import Plan, Product
from eeflow.raster import Summary


def too_few_valid(job: Job, plan: Plan, product: Product, summary: Summary) -> Entry | None:
    """The row of a product that has fewer valid pixels than the job wants; None for one to keep."""
    least = job.product.min_valid_fraction
    if not least:
        return None
    row = rejected(job, plan, product, "few_valid", "", summary=summary)
    if row.valid_fraction >= least:
        return None
    return replace(
        row, reason=f"{row.valid_fraction:.1%} of its pixels are valid; product.min_valid_fraction is {least:.1%}"
    )
