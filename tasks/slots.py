"""How many requests all runs together may have open: slots of a Prefect global limit, leased in shares for a process.

A global limit costs tens of milliseconds to take and much more under contention, so a process takes a share of it for
a while and its gate shares that out among its requests.
"""

from __future__ import annotations

import atexit
import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import MissingContextError, ObjectAlreadyExists, ObjectNotFound
from prefect.logging import get_logger, get_run_logger
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from eeflow.gate import Gate
from eeflow.session import current_gate
from eeflow.settings import load_settings

_LEASE_SECONDS = 60  # the shortest Prefect allows; a killed run's slots come back when its lease ends
_RENEW_SECONDS = 20
# How often a process looks whether it may have more or should give some back; sooner while it has none, or too many.
_TICK_SECONDS = 1.0
_HASTE_SECONDS = 0.2
# What a process needs is the most it has wanted for so long: batches follow each other more closely.
_MEMORY_SECONDS = 3.0
_PATIENCE_SECONDS = 60.0
_PARTING_SECONDS = 5.0
# Who gave slots back does not take more than its share for so long, or it would be quicker than those who wait.
_MODESTY_SECONDS = 5.0
# Left free by those that have more than their share, so that whoever comes can begin and be noticed.
_RESERVE = 1
_PROCESSES = 1000
_GONE = 410
_LOCKED = 423
_BUSY = 503
_keepers: dict[Gate, Keeper] = {}
_starting = threading.Lock()


def limit_name() -> str:
    """The server's limit for the environment's project, since Earth Engine's quota is the project's."""
    return f"earth-engine-{load_settings().project or 'default'}"


def register_name() -> str:
    """The server's limit of which each process that holds slots takes one, which so tells how many there are."""
    return f"{limit_name()}-runs"


@contextmanager
def leased_slots() -> Iterator[None]:
    """Within this the process's gate is as wide as the slots it holds of the limit that all runs share.

    A process has one lease, however many of its runs and tasks are within this. Without a running server there is
    nothing to share with: the gate then is the only limit.
    """
    if not PREFECT_API_URL.value():
        yield
        return
    keeper = _enter(current_gate())
    try:
        yield
    finally:
        _leave(keeper)


def _enter(gate: Gate) -> Keeper:
    with _starting:
        keeper = _keepers.get(gate)
        if keeper is None or keeper.has_ended:
            if keeper:
                keeper.join()  # or it would open the gate that the next one keeps
            keeper = _keepers[gate] = Keeper(gate, limit_name(), register_name())
        keeper.users += 1
        return keeper


def _leave(keeper: Keeper) -> None:
    with _starting:
        keeper.users -= 1
        if not keeper.users:
            keeper.end()


@atexit.register
def _wait_for_those_that_ended() -> None:
    """A run does not wait until the server has its slots back; the end of its process does."""
    for keeper in _keepers.values():
        if keeper.has_ended:
            keeper.join()


@dataclass
class _Lease:
    """Slots of one limit that were taken together."""

    lease_id: UUID
    slots: int
    renewed_at: float


