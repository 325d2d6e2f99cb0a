"""Limits of tokens that the server counts, in a sync session."""

from openai_sessions import HistoryLimits
from openai_sessions.sync import OpenAIConversationsSession
from openai_sessions.tokens import ServerTokens


def test_a_sync_session_counts(base_url, emulator):
    counter = ServerTokens(model="any name")
    one, two = {"role": "user", "content": "one one"}, {"role": "user", "content": "two two"}
    limits = HistoryLimits(max_tokens=2, count_tokens=counter)
    with OpenAIConversationsSession(history_limits=limits) as session:
        session.add_items([one, two])
        assert session.get_items() == [two]
        assert session.get_items(max_tokens=4, count_tokens=counter) == [one, two]
        with session.turn() as turn:
            assert turn.get_items(max_tokens=2, count_tokens=counter) == [two]
    counted = [each.body["input"] for each in emulator.requests if each.operation == "count_input_tokens"]
    assert list(map(len, counted)) == [2, 1]
