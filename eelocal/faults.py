"""Faults on demand: which requests go wrong, how, and how often they did.

A fault has a kind (`eelocal.fault_kinds`), an operation it belongs to, and a number of times or a rate. Whether a
request is hit depends on the seed and on the request alone, not on the order in which threads arrive.
"""

from __future__ import annotations

import fnmatch
import hashlib
import inspect
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from eelocal.answers import Answer, Request
from eelocal.assets import Assets
from eelocal.errors import EarthEngineError

_FUNCTION = re.compile(rb'"functionName"\s*:\s*"([^"\\]+)"')
_OWN = ("id", "kind", "operation", "count", "skip", "rate", "contains")  # keys that are no option of the kind

Proceed = Callable[[Assets], Answer]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Call:
    """One request that a fault has been drawn for.

    Attributes:
        assets: what the request would see.
        proceed: goes on with the request.
        random: chances of this fault for this request, always the same.
        used: whether the fault has happened.
    """

    assets: Assets
    proceed: Proceed
    random: random.Random
    used: bool = False

    def use(self) -> None:
        """Tells that the fault has happened."""
        self.used = True


@dataclass(frozen=True)
class Kind:
    """One way to go wrong: what it does, and the options it knows."""

    run: Callable[..., Answer]
    options: tuple[str, ...]


_KINDS: dict[str, Kind] = {}


def refusing(*names: str) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Registers a kind that answers, or raises, instead of the server: `function(**options)`."""

    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        def run(call: Call, **options: Any) -> Answer:
            call.use()
            return function(**options)

        return _register(names, run, function, 0)

    return register


def altering(*names: str) -> Callable[[Callable[..., Answer | None]], Callable[..., Answer | None]]:
    """Registers a kind that changes a good answer: `function(answer, random, **options)`; None: nothing to change."""

    def register(function: Callable[..., Answer | None]) -> Callable[..., Answer | None]:
        def run(call: Call, **options: Any) -> Answer:
            answer = call.proceed(call.assets)
            changed = function(answer, call.random, **options) if answer.status == 200 else None
            if changed is None:
                return answer
            call.use()
            return changed

        return _register(names, run, function, 2)

    return register


def staging(*names: str) -> Callable[[Callable[..., Assets]], Callable[..., Assets]]:
    """Registers a kind that shows other assets: `function(assets, use, **options)`."""

    def register(function: Callable[..., Assets]) -> Callable[..., Assets]:
        def run(call: Call, **options: Any) -> Answer:
            return call.proceed(function(call.assets, call.use, **options))

        return _register(names, run, function, 2)

    return register


def _register(names: Sequence[str], run: Callable[..., Answer], function: F, skipped: int) -> F:
    options = tuple(inspect.signature(function).parameters)[skipped:]
    for name in names:
        if name in _KINDS:
            raise ValueError(f"The fault kind {name} is registered twice.")
        _KINDS[name] = Kind(run, options)
    return function


def kinds() -> Mapping[str, Kind]:
    """All kinds of faults by name."""
    import eelocal.fault_kinds  # noqa: F401, PLC0415 - registers its kinds and imports this module

    return _KINDS


@dataclass
class Fault:
    """One fault, and what has come of it.

    Attributes:
        kind: its name.
        operation: `any`, an operation as in the counts (`value:compute`), its last part (`computePixels`), an
            algorithm of the expression (`ImageCollection.getRegion`, `getRegion`), or a pattern with `*`.
        count: it happens so many times; None for no end.
        skip: so many matching requests are left alone first.
        rate: share of the matching requests; None for all.
        contains: only requests whose path or body has this text.
        options: of the kind.
        seen: matching requests so far.
        used: times it has happened.
        ended: it happens no more.
    """

    id: str
    kind: str
    operation: str = "any"
    count: int | None = None
    skip: int = 0
    rate: float | None = None
    contains: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    used: int = 0
    ended: bool = False
    reserved: int = 0
    times: Counter[bytes] = field(default_factory=Counter)

    def json(self) -> dict[str, Any]:
        """What it is and what has come of it."""
        own = {"id": self.id, "kind": self.kind, "operation": self.operation, "skip": self.skip}
        given = {"count": self.count, "rate": self.rate, "contains": self.contains or None}
        shown = {key: value for key, value in given.items() if value is not None}
        return {**own, **shown, **self.options, "seen": self.seen, "used": self.used, "ended": self.ended}


class Faults:
    """The faults of a server, safe to use from many threads."""

    def __init__(self, plan: Any = None) -> None:
        """Takes a plan: a file's path, a list of faults, or `{"seed": 7, "faults": [...]}`."""
        self._lock = threading.Lock()
        self._seed = 0
        self._faults: list[Fault] = []
        if plan is not None:
            self.set(plan)

    def set(self, plan: Any) -> None:
        """Replaces all faults."""
        body = read_plan(Path(plan)) if isinstance(plan, (str, Path)) else plan
        seed, entries = _plan(body)
        made = [_fault(entry, str(position)) for position, entry in enumerate(entries, 1)]
        _check_ids(made)
        with self._lock:
            self._seed, self._faults = seed, made

    def add(self, kind: str, **entry: Any) -> str:
        """Adds one fault; its id."""
        with self._lock:
            number = 1 + max((int(f.id) for f in self._faults if f.id.isdecimal()), default=0)
            made = _fault({"kind": kind, **entry}, str(number))
            _check_ids([*self._faults, made])
            self._faults.append(made)
        return made.id

    def end(self, identity: str) -> None:
        """Ends one fault, such as a scene that has been late long enough; its uses stay readable."""
        with self._lock:
            found = [fault for fault in self._faults if fault.id == identity]
            if not found:
                raise EarthEngineError(f"There is no fault '{identity}'.", 404)
            found[0].ended = True

    def clear(self) -> None:
        """Forgets all faults."""
        with self._lock:
            self._faults = []

    def used(self, name: str) -> int:
        """How often a fault has happened, by its id or by its kind."""
        with self._lock:
            return sum(fault.used for fault in self._faults if name in (fault.id, fault.kind))

    def snapshot(self) -> dict[str, Any]:
        """All faults and their uses as JSON."""
        with self._lock:
            return {"seed": self._seed, "faults": [fault.json() for fault in self._faults]}

    def run(self, operation: str, request: Request, assets: Assets, proceed: Proceed) -> Answer:
        """Answers a request with every fault that is drawn for it, the first outermost."""
        with self._lock:
            waiting = tuple(fault for fault in self._faults if not fault.ended)
            seed = self._seed
        if not waiting:
            return proceed(assets)
        names = _names(operation, request)
        digest = hashlib.sha256(request.method.encode() + request.path.encode() + request.body).digest()

        def step(position: int, seen: Assets) -> Answer:
            if position == len(waiting):
                return proceed(seen)
            fault = waiting[position]
            chance = self._draw(fault, names, request, digest, seed)
            if chance is None:
                return step(position + 1, seen)
            call = Call(seen, lambda shown: step(position + 1, shown), chance)
            try:
                return kinds()[fault.kind].run(call, **fault.options)
            finally:
                self._count(fault, call)

        return step(0, assets)

    def _draw(
        self, fault: Fault, names: Sequence[str], request: Request, digest: bytes, seed: int
    ) -> random.Random | None:
        """The chances of a request that is hit, or None."""
        if not _matches(fault, names, request):
            return None
        with self._lock:
            fault.seen += 1
            if fault.ended or fault.seen <= fault.skip:
                return None
            fault.times[digest] += 1
            chance = random.Random(f"{seed}|{fault.id}|{digest.hex()}|{fault.times[digest]}")
            if fault.rate is not None and chance.random() >= fault.rate:
                return None
            if fault.count is not None and fault.reserved >= fault.count:
                return None
            fault.reserved += 1
            return chance

    def _count(self, fault: Fault, call: Call) -> None:
        with self._lock:
            fault.used += call.used
            fault.reserved -= not call.used


