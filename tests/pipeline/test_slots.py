"""Slots of the limit that all runs share: fair shares, grown and shrunk as processes come and go, never too many."""

import contextlib
import threading

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_server import until

from eeflow.gate import Gate
from tasks import slots
from tasks.slots import Keeper

LIMIT = 10
PATIENCE = 40


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
