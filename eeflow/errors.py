"""Every error eeflow raises, and how Earth Engine's answers become one of them.

The class decides what happens next: mistakes of the user stop at once with one line, `TransientError` is tried
again, `RequestTooLarge` is split, and everything else stops.
"""

from __future__ import annotations

import re


class EEFlowError(Exception):
    """Base of all errors that eeflow raises on purpose."""


class UserError(EEFlowError, ValueError):
    """The input is wrong: nothing was downloaded, and asking again would not help."""


class ConfigError(UserError):
    """A job, a campaign or the environment says something that cannot be."""


class AOIError(UserError):
    """The area of interest cannot be read or cannot be placed."""


class GridError(UserError):
    """No pixel grid can be built as asked."""


class LimitExceeded(UserError):
    """The plan is larger than the job's own `limits` allow."""


class NotFound(UserError):
    """Earth Engine knows no such collection or image, or does not show it to this account."""


class RequestError(EEFlowError):
    """Earth Engine refused a request for good.

    Attributes:
        status: HTTP status of the answer; None when no answer came.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class AccessDenied(RequestError):
    """No valid credentials, no registered project, or no permission."""


class RequestTooLarge(RequestError):
    """The request asks for more than one answer may hold: split it."""


class TransientError(RequestError):
    """The same request may well succeed later.

    Attributes:
        retry_after: seconds Earth Engine asked to wait, from its Retry-After header; None when it did not.
    """

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None):
        super().__init__(message, status)
        self.retry_after = retry_after


class TooManyRequests(TransientError):
    """Earth Engine asks for fewer requests at a time: slow down, never split."""


class Unreachable(TransientError):
    """An endpoint that has not answered a single time: it may be away, or a wrong one."""


class BadAnswer(TransientError):
    """An answer that is not what was asked for: cut, malformed, or with pixels missing, twice or misplaced."""


class IncompleteProduct(EEFlowError):
    """Blocks of a product are missing, so no file is written."""


class ValueOutOfRange(EEFlowError):
    """A pixel's value does not fit the dtype that the job asks for, so no file is written."""


class Stopped(EEFlowError):
    """The run was told to stop, or another request failed for good."""


# Texts as Earth Engine words them, from recorded answers: each pattern is specific, since a loose one splits quota
# errors into still more requests (seen in other downloaders). Order matters: the first that matches decides.
_BY_TEXT: tuple[tuple[str, type[RequestError]], ...] = (
    (r"memory capacity exceeded|Earth Engine capacity exceeded", TransientError),
    (r"Too many concurrent aggregations|Too Many Requests|per minute", TooManyRequests),
    (r"Too many values: ", RequestTooLarge),
    (r"Total request size \(\d+ bytes\) must be less than", RequestTooLarge),
    (r"Pixel grid dimensions \(\d+x\d+\) must be less than", RequestTooLarge),
    (r"User memory limit exceeded", RequestTooLarge),
    (r"Computation timed out", RequestTooLarge),
    (r"Computed value is too large", RequestTooLarge),
    (r"not found \(does not exist or caller does not have access\)", RequestError),
    (r"Permission '.*' denied|not registered|has not been used in project", AccessDenied),
)
_BY_STATUS: dict[int, type[RequestError]] = {
    401: AccessDenied,
    403: AccessDenied,
    408: TransientError,
    429: TooManyRequests,
    500: TransientError,
    502: TransientError,
    503: TransientError,
    504: TransientError,
}


def request_error(status: int, message: str, retry_after: float | None = None) -> RequestError:
    """The error an answer of Earth Engine stands for, by its text first and then by its HTTP status.

    Unknown refusals become a plain `RequestError`: they stop the run, they are not retried blindly.

    Args:
        status: HTTP status of the answer.
        message: `error.message` of its body.
        retry_after: seconds from the Retry-After header, None without one.
    """
    kind = next((kind for pattern, kind in _BY_TEXT if re.search(pattern, message)), None)
    kind = kind or _BY_STATUS.get(status, RequestError)
    text = f"Earth Engine answered {status}: {message.strip()}"
    if issubclass(kind, TransientError):
        return kind(text, status, retry_after)
    return kind(text, status)


def cause_of(error: BaseException) -> str:
    """The innermost cause in one short line, without object addresses."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return (str(error).splitlines() or [""])[0][:200].rstrip(".") or type(error).__name__
