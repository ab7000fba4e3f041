"""Runs that look alive and are not."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed

# Campaigns that crashed longest ago were looked at by those that came after.
_LAST = 20


def end_jobs_of_crashed_campaigns() -> int:
    """Marks the jobs of crashed campaigns as crashed, which they are: they ran in the same process. Returns how many.

    A campaign tells the server that it lives, for all its jobs: only the campaign itself is marked when it is killed.
    """
    if not PREFECT_API_URL.value():
        return 0
    with get_client(sync_client=True) as client:
        crashed = client.read_flow_runs(
            flow_filter=FlowFilter.model_validate({"name": {"any_": ["campaign"]}}),
            flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": ["CRASHED"]}}}),
            sort=FlowRunSort.START_TIME_DESC,
            limit=_LAST,
        )
        if not crashed:
            return 0
        wanted = {
            "parent_flow_run_id": {"any_": [run.id for run in crashed]},
            "state": {"type": {"any_": ["RUNNING", "PENDING"]}},
        }
        jobs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))
        for job in jobs:
            client.set_flow_run_state(job.id, Crashed(message="Its campaign was killed."), force=True)
    return len(jobs)
