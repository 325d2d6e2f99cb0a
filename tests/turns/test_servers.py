"""Turns and forks on a server that others wrote, over a socket."""

from __future__ import annotations

import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings
from openai_sessions.session import ForkParent
from tests.servers import client_of, smg_server
from tests.wire import FAST

ITEMS = [
    item
    for number in range(60)
    for item in (
        {"role": "user", "content": f"question {number}"},
        {"type": "function_call", "call_id": f"call_{number}", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": f"call_{number}", "output": f"{number}"},
        {"role": "assistant", "content": f"answer {number}"},
    )
]


@pytest.fixture(scope="module")
def base_url():
    with smg_server() as url:
        yield url


@pytest.fixture
async def session(base_url):
    async with client_of(base_url) as client:
        session = OpenAIConversationsSession(
            openai_client=client, requests=RequestSettings(retry_policy=FAST)
        )
        await session.add_items(ITEMS)
        yield session


async def test_turns_are_read_searched_and_limited(session):
    assert [turn.number for turn in await session.turns()] == list(range(1, 61))
    assert [turn.number for turn in await session.find_turns("QUESTION 17")] == [18]
    items = await session.get_items()
    assert await session.get_items(turns=26) == items[-26 * 4 :]
    assert await session.get_items(max_tokens=9, count_tokens=lambda _: 1) == items[-8:]


async def test_forks_hold_what_they_should(session):
    turns, items = await session.turns(), await session.get_items()
    fork = await session.fork(before_turn=31, metadata={"topic": "bridges"})
    assert await fork.get_items() == items[:120]
    assert await fork.parent() == ForkParent(session.session_id, turns[29].item_ids[-1])
    second = await fork.fork(after_item=(await fork.turns())[0].item_ids[2])
    assert await second.get_items() == items[:3]
    assert await session.get_items() == items


async def test_an_item_that_needs_its_id_keeps_it(base_url):
    search = {"type": "web_search_call", "id": f"ws_{'a' * 48}", "status": "completed"}
    search["action"] = {"type": "search", "query": "q"}
    async with client_of(base_url) as client:
        session = OpenAIConversationsSession(
            openai_client=client, requests=RequestSettings(retry_policy=FAST)
        )
        await session.add_items([{"role": "user", "content": "Search."}, search])
        fork = await session.fork()
        assert await fork.get_items() == await session.get_items()
        assert (await fork.get_items())[1]["id"] == search["id"]
