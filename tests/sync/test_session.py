"""Every operation over a socket, without an event loop of the caller."""

import copy
import gc
import pickle
import threading
from types import SimpleNamespace

import openai
import pytest

from openai_sessions import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    InvalidItemError,
    RequestSettings,
    Usage,
)
from openai_sessions.emulator import Fault
from openai_sessions.sync import OpenAIConversationsSession
from tests.wire import FAST

HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi there!"}


def test_items_are_added_read_and_popped(session):
    session.add_items([HELLO, HI])

    assert [HELLO, HI] == session.get_items()
    assert [HI] == session.get_items(limit=1)
    assert HI == session.pop_item()
    assert [HELLO] == session.get_items(turns=1)


def test_session_is_resumed_and_cleared(session, base_url):
    session.add_items([HELLO])
    with OpenAIConversationsSession(conversation_id=session.session_id) as resumed:
        assert [HELLO] == resumed.get_items()
        resumed.clear_session(purge_items=True)
        assert resumed.conversation_id is None
    with pytest.raises(ConversationNotFoundError):
        session.get_items()


def test_unused_session_makes_no_request(session, emulator):
    assert ([], None, None) == (session.get_items(), session.pop_item(), session.conversation_id)
    session.clear_session()
    with pytest.raises(ConversationNotCreatedError):
        _ = session.session_id
    assert () == emulator.requests


def test_ensure_conversation_creates_it(session):
    assert session.ensure_conversation() == session.session_id == session.conversation_id
    assert repr(session) == (
        f"<openai_sessions.sync._session.OpenAIConversationsSession conversation_id={session.session_id!r}>"
    )


def test_settings_and_id_can_be_set(session):
    session.session_settings = {"limit": 3}
    session.session_id = "conv_1"
    assert (3, "conv_1") == (session.session_settings.limit, session.conversation_id)


@pytest.mark.parametrize("count", [0, 1, 50, 51, 100, 250])
def test_iteration_yields_all_items(session, count):
    items = [{"role": "user", "content": str(n)} for n in range(count)]
    session.add_items(items)
    assert items == list(session.iterate_items())


def test_iteration_can_be_abandoned(session):
    session.add_items([{"role": "user", "content": str(n)} for n in range(120)])
    for number, item in enumerate(session.iterate_items()):
        assert str(number) == item["content"]
        if number == 60:
            break
    gc.collect()
    assert 120 == len(session.get_items())


def test_iteration_yields_the_items_before_an_error(session, emulator):
    session.add_items([{"role": "user", "content": str(n)} for n in range(120)])
    emulator.inject(Fault("quota"), operation="list_items", after=1)
    items = []
    with pytest.raises(openai.RateLimitError):
        items.extend(session.iterate_items())
    assert 100 == len(items)


def test_turns_are_read_found_and_forked(session):
    session.add_items([HELLO, HI, {"role": "user", "content": "Bye"}])

    assert [1, 2] == [turn.number for turn in session.turns()]
    assert ["Bye"] == [turn.text for turn in session.find_turns("bye")]
    with session.fork(before_turn=2, metadata={"topic": "greeting"}) as forked:
        assert isinstance(forked, OpenAIConversationsSession)
        assert [HELLO, HI] == forked.get_items()
        assert {"topic": "greeting"} == forked.get_metadata()
        assert session.session_id == forked.parent().conversation_id
    assert session.parent() is None


def test_metadata_and_usage_are_stored(session):
    session.ensure_conversation()
    session.update_metadata({"topic": "greeting"})
    assert {"topic": "greeting"} == session.get_metadata()
    assert session.get_session_usage() is None
    usage = Usage(requests=1, input_tokens=2, output_tokens=3, total_tokens=5)
    session.set_session_usage(usage)
    assert usage == session.get_session_usage()
    with pytest.raises(TypeError, match="result"):
        session.store_run_usage("no result")
    session.store_run_usage(SimpleNamespace(model="gpt-5-mini", usage=usage), model="gpt-5.2")
    assert ["gpt-5.2", ""] == [part.model for part in session.get_session_usage().parts()]


def test_receipt_is_settled(session):
    session.add_items([HELLO])
    assert () == session.unsettled
    with pytest.raises(ValueError, match="receipt"):
        session.settle({})


def test_errors_propagate(session):
    with pytest.raises(InvalidItemError, match="neither 'type' nor 'role'"):
        session.add_items([{"content": "Hello"}])


def test_given_async_client_is_used(emulator):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    session.add_items([HELLO])
    assert [HELLO] == session.get_items()


def test_sync_client_is_refused():
    refused = pytest.raises(TypeError, match=r"openai_client must be an AsyncOpenAI.*AsyncOpenAI\(")
    with openai.OpenAI(api_key="sk-none") as client, refused:
        OpenAIConversationsSession(openai_client=client)


@pytest.mark.parametrize("make_copy", [pickle.dumps, copy.copy, copy.deepcopy])
def test_session_cannot_be_copied(session, make_copy):
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        make_copy(session)


def test_closed_session_can_be_used_again(session):
    session.add_items([HELLO])
    session.close()
    assert [HELLO] == session.get_items()


def test_unclosed_session_warns(base_url):
    session = OpenAIConversationsSession()
    session.add_items([HELLO])
    with pytest.warns(ResourceWarning, match=r"was not closed: call `session.close\(\)`, or use `with`"):
        session.__del__()
    session.close()


def test_callbacks_run_in_their_documented_threads(base_url, emulator):
    """on_conversation_created runs in its own thread and may use the session; on_retry runs on the loop."""
    threads = {}

    def created(conversation_id):
        threads["created"] = threading.current_thread().name
        session.add_items([HELLO])

    def retried(event):
        threads["retried"] = threading.current_thread().name

    emulator.inject(Fault("error_500_before"), operation="create_items")
    with OpenAIConversationsSession(
        on_conversation_created=created, requests=RequestSettings(on_retry=retried, retry_policy=FAST)
    ) as session:
        session.add_items([HI])
        assert [HELLO, HI] == session.get_items()
    assert "openai-sessions" == threads["retried"]
    assert threads["created"] not in ("openai-sessions", threading.current_thread().name)


def test_coroutine_callback_runs_on_the_loop(base_url):
    threads = []

    async def created(conversation_id):
        threads.append(threading.current_thread().name)

    with OpenAIConversationsSession(on_conversation_created=created) as session:
        session.ensure_conversation()
    assert ["openai-sessions"] == threads


def test_write_raises_the_error_of_a_callback(base_url):
    def created(conversation_id):
        raise KeyError(conversation_id)

    raised = pytest.raises(KeyError, match="conv_")
    with OpenAIConversationsSession(on_conversation_created=created) as session, raised:
        session.add_items([HELLO])


def test_use_on_the_background_loop_raises_instead_of_deadlocking(base_url, emulator):
    errors = []

    def retried(event):
        try:
            session.get_items()
        except RuntimeError as error:
            errors.append(str(error))

    emulator.inject(Fault("error_500_before"), operation="create_items")
    with OpenAIConversationsSession(requests=RequestSettings(on_retry=retried, retry_policy=FAST)) as session:
        session.add_items([HELLO])
    (error,) = errors
    assert "which would wait for itself forever" in error
