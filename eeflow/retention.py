"""What happens to products when newer ones come, or when they are old: kept aside, or removed as the job says."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from eeflow.beside import product_files, remove_product
from eeflow.config import Job
from eeflow.images import Image
from eeflow.judge import UNSCORED, Refusal
from eeflow.ledger import Entry, Ledger
from eeflow.output import readable_size, whole_file
from eeflow.window import oldest_kept

ASIDE = "replaced"
"""The folder, within a job's, of products that are kept aside."""

_LAST = "9999"


def known_refusals(job: Job, images: Iterable[Image]) -> dict[str, Refusal]:
    """By image id, why images are not asked for again, as the ledger has it.

    They were rejected by this very job in these versions of their scenes, or were on disk and removed. A scene that
    lacked its Cloud Score+ is not among them: it may have one by now.
    """
    ledger, job_hash = Ledger(job.folder), job.content_hash()
    rejections, latest = ledger.rejections(), ledger.by_product_id()
    found = {}
    for image in images:
        row = rejections.get((image.image_id, tuple(scene.version for scene in image.scenes), job_hash))
        last = latest.get(image.image_id)
        row = row or (last if last and last.status == "removed" else None)
        if row and row.error_kind != UNSCORED:
            found[image.image_id] = Refusal(str(row.error_kind), str(row.reason))
    return found


def too_old(job: Job, images: Iterable[Image], now: datetime | None = None) -> dict[str, Refusal]:
    """By image id, which images `retention.keep` would remove at once."""
    oldest = oldest_kept(job, now)
    if oldest is None:
        return {}
    times = {image.image_id: image.time_end or image.time_start for image in images}
    refusal = Refusal("retention", _too_old(job))
    return {image_id: refusal for image_id, moment in times.items() if moment and moment.date() < oldest}


def set_aside(job: Job, name: str, versions: tuple[int | None, ...]) -> list[Entry]:
    """Keeps the product of that name from being overwritten by one of other versions, where the job says so.

    The file stays under its name until the new one takes it, and has a second name from now on.

    Returns:
        its row from now on, to be recorded together with that of the new product; none where there is nothing to keep.
    """
    tif = job.folder / f"{name}.tif"
    if job.sync.replaced != "keep" or not tif.exists():
        return []
    row = next((entry for entry in Ledger(job.folder).entries() if entry.path == tif.name), None)
    if row is None or row.versions == versions:
        return []
    newest = max((version for version in row.versions if version is not None), default=0)
    aside = job.folder / ASIDE / f"{name}_v{newest}.tif"
    aside.parent.mkdir(exist_ok=True)
    if _sha256(tif) == row.sha256:  # else a run that was killed has put the new file there already
        _link(tif, aside)
    if not aside.exists():
        return []
    return [replace(row, status="replaced", path=f"{ASIDE}/{aside.name}", reason="its scene has a newer version")]


def prune(job: Job, now: datetime | None = None, *, dry_run: bool = False) -> list[Entry]:
    """Removes what the job's `retention` does not keep, the oldest first; a held folder is taken for granted.

    The ledger has it first: a run that is killed in between leaves files that the next one removes.

    Returns:
        the rows of what was, or with `dry_run` would be, removed.
    """
    ledger, folder = Ledger(job.folder), job.folder
    if not dry_run:
        _sweep(ledger)
    files = sorted((row for row in ledger.rows() if row.on_disk), key=_age)
    oldest, most = oldest_kept(job, now), job.retention.max_gib
    going: dict[str, tuple[Entry, str]] = {}
    if oldest:
        going = {row.path: (row, _too_old(job)) for row in files if _age(row)[0][:10] < oldest.isoformat()}
    if most is not None:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
        size -= sum(_size(folder, path) for path in going)
        for row in (row for row in files if row.path not in going):
            if size <= most * 2**30:
                break
            size -= _size(folder, row.path)
            going[row.path] = row, f"the oldest, where the folder is above retention.max_gib {most:g}"
    gone = [_removed(row, reason) for row, reason in going.values()]
    if not dry_run:
        # What was kept aside is forgotten: its product's row is that of the file which took its place.
        ledger.record(*(row for row in gone if not row.path.startswith(ASIDE)), forgetting=list(going))
        for path in going:
            remove_product(folder, path)
    return gone


def _link(path: Path, other: Path) -> None:
    """Another name for a file; a copy where the file system knows no second names."""
    other.unlink(missing_ok=True)
    try:
        os.link(path, other)
    except OSError:
        with whole_file(other) as part:
            shutil.copyfile(path, part)


def _sweep(ledger: Ledger) -> None:
    """Removes the files of rows without one, which a killed run left."""
    rows = ledger.rows()
    there = {row.path for row in rows if row.on_disk}
    for row in rows:
        if row.status == "removed" and row.path not in there:
            remove_product(ledger.folder, row.path)
    for path in (ledger.folder / ASIDE).glob("*.tif"):
        if f"{ASIDE}/{path.name}" not in there:
            remove_product(ledger.folder, f"{ASIDE}/{path.name}")


def _removed(row: Entry, reason: str) -> Entry:
    size = readable_size(row.size)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    gone = replace(row, status="removed", stage="retain", sha256=None, size=None, written_at=now)
    return replace(gone, error_kind="retention", reason=f"{reason}; it had {size}")


def _age(row: Entry) -> tuple[str, str]:
    """Sorts the oldest first, by UTC; those without a time last, since nothing says that they are old."""
    time = row.time_end or row.time_start
    return (datetime.fromisoformat(time).astimezone(UTC).isoformat() if time else _LAST), row.path


def _too_old(job: Job) -> str:
    return f"older than retention.keep {job.retention.keep}"


def _size(folder: Path, path: str) -> int:
    return sum(file.stat().st_size for file in product_files(folder, path) if file.exists())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
