"""On whose behalf a request is sent: its job, what it is about, and the words in which that is logged."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eeflow.session import Session

Log = logging.Logger | logging.LoggerAdapter[Any]

_unheard = logging.getLogger("eeflow")
_unheard.addHandler(logging.NullHandler())  # outside of a run; else Python prints warnings to stderr


@dataclass
class Count:
    """Requests that were sent for one run: all of them, and those that failed."""

    requests: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Errand:
    """What requests of one context are sent for.

    Attributes:
        job: name of the job.
        tag: what Earth Engine counts their compute under:
            https://developers.google.com/earth-engine/guides/usage
        log: of the run.
        count: of the run's requests.
        admit: called before each request is sent, while no other is; raises to keep it from being sent.
        about: the scenes, bands and pixels of the request; empty where it is of none, as a listing.
        request_id: in the log's lines and, as `X-Request-Id`, in the request; one that is refused for being one too
            many and sent again keeps it. Empty before there is a request.
    """

    job: str = "no job"
    tag: str | None = None
    log: Log = _unheard
    count: Count = field(default_factory=Count)
    admit: Callable[[Session], None] = lambda _session: None
    about: str = ""
    request_id: str = ""

    def of_request(self, about: str = "") -> Errand:
        """The same for one request."""
        return replace(self, about=about, request_id=secrets.token_hex(4))

    def tell(self, level: int, text: str, *values: object) -> None:
        """A line about the request in the run's log."""
        whose = f"{self.job}, {self.about}" if self.about else self.job
        self.log.log(level, f"request %s of %s: {text}", self.request_id, whose, *values)


NOBODYS = Errand()
errand: ContextVar[Errand] = ContextVar("errand", default=NOBODYS)
