"""Files that appear only when whole, in a folder that one run at a time writes to."""

import subprocess
import sys

import pytest

from eeflow.output import FolderBusyError, exclusive, whole_file

HOLDER = """
import sys, pathlib
from eeflow.output import exclusive
with exclusive(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_file_appears_under_its_name_only_at_the_end(tmp_path):
    path = tmp_path / "a.tif"
    with whole_file(path) as part:
        part.write_text("half", encoding="utf-8")
        assert not path.exists()
        assert part.parent == tmp_path  # a rename within one file system
    assert path.read_text(encoding="utf-8") == "half"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.tif"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(error), whole_file(path) as part:
        part.write_text("half", encoding="utf-8")
        raise error
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_error_without_an_old_file_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="x"), whole_file(tmp_path / "a.tif") as part:
        part.write_text("half", encoding="utf-8")
        raise ValueError("x")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_not_taken_for_new(tmp_path):
    path = tmp_path / "a.tif"
    (tmp_path / ".a.tif.part").write_text("left", encoding="utf-8")
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass
    assert not path.exists()


def test_folder_is_held_by_one_process_until_it_ends_however_it_ends(tmp_path):
    folder = tmp_path / "farm"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                FolderBusyError, match=rf"is being written by another run \(process {holder.pid}\); wait for"
            ),
            exclusive(folder),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with exclusive(folder):
        pass


def test_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(KeyError), exclusive(tmp_path):
        raise KeyError
    with exclusive(tmp_path), pytest.raises(FolderBusyError), exclusive(tmp_path):
        pass


def test_new_run_sweeps_what_a_killed_one_left_half_written(tmp_path):
    for name in (
        ".a.tif.part",
        ".a.tif.tiles.part",
        ".a.tif.part.ovr.tmp",
        ".a.tif.part.msk.ovr.tmp",
        ".grid.json.part",
    ):
        (tmp_path / name).write_text("half", encoding="utf-8")
    kept = {"a.tif", "b.part.tif", "ledger.sqlite", ".hidden"}
    for name in kept:
        (tmp_path / name).write_text("whole", encoding="utf-8")
    with exclusive(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == kept | {".eeflow.lock"}
