"""How many requests of a client are under way at once."""

from __future__ import annotations

import asyncio

import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions._api.client import RequestLimiter
from tests.wire import HTTP_FAMILY

HOUR = 3600.0


async def held(slots: RequestLimiter, log: list, release: asyncio.Event) -> None:
    async with slots.one():
        log.append("under way")
        await release.wait()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_as_many_as_there_are_slots_are_under_way_and_the_others_follow():
    slots, log, release = RequestLimiter(3, patience=HOUR), [], asyncio.Event()
    tasks = [asyncio.ensure_future(held(slots, log, release)) for _ in range(5)]
    await turns()
    assert 3 == len(log)
    release.set()
    await asyncio.gather(*tasks)
    assert 5 == len(log)


async def test_who_has_waited_long_enough_goes_without_a_slot_and_gives_none_back():
    slots, log, release = RequestLimiter(1, patience=0.01), [], asyncio.Event()
    tasks = [asyncio.ensure_future(held(slots, log, release)) for _ in range(3)]
    while len(log) < 3:  # noqa: ASYNC110 -- time passes
        await asyncio.sleep(0.001)
    release.set()
    await asyncio.gather(*tasks)
    assert 1 == slots._semaphore._value


async def test_a_waiter_that_is_cancelled_leaves_its_place_to_the_next():
    slots, log, release = RequestLimiter(1, patience=HOUR), [], asyncio.Event()
    tasks = [asyncio.ensure_future(held(slots, log, release)) for _ in range(3)]
    await turns()
    tasks[1].cancel()
    release.set()
    await asyncio.wait(tasks)
    assert (2, 1) == (len(log), slots._semaphore._value)


@pytest.mark.parametrize(("options", "count"), [({}, 100), ({"limits": {"max_keepalive_connections": 7}}, 7)])
def test_the_sessions_of_a_client_share_as_many_slots_as_it_keeps_connections(options, count):

    given = {"limits": HTTP_FAMILY.Limits(**options["limits"])} if options else {}
    client = openai.AsyncOpenAI(
        api_key="sk-slots", http_client=openai.DefaultAsyncHttpxClient(verify=False, **given)
    )
    one, other = (OpenAIConversationsSession(openai_client=client) for _ in range(2))
    slots = one._clients._client.limiter
    assert slots is other._clients._client.limiter
    assert count == slots._semaphore._value


def test_a_client_without_connections_needs_no_slots(client):
    assert OpenAIConversationsSession(openai_client=client)._clients._client.limiter is None
