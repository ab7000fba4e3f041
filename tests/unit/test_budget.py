"""What a month's requests are counted as, and when no more may be sent."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone

import pytest

from eeflow.budget import BUDGET_NAME, Budget, Spent
from eeflow.errors import EEFlowError, LimitExceeded
from eeflow.options import Limits

MARCH = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)


class Sent:
    """What a session tells of itself."""

    def __init__(self, *usages):
        self.usages = list(usages)

    @contextmanager
    def new_usage(self):
        yield self.usages.pop(0) if self.usages else (0, 0.0)


def test_counts_by_project_and_month(tmp_path):
    budget, other = Budget(tmp_path / "new", "farm"), Budget(tmp_path / "new", "other")
    assert budget.spent(MARCH) == Spent()
    budget.count(Sent(), MARCH)
    assert not (tmp_path / "new").exists()
    session = Sent((3, 1.5), (4, 0.5))
    budget.count(session, MARCH)
    budget.count(session, MARCH)
    other.count(Sent((9, 9.0)), MARCH)
    assert budget.spent(MARCH) == Spent(7, 2.0)
    assert budget.spent(MARCH + timedelta(minutes=1)) == Spent()
    assert budget.spent(datetime(2026, 4, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == Spent(7, 2.0)


@pytest.mark.parametrize(
    ("limits", "requests", "text"),
    [
        ({"max_requests_per_month": 10}, 3, None),
        ({"max_requests_per_month": 10}, 4, "sent 7 requests in 2026-03, and this run needs 4 more; .* is 10"),
        ({"max_eecu_seconds_per_month": 2.5}, 1, None),
        ({"max_eecu_seconds_per_month": 2}, 1, "used 2.0 EECU-seconds in 2026-03"),
        ({"max_eecu_seconds_per_month": 2}, 0, None),
        ({}, 10**9, None),
    ],
)
def test_stops_before_more_is_spent(tmp_path, limits, requests, text):
    budget = Budget(tmp_path, "farm")
    budget.count(Sent((7, 2.0)), MARCH)
    if text is None:
        budget.check(Limits(**limits), requests, MARCH)
        return
    with pytest.raises(LimitExceeded, match=text):
        budget.check(Limits(**limits), requests, MARCH)
    budget.check(Limits(**limits), requests, MARCH + timedelta(days=1))


def test_a_damaged_count_says_what_to_do(tmp_path):
    (tmp_path / BUDGET_NAME).write_text("no database")
    with pytest.raises(EEFlowError, match=r"cannot be used to count requests.*Remove it"):
        Budget(tmp_path, "farm").spent()
