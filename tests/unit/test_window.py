"""The days a sync looks at, by the clock and the time zones' edges; what is gone from them."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from eeflow.ledger import Entry
from eeflow.scenes import Scene
from eeflow.window import download_window, oldest_kept, period_start, solar_day, sync_window

MONTHLY = {"kind": "composite", "every": "month"}
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SEASON = {"start": "2026-01-15", "end": "2026-06-01"}
AUCKLAND, HONOLULU = timezone(timedelta(hours=13)), timezone(timedelta(hours=-10))


@pytest.mark.parametrize(
    ("changes", "now", "start", "end"),
    [
        ({"dates": {"last": "30d"}}, NOON, "2026-02-09", "2026-03-11"),
        ({"dates": {"last": "30d"}, "sync": {"look_back": "60d"}}, NOON, "2026-01-10", "2026-03-11"),
        ({"dates": {"last": "30d"}, "sync": {"look_back": "1w"}}, NOON, "2026-03-04", "2026-03-11"),
        ({"dates": SEASON}, NOON, "2026-01-15", "2026-06-01"),
        ({"dates": SEASON, "sync": {"look_back": "10d"}}, NOON, "2026-03-01", "2026-06-01"),
        ({"dates": SEASON, "sync": {"look_back": "90d"}}, NOON, "2026-01-15", "2026-06-01"),
        # The window moves at midnight UTC, wherever the clock stands.
        ({"dates": {"last": "1d"}}, datetime(2026, 3, 10, 23, 59, 59, tzinfo=UTC), "2026-03-10", "2026-03-11"),
        ({"dates": {"last": "1d"}}, datetime(2026, 3, 11, tzinfo=UTC), "2026-03-11", "2026-03-12"),
        ({"dates": {"last": "1d"}}, datetime(2026, 3, 11, 12, 59, tzinfo=AUCKLAND), "2026-03-10", "2026-03-11"),
        ({"dates": {"last": "1d"}}, datetime(2026, 3, 10, 14, tzinfo=HONOLULU), "2026-03-11", "2026-03-12"),
        # A composite needs its whole period.
        (
            {"dates": {"last": "90d"}, "sync": {"look_back": "20d"}, "product": MONTHLY},
            NOON, "2026-02-01", "2026-03-11",
        ),
        (
            {"dates": SEASON, "sync": {"look_back": "10d"}, "product": {"kind": "composite", "every": "16d"}},
            NOON, "2026-02-16", "2026-06-01",
        ),
        (
            {"dates": SEASON, "sync": {"look_back": "70d"}, "product": MONTHLY},
            NOON, "2026-01-15", "2026-06-01",
        ),
        (
            {"dates": SEASON, "sync": {"look_back": "10d"}, "product": {"kind": "composite"}},
            NOON, "2026-01-15", "2026-06-01",
        ),
    ],
)  # fmt: skip
def test_looks_at_whole_days(make_job, changes, now, start, end):
    window = sync_window(make_job(**changes), now)
    assert (window.start.isoformat(), window.end.isoformat()) == (start, end)
    assert not window.is_empty
    listed = []
    window.find(lambda job: listed.append(job.dates) or [], make_job(**changes), 4.5)
    assert [(dates.start.isoformat(), dates.end.isoformat()) for dates in listed] == [(start, end)]


def test_after_the_jobs_dates_there_is_nothing_to_look_for(make_job):
    job = make_job(dates=SEASON, sync={"look_back": "10d"})
    assert not sync_window(job, datetime(2026, 6, 9, tzinfo=UTC)).is_empty
    late = sync_window(job, datetime(2026, 6, 10, tzinfo=UTC))
    assert late.is_empty
    assert late.find(None, job, 0) == [], "nothing is asked"
    assert sync_window(make_job(dates=None, collection=None, image="DEM")) is None


def scene(scene_id, time):
    return Scene(scene_id, 1, datetime.fromisoformat(time), (), None)


def test_a_days_mosaic_has_the_whole_solar_day(make_job):
    """At 150° east the sun's day is ten hours ahead of UTC: the first whole day began the day before."""
    job = make_job(dates={"last": "30d"}, product={"kind": "day"})
    window = sync_window(job, NOON)
    passes = [
        scene("cut", "2026-02-08T13:59:00+00:00"),
        scene("first", "2026-02-08T14:01:00+00:00"),
        scene("later", "2026-02-09T13:00:00+00:00"),
    ]

    def find(listed):
        assert listed.dates.start == date(2026, 2, 8)
        return passes

    assert [found.scene_id for found in window.find(find, job, 150)] == ["first", "later"]
    assert [found.scene_id for found in window.find(find, job, -150)] == ["later"]
    fixed = sync_window(make_job(dates=SEASON, product={"kind": "day"}), NOON)
    assert not fixed.whole_days, "where the job itself begins, its own dates say what counts"


def test_a_download_of_the_last_days_looks_at_whole_periods_and_solar_days_too(make_job):
    """On two days in a row the first period is the same one, whole; fixed dates are what the job says."""
    last = {"dates": {"last": "60d"}, "sync": {"look_back": "5d"}}
    for day in (NOON, NOON + timedelta(days=1)):
        found = download_window(make_job(**last, product=MONTHLY), day)
        assert (found.start, found.end) == (date(2026, 1, 1), day.date() + timedelta(days=1))
    assert download_window(make_job(**last), NOON).start == date(2026, 1, 10), "the sync's look-back is a sync's"
    assert download_window(make_job(**last, product={"kind": "day"}), NOON).whole_days
    assert download_window(make_job(dates=SEASON, product=MONTHLY), NOON) is None


def test_solar_days_and_periods():
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    assert [solar_day(midnight, longitude).isoformat() for longitude in (-0.01, 0, 179)] == [
        "2026-02-28", "2026-03-01", "2026-03-01",
    ]  # fmt: skip
    assert period_start(date(2026, 3, 31), "16d", date(2026, 3, 1)) == date(2026, 3, 17)
    assert period_start(date(1970, 1, 10), "9d", None) == date(1970, 1, 10)
    assert period_start(date(2024, 2, 29), "month", None) == date(2024, 2, 1)


def test_says_what_is_not_listed_any_more(make_job):
    window = sync_window(make_job(dates={"last": "30d"}), NOON)

    def entry(name, time):
        return Entry(name, f"{name}.tif", "k", (name,), (1,), time, "g", "j", "now", sha256="0", size=1)

    entries = [
        entry("before", "2026-02-08T23:59:59+00:00"),
        entry("gone", "2026-02-09T00:00:00+00:00"),
        entry("there", "2026-03-01T00:00:00+00:00"),
        entry("edge", "2026-03-11T00:30:00+01:00"),
        entry("timeless", None),
    ]
    there = [scene("there", "2026-03-01T00:00:00+00:00")]
    assert [found.product_id for found in window.disappeared(entries, there)] == ["gone", "edge"]


def test_what_retention_keeps_is_the_days_that_a_look_back_lists(make_job):
    job = make_job(dates={"last": "30d"}, retention={"keep": "30d"})
    assert oldest_kept(job, NOON) == sync_window(job, NOON).start
    assert oldest_kept(make_job()) is None
