"""What a project has asked of Earth Engine this month, over all jobs of an output root, and whether more may be asked.

Earth Engine tells no caller what a request cost it. Its compute is therefore taken to be the seconds it took to answer,
which include those of the line: the count is too high rather than too low.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from eeflow.config import Job, Limits
from eeflow.errors import EEFlowError, LimitExceeded
from eeflow.session import Session, known_session, workload_tag
from eeflow.settings import load_settings

BUDGET_NAME = "budget.sqlite"


@dataclass(frozen=True)
class Spent:
    """What was asked in one month.

    Attributes:
        requests: all that were sent, failed ones and listings too.
        seconds: that Earth Engine took to answer them.
    """

    requests: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Budget:
    """The count of one project, in a folder that all jobs of an output root share. Processes may use it at once."""

    folder: Path
    project: str

    def spent(self, now: datetime | None = None) -> Spent:
        """In the calendar month, UTC, of `now`."""
        if not (self.folder / BUDGET_NAME).exists():
            return Spent()
        with self._open() as database:
            row = database.execute(
                "SELECT requests, seconds FROM spent WHERE project = ? AND month = ?", (self.project, _month(now))
            ).fetchone()
        return Spent(*row) if row else Spent()

    def count(self, session: Session, now: datetime | None = None) -> None:
        """Adds what a session has sent since it was counted last, by whichever of its runs."""
        requests, seconds = session.take_usage()
        if not requests:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.execute(
                "INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "requests = requests + excluded.requests, seconds = seconds + excluded.seconds",
                (self.project, _month(now), requests, seconds),
            )

    def check(self, limits: Limits, requests: int, now: datetime | None = None) -> None:
        """Raises LimitExceeded when that many more requests are beyond the month's budget."""
        most, seconds = limits.max_requests_per_month, limits.max_eecu_seconds_per_month
        if most is None and seconds is None:
            return
        spent, month = self.spent(now), _month(now)
        further = "Wait for the next month (UTC), take less, or raise the limit."
        if most is not None and spent.requests + requests > most:
            raise LimitExceeded(
                f"Project {self.project} has sent {spent.requests:,} requests in {month}, and this run needs "
                f"{requests:,} more; limits.max_requests_per_month is {most:,}. {further}"
            )
        if requests and seconds is not None and spent.seconds >= seconds:
            raise LimitExceeded(
                f"Project {self.project} has used {spent.seconds:,.1f} EECU-seconds in {month}; "
                f"limits.max_eecu_seconds_per_month is {seconds:,g}. {further}"
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        path = self.folder / BUDGET_NAME
        try:
            database = sqlite3.connect(path, timeout=60)
            try:
                with database:
                    database.execute(
                        "CREATE TABLE IF NOT EXISTS spent (project TEXT, month TEXT, requests INTEGER NOT NULL, "
                        "seconds REAL NOT NULL, PRIMARY KEY (project, month))"
                    )
                    yield database
            finally:
                database.close()
        except sqlite3.DatabaseError as error:
            raise EEFlowError(
                f"{path} cannot be used to count requests: {error}. Remove it; the month's count then begins anew."
            ) from error


@contextmanager
def metered(job: Job) -> Iterator[Budget]:
    """Within this, requests carry the job's workload tag; at its end, however it ends, they are counted."""
    budget = Budget(job.cache, load_settings().project or "default")
    before = workload_tag.set(job.workload_tag)
    try:
        yield budget
    finally:
        workload_tag.reset(before)
        if session := known_session():
            budget.count(session)


def _month(now: datetime | None) -> str:
    return f"{(now or datetime.now(UTC)).astimezone(UTC):%Y-%m}"
