"""How a run ends, and what it leaves to whoever started it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed

from flows.report import CampaignReport, RunReport

_reports: dict[UUID, RunReport | CampaignReport] = {}


def ended(report: RunReport | CampaignReport) -> State[Any]:
    """The state a run ends with: failed when something of it is, and in both cases with its report."""
    context = FlowRunContext.get()
    if context and context.flow_run:
        _reports[context.flow_run.id] = report
    state = Failed if report.failed else Completed
    return state(message=report.summary, data=report)


def report_of(state: State[Any]) -> Any:
    """The report of a run that ended in this process, or the error it ended with.

    A busy server that answers late is told of the end again, and then gives back the state it has, without the report.
    """
    run = state.state_details.flow_run_id
    report = _reports.pop(run, None) if run else None
    return report or state.result(raise_on_failure=False)
