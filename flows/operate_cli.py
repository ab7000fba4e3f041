"""The commands for runs that nobody watches: serve and notify."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from eeflow.errors import ConfigError
from flows.console import Debug, one_line_errors


def add_commands(app: typer.Typer) -> None:
    """Adds them to the `eeflow` command."""
    for command in (serve, notify):
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
