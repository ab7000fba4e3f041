"""What all commands share: options, exit statuses, and errors as one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated

import typer

from eeflow.errors import EEFlowError, UserError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON report on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and Prefect's log.")]


class ExitStatus(IntEnum):
    """What the command's exit status says."""

    DONE = 0
    FAILED = 1
    WRONG_INPUT = 2
    PARTLY = 3
    INTERRUPTED = 130


@contextmanager
def one_line_errors(debug: bool) -> Iterator[None]:
    """Errors become one line on stderr and an exit status; tracebacks only on request."""
    if debug:
        os.environ["PREFECT_LOGGING_LEVEL"] = "DEBUG"
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("error: interrupted; what was fetched is kept, and the same command goes on from there.", err=True)
        sys.exit(ExitStatus.INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        text = " ".join(str(error).split())
        known = isinstance(error, EEFlowError | OSError)
        typer.echo(f"error: {text if known else f'{text or type(error).__name__} (--debug shows where)'}", err=True)
        sys.exit(ExitStatus.WRONG_INPUT if isinstance(error, UserError) else ExitStatus.FAILED)
