"""Deployments: how files become the parameters of `deployments/prefect.yaml`, and how they are served."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.schedules import Schedule
from prefect.utilities.importtools import from_qualified_name
from prefect.utilities.templating import apply_values

from eeflow.campaign import load_campaign
from eeflow.jobfile import load_job, read_yaml

PREFECT_FILE = Path("deployments/prefect.yaml")


def job(file: str) -> dict[str, Any]:
    """The parameter `job` of a deployment, from a job file: a build step."""
    return {"job": load_job(file).model_dump(mode="json", by_alias=True, exclude_unset=True)}


def campaign(file: str) -> dict[str, Any]:
    """The parameter `campaign` of a deployment, from a campaign file: a build step."""
    return {"campaign": load_campaign(file).model_dump(mode="json", by_alias=True, exclude_unset=True)}


def serve(prefect_file: Path = PREFECT_FILE) -> None:
    """Serves every deployment of a file with its schedules, until it is interrupted or told to end."""
    asyncio.run(_serve(read_deployments(prefect_file)))


async def _serve(deployments: Sequence[RunnerDeployment]) -> None:
    runner = _Runner()
    for deployment in deployments:
        await runner.aadd_deployment(deployment)
    await runner.start()


class _Runner(Runner):
    """Cancels the runs under way when it is told to end, so that their deployments are free for the next ones.

    Prefect's own kills them without telling the server, which takes them to be running from then on.
    """

    async def __aenter__(self) -> Self:
        entered = await super().__aenter__()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._end)
        return entered

    def _end(self) -> None:
        if self.started:
            self._ending = asyncio.ensure_future(self.astop())


def read_deployments(prefect_file: Path) -> list[RunnerDeployment]:
    """The deployments of a file, as `prefect deploy --all` makes them but for the work pool."""
    content = read_yaml(prefect_file)
    return [_deployment(options) for options in content["deployments"]]


def built(options: dict[str, Any]) -> dict[str, Any]:
    """What the build steps of a deployment bring; Prefect's own way to run them needs a server."""
    steps = (step for steps in options.get("build") or () for step in steps.items())
    return {key: value for name, inputs in steps for key, value in from_qualified_name(name)(**inputs).items()}


def _deployment(options: dict[str, Any]) -> RunnerDeployment:
    outputs = built(options)
    limit = options.get("concurrency_limit")
    return RunnerDeployment.from_entrypoint(
        options["entrypoint"],
        options["name"],
        description=options.get("description"),
        tags=options.get("tags"),
        parameters=apply_values(options.get("parameters") or {}, outputs),
        schedules=[_schedule(schedule) for schedule in options.get("schedules") or ()],
        concurrency_limit=ConcurrencyLimitConfig(**limit) if limit else None,
        enforce_parameter_schema=options.get("enforce_parameter_schema", True),
    )


def _schedule(options: dict[str, Any]) -> Schedule:
    interval = options.get("interval")
    return Schedule(**options | {"interval": timedelta(seconds=interval) if interval else None})
