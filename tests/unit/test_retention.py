"""What retention removes, what the ledger says of it, and what a run that was killed in between leaves."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from eeflow.images import Image
from eeflow.ledger import Ledger
from eeflow.retention import known_refusals, prune, set_aside, too_old
from eeflow.scenes import Scene

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
TIMES = {
    "old": "2026-02-08T23:59:59+00:00",
    "kept": "2026-02-09T00:00:00+00:00",
    "new": "2026-03-10T10:00:00+00:00",
    "timeless": None,
}


@pytest.fixture
def filled(make_job, make_product):
    """A job's folder with four products, each with a picture of 1,000 bytes; yields a maker of jobs on it."""
    job = make_job()
    job.folder.mkdir(parents=True)
    for name, time in TIMES.items():
        make_product(job, name, time=time)
        (job.folder / f"{name}.png").write_bytes(b"x" * 1000)
        (job.folder / f"{name}.tif.aux.xml").write_text("<PAMDataset/>")

    def job_with(**retention):
        return make_job(retention=retention)

    return job_with


def there(folder):
    return sorted(path.stem for path in folder.glob("*.tif"))


def image(name, version=1, time="2026-01-01T00:00:00+00:00"):
    return Image(name, (Scene(name, version, datetime.fromisoformat(time), (), None),), name)


def test_removes_what_is_older_than_its_days(filled):
    job = filled(keep="30d")
    dry = prune(job, NOW, dry_run=True)
    assert [row.path for row in dry] == ["old.tif"]
    assert there(job.folder) == sorted(TIMES)
    assert prune(job, NOW) == dry
    assert there(job.folder) == ["kept", "new", "timeless"]
    assert not list(job.folder.glob("old*"))
    (row,) = [row for row in Ledger(job.folder).rows() if row.path == "old.tif"]
    assert (row.status, row.stage, row.sha256, row.size) == ("removed", "retain", None, None)
    assert row.reason.startswith("older than retention.keep 30d; it had ")
    assert prune(job, NOW) == []


def test_removes_the_oldest_until_the_folder_is_small_enough(filled):
    size = sum(path.stat().st_size for path in filled().folder.iterdir() if path.name[0] != ".")
    assert [row.path for row in prune(filled(max_gib=(size - 1) / 2**30), NOW, dry_run=True)] == ["old.tif"]
    assert [row.path for row in prune(filled(max_gib=(size - 4000) / 2**30), NOW, dry_run=True)][:2] == [
        "old.tif", "kept.tif",
    ]  # fmt: skip
    assert prune(filled(max_gib=size / 2**30), NOW) == []
    removed = prune(filled(max_gib=1e-9), NOW)
    assert [row.path for row in removed] == ["old.tif", "kept.tif", "new.tif", "timeless.tif"]


def test_what_a_killed_run_had_removed_from_the_ledger_alone_goes_next_time(filled):
    job, ledger = filled(keep="30d"), Ledger(filled().folder)
    (row,) = prune(job, NOW, dry_run=True)
    ledger.record(row, forgetting=[row.path])
    assert "old" in there(job.folder)
    assert prune(job, NOW) == []
    assert not list(job.folder.glob("old*"))


def test_removed_and_rejected_products_are_remembered(filled):
    job, ledger = filled(keep="30d"), Ledger(filled().folder)
    prune(job, NOW)
    row = replace(ledger.rows()[0], path="cloudy.tif", product_id="cloudy", sha256=None, size=None, status="rejected")
    ledger.record(replace(row, error_kind="cloudy", reason="cloud over 80 %", job_hash=job.content_hash()))
    images = [image("old", version=2), image("cloudy"), image("kept")]
    known = known_refusals(job, images)
    assert {name: refusal.kind for name, refusal in known.items()} == {"old": "retention", "cloudy": "cloudy"}
    assert known_refusals(job, [image("cloudy", version=2)]) == {}
    assert known_refusals(job.model_copy(update={"bands": ["B8"]}), [image("cloudy")]) == {}
    ledger.record(replace(row, error_kind="no_score", reason="no Cloud Score+ (yet)", job_hash=job.content_hash()))
    assert known_refusals(job, [image("cloudy")]) == {}, "it may have one by now"


def test_what_would_be_removed_at_once_is_not_wanted(filled):
    images = [image(name, time=time) for name, time in TIMES.items() if time]
    assert list(too_old(filled(keep="30d"), images, NOW)) == ["old"]
    assert too_old(filled(), images, NOW) == {}


def test_an_old_version_is_kept_aside_once_and_never_the_new_one(make_job, make_product):
    job = make_job(sync={"replaced": "keep"})
    job.folder.mkdir(parents=True)
    entry = make_product(job, "farm", versions=(5,))
    old = (job.folder / "farm.tif").read_bytes()
    assert set_aside(make_job(), "farm", (6,)) == []
    assert set_aside(job, "farm", (5,)) == [], "the same version in other bands is no older one"
    aside = job.folder / "replaced" / "farm_v5.tif"
    (row,) = set_aside(job, "farm", (6,))
    assert (row.status, row.path, row.sha256) == ("replaced", "replaced/farm_v5.tif", entry.sha256)
    # Killed after the new file had its name, and before the ledger knew.
    other = job.folder / "other.tif"
    other.write_bytes(b"the new version")
    other.replace(job.folder / "farm.tif")
    assert [found.path for found in set_aside(job, "farm", (6,))] == [row.path]
    assert aside.read_bytes() == old
    Ledger(job.folder).record(row, replace(entry, versions=(6,), size=15))
    assert prune(make_job(retention={"max_gib": 1.0}), NOW) == []
    assert aside.exists()
    prune(make_job(retention={"max_gib": 1e-9}), NOW)
    assert [(found.path, found.status) for found in Ledger(job.folder).rows()] == [("farm.tif", "removed")]
    assert not aside.exists()
