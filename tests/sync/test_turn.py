"""A turn of a sync session."""

import threading

import pytest

from openai_sessions import ConversationNotCreatedError
from openai_sessions.errors import ConversationHeldError, TurnStateError
from openai_sessions.sync import OpenAIConversationsSession

from .test_session import HELLO, HI


def operations(emulator):
    return [request.operation for request in emulator.requests]


def test_what_is_added_is_one_write_when_the_block_ends(session, emulator):
    with session.turn() as turn:
        assert [] == turn.get_items()
        turn.add_items([HELLO])
        turn.add_items([HI, HELLO])
        assert HELLO == turn.pop_item()
        assert [HELLO, HI] == turn.pending == turn.get_items(turns=1)
        with pytest.raises(ConversationNotCreatedError):
            _ = turn.session_id
        assert turn.conversation_id is turn.session_settings.limit is None
        assert "open, 2 pending" in repr(turn)
    assert ["create_conversation", "create_items"] == operations(emulator)
    assert [HELLO, HI] == session.get_items()
    with pytest.raises(TurnStateError):
        turn.get_items()
    with session.turn() as turn:
        turn.clear_session()
    assert session.conversation_id is None


def test_a_turn_whose_block_raises_is_discarded_or_kept(session):
    def fail(**options):
        with session.turn(**options) as turn:
            turn.add_items([HELLO])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [] == session.get_items()
    with pytest.raises(KeyboardInterrupt):
        fail(on_error="keep")
    assert [HELLO] == session.get_items()


def test_an_exclusive_turn_keeps_other_threads_out_and_its_own_from_waiting(session):
    session.ensure_conversation()
    seen = []

    def work():
        with (
            OpenAIConversationsSession(conversation_id=session.session_id) as other,
            other.turn(exclusive=True) as turn,
        ):
            seen.append(turn.get_items())

    thread = threading.Thread(target=work)
    with session.turn(exclusive=True) as turn:
        thread.start()
        for use in (session.get_items, session.pop_item, lambda: session.add_items([HI])):
            with pytest.raises(ConversationHeldError):
                use()
        turn.add_items([HELLO])
    thread.join()
    assert [[HELLO]] == seen
    assert [HELLO] == session.get_items()


def test_an_interrupt_while_a_turn_is_entered_releases_the_conversation(session, monkeypatch):
    turn = session.turn(exclusive=True)

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(turn._turn, "mark_context", interrupt)
    with pytest.raises(KeyboardInterrupt):
        turn.__enter__()
    assert [] == session.get_items()
