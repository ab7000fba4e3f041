"""The record of what is on disk: one row a product, written when its file is whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from eeflow.errors import EEFlowError

LEDGER_NAME = "ledger.sqlite"


class LedgerError(EEFlowError):
    """The ledger's file is damaged, or something else."""


# Numbered migrations: the database's user_version is how many of them it has had.
_MIGRATIONS = (
    """
    CREATE TABLE products (
        path TEXT PRIMARY KEY, key TEXT NOT NULL, scene_id TEXT NOT NULL, version INTEGER, time_start TEXT,
        grid_hash TEXT NOT NULL, job_hash TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
        valid_pixels INTEGER NOT NULL, masked_pixels INTEGER NOT NULL, missed_pixels INTEGER NOT NULL,
        clipped_pixels INTEGER NOT NULL, written_at TEXT NOT NULL
    )
    """,
)


@dataclass(frozen=True)
class Entry:
    """One product on disk.

    Attributes:
        path: file name within the ledger's folder.
        key: the product's content hash.
        valid_pixels: pixels with a value in every band.
        masked_pixels: pixels the scene has, masked in some band.
        missed_pixels: pixels the scene has no data for.
        clipped_pixels: pixels outside the area, where the product is clipped to it.
    """

    path: str
    key: str
    scene_id: str
    version: int | None
    time_start: str | None
    grid_hash: str
    job_hash: str
    sha256: str
    size: int
    valid_pixels: int
    masked_pixels: int
    missed_pixels: int
    clipped_pixels: int
    written_at: str

    @property
    def valid_fraction(self) -> float:
        """Share of the pixels that are valid in every band, clipped ones not counted."""
        return self.valid_pixels / max(1, self.valid_pixels + self.masked_pixels + self.missed_pixels)


_COLUMNS = tuple(field.name for field in fields(Entry))


@dataclass(frozen=True)
class Ledger:
    """The ledger of one output folder."""

    folder: Path

    def record(self, entry: Entry) -> None:
        """Adds a product, or replaces what was known of its path."""
        marks = ", ".join(f":{name}" for name in _COLUMNS)
        with self._open() as database:
            database.execute(f"REPLACE INTO products ({', '.join(_COLUMNS)}) VALUES ({marks})", asdict(entry))

    def entries(self) -> list[Entry]:
        """All products, by path."""
        if not (self.folder / LEDGER_NAME).exists():
            return []
        with self._open() as database:
            rows = database.execute(f"SELECT {', '.join(_COLUMNS)} FROM products ORDER BY path").fetchall()
        return [Entry(*row) for row in rows]

    def names(self) -> dict[str, str]:
        """By scene id, the names of products, without the files' ending."""
        return {entry.scene_id: Path(entry.path).stem for entry in self.entries()}

    def intact(self) -> dict[str, Entry]:
        """Products, by path, whose file is there with the size that was written."""
        return {
            entry.path: entry
            for entry in self.entries()
            if (path := self.folder / entry.path).exists() and path.stat().st_size == entry.size
        }

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.folder / LEDGER_NAME, timeout=60)
        try:
            _migrate(database)
            with database:
                yield database
        except sqlite3.DatabaseError as error:
            raise LedgerError(
                f"{self.folder / LEDGER_NAME} cannot be used as a ledger: {error}. Restore it from a copy, or remove "
                "it: products are then downloaded anew."
            ) from error
        finally:
            database.close()


def _migrate(database: sqlite3.Connection) -> None:
    if _version(database) == len(_MIGRATIONS):
        return
    with database:
        database.execute("BEGIN IMMEDIATE")  # one of several that open a new ledger migrates, and all of it or nothing
        for number, statement in enumerate(_MIGRATIONS[_version(database) :], start=_version(database) + 1):
            database.execute(statement)
            database.execute(f"PRAGMA user_version = {number}")


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])
