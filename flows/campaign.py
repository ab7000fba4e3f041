"""Many jobs: each a run of its own, some at once, and one that fails stops none of the others."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import httpx
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.flows import Flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.utilities.annotations import quote

from eeflow.campaign import Campaign, chosen
from eeflow.config import Job
from eeflow.output import last_held
from eeflow.prospect import Prospect, foreseen
from eeflow.session import current_session
from eeflow.sharing import overlapping
from flows.download import download
from flows.ending import ended, report_of
from flows.local import earth_engine
from flows.page import show_campaign
from flows.progress import Stage, stop_event, stopping, watcher
from flows.report import CampaignReport, JobOutcome
from flows.sharing import share_task, title
from flows.stale import end_dead_runs
from tasks.slots import leased_slots

# While the Prefect server is away, say to be started again, or too busy, a job waits: it fails when that lasts for five
# minutes. Earth Engine's errors are of other classes.
_SERVER_PAUSES_SECONDS = (5, 10, 15, 30, 60, 60, 60, 60)


@flow(name="campaign", flow_run_name="{campaign.name}", persist_result=False)
def campaign(campaign: Campaign, only: list[str] = []) -> State[CampaignReport]:  # noqa: B006  Prefect copies it
    """Runs many jobs, each as a run of its own.

    A campaign that was interrupted goes on when it is run again: what is on disk is not asked for. Jobs that never ran
    go first, then those that ran longest ago, so that none is left behind however often a campaign is cut short.

    Args:
        campaign: The jobs.
        only: Names of jobs; the others are left out. Empty: all of them.

    Returns:
        The campaign's report; the run counts as failed when a job is.
    """
    started = time.monotonic()
    end_dead_runs()
    jobs = in_turn(chosen(campaign.make_jobs(), only))
    with earth_engine(), leased_slots():
        session = current_session()
        requests, failures = session.requests, session.failures
        outcomes = _run_all(overlapping(jobs), campaign)
        report = CampaignReport(
            campaign=campaign.name,
            outcomes=sorted(outcomes, key=lambda outcome: outcome.job),
            requests=session.requests - requests,
            retries=session.failures - failures,
            seconds=round(time.monotonic() - started, 3),
        )
    show_campaign(report)
    return ended(report)


def in_turn(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, those first that never ran or ran longest ago; otherwise as they are."""
    return sorted(jobs, key=lambda job: last_held(job.folder))


def _flow_of(campaign: Campaign) -> Flow[..., Any]:
    if campaign.mode == "download":
        return download
    from flows.sync import sync  # noqa: PLC0415

    return sync


def _run_all(groups: Sequence[list[Job]], campaign: Campaign) -> list[JobOutcome]:
    """Runs every job; what became of each. An interruption lets those under way end what they have asked for.

    Jobs of a group run when what they share was fetched.
    """
    stage, stop = Stage("jobs", sum(map(len, groups))), threading.Event()
    job_flow = _flow_of(campaign)
    outcomes: list[JobOutcome] = []
    under_way: dict[Future[Any], list[Job]] = {}
    # The campaign's heartbeat tells of its jobs too, and each of their own would take a second to stop.
    quiet = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    with quiet, ThreadPoolExecutor(campaign.at_once, thread_name_prefix="job") as pool:

        def begin(jobs: list[Job], function: Callable[..., Any], *arguments: Any) -> None:
            # In a copy of this context, by which Prefect knows that it is part of this run.
            context = contextvars.copy_context()
            under_way[pool.submit(context.run, _apart, stop, function, jobs, *arguments)] = jobs

        for group in groups:
            if len(group) > 1:
                begin(group, _share, campaign.mode == "sync")
            else:
                begin(group, _run_one, job_flow)
        try:
            while under_way:
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    jobs = under_way.pop(future)
                    if len(jobs) > 1:
                        prospects = _prospects(jobs, future)
                        for job in jobs:
                            begin([job], _run_one, job_flow, prospects.get(job.name))
                    else:
                        outcomes.append(_outcome(jobs[0], future))
                        stage.advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop.set()
            raise
    return outcomes


def _apart(stop: threading.Event, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls what runs flows, in a thread of its own."""
    stopping.set(stop)
    watcher.set(None)  # the campaign's own stage is what is shown
    return function(*arguments)


def _share(jobs: list[Job], syncing: bool) -> dict[str, Prospect]:
    return share_task(title(jobs), quote(jobs), syncing=syncing)


def _prospects(jobs: list[Job], future: Future[dict[str, Prospect]]) -> dict[str, Prospect]:
    if error := future.exception():
        get_run_logger().warning("%s fetch each for themselves: %s", title(jobs), error)
        return {}
    return future.result()


def _run_one(jobs: list[Job], job_flow: Flow[..., Any], prospect: Prospect | None = None) -> Any:
    (job,) = jobs
    foreseen.set(prospect)
    for pause in (*_SERVER_PAUSES_SECONDS, None):
        result = job_task(quote(job_flow), quote(job), return_state=True).result(raise_on_failure=False)
        if pause is None or not server_is_away(result) or stop_event().wait(pause):
            break
    return result


def server_is_away(result: Any) -> bool:
    """Whether a run ended because the Prefect server could not be reached, or answered that it is unavailable."""
    if isinstance(result, httpx.HTTPStatusError):
        return result.response.is_server_error
    return isinstance(result, httpx.TransportError)


@task(name="job", task_run_name="{job.name}", cache_policy=NO_CACHE)
def job_task(job_flow: Flow[..., Any], job: Job) -> Any:
    """The report of a job's run, or the error it ended with.

    Runs of flows that are begun at the same time from several threads are told apart only when each is in a task.
    """
    return report_of(job_flow(job, return_state=True))


def _outcome(job: Job, future: Future[Any]) -> JobOutcome:
    result = future.exception() or future.result()
    if isinstance(result, BaseException):
        return JobOutcome(job.name, error=" ".join(str(result).split()) or type(result).__name__)
    return JobOutcome(job.name, report=result)
