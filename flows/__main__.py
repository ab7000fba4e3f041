"""The `eeflow` command."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eeflow.config import Job
from eeflow.jobfile import load_job
from flows import inspect_cli, operate_cli
from flows.console import AsJson, Debug, ExitStatus, one_line_errors

if TYPE_CHECKING:
    from prefect.flows import Flow

# Set before Prefect is imported, and only where the user has not: a console without Prefect's log and tracebacks, no
# call home, time enough for the temporary server's first start, which migrates its database, heartbeats as often as
# deployments/automations.yaml counts on, and tries as tasks/__init__.py counts on.
for _name, _value in {
    "PREFECT_CLIENT_MAX_RETRIES": "8",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}.items():
    os.environ.setdefault(_name, _value)

app = typer.Typer(
    name="eeflow",
    help="Earth Engine imagery straight to the local disk.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
inspect_cli.add_commands(app)
operate_cli.add_commands(app)
JobFile = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job: what to download, where and when.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the job; repeatable.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Override output.root.")]


@app.command()
def run(
    job: JobFile, overrides: Overrides = None, out: Out = None, fresh: bool = False, as_json: AsJson = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Download what a job asks for: AOI to GeoTIFFs."""
    with one_line_errors(debug):
        _run(load_job(job, overrides or (), out), fresh=fresh, as_json=as_json)


@app.command()
def sync(
    job: JobFile, overrides: Overrides = None, out: Out = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be fetched.")] = False,
    as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Fetch what is new, late or changed since the last time; nothing else is asked for."""
    with one_line_errors(debug):
        loaded = load_job(job, overrides or (), out)
        if dry_run:
            _plan(loaded, syncing=True, as_json=as_json)
            return
        from flows.sync import sync as flow  # noqa: PLC0415  importing Prefect takes a second or two

        _run_flow(flow, loaded, as_json=as_json)


@app.command()
def plan(
    job: JobFile, overrides: Overrides = None, out: Out = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Show what a run would do; spends nothing but the listing of scenes."""
    with one_line_errors(debug):
        _plan(load_job(job, overrides or (), out), as_json=as_json)


@app.command()
def campaign(
    file: Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign: many jobs in one file.")],
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Run this job only; repeatable.")] = None,
    overrides: Overrides = None, out: Out = None, as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Run many jobs; one that fails does not stop the rest."""
    from eeflow.campaign import chosen, load_campaign  # noqa: PLC0415

    with one_line_errors(debug):
        loaded = load_campaign(file, overrides or (), out)
        chosen(loaded.make_jobs(), only or ())
        from flows.campaign import campaign as flow  # noqa: PLC0415  importing Prefect takes a second or two

        _run_flow(flow, loaded, only=only or [], as_json=as_json)


@app.command()
def presets(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the collections whose bands, scales, classes and colours are known."""
    from flows import presetlist  # noqa: PLC0415

    with one_line_errors(debug):
        if as_json:
            typer.echo(json.dumps(presetlist.as_json(), indent=2))
        else:
            presetlist.show()


@app.command()
def doctor(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where products go.")] = Path("data"),
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check each thing a run needs, and say what to do where it is not right."""
    from flows.doctor import examine, show  # noqa: PLC0415

    with one_line_errors(debug):
        findings = list(examine(out))
        is_fine = all(finding.status != "wrong" for finding in findings)
        if as_json:
            typer.echo(json.dumps({"fine": is_fine, "findings": [asdict(finding) for finding in findings]}, indent=2))
        else:
            show(findings)
    sys.exit(ExitStatus.DONE if is_fine else ExitStatus.FAILED)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path("demo"),
    debug: Debug = False,
) -> None:
    """Download imagery of a farm from the local Earth Engine: no account, no network."""
    from flows.demo import demo_job  # noqa: PLC0415
    from flows.local import local_earth_engine  # noqa: PLC0415

    with one_line_errors(debug), local_earth_engine() as url:
        job = demo_job(out)
        typer.echo(f"eelocal, a local Earth Engine, answers at {url}; what it serves is generated, not real imagery.")
        typer.echo(f"Downloading {', '.join(job.bands)} of {job.collection} over a farm near Herne, Belgium ...")
        _run(job, fresh=True, as_json=False)
        typer.echo("Files:")
        for path in sorted(path for path in job.folder.iterdir() if not path.name.startswith(".")):
            typer.echo(f"  {path}")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def local(context: typer.Context) -> None:
    """Serve eelocal, a local Earth Engine, and print its URL."""
    import eelocal  # noqa: PLC0415

    sys.exit(eelocal.main(context.args))


def _plan(job: Job, *, syncing: bool = False, as_json: bool) -> None:
    from flows.planning import describe, draft  # noqa: PLC0415

    drafted = draft(job, syncing=syncing)
    typer.echo(json.dumps(drafted, indent=2) if as_json else describe(drafted))


def _run(job: Job, *, fresh: bool, as_json: bool) -> None:
    from flows.download import download  # noqa: PLC0415  importing Prefect takes a second or two

    _run_flow(download, job, fresh=fresh, as_json=as_json)


def _run_flow(flow: Flow[..., Any], *arguments: Any, as_json: bool, **options: Any) -> None:
    """Runs a flow, prints its report, and exits with what the report says."""
    from flows.ending import report_of  # noqa: PLC0415
    from flows.heartbeat import beating  # noqa: PLC0415
    from flows.progress import watcher  # noqa: PLC0415
    from flows.report import RunReport  # noqa: PLC0415
    from flows.server import make_prefect_home, temporary_server  # noqa: PLC0415

    make_prefect_home()
    with temporary_server(), _progress_bar() as advance, beating(flow) as living:
        watcher.set(advance)
        state = living(*arguments, **options, return_state=True)
    report = report_of(state)
    if isinstance(report, BaseException):
        raise report
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        typer.echo(report.summary)
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if report.failed:
        typer.echo(f"error: {report.error}", err=True)
        if isinstance(report, RunReport) and report.limit:
            sys.exit(ExitStatus.WRONG_INPUT)
        sys.exit(ExitStatus.PARTLY if report.some_done else ExitStatus.FAILED)


@contextmanager
def _progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        rows: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in rows:
                rows[stage] = bar.add_task(stage, total=total)
            bar.update(rows[stage], completed=done)

        yield advance


# What Typer raises for a mistake in the command's words; the copy of Click it carries has no public name.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]


def main() -> None:
    """Entry point of the command: a mistake in its words is one line too."""
    if "--debug" not in sys.argv and sys.stderr is sys.__stderr__:
        _keep_stderr_for_ourselves()
    # A polite end is an interruption too: it stops the run's temporary server instead of leaving it behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except _UsageError as error:
        typer.echo(f"error: {error.format_message().rstrip('.?')}. See eeflow --help.", err=True)
        status = ExitStatus.WRONG_INPUT
    except (typer.Abort, KeyboardInterrupt):
        status = ExitStatus.INTERRUPTED
    sys.exit(status)


def _keep_stderr_for_ourselves() -> None:
    """Child processes and C libraries get no stderr.

    Prefect's temporary server prints tracebacks when it is told to end, and GDAL warns of things that are dealt with.
    """
    ours = os.dup(2)
    sys.stderr = os.fdopen(ours, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


if __name__ == "__main__":
    main()
