"""Writing products, as a task for each: GeoTIFF, quicklook, and the ledger last."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from eeflow.blocks import BlockStore
from eeflow.config import Job
from eeflow.geotiff import write_product
from eeflow.ledger import Entry, Ledger
from eeflow.plan import Plan, Product
from eeflow.quicklook import write_quicklook


class Writing:
    """What is needed to write the products of a run. A plain class, so that Prefect does not search its fields."""

    def __init__(self, job: Job, plan: Plan, store: BlockStore):
        self.job, self.plan, self.store = job, plan, store

    def is_ready(self, product: Product) -> bool:
        """Whether every block of the product is in the store."""
        return all(self.store.has(key) for _, _, key in self.plan.blocks_of(product))


def _run_name() -> str:
    from prefect.runtime import task_run  # noqa: PLC0415  only known while a run is under way

    product: Product = task_run.parameters["product"]
    return f"write {product.name}"


@task(name="write product", task_run_name=_run_name, cache_policy=NO_CACHE)
def write_task(writing: Writing, product: Product) -> Entry:
    """Writes a product and what belongs beside it; its blocks are let go when the ledger has it."""
    entry = write_product(writing.job, writing.plan, product, writing.store)
    if writing.job.output.quicklook:
        write_quicklook(writing.job.folder / entry.path)
    Ledger(writing.job.folder).record(entry)
    for _, _, key in writing.plan.blocks_of(product):
        writing.store.discard(key)
    return entry
