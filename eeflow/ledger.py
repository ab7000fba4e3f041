"""The record of what became of each product: one row, written last, when its file has its name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from eeflow.errors import EEFlowError, UserError

LEDGER_NAME = "ledger.sqlite"

Kind = Literal["scene", "day", "composite"]
Status = Literal["written", "replaced", "rejected", "failed", "removed"]
Stage = Literal["judge", "fetch", "write", "retain"]


class LedgerError(EEFlowError):
    """The ledger's file is damaged, from a newer eeflow, or something else."""


class NothingThere(UserError):
    """No folder of that name, or no ledger in or below it."""


# Numbered migrations: the database's user_version is how many of them it has had.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE products (
            path TEXT PRIMARY KEY, key TEXT NOT NULL, scene_id TEXT NOT NULL, version INTEGER, time_start TEXT,
            grid_hash TEXT NOT NULL, job_hash TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
            valid_pixels INTEGER NOT NULL, masked_pixels INTEGER NOT NULL, missed_pixels INTEGER NOT NULL,
            clipped_pixels INTEGER NOT NULL, written_at TEXT NOT NULL
        )
        """,
    ),
    (
        "ALTER TABLE products RENAME TO products_1",
        # Later rows have higher ids. A product has at most one row without a file; a path is that of one file.
        """
        CREATE TABLE products (
            id INTEGER PRIMARY KEY, product_id TEXT NOT NULL, kind TEXT NOT NULL, stage TEXT NOT NULL,
            status TEXT NOT NULL, error_kind TEXT, reason TEXT, path TEXT NOT NULL, key TEXT NOT NULL,
            scene_ids TEXT NOT NULL, versions TEXT NOT NULL, time_start TEXT, time_end TEXT, grid_hash TEXT NOT NULL,
            job_hash TEXT NOT NULL, sha256 TEXT, size INTEGER, valid_pixels INTEGER, masked_pixels INTEGER,
            missed_pixels INTEGER, clipped_pixels INTEGER, cloud_fraction REAL, tries INTEGER NOT NULL, seconds REAL,
            written_at TEXT NOT NULL,
            CHECK ((status IN ('written', 'replaced')) = (sha256 IS NOT NULL AND size IS NOT NULL))
        )
        """,
        "CREATE UNIQUE INDEX one_file_a_path ON products (path) WHERE sha256 IS NOT NULL",
        "CREATE UNIQUE INDEX one_row_without_file ON products (product_id) WHERE sha256 IS NULL",
        """
        INSERT INTO products (
            product_id, kind, stage, status, path, key, scene_ids, versions, time_start, time_end, grid_hash, job_hash,
            sha256, size, valid_pixels, masked_pixels, missed_pixels, clipped_pixels, tries, written_at
        )
        SELECT scene_id, 'scene', 'write', 'written', path, key, json_array(scene_id), json_array(version), time_start,
            time_start, grid_hash, job_hash, sha256, size, valid_pixels, masked_pixels, missed_pixels, clipped_pixels,
            1, written_at
        FROM products_1 ORDER BY written_at, path
        """,
        "DROP TABLE products_1",
    ),
    ("ALTER TABLE products ADD COLUMN left_out TEXT NOT NULL DEFAULT '{}'",),
)


@dataclass(frozen=True)
class Entry:
    """What became of one product.

    Attributes:
        product_id: what it shows: a scene's index, a day and orbit, or a period.
        status: `written`: on disk; `replaced`: on disk, kept aside for a newer version; `rejected`: the job does not
            want it; `failed`: it could not be made; `removed`: it was on disk and is no more, on purpose.
        stage: the step that decided: `judge` (before pixels were asked for), `fetch`, `write` or `retain`.
        error_kind: class of the error, or of the rejection.
        reason: for people: the error's text, or why it was rejected or removed.
        path: file name within the ledger's folder; where it would be, when it is not on disk.
        key: content hash of the product.
        scene_ids: the scenes it is made of.
        versions: their versions, in the same order.
        left_out: scenes of its day or period that the job does not want, and why.
        time_start: of its first scene, ISO 8601; None where it has no time.
        time_end: of its last scene.
        sha256: of the file; None when it is not on disk.
        size: of the file, bytes.
        valid_pixels: pixels with a value in every band.
        masked_pixels: pixels the scenes have, masked in some band.
        missed_pixels: pixels the scenes have no data for.
        clipped_pixels: pixels outside the area, where the product is clipped to it.
        cloud_fraction: share of cloud over the area; None where it was not judged.
        tries: how often it was tried, over all runs until it was there.
        seconds: what the last try took.
        written_at: when this row was written, ISO 8601.
    """

    product_id: str
    path: str
    key: str
    scene_ids: tuple[str, ...]
    versions: tuple[int | None, ...]
    time_start: str | None
    grid_hash: str
    job_hash: str
    written_at: str
    time_end: str | None = None
    kind: Kind = "scene"
    stage: Stage = "write"
    status: Status = "written"
    error_kind: str | None = None
    reason: str | None = None
    sha256: str | None = None
    size: int | None = None
    valid_pixels: int | None = None
    masked_pixels: int | None = None
    missed_pixels: int | None = None
    clipped_pixels: int | None = None
    cloud_fraction: float | None = None
    tries: int = 1
    seconds: float | None = None
    left_out: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def on_disk(self) -> bool:
        """Whether there is a file."""
        return self.status in ("written", "replaced")

    @property
    def valid_fraction(self) -> float:
        """Share of the pixels that are valid in every band, clipped ones not counted; 0 where none were counted."""
        if self.valid_pixels is None:
            return 0.0
        return self.valid_pixels / max(1, self.valid_pixels + (self.masked_pixels or 0) + (self.missed_pixels or 0))

    @property
    def remark(self) -> str:
        """For people: why it is not there, or what it was made without; empty where there is nothing to say."""
        return self.reason or without(self.left_out, len(self.scene_ids))


_COLUMNS = tuple(field.name for field in fields(Entry))
_LISTS, _MAPPINGS = ("scene_ids", "versions"), ("left_out",)


@dataclass(frozen=True)
class Ledger:
    """The ledger of one output folder. Threads and processes may use it at once."""

    folder: Path

    def record(self, *entries: Entry, forgetting: Sequence[str] = ()) -> None:
        """Adds what became of products, and takes out the rows of files that are no more; all or nothing.

        A file's row takes the place of its path's earlier one; a row without a file takes that of its product's
        earlier one without, and leaves the row of a file that is still there. Tries add up until the product is there.

        Args:
            entries: what became of products.
            forgetting: paths of files that are no more.
        """
        if not entries and not forgetting:
            return
        names, marks = ", ".join(_COLUMNS), ", ".join(f":{name}" for name in _COLUMNS)
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(
                "DELETE FROM products WHERE path = ? AND sha256 IS NOT NULL", [(path,) for path in forgetting]
            )
            for entry in entries:
                row = _to_row(entry)
                without_file = "FROM products WHERE product_id = :product_id AND sha256 IS NULL"
                for key, tries in database.execute(f"SELECT key, tries {without_file}", row).fetchall():
                    row["tries"] += tries if key == entry.key else 0
                database.execute(f"DELETE {without_file}", row)
                database.execute(f"REPLACE INTO products ({names}) VALUES ({marks})", row)

    def rows(self) -> list[Entry]:
        """All that is known, by path; of one path the older first."""
        return sorted(self._by_age(), key=lambda entry: entry.path)

    def entries(self) -> list[Entry]:
        """Products on disk, by path; those kept aside for a newer version are not among them."""
        return [entry for entry in self.rows() if entry.status == "written"]

    def intact(self) -> dict[str, Entry]:
        """Products, by path, whose file is there with the size that was written."""
        return {
            entry.path: entry
            for entry in self.entries()
            if (path := self.folder / entry.path).exists() and path.stat().st_size == entry.size
        }

    def by_product_id(self) -> dict[str, Entry]:
        """The latest that is known of each product; files kept aside are not counted."""
        return {entry.product_id: entry for entry in self._by_age() if entry.status != "replaced"}

    def rejections(self) -> dict[tuple[str, tuple[int | None, ...], str], Entry]:
        """Products the job does not want, by product id, versions of the scenes, and job hash."""
        return {
            (entry.product_id, entry.versions, entry.job_hash): entry
            for entry in self.rows()
            if entry.status == "rejected"
        }

    def names(self) -> dict[str, str]:
        """By product id, the names of products, without the files' ending."""
        return {product_id: Path(entry.path).stem for product_id, entry in self.by_product_id().items()}

    def _by_age(self) -> list[Entry]:
        """All rows, the oldest first."""
        if not (self.folder / LEDGER_NAME).exists():
            return []
        with self._open() as database:
            rows = database.execute(f"SELECT {', '.join(_COLUMNS)} FROM products ORDER BY id").fetchall()
        return [_to_entry(row) for row in rows]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        path = self.folder / LEDGER_NAME
        try:
            # Without implicit transactions: what writes says so, and waits its turn before it reads.
            database = sqlite3.connect(path, timeout=60, isolation_level=None)
            try:
                _migrate(database, path)
                with database:
                    yield database
            finally:
                database.close()
        except sqlite3.DatabaseError as error:
            raise LedgerError(
                f"{path} cannot be used as a ledger: {error}. Restore it from a copy, or remove it: products are then "
                "downloaded anew."
            ) from error


