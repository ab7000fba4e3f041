"""`eeflow doctor`: what is right, what is not and what to do, and never a wait without an end."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from answering import answering
from packaging.requirements import Requirement

from eelocal import LocalEarthEngine
from flows import doctor

EEFLOW = Path(sys.executable).parent / "eeflow"
NEEDED = ["python", "packages", "disk", "cache", "ledger", "limits", "endpoint", "credentials", "clock", "getRegion"]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith(("EEFLOW_", "PREFECT_API"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(environment, *arguments):
    done = subprocess.run([EEFLOW, "doctor", *arguments], env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_everything_is_right_with_a_local_earth_engine_and_a_server(prefect_environment, tmp_path):
    with LocalEarthEngine(world=False) as engine:
        code, text = run(prefect_environment | {"EEFLOW_EE_URL": engine.url}, "--json", "--out", str(tmp_path))
        assert code == 0, text
        asked = engine.counts
    found = json.loads(text)
    assert found["fine"]
    assert "wrong" not in {finding["status"] for finding in found["findings"]}
    assert [finding["name"] for finding in found["findings"]] == [*NEEDED, "prefect", "shared limit"]
    assert asked["value:compute"] == 1


def test_nothing_listening_is_named_with_its_fix(clean_environment, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}"
    environment = clean_environment | {"EEFLOW_EE_URL": nowhere, "PREFECT_API_URL": f"{nowhere}/api"}
    code, text = run(environment, "--out", str(tmp_path))
    assert code == 1
    wrong = [line for line in text.splitlines() if line.startswith("wrong")]
    assert [line.split()[1] for line in wrong] == ["endpoint", "prefect"]
    assert nowhere in wrong[0]
    assert "-> Start it (prefect server start), or unset PREFECT_API_URL." in text


def test_a_key_of_somewhere_else_is_wrong_credentials(monkeypatch, tmp_path):
    with (
        LocalEarthEngine(world=False, oauth=tmp_path / "here.json") as here,
        LocalEarthEngine(world=False, oauth=tmp_path / "there.json"),
    ):
        monkeypatch.setenv("EEFLOW_EE_URL", here.url)
        monkeypatch.setenv("EEFLOW_EE_PROJECT", "local-project")
        monkeypatch.setenv("EEFLOW_EE_CREDENTIALS", "there.json")
        wrong = by_name(doctor.examine(tmp_path))
        monkeypatch.setenv("EEFLOW_EE_CREDENTIALS", "here.json")
        right = by_name(doctor.examine(tmp_path))
    assert wrong["credentials"].status == "wrong"
    assert "401" in wrong["credentials"].found
    assert "getRegion" not in wrong
    assert right["credentials"].found == "service account of here.json; project local-project"
    assert right["getRegion"].status == "ok"


def test_a_silent_endpoint_is_not_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "ANSWER_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("EEFLOW_EE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        found = by_name(doctor.examine(tmp_path))
        assert time.monotonic() - started < 10
    assert (found["endpoint"].status, found["endpoint"].found) == ("wrong", "no answer after 0.2 s")
    assert "getRegion" not in found


def test_a_wrong_clock_is_told(monkeypatch):
    def answer(handler):
        handler.send_response_only(404)
        handler.send_header("Date", handler.date_time_string(time.time() - 600))
        handler.end_headers()

    with answering(answer) as url:
        monkeypatch.setenv("EEFLOW_EE_URL", url)
        finding, _ = doctor._clock(doctor.load_settings())
    assert finding.status == "wrong"
    assert 595 <= int(finding.found.split()[0]) <= 605
    assert "ahead of" in finding.found


def test_a_version_known_not_to_work_is_named():
    assert doctor._mismatch(Requirement("numpy")) == ""
    assert doctor._mismatch(Requirement("numpy<1")).endswith("; known to work is <1")
    assert doctor._mismatch(Requirement("no-such-package")) == "no-such-package is not installed"


def test_a_folder_that_cannot_be_and_a_damaged_ledger_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("EEFLOW_EE_URL", "ftp://x")  # so that nothing is asked
    (tmp_path / "farm").mkdir()
    (tmp_path / "farm" / "ledger.sqlite").write_bytes(b"no database" * 99)
    (tmp_path / "file").touch()
    found = list(doctor.examine(tmp_path))
    assert [(finding.name, finding.status) for finding in found if finding.status == "wrong"] == [
        ("ledger", "wrong"),
        ("settings", "wrong"),
    ]
    assert by_name(doctor.examine(tmp_path / "file" / "data"))["disk"].status == "wrong"
