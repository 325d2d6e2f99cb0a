"""The lock in Redis, on a real server, seen from one process and from two."""

import asyncio
import contextlib
import logging

import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings, RetryPolicy
from openai_sessions.emulator import Fault
from openai_sessions.errors import LockLostError
from openai_sessions.redis import RedisLock, redis_lock
from tests.servers import free_ports

from .staff import FAST, all_do, user

OLD = [user("old")]


@pytest.fixture
async def redis(redis_url):
    from redis.asyncio import Redis  # noqa: PLC0415 - installed where redis_url has not skipped

    async with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def locked_session(emulator, locks):
    """Makes a session on a new conversation, and forgets the requests for it."""

    async def make(redis, **options):
        session = OpenAIConversationsSession(
            openai_client=emulator.client(),
            requests=RequestSettings(retry_policy=RetryPolicy(**FAST)),
            lock=redis_lock(redis, **options),
        )
        await session.add_items(OLD)
        emulator.forget_requests()
        locks.clear()
        return session

    return make


@pytest.fixture
def locks(monkeypatch):
    """The locks that were acquired."""
    locks, acquire = [], RedisLock.__aenter__

    async def acquired(lock):
        locks.append(lock)
        return await acquire(lock)

    monkeypatch.setattr(RedisLock, "__aenter__", acquired)
    return locks


def operations(emulator):
    return [request.operation for request in emulator.requests]


async def test_lock_that_another_process_holds_is_waited_for_with_patience(redis, emulator, locked_session):
    """The write fails with redis-py's error, and nothing was sent."""
    from redis.exceptions import LockError  # noqa: PLC0415

    session = await locked_session(redis, timeout=0.01)
    async with redis.lock(f"openai-sessions:{session.session_id}", timeout=60):
        with pytest.raises(LockError, match=r"was not free within 0\.01 s"):
            await session.add_items([user("1")])
    assert () == emulator.requests
    await session.add_items([user("1")])


@pytest.mark.exhaustive
async def test_lease_is_renewed_as_long_as_the_lock_is_held(redis, locked_session, locks):
    session = await locked_session(redis, lease=1.5, prefix="mine:")
    async with session.turn(exclusive=True) as turn:
        lock = locks[0]._key
        renew, renewed = lock.do_reacquire, asyncio.Semaphore(0)

        async def counted():
            await renew()
            renewed.release()

        lock.do_reacquire = counted
        for _ in range(5):
            await renewed.acquire()  # five thirds of the lease
        assert await lock.owned()
        await turn.add_items([user("1")])
    assert 0 == await redis.exists(f"mine:{session.session_id}")
    assert [*OLD, user("1")] == await session.get_items()
    assert all(lock._renewal.cancelled() for lock in locks)


@pytest.mark.parametrize("exclusive", [True, False])
async def test_nothing_is_written_under_a_lock_that_was_lost(  # noqa: PLR0917 -- fixtures
    redis, emulator, locked_session, locks, caplog, exclusive
):
    """Redis was restarted, and another process has the lock by now."""
    session = await locked_session(redis, lease=0.6)

    async def lose():
        await redis.set(f"openai-sessions:{session.session_id}", "of another process")
        await asyncio.wait({locks[0]._renewal})

    async def turn():
        async with session.turn(exclusive=True) as turn:
            await turn.get_items()
            await turn.add_items([user("1")])
            await lose()

    async def write():
        async def losing(_):
            await lose()

        emulator.inject(Fault("throttled"), operation="create_items")
        client = await session._clients.client()
        object.__setattr__(client.retries, "sleep", losing)
        await session.add_items([user("1")])

    with (
        caplog.at_level(logging.WARNING, "openai_sessions"),
        pytest.raises(LockLostError, match="read again"),
    ):
        await (turn() if exclusive else write())
    assert [
        f"{session.session_id}: the lock was lost, as its lease of 0.6 s was not renewed: LockNotOwnedError"
    ] == caplog.messages
    assert 0 == operations(emulator).count("create_items") - (not exclusive)
    assert b"of another process" == await redis.get(f"openai-sessions:{session.session_id}")
    await redis.delete(f"openai-sessions:{session.session_id}")
    assert OLD == await session.get_items()


async def test_process_that_was_paused_for_longer_than_the_lease_has_lost_the_lock(
    redis, emulator, locked_session, locks
):
    session = await locked_session(redis)

    async def turn():
        async with session.turn(exclusive=True) as turn:
            await turn.add_items([user("1")])
            locks[0]._renewed_at -= 30

    with pytest.raises(LockLostError):
        await turn()
    assert "create_items" not in operations(emulator)


