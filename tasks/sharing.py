"""What overlapping areas fetch together, as tasks: looking ahead for each, and handing over what was fetched."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from eeflow.blocks import BlockStore
from eeflow.config import Job
from eeflow.prospect import Prospect, foresee
from eeflow.scenes import Scene
from eeflow.session import current_session
from eeflow.sharing import Share
from tasks.policies import RETRY


# Plain classes go to other processes as they are, and Prefect does not search their fields.
class Candidate:
    """A job that may share with others, and the scenes that these have found so far."""

    def __init__(self, job: Job, seen: dict[Scene, Scene]):
        self.job, self.seen = job, seen


def _look_name() -> str:
    from prefect.runtime import task_run  # noqa: PLC0415  only known while a run is under way

    candidate: Candidate = task_run.parameters["candidate"]
    return f"look ahead for {candidate.job.name}"


@task(name="look ahead", task_run_name=_look_name, cache_policy=NO_CACHE, **RETRY)
def foresee_task(candidate: Candidate, *, syncing: bool) -> Prospect:
    """What a job would do."""
    return foresee(current_session(), candidate.job, syncing=syncing, seen=candidate.seen)


def _hand_over_name() -> str:
    from prefect.runtime import task_run  # noqa: PLC0415  only known while a run is under way

    share: Share = task_run.parameters["share"]
    jobs = ", ".join(member.job.name for member in share.members)
    return f"hand over {len(share.plan.series.images)} images to {jobs}"


@task(name="hand over", task_run_name=_hand_over_name, cache_policy=NO_CACHE)
def hand_over_task(share: Share, store: BlockStore) -> None:
    """Gives jobs their blocks of what was fetched for them together."""
    for image in share.plan.series.images:
        share.hand_over(image.image_id, store)
