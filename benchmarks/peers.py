"""eeflow beside geedim, xee, edown and the method it grew from, on a local Earth Engine that is slow on purpose.

    python benchmarks/peers.py                    every case, 5 runs each
    python benchmarks/peers.py image series       some
    python benchmarks/peers.py --runs 1 --small   quickly, to see that it works; says nothing about speed

Each measured thing runs as a process of its own against an eelocal of its own. What it wrote is compared with the
source, pixel by pixel, before its time counts. README.md beside this file says what the columns mean.
"""

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
IN_FLIGHT = 32
LIMIT = 40
SLOW = 45.0  # what takes longer is run once, and its one figure stands for all runs
PACE = {"latency": 0.5, "per-mpx": 1.0, "max-concurrent": LIMIT}
# As in source.py, which is not imported here: this process stays small, for a child's peak memory starts at its own.
BANDS = ["B2", "B3", "B4", "B8"]
CRS, WEST, NORTH, PIXEL = "EPSG:32631", 499980.0, 5700000.0, 10.0
LARGE, FARM, MANY = "BENCH/LARGE", "BENCH/FARM", "BENCH/MANY"
FOLDERS = {LARGE: "large", FARM: "farm", MANY: "many"}


class Engine:
    """An eelocal process, and what it counted."""

    def __init__(self, data, **pace):
        options = [text for name, value in (PACE | pace).items() for text in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "eelocal", "--no-world", "--data", str(data), "--until-stdin-closes", *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
        )
        self.url = self.process.stdout.readline().rpartition(" ")[2].strip()
        self.filled = []
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def watch(self):
        """From now on, notes ten times a second how many requests are in flight."""
        self._watcher.start()

    def _watch(self):
        while not self._stop.wait(0.1):
            self.filled.append((time.monotonic(), self.stats()["in_flight"]))

    def stats(self):
        with urllib.request.urlopen(f"{self.url}/_eelocal/stats", timeout=60) as answer:
            return json.load(answer)

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def prefect_server(home):
    """A Prefect server as people start it, for all runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = [Path(sys.executable).parent / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "prefect-server.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=environment(home), stdout=log, stderr=log, start_new_session=True, cwd=HERE.parent
        )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline or server.poll() is not None:
                    raise
                time.sleep(0.3)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def environment(home, prefect=None, in_flight=IN_FLIGHT, project="local-project"):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EEFLOW_", "PREFECT_"))}
    own = {
        "HOME": str(home),
        "PREFECT_HOME": str(home / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLIENT_MAX_RETRIES": "8",  # as the command has it
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
        "EEFLOW_MAX_CONCURRENT": str(in_flight),
        "EEFLOW_EE_PROJECT": project,
        "PYTHONPATH": str(HERE.parent),
    }
    return kept | own | ({"PREFECT_API_URL": prefect} if prefect else {})


class Bench:
    """Where everything is, and how often to run."""

    def __init__(self, folder, prefect, runs, small):
        self.folder, self.prefect, self.runs, self.small = folder, prefect, runs, small
        self.data, self.out = folder / "data", folder / "out"
        self.rows = []

    def task(self, name, collection, window, bands=4, **more):
        col, row, width, height = window
        west, north = WEST + col * PIXEL, NORTH - row * PIXEL
        return {
            "name": name,
            "collection": collection,
            "window": window,
            "names": BANDS[:bands],
            "box": [west, north - height * PIXEL, west + width * PIXEL, north],
            "transform": [PIXEL, 0.0, west, 0.0, -PIXEL, north],
            "crs": CRS,
            **more,
        }

    def start(self, contestant, task, number=0, prefect=True, **more):
        """Starts a contestant; its process and the file of its task."""
        out = self.out / str(number)
        path = self.folder / f"task{number}.json"
        path.write_text(json.dumps(task | {"out": str(out)}))
        variables = environment(self.folder, self.prefect if prefect else None, **more)
        command = [sys.executable, str(HERE / "contestants.py"), contestant, str(path)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=variables, text=True, cwd=self.folder)

    def measure(self, contestant, task, prefect=True, **pace):
        """One contestant, once."""
        with Engine(self.data, **pace) as engine:
            started = time.monotonic()
            child = self.start(contestant, task | {"url": engine.url}, prefect=prefect)
            printed, _ = child.communicate()
            seconds = time.monotonic() - started
            if child.returncode:
                raise SystemExit(f"{contestant} ended with {child.returncode}")
            result = json.loads(printed.splitlines()[-1]) | {"process": seconds}
            result |= counted(engine)
        self.check(result["files"], task)
        return result

    def check(self, files, task):
        """Ends the run where an output is not the source, pixel by pixel."""
        folder = self.data / FOLDERS[task["collection"]]
        sources = sorted(folder.glob("*.tif"))
        if files:
            assert len(files) == len(sources), f"{len(files)} files where {len(sources)} are due"
            pairs = [[made, str(source)] for made, source in zip(sorted(files), sources, strict=True)]
            checked = {"files": pairs, "window": task["window"], "bands": len(task["names"])}
            subprocess.run([sys.executable, HERE / "source.py", "check", json.dumps(checked)], check=True)
        subprocess.run(["rm", "-rf", str(self.out)], check=True)

    def compare(self, case, contestants, task):
        """Every contestant in turn, as often as asked for; their results by name."""
        results = {name: [] for name in contestants}
        for number in range(self.runs):
            for name in contestants:
                if results[name] and results[name][0]["wall"] > SLOW:
                    results[name].append(results[name][0])
                    continue
                results[name].append(self.measure(name, task))
                print(f"{case} {number + 1}/{self.runs} {name}: {results[name][-1]}", file=sys.stderr, flush=True)
        self.rows += [row(case, name, found) for name, found in results.items()]
        return results


def counted(engine):
    stats = engine.stats()
    return {
        "requests": sum(stats["counts"].values()),
        "received": sum(entry["bytes"] for entry in stats["log"]),
        "in_flight": stats["max_in_flight"],
        "refused": stats["statuses"].get("429", 0),
        "server": engine.cpu(),
    }


def spread(values, digits=2):
    """Median, and from least to most."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def row(case, name, found):
    def of(key, scale=1.0, digits=0):
        return f"{statistics.median(result[key] for result in found) / scale:.{digits}f}"

    return [
        case,
        name,
        spread([result["wall"] for result in found]),
        of("process", digits=1),
        of("cpu", digits=1),
        of("server", digits=1),
        of("requests"),
        of("received", 1e6, 1),
        of("rss", 2**20),
        of("in_flight"),
        of("refused"),
    ]


