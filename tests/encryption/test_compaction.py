"""A compaction item in an encrypted history: it is found once everything is decrypted."""

from __future__ import annotations

import pytest

from openai_sessions import HistoryLimits, OpenAIConversationsSession

OLD = [{"role": "user", "content": "old"}, {"role": "assistant", "content": "gone"}]
NEEDED = [
    {"role": "user", "content": "kept"},
    {"type": "compaction", "encrypted_content": "gAAAAA"},
    {"role": "user", "content": "new"},
]
ITEMS = [*OLD, *NEEDED]


async def test_a_read_starts_at_the_compaction_item(encrypted, hosted):
    session = encrypted()
    await session.add_items(ITEMS)
    assert await session.get_items() == NEEDED
    assert await session.get_items(4) == ITEMS[-4:]
    assert await session.get_items(1) == NEEDED[-1:]
    assert await session.get_items(2147483647) == ITEMS
    assert [item async for item in session.iterate_items()] == ITEMS
    session.session_settings = {"limit": 4}
    assert await session.get_items(4) == await session.get_items() == NEEDED
    session.session_settings = None
    assert len(await hosted.get_items()) == len(ITEMS)
    assert (await type(session)._read_compaction_items(session, None))[0] == ITEMS


async def test_a_turn_reads_as_its_session_does(encrypted):
    session = encrypted()
    await session.add_items(ITEMS)
    async with session.turn() as turn:
        assert await turn.get_items() == NEEDED
        await turn.add_items(NEEDED[1:2])
        assert await turn.get_items() == [*NEEDED[2:], *NEEDED[1:2]]
    assert await session.pop_item() == NEEDED[1]
    assert await session.get_items() == NEEDED


@pytest.mark.parametrize("is_read_from", [True, False])
async def test_the_underlying_session_says_where_reads_start(encrypted, client, is_read_from):
    hosted = OpenAIConversationsSession(
        openai_client=client, history_limits=HistoryLimits(from_compaction=is_read_from)
    )
    session = encrypted(hosted)
    await session.add_items(ITEMS)
    assert await session.get_items() == (NEEDED if is_read_from else ITEMS)
    async with session.turn() as turn:
        assert await turn.get_items() == (NEEDED if is_read_from else ITEMS)
