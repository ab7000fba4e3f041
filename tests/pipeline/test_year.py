"""Weekly syncs of many fields with all that goes wrong: at the end the disk is the truth, and nothing was asked twice.

Scenes come late, are reprocessed, and come a second time under another name; areas overlap; 5 % of requests fail; two
syncs are killed, and two run at once. Three weeks of five fields, one of each kind, run always; EEFLOW_TEST_YEAR=52
is a year of 26 fields, and EEFLOW_TEST_SEED other accidents.
"""

import contextlib
import functools
import os
import random
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import orjson
import pytest
import rasterio
import yaml
from commands import Commands
from year_world import BANDS, COLLECTION, LEAST_VALID, MOST_CLOUD, Archive, Field

from eeflow.ledger import Ledger
from eelocal import LocalEarthEngine

WEEKS = int(os.environ.get("EEFLOW_TEST_YEAR", "3"))
FIELDS = [Field.number(number) for number in range(26 if WEEKS > 26 else 5)]
SEED = int(os.environ.get("EEFLOW_TEST_SEED", "7"))
START = date(2024, 4, 29)
END = START + timedelta(weeks=WEEKS)
FAULTS = {"getRegion": ("503", "cut_body", "no_result"), "computePixels": ("503", "cut_body")}


@dataclass(frozen=True)
class Asked:
    """One request for pixels: when, for which field as its workload tag has it, of which scenes, and how it ended."""

    week: int
    tag: str | None
    scenes: tuple[str, ...]
    good: bool


class Service(LocalEarthEngine):
    """Earth Engine over the archive, which notes what was asked, and calls somebody when so much was."""

    def __init__(self):
        super().__init__()
        self.asked, self.listings = [], 0
        self._noting, self._then = threading.Lock(), None

    def show(self, archive):
        self.archive = self.assets.collections[COLLECTION] = archive

    def when(self, more, then):
        """Calls `then` once, before the answer to that many more requests for pixels."""
        self._then = (len(self.asked) + more, then)

    def answer(self, request):
        names = tuple(scene.index for scene in self.archive.shown() if scene.index.encode() in request.body)
        operation, answer, message = super().answer(request)
        good = answer.status == 200 and answer.delivery.part == 1 and answer.body != b"{}"
        with self._noting:
            if names:
                tag = orjson.loads(request.body).get("workloadTag")
                self.asked.append(Asked(self.archive.week, tag, names, good))
            self.listings += operation == "value:compute" and not names
            if self._then and len(self.asked) >= self._then[0]:
                self._then[1]()
                self._then = None
        return operation, answer, message


def write_campaign(folder):
    defaults = {
        "collection": COLLECTION,
        "bands": BANDS,
        "dates": {"start": START.isoformat(), "end": END.isoformat()},
        "output": {"root": str(folder / "data"), "quicklook": False, "stac": False},
    }
    path = folder / "year.yaml"
    path.write_text(yaml.safe_dump({"mode": "sync", "defaults": defaults, "jobs": [field.job for field in FIELDS]}))
    return path


def overlap(one, other, campaign):
    """Two at once: a folder is one's at a time, and what one of them cannot have the other does."""
    one.begin("campaign", campaign, "--json")
    other.begin("campaign", campaign, "--json")
    for done in (one.result(), other.result()):
        problems = [job["error"] for job in done.report["jobs"] if job["error"]]
        assert all("is being written by another run" in problem for problem in problems), done.stderr


@pytest.fixture
def service():
    with Service() as running:
        collection = running.assets.collections[COLLECTION]
        running.show(Archive(collection, [field.area for field in FIELDS], START, END, random.Random(SEED)))
        for operation, kinds in FAULTS.items():
            for kind in kinds:
                running.faults.add(kind, operation=operation, rate=0.05 / len(kinds))
        yield running


def test_at_the_end_of_the_year_the_disk_is_the_truth(tmp_path, prefect_environment, service):
    dice = random.Random(SEED)
    # The slots of a project for each, so that those which a killed one takes with it hold up no other for a minute.
    environments = [
        prefect_environment | {"EEFLOW_EE_URL": service.url, "EEFLOW_EE_PROJECT": f"year{number}"}
        for number in range(3)
    ]
    campaign = write_campaign(tmp_path)
    kills = sorted(dice.sample(range(1, WEEKS), 2))
    meeting = dice.randrange(1, kills[1])
    with contextlib.ExitStack() as stack:
        running, *waiting = [stack.enter_context(Commands(environment)) for environment in environments]
        for week in range(WEEKS):
            service.archive.week = week
            if week in kills:
                service.when(dice.randint(1, len(FIELDS)), running.kill)
                running.begin("campaign", campaign)
                running.result()
                running.kill()
                running = waiting.pop(0)
            if week == meeting:
                overlap(running, waiting[0], campaign)
            done = running("campaign", campaign, "--json")
            assert done.code == 0, done.stderr
        asked, listings = len(service.asked), service.listings
        assert running("campaign", campaign).code == 0
        assert (len(service.asked), service.listings) <= (asked, listings + len(FIELDS)), "with nothing new, listings"
        assert running("verify", tmp_path / "data").code == 0
    for field in FIELDS:
        check_field(field, tmp_path / "data" / field.name, service.archive)
    left = [path for path in (tmp_path / "data").rglob("*") if path.suffix in (".part", ".npz")]
    assert not [path for path in left if "clear" not in {f.kind for f in FIELDS if f.name in path.parts}], "blocks"
    check_requests(service, kills)


