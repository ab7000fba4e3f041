"""One job, again and again: what is new, late or changed since the last time is fetched, and nothing else asked for."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from eeflow.config import Job
from flows.download import run_job
from flows.report import RunReport
from flows.runner import task_runner


@flow(name="sync", flow_run_name="{job.name} sync", task_runner=task_runner(), persist_result=False)
def sync(job: Job) -> State[RunReport]:
    """Brings a job's folder up to date with Earth Engine: a listing, and the pixels of what is new, late or changed.

    Args:
        job: What to keep up to date; `sync` and `retention` say how far back, and for how long.

    Returns:
        The run's report; the run counts as failed when a product is.
    """
    return run_job(job, "sync")
