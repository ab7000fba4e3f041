"""What a run needs, checked one by one: what was found, and what to do where it is not right."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

import requests
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eeflow.blocks import BlockStore
from eeflow.errors import AccessDenied, ConfigError, EEFlowError
from eeflow.ledger import LEDGER_NAME, Ledger, LedgerError
from eeflow.output import readable_size
from eeflow.settings import Settings, load_settings

# No check waits longer for an answer.
ANSWER_SECONDS = 30.0
_SERVER_SECONDS = 5.0
# Sign-in refuses a clock that is off by more than five minutes or so.
_MOST_SKEW_SECONDS = 60.0
_LEAST_FREE_BYTES, _SCANT_FREE_BYTES = 2**30, 10 * 2**30
# Concurrent requests Earth Engine allows a project by default: https://developers.google.com/earth-engine/guides/usage
_USUAL_QUOTA = 40

_MARKS = {"ok": ("ok", "green"), "warning": ("!", "yellow"), "wrong": ("wrong", "red")}

Status = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing a run needs.

    Attributes:
        found: what is there.
        fix: what to do; empty where it is right.
    """

    name: str
    status: Status
    found: str
    fix: str = ""


def examine(root: Path) -> Iterator[Finding]:
    """Every finding, as soon as it is known; `root` is where products go. Asks Earth Engine for three small things."""
    yield _python()
    yield _packages()
    yield _disk(root)
    yield _cache(root)
    yield from _ledgers(root)
    try:
        settings = load_settings()
    except ConfigError as error:
        yield Finding("settings", "wrong", str(error), "Correct the environment or the .env file.")
        return
    yield _limits(settings)
    yield from _services()


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _packages() -> Finding:
    """Whether each package eeflow names is there in a version it is known to work with."""
    needed = [Requirement(text) for text in importlib.metadata.requires("eeflow") or ()]
    needed = [one for one in needed if not one.marker or one.marker.evaluate({"extra": ""})]
    wrong = [text for one in needed if (text := _mismatch(one))]
    if wrong:
        return Finding(
            "packages", "wrong", "; ".join(wrong), "Install the locked versions: make demo, or pip install ."
        )
    versions = {name: importlib.metadata.version(name) for name in ("prefect", "earthengine-api")}
    found = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Finding("packages", "ok", f"{found} and {len(needed) - len(versions)} others in known versions")


