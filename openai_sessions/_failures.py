"""What is known of a request that failed with one of openai's errors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import openai

from openai_sessions._policy import Failure, Outcome
from openai_sessions.errors import InvalidResponseError, RequestTimeoutError

_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
"""The errors of the HTTP libraries after which the server has seen nothing of the request."""


def classify(error: BaseException) -> Failure | None:
    """Return what is known of a request that failed with this error; None when it was no request.

    What was not applied and what may have been: OpenAI's documentation of its errors, and the errors
    of the HTTP library below, which stand in `__cause__`.
    """
    if isinstance(error, openai.APIStatusError):
        return Failure(_outcome_of(error), _retry_after(error.response.headers), _should_retry(error))
    if isinstance(error, openai.APIConnectionError):
        never_sent = type(error.__cause__).__name__ in _NEVER_SENT
        return Failure(Outcome.UNREACHABLE if never_sent else Outcome.UNKNOWN)
    if isinstance(error, (RequestTimeoutError, InvalidResponseError, openai.APIError)):
        return Failure(Outcome.UNKNOWN)
    # A client that is closed, or of another loop: the server may have served the request all the same.
    return Failure(Outcome.UNKNOWN, should_retry=False) if isinstance(error, RuntimeError) else None


def _outcome_of(error: openai.APIStatusError) -> Outcome:
    if error.status_code == 404:
        return Outcome.NOT_FOUND
    if error.status_code == 429:
        return Outcome.REFUSED if error.code == "insufficient_quota" else Outcome.THROTTLED
    if error.status_code in (400, 409) and error.code == "conversation_locked":
        return Outcome.LOCKED
    if error.status_code in (408, 409) or error.status_code >= 500:
        return Outcome.UNKNOWN
    return Outcome.REFUSED


def _should_retry(error: openai.APIStatusError) -> bool | None:
    return {"true": True, "false": False}.get(error.response.headers.get("x-should-retry", ""))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asked to wait, or None."""
    for name, scale in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(0.0, float(headers[name]) / scale)
        except (KeyError, ValueError):
            continue
    try:
        at = parsedate_to_datetime(headers["retry-after"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
    return max(0.0, at - time.time())
