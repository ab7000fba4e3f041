"""How quickly a getRegion answer becomes columns, and in how much memory.

    python benchmarks/decode.py [--rows 262144] [--runs 5]

Decodes the answer for one scene and for a series, in 1 and in 4 bands, plain and with short rows of packed bands, on
one core, each in a process of its own. Peak
memory is what decoding adds, the body included, as a multiple of the body.
"""

import argparse
import itertools
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

from eeflow.memory import stay_small
from eeflow.packing import columns_of, names_of, unpacked
from eeflow.region import decode
from eeflow.series import BandType

ROWS_PER_SECOND = 1_500_000
TIMES_THE_BODY = 3.0


def body_of(rows, bands, scenes, short=False):
    """A compact answer as eelocal and Earth Engine write it, every seventh value null."""
    columns = columns_for(bands)
    names = names_of(columns) if short else [f"B{n}" for n in range(bands)]
    header = json.dumps(["id", "longitude", "latitude", "time", *names])
    parts = [header.replace(" ", "")]
    for number in range(rows):
        pixel, scene = divmod(number, scenes)
        numbers = [None if (number + n) % 7 == 0 else 200 + number * 37 % 9000 for n in range(bands)]
        place = f"{4.0645 + pixel % 512 * 1.4e-4 + pixel * 1e-9:.17g},{50.74 + pixel // 512 * 9e-5:.17g}"
        if short:
            parts.append(f'"{scene % 28}",{place},0,{",".join(packed_values(columns, numbers))}')
            continue
        values = ",".join("null" if value is None else str(value) for value in numbers)
        parts.append(
            f'"202408{scene % 28 + 1:02}T105031_20240801T105421_T31UES",{place},{1722500000000 + scene},{values}'
        )
    return ('{"result":[[' + "],[".join(part.strip("[]") for part in parts) + "]]}").encode()


def columns_for(bands):
    """Bands of uint16 in columns."""
    return columns_of([BandType(f"B{n}", "uint16") for n in range(bands)])


def packed_values(columns, numbers):
    """Bands' values as `eeflow.packing` asks for them."""
    numbers = iter(numbers)
    for column in columns:
        if len(column) == 1:
            value = next(numbers)
            yield "null" if value is None else str(value)
        else:
            digits = [0 if value is None else value + 2 for value in (next(numbers) for _ in column)]
            yield str(sum(digit * 65_539**place for place, digit in enumerate(digits)))


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def child(rows, bands, scenes, short, path):
    """Reads a body from a file, as it would come from the network, and decodes it once."""
    stay_small()  # as the flows do
    columns = columns_for(bands)
    names = names_of(columns) if short else [f"B{n}" for n in range(bands)]
    decode(body_of(10, bands, 1, short), names)  # what is imported or set up on first use
    before = peak()
    body = Path(path).read_bytes()
    start, cpu = time.perf_counter(), time.process_time()
    found = decode(body, names)
    values = unpacked(columns, found.values) if short else found.values
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert len(found.longitude) == len(values["B0"]) == rows
    assert len(found.names) == min(scenes, 28)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "memory": (peak() - before) / len(body), "body": len(body)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=262_144)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        bands, scenes, short, path = options.child
        child(options.rows, int(bands), int(scenes), bool(int(short)), path)
        return
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {options.rows:,} rows, {options.runs} runs\n")
    print("| answer | body MB | rows/s of one core: median (least to most) | to reach | peak / body | to reach |")
    print("|---|---|---|---|---|---|")
    for bands, scenes, short in itertools.product((1, 4), (1, 28), (False, True)):
        found = measured(options, bands, scenes, short)
        rates = [options.rows / result["cpu"] for result in found]
        memory = statistics.median(result["memory"] for result in found)
        rate = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        fast = "reached" if statistics.median(rates) >= ROWS_PER_SECOND else "NOT reached"
        small = "reached" if memory < TIMES_THE_BODY else "NOT reached"
        what = f"{bands} band{'s' * (bands > 1)}, {scenes} scene{'s' * (scenes > 1)}{', short rows' * short}"
        print(
            f"| {what} | {found[0]['body'] / 1e6:.1f} | {rate} | {ROWS_PER_SECOND:,} {fast} "
            f"| {memory:.2f} | {TIMES_THE_BODY:g} {small} |",
            flush=True,
        )


def measured(options, bands, scenes, short):
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.json"
        # Written by another process: a child's peak memory starts at its parent's.
        made = f"decode.body_of({options.rows}, {bands}, {scenes}, {short})"
        code = f"import decode, pathlib; pathlib.Path({str(path)!r}).write_bytes({made})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
        what = [str(int(number)) for number in (bands, scenes, short)]
        command = [sys.executable, __file__, "--rows", str(options.rows), "--child", *what, str(path)]
        return [json.loads(subprocess.check_output(command)) for _ in range(options.runs)]


if __name__ == "__main__":
    main()
