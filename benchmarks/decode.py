"""How quickly a getRegion answer becomes columns, and in how much memory.

    python benchmarks/decode.py [--rows 262144] [--runs 5]

Decodes the answer for one scene and for a series, in 1 and in 4 bands, on one core, each in a process of its own. Peak
memory is what decoding adds, the body included, as a multiple of the body.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ROWS_PER_SECOND = 1_500_000
TIMES_THE_BODY = 3.0


def body_of(rows, bands, scenes):
    """A compact answer as eelocal and Earth Engine write it, every seventh value null."""
    header = json.dumps(["id", "longitude", "latitude", "time", *(f"B{n}" for n in range(bands))])
    parts = [header.replace(" ", "")]
    for number in range(rows):
        pixel, scene = divmod(number, scenes)
        values = ",".join("null" if (number + n) % 7 == 0 else str(200 + number * 37 % 9000) for n in range(bands))
        place = f"{4.0645 + pixel % 512 * 1.4e-4 + pixel * 1e-9:.17g},{50.74 + pixel // 512 * 9e-5:.17g}"
        parts.append(
            f'"202408{scene % 28 + 1:02}T105031_20240801T105421_T31UES",{place},{1722500000000 + scene},{values}'
        )
    return ('{"result":[[' + "],[".join(part.strip("[]") for part in parts) + "]]}").encode()


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def child(rows, bands, scenes, path):
    """Reads a body from a file, as it would come from the network, and decodes it once."""
    from eeflow.region import decode  # noqa: PLC0415  its imports are not to be measured

    names = [f"B{n}" for n in range(bands)]
    decode(body_of(10, bands, 1), names)  # what is imported or set up on first use
    before = peak()
    body = Path(path).read_bytes()
    start, cpu = time.perf_counter(), time.process_time()
    found = decode(body, names)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert len(found.longitude) == rows
    assert len(found.names) == min(scenes, 28)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "memory": (peak() - before) / len(body), "body": len(body)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=262_144)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        bands, scenes, path = options.child
        child(options.rows, int(bands), int(scenes), path)
        return
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {options.rows:,} rows, {options.runs} runs\n")
    print("| answer | body MB | rows/s of one core: median (least to most) | to reach | peak / body | to reach |")
    print("|---|---|---|---|---|---|")
    for bands, scenes in ((1, 1), (4, 1), (1, 28), (4, 28)):
        found = measured(options, bands, scenes)
        rates = [options.rows / result["cpu"] for result in found]
        memory = statistics.median(result["memory"] for result in found)
        rate = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        fast = "reached" if statistics.median(rates) >= ROWS_PER_SECOND else "NOT reached"
        small = "reached" if memory < TIMES_THE_BODY else "NOT reached"
        what = f"{bands} band{'s' * (bands > 1)}, {scenes} scene{'s' * (scenes > 1)}"
        print(
            f"| {what} | {found[0]['body'] / 1e6:.1f} | {rate} | {ROWS_PER_SECOND:,} {fast} "
            f"| {memory:.2f} | {TIMES_THE_BODY:g} {small} |",
            flush=True,
        )


def measured(options, bands, scenes):
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.json"
        # Written by another process: a child's peak memory starts at its parent's.
        made = f"decode.body_of({options.rows}, {bands}, {scenes})"
        code = f"import decode, pathlib; pathlib.Path({str(path)!r}).write_bytes({made})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
        command = [sys.executable, __file__, "--rows", str(options.rows), "--child", str(bands), str(scenes), str(path)]
        return [json.loads(subprocess.check_output(command)) for _ in range(options.runs)]


if __name__ == "__main__":
    main()
