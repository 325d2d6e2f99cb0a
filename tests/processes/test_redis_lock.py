"""The lock of the example, on a real Redis server, seen from one process."""

import logging

import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings, RetryPolicy
from openai_sessions.emulator import Fault
from tests.servers import free_ports

from .staff import FAST, user


@pytest.fixture
async def redis(redis_url):
    from redis.asyncio import Redis  # noqa: PLC0415 - installed where redis_url has not skipped

    async with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def locked_session(emulator):
    """Makes a session with the lock of the example, and forgets the request that created its conversation."""
    pytest.importorskip("redis", reason="the package redis is not installed")
    from examples.redis_lock import redis_lock  # noqa: PLC0415 - needs the package redis

    async def make(redis, **options):
        session = OpenAIConversationsSession(
            openai_client=emulator.client(),
            requests=RequestSettings(retry_policy=RetryPolicy(**FAST)),
            lock=redis_lock(redis, **options),
        )
        await session.ensure_conversation()
        emulator.forget_requests()
        return session

    return make


async def test_lock_that_another_process_holds_is_waited_for_with_patience(redis, emulator, locked_session):
    """The write fails with redis-py's error, and nothing was sent."""
    from redis.exceptions import LockError  # noqa: PLC0415

    session = await locked_session(redis, patience=0.01)
    async with redis.lock(f"openai-sessions:{session.session_id}", timeout=60):
        with pytest.raises(LockError, match="within the time"):
            await session.add_items([user("1")])
    assert () == emulator.requests


async def test_lock_whose_lease_ran_out_does_not_fail_the_write(redis, emulator, locked_session, caplog):
    """What was done has been done; the log says that the lock was not held to the end."""
    session = await locked_session(redis, lease=0.01)
    emulator.inject(Fault("throttled", retry_after=0.1), operation="create_items")
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        await session.add_items([user("1")])
    assert [f"{session.session_id}: releasing the lock failed: LockNotOwnedError"] == caplog.messages
    assert [user("1")] == await session.get_items()


async def test_lock_that_a_failed_write_held_is_free(redis, emulator, locked_session):
    session = await locked_session(redis)
    emulator.inject(Fault("quota"), operation="create_items")
    with pytest.raises(openai.RateLimitError):
        await session.add_items([user("1")])
    assert 0 == await redis.exists(f"openai-sessions:{session.session_id}")


async def test_redis_server_that_is_gone_fails_the_write(emulator, locked_session):
    """The error is redis-py's, and nothing was sent."""
    from redis.asyncio import Redis  # noqa: PLC0415
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415

    (port,) = free_ports(1)
    async with Redis(port=port, retry=Retry(NoBackoff(), 0)) as redis:
        session = await locked_session(redis)
        with pytest.raises(RedisConnectionError):
            await session.add_items([user("1")])
    assert () == emulator.requests