def read_plan(path: Path) -> Any:
    """A plan from a JSON or YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise EarthEngineError(f"The faults file {path} cannot be read: {error}.") from error


def _plan(body: Any) -> tuple[int, list[Any]]:
    if isinstance(body, list):
        return 0, body
    if not isinstance(body, Mapping) or not set(body) <= {"seed", "faults"}:
        raise EarthEngineError("Faults must be a list, or an object with 'seed' and 'faults'.")
    seed, entries = body.get("seed", 0), body.get("faults", [])
    if not isinstance(seed, int) or not isinstance(entries, list):
        raise EarthEngineError("The seed of faults must be an integer, and 'faults' a list.")
    return seed, entries


def _fault(entry: Any, identity: str) -> Fault:
    if not isinstance(entry, Mapping):
        raise EarthEngineError(f"A fault must be an object with a kind. Got: {str(entry)[:100]}.")
    name = str(entry.get("kind"))
    kind = kinds().get(name)
    if kind is None:
        raise EarthEngineError(f"Unknown kind of fault '{name[:100]}'; known are {', '.join(kinds())}.")
    options = {key: value for key, value in entry.items() if key not in _OWN}
    unknown = [key for key in options if key not in kind.options]
    if unknown:
        allowed = ", ".join((*_OWN, *kind.options))
        raise EarthEngineError(f"The fault '{name}' has no option '{unknown[0]}'; known are {allowed}.")
    return Fault(
        id=str(entry.get("id") or identity),
        kind=name,
        operation=str(entry.get("operation") or "any"),
        count=_whole(entry, "count"),
        skip=_whole(entry, "skip") or 0,
        rate=_share(entry, "rate"),
        contains=str(entry.get("contains") or ""),
        options=options,
    )


def _check_ids(faults: Sequence[Fault]) -> None:
    twice = [name for name, times in Counter(fault.id for fault in faults).items() if times > 1]
    if twice:
        raise EarthEngineError(f"Two faults have the id '{twice[0]}'.")


def _whole(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise EarthEngineError(f"The {key} of a fault must be a whole number that is not negative. Got: {value}.")
    return value


def _share(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise EarthEngineError(f"The {key} of a fault must be between 0 and 1. Got: {value}.")
    return float(value)


def _names(operation: str, request: Request) -> tuple[str, ...]:
    """All names a fault may call a request by."""
    functions = {name.decode() for name in _FUNCTION.findall(request.body)}
    full = {"any", operation, *functions}
    return tuple(full | {re.split("[:.]", name)[-1] for name in full})


def _matches(fault: Fault, names: Sequence[str], request: Request) -> bool:
    if not any(fnmatch.fnmatchcase(name, fault.operation) for name in names):
        return False
    return fault.contains in request.path or fault.contains.encode() in request.body
