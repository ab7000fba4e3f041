"""Slots of the limit that all runs share: fair shares, grown and shrunk as processes come and go, never too many."""

import contextlib
import json
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_server import ROOT, until

from eeflow.gate import Gate
from tasks import slots
from tasks.slots import Keeper

LIMIT = 10
PATIENCE = 40
HOLDS_THREE = """
import sys
from eeflow.session import current_gate
from tasks.slots import leased_slots
with leased_slots(), current_gate().slot(), current_gate().slot(), current_gate().slot():
    print("three are in flight", flush=True)
    sys.stdin.read()
"""


class Process:
    """What one process does: a gate, its keeper, and as many requests as it may have, until it is told to end."""

    def __init__(self, name, requests, together):
        self.gate = Gate(LIMIT)
        self.keeper = Keeper(self.gate, name, f"{name}-runs")
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(together,)) for _ in range(requests)]
        for thread in self._threads:
            thread.start()

    def _ask(self, together):
        while not self._end.is_set():
            with self.gate.slot(), together:
                self._end.wait(0.02)  # what a request takes

    def rest(self):
        self._end.set()

    def end(self):
        self.rest()
        self.keeper.end()
        self.keeper.join()  # after which whoever still waits is let in
        for thread in self._threads:
            thread.join()


class Together:
    """Counts the requests of all processes that are in flight."""

    def __init__(self):
        self.now = self.peak = 0
        self._lock = threading.Lock()

    def __enter__(self):
        with self._lock:
            self.now += 1
            self.peak = max(self.peak, self.now)

    def __exit__(self, *_):
        with self._lock:
            self.now -= 1


@pytest.fixture
def server(prefect_environment):
    with (
        temporary_settings({PREFECT_API_URL: prefect_environment["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        yield client


def eventually(client, name, condition):
    """Waits until it is so."""
    until(PATIENCE, condition, lambda: f"{client.read_global_concurrency_limit_by_name(name).active_slots} taken")


def test_processes_share_fairly_and_give_back(server, monkeypatch):
    monkeypatch.setattr(slots, "_MEMORY_SECONDS", 0.5)
    name, together = "test-shares", Together()
    server.upsert_global_concurrency_limit_by_name(name, LIMIT)

    def taken(which=name):
        return server.read_global_concurrency_limit_by_name(which).active_slots

    with contextlib.ExitStack() as ending:
        first = Process(name, 2 * LIMIT, together)
        ending.callback(first.end)
        eventually(server, name, lambda: first.keeper.held == LIMIT)
        second = Process(name, 2 * LIMIT, together)
        ending.callback(second.end)
        eventually(server, name, lambda: first.keeper.held == second.keeper.held == LIMIT // 2)
        modest = Process(name, 1, together)
        ending.callback(modest.end)
        # Of ten slots one for the modest, a third for each of the others, and what is left but for the reserve.
        eventually(server, name, lambda: modest.keeper.held == 1 and first.keeper.held + second.keeper.held >= 8)
        modest.rest()
        second.rest()
        eventually(server, name, lambda: second.keeper.held == 0 and first.keeper.held >= LIMIT - 1)
        assert taken(f"{name}-runs") <= 2
    assert together.peak <= LIMIT
    assert taken() == 0
    assert taken(f"{name}-runs") == 0


def test_slots_that_others_hold_are_waited_for(server):
    """As those of a killed run are, until its lease ends."""
    name, together = "test-wait", Together()
    server.upsert_global_concurrency_limit_by_name(name, LIMIT)
    answer = server.increment_concurrency_slots_with_lease([name], LIMIT, "concurrency", 60)
    waiting = Process(name, 3, together)
    try:
        eventually(server, name, lambda: waiting.gate.wanted == 3)
        eventually(server, name, lambda: waiting.keeper._registered)
        assert together.peak == 0
        server.release_concurrency_slots_with_lease(answer.json()["lease_id"])
        eventually(server, name, lambda: together.peak == 3)
    finally:
        waiting.end()


def test_a_lost_lease_is_taken_anew(server, monkeypatch):
    monkeypatch.setattr(slots, "_RENEW_SECONDS", 0.1)
    name, together = "test-lost", Together()
    server.upsert_global_concurrency_limit_by_name(name, LIMIT)
    process = Process(name, LIMIT, together)
    try:
        eventually(server, name, lambda: process.keeper.held == LIMIT)
        lost = list(process.keeper._leases)
        for lease in lost:
            server.release_concurrency_slots_with_lease(lease.lease_id)
        eventually(
            server,
            name,
            lambda: (
                process.keeper.held == LIMIT and not {id(x) for x in lost} & {id(x) for x in process.keeper._leases}
            ),
        )
    finally:
        process.end()
    assert together.peak <= LIMIT
    assert server.read_global_concurrency_limit_by_name(name).active_slots == 0


def test_slots_of_a_killed_process_come_back_when_its_leases_end(server, prefect_environment):
    settings = {"EEFLOW_EE_URL": "http://127.0.0.1:9", "EEFLOW_EE_PROJECT": "killed", "EEFLOW_MAX_CONCURRENT": "4"}
    name, register = "earth-engine-killed", "earth-engine-killed-runs"

    def taken(which=name):
        return server.read_global_concurrency_limit_by_name(which).active_slots

    command, pipes = [sys.executable, "-c", HOLDS_THREE], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=prefect_environment | settings, **pipes) as run:
        assert run.stdout.readline()
        run.kill()
    assert taken() >= 3
    assert taken(register) == 1
    limits = {str(server.read_global_concurrency_limit_by_name(which).id) for which in (name, register)}
    let_time_pass(prefect_environment, limits, timedelta(seconds=slots._LEASE_SECONDS))
    eventually(server, name, lambda: taken() == taken(register) == 0)
    together = Together()
    following = Process(name, 4, together)
    try:
        eventually(server, name, lambda: together.peak == 4)
    finally:
        following.end()


def let_time_pass(environment, limits, passed):
    """Makes the leases of limits older where the server keeps them, on its disk."""
    folder = Path(environment["PREFECT_HOME"]) / "concurrency_leases"
    index = json.loads((folder / "expirations.json").read_text())
    for lease_id in index:
        path = folder / f"{lease_id}.json"
        lease = json.loads(path.read_text())
        if limits & set(lease["resource_ids"]):
            index[lease_id] = lease["expiration"] = str(datetime.fromisoformat(lease["expiration"]) - passed)
            path.write_text(json.dumps(lease))
    (folder / "expirations.json").write_text(json.dumps(index))