@pytest.mark.exhaustive
async def test_server_that_cannot_be_reached_is_tried_again_until_the_lease_is_over(
    redis, locked_session, locks
):
    session = await locked_session(redis, lease=1.5)
    async with session.turn(exclusive=True) as turn:
        renew, failures = locks[0]._key.do_reacquire, 2

        async def failing():
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise ConnectionError
            await renew()

        locks[0]._key.do_reacquire = failing
        while failures >= 0:
            assert not locks[0]._renewal.done()
            await asyncio.sleep(0)
        await turn.add_items([user("1")])
    async with session.turn(exclusive=True):
        locks[-1]._key.do_reacquire = refuse
        await asyncio.wait({locks[-1]._renewal})
        with pytest.raises(LockLostError):
            locks[-1].raise_if_lost()
    assert [*OLD, user("1")] == await session.get_items()


async def refuse():
    raise ConnectionError


async def test_renewal_that_swallows_its_cancellation_ends_with_the_block(redis, locked_session, locks):
    """As a request to Redis may that is answered at the moment of the cancellation."""
    session = await locked_session(redis, lease=0.6)
    async with session.turn(exclusive=True) as turn:
        renewing = asyncio.Event()

        async def swallowing():
            renewing.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

        locks[0]._key.do_reacquire = swallowing
        await renewing.wait()
        await turn.add_items([user("1")])
    assert locks[0]._renewal.done()
    assert not locks[0]._is_lost
    assert [*OLD, user("1")] == await session.get_items()


@pytest.mark.exhaustive
async def test_server_that_does_not_answer_holds_nobody_up(redis, locked_session, locks, caplog):
    session = await locked_session(redis, lease=0.5)
    async with session.turn(exclusive=True):
        locks[-1]._key.do_reacquire = locks[-1]._key.do_release = asyncio.Event().wait
        await asyncio.wait({locks[-1]._renewal})
        locks[-1]._key.do_release = lambda token: asyncio.Event().wait()
        locks[-1]._is_lost = False
    assert ["TimeoutError", "TimeoutError"] == [message.split(": ")[-1] for message in caplog.messages]


async def test_lock_that_a_failed_write_held_is_free(redis, emulator, locked_session):
    session = await locked_session(redis)
    emulator.inject(Fault("quota"), operation="create_items")
    with pytest.raises(openai.RateLimitError):
        await session.add_items([user("1")])
    assert 0 == await redis.exists(f"openai-sessions:{session.session_id}")


async def test_redis_server_that_is_gone_fails_the_write(emulator):
    """The error is redis-py's, and nothing was sent."""
    pytest.importorskip("redis", reason="the package redis is not installed")
    from redis.asyncio import Redis  # noqa: PLC0415
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415

    (port,) = free_ports(1)
    async with Redis(port=port, retry=Retry(NoBackoff(), 0)) as redis:
        session = OpenAIConversationsSession(openai_client=emulator.client(), lock=redis_lock(redis))
        await session.ensure_conversation()
        emulator.forget_requests()
        with pytest.raises(RedisConnectionError):
            await session.add_items([user("1")])
    assert () == emulator.requests


@pytest.mark.exhaustive
def test_second_of_two_processes_sees_the_turn_of_the_first(staff, locked):
    with staff.workers(2, locked) as (one, other):
        one.order("take_turns", name="one", number=10)
        other.order("take_turns", name="other", number=10)
        assert [None, None] == [one.answer(), other.answer()]
        (history,) = all_do([one], "get")
    assert 40 == len(history)
    for place in range(0, 40, 2):
        question, answer = (item["content"] for item in history[place : place + 2])
        assert f"{question} {place}" == answer


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lease": 0}, "lease must be a positive number of seconds"),
        ({"lease": None}, "lease must be at least 0.05 seconds, not None"),
        ({"lease": 0.01}, "lease must be at least 0.05 seconds, not 0.01"),
        ({"timeout": -1}, "timeout must be a positive number of seconds"),
        ({"prefix": None}, "prefix must be a string, not None"),
    ],
)
async def test_arguments_are_checked(redis, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        redis_lock(redis, **options)


def test_client_must_be_async():
    redis = pytest.importorskip("redis", reason="the package redis is not installed")
    for client in (redis.Redis(), "redis://127.0.0.1"):
        with pytest.raises(TypeError, match=r"client must be a redis\.asyncio\.Redis, not "):
            redis_lock(client)
