"""The commands that only read a folder of products: verify, ls and report. They need neither Prefect nor a network."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eeflow.errors import UserError
from flows.console import AsJson, Debug, ExitStatus, one_line_errors

if TYPE_CHECKING:
    from eeflow.ledger import Entry
    from eeflow.verify import Verdict

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A job's folder, or one that holds several.")]
_COLOURS = {"written": "green", "replaced": "dim", "rejected": "yellow", "failed": "red", "removed": "dim"}


def add_commands(app: typer.Typer) -> None:
    """Adds them to the `eeflow` command."""
    for command in (verify, ls, report):
        app.command()(command)


def verify(folder: Folder, as_json: AsJson = False, debug: Debug = False) -> None:
    """Read every product again against its ledger: what was changed, cut, lost, or is not in it."""
    from eeflow.ledger import job_folders  # noqa: PLC0415
    from eeflow.verify import verify_folder  # noqa: PLC0415  rasterio takes a second to import

    with one_line_errors(debug):
        verdicts = [verify_folder(path) for path in job_folders(folder)]
        is_right = all(verdict.is_right for verdict in verdicts)
        if as_json:
            typer.echo(json.dumps({"right": is_right, "folders": [_verdict_json(verdict) for verdict in verdicts]}))
        else:
            typer.echo("\n".join(line for verdict in verdicts for line in _verdict_lines(verdict)))
    sys.exit(ExitStatus.DONE if is_right else ExitStatus.FAILED)


def ls(folder: Folder, as_json: AsJson = False, debug: Debug = False) -> None:
    """List products: time, status, valid and cloudy share, size, and why one is not there."""
    from eeflow.ledger import Ledger, job_folders  # noqa: PLC0415

    with one_line_errors(debug):
        listed = {path: Ledger(path).rows() for path in job_folders(folder)}
        if as_json:
            folders = [
                {
                    "folder": str(path),
                    "products": [asdict(row) | {"valid_fraction": row.valid_fraction} for row in rows],
                }
                for path, rows in listed.items()
            ]
            typer.echo(json.dumps({"folders": folders}))
            return
        for path, rows in listed.items():
            _print_table(path, rows)


def report(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page; else report.html in DIR.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write an HTML page that shows what arrived and what is missing; it needs no network."""
    from eeflow.ledger import job_folders  # noqa: PLC0415
    from eeflow.page import write_page  # noqa: PLC0415

    with one_line_errors(debug):
        folders = job_folders(folder)
        if out and len(folders) > 1:
            raise UserError(f"{folder} holds {len(folders)} jobs, each with a page of its own; leave out --out.")
        for path in folders:
            typer.echo(str(write_page(path, out)))


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {**asdict(verdict), "right": verdict.is_right}


def _verdict_lines(verdict: Verdict) -> list[str]:
    wrong = [finding for finding in verdict.findings if finding.problem != "leftover"]
    state = "all right" if verdict.is_right else f"{len(wrong)} not right"
    busy = ["  a run is writing here; files without a row in the ledger were not judged"] if verdict.busy else []
    found = [f"  {finding.problem}: {finding.path}: {finding.text}" for finding in verdict.findings]
    return [f"{verdict.folder}: {verdict.products} products, {state}", *found, *busy]


def _print_table(path: Path, rows: list[Entry]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from eeflow.output import readable_size  # noqa: PLC0415

    typer.echo(str(path))
    table = Table(box=None, pad_edge=False)
    for name in ("time", "product", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("valid", "cloud", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("remark", overflow="fold")
    for row in sorted(rows, key=lambda row: (row.time_start or "", row.path)):
        table.add_row(
            (row.time_start or "")[:16].replace("T", " "),
            Path(row.path).stem,
            Text(row.status, style=_COLOURS[row.status]),
            "" if row.valid_pixels is None else f"{row.valid_fraction:.1%}",
            "" if row.cloud_fraction is None else f"{row.cloud_fraction:.1%}",
            readable_size(row.size),
            Text(row.remark),
        )
    console = Console()
    # A pipe has no width of its own; a table cut to 80 columns would lose what is looked for.
    Console(width=None if console.is_terminal else 200).print(table)
