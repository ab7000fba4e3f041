"""How fast eelocal answers, so that a benchmark against it measures the client.

    python benchmarks/eelocal_speed.py

Starts a server of a GeoTIFF made for it as a process of its own, on two cores where there are more, asks over HTTP,
and prints a table: medians of five runs, what was asked, and the most memory the server took.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

RUNS = 5
SIDE = 2048  # of the file's tiles asked for: 4 bands x 2 bytes + masks stay under 48 MiB
CRS = "EPSG:32631"
BANDS = ("B2", "B3", "B4", "B8")


def make_file(folder: Path, size: int = 4096) -> None:
    rng = np.random.default_rng(1)
    profile = {
        "driver": "GTiff",
        "width": size,
        "height": size,
        "count": len(BANDS),
        "dtype": "uint16",
        "crs": CRS,
        "transform": from_origin(500000, 5000000, 10, 10),
        "nodata": 0,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
    }
    for day in range(1, 6):
        with rasterio.open(folder / f"scene_202006{day:02d}.tif", "w", **profile) as dataset:
            for i, name in enumerate(BANDS, 1):
                dataset.write(rng.integers(1, 10_000, (size, size), np.uint16), i)
                dataset.set_band_description(i, name)
            if day > 1:
                break


def post(url: str, body: dict[str, object]) -> bytes:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        found: bytes = answer.read()
        return found


def call(name: str, **arguments: object) -> dict[str, object]:
    return {"functionInvocationValue": {"functionName": name, "arguments": arguments}}


def constant(value: object) -> dict[str, object]:
    return {"constantValue": value}


def expression(*values: dict[str, object]) -> dict[str, object]:
    return {"result": "0", "values": {str(i): value for i, value in enumerate(values)}}


def pixels_body(identity: str, col: int, row: int, side: int, file_format: str = "NPY") -> dict[str, object]:
    affine = {"scaleX": 10, "translateX": 500000 + 10 * col, "scaleY": -10, "translateY": 5000000 - 10 * row}
    return {
        "expression": expression(call("Image.load", id=constant(identity))),
        "fileFormat": file_format,
        "grid": {"dimensions": {"width": side, "height": side}, "affineTransform": affine, "crsCode": CRS},
    }


def region_body(collection: str, side: int, bands: tuple[str, ...] = BANDS) -> dict[str, object]:
    west, north = 500000, 5000000
    east, south = west + 10 * side, north - 10 * side
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    area = call(
        "GeometryConstructors.Polygon",
        coordinates=constant([ring]),
        crs=call("Projection", crs=constant(CRS)),
        geodesic=constant(False),
    )
    chosen = call("Image.select", input={"argumentReference": "image"}, bandSelectors=constant(list(bands)))
    select = {"functionDefinitionValue": {"argumentNames": ["image"], "body": "1"}}
    mapped = call(
        "Collection.map", collection=call("ImageCollection.load", id=constant(collection)), baseAlgorithm=select
    )
    return {
        "expression": expression(
            call(
                "ImageCollection.getRegion",
                collection=mapped,
                geometry=area,
                crs=call("Projection", crs=constant(CRS)),
                crsTransform=constant([10, 0, west, 0, -10, north]),
            ),
            chosen,
        )
    }


def median_seconds(ask: object) -> float:
    taken = []
    for _ in range(RUNS + 1):  # the first opens files
        start = time.perf_counter()
        ask()  # type: ignore[operator]
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(pid: int, ask: object) -> tuple[float, float]:
    """Median seconds, and the server's mean seconds of CPU, which other work on the machine does not lengthen."""
    ask()  # type: ignore[operator]
    before = cpu_seconds(pid)
    seconds = median_seconds(ask)
    return seconds, (cpu_seconds(pid) - before) / (RUNS + 1)


def rate(amount: float, seconds: float, cpu: float, unit: str) -> str:
    return f"{amount / seconds:,.0f} {unit}, {amount / cpu:,.0f} per second of CPU"


def peak_memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def measure(url: str, pid: int) -> list[tuple[str, str, str]]:
    base = f"{url}/v1/projects/local/"
    scene = "speed/scene_20200601"
    rows = []
    for name, file_format in (("NPY", "NPY"), ("GeoTIFF", "GEO_TIFF")):
        body = pixels_body(scene, 0, 0, SIDE, file_format)
        seconds, cpu = timed(pid, lambda body=body: post(base + "image:computePixels", body))
        asked = f"{SIDE} x {SIDE} pixels, 4 bands of uint16, {name}"
        rows.append((f"computePixels {name}", asked, rate(SIDE * SIDE * len(BANDS) / 1e6, seconds, cpu, "Mpx/s")))
    for count, side in ((1, 720), (4, 360)):
        body = region_body("speed", side, BANDS[:count])
        size = len(post(base + "value:compute", body))
        seconds, cpu = timed(pid, lambda body=body: post(base + "value:compute", body))
        asked = f"{side} x {side} pixels of 2 images: {2 * side * side} rows, {size / 1e6:.0f} MB of JSON"
        rows.append((f"getRegion {count} of 4 bands", asked, rate(2 * side * side, seconds, cpu, "rows/s")))

    bodies = [pixels_body(scene, 512 * (i % 8), 512 * (i // 8), 512) for i in range(40)]

    def forty() -> None:
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            list(pool.map(lambda body: post(base + "image:computePixels", body), bodies))

    seconds, cpu = timed(pid, forty)
    rows.append(
        ("40 requests at once", "512 x 512 pixels, 4 bands each", rate(40 * 512 * 512 * 4 / 1e6, seconds, cpu, "Mpx/s"))
    )
    rows.append(("memory", "the most, over all of it", f"{peak_memory(pid):.0f} MB"))
    return rows


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "speed"
        data.mkdir()
        make_file(data)
        command = [sys.executable, "-m", "eelocal", "--no-world", "--data", str(data), "--until-stdin-closes"]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(server.pid, cores)
        os.sched_setaffinity(0, cores)
        assert server.stdout is not None and server.stdin is not None
        try:
            url = server.stdout.readline().split()[-1]
            rows = measure(url, server.pid)
        finally:
            server.stdin.close()
            server.wait(30)
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    print(f"medians of {RUNS} runs on {len(cores)} cores, client and server together")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


if __name__ == "__main__":
    main()
