"""What stands in `deployments/`: every file is what it should be, and schedules fire with a real server and worker."""

import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
import rasterio
import yaml
from prefect.cli.deploy._models import ConcurrencyLimitSpec, DeploymentConfig, RawScheduleConfig
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.templating import apply_values
from prefect_server import BIN, ROOT, ask, find, until

from eeflow.campaign import load_campaign
from eeflow.jobfile import load_job
from eelocal import LocalEarthEngine
from flows.deploying import PREFECT_FILE, built, read_deployments

FOLDER = ROOT / "deployments"
FILE = FOLDER / "prefect.yaml"
DEPLOYMENTS = yaml.safe_load(FILE.read_text())["deployments"]
RUN_SECONDS = 300  # the worker starts a process for each run while other tests keep the machine busy


def by_name(deployment):
    return deployment["name"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("jobs/*.yaml")), ids=lambda path: path.stem)
def test_every_job_loads(path):
    assert load_job(path).name


@pytest.mark.parametrize("path", sorted(FOLDER.glob("campaigns/*.yaml")), ids=lambda path: path.stem)
def test_every_campaign_loads(path):
    names = [job.name for job in load_campaign(path).make_jobs()]
    assert len(names) == len(set(names)) == {"herne-fields": 20, "two-farms": 8}[path.stem]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=by_name)
def test_every_deployment_is_what_prefect_takes(deployment, monkeypatch):
    """Prefect ignores keys it does not know, and deploys flows whose imports fail: both are caught here."""
    monkeypatch.chdir(ROOT)
    assert set(deployment) <= set(DeploymentConfig.model_fields)
    assert set(deployment.get("concurrency_limit", {})) <= set(ConcurrencyLimitSpec.model_fields)
    assert deployment["description"]
    assert deployment["tags"]
    for schedule in deployment.get("schedules", ()):
        RawScheduleConfig.model_validate(schedule)  # forbids what it does not know
        assert schedule["slug"]
        assert "timezone" in schedule or "interval" in schedule
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    parameters = apply_values(deployment.get("parameters", {}), built(deployment))
    assert "{{" not in str(parameters)
    schema = flow.parameters.model_dump()
    jsonschema.validate(parameters, schema | {"required": schema["required"] if parameters else []})
    if parameters:
        assert flow.validate_parameters(parameters)


def test_schedules_of_every_kind_and_one_run_at_a_time():
    schedules = [schedule for deployment in DEPLOYMENTS for schedule in deployment.get("schedules", ())]
    assert {key for schedule in schedules for key in schedule} >= {"cron", "timezone", "interval", "rrule"}
    limits = [deployment["concurrency_limit"] for deployment in DEPLOYMENTS if deployment.get("schedules")]
    assert limits
    assert all(limit == {"limit": 1, "collision_strategy": "CANCEL_NEW"} for limit in limits)


def test_what_is_served_is_what_is_deployed(monkeypatch):
    monkeypatch.chdir(ROOT)
    served = {deployment.name: deployment for deployment in read_deployments(PREFECT_FILE)}
    assert list(served) == [deployment["name"] for deployment in DEPLOYMENTS]
    weekly = served["herne-weekly"]
    assert weekly.parameters["job"]["dates"] == {"last": "60d"}
    assert (weekly.schedules[0].schedule.cron, weekly.schedules[0].schedule.timezone) == (
        "0 6 * * 1",
        "Europe/Brussels",
    )
    assert (weekly.concurrency_limit, weekly.concurrency_options.collision_strategy.value) == (1, "CANCEL_NEW")
    assert not served["herne-farm"].schedules[0].active


def test_a_schedule_fires_and_leaves_a_geotiff(deployed):
    """The shipped deployment, of fewer scenes and every three seconds, after a run that died unnoticed."""
    clone, environment = deployed
    job = yaml.safe_load((FOLDER / "jobs/herne-farm.yaml").read_text())
    job |= {"name": "every-three-seconds", "bands": ["B4"], "dates": {"start": "2024-05-01", "end": "2024-05-11"}}
    (clone / "job.yaml").write_text(yaml.safe_dump(job))
    shipped = next(deployment for deployment in DEPLOYMENTS if deployment["name"] == "herne-farm")
    shipped |= {"name": job["name"], "build": [{"flows.deploying.job": {"file": "job.yaml"}}]}
    shipped |= {"schedules": [{"slug": "often", "interval": 3}]}
    (clone / "often.yaml").write_text(yaml.safe_dump({"deployments": [shipped]}))
    command = [BIN / "prefect", "deploy", "--all", "--prefect-file", "often.yaml"]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    dead = begin_and_forget(environment, job["name"])
    try:
        runs = wait_for_runs(environment, job["name"], 2)
    finally:
        pause(environment, job["name"])
    marked = next(run for run in runs if run["id"] == dead)
    assert (marked["state_name"], marked["state"]["message"]) == ("Crashed", "It was killed: a later run has its slot.")
    runs.remove(marked)
    assert {run["name"] for run in runs} == {"every-three-seconds 2024-05-01 to 2024-05-10"}
    assert all(run["auto_scheduled"] and run["state_type"] == "COMPLETED" for run in runs)
    paths = sorted((clone / "data/every-three-seconds").glob("*.tif"))
    assert paths
    with rasterio.open(paths[0]) as raster:
        assert raster.descriptions == ("B4",)
        assert raster.read_masks(1).any()
    reports = find(environment, "artifacts", {"artifacts": {"flow_run_id": {"any_": [run["id"] for run in runs]}}})
    first = next(report["data"] for report in reports if "written" in report["description"])
    assert f"[{paths[0].name}]({paths[0].as_uri()})" in first
    assert "](data:image/png;base64," in first


