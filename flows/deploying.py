"""Deployments: how files become the parameters of `deployments/prefect.yaml`, and how they are served."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect import serve as serve_deployments
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
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
    """Serves every deployment of a file with its schedules, until it is interrupted."""
    serve_deployments(*read_deployments(prefect_file))


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
