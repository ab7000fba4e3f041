"""Runs of the command tell a Prefect server that they live, of their own accord."""

import threading

from prefect import flow
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    get_current_settings,
    temporary_settings,
)
from prefect_server import find, until

from flows.heartbeat import HEARTBEAT, beating


def test_a_run_tells_that_it_lives_until_it_ends(prefect_environment):
    settings = {PREFECT_API_URL: prefect_environment["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 30}
    beats = []

    @flow(name="lives")
    def lives():
        beats.extend(thread for thread in threading.enumerate() if thread.name == "heartbeat")
        return get_current_settings().flows.heartbeat_frequency

    with temporary_settings(settings), beating(lives) as living:
        state = living(return_state=True)
    assert state.result() is None  # Prefect's own heartbeat is off
    run_id = f"prefect.flow-run.{state.state_details.flow_run_id}"
    of_run = {"filter": {"event": {"name": [HEARTBEAT]}, "resource": {"id": [run_id]}}}
    (event,) = until(60, lambda: find(prefect_environment, "events", of_run)["events"], lambda: "no heartbeat")
    # By which the automations that mark dead runs know whose it is.
    assert {
        related["prefect.resource.role"]: related["prefect.resource.name"]
        for related in event["related"]
        if related["prefect.resource.role"] == "flow"
    } == {"flow": "lives"}
    assert event["resource"]["prefect.resource.name"]
    (beat,) = beats
    beat.join(5)
    assert not beat.is_alive()


def test_nobody_is_told_without_a_running_server(prefect_environment):
    def is_told(url):
        @flow(name="lives")
        def lives():
            pass

        with (
            temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 30}),
            beating(lives) as living,
        ):
            return bool(living.on_running_hooks)

    assert is_told(prefect_environment["PREFECT_API_URL"])
    assert not is_told(None)
