"""Overlapping areas of a campaign: each scene is asked for once, and what is on disk is what jobs alone write."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from commands import Commands, day_of
from prefect_server import until

from eeflow.output import exclusive
from eelocal import LocalEarthEngine

EEFLOW = Path(sys.executable).parent / "eeflow"
COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
DAYS = ["20240504", "20240509", "20240514", "20240519"]  # when Sentinel-2 passes there
# Three that overlap, the last one only the second; and one beside them.
AREAS = {
    "one": [4.000, 50.700, 4.006, 50.704],
    "two": [4.003, 50.702, 4.009, 50.706],
    "three": [4.007, 50.703, 4.012, 50.707],
    "apart": [4.030, 50.700, 4.034, 50.703],
}


@pytest.fixture(scope="module")
def engine():
    with LocalEarthEngine() as running:
        yield running


@pytest.fixture(scope="module")
def environment(engine, prefect_environment):
    return prefect_environment | {"EEFLOW_EE_URL": engine.url, "EEFLOW_EE_PROJECT": "sharing"}


@pytest.fixture(scope="module")
def commands(environment):
    with Commands(environment) as running:
        yield running


@pytest.fixture(autouse=True)
def no_faults(engine):
    engine.faults.clear()


def write(folder, areas, mode="download", **defaults):
    content = {
        "mode": mode,
        "defaults": {
            "collection": COLLECTION,
            "bands": ["B4", "B8", "SCL"],
            "dates": {"start": "2024-05-01", "end": "2024-05-20"},
            "output": {"root": str(folder / "data"), "quicklook": False, "stac": False},
            **defaults,
        },
        "jobs": [{"name": name, "aoi": {"bbox": box}} for name, box in areas.items()],
    }
    path = folder / "fields.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def watch(engine, days=DAYS):
    """Counts the requests for the pixels of each day, and lets them be; call it for the counts so far."""
    kinds = ("getRegion", "computePixels")
    ids = {
        (day, kind): engine.faults.add("500", operation=kind, contains=f"{day}T", count=0)
        for day in days
        for kind in kinds
    }

    def counts():
        seen = {fault["id"]: fault["seen"] for fault in engine.faults.snapshot()["faults"]}
        return {day: sum(seen[ids[day, kind]] for kind in kinds) for day in days}

    return counts


def blocks(root):
    return list(root.rglob("*.npz"))


def rasters(root):
    """By name, values, masks and place of each GeoTIFF."""
    found = {}
    for path in root.rglob("*.tif"):
        with rasterio.open(path) as raster:
            found[path.name] = raster.read(), raster.read_masks(), tuple(raster.transform), raster.descriptions
    return found


def check_same(root, other):
    """The GeoTIFFs of two folders are the same, pixel by pixel."""
    here, there = rasters(root), rasters(other)
    assert here.keys() == there.keys()
    for name, (values, masks, *place) in here.items():
        assert place == list(there[name][2:]), name
        np.testing.assert_array_equal(masks, there[name][1], err_msg=name)
        np.testing.assert_array_equal(values, there[name][0], err_msg=name)
    return here


def alone(commands, folder, campaign):
    """The root of the same jobs, none of which shares with another."""
    content = yaml.safe_load(campaign.read_text())
    for number, job in enumerate(content["jobs"]):
        job["workload_tag"] = f"alone-{number}"
    campaign.write_text(yaml.safe_dump(content))
    done = commands("campaign", campaign, "--out", folder / "alone", "--json")
    assert done.code == 0, done.stderr
    return folder / "alone"


def test_each_scene_is_asked_for_once_and_every_file_is_that_of_its_job_alone(tmp_path, engine, commands):
    root = tmp_path / "data"
    campaign = write(tmp_path, AREAS, mode="sync")
    late = engine.faults.add("scene_late", scene=f"{COLLECTION}/{DAYS[3]}*")
    asked = watch(engine)
    done = commands("campaign", campaign, "--json")
    assert done.code == 0, done.stderr
    assert [p["status"] for p in done.report["products"]] == ["written"] * 12
    # Those three together, and the one beside them.
    assert asked() == dict.fromkeys(DAYS[:3], 2) | {DAYS[3]: 0}
    assert blocks(root) == []
    own = {job["job"]: job["requests"] for job in done.report["jobs"]}
    assert own.pop("apart") <= 1 + 3, "the listing, and at most a request a scene"
    assert set(own.values()) == {0}, "theirs are the campaign's"

    before = engine.counts["value:compute"]
    again = commands("campaign", campaign, "--json")
    assert {p["status"] for p in again.report["products"]} == {"present"}
    assert again.report["requests"] == engine.counts["value:compute"] - before == len(AREAS), "the listings alone"

    engine.faults.end(late)
    later = commands("campaign", campaign, "--json")
    assert {day_of(p["path"]) for p in later.report["products"] if p["status"] == "written"} == {DAYS[3]}
    assert asked() == dict.fromkeys(DAYS, 2)

    engine.faults.clear()
    assert len(check_same(root, alone(commands, tmp_path, campaign))) == 16


# Of these days the 24th of April is too cloudy over the third area alone, the 29th over all but the third, the 9th and
# the 24th of May over all three. Each area looks at the clouds of all days itself, in one request.
LOOKED = {"20240424": 3, "20240429": 3, "20240504": 3, "20240509": 3, "20240514": 3, "20240519": 3, "20240524": 3}
SHARED_DAYS = {"20240424": 1, "20240429": 1, "20240504": 1, "20240514": 1, "20240519": 1}
# The first two areas have the same composite, the third has another.
SHARED_COMPOSITES = {"20240424": 1, "20240429": 1, "20240504": 2, "20240514": 2, "20240519": 2}


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ({"product": {"kind": "day"}, "transport": "compute_pixels"}, SHARED_DAYS),
        ({"product": {"kind": "composite", "min_valid_fraction": 0.2}}, SHARED_COMPOSITES),
    ],
    ids=["days by computePixels", "composites"],
)
def test_clouds_are_judged_over_each_area_itself(tmp_path, engine, commands, changes, shared):
    areas = {name: box for name, box in AREAS.items() if name != "apart"}
    dates = {"start": "2024-04-20", "end": "2024-05-26"}
    campaign = write(tmp_path, areas, clouds={"method": "scl", "max_fraction": 0.09}, dates=dates, **changes)
    asked = watch(engine, LOOKED)
    done = commands("campaign", campaign, "--json")
    assert done.code == 0, done.stderr
    assert asked() == {day: count + shared.get(day, 0) for day, count in LOOKED.items()}
    assert check_same(tmp_path / "data", alone(commands, tmp_path, campaign))


def test_areas_that_fail_leave_the_others_what_they_share(tmp_path, engine, commands):
    """One is no polygon, one is being written by another run; it lies where the first one does."""
    bow = [[4.001, 50.701], [4.004, 50.704], [4.004, 50.701], [4.001, 50.704], [4.001, 50.701]]
    campaign = write(tmp_path, {"one": AREAS["one"], "two": AREAS["two"], "busy": AREAS["one"]})
    content = yaml.safe_load(campaign.read_text())
    content["jobs"].append({"name": "bow", "aoi": {"geojson": {"type": "Polygon", "coordinates": [bow]}}})
    campaign.write_text(yaml.safe_dump(content))
    asked = watch(engine)
    with exclusive(tmp_path / "data" / "busy"):
        done = commands("campaign", campaign, "--json")
    assert done.code == 3
    statuses = {job["job"]: job["status"] for job in done.report["jobs"]}
    assert statuses == {"one": "done", "two": "done", "busy": "failed", "bow": "failed"}
    assert asked() == dict.fromkeys(DAYS, 1)
    assert commands("campaign", campaign, "--only", "busy", "--json").code == 0
    assert asked() == dict.fromkeys(DAYS, 2)
    assert len(rasters(tmp_path / "data")) == 12


def test_when_what_is_shared_fails_each_area_fetches_for_itself(tmp_path, engine, commands):
    areas = {name: AREAS[name] for name in ("one", "two")}
    campaign = write(tmp_path, areas, transport="get_region")
    asked = watch(engine)
    engine.faults.add("429", operation="getRegion", message="Project is not registered.", count=1)
    done = commands("campaign", campaign, "--json")
    assert done.code == 0, done.stderr
    assert len(rasters(tmp_path / "data")) == 8
    assert max(asked().values()) == 3, "of them together, and of each"
    assert blocks(tmp_path) == []


def test_a_killed_one_goes_on_with_what_it_fetched(tmp_path, engine, environment, commands):
    """One request a band: the first is answered, the second hangs until the campaign is killed."""
    areas = {name: AREAS[name] for name in ("one", "two")}
    campaign = write(tmp_path, areas, fan_out="bands", transport="get_region", bands=["B2", "B4"])
    answered = engine.faults.add("500", operation="getRegion", contains='"B2"', count=0)
    hung = engine.faults.add("slow_body", operation="getRegion", contains='"B4"', seconds=60)
    first = subprocess.Popen([EEFLOW, "campaign", campaign], env=environment, start_new_session=True)
    try:
        until(
            120,
            lambda: len(blocks(tmp_path)) == len(DAYS) and engine.faults.used(hung),
            lambda: "the first band's blocks and the second's request are not there",
        )
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    seen = {fault["id"]: fault["seen"] for fault in engine.faults.snapshot()["faults"]}
    engine.faults.end(hung)
    done = commands("campaign", campaign, "--json")
    assert [p["status"] for p in done.report["products"]] == ["written"] * 8, done.stderr
    after = {fault["id"]: fault["seen"] for fault in engine.faults.snapshot()["faults"]}
    assert after[answered] == seen[answered], "what the killed one had is not asked for again"
    assert blocks(tmp_path) == []
