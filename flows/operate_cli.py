"""The commands for runs that nobody watches: serve, notify and prune."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eeflow.errors import ConfigError
from flows.console import AsJson, Debug, one_line_errors

if TYPE_CHECKING:
    from eeflow.config import Job
    from eeflow.ledger import Entry


def add_commands(app: typer.Typer) -> None:
    """Adds them to the `eeflow` command."""
    for command in (serve, notify, prune):
        app.command()(command)


def serve(
    port: Annotated[int, typer.Option(help="Port of the Prefect server, if one has to be started.")] = 4200,
    debug: Debug = False,
) -> None:
    """Serve every deployment of deployments/ with its schedule; ends when it is interrupted."""
    os.environ["PREFECT_LOGGING_LEVEL"] = "INFO"  # a log is all that this command shows
    from flows.server import prefect_server  # noqa: PLC0415

    with one_line_errors(debug), prefect_server(port) as url:
        from flows.deploying import serve as serve_deployments  # noqa: PLC0415  importing Prefect fixes the server

        typer.echo(f"The Prefect UI is at {url.removesuffix('/api')}; stop with Ctrl-C.")
        serve_deployments()


def notify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Who hears about what.")] = Path(
        "deployments/automations.yaml"
    ),
    debug: Debug = False,
) -> None:
    """Have the Prefect server tell of failures, new data and silence, and mark runs that were killed."""
    with one_line_errors(debug):
        if "PREFECT_API_URL" not in os.environ:
            raise ConfigError("PREFECT_API_URL is not set; a Prefect server that keeps running does the telling.")
        from flows.notify import apply, read_notifications  # noqa: PLC0415  importing Prefect fixes the server

        for line in apply(read_notifications(file)):
            typer.echo(line)


def prune(
    job: Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job, whose `retention` says what to remove.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the job; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Override output.root.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Remove the products that a job's retention does not keep, as each of its runs does at its end."""
    from eeflow.jobfile import load_job  # noqa: PLC0415

    with one_line_errors(debug):
        loaded = load_job(job, overrides or (), out)
        if not (loaded.retention.keep or loaded.retention.max_gib):
            raise ConfigError(f"{job} has no retention; give retention.keep, such as 400d, or retention.max_gib.")
        from eeflow.retention import prune as remove  # noqa: PLC0415  rasterio takes a second to import

        rows = remove(loaded, dry_run=True) if dry_run else _remove(loaded)
        if as_json:
            removed = [{"path": row.path, "reason": row.reason} for row in rows]
            typer.echo(json.dumps({"job": loaded.name, "dry_run": dry_run, "removed": removed}))
            return
        for row in rows:
            typer.echo(f"{row.path}: {row.reason}")
        typer.echo(f"{loaded.name}: {len(rows)} products {'would be ' if dry_run else ''}removed")


def _remove(job: Job) -> list[Entry]:
    from eeflow.aoi import load_aoi  # noqa: PLC0415
    from eeflow.beside import finish_folder  # noqa: PLC0415
    from eeflow.output import exclusive  # noqa: PLC0415
    from eeflow.retention import prune as remove  # noqa: PLC0415

    with exclusive(job.folder):
        rows = remove(job)
        finish_folder(job, load_aoi(job.aoi))
    return rows
