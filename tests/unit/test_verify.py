"""Every kind of damage to a folder is named, and nothing else is."""

import fcntl
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from eeflow.aoi import load_aoi
from eeflow.beside import finish_folder, write_beside
from eeflow.ledger import Ledger, NothingThere, job_folders
from eeflow.verify import verify_folder
from flows.__main__ import app

NAME = "farm_20190503T105621"


@pytest.fixture
def folder(make_job, make_product):
    """Two products with all that lies beside them, one of them with pixels that are not valid."""
    job = make_job(output={"root": str(make_job().folder.parent), "table": "csv", "quicklook": False})
    valid = np.ones((6, 8), bool)
    valid[:2] = False
    write_beside(job, make_product(job, NAME, valid=valid))
    write_beside(job, make_product(job, "farm_20190508T105621", time="2019-05-08T10:56:21+00:00"))
    finish_folder(job, load_aoi(job.aoi))
    return job.folder


def found(folder):
    return [(finding.path, finding.problem) for finding in verify_folder(folder).findings]


def rewrite(path, change):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content)))


def test_a_folder_as_it_was_written_is_all_right(folder):
    verdict = verify_folder(folder)
    assert (verdict.findings, verdict.products, verdict.busy, verdict.is_right) == ((), 2, False, True)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "changed": (f"{NAME}.tif", "changed", flip),
    "longer": (f"{NAME}.tif", "changed", lambda path: path.write_bytes(path.read_bytes() + b"x")),
    "cut": (f"{NAME}.tif", "cut", lambda path: path.write_bytes(path.read_bytes()[:100])),
    "empty": (f"{NAME}.tif", "cut", lambda path: path.write_bytes(b"")),
    "lost": (f"{NAME}.tif", "lost", lambda path: path.unlink()),
    "item cut": (f"{NAME}.json", "damaged", lambda path: path.write_text('{"assets"')),
    "grid lost": ("grid.json", "lost", lambda path: path.unlink()),
    "grid changed": ("grid.json", "damaged", lambda path: rewrite(path, lambda grid: grid | {"shape": [7, 8]})),
    "ledger damaged": ("ledger.sqlite", "damaged", lambda path: path.write_bytes(b"no database" * 500)),
    "another GeoTIFF": ("mine.tif", "unknown", lambda path: path.write_bytes(b"x")),
    "another picture": ("farm_20190101.png", "unknown", lambda path: path.write_bytes(b"x")),
    "another item": ("farm_20190101.json", "unknown", lambda path: path.write_text("{}")),
}


@pytest.mark.parametrize(("name", "problem", "damage"), DAMAGE.values(), ids=DAMAGE)
def test_each_damage_is_named(folder, name, problem, damage):
    damage(folder / name)
    assert found(folder) == [(name, problem)]
    assert not verify_folder(folder).is_right


def test_an_item_of_another_file_is_named(folder):
    def other(item):
        item["assets"]["data"]["file:checksum"] = "1220" + "0" * 64
        return item

    rewrite(folder / f"{NAME}.json", other)
    assert found(folder) == [(f"{NAME}.json", "changed")]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"valid_pixels": 33, "masked_pixels": 15}, "32 pixels are valid in every band, the ledger counted 33"),
        ({"masked_pixels": 17}, "it has 48 pixels, the ledger counted 49"),
        ({"grid_hash": "0123"}, "its grid is 0123, that of grid.json"),
        ({"job_hash": "0123"}, "the ledger's 0123"),
    ],
)
def test_a_ledger_that_says_other_than_the_pixels_is_found_out(folder, change, text):
    ledger = Ledger(folder)
    row = next(row for row in ledger.rows() if row.path == f"{NAME}.tif")
    ledger.record(replace(row, **change))
    findings = verify_folder(folder).findings
    assert {(finding.path, finding.problem) for finding in findings} == {(f"{NAME}.tif", "wrong")}
    assert any(text in finding.text for finding in findings)


def test_leftovers_are_named_and_do_no_harm(folder):
    (folder / f".{NAME}.tif.part").write_bytes(b"half")
    assert found(folder) == [(f".{NAME}.tif.part", "leftover")]
    assert verify_folder(folder).is_right


def test_what_a_run_is_writing_is_not_judged(folder):
    (folder / "farm_20190601.tif").write_bytes(b"soon in the ledger")
    with (folder / ".eeflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        verdict = verify_folder(folder)
    assert (verdict.busy, verdict.findings) == (True, ())
    assert found(folder) == [("farm_20190601.tif", "unknown")]


def test_rows_without_a_file_need_none(folder):
    ledger = Ledger(folder)
    gone = {"sha256": None, "size": None, "product_id": "S9", "path": "farm_20190601.tif"}
    ledger.record(replace(ledger.rows()[0], status="rejected", reason="too cloudy", **gone))
    assert found(folder) == []


def test_folders_of_a_root(folder, tmp_path):
    assert job_folders(folder) == [folder]
    assert job_folders(folder.parent) == [folder]
    with pytest.raises(NothingThere, match=r"nowhere is no folder"):
        job_folders(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingThere, match=r"holds no ledger\.sqlite"):
        job_folders(tmp_path / "empty")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_verify_as_a_command(folder, tmp_path):
    assert run("verify", folder).exit_code == 0
    assert json.loads(run("verify", folder.parent, "--json").stdout)["folders"][0]["products"] == 2
    (folder / f"{NAME}.tif").unlink()
    result = run("verify", folder)
    assert (result.exit_code, f"lost: {NAME}.tif" in result.stdout) == (1, True)
    assert json.loads(run("verify", folder, "--json").stdout)["right"] is False
    result = run("verify", tmp_path / "nowhere")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_ls_lists_what_is_there_and_why_the_rest_is_not(folder):
    ledger = Ledger(folder)
    gone = {"sha256": None, "size": None, "valid_pixels": None, "product_id": "S9", "path": "farm_20190601.tif"}
    row = replace(ledger.rows()[0], status="rejected", reason="too cloudy over [the area]: 93%", **gone)
    ledger.record(replace(row, cloud_fraction=0.93, time_start="2019-06-01T10:56:21+00:00"))
    lines = run("ls", folder).stdout.splitlines()
    assert [line.split()[2] for line in lines[2:]] == [NAME, "farm_20190508T105621", "farm_20190601"]
    assert lines[2].split()[3:6] == ["written", "66.7%", lines[2].split()[5]]  # 32 of 48 pixels
    assert lines[4].rstrip().endswith("93.0%           too cloudy over [the area]: 93%")
    listed = json.loads(run("ls", folder.parent, "--json").stdout)["folders"][0]["products"]
    assert [product["status"] for product in listed] == ["written", "written", "rejected"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(folder):
    (folder / f"{NAME}.tif").chmod(0)
    assert run("verify", folder).exit_code == 1
