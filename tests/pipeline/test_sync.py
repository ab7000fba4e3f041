"""`eeflow sync`: late, reprocessed and vanished scenes; nothing is asked for twice, and nothing is forgotten."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rasterio
import yaml
from commands import Commands
from prefect_server import find, until

from eeflow.budget import Budget
from eeflow.ledger import Ledger
from eelocal import LocalEarthEngine

EEFLOW = Path(sys.executable).parent / "eeflow"
COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
DAYS = ["20240504", "20240509", "20240514", "20240519"]  # when Sentinel-2 passes there
JOB = {
    "name": "farm",
    "aoi": {"bbox": [4.0, 50.70, 4.004, 50.703]},
    "collection": COLLECTION,
    "bands": ["B4", "B8"],
    "dates": {"start": "2024-05-01", "end": "2024-05-20"},
    "output": {"root": "data", "quicklook": False, "stac": False},
    "workload_tag": "farm-sync",
}


@pytest.fixture(scope="module")
def engine():
    with LocalEarthEngine() as running:
        yield running


@pytest.fixture(autouse=True)
def no_faults(engine):
    engine.faults.clear()


@pytest.fixture(scope="module")
def environment(engine, prefect_environment):
    return prefect_environment | {"EEFLOW_EE_URL": engine.url, "EEFLOW_EE_PROJECT": "sync"}


@pytest.fixture(scope="module")
def commands(environment):
    with Commands(environment) as running:
        yield running


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "farm"


def write(tmp_path, **changes):
    """The job's file, with a root of the test's own."""
    content = JOB | changes
    content["output"] = JOB["output"] | {"root": str(tmp_path / "data")} | changes.get("output", {})
    path = tmp_path / "farm.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def watch(engine, day):
    """Counts the requests for the pixels of a day, and lets them be; call it for the count."""
    fault = engine.faults.add("500", operation="getRegion", contains=f"{day}T", count=0)
    return lambda: next(f["seen"] for f in engine.faults.snapshot()["faults"] if f["id"] == fault)


def late(engine, day):
    return engine.faults.add("scene_late", scene=f"{COLLECTION}/{day}*")


def files(folder):
    return {path.name[5:13]: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.tif")}


def pixels(path):
    with rasterio.open(path) as raster:
        return raster.read().astype(int)


def test_fetches_what_is_new_late_or_changed_and_nothing_else(tmp_path, engine, commands, folder):
    job = write(tmp_path)
    asked = {day: watch(engine, day) for day in DAYS}
    tagged = engine.faults.add("500", operation="value:compute", contains='"workloadTag":"farm-sync"', count=0)
    computed = engine.counts["value:compute"]
    missing, gone = late(engine, DAYS[1]), late(engine, DAYS[3])
    first = commands("sync", job, "--json")
    assert first.changes == {DAYS[0]: "new", DAYS[2]: "new"}, first.stderr
    engine.faults.end(missing)
    engine.faults.end(gone)
    plan = commands("sync", job, "--dry-run", "--json").report
    assert (plan["scenes"], plan["present"], len(files(folder))) == (4, 2, 2)
    second = commands("sync", job, "--json")
    assert second.statuses == dict(zip(DAYS, ["present", "written", "present", "written"], strict=True))
    assert second.changes == {DAYS[1]: "late", DAYS[3]: "new"}
    assert {day: count() for day, count in asked.items()} == dict.fromkeys(DAYS, 1)
    before = engine.counts["value:compute"]
    third = commands("sync", job, "--json")
    assert set(third.statuses.values()) == {"present"}
    assert third.report["requests"] == 1
    assert engine.counts["value:compute"] == before + 1, "the listing alone"

    engine.faults.add("scene_late", scene=f"{COLLECTION}/{DAYS[0]}*")
    vanished = commands("sync", job, "--json")
    assert [Path(path).name[5:13] for path in vanished.report["disappeared"]] == [DAYS[0]]
    assert vanished.report["requests"] == 1
    assert "1 not listed any more" in commands("sync", job).stdout
    assert set(files(folder)) == set(DAYS), "it is kept"
    seen = next(f["seen"] for f in engine.faults.snapshot()["faults"] if f["id"] == tagged)
    assert seen == engine.counts["value:compute"] - computed, "each request carries the workload tag"


def test_a_reprocessed_scene_takes_the_place_of_the_old_or_puts_it_aside(tmp_path, engine, commands, folder):
    job = write(tmp_path, output={"stac": True})
    commands("sync", job)
    old = files(folder)
    path = next(folder.glob(f"farm_{DAYS[2]}*.tif"))
    was, version = pixels(path), Ledger(folder).by_product_id()
    version = next(entry.versions[0] for entry in version.values() if entry.path == path.name)

    asked = watch(engine, DAYS[2])
    fault = engine.faults.add("scene_version", scene=f"{COLLECTION}/{DAYS[2]}*", by=5, add=7)
    kept = commands("sync", job, "--json", "--set", "sync.replaced=keep")
    assert kept.changes == {DAYS[2]: "changed"}, kept.stderr
    assert (pixels(path) == was + 7).all()
    aside = folder / "replaced" / f"{path.stem}_v{version}.tif"
    assert hashlib.sha256(aside.read_bytes()).hexdigest() == old[DAYS[2]]
    rows = {entry.path: entry for entry in Ledger(folder).rows()}
    assert rows[f"replaced/{aside.name}"].status == "replaced"
    assert rows[f"replaced/{aside.name}"].versions == (version,)
    assert rows[path.name].versions == (version + 5,)
    assert {day: sha for day, sha in files(folder).items() if day != DAYS[2]} == {
        day: sha for day, sha in old.items() if day != DAYS[2]
    }
    assert commands("verify", folder).code == 0

    engine.faults.end(fault)
    engine.faults.add("scene_version", scene=f"{COLLECTION}/{DAYS[2]}*", by=9, add=11)
    assert commands("sync", job, "--json").changes == {DAYS[2]: "changed"}
    assert (pixels(path) == was + 11).all()
    assert [found.name for found in (folder / "replaced").iterdir()] == [aside.name], "the second one is not kept"
    assert asked() == 2
    assert commands("verify", folder).code == 0


def test_what_was_rejected_is_asked_for_again_only_in_another_version(tmp_path, engine, commands, folder):
    clouded = {"method": "scl", "mask": True}
    everything = write(tmp_path, name="all", clouds=clouded)
    report = commands("sync", everything, "--json").report
    shares = {Path(p["path"]).name[4:12]: p["valid_fraction"] for p in report["products"]}
    least = sorted(shares.values())[-1]
    poor = sorted(day for day, share in shares.items() if share < least)
    assert poor, "the world's weather has both"

    asked = {day: watch(engine, day) for day in DAYS}
    job = write(tmp_path, clouds=clouded, product={"min_valid_fraction": least})
    first = commands("sync", job, "--json")
    assert first.code == 0
    assert sorted(day for day, status in first.statuses.items() if status == "rejected") == poor
    assert set(files(folder)) == set(DAYS) - set(poor)
    row = next(entry for entry in Ledger(folder).rows() if entry.status == "rejected")
    assert (row.error_kind, row.stage) == ("few_valid", "write")
    assert f"product.min_valid_fraction is {least:.1%}" in row.reason
    again = commands("sync", job, "--json")
    assert again.statuses == {day: "rejected" if day in poor else "present" for day in DAYS}
    assert again.report["requests"] == 1
    counts = {day: count() for day, count in asked.items()}

    engine.faults.add("scene_version", scene=f"{COLLECTION}/{poor[0]}*", by=1)
    commands("sync", job)
    assert {day: count() - counts[day] for day, count in asked.items()} == {day: int(day == poor[0]) for day in DAYS}
    commands("sync", job, "--set", "product.min_valid_fraction=0.0001")
    assert set(files(folder)) == {day for day in DAYS if shares[day] >= 0.0001}


def test_a_score_that_comes_later_is_noticed_and_one_that_is_known_is_not_asked_for(tmp_path, engine, commands):
    """The score of one scene is days late, as they are; the scene itself is there all the time."""
    job = write(tmp_path, bands=["B4"], clouds={"method": "cloud-score-plus"})
    missing = engine.faults.add("scene_late", scene=f"GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED/{DAYS[1]}*")
    first = commands("sync", job, "--json")
    assert first.statuses == dict(zip(DAYS, ["written", "rejected", "written", "written"], strict=True)), first.stderr
    scored = engine.counts["value:compute"]
    second = commands("sync", job, "--json")
    assert second.statuses == {day: "rejected" if day == DAYS[1] else "present" for day in DAYS}
    assert engine.counts["value:compute"] == scored + 2, "the listing, and the one score that was lacking"
    engine.faults.end(missing)
    assert commands("sync", job, "--json").changes == {DAYS[1]: "late"}
    nothing_new = commands("sync", job, "--json").report
    assert nothing_new["requests"] == 1, "the listing alone"


def test_what_retention_removes_is_not_asked_for_again(tmp_path, commands, folder):
    job = write(tmp_path, output={"quicklook": True, "stac": True})
    commands("sync", job)
    sizes = {p.name[5:13]: p.stat().st_size for p in folder.glob("*.tif")}
    others = sum(p.stat().st_size for p in folder.iterdir() if p.suffix != ".tif" and p.name[0] != ".")
    limit = f"retention.max_gib={(others + sum(sizes.values()) - 100) / 2**30:.12f}"
    dry = commands("prune", job, "--dry-run", "--json", "--set", limit).report
    assert [Path(row["path"]).name[5:13] for row in dry["removed"]] == DAYS[:1]
    assert set(files(folder)) == set(DAYS)
    assert "1 products removed" in commands("prune", job, "--set", limit).stdout
    assert {path.name[5:13] for path in folder.glob("farm_*")} == set(DAYS[1:])
    assert commands("verify", folder).code == 0
    links = [link["href"] for link in json.loads((folder / "collection.json").read_text())["links"]]
    assert not any(DAYS[0] in link for link in links)
    report = commands("sync", job, "--json").report
    assert report["requests"] == 1
    assert set(files(folder)) == set(DAYS[1:])

    old = commands("sync", job, "--json", "--set", "retention.keep=30d").report
    assert len(old["removed"]) == 3
    assert files(folder) == {}
    fresh = write(tmp_path, name="never", retention={"keep": "30d"})
    report = commands("sync", fresh, "--json").report
    assert (report["requests"], len(report["products"])) == (1, 4)
    rows = Ledger(tmp_path / "data" / "never").rows()
    assert [(row.status, row.reason) for row in rows] == [("rejected", "older than retention.keep 30d")] * 4


def test_the_months_budget_counts_everything_and_stops_before_it_spends(tmp_path, engine, environment):
    job = write(tmp_path)
    budget = Budget(tmp_path / "data" / ".eeflow", "budget")
    before = sum(engine.counts.values())
    logged = environment | {"EEFLOW_EE_PROJECT": "budget", "PREFECT_LOGGING_LEVEL": "INFO"}
    with Commands(logged) as commands:
        refused = commands("sync", job, "--set", "limits.max_requests_per_month=1")
        assert refused.code == 2
        assert "has sent 1 requests in" in refused.stderr
        assert "needs 1 more; limits.max_requests_per_month is 1" in refused.stderr
        assert sum(engine.counts.values()) == before + 1, "the listing"
        assert commands("sync", job, "--set", "limits.max_requests_per_month=1").code == 2
        assert sum(engine.counts.values()) == before + 1, "nothing at all"
        engine.faults.add("429", operation="getRegion", message="Project is not registered.", count=1)
        assert commands("sync", job).code == 1
        commands("sync", job)
        spent = budget.spent()
        assert spent.requests == sum(engine.counts.values()) - before
        assert spent.seconds > 0
        over = commands("sync", job, "--set", "limits.max_eecu_seconds_per_month=0.000001")
        assert over.code == 2
        assert f"EECU-seconds in {datetime.now(UTC):%Y-%m}" in over.stderr

        job = write(tmp_path, name="retried", fan_out="bands", transport="get_region")
        engine.faults.add("503", operation="getRegion", contains='"B4"', count=1)
        most = budget.spent().requests + 1 + 2  # the listing, and a request a band: none for trying again
        stopped = commands("sync", job, "--set", f"limits.max_requests_per_month={most}")
        assert stopped.code == 2
        assert f"and this run needs 1 more; limits.max_requests_per_month is {most:,}." in stopped.stderr
        assert sum(engine.counts.values()) - before == budget.spent().requests == most
        assert files(tmp_path / "data" / "retried") == {}
        assert set(commands("sync", job, "--json").statuses.values()) == {"written"}
        assert budget.spent().requests == most + 1 + 1, "the listing, and the band that was lacking"
    [failed] = [entry for entry in engine.log if entry.status == 503]
    logs = {"logs": {"level": {"ge_": 30}}, "sort": "TIMESTAMP_DESC"}
    told = [log["message"] for log in find(environment, "logs", logs) if failed.request_id in log["message"]]
    assert len(told) == 1
    assert re.match(r"request \w+ of retried, 20240504T\w+ and 3 more, B4, \d+ x \d+ pixels .* failed .* 503", told[0])


def test_restricted_mode_is_told(tmp_path, prefect_environment):
    job = write(tmp_path, dates={"start": "2024-05-01", "end": "2024-05-05"})
    with LocalEarthEngine(compute_quota=0) as engine:
        done = subprocess.run(
            [EEFLOW, "sync", job],
            env=prefect_environment | {"EEFLOW_EE_URL": engine.url, "EEFLOW_EE_PROJECT": "restricted"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "warning: Earth Engine has put the project into restricted mode" in done.stderr


def test_one_at_a_time_and_one_that_is_killed_is_gone_on_with(tmp_path, engine, commands, environment, folder):
    """One getRegion a band: the first is answered, the second hangs until the sync is killed."""
    job = write(tmp_path, fan_out="bands", transport="get_region", bands=["B2", "B4"])
    answered = engine.faults.add("500", operation="getRegion", contains='"B2"', count=0)
    hung = engine.faults.add("slow_body", operation="getRegion", contains='"B4"', seconds=60)
    first = subprocess.Popen([EEFLOW, "sync", job], env=environment, start_new_session=True, stderr=subprocess.PIPE)
    blocks = tmp_path / "data" / ".eeflow" / "blocks" / "farm"
    try:

        def reached():
            assert first.poll() is None, first.stderr.read()
            return len(list(blocks.rglob("*.npz"))) == len(DAYS) and engine.faults.used(hung)

        until(120, reached, lambda: "the first band's blocks and the second's request are not there")
        before = sum(engine.counts.values())
        second = commands("sync", job)
        assert second.code == 1
        assert f"is being written by another run (process {first.pid})" in second.stderr
        assert sum(engine.counts.values()) == before, "the second asks for nothing"
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    assert files(folder) == {}
    engine.faults.end(hung)
    done = commands("sync", job, "--json")
    assert set(done.statuses.values()) == {"written"}, done.stderr
    seen = {f["id"]: f["seen"] for f in engine.faults.snapshot()["faults"]}
    assert seen[answered] == 1, "what the killed one had is not asked for again"
    assert commands("verify", folder).code == 0
