"""Items come back in the replay form of the hosted session."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from openai_sessions._items.forms import checked_item, to_replay, to_stored
from openai_sessions.encryption import EncryptedSession
from openai_sessions.encryption._envelope import Sealer, checked_keys, session_cipher
from tests.strategies import json_values, written_items

from .stores import KEY, ListSession


async def come_back(items):
    session = EncryptedSession("first user", ListSession(), KEY)
    await session.add_items(items)
    return await session.get_items()


@given(st.lists(written_items(), max_size=4))
def test_items_come_back_in_replay_form(items):
    """Reasoning and its calls keep the given ids."""
    expected = to_replay([checked_item(index, item) for index, item in enumerate(items)])

    assert expected == asyncio.run(come_back(items))


@given(st.lists(written_items(), max_size=4))
def test_items_come_back_as_from_the_hosted_session(items):
    """Except for ids, which the API assigns."""
    expected = to_replay(to_stored(items))

    assert [without_id(item) for item in expected] == [
        without_id(item) for item in asyncio.run(come_back(items))
    ]


def without_id(item):
    return {key: value for key, value in item.items() if key != "id"}


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values()))
def test_envelope_returns_any_json_exactly(item):
    cipher = session_cipher("first user", checked_keys(KEY))
    sealer = Sealer(cipher, ttl=600, clock=lambda: 1_760_000_000.0)
    assert [item, item] == [sealer.open(envelope) for envelope in sealer.seal([item, item])]