HEADER = ["case", "what", "wall s", "process s", "CPU s", "server CPU s", "requests", "MB", "RSS MiB", "at once", "429"]


def verdict(case, text, values, target, at_least=False):
    """A line on whether a target is reached, by the median of the runs."""
    middle = statistics.median(values)
    reached = middle >= target if at_least else middle <= target
    sign = ">=" if at_least else "<="
    return [case, text, spread(values), f"{sign} {target:g}", "reached" if reached else "NOT reached"]


def ratios(results, name, other, key="wall"):
    """One for each run; `other` may be several, of which the best of that run counts."""
    others = [other] if isinstance(other, str) else other
    return [
        results[name][number][key] / min(results[o][number][key] for o in others)
        for number in range(len(results[name]))
    ]


PEERS = ["geedim", "xee", "edown"]


def image(bench):
    """One large image."""
    side = 512 if bench.small else 4096
    task = bench.task("large", LARGE, (0, 0, side, side))
    found = bench.compare("image", ["eeflow", "engine", "bare", *PEERS], task)
    lines = []
    for name in ("eeflow", "engine"):
        lines.append(verdict("image", f"wall, {name} / best peer", ratios(found, name, PEERS), 0.7))
        lines.append(verdict("image", f"throughput, {name} / bare loop", ratios(found, "bare", name), 0.85, True))
    fetching = ratios(found, "bare", "engine", "fetch_seconds")
    return [*lines, verdict("image", "throughput of the fetch alone, engine / bare loop", fetching, 0.85, True)]


