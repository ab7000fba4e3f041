"""What the tests of this folder share: the stand-in service beside them, and deployments with a worker."""

import subprocess
import sys
from pathlib import Path

import pytest

from eelocal import LocalEarthEngine

sys.path.insert(0, str(Path(__file__).parent))

from prefect_server import BIN, ROOT, readme_command

# What a clone holds of what deployments need.
CLONE = ("flows", "tasks", "eeflow", "eelocal", "deployments", "prefect.toml", "README.md")


@pytest.fixture(scope="session")
def deployed(prefect_environment, running, tmp_path_factory):
    """The README's way to a schedule, its commands taken from there: a pool, `prefect deploy --all`, a worker.

    Everything runs in a folder that looks like a clone, so that `data` is of the test's own. Yields that folder and the
    environment, in which eelocal is Earth Engine.
    """
    clone = tmp_path_factory.mktemp("clone")
    for name in CLONE:
        (clone / name).symlink_to(ROOT / name)
    with LocalEarthEngine() as engine:
        environment = prefect_environment | {
            "EEFLOW_EE_URL": engine.url,
            "PATH": f"{BIN}:{prefect_environment['PATH']}",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        }
        for words in ("prefect work-pool create", "prefect deploy"):
            command = readme_command(words)
            done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        command = readme_command("prefect worker start")
        with running(command, clone / "worker.log", cwd=clone, env=environment):
            yield clone, environment
