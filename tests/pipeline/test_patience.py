"""A Prefect server that is busy for a moment is asked again soon."""

import time

import pytest
from answering import answering
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

import tasks  # noqa: F401  which is what makes the client quick

BUSY_TIMES = 3


@pytest.fixture
def busy_server():
    """Answers 503 three times, as Prefect's does while its SQLite is locked, then as it should."""
    asked = []

    def answer(handler):
        asked.append(handler.path)
        handler.send_response(503 if len(asked) <= BUSY_TIMES else 200)
        handler.send_header("Content-Length", "3")
        handler.end_headers()
        handler.wfile.write(b'"9"')

    with answering(answer) as url:
        yield asked, f"{url}/api"


def test_a_moment_of_a_locked_database_costs_a_moment(busy_server):
    asked, url = busy_server
    with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        asked.clear()
        started = time.monotonic()
        assert client.api_version() == "9"
    assert len(asked) == BUSY_TIMES + 1
    assert time.monotonic() - started < 7  # by itself Prefect's client waits 2 + 4 + 8 s, less a third
