"""Judging scenes by the cloud over the area, as a task."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from eeflow.aoi import AOI
from eeflow.blocks import BlockStore
from eeflow.config import Job
from eeflow.judge import Judgement, judge
from eeflow.scenes import Scene
from eeflow.session import current_session
from tasks.policies import RETRY


@task(name="judge clouds", cache_policy=NO_CACHE, **RETRY)
def judge_task(job: Job, aoi: AOI, scenes: list[Scene]) -> Judgement:
    """Which scenes the job wants. What was looked at is kept, and costs no request again."""
    return judge(current_session(), job, aoi, scenes, BlockStore(job.cache / "judged" / job.name))
