"""Fixtures shared by all tests: one Prefect server and one clean environment per session, for those that ask."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
START_SECONDS = 180


@pytest.fixture(scope="session")
def clean_environment(tmp_path_factory):
    """Environment for `eeflow` as a process: no EEFLOW_* or PREFECT_* of this machine's, and a home of its own."""
    home = tmp_path_factory.mktemp("home")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EEFLOW_", "PREFECT_", "XDG_"))}
    return kept | {
        "HOME": str(home),
        "PREFECT_HOME": str(home / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


@pytest.fixture(scope="session")
def prefect_environment(clean_environment, running):
    """The same with a Prefect server that runs for the whole session, so that no run has to start its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    log = Path(clean_environment["HOME"]) / "prefect-server.log"
    # The recorder of task runs locks the server's SQLite so often that every second lease of slots waits 2 s.
    environment = clean_environment | {
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
        "PREFECT_SERVER_UI_API_URL": url,
        "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "1",  # how often it looks for leases that have ended
    }
    command = [BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, log, env=environment) as server:
        _wait_until_healthy(server, url, log)
        yield clean_environment | {"PREFECT_API_URL": url}


@pytest.fixture(scope="session")
def running():
    """The context manager `_running`."""
    return _running


@contextlib.contextmanager
def _running(command, log, **options):
    """A process with those it starts, ended at the end of the block, or of this process if that dies before.

    A shell waits for the pipe from here to close, which the operating system does in any case.

    Args:
        command: the command with its arguments.
        log: the file that takes what it prints.
        options: for `subprocess.Popen`.
    """
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )
        watcher = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -9 "-$1"', "sh", str(process.pid)],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)
        watcher.kill()  # before the pipe closes
        watcher.wait()
        watcher.stdin.close()


def _wait_until_healthy(server, url, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        try:
            server.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        break
    raise RuntimeError(f"Prefect server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _stop(process):
    """End the process and those it started: its own group, by id."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            continue
