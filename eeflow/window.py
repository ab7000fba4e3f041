"""Which days a run looks at: its look-back, widened to whole days and periods of what products show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from eeflow.config import Job
from eeflow.ledger import Entry
from eeflow.options import Dates, Sync, days
from eeflow.scenes import Scene

_DAY = timedelta(days=1)
_EPOCH = date(1970, 1, 1)
_SECONDS_PER_DEGREE = 240


@dataclass(frozen=True)
class Window:
    """Days, UTC, that a run looks at.

    Attributes:
        start: the first.
        end: the day after the last.
        whole_days: whether products are of solar days, which begin at another hour than those of UTC: then a day more
            is listed before the first one, of which only what belongs to the first one counts.
    """

    start: date
    end: date
    whole_days: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look for."""
        return self.start >= self.end

    def find(self, find: Callable[[Job], list[Scene]], job: Job, longitude: float) -> list[Scene]:
        """The scenes of the window's days.

        Args:
            find: lists the scenes of a job's dates.
            job: what to list.
            longitude: of the area, in degrees.
        """
        if self.is_empty:
            return []
        start = self.start - _DAY if self.whole_days else self.start
        scenes = find(job.model_copy(update={"dates": Dates.model_validate({"start": start, "end": self.end})}))
        if not self.whole_days:
            return scenes
        return [s for s in scenes if s.time_start is None or solar_day(s.time_start, longitude) >= self.start]

    def disappeared(self, entries: Iterable[Entry], scenes: Iterable[Scene]) -> list[Entry]:
        """Products on disk of the window's days, of which no scene is listed any more."""
        listed = {scene.scene_id for scene in scenes}
        return [
            entry
            for entry in entries
            if entry.time_start
            and self.start <= datetime.fromisoformat(entry.time_start).astimezone(UTC).date() < self.end
            and listed.isdisjoint(entry.scene_ids)
        ]


def download_window(job: Job, now: datetime | None = None) -> Window | None:
    """The days that a download of the job looks at; None for just its own dates.

    A look-back begins elsewhere every day: without whole periods and days, the first product would be made anew every
    day, of ever fewer scenes.
    """
    if job.dates is None or job.dates.last is None:
        return None
    return sync_window(job.model_copy(update={"sync": Sync.model_validate({})}), now)


def sync_window(job: Job, now: datetime | None = None) -> Window | None:
    """The days that a sync of the job looks at; None for a job without dates.

    - `sync.look_back` counts from the end of the day of `now`; it stays within the job's dates where they are fixed.
    - A composite needs all scenes of its period, so the window begins where a period does.
    - A mosaic of a day needs all scenes of it, so the window holds whole solar days.
    """
    if job.dates is None:
        return None
    fixed = job.dates.start
    start, end = (moment.date() for moment in job.dates.resolve(now))
    if job.sync.look_back:
        back = Dates.model_validate({"last": job.sync.look_back}).resolve(now)[0].date()
        start = max(back, fixed) if fixed else back
    if start >= end:
        return Window(start, end)
    if job.product.kind == "composite":
        every = job.product.every
        start = job.dates.resolve(now)[0].date() if every == "all" else period_start(start, every, fixed)
        start = max(start, fixed) if fixed else start
    return Window(start, end, whole_days=job.product.kind == "day" and start != fixed)


def oldest_kept(job: Job, now: datetime | None = None) -> date | None:
    """The first day, UTC, whose products `retention.keep` keeps; None where it keeps all."""
    if not job.retention.keep:
        return None
    return (now or datetime.now(UTC)).astimezone(UTC).date() + _DAY - days(job.retention.keep)


def solar_day(moment: datetime, longitude: float) -> date:
    """The day it is at that longitude, in degrees, by the sun."""
    return (moment + timedelta(seconds=longitude * _SECONDS_PER_DEGREE)).date()


def period_start(day: date, every: str, origin: date | None) -> date:
    """The first day of the composite period that a day is in: a `month`, or days such as `16d` counted from a day."""
    if every == "month":
        return day.replace(day=1)
    first = origin or _EPOCH
    return first + (day - first) // days(every) * days(every)
