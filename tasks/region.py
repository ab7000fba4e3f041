"""Fetching pixels, as a task for each batch of windows: results cached by what was asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from prefect import get_run_logger, task
from prefect.context import TaskRunContext

from eeflow.blocks import BlockStore
from eeflow.budget import metered
from eeflow.config import Job, digest
from eeflow.fetch import Control, Receipt, batch_keys, fetch_batch, missing_requests
from eeflow.plan import Plan
from eeflow.series import Request, Series
from eeflow.session import current_session
from tasks.policies import RETRY
from tasks.slots import leased_slots

# Requests in one task. A task costs Prefect 5 ms here and 30 ms on the server, a request a second or more: enough
# requests to make that nothing, few enough that progress shows and a retry repeats little.
BATCH_SIZE = 32
# Batches that a small plan is shared out among, so that progress shows.
BATCHES_AT_LEAST = 4


# Plain classes, because Prefect searches the fields of dataclasses for futures, all scenes of a series among them.
class Batch:
    """Requests of some bands that one task carries out."""

    def __init__(self, series: Series, requests: Sequence[Request], number: int):
        self.series, self.requests, self.number = series, tuple(requests), number

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Keys of the blocks it brings."""
        return batch_keys(self.series, self.requests)

    def missing(self, store: BlockStore) -> int:
        """How many of its requests have blocks that are not in the store."""
        return len(missing_requests(self.series, self.requests, store))


class Fetching:
    """What the batches of a run share: whose they are, where blocks go, and how the run is told and stopped."""

    def __init__(self, job: Job, store: BlockStore, control: Control):
        self.job, self.store, self.control = job, store, control


def make_batches(plan: Plan) -> list[Batch]:
    """The plan's requests in batches, each of one group of bands."""
    batches: list[Batch] = []
    for group in plan.band_groups:
        requests = [request for request in plan.requests if request.bands == group]
        size = min(BATCH_SIZE, math.ceil(len(requests) / BATCHES_AT_LEAST))
        for start in range(0, len(requests), max(1, size)):
            batches.append(Batch(plan.series, requests[start : start + size], len(batches) + 1))
    return batches


def _content_key(_context: TaskRunContext, parameters: dict[str, Any]) -> str:
    batch: Batch = parameters["batch"]
    return f"eeflow-fetch-{digest(batch.keys)}"


def _run_name() -> str:
    from prefect.runtime import task_run  # noqa: PLC0415  only known while a run is under way

    batch: Batch = task_run.parameters["batch"]
    bands = " ".join(batch.requests[0].bands)
    return f"fetch {bands} ({len(batch.requests)} requests, batch {batch.number})"


@task(name="fetch", task_run_name=_run_name, persist_result=True, cache_key_fn=_content_key, **RETRY)
def fetch_task(batch: Batch, fetching: Fetching) -> Receipt:
    """Fetches a batch into the store. Its result is a receipt; the pixels are in the store."""
    # For itself where it is in a process of its own, else with the run.
    with leased_slots(), metered(fetching.job, log := get_run_logger()):
        receipt = fetch_batch(current_session(), batch.series, batch.requests, fetching.store, fetching.control)
    log.info("%d requests, %d blocks, %d splits", receipt.requests, len(receipt.keys), receipt.splits)
    return receipt
