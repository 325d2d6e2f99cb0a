"""Checks of arguments, which name the value and the remedy before any request."""

from __future__ import annotations

import re

import pytest
from openai import AsyncOpenAI

from openai_sessions import (
    ConversationNotFoundError,
    OpenAIConversationsSession,
    RequestSettings,
    SessionError,
    start_openai_conversations_session,
    sync,
)
from openai_sessions._arguments import checked_items, checked_limit
from openai_sessions.errors import InvalidConversationIdError

MALFORMED = [
    "",
    "conv_",
    "../files",
    "conv_1/../../files",
    "conv_1?x=1",
    "conv_é",
    "conv_1 ",
    "conv_1\n",
    "someone@example.com",
    "First chat",
    7,
    b"conv_1",
    None,
]

OTHER_KINDS = {
    "resp_6a3f11765ab88196bb163daa": "the id of a response, whose conversation is response.conversation.id",
    "msg_6a3f11765ab88196bb163daa1e6dc3030eea6ca4": "the id of a message",
    "thread_abc123": "the id of a thread of the Assistants API",
    "sess_001": "the id of a session of the Realtime API",
    "file-6a3f11765ab8": "the id of a file",
}

NAMES = [
    "user_123",
    "user:123",
    "user123",
    "user",
    "session-1",
    "customer.acme.2024",
    "my_session",
    "support_ticket_456",
]


def refused(conversation_id):
    """Return the error of a session with this id, from the constructor and from the setter alike."""
    session = OpenAIConversationsSession(conversation_id="conv_1")
    with pytest.raises(InvalidConversationIdError) as setting:
        session.session_id = conversation_id
    assert session.session_id == "conv_1"
    if conversation_id is not None:  # which means a new conversation
        with pytest.raises(InvalidConversationIdError) as making:
            OpenAIConversationsSession(conversation_id=conversation_id)
        assert str(making.value) == str(setting.value)
    assert isinstance(setting.value, SessionError)
    assert isinstance(setting.value, ValueError)
    assert "as conversation_id=" in str(setting.value)
    assert "SessionDirectory" in str(setting.value)
    return str(setting.value)


@pytest.mark.parametrize("conversation_id", MALFORMED)
def test_a_malformed_conversation_id_is_refused(conversation_id):
    shown = repr(conversation_id) if isinstance(conversation_id, str) else "The value"
    assert refused(conversation_id).startswith(f"{shown} is not a conversation id: it ")


@pytest.mark.parametrize("conversation_id", OTHER_KINDS)
def test_the_id_of_another_object_is_refused_by_its_prefix(conversation_id):
    assert f"it looks like {OTHER_KINDS[conversation_id]}. " in refused(conversation_id)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_refused_as_a_conversation_id(name):
    assert f"{name!r} is not a conversation id: it looks like a name of your own. " in refused(name)


def test_an_api_key_given_as_a_conversation_id_is_not_shown():
    message = refused("sk-proj-1234567890")
    assert "it looks like an API key" in message
    assert "1234567890" not in message


def test_a_long_wrong_id_is_shown_in_part():
    assert len(refused("../" * 100_000)) < 400


@pytest.mark.parametrize(
    "conversation_id", ["conv_1", "conv_6a3f11765ab88196bb163daa1e6dc3030eea6ca4e48c1c16", "conv_A_b"]
)
def test_a_well_formed_conversation_id_is_accepted_without_a_request(conversation_id):
    assert OpenAIConversationsSession(conversation_id=conversation_id).session_id == conversation_id


@pytest.mark.parametrize("session_class", [OpenAIConversationsSession, sync.OpenAIConversationsSession])
@pytest.mark.parametrize("name", ["user_123", "alice", "conv_1", ""])
def test_a_name_given_by_position_is_refused_as_in_sqlite_sessions(session_class, name):
    with pytest.raises(InvalidConversationIdError, match=re.escape(repr(name))) as caught:
        session_class(name, "conversations.db")
    assert "as conversation_id=" in str(caught.value)
    assert "SessionDirectory" in str(caught.value)


def test_a_client_given_by_position_is_refused():
    with pytest.raises(TypeError, match="openai_client=: a AsyncOpenAI was given by position"):
        OpenAIConversationsSession(AsyncOpenAI(api_key="k"))


@pytest.mark.parametrize("client", ["user_123", 7, AsyncOpenAI])
async def test_what_is_not_a_client_is_refused(client):
    with pytest.raises(TypeError, match="openai_client must be an AsyncOpenAI, not a"):
        OpenAIConversationsSession(openai_client=client)
    with pytest.raises(TypeError, match="openai_client must be an AsyncOpenAI, not a"):
        await start_openai_conversations_session(client)


def test_a_conversation_that_is_not_found_may_have_been_a_name():
    assert "SessionDirectory" in str(ConversationNotFoundError("conversation_123"))
    assert "SessionDirectory" not in str(ConversationNotFoundError("conv_6b03a6ee398e8e35"))


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        ("topic", TypeError, "metadata must be a mapping of strings to strings, not str"),
        ({"n": 1}, TypeError, r"metadata\['n'\] must be a string, not int"),
        ({1: "n"}, TypeError, "the metadata key 1 must be a string"),
        ({str(n): "" for n in range(17)}, ValueError, "metadata has 17 pairs, and the API allows 16"),
        ({"k" * 65: ""}, ValueError, "has over 64 characters"),
        ({"k": "v" * 513}, ValueError, r"metadata\['k'\] has over 512 characters"),
    ],
)
def test_metadata_over_the_limits_of_the_api_is_refused(metadata, error, message):
    with pytest.raises(error, match=message):
        OpenAIConversationsSession(metadata=metadata)


def test_metadata_at_the_limits_is_accepted():
    OpenAIConversationsSession(metadata={f"{n:064}": "v" * 512 for n in range(16)})


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), True, "30"])
def test_a_timeout_that_is_not_a_positive_number_is_refused(timeout):
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds") as caught:
        RequestSettings(timeout=timeout)
    assert repr(timeout) in str(caught.value)


@pytest.mark.parametrize("include", ["message.output_text.logprobs", [1]])
def test_include_that_is_not_a_list_of_strings_is_refused(include):
    with pytest.raises(TypeError, match="include must be a list of strings"):
        OpenAIConversationsSession(include=include)


@pytest.mark.parametrize("limit", [True, 1.0, "1"])
def test_a_limit_that_is_not_an_integer_is_refused(limit):
    with pytest.raises(TypeError, match="limit must be a whole number of items, or None for all"):
        checked_limit(limit)


@pytest.mark.parametrize("items", ["Hello", b"", {"role": "user", "content": "Hi"}, 7, None])
def test_items_that_are_not_a_list_are_refused(items):
    with pytest.raises(TypeError, match="items must be a list of items"):
        checked_items(items)


def test_items_may_be_any_iterable():
    assert list(checked_items(iter([1, 2]))) == [1, 2]


@pytest.mark.parametrize("settings", [5, "limit", {"limits": 5}])
def test_session_settings_of_another_kind_are_refused(settings):
    with pytest.raises(TypeError, match=r"session.settings"):
        OpenAIConversationsSession(session_settings=settings)
