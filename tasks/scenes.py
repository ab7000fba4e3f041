"""The search for scenes, as a task."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from eeflow.aoi import AOI
from eeflow.config import Job
from eeflow.scenes import Scene, find_scenes
from eeflow.session import current_session
from tasks.policies import RETRY


@task(name="find scenes", cache_policy=NO_CACHE, **RETRY)
def find_scenes_task(job: Job, aoi: AOI) -> list[Scene]:
    """Scenes over the area in the job's period."""
    return find_scenes(current_session(), job, aoi)
