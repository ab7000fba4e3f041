"""The one error of this package: what Earth Engine answers when it cannot do what was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError

from eelocal.texts import MEMORY_LIMIT, TIMED_OUT

# What computing with values of the right type, but impossible ones, raises.
IMPOSSIBLE = (ArithmeticError, ValueError, TypeError, LookupError, ShapelyError, ProjError)
# https://cloud.google.com/apis/design/errors#handling_errors
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class EarthEngineError(Exception):
    """An error that reaches the caller as JSON in Google's form.

    Attributes:
        message: the sentence, without the name of the algorithm unless `located`.
        code: HTTP status.
        located: True once the message begins with the algorithm that raised it.
        headers: sent with the answer, such as Retry-After.
        details: Google's machine-readable part of an error, if it has one.
    """

    def __init__(
        self,
        message: str,
        code: int = 400,
        *,
        located: bool = False,
        headers: Mapping[str, str] | None = None,
        details: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.located = located
        self.headers = dict(headers or {})
        self.details = list(details)

    @property
    def status(self) -> str:
        """Google's canonical name of the HTTP status."""
        return _STATUS.get(self.code, "UNKNOWN")

    def at(self, algorithm: str) -> EarthEngineError:
        """The same error with the algorithm's name before it, unless it has one already."""
        if self.located:
            return self
        return EarthEngineError(f"{algorithm}: {self.message}", self.code, located=True)

    def body(self) -> dict[str, object]:
        """The answer's JSON: recorded in gee-community/geemap#1465."""
        details = {"details": self.details} if self.details else {}
        return {"error": {"code": self.code, "message": self.message, "status": self.status, **details}}


class NoValueError(EarthEngineError):
    """A property or key that is not there."""


class Aborted(Exception):
    """Ends a whole evaluation. No `EarthEngineError`: no algorithm's name comes before it, nothing goes on after it."""

    message = "The evaluation was ended."


class TimedOut(Aborted):
    """It took too long."""

    message = TIMED_OUT


class OutOfMemory(Aborted):
    """It needs more memory than there is."""

    message = MEMORY_LIMIT
