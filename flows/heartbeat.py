"""Telling the Prefect server that a run lives, so that one that was killed is noticed."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.events import RelatedResource, emit_event
from prefect.flows import Flow
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

HEARTBEAT = "prefect.flow-run.heartbeat"


@contextmanager
def beating(flow: Flow[..., Any]) -> Iterator[Flow[..., Any]]:
    """The flow, whose run tells that it lives as Prefect's own runs do, and ends at once.

    Prefect looks once a second whether the run has ended, so that each takes half a second longer.
    """
    heart = _Heart(flow.name, float(PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() or 0))
    # A run's temporary server has nobody who would notice.
    hooks = [heart] if heart.seconds and PREFECT_API_URL.value() else []
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            yield flow.with_options(on_running=hooks)
        finally:
            heart.stop.set()


@dataclass
class _Heart:
    """Begins to beat when the run does."""

    flow_name: str
    seconds: float
    stop: threading.Event = field(default_factory=threading.Event)

    def __call__(self, _flow: Flow[..., Any], run: FlowRun, _state: State[Any]) -> None:
        beat = partial(_beat, self.flow_name, run, self.seconds, self.stop)
        threading.Thread(target=contextvars.copy_context().run, args=(beat,), name="heartbeat", daemon=True).start()

    def __reduce__(self) -> tuple[type[_Heart], tuple[str, float]]:
        """The flow goes with its tasks to other processes, and an event cannot."""
        return _Heart, (self.flow_name, self.seconds)


def _beat(flow_name: str, run: FlowRun, seconds: float, stop: threading.Event) -> None:
    resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}
    its_flow = {
        "prefect.resource.id": f"prefect.flow.{run.flow_id}",
        "prefect.resource.role": "flow",
        "prefect.resource.name": flow_name,
    }
    related = [RelatedResource.model_validate(its_flow)]
    while not stop.is_set():
        emit_event(HEARTBEAT, resource, related=related)
        stop.wait(seconds)
