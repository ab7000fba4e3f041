"""Rules that tasks share: what is tried again and when."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from eeflow.errors import BadAnswer, TransientError, Unreachable

RETRIES = 6
# An endpoint that is not there is most often a wrong one, and nothing has been spent yet.
_FEWER_RETRIES: dict[type[TransientError], int] = {BadAnswer: 2, Unreachable: 3}
_FIRST_DELAY_SECONDS = 1.0


def is_transient(_task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task may be tried again: only for reasons that pass, and for some only so often."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, TransientError) and run.run_count <= _FEWER_RETRIES.get(type(error), RETRIES)


RETRY: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay_seconds": [_FIRST_DELAY_SECONDS * 2**n for n in range(RETRIES)],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}
