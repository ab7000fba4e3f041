"""`eeflow campaign` as a process: many areas, of which some fail, some are chosen, and all go on where they were."""

import json
import os
import signal
import subprocess

import geopandas as gpd
import httpx
import pytest
import rasterio
import shapely
import yaml
from coded_service import CodedService
from coded_world import make_collection
from pixel_check import check_alignment, check_pixels, scene_of
from prefect_server import BIN, find

from eeflow.campaign import load_campaign
from eeflow.output import exclusive
from flows.campaign import in_turn, server_is_away

COLLECTION = make_collection(
    "CODED/FIELDS",
    "EPSG:32631",
    (10, 0, 499980, 0, -10, 5700000),
    (10980, 10980),
    {"B4": "uint16"},
    ["2023-06-01T10:30:15Z", "2023-06-03T10:40:16Z"],
)
BOWTIE = shapely.Polygon([(521000, 5688000), (521200, 5688200), (521200, 5688000), (521000, 5688200)])


@pytest.fixture
def service():
    with CodedService([COLLECTION]) as running:
        yield running


@pytest.fixture
def environment(prefect_environment, service):
    return prefect_environment | {"EEFLOW_EE_URL": service.url, "EEFLOW_MAX_CONCURRENT": "4"}


def write_campaign(folder, outlines):
    frame = gpd.GeoDataFrame({"field": list(outlines)}, geometry=list(outlines.values()), crs="EPSG:32631")
    frame.to_file(folder / "fields.gpkg")
    content = {
        "defaults": {
            "collection": COLLECTION.asset_id,
            "dates": {"start": "2023-06-01", "end": "2023-07-01"},
            "output": {"root": str(folder / "data")},
        },
        "aois": {"file": "fields.gpkg", "name_field": "field"},
        "at_once": 2,
    }
    path = folder / "fields.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def fields(count):
    return {f"field {n}": shapely.box(520000 + 500 * n, 5688000, 520200 + 500 * n, 5688150) for n in range(count)}


def run(campaign, environment, *options):
    command = [BIN / "eeflow", "campaign", campaign, "--json", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_an_area_that_fails_stops_no_other_and_is_done_when_it_is_mended(tmp_path, environment, service):
    outlines = fields(2) | {"bow/tie": BOWTIE}
    campaign = write_campaign(tmp_path, outlines)
    status, report, errors = run(campaign, environment)
    assert status == 3
    assert errors.startswith("error: bow_tie: aoi.geojson: feature 1 of 1 is not a valid polygon")
    assert len(errors.splitlines()) == 1
    assert {job["job"]: job["status"] for job in report["jobs"]} == {
        "bow_tie": "failed", "field_0": "done", "field_1": "done",
    }  # fmt: skip
    assert [product["status"] for product in report["products"]] == ["written"] * 4
    for name, outline in fields(2).items():
        paths = sorted((tmp_path / "data" / name.replace(" ", "_")).glob("*.tif"))
        assert len(paths) == 2
        with rasterio.open(paths[0]) as raster:
            assert tuple(raster.bounds) == outline.bounds
        check_alignment(paths[0], scene_of(paths[0], COLLECTION).grid_band)
        check_pixels(paths[0], scene_of(paths[0], COLLECTION), ["B4"])
    children = find(environment, "flow_runs", {"flow_runs": {"name": {"like_": "field_1 2023-06"}}})
    assert children[0]["parent_task_run_id"]
    assert report["requests"] == len(service.records)
    assert len(service.region_requests) == 2

    service.reset()
    write_campaign(tmp_path, outlines | {"bow/tie": BOWTIE.buffer(0)})
    status, report, _ = run(campaign, environment, "--only", "bow_tie", "--only", "field_0")
    assert status == 0
    assert {job["job"]: job["status"] for job in report["jobs"]} == {"bow_tie": "done", "field_0": "done"}
    assert sorted(product["status"] for product in report["products"]) == ["present", "present", "written", "written"]
    assert len(service.region_requests) == 1


def test_what_is_wrong_costs_no_request(tmp_path, environment, service):
    campaign = write_campaign(tmp_path, fields(2))
    status, _, errors = run(campaign, environment, "--only", "field_7")
    assert status == 2
    assert "There is no job 'field_7' among the 2" in errors
    status, _, errors = run(campaign, environment, "--set", "bandz=[B4]")
    assert status == 2
    assert "job field_0: bandz is not a key; did you mean bands?" in errors
    assert "(and 1 more jobs are wrong)" in errors
    assert service.records == []


def test_an_interrupted_campaign_ends_soon_and_goes_on_where_it_was(tmp_path, environment, service):
    campaign = write_campaign(tmp_path, fields(4))
    command = [BIN / "eeflow", "campaign", campaign, "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        service.when_pixels(2, "answered", lambda: process.send_signal(signal.SIGTERM))
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.startswith("error: interrupted")
    assert not list((tmp_path / "data").rglob("*.part*"))
    asked = len(service.region_requests)
    assert 2 <= asked < 4

    service.reset()
    status, report, _ = run(campaign, environment)
    assert status == 0
    assert len(report["products"]) == 8
    assert asked + len(service.region_requests) == 4


def test_jobs_that_never_ran_go_first_then_those_that_ran_longest_ago(tmp_path):
    jobs = load_campaign(write_campaign(tmp_path, fields(4))).make_jobs()
    for job, began in ((jobs[0], 3000), (jobs[2], 1000), (jobs[3], 2000)):
        with exclusive(job.folder):
            pass
        os.utime(next(job.folder.glob(".*.lock")), (began, began))
    assert [job.name for job in in_turn(jobs)] == ["field_1", "field_2", "field_3", "field_0"]


def test_a_server_that_is_away_or_busy_is_waited_for_and_other_errors_are_not():
    request = httpx.Request("POST", "http://127.0.0.1/api/task_runs/")

    def status(code):
        return httpx.HTTPStatusError("", request=request, response=httpx.Response(code))

    assert all(server_is_away(error) for error in (status(503), status(500), httpx.ConnectError("refused")))
    assert not any(server_is_away(result) for result in (status(404), status(422), ValueError("503"), None))
