"""Who hears about what: a small YAML file becomes Prefect's notification blocks and automations."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from prefect.automations import Automation
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.types import SecretDict
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from eeflow.errors import ConfigError
from eeflow.jobfile import explain, read_yaml
from eeflow.options import days
from flows.heartbeat import HEARTBEAT
from flows.page import NEW_DATA

_ONCE = timedelta(seconds=30)
# What a worker says of a run that it is about to start, which takes a while on a busy machine.
_BEGINS = {"prefect.flow-run.Pending", "prefect.flow-run.Submitting"}
_LONGEST_START_SECONDS = 300
_ENDS = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut")}
# Those of other projects on the server may tell more seldom that they live.
_FLOWS = ["download", "sync", "campaign"]
_RUN_TEXT = (
    "{{ flow_run.name }} of {{ deployment.name }} is {{ flow_run.state.name }}: {{ flow_run.state.message }}\n"
    "{{ flow_run|ui_url }}"
)


class Receiver(BaseModel):
    """Somebody who wants to hear of something."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    webhook: str | None = None
    email: str | None = None
    failure: bool = False
    new_data: bool = False
    silence: str | None = None

    @field_validator("webhook", "email")
    @classmethod
    def _from_environment(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(r"\$\{\w+\}", address):
            raise ValueError("holds an address; addresses are secrets, so name a variable of the environment: ${NAME}")
        return address

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.webhook is None) == (self.email is None):
            raise ValueError("needs exactly one of webhook and email")
        if self.silence and not re.fullmatch(r"[1-9]\d{0,3}[dw]", self.silence):
            raise ValueError(f"has silence {self.silence!r}; it must be days or weeks, such as 14d or 2w")
        return self

    @property
    def variable(self) -> str:
        """The environment variable that holds the address."""
        return (self.webhook or self.email or "")[2:-1]


class Notifications(BaseModel):
    """What `deployments/automations.yaml` may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    notify: list[Receiver] = []
    crashed_after_seconds: int | None = Field(None, ge=60)


def read_notifications(file: Path) -> Notifications:
    """What a file says. Raises ConfigError."""
    try:
        return Notifications.model_validate(read_yaml(file))
    except ValidationError as error:
        raise ConfigError(f"{file}: {explain(error, Notifications)}") from None


def apply(notifications: Notifications) -> list[str]:
    """Makes blocks and automations, or renews those of the same names; a line about each."""
    told = []
    if notifications.crashed_after_seconds:
        seconds = notifications.crashed_after_seconds
        told.append(
            _renew(_dead("crashed runs", {HEARTBEAT}, seconds, "It has not told for {} s that it lives: killed."))
        )
        longest = max(seconds, _LONGEST_START_SECONDS)
        told.append(_renew(_dead("runs that never began", _BEGINS, longest, "It has not begun within {} s: killed.")))
    for receiver in notifications.notify:
        if address := os.environ.get(receiver.variable):
            told += [_renew(automation) for automation in _automations(receiver, _block(receiver, address))]
        else:
            told.append(f"{receiver.name}: left out, since {receiver.variable} is not set")
    return told


def _block(receiver: Receiver, address: str) -> Any:
    """The id of the block that keeps the address; the server sends with it."""
    block: Any
    if receiver.webhook:
        block = CustomWebhookNotificationBlock(
            name=receiver.name,
            url="{{address}}",
            json_data={"subject": "{{subject}}", "body": "{{body}}"},
            secrets=SecretDict({"address": address}),
            allow_private_urls=True,
        )
    else:
        # Of the blocks that a server knows without more packages, the one that takes any address of the Apprise
        # library, e-mail among them.
        block = SlackWebhook(url=SecretStr(address), allow_private_urls=True)
    return block.save(f"eeflow-{receiver.name}", overwrite=True)


def _automations(receiver: Receiver, block_id: Any) -> list[Automation]:
    def tell(subject: str, body: str) -> list[Any]:
        return [SendNotification(block_document_id=block_id, subject=subject, body=body)]

    wanted = []
    if receiver.failure:
        # Runs of deployments only: a campaign tells of its jobs. Once a run, however often a busy server looks at it.
        trigger = EventTrigger(
            posture=Posture.Reactive,
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "deployment"},
            for_each={"prefect.resource.id"},
            within=_ONCE,
        )
        wanted.append(("failure", trigger, tell("eeflow: {{ flow_run.name }} failed", _RUN_TEXT)))
    if receiver.new_data:
        trigger = EventTrigger(
            posture=Posture.Reactive,
            expect={NEW_DATA},
            match={"prefect.resource.id": "eeflow.*"},
            for_each={"prefect.resource.id"},
            within=_ONCE,
        )
        text = "{{ event.payload.summary }}\n{{ event.payload.folder }}"
        wanted.append(("new-data", trigger, tell("eeflow: new data of {{ event.resource.name }}", text)))
    if receiver.silence:
        trigger = EventTrigger(
            posture=Posture.Proactive,
            after={NEW_DATA},
            expect={NEW_DATA},
            match={"prefect.resource.id": "eeflow.*"},
            for_each={"prefect.resource.id"},
            within=days(receiver.silence),
        )
        text = f"Nothing new for {receiver.silence} of a job that used to bring some; see its runs."
        wanted.append(("silence", trigger, tell(f"eeflow: nothing new for {receiver.silence}", text)))
    return [
        Automation(name=f"eeflow {receiver.name} {what}", trigger=trigger, actions=actions)
        for what, trigger, actions in wanted
    ]


def _dead(name: str, after: set[str], seconds: int, message: str) -> Automation:
    trigger = EventTrigger(
        posture=Posture.Proactive,
        after=after,
        expect={HEARTBEAT, *_ENDS},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": _FLOWS},
        for_each={"prefect.resource.id"},
        within=timedelta(seconds=seconds),
    )
    return Automation(
        name=f"eeflow {name}",
        trigger=trigger,
        actions=[ChangeFlowRunState(state="CRASHED", message=message.format(seconds))],
    )


def _renew(automation: Automation) -> str:
    try:
        automation.id = Automation.read(name=automation.name).id
    except ValueError:  # there is none of that name
        automation.create()
        return f"{automation.name}: made"
    automation.update()
    return f"{automation.name}: renewed"
