"""A lock of the caller's, held around operations so that processes exclude each other."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from openai_sessions._owned import Interruption

logger = logging.getLogger("openai_sessions")

PluggedLock: TypeAlias = Callable[[str], AbstractAsyncContextManager[Any]]
"""Given a conversation id, returns an async context manager that holds the lock of its name."""


@asynccontextmanager
async def holding(lock: PluggedLock, conversation_id: str, interruption: Interruption) -> AsyncIterator[None]:
    """Hold a lock. An error on leaving it is logged: what was done under it has been done.

    Acquiring it is not cut when the caller is cancelled, as a lock that is had without anybody
    knowing would be held until its lease ends: once it is had, it is left.

    Raises:
        InterruptedOperationError: The caller was cancelled meanwhile.
        TypeError: It is no lock for async. Nothing was sent.
        Exception: The lock could not be had. Nothing was sent.
    """
    manager = lock(conversation_id)
    if not hasattr(manager, "__aenter__"):
        raise TypeError(
            f"lock= gave a {type(manager).__name__}, which is no async context manager: give one, such as a "
            "lock of redis.asyncio"
        )
    interruption.is_acquiring = True
    try:
        await manager.__aenter__()
    finally:
        interruption.is_acquiring = False
    try:
        interruption.check()
        yield
    except BaseException:
        await _leave(manager, conversation_id, *sys.exc_info())
        raise
    else:
        await _leave(manager, conversation_id, None, None, None)


async def _leave(manager: AbstractAsyncContextManager[Any], conversation_id: str, *error: Any) -> None:
    try:
        await manager.__aexit__(*error)
    except Exception as problem:  # noqa: BLE001 -- what was done under the lock is done
        logger.warning("%s: leaving the lock failed: %s", conversation_id, type(problem).__name__)
