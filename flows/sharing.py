"""Overlapping areas of a campaign: what they have in common is fetched once, before each of them runs for itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from eeflow.blocks import BlockStore
from eeflow.budget import metered
from eeflow.config import Job
from eeflow.errors import Stopped
from eeflow.fetch import Control
from eeflow.output import FolderBusyError, exclusive
from eeflow.prospect import Prospect
from eeflow.scenes import Scene
from eeflow.session import current_session
from eeflow.sharing import Share, shares
from eeflow.transport import Pace
from flows.progress import Stage, stop_event
from flows.runner import task_runner
from tasks.region import Fetching, fetch_task, make_batches
from tasks.sharing import Candidate, foresee_task, hand_over_task
from tasks.slots import leased_slots

# Beside the jobs' own; no job's name begins with a dot.
_STORE = ".together"


def title(jobs: Sequence[Job]) -> str:
    """What jobs are called together."""
    first, *others = [job.name for job in jobs]
    return f"{first} and {others[0] if len(others) == 1 else f'{len(others)} more'}"


@task(name="share", task_run_name="share {areas}", cache_policy=NO_CACHE)
def share_task(areas: str, jobs: Sequence[Job], *, syncing: bool) -> dict[str, Prospect]:
    """Fetches what several jobs want, in a run of its own, into the stores of these jobs' blocks.

    No job relies on it: what it does not bring, each fetches for itself. What an interrupted one has is kept, and the
    next one goes on with it.

    Args:
        areas: what the jobs are called together.
        jobs: a group of `eeflow.sharing.overlapping`.
        syncing: whether their runs are syncs.

    Returns:
        by job, what is known of it by now; without those of which something is wrong, as their own runs will tell.
    """
    prospects: dict[str, Prospect] = {}

    # Its parameter is a name, since jobs may be more than the half MiB that Prefect takes.
    @flow(name="fetch together", flow_run_name="{areas}", task_runner=task_runner())
    def fetch_together(areas: str) -> None:
        group = jobs[0].model_copy(update={"name": areas})
        with ExitStack() as folders, metered(group, get_run_logger()) as budget, leased_slots():
            budget.check(group.limits, requests=len(jobs))
            session = current_session()
            prospects.update(_look_ahead([job for job in jobs if _is_held(job, folders)], syncing=syncing))
            found = shares([p.outlook for p in prospects.values() if p.outlook], Pace.of(session))
            budget.count(session)
            budget.check(group.limits, sum(len(share.plan.requests) for share in found))
            _fetch(group, found)

    fetch_together(areas, return_state=True)
    return prospects


def _is_held(job: Job, folders: ExitStack) -> bool:
    """Holds the job's folder for as long as the others'; not where another run does."""
    try:
        folders.enter_context(exclusive(job.folder))
    except (FolderBusyError, OSError):
        return False
    return True


def _look_ahead(jobs: Sequence[Job], *, syncing: bool) -> dict[str, Prospect]:
    seen: dict[Scene, Scene] = {}
    futures = [foresee_task.submit(Candidate(job, seen), syncing=syncing) for job in jobs]
    results = [future.result(raise_on_failure=False) for future in futures]
    return {job.name: found for job, found in zip(jobs, results, strict=True) if isinstance(found, Prospect)}


def _fetch(group: Job, found: Sequence[Share]) -> None:
    """Fetches what jobs share and hands it over, in part where only some of it is there.

    Raises:
        Stopped: it was interrupted; then nothing more is handed over.
        RequestError: something is not there.
    """
    store = BlockStore(group.cache / "blocks" / _STORE)
    batches = [make_batches(share.plan) for share in found]
    stage = Stage("fetch", sum(batch.missing(store) for several in batches for batch in several))
    fetching = Fetching(group, store, Control(stage.advance, stop_event().is_set))
    submit = fetch_task.with_options(refresh_cache=True).submit
    fetches = [[submit(batch, fetching) for batch in several] for several in batches]
    errors, handing = [], []
    for share, several in zip(found, fetches, strict=True):
        results = [fetch.result(raise_on_failure=False) for fetch in several]
        errors += [result for result in results if isinstance(result, Exception)]
        if stop_event().is_set():
            raise Stopped("The run was stopped; what was fetched is kept.")
        handing.append(hand_over_task.submit(share, store))
    for handed in handing:
        handed.result()
    if errors:
        get_run_logger().warning("Each area fetches for itself what is not there.")
        raise errors[0]