def test_serve_fires_ends_in_the_middle_of_a_run_and_goes_on(prefect_environment, tmp_path):
    """Told to end while a band comes slowly, then started again: each band is asked for once."""
    for name in ("flows", "tasks", "eeflow", "eelocal", "prefect.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    job = yaml.safe_load((FOLDER / "jobs/herne-farm.yaml").read_text())
    job |= {"name": "served", "bands": ["B4", "B8"], "dates": {"start": "2024-05-01", "end": "2024-05-06"}}
    job |= {"fan_out": "bands", "transport": "get_region"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    shipped = next(deployment for deployment in DEPLOYMENTS if deployment["name"] == "herne-weekly")
    shipped |= {"name": "served", "build": [{"flows.deploying.job": {"file": "job.yaml"}}]}
    shipped |= {"schedules": [{"slug": "often", "interval": 3}]}
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments/prefect.yaml").write_text(yaml.safe_dump({"deployments": [shipped]}))
    with LocalEarthEngine() as engine:
        environment = prefect_environment | {"EEFLOW_EE_URL": engine.url, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
        slow = engine.faults.add("slow_body", operation="getRegion", contains='"B8"', seconds=4, count=1)
        serve(tmp_path, environment, signal.SIGTERM, lambda: engine.faults.used(slow))
        states = Counter(run["state_type"] for run in runs_of(environment, "served"))
        assert states["RUNNING"] == states["PENDING"] == 0, "the deployment is free for the next run"
        folder = tmp_path / "data/served"
        assert not list(folder.glob("*.tif*"))
        serve(tmp_path, environment, signal.SIGINT, lambda: list(folder.glob("*.tif")))
        assert engine.faults.snapshot()["faults"][0]["seen"] == 1
    with rasterio.open(next(folder.glob("*.tif"))) as raster:
        assert raster.descriptions == ("B4", "B8")


def serve(folder, environment, number, ask):
    """`eeflow serve` until something is so, then the signal; it ends well and without a traceback."""
    with (folder / "serve.log").open("w+") as log:
        served = subprocess.Popen([BIN / "eeflow", "serve"], cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            until(RUN_SECONDS, ask, (folder / "serve.log").read_text)
        finally:
            served.send_signal(number)
            served.wait(timeout=60)
        log.seek(0)
        told = log.read()
    assert served.returncode == 0, told
    assert "Traceback" not in told
    assert "never awaited" not in told


def runs_of(environment, deployment):
    return find(environment, "flow_runs", {"deployments": {"name": {"any_": [deployment]}}})


def wait_for_runs(environment, deployment, count):
    """So many runs of a deployment that have ended and were not cancelled for another."""
    wanted = {"deployments": {"name": {"any_": [deployment]}}, "sort": "START_TIME_ASC"}

    def runs():
        return find(environment, "flow_runs", wanted)

    def ended():
        found = [run for run in runs() if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"}]
        return found if len(found) >= count else []

    return until(RUN_SECONDS, ended, lambda: [(run["name"], run["state_name"]) for run in runs()])


def begin_and_forget(environment, deployment):
    """A run of a deployment that looks as if it were under way, as one does whose machine was switched off; its id."""
    (found,) = find(environment, "deployments", {"deployments": {"name": {"any_": [deployment]}}})
    url = f"{environment['PREFECT_API_URL']}/deployments/{found['id']}/create_flow_run"
    return ask("POST", url, {"state": {"type": "RUNNING"}})["id"]


def pause(environment, deployment):
    for found in find(environment, "deployments", {"deployments": {"name": {"any_": [deployment]}}}):
        url = f"{environment['PREFECT_API_URL']}/deployments/{found['id']}"
        ask("PATCH", url, {"paused": True})


def test_the_image_and_the_compose_file_fit_together():
    """No engine runs here: what can be read is checked."""
    folder = FOLDER / "docker"
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    services, volumes = compose["services"], compose["volumes"]
    assert {"database", "server", "worker"} <= set(services)
    for name, service in services.items():
        assert ("image" in service) or ("build" in service), name
        for other in service.get("depends_on", {}):
            assert other in services, f"{name} depends on {other}"
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in volumes or source.startswith("."), f"{name} mounts {source}"
        if "build" in service:
            context = (folder / service["build"]["context"]).resolve()
            assert context == ROOT
            assert (context / service["build"]["dockerfile"]) == folder / "Dockerfile"
    dockerfile = (folder / "Dockerfile").read_text()
    images = [s["image"] for s in services.values() if "build" not in s] + re.findall(r"^FROM (\S+)", dockerfile, re.M)
    for image in images:
        assert re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+)?:\d[\w.-]+", image), (
            f"{image} is not pinned on the default registry"
        )
    for sources in re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", dockerfile, re.M):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    ignored = (folder / "Dockerfile.dockerignore").read_text().split()
    assert {".git", ".venv", ".env"} <= set(ignored)
    assert "password" not in {str(v).lower() for s in services.values() for v in (s.get("environment") or {}).values()}
    assert not Path(folder / ".env").exists()
