"""Repeated attempts at a request that changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential, wait_random

T = TypeVar("T")

ATTEMPTS = 3
"""How often a read is tried in all: as often as openai's own client does."""

Sleep = Callable[[float], Awaitable[None]]


async def retry_read(
    read: Callable[[], Awaitable[T]],
    *,
    is_transient: Callable[[BaseException], bool],
    retry_after: Callable[[BaseException], float | None],
    sleep: Sleep = anyio.sleep,
) -> T:
    """Run a read, and again after a transient error, at most three times in all.

    Args:
        read: Makes one request.
        is_transient: Tells whether another attempt may succeed.
        retry_after: Returns the seconds that the server asked to wait, or None.
        sleep: Waits for a number of seconds.

    Raises:
        Exception: The last attempt's error.
    """
    backoff = wait_exponential(multiplier=0.5, max=8) + wait_random(0, 0.5)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = retry_after(error) if error else None
        return backoff(state) if asked is None else asked

    retrying = AsyncRetrying(
        sleep=sleep,
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait,
        retry=retry_if_exception(is_transient),
        reraise=True,
    )
    return await retrying(read)