def without(left_out: Mapping[str, str], used: int) -> str:
    """What a product was made without, for people; empty where it has all its scenes.

    Args:
        left_out: by scene id, why scenes were left out.
        used: how many were not.
    """
    if not left_out:
        return ""
    scene_id, why = next(iter(left_out.items()))
    example = f", such as {scene_id}" if len(left_out) > 1 else f", {scene_id}"
    return f"{len(left_out)} of {len(left_out) + used} scenes left out{example}: {why}"


def job_folders(root: Path) -> list[Path]:
    """The folders of jobs, which have a ledger, at or below `root`.

    Raises:
        NothingThere: there is no such folder, or no ledger.
    """
    if not root.is_dir():
        raise NothingThere(f"{root} is no folder; give a job's folder, such as data/farm, or one that holds several.")
    found = [root] if (root / LEDGER_NAME).exists() else sorted(path.parent for path in root.rglob(LEDGER_NAME))
    if not found:
        raise NothingThere(f"{root} holds no {LEDGER_NAME}, so eeflow wrote nothing there; give a job's folder.")
    return found


def _to_row(entry: Entry) -> dict[str, Any]:
    row = {name: getattr(entry, name) for name in _COLUMNS}  # asdict would copy every value
    return row | {name: json.dumps(row[name]) for name in (*_LISTS, *_MAPPINGS)}


def _to_entry(row: tuple[Any, ...]) -> Entry:
    values = dict(zip(_COLUMNS, row, strict=True))
    lists = {name: tuple(json.loads(values[name])) for name in _LISTS}
    return Entry(**values | lists | {name: json.loads(values[name]) for name in _MAPPINGS})


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    if _version(database) == len(_MIGRATIONS):
        return
    with database:
        database.execute("BEGIN IMMEDIATE")  # one of several that open a new ledger migrates, and all of it or nothing
        version = _version(database)
        if version > len(_MIGRATIONS):
            raise LedgerError(
                f"{path} was written by a newer eeflow (ledger version {version}; this one knows {len(_MIGRATIONS)}). "
                "Update eeflow, or give the job another output.root."
            )
        for statements in _MIGRATIONS[version:]:
            for statement in statements:
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])
