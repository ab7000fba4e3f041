"""Whether a product is worth keeping, told by its pixels."""

from __future__ import annotations

from dataclasses import replace

from eeflow.blocks import BlockStore
from eeflow.config import Job
from eeflow.encoding import encoding_of
from eeflow.ledger import Entry
from eeflow.outcome import rejected
from eeflow.plan import Plan, Product
from eeflow.raster import summarise


def too_few_valid(job: Job, plan: Plan, product: Product, store: BlockStore) -> Entry | None:
    """The row of a product that has fewer valid pixels than the job wants; None for one to keep.

    Errors as in `write_product`.
    """
    least = job.product.min_valid_fraction
    if not least:
        return None
    summary = summarise(plan, product, store, encoding_of(job, plan.series.source, plan.series.bands))
    row = rejected(job, plan, product, "few_valid", "", summary=summary)
    if row.valid_fraction >= least:
        return None
    return replace(
        row, reason=f"{row.valid_fraction:.1%} of its pixels are valid; product.min_valid_fraction is {least:.1%}"
    )
