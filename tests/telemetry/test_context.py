"""Attribution of events in nested, concurrent and shielded work, in callbacks, and failing observers."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

from openai_sessions import OpenAIConversationsSession
from openai_sessions.directory import NamedSession
from openai_sessions.emulator import Fault
from openai_sessions.sync import OpenAIConversationsSession as SyncSession

from .recording import Recording, events_of

SAID = {"role": "user", "content": "Hello"}


def requests_of(span):
    return [told["openai_sessions.request.name"] for name, told in events_of(span) if name == "request"]


async def test_span_is_a_child_of_the_callers_span_and_current_during_requests(open_session):
    seen = []

    async def look(_):
        seen.append(trace.get_current_span())

    with Recording() as recording:
        tracer = recording.tracer_provider.get_tracer("application")
        async with open_session() as session:
            session._conversation._clients._client.http_client.event_hooks = {
                "request": [look],
                "response": [],
            }
            with tracer.start_as_current_span("run") as caller:
                await session.add_items([SAID])
                assert trace.get_current_span() is caller
        (span,) = (s for s in recording.spans if s.name == "create_memory")
        assert span.parent.span_id == caller.get_span_context().span_id
        assert {each.get_span_context().span_id for each in seen} == {span.context.span_id}
        assert len(seen) == 2


async def test_concurrent_operations_have_separate_events(emulator, open_session):
    with Recording() as recording:
        async with open_session() as one, open_session() as other:
            await asyncio.gather(one.ensure_conversation(), other.ensure_conversation())
            emulator.inject(Fault("throttled"), operation="create_items", conversation_id=other.session_id)
            recording.forget()
            await asyncio.gather(
                *(one.add_items([SAID]) for _ in range(5)), *(other.add_items([SAID]) for _ in range(5))
            )
    requests = {one.session_id: [], other.session_id: []}
    for span in recording.spans:
        requests[span.attributes["gen_ai.conversation.id"]] += [requests_of(span)]
    assert requests[one.session_id] == [["create items"]] * 5
    assert sorted(requests[other.session_id]) == [*[["create items"]] * 4, ["create items"] * 2]


async def test_calls_of_an_operation_on_its_own_session_are_part_of_it(open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items([SAID])
            recording.forget()
            assert len(await session.find_turns("hello")) == 1
    (span,) = recording.spans
    assert span.attributes["openai_sessions.operation"] == "find_turns"
    assert span.attributes["openai_sessions.items.read"] == 1
    assert recording.counts("openai_sessions.items", "openai_sessions.items.action") == {
        ("read",): 1,
        ("written",): 1,
    }
    assert requests_of(span) == ["list items"]


async def test_operation_of_a_callback_is_a_child_span(open_session):
    async def greet(_):
        await sessions[0].add_items([SAID])

    sessions = []
    with Recording() as recording:
        async with open_session(on_conversation_created=greet) as session:
            sessions.append(session)
            await session.ensure_conversation()
    greeting, creation = recording.spans
    assert greeting.attributes["openai_sessions.operation"] == "add_items"
    assert requests_of(greeting) == ["create items"]
    assert creation.attributes["openai_sessions.operation"] == "ensure_conversation"
    assert requests_of(creation) == ["create conversation"]
    assert greeting.parent.span_id == creation.context.span_id


async def test_operation_on_another_session_is_a_child_of_the_fork(open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items([SAID])
            recording.forget()
            fork = await session.fork()
            await fork.aclose()
    forked = recording.span("fork")
    assert forked.name == "create_memory_store"
    assert forked.attributes["gen_ai.conversation.id"] == session.session_id
    assert all(s.parent.span_id == forked.context.span_id for s in recording.spans if s is not forked)


async def test_abandoned_iteration_ends_its_span(open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items([SAID] * 3)
            recording.forget()
            given = session.iterate_items()
            await anext(given)
            between = trace.get_current_span()
            await session.pop_item()
            await given.aclose()
    pop, iteration = recording.spans
    assert not between.get_span_context().is_valid
    assert pop.attributes["openai_sessions.operation"] == "pop_item"
    assert pop.parent is None
    assert iteration.attributes["openai_sessions.items.read"] == 1
    assert iteration.status.is_unset


async def test_failing_observer_is_logged_and_fails_no_operation(open_session, caplog):
    class Broken(SpanProcessor):
        def on_start(self, span, parent_context=None):
            raise LookupError

    class BrokenAtTheEnd(SpanProcessor):
        def on_end(self, span):
            raise LookupError

    for broken in (Broken(), BrokenAtTheEnd()):
        with Recording() as recording:
            recording.tracer_provider.add_span_processor(broken)
            async with open_session() as session:
                await session.add_items([SAID])
                assert await session.get_items() == [SAID]
        assert "an observer raised" in caplog.messages
        caplog.clear()


async def test_work_after_the_end_of_its_operation_is_not_part_of_it(emulator, open_session, caplog):
    """A task started inside an operation keeps its context after the operation has ended."""
    over, going_on = asyncio.Event(), []

    async def go_on():
        await over.wait()
        await sessions[0]._conversation.run(lambda held: held.newest(1))
        await sessions[0].get_items()

    sessions = []
    with Recording() as recording, caplog.at_level(logging.WARNING):
        async with open_session(
            on_retry=lambda _: going_on.append(asyncio.ensure_future(go_on()))
        ) as session:
            sessions.append(session)
            await session.ensure_conversation()
            emulator.inject(Fault("throttled"), operation="create_items")
            await session.add_items([SAID])
            over.set()
            await going_on[0]
    assert requests_of(recording.span("add_items")) == ["create items"] * 2
    assert requests_of(recording.span("get_items")) == ["list items"]
    assert caplog.messages == []


def test_work_on_another_threads_loop_is_a_child_of_the_callers_span(server, open_session):
    """`openai_sessions.sync` works like this."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def write():
        async with open_session() as session:
            await session.add_items([SAID])

    try:
        with Recording() as recording:
            with recording.tracer_provider.get_tracer("application").start_as_current_span("run") as caller:
                asyncio.run_coroutine_threadsafe(write(), loop).result()
            assert recording.span("add_items").parent.span_id == caller.get_span_context().span_id
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


