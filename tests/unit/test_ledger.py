"""The ledger: what it is told, and only files that are whole."""

import sqlite3
import threading
from dataclasses import replace

from eeflow.ledger import LEDGER_NAME, Entry, Ledger


def entry(path="farm_20190503T105621.tif", **changes):
    made = Entry(
        path=path,
        key="k1",
        scene_id="S0",
        version=1556881381000000,
        time_start="2019-05-03T10:56:21.750000+00:00",
        grid_hash="g1",
        job_hash="j1",
        sha256="0" * 64,
        size=5,
        valid_pixels=6,
        masked_pixels=3,
        missed_pixels=1,
        clipped_pixels=90,
        written_at="2026-01-01T00:00:00+00:00",
    )
    return replace(made, **changes)


def test_entries_come_back_by_path(tmp_path):
    ledger = Ledger(tmp_path)
    second, first = entry("b.tif", version=None, time_start=None), entry("a.tif")
    ledger.record(second)
    ledger.record(first)
    assert ledger.entries() == [first, second]


def test_new_entry_replaces_the_one_of_its_path(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(entry())
    ledger.record(entry(key="k2"))
    assert [found.key for found in ledger.entries()] == ["k2"]


def test_no_ledger_is_no_products_and_makes_no_file(tmp_path):
    assert Ledger(tmp_path).entries() == []
    assert Ledger(tmp_path).intact() == {}
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


def test_empty_database_is_migrated(tmp_path):
    sqlite3.connect(tmp_path / LEDGER_NAME).close()
    (tmp_path / LEDGER_NAME).touch()
    assert Ledger(tmp_path).entries() == []
    Ledger(tmp_path).record(entry())
    assert len(Ledger(tmp_path).entries()) == 1
    database = sqlite3.connect(tmp_path / LEDGER_NAME)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (count,) = database.execute("SELECT count(*) FROM products").fetchone()
    database.close()
    assert version >= 1
    assert count == 1