def check_field(field, folder, archive):
    """Each product is there once, of the last versions of its scenes, or its row says why not; and nothing else is."""
    rows = Ledger(folder).rows()
    last, grid = archive.shown(WEEKS - 1), None
    of = {frozenset(zip(row.scene_ids, row.versions, strict=True)): row for row in rows if row.status != "replaced"}
    assert set(of) == {frozenset((s.index, s.version) for s in group) for group in field.products(last)}
    assert {path.name for path in folder.glob("*.tif")} == {row.path for row in of.values() if row.on_disk}
    with rasterio.open(next(folder.glob("*.tif"))) as raster:
        grid = raster.transform, raster.shape
    for group in field.products(last):
        row = of[frozenset((s.index, s.version) for s in group)]
        wanted = field.pixels(group, *grid)
        reason = None
        if field.kind == "clear":
            few = (~np.isnan(wanted).any(axis=0)).mean() < LEAST_VALID
            reason = "cloudy" if field.cloud(group[0]) > MOST_CLOUD else "few_valid" if few else None
        assert (row.status, row.error_kind) == (("rejected", reason) if reason else ("written", None)), row
        if not reason:
            check_pixels(folder / row.path, wanted)
    check_replaced(field, folder, rows, archive)


def check_replaced(field, folder, rows, archive):
    """What was kept aside is each reprocessed scene as it was before."""
    aside = {(row.scene_ids[0], row.versions[0]): row for row in rows if row.status == "replaced"}
    changed = []
    if field.kind == "kept":
        shown = [scene for week in range(WEEKS) for (scene,) in field.products(archive.shown(week))]
        newest = {(scene.index, scene.version) for (scene,) in field.products(archive.shown(WEEKS - 1))}
        changed = [scene for scene in dict.fromkeys(shown) if (scene.index, scene.version) not in newest]
    assert set(aside) == {(scene.index, scene.version) for scene in changed}
    for scene in changed:
        path = folder / aside[scene.index, scene.version].path
        with rasterio.open(path) as raster:
            grid = raster.transform, raster.shape
        check_pixels(path, field.pixels([scene], *grid))


def check_pixels(path, wanted):
    with rasterio.open(path) as raster:
        values = np.where([raster.read_masks(band) > 0 for band in raster.indexes], raster.read(), np.nan)
    np.testing.assert_array_equal(values, wanted.astype(values.dtype))


def check_requests(service, kills):
    """Each scene was asked for when its product was new or changed, once, and again only where that had failed."""
    failed = sum(not asked.good for asked in service.asked)
    assert failed or WEEKS < 10
    good = Counter((asked.week, asked.tag, scene) for asked in service.asked if asked.good for scene in asked.scenes)
    overlapping = {field.name for field in FIELDS if field.kind in ("plain", "near")}
    shared = Counter()
    for week in range(WEEKS):
        spare = week in kills  # what a killed sync had in hand
        for field in FIELDS:
            wanted = changed_scenes(field, service.archive, week)
            asked = {scene: count for (w, tag, scene), count in good.items() if (w, tag) == (week, field.name)}
            if field.name in overlapping:
                shared.update({(week, scene): count for scene, count in asked.items()})
                continue
            most = 2 if field.kind == "clear" else 1  # its cloud, then its pixels
            assert set(asked) == wanted, (week, field)
            assert max(asked.values(), default=0) <= most + spare, (week, field)
    for (week, tag, scene), count in good.items():
        if tag is None:
            shared[week, scene] += count
    for week in range(WEEKS):
        fields = [field for field in FIELDS if field.name in overlapping]
        wanted = Counter(scene for field in fields for scene in changed_scenes(field, service.archive, week))
        assert {scene for w, scene in shared if w == week} == set(wanted)
        assert all(shared[week, scene] <= count * (1 + (week in kills)) for scene, count in wanted.items())


@functools.cache
def changed_scenes(field, archive, week):
    """The scenes of products that are new or changed in a week."""
    now, before = ({*field.products(archive.shown(w))} if w >= 0 else set() for w in (week, week - 1))
    return {scene.index for group in now - before for scene in group}
