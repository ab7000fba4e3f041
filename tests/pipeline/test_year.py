"""A simulated season of weekly syncs over many fields, with all that goes wrong: at the end the disk is the truth.

Every week the scenes of that week appear, some of them late, and some are reprocessed. 5 % of requests fail, two syncs
are killed and two overlap. It takes a minute, and so runs only when asked: EEFLOW_TEST_YEAR=4 is two fields and four
weeks, EEFLOW_TEST_YEAR=52 26 fields and a year; EEFLOW_TEST_SEED another one.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from commands import Commands, day_of

from eeflow.ledger import Ledger
from eelocal import LocalEarthEngine

EEFLOW = Path(sys.executable).parent / "eeflow"
COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
WEEKS = int(os.environ.get("EEFLOW_TEST_YEAR", "0"))
FIELDS = 26 if WEEKS > 26 else 2
pytestmark = pytest.mark.skipif(not WEEKS, reason="EEFLOW_TEST_YEAR says how many weeks")
SEED = int(os.environ.get("EEFLOW_TEST_SEED", "7"))
START = date(2024, 1, 1)
END = START + timedelta(weeks=WEEKS)
BANDS = ["B4", "B8"]
ADDED = 7  # to the pixels of reprocessed scenes


@dataclass
class World:
    """What Earth Engine shows from week to week: every acquisition is a fault `scene_late` until its time has come."""

    engine: LocalEarthEngine
    dice: random.Random
    appears: dict[str, int] = field(default_factory=dict)
    reprocessed: dict[str, int] = field(default_factory=dict)
    _hidden: dict[str, str] = field(default_factory=dict)

    def begin(self, days):
        """Draws when each day's scenes appear, and which are reprocessed when."""
        for day in days:
            week = (date.fromisoformat(f"{day[:4]}-{day[4:6]}-{day[6:]}") - START).days // 7
            delay = self.dice.choice([0, 0, 0, 0, 1, 3])
            self.appears[day] = min(week + delay, WEEKS - 1)
            self._hidden[day] = self.engine.faults.add("scene_late", scene=f"{COLLECTION}/{day}*")
        for day in self.dice.sample(sorted(days), max(1, len(days) // 6)):
            self.reprocessed[day] = min(self.appears[day] + self.dice.randint(1, 2), WEEKS - 1)
        # However the dice fall, some scene comes late and one that is on disk is reprocessed.
        first, second = sorted(days)[:2]
        self.appears[first], self.appears[second], self.reprocessed[second] = 2, 0, 3

    def turn(self, week):
        """What happens in a week."""
        for day in [day for day, appears in self.appears.items() if appears == week]:
            self.engine.faults.end(self._hidden[day])
        for day in [day for day, when in self.reprocessed.items() if when == week]:
            self.engine.faults.add("scene_version", scene=f"{COLLECTION}/{day}*", by=1000, add=ADDED)


def write_campaign(folder):
    west, south = 4.0, 50.70
    jobs = [
        {"name": f"field{n:02d}", "aoi": {"bbox": [west + 0.004 * n, south, west + 0.004 * n + 0.002, south + 0.001]}}
        for n in range(FIELDS)
    ]
    defaults = {
        "collection": COLLECTION,
        "bands": BANDS,
        "dates": {"start": START.isoformat(), "end": END.isoformat()},
        "output": {"root": str(folder / "data"), "quicklook": False, "stac": False},
    }
    path = folder / "year.yaml"
    path.write_text(yaml.safe_dump({"mode": "sync", "defaults": defaults, "jobs": jobs}))
    return path


def stored(engine):
    """Every scene of the season over the fields, as eelocal holds it."""
    from shapely.geometry import box

    epoch = date(1970, 1, 1)
    period = [(day - epoch).days * 86_400_000 for day in (START, END)]
    area = box(4.0, 50.70, 4.0 + 0.004 * FIELDS, 50.701)
    return {
        image.properties["system:index"]: image for image in engine.assets.collections[COLLECTION].search(*period, area)
    }


def read_stored(image, raster):
    """A scene's own pixels where a product lies, read from the store without any request: (bands, height, width)."""
    values = []
    for name in BANDS:
        band = next(band for band in image.bands if band.name == name)
        size, _, left, _, _, top = band.transform
        col, row = round((raster.transform.c - left) / size), round((top - raster.transform.f) / size)
        values.append(np.where(*reversed_mask(image.read(name, 0, col, row, raster.width, raster.height))))
    return np.stack(values)


def reversed_mask(pixels):
    """(values, valid) as the arguments of `np.where`: the value where valid, else -1."""
    values, valid = pixels
    return valid, values.astype(int), -1


def kill_one(campaign, environment, engine, dice):
    """A sync of everything, killed after some of its requests."""
    before, after = sum(engine.counts.values()), dice.randint(2, 2 * FIELDS)
    process = subprocess.Popen(
        [EEFLOW, "campaign", campaign], env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and sum(engine.counts.values()) < before + after:
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def overlap(commands, campaign, environment):
    """Two at once: a folder is one's at a time, and what one of them cannot have the other does."""
    other = subprocess.Popen(
        [EEFLOW, "campaign", campaign, "--json"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    mine = commands("campaign", campaign, "--json")
    out, errors = other.communicate()
    for report in (mine.report, json.loads(out)):
        problems = [job["error"] for job in report["jobs"] if job["error"]]
        assert all("is being written by another run" in problem for problem in problems), errors


def test_at_the_end_of_the_season_the_disk_is_the_truth(tmp_path, prefect_environment):
    dice = random.Random(SEED)
    with LocalEarthEngine() as engine:
        # The pool of a project of its own, so that slots which killed runs take with them hold up nobody.
        environment = prefect_environment | {"EEFLOW_EE_URL": engine.url, "EEFLOW_EE_PROJECT": "year"}
        campaign, scenes = write_campaign(tmp_path), stored(engine)
        world = World(engine, dice)
        world.begin({index[:8] for index in scenes})
        asked = {index: engine.faults.add("500", operation="getRegion", contains=index, count=0) for index in scenes}
        failing = [
            engine.faults.add(kind, operation="getRegion", rate=0.05 / 3, **options)
            for kind, options in {"503": {}, "row_missing": {}, "cut_body": {}}.items()
        ]
        kills = set(dice.sample(range(WEEKS - 1), 2))
        with Commands(environment) as commands:
            for week in range(WEEKS):
                world.turn(week)
                if week in kills:
                    kill_one(campaign, environment, engine, dice)
                if week == WEEKS // 2:
                    overlap(commands, campaign, environment)
                done = commands("campaign", campaign, "--json")
                assert done.code == 0, done.stderr
                there = {day for day, appears in world.appears.items() if appears <= week}
                for number in range(FIELDS):
                    files = (tmp_path / "data" / f"field{number:02d}").glob("*.tif")
                    assert {day_of(path) for path in files} == there, f"week {week}"
            before = sum(engine.counts.values())
            assert commands("campaign", campaign).code == 0
            assert sum(engine.counts.values()) == before + FIELDS, "with nothing new, a listing for each field"
            assert commands("verify", tmp_path / "data").code == 0
        counted = {fault["id"]: fault for fault in engine.faults.snapshot()["faults"]}

    retries = sum(counted[fault]["used"] for fault in failing)
    for number in range(FIELDS):
        check_field(tmp_path / "data" / f"field{number:02d}", scenes, world)
    wanted = sum(FIELDS * (1 + (world.reprocessed.get(index[:8], -1) > world.appears[index[:8]])) for index in scenes)
    seen = sum(counted[fault]["seen"] for fault in asked.values())
    # A request that fails takes its scenes with it, a killed sync what it had in hand.
    together = max(Counter(world.appears.values()).values())
    assert wanted <= seen <= wanted + retries * together * FIELDS + len(kills) * FIELDS * together


def check_field(folder, scenes, world):
    """Each scene is there once, with the pixels of its last version, and the ledger knows of nothing else."""
    rows = Ledger(folder).rows()
    assert {row.status for row in rows} == {"written"}
    assert sorted(row.product_id for row in rows) == sorted(scenes)
    for row in rows:
        image, changed = scenes[row.product_id], row.product_id[:8] in world.reprocessed
        assert row.versions == (image.version + 1000 * changed,)
        with rasterio.open(folder / row.path) as raster:
            stored_pixels = read_stored(image, raster)
            valid = np.stack([raster.read_masks(band) > 0 for band in raster.indexes])
            assert (valid == (stored_pixels >= 0)).all()
            assert (raster.read()[valid] == stored_pixels[valid] + ADDED * changed).all()
