"""Small products are written some in a task, and what keeps one from being written keeps none of the others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from coded_service import CodedService
from coded_world import make_collection
from pixel_check import check_pixels, scene_of
from prefect_server import find

from eeflow.ledger import Ledger

EEFLOW = Path(sys.executable).parent / "eeflow"
TIMES = [f"2023-06-{day:02d}T10:30:15Z" for day in range(1, 13)]
ASSET = make_collection(
    "CODED/MANY", "EPSG:32631", (10, 0, 499980, 0, -10, 5700000), (200, 200), {"B2": "uint16"}, TIMES
)
JOB = {
    "name": "many",
    "aoi": {"bbox": [500000, 5699000, 500300, 5699200], "crs": "EPSG:32631"},
    "collection": ASSET.asset_id,
    "dates": {"start": "2023-06-01", "end": "2023-07-01"},
}


@pytest.fixture(scope="module")
def done(prefect_environment, tmp_path_factory):
    """A run of twelve products, one of which has a folder where its file should be."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "many" / "many_20230604T103015.tif").mkdir(parents=True)
    (folder / "job.yaml").write_text(yaml.safe_dump(JOB | {"output": {"root": str(folder)}}))
    with CodedService([ASSET]) as service:
        environment = prefect_environment | {"EEFLOW_EE_URL": service.url}
        command = [EEFLOW, "run", folder / "job.yaml", "--json"]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        run.rows = Ledger(folder / "many").rows()
        return run


def test_what_fails_for_one_product_is_its_own(done):
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    products = json.loads(done.stdout)["products"]
    failed = [product for product in products if product["status"] != "written"]
    assert [Path(product["path"]).name for product in failed] == ["many_20230604T103015.tif"]
    assert "Is a directory" in failed[0]["error"]
    assert "Is a directory" in line
    assert len(products) == 12
    (row,) = [row for row in done.rows if row.status != "written"]
    assert (row.status, row.path, row.error_kind) == ("failed", "many_20230604T103015.tif", "IsADirectoryError")
    for product in products:
        if product["status"] == "written":
            check_pixels(Path(product["path"]), scene_of(Path(product["path"]), ASSET), ["B2"])


def test_small_products_share_tasks(done, prefect_environment):
    assert done.returncode == 3
    wanted = {"flows": {"name": {"like_": "many"}}, "task_runs": {"name": {"like_": "write many"}}}
    found = find(prefect_environment, "task_runs", wanted)
    assert len(found) <= 4