def series(bench):
    """A farm in all scenes of a season."""
    found = bench.compare("series", ["eeflow", "engine", *PEERS], bench.task("farm", FARM, (0, 0, 64, 64)))
    return [
        verdict("series", f"wall, {name} / best peer", ratios(found, name, PEERS), 0.2) for name in ("eeflow", "engine")
    ]


def values(bench):
    """A million values of one band by getRegion."""
    side = 100 if bench.small else 1000
    task = bench.task("values", LARGE, (0, 0, side, side), bands=1, transport="get_region")
    found = bench.compare("values", ["eeflow", "engine", "original", "rectangle"], task)
    lines = []
    for name in ("eeflow", "engine"):
        for other in ("original", "rectangle"):
            lines.append(verdict("values", f"wall, {name} / {other}", ratios(found, name, other), 0.33))
            lines.append(verdict("values", f"peak RSS, {name} / {other}", ratios(found, name, other, "rss"), 0.25))
    return lines


def sizes(bench):
    """One image in growing sizes: time for a pixel and memory should not grow."""
    sides = (128, 256, 512) if bench.small else (1024, 2048, 4096, 8192)
    lines = []
    for name in ("eeflow", "engine"):
        found = {}
        for side in sides:
            task = bench.task("large", LARGE, (0, 0, side, side))
            found[side] = bench.compare(f"sizes {side}", [name], task)[name]
        base = found[sides[1]]
        for side in sides[2:]:
            pixels = (side / sides[1]) ** 2
            walls = [found[side][n]["wall"] / base[n]["wall"] / pixels for n in range(bench.runs)]
            rss = [found[side][n]["rss"] / base[n]["rss"] for n in range(bench.runs)]
            lines.append(verdict("sizes", f"wall per pixel, {name}, {side} / {sides[1]}", walls, 1.2))
            lines.append(verdict("sizes", f"peak RSS, {name}, {side} / {sides[1]}", rss, 1.2))
    return lines


def aois(bench):
    """Eight areas at once and all slots of the account: one process each, then all in one campaign."""
    side, per_row = 256 if bench.small else 2048, 4
    lines = []
    found = {"8 x eeflow": [], "campaign of 8": []}
    for number in range(bench.runs):
        for name, totals in found.items():
            totals.append(_together(bench, side, per_row, apart=name == "8 x eeflow"))
            print(f"aois {number + 1}/{bench.runs} {name}: {totals[-1]}", file=sys.stderr, flush=True)
    for name, totals in found.items():
        bench.rows.append(row("aois", name, totals))
        refused = [total["refused"] / total["requests"] for total in totals]
        lines.append(verdict("aois", f"429s / requests, {name}", refused, 0.01))
        used = [total["used"] for total in totals]
        lines.append(verdict("aois", f"share of {LIMIT} slots used, {name}", used, 0.9, True))
    return lines


