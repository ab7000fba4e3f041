"""The command `python -m eelocal`: serves until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from eelocal.errors import EarthEngineError
from eelocal.server import LocalEarthEngine


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(prog="eelocal", description="Serve a local Earth Engine.")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    made.add_argument("--port", type=int, default=0, help="port; 0 takes one that is free")
    made.add_argument(
        "--data", action="append", default=[], metavar="DIR", help="folder of GeoTIFFs, or a catalogue file; repeatable"
    )
    made.add_argument("--no-world", action="store_true", help="serve no generated imagery")
    made.add_argument("--latency", type=float, default=0.0, metavar="S", help="seconds added to every request")
    made.add_argument("--per-mpx", type=float, default=0.0, metavar="S", help="seconds per million band pixels")
    add = made.add_argument
    add("--max-concurrent", type=int, metavar="N", help="a project's requests at once; one more gets a 429")
    add("--max-per-second", type=int, metavar="N", help="a project's requests in any second; one more gets a 429")
    add("--max-per-minute", type=int, metavar="N", help="a project's requests in any minute; one more gets a 429")
    add("--retry-after", type=float, metavar="S", help="seconds that a 429 tells in a Retry-After header")
    add("--compute-quota", type=float, metavar="N", help="a project's EECU-seconds until it is in restricted mode")
    add("--time-limit", type=float, default=300.0, metavar="S", help='seconds until "Computation timed out."')
    add("--workers", type=int, metavar="N", help="evaluations at once, however many requests there are")
    add("--memory-limit", type=_megabytes, default=_megabytes("4096"), metavar="MB", help="memory of the process")
    add("--faults", metavar="FILE", help="what goes wrong: a plan in JSON or YAML")
    add("--oauth", default=False, metavar="KEYFILE", help="ask for credentials; writes a service account's key here")
    add("--oauth-project", default="local-project", metavar="P", help="the project that account may use")
    add("--token-lifetime", type=float, default=3600.0, metavar="S", help="seconds an access token is valid")
    made.add_argument(
        "--until-stdin-closes", action="store_true", help="end when standard input closes, as it does with its parent"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM; prints one line with the URL when it is ready."""
    arguments = parser().parse_args(argv)
    options = vars(arguments)
    wait_for_input = options.pop("until_stdin_closes")
    world = not options.pop("no_world")
    try:
        engine = LocalEarthEngine(world=world, **options)
    except EarthEngineError as error:
        print(f"eelocal: {error.message}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with engine:
        print(f"eelocal serving at {engine.url}", flush=True)
        if wait_for_input:
            threading.Thread(target=_wait_for_end_of_input, args=(stop,), daemon=True).start()
        stop.wait()
    return 0


def _megabytes(text: str) -> int:
    return int(float(text) * 2**20)


def _wait_for_end_of_input(stop: threading.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    stop.set()