def _mismatch(needed: Requirement) -> str:
    try:
        version = importlib.metadata.version(needed.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{needed.name} is not installed"
    if needed.specifier.contains(version, prereleases=True):
        return ""
    return f"{needed.name} is {version}; known to work is {needed.specifier}"


def _disk(root: Path) -> Finding:
    there = next(path for path in [root.absolute(), *root.absolute().parents] if path.exists())
    if not os.access(there, os.W_OK) or not there.is_dir():
        return Finding("disk", "wrong", f"{there} cannot be written", "Choose another output.root, or --out DIR.")
    free = shutil.disk_usage(there).free
    found = f"{readable_size(free)} free at {there}"
    if free < _LEAST_FREE_BYTES:
        return Finding("disk", "wrong", found, "Free some space, or choose another output.root.")
    if free < _SCANT_FREE_BYTES:
        return Finding("disk", "warning", found, "eeflow plan JOB.yaml tells how much a job needs.")
    return Finding("disk", "ok", found)


def _cache(root: Path) -> Finding:
    folder = root / ".eeflow" / "blocks"
    size = BlockStore(folder).size() if folder.is_dir() else 0
    found = f"{readable_size(size)} of blocks wait for their product in {folder}" if size else "no blocks are waiting"
    return Finding("cache", "ok", found)


def _ledgers(root: Path) -> Iterator[Finding]:
    count = products = 0
    for path in sorted(root.glob(f"*/{LEDGER_NAME}")):
        count += 1
        try:
            products += len(Ledger(path.parent).intact())
        except LedgerError as error:
            yield Finding("ledger", "wrong", str(error), f"eeflow verify {path.parent} tells what is on disk.")
    yield Finding("ledger", "ok", f"{count} ledgers in {root}, {products} products as they were written")


def _limits(settings: Settings) -> Finding:
    pace = f", at most {settings.max_per_second:g} a second" if settings.max_per_second else ""
    found = f"{settings.max_concurrent} requests at once{pace}"
    if settings.max_concurrent > _USUAL_QUOTA:
        fix = f"Earth Engine allows {_USUAL_QUOTA} unless your project's quota is larger; see EEFLOW_MAX_CONCURRENT."
        return Finding("limits", "warning", found, fix)
    return Finding("limits", "ok", found)


def _services() -> Iterator[Finding]:
    from flows.local import earth_engine  # noqa: PLC0415

    try:
        with earth_engine():
            settings = load_settings()  # of the eelocal that may have been started
            yield from _earth_engine(settings)
            yield from _prefect(settings)
    except EEFlowError as error:
        yield Finding("endpoint", "wrong", str(error), "Try again; eeflow local starts it alone.")


def _earth_engine(settings: Settings) -> Iterator[Finding]:
    """Credentials and endpoint, the clock, one tiny getRegion; each is left out where the one before is not right."""
    connected = yield from _checked("endpoint", lambda: _connect(settings))
    if not connected:
        return
    yield Finding("credentials", "ok", f"{_kind_of_credentials(settings)}; project {connected.settings.project}")
    yield from _checked("clock", lambda: _clock(settings))
    yield from _checked("getRegion", lambda: _tiny_region(connected))


def _checked(name: str, check: Callable[[], tuple[Finding, Any]]) -> Iterator[Finding]:
    """Yields what a check that asks somebody finds, however it ends; returns what came of it."""
    outcome: list[tuple[Finding, Any]] = []

    def attempt() -> None:
        try:
            outcome.append(check())
        except ConfigError as error:
            outcome.append((Finding("credentials", "wrong", str(error), "Correct it as the message says."), None))
        except AccessDenied as error:
            fix = "Sign in with an account whose project is registered for Earth Engine: earthengine authenticate."
            outcome.append((Finding("credentials", "wrong", str(error), fix), None))
        except (EEFlowError, requests.RequestException, OSError) as error:
            fix = "Check EEFLOW_EE_URL, the network and any proxy, or try again later."
            outcome.append((Finding(name, "wrong", str(error), fix), None))
        except Exception as error:  # noqa: BLE001  whatever it is, it is what was found
            found = f"{type(error).__name__}: {error}"
            outcome.append((Finding(name, "wrong", found, "Check EEFLOW_EE_URL; this is not expected."), None))

    # Not joined for longer than its time: what a library waits for is then its own affair.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    late = f"no answer after {ANSWER_SECONDS:g} s"
    finding, value = outcome[0] if outcome else (Finding(name, "wrong", late, "Check the network and any proxy."), None)
    yield finding
    return value


def _connect(settings: Settings) -> tuple[Finding, Any]:
    from eeflow.session import connect  # noqa: PLC0415

    started = time.monotonic()
    session = connect(settings)
    session.algorithms()
    found = f"{settings.ee_url} answered in {time.monotonic() - started:.1f} s"
    return Finding("endpoint", "ok", found), session


def _kind_of_credentials(settings: Settings) -> str:
    if settings.credentials == "anonymous":
        return "none needed"
    return f"service account of {settings.credentials}" if settings.credentials else "the user's stored ones"


def _clock(settings: Settings) -> tuple[Finding, Any]:
    answer = requests.get(settings.ee_url, timeout=ANSWER_SECONDS, allow_redirects=False)
    if "Date" not in answer.headers:
        return Finding("clock", "ok", "the endpoint does not tell its own"), None
    skew = time.time() - parsedate_to_datetime(answer.headers["Date"]).timestamp()
    found = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the endpoint's"
    if abs(skew) > _MOST_SKEW_SECONDS:
        return Finding("clock", "wrong", found, "Set this machine's clock; sign-in fails when it is off."), None
    return Finding("clock", "ok", found), None


def _tiny_region(session: Any) -> tuple[Finding, Any]:
    import ee  # noqa: PLC0415

    images = ee.ImageCollection.fromImages([ee.Image.constant(7).rename("seven")])
    started = time.monotonic()
    rows = session.value(images.getRegion(ee.Geometry.Point([4.06, 50.74]), 30))
    seconds = time.monotonic() - started
    if rows[1:] and rows[-1][-1] == 7:
        return Finding("getRegion", "ok", f"one pixel in {seconds:.1f} s"), None
    return Finding("getRegion", "wrong", f"a 7 was asked for; the answer is {rows}", "Check EEFLOW_EE_URL."), None


def _prefect(settings: Settings) -> Iterator[Finding]:
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415  importing Prefect takes a second or two

    url = PREFECT_API_URL.value()
    if not url:
        found = "no server: each run starts one for itself, which takes 7 to 9 s, and shares no limit with others"
        yield Finding("prefect", "ok", found)
        return
    try:
        yield _server(url)
        yield _shared_limit(url, settings)
    except (requests.RequestException, KeyError, ValueError) as error:
        reason = str(error).rpartition(": ")[2].rstrip("\"')")
        fix = "Start it (prefect server start), or unset PREFECT_API_URL."
        yield Finding("prefect", "wrong", f"{url} does not answer as a Prefect server: {reason}", fix)


def _server(url: str) -> Finding:
    version = str(_ask(url, "GET", "admin/version"))
    scheduler = _ask(url, "GET", "admin/settings")["server"]["services"]["scheduler"]["enabled"]
    late = int(_ask(url, "POST", "flow_runs/count", {"flow_runs": {"state": {"name": {"any_": ["Late"]}}}}))
    found = f"{url}, version {version}, scheduler {'on' if scheduler else 'off'}, {late} late runs"
    own = importlib.metadata.version("prefect")
    if version.split(".")[:2] != own.split(".")[:2]:
        return Finding("prefect", "warning", found, f"The client here is {own}; run the same version on both sides.")
    if not scheduler:
        return Finding("prefect", "warning", found, "Schedules do not run: PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED")
    if late:
        return Finding("prefect", "warning", found, "Is a worker running? prefect worker start --pool eeflow")
    return Finding("prefect", "ok", found)


def _shared_limit(url: str, settings: Settings) -> Finding:
    from tasks.slots import limit_name, register_name  # noqa: PLC0415

    limits = {limit["name"]: limit for limit in _ask(url, "POST", "v2/concurrency_limits/filter", {"limit": 200})}
    name = limit_name()
    if name not in limits:
        return Finding("shared limit", "ok", f"{name} is made by the first run, with {settings.max_concurrent} slots")
    runs = limits.get(register_name(), {}).get("active_slots", 0)
    taken, most = limits[name]["active_slots"], limits[name]["limit"]
    found = f"{name}: {taken} of {most} slots are taken, by {runs} processes"
    if taken and not runs:
        fix = f"Slots of killed runs come back after a minute; if not: prefect gcl update {name} --active-slots 0"
        return Finding("shared limit", "warning", found, fix)
    return Finding("shared limit", "ok", found)


def _ask(url: str, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:
    answer = requests.request(verb, f"{url}/{path}", json=body, timeout=_SERVER_SECONDS)
    answer.raise_for_status()
    return answer.json()


def show(findings: Iterable[Finding]) -> None:
    """The findings as a table on stdout, what to do below each that is not right."""
    table = Table(box=None, pad_edge=False)
    for title in ("", "what", "found"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        mark, colour = _MARKS[finding.status]
        table.add_row(Text(mark, style=colour), finding.name, Text(finding.found))
        if finding.fix:
            table.add_row("", "", Text(f"-> {finding.fix}", style=colour))
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table)