def _together(bench, side, per_row, apart):
    """Eight areas, in processes of their own or in one, with one Prefect server and one limit for all."""
    subprocess.run(["rm", "-rf", str(bench.folder / "go"), str(bench.folder / "ready")], check=True)
    waiting = {"go": str(bench.folder / "go"), "ready": str(bench.folder / "ready")}
    options = {"in_flight": LIMIT, "project": "eight-areas"}
    with Engine(bench.data) as engine:
        areas = [
            bench.task(f"aoi{n}", LARGE, (n % per_row * side, n // per_row * side, side, side), url=engine.url)
            for n in range(8)
        ]
        if apart:
            children = [bench.start("eeflow", area | waiting, n, **options) for n, area in enumerate(areas)]
        else:
            children = [bench.start("campaign", areas[0] | waiting | {"areas": areas}, **options)]
        while len(list(bench.folder.glob("ready/*"))) < len(children):
            time.sleep(0.1)
            assert all(child.poll() is None for child in children)
        engine.watch()
        (bench.folder / "go").touch()
        results = [json.loads(child.communicate()[0].splitlines()[-1]) for child in children]
        found = counted(engine)
    for area, file in zip(areas, [file for result in results for file in result["files"]], strict=True):
        # Not by `check`, which empties the folder of all outputs and so is for one contestant alone.
        pair = [[file, str(next((bench.data / "large").glob("*.tif")))]]
        checked = {"files": pair, "window": area["window"], "bands": len(BANDS)}
        subprocess.run([sys.executable, HERE / "source.py", "check", json.dumps(checked)], check=True)
    subprocess.run(["rm", "-rf", str(bench.out)], check=True)
    busy = [moment for moment, in_flight in engine.filled if in_flight]
    inside = [in_flight for moment, in_flight in engine.filled if busy[0] <= moment <= busy[-1]]
    wall = max(result["wall"] for result in results)
    return found | {
        "used": sum(inside) / len(inside) / LIMIT,
        "filled": inside,
        "wall": wall,
        "process": wall,
        "cpu": sum(result["cpu"] for result in results),
        "rss": max(result["rss"] for result in results),
    }


def orchestration(bench):
    """What Prefect adds to 200 requests of a second each, beside what it adds to any run."""
    many, one = bench.task("many", MANY, (0, 0, 64, 64), alone=True), bench.task("small", LARGE, (0, 0, 64, 64))
    found = {name: [] for name in ("eeflow", "engine", "eeflow, 1 request", "engine, 1 request")}
    for number in range(bench.runs):
        for name, results in found.items():
            task = one if "," in name else many
            results.append(bench.measure(name.partition(",")[0], task, **{"latency": 1.0, "per-mpx": 0.0}))
            print(f"orchestration {number + 1}/{bench.runs} {name}: {results[-1]}", file=sys.stderr, flush=True)
    bench.rows += [row("orchestration", name, results) for name, results in found.items()]
    added = [
        (many["wall"] - bare["wall"] - (start["wall"] - alone["wall"])) / bare["wall"]
        for many, bare, start, alone in zip(*found.values(), strict=True)
    ]
    return [verdict("orchestration", "share that Prefect adds to the engine's wall, start apart", added, 0.05)]


def startup(bench):
    """What Prefect costs before anything is asked for: a run of one small image, as a whole process."""
    task = bench.task("small", LARGE, (0, 0, 64, 64))
    found = {name: [] for name in ("server running", "no server", "engine alone")}
    for _ in range(bench.runs):
        found["server running"].append(bench.measure("eeflow", task))
        found["no server"].append(bench.measure("eeflow", task, prefect=False))
        found["engine alone"].append(bench.measure("engine", task))
    bench.rows += [row("startup", name, results) for name, results in found.items()]
    return []


CASES = {case.__name__: case for case in (image, series, values, sizes, aois, orchestration, startup)}


def table(header, rows):
    widths = [max(len(line[n]) for line in [header, *rows]) for n in range(len(header))]

    def text(line):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"

    return "\n".join([text(header), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(text, rows)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="small areas, to see that it works")
    options = parser.parse_args()
    if unknown := set(options.case) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    lines = []
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        side, scenes = ("1024", "8") if options.small else ("8192", "72")
        subprocess.run([sys.executable, HERE / "source.py", "make", folder / "data", side, scenes], check=True)
        with prefect_server(folder) as prefect:
            bench = Bench(folder, prefect, options.runs, options.small)
            loads = [os.getloadavg()[0]]
            for case in options.case or CASES:
                lines += CASES[case](bench)
                loads.append(os.getloadavg()[0])
    print(f"\n{os.cpu_count()} cores, Python {platform.python_version()}, {options.runs} runs: median (least to most)")
    print("Load average before the first case and after each:", ", ".join(f"{load:.1f}" for load in loads), end="\n\n")
    print(table(HEADER, bench.rows), end="\n\n")
    print(table(["case", "ratio", "median (least to most)", "to reach", ""], lines))


if __name__ == "__main__":
    main()
