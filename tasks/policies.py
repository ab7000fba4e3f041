"""Rules that tasks share: what is tried again and when, and how many requests all runs together may have open."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from prefect import Task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL

from eeflow.errors import BadAnswer, TransientError
from eeflow.settings import load_settings

RETRIES = 6
BAD_ANSWER_RETRIES = 2
# Batches that together fill the process's gate.
BATCHES_AT_ONCE = 4
_FIRST_DELAY_SECONDS = 1.0
# A killed run's slots come back when its lease ends.
_LEASE_SECONDS = 60  # the shortest Prefect allows


def is_transient(_task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task may be tried again: only for reasons that pass, and for a wrong answer only so often."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, BadAnswer):
        return run.run_count <= BAD_ANSWER_RETRIES
    return isinstance(error, TransientError)


RETRY: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay_seconds": [_FIRST_DELAY_SECONDS * 2**n for n in range(RETRIES)],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}


def workers_per_batch() -> int:
    """Requests one batch has open: its share of what the process may have."""
    return math.ceil(load_settings().max_concurrent / BATCHES_AT_ONCE)


@contextmanager
def leased_slots(count: int) -> Iterator[int]:
    """Holds up to `count` of the slots that all runs on the server share, renewed while the block lasts.

    A global limit costs tens of milliseconds to take and much more under contention, so a batch takes its slots once
    rather than a slot for each request. Without a running server there is nothing to share with: the process's own
    gate is then the only limit.

    Yields:
        how many slots are held.
    """
    if not PREFECT_API_URL.value():
        yield count
        return
    name = limit_name()
    held = max(1, min(count, _limit(name)))
    with concurrency(name, occupy=held, lease_duration=_LEASE_SECONDS, strict=True):
        yield held


def limit_name() -> str:
    """The server's limit for the environment's project, since Earth Engine's quota is the project's."""
    return f"earth-engine-{load_settings().project or 'default'}"


def _limit(name: str) -> int:
    """The server's limit, made from the environment when it is not there yet."""
    with get_client(sync_client=True) as client:
        try:
            return int(client.read_global_concurrency_limit_by_name(name).limit)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):  # another process was quicker
                client.upsert_global_concurrency_limit_by_name(name, load_settings().max_concurrent)
            return int(client.read_global_concurrency_limit_by_name(name).limit)
