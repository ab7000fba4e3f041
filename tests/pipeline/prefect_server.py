"""What tests ask of the README and of a Prefect server."""

import re
import sys
import time
from pathlib import Path

import requests

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def readme_command(words):
    """The command of the README's blocks that begins with these words, without what follows it on its line."""
    command = re.search(rf"^\$ .*?({words}[^#&\n]*)", (ROOT / "README.md").read_text(), re.MULTILINE)[1]
    return [str(BIN / "prefect"), *command.split()[1:]]


def find(environment, kind, body):
    """What the Prefect server of the environment knows of a kind, such as flow runs."""
    answer = requests.post(f"{environment['PREFECT_API_URL']}/{kind}/filter", json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def until(seconds, ask, what):
    """What `ask` answers, once it is true; asked again in short steps, so that what is waited for has the machine.

    Args:
        seconds: the longest to wait.
        ask: a function without arguments.
        what: a function that says how things stand when the time is over.
    """
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
    return found
