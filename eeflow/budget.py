"""What a project has asked of Earth Engine this month, over all jobs of an output root, and whether more may be asked.

Earth Engine tells no caller what a request cost it. Its compute is therefore taken to be the seconds it took to answer,
which include those of the line: the count is too high rather than too low.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from eeflow.config import Job
from eeflow.errand import Count, Errand, Log, errand
from eeflow.errors import EEFlowError, LimitExceeded
from eeflow.options import Limits
from eeflow.session import Session, known_session
from eeflow.settings import load_settings

BUDGET_NAME = "budget.sqlite"
# Requests after which a run that goes on is counted: a run that is killed leaves no more than so many uncounted.
_COUNT_EVERY = 20


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
        with session.new_usage() as (requests, seconds):
            if not (requests or seconds):
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.execute(
                    "INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                    "requests = requests + excluded.requests, seconds = seconds + excluded.seconds",
                    (self.project, _month(now), requests, seconds),
                )

    def check(self, limits: Limits, requests: int, now: datetime | None = None, spent: Spent | None = None) -> None:
        """Raises LimitExceeded when that many more requests are beyond the month's budget.

        Args:
            limits: of the job.
            requests: that are still to be sent.
            now: the moment that says which month it is.
            spent: in that month, where it is known better than it has been counted.
        """
        most, seconds = limits.max_requests_per_month, limits.max_eecu_seconds_per_month
        if most is None and seconds is None:
            return
        spent, month = spent or self.spent(now), _month(now)
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


class _Meter:
    """Counts the requests of a run while it sends them, and lets none through that is beyond the month's budget."""

    def __init__(self, budget: Budget, limits: Limits):
        self._budget, self._limits = budget, limits
        self._counted: Spent | None = None
        self._at = Spent()

    def admit(self, session: Session) -> None:
        """Called before each request, by one thread at a time. Raises LimitExceeded."""
        if self._counted is None or session.requests - self._at.requests >= _COUNT_EVERY:
            self._budget.count(session)
            # What this process sends from here on, for whichever of its runs, comes on top of what all have sent.
            self._counted, self._at = self._budget.spent(), Spent(session.requests, session.answer_seconds)
        spent = Spent(
            self._counted.requests + session.requests - self._at.requests,
            self._counted.seconds + session.answer_seconds - self._at.seconds,
        )
        self._budget.check(self._limits, 1, spent=spent)


@contextmanager
def metered(job: Job, log: Log | None = None) -> Iterator[Budget]:
    """Within this, requests are sent for the job: tagged, logged, counted, and only while its month's budget lasts.

    Within another one for the same job, they count for that one's run.

    Args:
        job: whose requests they are.
        log: of its run; without, its requests are not told of.

    Raises:
        LimitExceeded: within this, by the request that would be one too many.
    """
    budget = Budget(job.cache, load_settings().project or "default")
    around = errand.get()
    count = around.count if around.job == job.name else Count()
    own = Errand(job.name, job.workload_tag, count=count, admit=_Meter(budget, job.limits).admit)
    before = errand.set(replace(own, log=log) if log else own)
    try:
        yield budget
    finally:
        errand.reset(before)
        if session := known_session():
            budget.count(session)


def _month(now: datetime | None) -> str:
    return f"{(now or datetime.now(UTC)).astimezone(UTC):%Y-%m}"
