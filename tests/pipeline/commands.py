"""The `eeflow` command, many times in one process that stays: Prefect is imported once, and what happens between is the
test's to say."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MANY_RUNS = Path(__file__).with_name("many_runs.py")


@dataclass(frozen=True)
class Result:
    """What one call of the command left."""

    code: object
    stdout: str
    stderr: str

    @property
    def report(self):
        """What `--json` printed."""
        return json.loads(self.stdout)

    @property
    def statuses(self):
        """The status of each product, by the day of its file's name."""
        return {day_of(product["path"]): product["status"] for product in self.report["products"]}

    @property
    def changes(self):
        """Why products were written, by the day of their file's name."""
        return {day_of(p["path"]): p["change"] for p in self.report["products"] if p["change"]}


class Commands:
    """The process; calls are `commands(*arguments)`, or `begin(*arguments)` and later `result()`."""

    def __init__(self, environment):
        self._process = subprocess.Popen(
            [sys.executable, MANY_RUNS], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, *arguments):
        self.begin(*arguments)
        return self.result()

    def begin(self, *arguments):
        self._process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._process.stdin.flush()

    def result(self):
        """What the call that was begun left; None where the process was killed."""
        line = self._process.stdout.readline()
        if not line:
            return None
        result = json.loads(line)
        return Result(result["code"], result["stdout"], result["stderr"])

    def kill(self):
        self._process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def day_of(path):
    """`20240504` of `herne_20240504T105655.tif`."""
    return Path(path).stem.partition("_")[2][:8]
