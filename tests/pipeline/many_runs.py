"""Runs the `eeflow` command many times in one process, so that Prefect is imported once.

    python many_runs.py CALLS.json RESULTS.json
    python many_runs.py

CALLS.json is a list of argument lists. RESULTS.json holds for each the exit code and what went to stdout and stderr.
Without arguments each line of stdin is a list of arguments, and the result goes to stdout as a line.
The command is the one the installed distribution names; nothing of it is replaced. Heartbeats of flows are off: their
thread ends a second after its flow.
"""

import contextlib
import importlib.metadata
import io
import json
import sys
import time
import traceback
from pathlib import Path

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings


def run(command, arguments):
    """Exit code, stdout, stderr and seconds of one call of the command."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["eeflow", *arguments]
    started = time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = command()
        except SystemExit as end:
            code = end.code
        except BaseException:  # noqa: BLE001 - whatever comes out is the result
            traceback.print_exc()
            code = "exception"
    return {
        "code": 0 if code is None else code,
        "stdout": out.getvalue(),
        "stderr": err.getvalue(),
        "seconds": time.monotonic() - started,
    }


def main(calls=None, results=None):
    """Run every call of the file `calls`, or of stdin."""
    answers = sys.stdout
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="eeflow")
    command = entry.load()
    found = []
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        if calls is None:
            for line in sys.stdin:
                print(json.dumps(run(command, json.loads(line))), file=answers, flush=True)
            return
        for arguments in json.loads(Path(calls).read_text()):
            found.append(run(command, arguments))
            Path(results).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
