"""The Prefect server that a standing command works with: the one there is, or one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from eeflow.errors import EEFlowError

_VARIABLE = "PREFECT_API_URL"
_LOG = Path(".eeflow/prefect-server.log")
_START_SECONDS = 120  # the first start migrates its database


@contextmanager
def prefect_server(port: int) -> Iterator[str]:
    """The address of the server that the environment names, or of one at `port`, started for the block if need be.

    Raises:
        EEFlowError: the named one does not answer, or ours does not start.
    """
    named = os.environ.get(_VARIABLE)
    url = named or f"http://127.0.0.1:{port}/api"
    os.environ[_VARIABLE] = url
    if _answers(url):
        yield url
        return
    if named:
        raise EEFlowError(f"No Prefect server answers at {url}; start it, or unset {_VARIABLE} to have one started.")
    make_prefect_home()
    _LOG.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with _LOG.open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as server:
        try:
            _wait(url, server)
            yield url
        finally:
            server.terminate()


@contextmanager
def temporary_server() -> Iterator[None]:
    """Starts the server that Prefect gives a run without one, and has it end with this process however that ends.

    Prefect itself ends it when a run ends, but a run that is killed would leave it behind: a shell waits for the pipe
    from here to close, which the operating system does in any case.
    """
    from prefect.server.api.server import SubprocessASGIServer  # noqa: PLC0415  only where one is needed
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    if PREFECT_API_URL.value():
        yield
        return
    server = SubprocessASGIServer()
    server.start()
    assert server.server_process
    command = ["/bin/sh", "-c", 'read -r _; kill "$1"', "sh", str(server.server_process.pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watcher:
        try:
            yield
        finally:
            watcher.kill()  # before the pipe closes


def make_prefect_home() -> None:
    """Prefect makes its folder but not those above it, and then waits minutes for a server that cannot start."""
    Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser().mkdir(parents=True, exist_ok=True)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise EEFlowError(f"The Prefect server did not start; {_LOG} says why.")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False
