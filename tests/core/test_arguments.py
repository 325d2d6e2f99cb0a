"""Checks of arguments, which name the value and the remedy before any request."""

from __future__ import annotations

import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings
from openai_sessions._arguments import checked_items, checked_limit

MALFORMED = [
    "",
    "conv_",
    "../files",
    "conv_1/../../files",
    "conv_1?x=1",
    "conv_é",
    "resp_1",
    "conv_1 ",
    "conv_1\n",
    7,
]


@pytest.mark.parametrize("conversation_id", MALFORMED)
def test_a_malformed_conversation_id_is_refused_by_constructor_and_setter(conversation_id):
    with pytest.raises(ValueError, match="is not a conversation id") as caught:
        OpenAIConversationsSession(conversation_id=conversation_id)
    assert repr(conversation_id) in str(caught.value)
    session = OpenAIConversationsSession(conversation_id="conv_1")
    with pytest.raises(ValueError, match="is not a conversation id"):
        session.session_id = conversation_id
    assert session.session_id == "conv_1"


@pytest.mark.parametrize(
    "conversation_id", ["conv_1", "conv_6a3f11765ab88196bb163daa1e6dc3030eea6ca4e48c1c16", "conv_A_b"]
)
def test_a_well_formed_conversation_id_is_accepted_without_a_request(conversation_id):
    assert OpenAIConversationsSession(conversation_id=conversation_id).session_id == conversation_id


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
    with pytest.raises(TypeError, match="session_settings"):
        OpenAIConversationsSession(session_settings=settings)
