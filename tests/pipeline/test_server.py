"""The servers that commands start for themselves end with them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from coded_service import CodedService
from coded_world import make_collection
from prefect_server import until

EEFLOW = Path(sys.executable).parent / "eeflow"
COLLECTION = make_collection(
    "CODED/ALONE",
    "EPSG:32631",
    (10, 0, 499980, 0, -10, 5700000),
    (1000, 1000),
    {"B4": "uint16"},
    ["2023-06-01T10:30:15Z"],
)


def children(pid):
    """Processes that a process started, by their parent's id in /proc."""
    return [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if (text := read(stat)) and int(text.rpartition(")")[2].split()[1]) == pid
    ]


def read(path):
    try:
        return path.read_text()
    except OSError:  # it has ended meanwhile
        return ""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_run_leaves_no_server_behind(clean_environment, tmp_path):
    job = {
        "name": "alone",
        "aoi": {"bbox": [500000, 5699000, 500200, 5699200], "crs": "EPSG:32631"},
        "collection": COLLECTION.asset_id,
        "dates": {"start": "2023-06-01", "end": "2023-07-01"},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    with CodedService([COLLECTION]) as service:
        environment = clean_environment | {"EEFLOW_EE_URL": service.url}
        run = subprocess.Popen([EEFLOW, "run", tmp_path / "job.yaml", "--out", tmp_path], env=environment)
        started = []

        def kill():
            started.extend(children(run.pid))
            run.kill()

        service.when_pixels(1, "arrives", kill)
        assert run.wait(timeout=120) == -signal.SIGKILL
    assert len(started) >= 2  # the server, and what waits for the end of the run
    until(60, lambda: not any(map(is_alive, started)), lambda: [pid for pid in started if is_alive(pid)])


def is_alive(pid):
    state = read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return bool(state) and state[0] != "Z"