class Keeper:
    """Holds a process's share of the limit, and makes it larger or smaller as other processes come and go.

    Each process takes one slot of a second limit, the register, which so tells how many there are. What a process may
    count on is the limit divided by their number. It takes more where slots are free, down to a reserve, and gives
    that back as soon as somebody has taken the reserve.

    Attributes:
        users: how many rely on it.
    """

    def __init__(self, gate: Gate, name: str, register: str):
        self.gate = gate
        self.users = 0
        self._name, self._register = name, register
        self._leases: list[_Lease] = []
        self._registered: list[_Lease] = []
        self._wanted = self._need = 0
        self._needed_at = 0.0
        self._modest_until = 0.0
        self._had_some_at = time.monotonic()
        self._ended = threading.Event()
        self._log: Any = get_logger("eeflow.slots")
        with suppress(MissingContextError):
            self._log = get_run_logger()
        gate.allow(0)
        context = contextvars.copy_context()  # with Prefect's settings, should they be temporary ones
        self._thread = threading.Thread(target=context.run, args=(self._keep,), name="slots", daemon=True)
        self._thread.start()

    @property
    def held(self) -> int:
        """Slots it has."""
        return sum(lease.slots for lease in self._leases)

    @property
    def has_ended(self) -> bool:
        """Whether it gives everything back, or has."""
        return self._ended.is_set()

    def end(self) -> None:
        """Begins to give everything back."""
        self._ended.set()
        self.gate.allow(0)  # also ends the wait of the keeper's thread

    def join(self) -> None:
        """Waits until everything is given back."""
        self._thread.join(_LEASE_SECONDS)

    def _keep(self) -> None:
        # What is asked again should be what is wanted then.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            try:
                with get_client(sync_client=True) as client:
                    while not self._ended.is_set():
                        self._wait(self._tend(client))
                    self._part(client)
            finally:
                self.gate.allow(self.gate.max_concurrent)  # from here on the gate is alone

    def _part(self, client: SyncPrefectClient) -> None:
        """Gives everything back when nothing is in flight; what the server does not take now, it takes back itself."""
        deadline = time.monotonic() + _PARTING_SECONDS
        self.gate.wait_until(lambda: not self.gate.in_flight, _PARTING_SECONDS)
        while (self._leases or self._registered) and time.monotonic() < deadline:
            try:
                self._release(client, self._leases)
                self._release(client, self._registered)
            except httpx.HTTPError:
                time.sleep(_HASTE_SECONDS)

    def _tend(self, client: SyncPrefectClient) -> float:
        """Renews, takes, gives back; seconds until it should be looked at again."""
        try:
            self._renew(client)
            return self._settle(client)
        except httpx.HTTPError as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code == _BUSY:
                return _HASTE_SECONDS
            self._log.warning("The limit %s cannot be asked, %d slots are kept: %s", self._name, self.held, error)
            return _TICK_SECONDS

    def _wait(self, seconds: float) -> None:
        """Until it is time, or more is wanted than could be had when the server was last asked."""
        known = max(self.held, self._wanted)
        self.gate.wait_until(lambda: self._ended.is_set() or self.gate.wanted > known, seconds)

    def _settle(self, client: SyncPrefectClient) -> float:
        self._wanted = wanted = self.gate.wanted
        now = time.monotonic()
        if wanted >= self._need or now - self._needed_at > _MEMORY_SECONDS:
            self._need, self._needed_at = wanted, now
        if not self._need:
            self._shrink(client, 0)
            self._release(client, self._registered)
            return _TICK_SECONDS
        self._sign_on(client)
        limit, taken = _read(client, self._name, self.gate.max_concurrent)
        processes = self._processes(client)
        free, share = limit - taken, max(1, limit // processes)
        self._wanted = wanted = self.gate.wanted  # there may be more by now
        spare = free - _RESERVE if now > self._modest_until else 0
        more = min(wanted - self.held, max(min(share - self.held, free), spare))
        if processes == 1:  # ahead of need, since a server that is told of many tasks is slow to lease
            more = max(more, min(self.gate.max_concurrent - self.held, spare))
        if more > 0:
            self._grow(client, more)
        elif free < _RESERVE and self.held > min(share, self._need):
            self._modest_until = now + _MODESTY_SECONDS
            self._shrink(client, min(share, self._need))
            return _HASTE_SECONDS
        else:
            self.gate.allow(self.held)
        self._complain_when_starved(taken, limit)
        return _TICK_SECONDS if self.held else _HASTE_SECONDS

    def _grow(self, client: SyncPrefectClient, more: int) -> None:
        """Takes slots in portions of a half, a quarter and so on, since a lease can only be given back whole."""
        while more > 0:
            portion = (more + 1) // 2
            self._leases += _take(client, self._name, portion)
            self.gate.allow(self.held)
            more -= portion

    def _shrink(self, client: SyncPrefectClient, count: int) -> None:
        """Down to `count` slots, as soon as the requests that use them have ended."""
        kept: list[_Lease] = []
        for lease in sorted(self._leases, key=lambda lease: -lease.slots):
            if sum(other.slots for other in kept) + lease.slots <= count:
                kept.append(lease)
        self.gate.allow(sum(lease.slots for lease in kept))
        for lease in [lease for lease in self._leases if lease not in kept]:
            if self.held - lease.slots >= self.gate.in_flight:
                client.release_concurrency_slots_with_lease(lease.lease_id)
                self._leases.remove(lease)
        if self.held < count:
            self._grow(client, count - self.held)

    def _renew(self, client: SyncPrefectClient) -> None:
        for lease in [*self._leases, *self._registered]:
            if time.monotonic() - lease.renewed_at < _RENEW_SECONDS:
                continue
            try:
                client.renew_concurrency_lease(lease.lease_id, _LEASE_SECONDS)
                lease.renewed_at = time.monotonic()
            except httpx.HTTPStatusError as error:
                if error.response.status_code != _GONE:
                    raise
                self._leases = [other for other in self._leases if other is not lease]
                self._registered = [other for other in self._registered if other is not lease]
        self.gate.allow(min(self.gate.allowed, self.held))

    def _processes(self, client: SyncPrefectClient) -> int:
        return max(1, _read(client, self._register, _PROCESSES)[1])

    def _sign_on(self, client: SyncPrefectClient) -> None:
        if not self._registered:
            _read(client, self._register, _PROCESSES)  # which makes it
            self._registered = _take(client, self._register, 1)

    @staticmethod
    def _release(client: SyncPrefectClient, leases: list[_Lease]) -> None:
        while leases:
            client.release_concurrency_slots_with_lease(leases[-1].lease_id)
            leases.pop()

    def _complain_when_starved(self, taken: int, limit: int) -> None:
        now = time.monotonic()
        if self.held:
            self._had_some_at = now
        elif now - self._had_some_at > _PATIENCE_SECONDS:
            self._had_some_at = now
            self._log.warning(
                "%d of %d slots of the limit %s are taken, and none has become free for a minute. If no other run is "
                "under way: prefect gcl update %s --active-slots 0",
                taken, limit, self._name, self._name,
            )  # fmt: skip


def _take(client: SyncPrefectClient, name: str, slots: int) -> list[_Lease]:
    """A lease of so many slots; none where another process was quicker."""
    try:
        answer = client.increment_concurrency_slots_with_lease([name], slots, "concurrency", _LEASE_SECONDS)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != _LOCKED:
            raise
        return []
    return [_Lease(UUID(answer.json()["lease_id"]), slots, time.monotonic())]


def _read(client: SyncPrefectClient, name: str, most: int) -> tuple[int, int]:
    """A limit of the server, and how many of its slots are taken; it is made with `most` slots if it is not there."""
    try:
        found = client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        with suppress(ObjectAlreadyExists):  # another process was quicker
            client.upsert_global_concurrency_limit_by_name(name, most)
        found = client.read_global_concurrency_limit_by_name(name)
    return int(found.limit), int(found.active_slots)
