"""The same flow on a Dask cluster of two processes: the same products, and limits that hold over both."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from coded_service import CodedService
from coded_world import make_collection

EEFLOW = Path(sys.executable).parent / "eeflow"
BANDS = {f"B{number}": "uint16" for number in range(12)}
ASSET = make_collection(
    "CODED/DASK",
    "EPSG:32631",
    (10, 0, 499980, 0, -10, 5700000),
    (400, 400),
    BANDS,
    ["2023-06-01T10:30:15Z", "2023-06-03T10:40:16Z"],
)
JOB = {
    "name": "dask",
    "aoi": {"bbox": [500000, 5697400, 501200, 5698800], "crs": "EPSG:32631"},
    "collection": ASSET.asset_id,
    "dates": {"start": "2023-06-01", "end": "2023-07-01"},
    "fan_out": "bands",
    "transport": "get_region",
}
LIMIT = 4


def run(folder, environment):
    job = folder / "job.yaml"
    job.write_text(yaml.safe_dump(JOB | {"output": {"root": str(folder)}}))
    done = subprocess.run([EEFLOW, "run", job, "--json"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def runs(prefect_environment, tmp_path_factory):
    """Reports of a run on Dask and of one on threads, and the most requests the first had in flight."""
    with CodedService([ASSET], latency=0.2) as service:
        environment = prefect_environment | {
            "EEFLOW_EE_URL": service.url,
            "EEFLOW_EE_PROJECT": "dask-project",  # whose limit on the server no other test has made
            "EEFLOW_MAX_CONCURRENT": str(LIMIT),
        }
        on_dask = run(tmp_path_factory.mktemp("dask"), environment | {"EEFLOW_DASK": "2"})
        peak = service.max_in_flight
        on_threads = run(tmp_path_factory.mktemp("threads"), environment)
    return on_dask, on_threads, peak


def test_dask_writes_the_same_products(runs):
    on_dask, on_threads, _ = runs
    assert [product["status"] for product in on_dask["products"]] == ["written", "written"]
    for left, right in zip(on_dask["products"], on_threads["products"], strict=True):
        with rasterio.open(left["path"]) as a, rasterio.open(right["path"]) as b:
            assert a.shape == (140, 120)
            np.testing.assert_array_equal(a.read(), b.read())
            np.testing.assert_array_equal(a.read_masks(), b.read_masks())


def test_processes_together_keep_the_limit(runs):
    _, _, peak = runs
    assert 1 < peak <= LIMIT
