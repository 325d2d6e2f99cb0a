"""What may be said of an error: nothing that it quotes."""

from __future__ import annotations

import asyncio

CANCELLED = "cancelled"


def error_type(error: BaseException) -> str:
    """Return the canonical name of an error, such as "openai.RateLimitError", or that it was cancelled."""
    if isinstance(error, asyncio.CancelledError):
        return CANCELLED
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def description(error: BaseException) -> str | None:
    """Return what is said of the status of a span: never the message, as that of the API may quote items."""
    if isinstance(error, asyncio.CancelledError):
        return CANCELLED
    status = status_code(getattr(error, "response", None))
    return None if status is None else f"HTTP {status}"


def status_code(response: object) -> int | None:
    """Return the status of an answer; None where there is none."""
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None
