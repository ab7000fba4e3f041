"""Writing products, some in a task: GeoTIFF, quicklook, and the ledger last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from eeflow.beside import write_beside
from eeflow.blocks import BlockStore
from eeflow.config import Job
from eeflow.draft import Drafts
from eeflow.judge import JUDGED_NOTHING, Judgement
from eeflow.ledger import Entry, Ledger
from eeflow.plan import Plan, Product
from eeflow.quality import too_few_valid
from eeflow.retention import set_aside

# Products in one task, at most so many, and of so many pixels over all bands.
MOST_TOGETHER = 24
PIXELS_TOGETHER = 4_000_000


class Writing:
    """What is needed to write the products of a run. A plain class, so that Prefect does not search its fields."""

    def __init__(self, job: Job, plan: Plan, store: BlockStore, judgement: Judgement = JUDGED_NOTHING):
        self.job, self.plan, self.store, self.judgement = job, plan, store, judgement
        self.drafts = Drafts(job, plan, (), store)


def make_groups(plan: Plan, products: Sequence[Product]) -> list[list[Product]]:
    """Products in groups, one a task: a large one alone, small ones together, for a task costs as much as they do."""
    pixels = math.prod(plan.series.grid.shape) * len(plan.series.bands)
    size = max(1, min(MOST_TOGETHER, PIXELS_TOGETHER // pixels))
    return [list(products[start : start + size]) for start in range(0, len(products), size)]


def _run_name() -> str:
    from prefect.runtime import task_run  # noqa: PLC0415  only known while a run is under way

    first, *others = task_run.parameters["products"]
    return f"write {first.name}" + (f" and {len(others)} more" if others else "")


@task(name="write products", task_run_name=_run_name, cache_policy=NO_CACHE)
def write_task(writing: Writing, products: Sequence[Product]) -> State[list[Entry | Exception]]:
    """Writes products; for each its entry or why it could not be written, which does not keep the others from it.

    Their blocks are let go when the ledger has them.
    """
    outcomes = [_outcome(writing, product) for product in products]
    done = [(product, rows) for product, rows in zip(products, outcomes, strict=True) if isinstance(rows, list)]
    Ledger(writing.job.folder).record(*(row for _, rows in done for row in rows))  # one wait for the disk, not 24
    for product, _ in done:
        for _, _, key in writing.plan.blocks_of(product):
            writing.store.discard(key)
    results = [rows[-1] if isinstance(rows, list) else rows for rows in outcomes]
    failed = [f"{product.name}: {e}" for product, e in zip(products, results, strict=True) if isinstance(e, Exception)]
    if failed:
        return Failed(message="; ".join(failed), data=results)
    return Completed(data=results)


def _outcome(writing: Writing, product: Product) -> list[Entry] | Exception:
    try:
        return _write(writing, product)
    except Exception as error:  # noqa: BLE001  becomes the product's own outcome
        get_run_logger().exception("%s was not written", product.name)
        return error


def _write(writing: Writing, product: Product) -> list[Entry]:
    """Writes a product and what belongs beside it. Returns the ledger's new rows, the product's last."""
    job, plan = writing.job, writing.plan
    draft, replaced = writing.drafts.take(product), []
    try:
        entry = too_few_valid(job, plan, product, draft.complete())
        if entry is None:
            replaced = set_aside(job, product.name, tuple(scene.version for scene in product.image.scenes))
            entry = draft.finish()
    finally:
        draft.discard()
    entry = replace(entry, cloud_fraction=writing.judgement.cloud_of(product.image))
    if entry.on_disk:
        write_beside(job, entry)
    return [*replaced, entry]
