"""Runs that look alive and are not."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed

# Campaigns that crashed longest ago were looked at by those that came after.
_LAST = 20


def end_dead_runs() -> None:
    """Marks as crashed the runs of which this one proves, by having begun, that they are dead.

    `eeflow notify` has dead runs noticed by events, and those may be lost when the server is killed as well.
    """
    context = FlowRunContext.get()
    run = context and context.flow_run
    if context is None or run is None or not PREFECT_API_URL.value():
        return
    with get_client(sync_client=True) as client:
        if run.deployment_id:
            _end_others(client, run.deployment_id, run.id)
        if context.flow and context.flow.name == "campaign":
            _end_jobs_of_crashed_campaigns(client)


def _end_others(client: SyncPrefectClient, deployment: UUID, run: UUID) -> None:
    """Of a deployment that lets one run at a time, this one has the slot, so the others do not live."""
    limit = client.read_deployment(deployment).global_concurrency_limit
    if limit and limit.limit == 1:
        others = _looking_alive(client, deployment_id={"any_": [deployment]}, id={"not_any_": [run]})
        _mark(client, others, "It was killed: a later run has its slot.")


def _end_jobs_of_crashed_campaigns(client: SyncPrefectClient) -> None:
    """A campaign tells the server that it lives for all its jobs, so only the campaign itself is marked when killed."""
    crashed = client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": ["campaign"]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": ["CRASHED"]}}}),
        sort=FlowRunSort.START_TIME_DESC,
        limit=_LAST,
    )
    if crashed:
        jobs = _looking_alive(client, parent_flow_run_id={"any_": [run.id for run in crashed]})
        _mark(client, jobs, "Its campaign was killed.")


def _looking_alive(client: SyncPrefectClient, **wanted: Any) -> list[UUID]:
    states = {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}
    return [run.id for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted | states))]


def _mark(client: SyncPrefectClient, runs: list[UUID], message: str) -> None:
    for run in runs:
        client.set_flow_run_state(run, Crashed(message=message), force=True)
