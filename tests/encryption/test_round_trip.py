"""Items come back in the replay form of the hosted session."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from openai_sessions._items.forms import checked_item, to_replay, to_stored
from openai_sessions._items.turns import from_newest_compaction
from openai_sessions.encryption import EncryptedSession
from openai_sessions.encryption._envelope import Sealer, session_cipher
from openai_sessions.encryption._keys import checked_keys
from tests.strategies import json_values, written_items

from .stores import KEY, ListSession


async def come_back(items):
    session = EncryptedSession("first user", ListSession(), KEY)
    await session.add_items(items)
    return await session.get_items()


@given(st.lists(written_items(), max_size=4))
def test_items_come_back_in_replay_form(items):
    """Reasoning and its calls keep the given ids. What a compaction item stands for is not returned."""
    checked = [checked_item(index, item) for index, item in enumerate(items)]
    expected = to_replay(from_newest_compaction(checked))

    assert expected == asyncio.run(come_back(items))


@given(st.lists(written_items(), max_size=4))
def test_items_come_back_as_from_the_hosted_session(items):
    """Except for ids, which the API assigns."""
    expected = to_replay(from_newest_compaction(to_stored(items)))

    assert [without_id(item) for item in expected] == [
        without_id(item) for item in asyncio.run(come_back(items))
    ]


SIGNED = {"model": "gemini/gemini-3-pro", "thought_signature": "EqQBCqEB"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
OF_ANOTHER_PROVIDER = [
    {"role": "user", "content": "What is it?", "provider_data": {"a": [1]}},
    {"type": "reasoning", "summary": [], "provider_data": SIGNED},
    {**CALL, "provider_data": SIGNED},
    {"type": "function_call_output", "call_id": "call_1", "output": "1"},
    {"role": "assistant", "content": "One.", "provider_data": SIGNED},
]


async def test_provider_data_come_back_however_they_are_read():
    session = EncryptedSession("first user", ListSession(), KEY)
    await session.add_items(OF_ANOTHER_PROVIDER)
    assert await session.get_items() == OF_ANOTHER_PROVIDER
    assert [item async for item in session.iterate_items()] == OF_ANOTHER_PROVIDER
    assert await session.get_items(limit=2) == OF_ANOTHER_PROVIDER[-2:]
    assert [await session.pop_item() for _ in OF_ANOTHER_PROVIDER] == OF_ANOTHER_PROVIDER[::-1]


async def test_provider_data_come_back_with_ids_that_the_sdk_made_up_left_out():
    given = [
        {"id": "__fake_id__", **item} if item.get("type", "message") != "function_call_output" else item
        for item in OF_ANOTHER_PROVIDER
    ]
    assert await come_back(given) == OF_ANOTHER_PROVIDER


def without_id(item):
    return {key: value for key, value in item.items() if key != "id"}


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values()))
def test_envelope_returns_any_json_exactly(item):
    cipher = session_cipher("first user", checked_keys(KEY))
    sealer = Sealer(cipher, ttl=600, clock=lambda: 1_760_000_000.0)
    assert [item, item] == [sealer.open(envelope).item for envelope in sealer.seal([item, item])]
