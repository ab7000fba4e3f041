"""What tests ask of the README and of a Prefect server."""

import re
import sys
import time
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def readme_command(words):
    """The command of the README's blocks that begins with these words, without what follows it on its line."""
    command = re.search(rf"^\$ .*?({words}[^#&\n]*)", (ROOT / "README.md").read_text(), re.MULTILINE)[1]
    return [str(BIN / "prefect"), *command.split()[1:]]


def ask(method, url, body):
    """What a Prefect server answers; 503 is how it says that its SQLite was locked for long, and to ask again."""
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(8, status_forcelist=[503], allowed_methods=None)))
        answer = session.request(method, url, json=body, timeout=60)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def find(environment, kind, body):
    """What the Prefect server of the environment knows of a kind, such as flow runs."""
    return ask("POST", f"{environment['PREFECT_API_URL']}/{kind}/filter", body)


def until(seconds, condition, what):
    """What a condition gives, once it is true; asked again in short steps, so that what is waited for has the machine.

    Args:
        seconds: the longest to wait.
        condition: a function without arguments.
        what: a function that says how things stand when the time is over.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
    return found