NO_OPERATIONS = {"aclose"}
"""Closing settles failed writes, which is a separate operation, or makes no request."""


@pytest.mark.parametrize("kind", [OpenAIConversationsSession, NamedSession])
def test_every_public_coroutine_method_is_an_operation(kind):
    def is_observed(method):
        return method.__code__.co_filename.endswith("_instrumentation.py")

    methods = {
        name: method
        for name, method in inspect.getmembers(kind)
        if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
    }
    public = {name for name in methods if not name.startswith("_")}
    assert {"get_items", "add_items", "iterate_items", "aclose"} <= public
    assert {name for name in public if not is_observed(methods[name])} == NO_OPERATIONS
    assert is_observed(methods["_read_compaction_items"])
    assert is_observed(methods["_atomic_replace_items"])
    assert is_observed(methods["_get_compaction_snapshot"])


def test_spans_of_a_sync_session_are_children_of_its_threads_span(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server[1])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-stand-in")
    with Recording() as recording:
        with SyncSession() as session:
            tracer = recording.tracer_provider.get_tracer("application")
            with tracer.start_as_current_span("run") as caller:
                session.add_items([SAID])
            assert list(session.iterate_items()) == session.get_items() == [SAID]
        span = recording.span("add_items")
        assert span.parent.span_id == caller.get_span_context().span_id
        assert recording.span("get_items").parent is None
        assert recording.span("iterate_items").attributes["openai_sessions.items.read"] == 1
        assert requests_of(span) == ["create conversation", "create items"]
