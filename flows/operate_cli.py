"""The commands that keep running, or change what does: serve."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from flows.console import Debug, one_line_errors


def add_commands(app: typer.Typer) -> None:
    """Adds them to the `eeflow` command."""
    for command in (serve,):
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
