"""What each kind of fault does to a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    conversation_locked,
    quota_exceeded,
    rate_limited,
    server_error,
)
from openai_sessions.emulator._fault_transport import (
    HtmlResponse,
    JsonResponse,
    ResetResponse,
    StalledResponse,
    TruncatedResponse,
)
from openai_sessions.emulator._faults import Fault, FaultKind

Outcome = JsonObject | ApiError
"""What a request comes to: the body of an answer of success, or an error."""


def _unchanged(_fault: Fault, outcome: Outcome) -> Outcome:
    return outcome


@dataclass(frozen=True, slots=True)
class Course:
    """The way that a request goes when it meets a fault.

    Attributes:
        response: The form of the answer.
        performed: Whether the request is served; otherwise its outcome is an empty object.
        answered: Makes the outcome that is told of the real one.
    """

    response: type[Response] = JsonResponse
    performed: bool = False
    answered: Callable[[Fault, Outcome], Outcome] = _unchanged


def _emptied(_fault: Fault, outcome: Outcome) -> Outcome:
    if isinstance(outcome, ApiError):
        return outcome
    return {"object": "list", "data": [], "first_id": None, "has_more": True, "last_id": None}


COURSES: Mapping[FaultKind, Course] = {
    "cut_before": Course(ResetResponse),
    "cut_after_commit": Course(ResetResponse, performed=True),
    "late_commit": Course(ResetResponse),
    "error_500_before": Course(answered=lambda *_: server_error()),
    "error_500_after_commit": Course(performed=True, answered=lambda *_: server_error()),
    "throttled": Course(answered=lambda fault, _: rate_limited(retry_after=fault.retry_after)),
    "quota": Course(answered=lambda *_: quota_exceeded()),
    "locked": Course(answered=lambda *_: conversation_locked()),
    "stall": Course(StalledResponse),
    "stall_after_commit": Course(StalledResponse, performed=True),
    "truncated_body": Course(TruncatedResponse, performed=True),
    "not_json": Course(HtmlResponse, performed=True, answered=lambda *_: {}),
    "empty_page": Course(performed=True, answered=_emptied),
    "stale_page": Course(performed=True),
    "cut_mid_stream": Course(ResetResponse),  # of a request whose answer is no stream
}
