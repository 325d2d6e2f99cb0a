"""Each operation is a span, with its requests, retries and reconciliations as events."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import openai
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from openai_sessions import (
    ConversationNotFoundError,
    OpenAIConversationsSession,
    RequestSettings,
    RequestTimeoutError,
    UnsettledWriteError,
    copy_session,
)
from openai_sessions.emulator import Emulator, Fault
from tests.servers import client_of
from tests.wire import FAST

from .recording import Recording, attributes_of, events_of, reconciliation, request, retry

ITEMS = "/{conversation_id}/items"
ITEM = f"{ITEMS}/{{item_id}}"
APPENDED = request("create items", "POST", ITEMS, 200)
LISTED = request("list items", "GET", ITEMS, 200)
DELETED = request("delete item", "DELETE", ITEM, 200)
CREATED = request("create conversation", "POST", "", 200)


def messages(number):
    return [{"role": "user", "content": f"message {i}"} for i in range(number)]


def common(operation, name, session, base_url):
    return {
        "gen_ai.operation.name": name,
        "gen_ai.provider.name": "openai",
        "gen_ai.conversation.id": session.conversation_id,
        "gen_ai.memory.store.id": session.conversation_id,
        "server.address": "127.0.0.1",
        "server.port": urlsplit(base_url).port,
        "openai_sessions.operation": operation,
    }


async def test_a_turn_is_a_read_and_one_write_of_its_items(server, open_session):
    base_url = server[1]
    async with open_session() as session:
        await session.add_items(messages(2))
        with Recording() as recording:
            async with session.turn() as turn:
                await turn.get_items()
                await turn.add_items(messages(1))
                await turn.add_items(messages(2))
    read, written = recording.spans
    assert "get_items" == attributes_of(read)["openai_sessions.operation"]
    assert {
        **common("store_turn", "create_memory", session, base_url),
        "gen_ai.memory.record.count": 3,
        "openai_sessions.items.written": 3,
        "openai_sessions.requests": 1,
    }.items() <= attributes_of(written).items()


async def test_cold_read_of_250_items(server, open_session):
    base_url = server[1]
    with Recording() as recording:
        async with open_session() as writer:
            await writer.add_items(messages(250))
            recording.forget()
            async with open_session(conversation_id=writer.session_id) as reader:
                assert len(await reader.get_items()) == 250
                assert len(await reader.get_items(limit=3)) == 3
    whole, newest = recording.spans
    assert (whole.name, whole.kind, whole.status.status_code, whole.status.description) == (
        "search_memory",
        SpanKind.CLIENT,
        StatusCode.UNSET,
        None,
    )
    assert attributes_of(whole) == {
        **common("get_items", "search_memory", reader, base_url),
        "gen_ai.memory.record.count": 250,
        "openai_sessions.items.read": 250,
        "openai_sessions.pages": 3,
        "openai_sessions.requests": 3,
    }
    assert events_of(whole) == [LISTED] * 3
    assert attributes_of(newest) == {
        **common("get_items", "search_memory", reader, base_url),
        "gen_ai.memory.record.count": 3,
        "openai_sessions.limit": 3,
        "openai_sessions.items.read": 3,
        "openai_sessions.pages": 1,
        "openai_sessions.requests": 1,
    }
    assert events_of(newest) == [LISTED]


async def test_first_write_creates_the_conversation_in_the_same_span(server, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items(messages(21))
    (span,) = recording.spans
    assert span.name == "create_memory"
    assert attributes_of(span) == {
        **common("add_items", "create_memory", session, server[1]),
        "gen_ai.memory.record.count": 21,
        "openai_sessions.items.written": 21,
        "openai_sessions.requests": 3,
    }
    assert events_of(span) == [CREATED, APPENDED, APPENDED]


async def test_write_with_a_lost_response_is_found(emulator, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.ensure_conversation()
            emulator.inject(Fault("cut_after_commit"), operation="create_items")
            await session.add_items(messages(2))
    span = recording.span("add_items")
    assert span.status.status_code is StatusCode.UNSET
    assert events_of(span) == [
        request("create items", "POST", ITEMS, error__type="openai.APIConnectionError"),
        LISTED,
        reconciliation("found", 2),
    ]
    assert span.attributes["openai_sessions.items.written"] == 2
    assert span.attributes["openai_sessions.reconciliations"] == 1


async def test_write_that_was_not_applied_is_sent_again(emulator, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.ensure_conversation()
            emulator.inject(Fault("cut_before"), operation="create_items")
            await session.add_items(messages(2))
    span = recording.span("add_items")
    (waited,) = [e.attributes["openai_sessions.retry.wait"] for e in span.events if e.name.endswith("retry")]
    assert events_of(span) == [
        request("create items", "POST", ITEMS, error__type="openai.APIConnectionError"),
        LISTED,
        LISTED,
        reconciliation("not found", 0),
        retry("append", "unknown", 1, waited),
        reconciliation("sent again", 2),
        request("create items", "POST", ITEMS, 200, http__request__resend_count=1),
    ]


async def test_throttled_read_waits_as_long_as_requested(emulator, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items(messages(1))
            emulator.inject(Fault("throttled", retry_after=0.01), operation="list_items")
            await session.get_items()
    span = recording.span("get_items")
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in span.attributes
    assert events_of(span) == [
        request("list items", "GET", ITEMS, 429, error__type="429"),
        retry("read", "throttled", 1, 0.01),
        request("list items", "GET", ITEMS, 200, http__request__resend_count=1),
    ]
    assert span.attributes["openai_sessions.retries"] == 1
    assert span.attributes["openai_sessions.pages"] == 1


async def test_write_refused_midway_is_rolled_back(emulator, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.ensure_conversation()
            emulator.inject(Fault("quota"), operation="create_items", after=1)
            with pytest.raises(openai.RateLimitError):
                await session.add_items(messages(22))
            assert emulator.items(session.session_id) == ()
    span = recording.span("add_items")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "HTTP 429")
    assert span.attributes["error.type"] == "openai.RateLimitError"
    assert events_of(span) == [
        APPENDED,
        request("create items", "POST", ITEMS, 429, error__type="429"),
        *[DELETED] * 20,
        reconciliation("rolled back", 20),
    ]
    assert span.attributes["gen_ai.memory.record.count"] == 22
    assert span.attributes["openai_sessions.items.written"] == 20
    assert span.attributes["openai_sessions.items.deleted"] == 20


async def test_cancelled_write_includes_its_undo(emulator, server):
    """The caller is cancelled after the server has stored the items, before the response."""
    sent = asyncio.Event()

    async def tell(request):
        if request.method == "POST":
            sent.set()

    async with client_of(server[1]) as client:
        client._client.event_hooks = {"request": [tell], "response": []}
        with Recording() as recording:
            async with OpenAIConversationsSession(
                openai_client=client, requests=RequestSettings(retry_policy=FAST, timeout=0.5)
            ) as session:
                await session.ensure_conversation()
                emulator.inject(Fault("stall_after_commit"), operation="create_items")
                sent.clear()
                writing = asyncio.ensure_future(session.add_items(messages(2)))
                await sent.wait()
                writing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await writing
                assert emulator.items(session.session_id) == ()
    span = recording.span("add_items")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "cancelled")
    assert span.attributes["error.type"] == "cancelled"
    timed_out = f"{RequestTimeoutError.__module__}.{RequestTimeoutError.__qualname__}"
    assert events_of(span) == [
        request("create items", "POST", ITEMS, error__type=timed_out),
        LISTED,
        reconciliation("found", 2),
        DELETED,
        DELETED,
        reconciliation("rolled back", 2),
    ]


async def test_refused_key():
    with Recording() as recording, Emulator(api_keys={"sk-another"}) as emulator, emulator.serve() as url:
        async with (
            client_of(url) as client,
            OpenAIConversationsSession(openai_client=client, conversation_id="conv_1") as session,
        ):
            with pytest.raises(openai.AuthenticationError):
                await session.get_items()
    (span,) = recording.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "HTTP 401")
    assert attributes_of(span) == {
        **common("get_items", "search_memory", session, url),
        "error.type": "openai.AuthenticationError",
        "openai_sessions.requests": 1,
    }
    assert events_of(span) == [request("list items", "GET", ITEMS, 401, error__type="401")]
    assert "sk-" not in recording.everything()


async def test_missing_conversation(open_session):
    with Recording() as recording:
        async with open_session(conversation_id="conv_gone") as session:
            with pytest.raises(ConversationNotFoundError):
                await session.pop_item()
    (span,) = recording.spans
    assert span.name == "delete_memory"
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "openai_sessions.errors.ConversationNotFoundError"
    (listed, asked) = events_of(span)
    assert listed == request("list items", "GET", ITEMS, 404, error__type="404")
    assert asked[1]["http.response.status_code"] == 404


async def test_error_of_an_iteration_is_recorded_by_its_name_only(open_session):
    with Recording() as recording:
        async with open_session(conversation_id="conv_gone") as session:
            with pytest.raises(ConversationNotFoundError):
                assert [item async for item in session.iterate_items()]
    (span,) = recording.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert span.attributes["error.type"] == "openai_sessions.errors.ConversationNotFoundError"
    assert {event.name for event in span.events} == {"openai_sessions.request"}


async def test_popping_and_clearing(server, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items(messages(3))
            conversation_id = session.session_id
            recording.forget()
            await session.pop_item()
            await session.clear_session(purge_items=True)
            await session.clear_session()
            assert await session.pop_item() is None
    pop, clear, nothing, none = recording.spans
    assert pop.attributes["openai_sessions.items.deleted"] == 1
    assert events_of(pop) == [LISTED, DELETED]
    assert clear.name == "delete_memory_store"
    assert clear.attributes["gen_ai.conversation.id"] == conversation_id
    assert clear.attributes["gen_ai.memory.record.count"] == 2
    assert clear.attributes["openai_sessions.purge_items"] is True
    assert events_of(clear)[-1] == request("delete conversation", "DELETE", "/{conversation_id}", 200)
    assert events_of(nothing) == events_of(none) == []
    assert "gen_ai.conversation.id" not in nothing.attributes
    assert none.attributes["gen_ai.memory.record.count"] == 0


async def test_clearing_only_items_is_not_a_deletion_of_the_store(open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items(messages(1))
            await session.clear_session(keep_conversation=True)
    assert recording.span("clear_session").name == "delete_memory"


async def test_unconfirmed_write_is_left_unsettled_and_settled_later(emulator, open_session):
    with Recording() as recording:
        async with open_session(retry_policy=replace(FAST, attempts=1)) as session:
            await session.ensure_conversation()
            emulator.inject(Fault("cut_after_commit"), operation="create_items")
            emulator.inject(Fault("error_500_before"), operation="list_items", times=2)
            with pytest.raises(UnsettledWriteError) as caught:
                await session.add_items(messages(2))
            await session.settle(caught.value.receipt)
    failed = recording.span("add_items")
    unlisted = request("list items", "GET", ITEMS, 500, error__type="500")
    assert failed.attributes["error.type"] == "openai_sessions.errors.UnsettledWriteError"
    assert events_of(failed) == [
        request("create items", "POST", ITEMS, error__type="openai.APIConnectionError"),
        unlisted,
        unlisted,
        reconciliation("left unsettled", 0),
    ]
    settled = recording.span("settle")
    assert settled.name == "delete_memory"
    assert events_of(settled) == [LISTED, DELETED, DELETED, reconciliation("settled", 2)]
    assert settled.attributes["gen_ai.memory.record.count"] == 2


async def test_closing_a_session_with_a_failed_write_is_an_operation(emulator, open_session):
    with Recording() as recording:
        async with open_session(retry_policy=replace(FAST, attempts=1)) as session:
            await session.ensure_conversation()
            emulator.inject(Fault("quota"), operation="create_items", after=1)
            emulator.inject(Fault("error_500_before"), operation="delete_item", times=20)
            with pytest.raises(UnsettledWriteError):
                await session.add_items(messages(21))
            left = len(emulator.items(session.session_id))
            emulator.clear_faults()
        assert emulator.items(session.session_id) == ()
    expected = [LISTED, *[DELETED] * left, reconciliation("settled", left)]
    assert events_of(recording.span("settle")) == expected


async def test_iteration_is_one_span(server, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items(messages(120))
            recording.forget()
            given = [item async for item in session.iterate_items()]
    (span,) = recording.spans
    assert len(given) == 120
    assert attributes_of(span) == {
        **common("iterate_items", "search_memory", session, server[1]),
        "gen_ai.memory.record.count": 120,
        "openai_sessions.items.read": 120,
        "openai_sessions.pages": 2,
        "openai_sessions.requests": 2,
    }


async def test_each_request_of_a_copy_belongs_to_a_span(emulator, open_session):
    async with open_session() as source:
        await source.add_items(messages(150))
        emulator.forget_requests()
        with Recording() as recording:
            async with open_session() as target:
                await copy_session(source, target)
            spans = recording.spans
    made = sum(span.attributes.get("openai_sessions.requests", 0) for span in spans)
    assert made == len(emulator.requests)
    copied = [span for span in spans if span.attributes["openai_sessions.operation"] == "add_items"]
    assert sum(span.attributes["openai_sessions.items.written"] for span in copied) == 150
