"""A lock in Redis for sessions of several processes, which renews its lease while it is held.

Requires the package redis: `pip install "openai-sessions[redis]"`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from openai_sessions._arguments import checked_seconds
from openai_sessions.errors import LockLostError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.lock import Lock
    from typing_extensions import Self

    from openai_sessions._conversation.locks import ConversationLock

logger = logging.getLogger("openai_sessions")

__all__ = ["RedisLock", "redis_lock"]

_POLL = 0.1
"""Seconds between two attempts to acquire a lock that another process holds."""

_MIN_LEASE = 0.05


def redis_lock(
    client: Redis, *, lease: float = 30.0, prefix: str = "openai-sessions:", timeout: float | None = None
) -> ConversationLock:
    """Return a `lock` for sessions: `OpenAIConversationsSession(lock=redis_lock(client))`.

    Each conversation has a lock of its own, which the sessions hold around each read and write, or around an
    exclusive turn. The lease is renewed each third of it as long as the lock is held, so that no work is too
    long for it; if the process dies, the next one gets the lock when the lease is over. A lock that was lost
    all the same, because Redis was restarted or could not be reached, or the process was paused for longer
    than the lease, is logged, and the session sends no write under it: `LockLostError`.

    Args:
        client: The client, which the caller closes. It belongs to one event loop.
        lease: Seconds after which Redis releases the lock of a process that died; at least 0.05.
        prefix: What precedes the id of the conversation in the name of the key.
        timeout: Seconds to wait for a lock that another process holds, before redis-py's `LockError`; None to
            wait without limit.

    Raises:
        TypeError: The client is not one of `redis.asyncio`, or the prefix is not a string.
        ValueError: The lease or the timeout is not a positive number of seconds, or the lease is too short.
    """
    if not callable(getattr(client, "lock", None)) or not hasattr(client, "aclose"):
        raise TypeError(f"client must be a redis.asyncio.Redis, not {type(client).__name__}")
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, not {prefix!r}")
    seconds = checked_seconds("lease", lease)
    patience = checked_seconds("timeout", timeout)
    if seconds is None or seconds < _MIN_LEASE:
        raise ValueError(f"lease must be at least {_MIN_LEASE} seconds, not {lease!r}")

    def lock(conversation_id: str) -> RedisLock:
        key = client.lock(f"{prefix}{conversation_id}", timeout=seconds, thread_local=False)
        return RedisLock(key, conversation_id, lease=seconds, timeout=patience)

    return lock


class RedisLock:
    """The lock of one conversation, for one `async with` block.

    Args:
        key: The lock of redis-py, not acquired.
        conversation_id: The conversation, for errors.
        lease: Its lease in seconds.
        timeout: Seconds to wait for it, or None.
    """

    def __init__(self, key: Lock, conversation_id: str, *, lease: float, timeout: float | None) -> None:
        self._key = key
        self._conversation_id = conversation_id
        self._lease = lease
        self._timeout = timeout
        self._renewed_at = 0.0
        self._is_lost = False
        self._is_over = False
        self._renewal: asyncio.Task[None] | None = None

    def raise_if_lost(self) -> None:
        """Raise `LockLostError` if another process may hold the lock by now."""
        if self._is_lost or time.monotonic() - self._renewed_at >= self._lease:
            raise LockLostError(self._conversation_id, self._lease)

    async def __aenter__(self) -> Self:
        from redis.exceptions import LockError  # noqa: PLC0415 -- of an extra

        start = time.monotonic()
        while not await self._acquire():
            if self._timeout is not None and time.monotonic() + _POLL - start > self._timeout:
                raise LockError(f"{self._conversation_id}: the lock was not free within {self._timeout:g} s")
            await asyncio.sleep(_POLL)
        self._renewal = asyncio.create_task(self._renew())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._is_over = True
        if self._renewal is not None:
            self._renewal.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewal
        if not self._is_lost:
            with anyio.fail_after(self._lease):  # after that it is free in any case
                await self._key.release()

    async def _acquire(self) -> bool:
        self._renewed_at = time.monotonic()  # before the request: the lease starts when Redis has it
        return bool(await self._key.acquire(blocking=False))

    async def _renew(self) -> None:
        """Renew the lease until the task is cancelled, or the lock is lost."""
        from redis.exceptions import LockError  # noqa: PLC0415 -- of an extra

        reason: Any = None
        while time.monotonic() - self._renewed_at < self._lease:
            await asyncio.sleep(self._lease / (3 if reason is None else 12))
            started = time.monotonic()
            try:
                with anyio.fail_after(self._lease / 3):
                    await self._key.reacquire()
            except LockError as error:
                reason = error
                break
            except Exception as error:  # noqa: BLE001 -- tried again until the lease is over
                reason = error
            else:
                self._renewed_at, reason = started, None
            if self._is_over:
                return  # a request to Redis may end without passing the cancellation on
        self._is_lost = True
        logger.warning(
            "%s: the lock was lost, as its lease of %g s was not renewed: %s",
            self._conversation_id,
            self._lease,
            type(reason).__name__,
        )
