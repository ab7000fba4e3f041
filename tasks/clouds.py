"""Judging scenes by the cloud over the area, as a task."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from eeflow.aoi import AOI
from eeflow.config import Job
from eeflow.judge import Judgement, judge
from eeflow.scenes import Scene
from eeflow.session import current_session
from tasks.policies import RETRY


@task(name="judge clouds", cache_policy=NO_CACHE, **RETRY)
def judge_task(job: Job, aoi: AOI, scenes: list[Scene]) -> Judgement:
    """Which scenes the job wants. What was looked at is kept, and costs no request again."""
    judgement = judge(current_session(), job, aoi, scenes)
    for kind in sorted({refusal.kind for refusal in judgement.refusals.values()}):
        left_out = [scene_id for scene_id, refusal in judgement.refusals.items() if refusal.kind == kind]
        text = "%d of %d scenes are left out, such as %s: %s"
        get_run_logger().info(text, len(left_out), len(scenes), left_out[0], judgement.refusals[left_out[0]].reason)
    return judgement
