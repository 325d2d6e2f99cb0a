"""Metadata as users read and change it."""

import asyncio

import pytest

from openai_sessions import ConversationNotFoundError, OpenAIConversationsSession
from openai_sessions.errors import InvalidResponseError, MetadataFullError
from tests.wire import FAST, Wire, arguments

from .results import ONE, result_of


@pytest.fixture
def session(client):
    return OpenAIConversationsSession(openai_client=client, metadata={"user": "first", "topic": "bridges"})


async def test_unused_session_has_none_and_makes_no_request(emulator, session):
    assert {} == await session.get_metadata()
    assert () == emulator.requests


async def test_first_change_creates_the_conversation(session):
    await session.update_metadata({"topic": "towers"})
    assert {"user": "first", "topic": "towers"} == await session.get_metadata()


async def test_changes_are_merged_and_none_removes(session):
    await session.update_metadata({"user": None, "new": "value", "never there": None})
    assert {"topic": "bridges", "new": "value"} == await session.get_metadata()


async def test_each_is_as_few_requests_as_can_be(emulator, session):
    await session.ensure_conversation()
    emulator.forget_requests()
    await session.get_metadata()
    await session.update_metadata({"new": "value"})
    await session.update_metadata({"new": "value"})
    await session.update_metadata({})
    operations = [request.operation.partition("_")[0] for request in emulator.requests]
    assert ["retrieve", "retrieve", "update", "retrieve"] == operations


async def test_changes_at_the_same_moment_are_all_kept(client, session):
    await session.ensure_conversation()
    others = [
        OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client)
        for _ in range(12)
    ]
    await asyncio.gather(*(each.update_metadata({f"key {n}": str(n)}) for n, each in enumerate(others)))
    pairs = {f"key {number}": str(number) for number in range(12)}
    assert {"user": "first", "topic": "bridges", **pairs} == await session.get_metadata()


async def test_pairs_of_the_library_are_not_shown_nor_changed(session):
    await session.ensure_conversation()
    await session.store_run_usage(result_of())
    assert {"user": "first", "topic": "bridges"} == await session.get_metadata()
    for value in ("value", None):
        with pytest.raises(ValueError, match=r"'openai_sessions.usage' is reserved"):
            await session.update_metadata({"user": "second", "openai_sessions.usage": value})
    await session.update_metadata({"user": "second"})
    assert ONE == await session.get_session_usage()


async def test_more_pairs_than_the_api_keeps_are_refused(session):
    await session.ensure_conversation()
    with pytest.raises(MetadataFullError, match="17 pairs"):
        await session.update_metadata({f"key {number}": "value" for number in range(15)})
    assert {"user": "first", "topic": "bridges"} == await session.get_metadata()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ([("a", "b")], TypeError, "not list"),
        (None, TypeError, "not NoneType"),
        ({1: "b"}, TypeError, "metadata key 1 must be a string"),
        ({"a": 1}, TypeError, r"metadata\['a'\]"),
        ({"k" * 65: None}, ValueError, "over 64"),
        ({"a": "v" * 513}, ValueError, "over 512"),
        ({"a": "\ud800"}, ValueError, r"metadata\['a'\].* lone surrogate"),
        ({"\udfff": "a"}, ValueError, r"metadata\['\\udfff'\].* lone surrogate"),
    ],
)
async def test_changes_that_cannot_be_made_are_refused_before_any_request(
    emulator, session, changes, error, said
):
    with pytest.raises(error, match=said):
        await session.update_metadata(changes)
    assert () == emulator.requests


@pytest.mark.parametrize("metadata", [["a"], "a", 1])
async def test_answer_without_metadata_is_told(metadata):
    wire = Wire(lambda _: (200, {"id": "conv_1", "object": "conversation", "metadata": metadata}))
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    for call in (session.get_metadata(), session.parent(), session.get_session_usage()):
        with pytest.raises(
            InvalidResponseError, match="'retrieve conversation' has metadata that is not an object"
        ):
            await call
    assert 3 == len(wire.calls)


@pytest.mark.parametrize("about", [{}, {"id": "conv_2"}, {"object": "list", "data": []}])
async def test_answer_about_something_else_changes_nothing(about):
    """Metadata is replaced as a whole: an answer without it must not be taken for empty metadata."""
    wire = Wire(lambda _: (200, about))
    session = OpenAIConversationsSession(
        conversation_id="conv_1", openai_client=wire.client, **arguments(retry_policy=FAST)
    )
    with pytest.raises(InvalidResponseError, match="is not about the conversation of the request"):
        await session.update_metadata({"plan": "pro"})
    assert {"GET"} == {call.method for call in wire.calls}


async def test_a_replacement_that_is_not_acknowledged_is_an_error():
    def answer(call):
        return (200, {"id": "conv_1", "metadata": {}}) if call.method == "GET" else (200, {"data": []})

    wire = Wire(answer)
    session = OpenAIConversationsSession(
        conversation_id="conv_1", openai_client=wire.client, **arguments(retry_policy=FAST)
    )
    with pytest.raises(InvalidResponseError, match="'replace metadata' is not about the conversation"):
        await session.update_metadata({"plan": "pro"})


async def test_conversation_that_is_gone(client):
    session = OpenAIConversationsSession(conversation_id="conv_gone", openai_client=client)
    for call in (session.get_metadata(), session.update_metadata({"a": "b"})):
        with pytest.raises(ConversationNotFoundError):
            await call
