"""The command `python -m eelocal`: serves until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

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
    made.add_argument("--max-concurrent", type=int, default=None, metavar="N", help="more requests at once get a 429")
    made.add_argument(
        "--until-stdin-closes", action="store_true", help="end when standard input closes, as it does with its parent"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM; prints one line with the URL when it is ready."""
    arguments = parser().parse_args(argv)
    engine = LocalEarthEngine(
        data=arguments.data,
        host=arguments.host,
        port=arguments.port,
        world=not arguments.no_world,
        latency=arguments.latency,
        per_mpx=arguments.per_mpx,
        max_concurrent=arguments.max_concurrent,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with engine:
        print(f"eelocal serving at {engine.url}", flush=True)
        if arguments.until_stdin_closes:
            threading.Thread(target=_wait_for_end_of_input, args=(stop,), daemon=True).start()
        stop.wait()
    return 0


def _wait_for_end_of_input(stop: threading.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    stop.set()
