"""Files that appear under their name only when they are whole, in a folder one run at a time writes to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eeflow.errors import EEFlowError

_PART = ".part"
LOCK_NAME = ".eeflow.lock"


class FolderBusyError(EEFlowError):
    """Another run is writing to the folder."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its name when the block ends without an error.

    The contents are on the disk before the name is, so a power cut leaves the old file or the new one.
    """
    part = path.with_name(f".{path.name}{_PART}")
    part.unlink(missing_ok=True)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Holds a folder for one run; what a killed run left half-written in it is removed.

    The operating system lets go of the lock when the process ends, however it ends.

    Raises:
        FolderBusyError: another run holds it.
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_NAME).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise FolderBusyError(
                f"{folder} is being written by another run (process {lock.read().strip() or 'unknown'}); wait for it "
                "to end, or give this job another name or output.root."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        for left in folder.glob(f".*{_PART}*"):  # GDAL adds endings of its own to what it keeps beside a file
            left.unlink(missing_ok=True)
        yield


def last_held(folder: Path) -> float:
    """When a run last began to write to a folder, in seconds since 1970; 0 where none ever did."""
    try:
        return (folder / LOCK_NAME).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def readable_size(size: int | None) -> str:
    """Bytes for people; empty where there are none to tell of."""
    if size is None:
        return ""
    value, units = float(size), ["B", "KiB", "MiB", "GiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
