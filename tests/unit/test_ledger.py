"""The ledger: what it is told, and only files that are whole."""

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from eeflow.ledger import LEDGER_NAME, Entry, Ledger, LedgerError

# As eeflow 0.1 made it.
VERSION_1 = """
    CREATE TABLE products (
        path TEXT PRIMARY KEY, key TEXT NOT NULL, scene_id TEXT NOT NULL, version INTEGER, time_start TEXT,
        grid_hash TEXT NOT NULL, job_hash TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
        valid_pixels INTEGER NOT NULL, masked_pixels INTEGER NOT NULL, missed_pixels INTEGER NOT NULL,
        clipped_pixels INTEGER NOT NULL, written_at TEXT NOT NULL
    )
"""


def entry(path="farm_20190503T105621.tif", **changes):
    made = Entry(
        product_id=path.removesuffix(".tif"),
        path=path,
        key="k1",
        scene_ids=("S0",),
        versions=(1556881381000000,),
        time_start="2019-05-03T10:56:21.750000+00:00",
        time_end="2019-05-03T10:56:21.750000+00:00",
        grid_hash="g1",
        job_hash="j1",
        sha256="0" * 64,
        size=5,
        valid_pixels=6,
        masked_pixels=3,
        missed_pixels=1,
        clipped_pixels=90,
        seconds=1.5,
        written_at="2026-01-01T00:00:00+00:00",
    )
    return replace(made, **changes)


def without_file(path="farm_20190503T105621.tif", **changes):
    gone = {"sha256": None, "size": None, "status": "failed", "stage": "fetch", "error_kind": "BadAnswer"}
    return entry(path, **{**gone, "reason": "a row is missing", **changes})


def test_entries_come_back_by_path(tmp_path):
    ledger = Ledger(tmp_path)
    day = entry("b.tif", kind="day", scene_ids=("S1", "S2"), versions=(7, None), time_start=None, cloud_fraction=0.25)
    first = entry("a.tif")
    ledger.record(day, first)
    assert ledger.entries() == [first, day]


def test_what_a_product_was_made_without_comes_back_and_is_told(tmp_path):
    why = {"S1": "cloud over 41.2% of the area", "S2": "it has no Cloud Score+ (yet)"}
    Ledger(tmp_path).record(entry("a.tif", left_out=why), entry("b.tif", left_out={"S2": why["S2"]}), entry("c.tif"))
    rows = Ledger(tmp_path).rows()
    assert [row.left_out for row in rows] == [why, {"S2": why["S2"]}, {}]
    assert [row.remark for row in rows] == [
        "2 of 3 scenes left out, such as S1: cloud over 41.2% of the area",
        "1 of 2 scenes left out, S2: it has no Cloud Score+ (yet)",
        "",
    ]
    assert without_file(left_out=why).remark == "a row is missing"


