"""Reads of sync sessions that start at the newest compaction item."""

from __future__ import annotations

from openai_sessions import HistoryLimits
from openai_sessions.sync import OpenAIConversationsSession

ITEMS = [
    {"role": "assistant", "content": "old"},
    {"type": "compaction", "encrypted_content": "gAAAAA"},
    {"role": "user", "content": "new"},
]


def test_a_read_starts_at_the_compaction_item_unless_history_limits_says_otherwise(session):
    session.add_items(ITEMS)
    assert session.get_items() == ITEMS[1:]
    assert list(session.iterate_items()) == ITEMS
    with session.turn() as turn:
        assert turn.get_items() == ITEMS[1:]
    whole = HistoryLimits(from_compaction=False)
    with OpenAIConversationsSession(conversation_id=session.session_id, history_limits=whole) as other:
        assert other.get_items() == ITEMS
