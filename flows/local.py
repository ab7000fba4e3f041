"""Starting eelocal for a run, when the environment says `EEFLOW_EE_URL=local`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from eeflow.errors import EEFlowError
from eeflow.settings import LOCAL, load_settings

_VARIABLE = "EEFLOW_EE_URL"
_ANNOUNCES = "eelocal serving at "


@contextmanager
def earth_engine() -> Iterator[None]:
    """Earth Engine as the environment names it; `local` starts an eelocal that ends with the block."""
    if load_settings().ee_url != LOCAL:
        yield
        return
    with local_earth_engine():
        yield


@contextmanager
def local_earth_engine(arguments: Sequence[str] = ()) -> Iterator[str]:
    """Runs eelocal in a process of its own, with the environment pointing to it, and yields its URL.

    The process ends with the block, and also when this process is killed: it watches its standard input, which then
    closes.
    """
    command = [sys.executable, "-m", "eelocal", "--port", "0", "--until-stdin-closes", *arguments]
    before = os.environ.get(_VARIABLE)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            line = server.stdout.readline()
            if not line.startswith(_ANNOUNCES):
                raise EEFlowError(f"eelocal did not start: {line.strip() or 'it printed nothing'}.")
            url = line.removeprefix(_ANNOUNCES).strip()
            os.environ[_VARIABLE] = url
            yield url
        finally:
            server.terminate()
            if before is None:
                os.environ.pop(_VARIABLE, None)
            else:
                os.environ[_VARIABLE] = before