def test_new_entry_replaces_the_one_of_its_path(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(entry())
    ledger.record(entry(key="k2"))
    assert [found.key for found in ledger.rows()] == ["k2"]


def test_no_ledger_is_no_products_and_makes_no_file(tmp_path):
    assert Ledger(tmp_path).entries() == []
    assert Ledger(tmp_path).intact() == {}
    assert Ledger(tmp_path).rejections() == {}
    assert list(tmp_path.iterdir()) == []


def test_intact_are_those_whose_file_has_its_size(tmp_path):
    ledger = Ledger(tmp_path)
    for name, content in {"whole.tif": b"12345", "cut.tif": b"1234", "longer.tif": b"123456", "empty.tif": b""}.items():
        (tmp_path / name).write_bytes(content)
        ledger.record(entry(name))
    ledger.record(entry("gone.tif"))
    assert list(ledger.intact()) == ["whole.tif"]


def test_valid_fraction_by_hand():
    assert entry().valid_fraction == 0.6  # 6 of 6 + 3 + 1; the 90 clipped ones do not count
    assert entry(valid_pixels=0, masked_pixels=0, missed_pixels=0).valid_fraction == 0
    assert without_file(valid_pixels=None).valid_fraction == 0


def test_what_failed_is_not_on_disk_even_where_a_file_has_its_name(tmp_path):
    ledger = Ledger(tmp_path)
    (tmp_path / "farm_20190503T105621.tif").write_bytes(b"12345")
    failed = without_file()
    ledger.record(failed)
    assert (ledger.rows(), ledger.entries(), ledger.intact()) == ([failed], [], {})
    with pytest.raises(LedgerError, match="CHECK"):
        ledger.record(entry("other.tif", status="failed"))  # says that it failed, and that there is a file
    assert ledger.rows() == [failed]


def test_what_failed_leaves_the_row_of_an_earlier_file(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(entry(key="k1"))
    ledger.record(without_file(key="k2"))
    assert [found.key for found in ledger.entries()] == ["k1"]
    assert ledger.by_product_id()["farm_20190503T105621"].status == "failed"
    ledger.record(entry(key="k2"))
    assert [(found.key, found.status) for found in ledger.rows()] == [("k2", "written")]


def test_tries_add_up_until_the_product_is_there(tmp_path):
    ledger = Ledger(tmp_path)
    for _ in range(2):
        ledger.record(without_file())
    assert [found.tries for found in ledger.rows()] == [2]
    ledger.record(entry())
    assert [found.tries for found in ledger.rows()] == [3]
    ledger.record(without_file(key="another job's"))
    ledger.record(entry(key="a third one's"))
    assert [found.tries for found in ledger.rows()] == [1]


def test_rejections_are_those_of_a_version_and_a_job(tmp_path):
    ledger = Ledger(tmp_path)
    cloudy = without_file(
        status="rejected", stage="judge", error_kind="cloudy", reason="too cloudy", cloud_fraction=0.8
    )
    ledger.record(cloudy, without_file("b.tif"))
    assert ledger.rejections() == {("farm_20190503T105621", (1556881381000000,), "j1"): cloudy}
    ledger.record(replace(cloudy, versions=(1556881381000001,)))
    assert list(ledger.rejections()) == [("farm_20190503T105621", (1556881381000001,), "j1")]


def test_a_replaced_file_kept_aside_does_not_stand_for_its_product(tmp_path):
    ledger = Ledger(tmp_path)
    aside = entry(path="aside.tif", product_id="S0", status="replaced", key="old")
    (tmp_path / "aside.tif").write_bytes(b"12345")
    ledger.record(entry("new.tif", product_id="S0"), aside)
    assert ledger.names() == {"S0": "new"}
    assert ledger.by_product_id()["S0"].path == "new.tif"
    assert [found.path for found in ledger.entries()] == ["new.tif"]
    assert ledger.intact() == {}
    assert [found.path for found in ledger.rows() if found.on_disk] == ["aside.tif", "new.tif"]


def test_forgets_files_alone(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(entry("a.tif"), entry("b.tif"), without_file("a.tif", product_id="other"))
    ledger.record(forgetting=["a.tif", "never.tif"])
    assert [(found.path, found.status) for found in ledger.rows()] == [("a.tif", "failed"), ("b.tif", "written")]


def test_many_threads_may_open_a_new_ledger_at_once(tmp_path):
    begin, errors = threading.Barrier(8), []

    def record(number):
        begin.wait()
        try:
            Ledger(tmp_path).record(entry(f"{number}.tif"))
        except sqlite3.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=record, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(Ledger(tmp_path).entries()) == 8


def test_processes_take_turns(tmp_path):
    Ledger(tmp_path).record(without_file(tries=0))
    script = """
import sys
from dataclasses import replace
from pathlib import Path
from eeflow.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
(row,) = ledger.rows()
for _ in range(20):
    ledger.record(replace(row, tries=1))
"""
    processes = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert [found.tries for found in Ledger(tmp_path).rows()] == [60]  # none was lost between reading and writing


def test_ten_thousand_rows_are_no_matter(tmp_path):
    ledger = Ledger(tmp_path)
    begun = time.process_time()
    ledger.record(*(entry(f"{number:05}.tif") for number in range(10_000)))
    assert len(ledger.entries()) == len(ledger.names()) == 10_000
    assert time.process_time() - begun < 5


def test_empty_database_is_migrated(tmp_path):
    (tmp_path / LEDGER_NAME).touch()
    assert Ledger(tmp_path).entries() == []
    Ledger(tmp_path).record(entry())
    assert Ledger(tmp_path).entries() == [entry()]


def test_rows_of_the_first_schema_are_kept(tmp_path):
    old = ("a.tif", "k", "S0", 7, "2019-05-03T10:56:21+00:00", "g", "j", "0" * 64, 5, 6, 3, 1, 90, "2026-01-01")
    with closing(sqlite3.connect(tmp_path / LEDGER_NAME)) as database, database:
        database.execute(VERSION_1)
        for row in (old, ("b.tif", "k2", "S1", None, None, *old[5:])):
            database.execute(f"INSERT INTO products VALUES ({', '.join('?' * len(row))})", row)
        database.execute("PRAGMA user_version = 1")
    first, second = Ledger(tmp_path).entries()
    assert first == entry(
        "a.tif", product_id="S0", key="k", versions=(7,), time_start=old[4], time_end=old[4], grid_hash="g",
        job_hash="j", seconds=None, written_at="2026-01-01",
    )  # fmt: skip
    assert (second.scene_ids, second.versions, second.time_start, second.time_end) == (("S1",), (None,), None, None)
    Ledger(tmp_path).record(entry("b.tif", product_id="S1"))
    assert len(Ledger(tmp_path).rows()) == 2


def test_a_newer_ledger_and_another_file_are_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / LEDGER_NAME)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match=r"newer eeflow \(ledger version 99; this one knows \d+\)"):
        Ledger(tmp_path).entries()
    (tmp_path / LEDGER_NAME).write_bytes(b"this is no database" * 100)
    with pytest.raises(LedgerError, match="cannot be used as a ledger"):
        Ledger(tmp_path).record(entry())
