"""Faults that outlast their request: late commits, stalls, and the stop of a server in the middle of them."""

import asyncio
import threading

import openai
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from openai_sessions.emulator import Emulator, Fault
from openai_sessions.emulator._server import serving
from tests.wire import HTTP_FAMILY

from .faulty import DONE, new_subject
from .wire import Wire, user


def client_of(base_url, **options):
    return openai.AsyncOpenAI(api_key="sk-over-time", base_url=base_url, max_retries=0, **options)


async def cut_late(file):
    with pytest.raises(HTTP_FAMILY.ReadError):
        await Wire(file).add(await Wire(file).new_conversation(), user("late"))


def test_late_commit_happens_although_its_event_loop_has_ended(tmp_path):
    """Closing the emulator waits for it."""
    file = tmp_path / "conversations.db"
    with Emulator(file) as emulator:
        emulator.inject(Fault("late_commit", delay=0.2), operation="create_items")
        asyncio.run(cut_late(emulator))
        path = emulator.requests[-1].path.removeprefix("/v1")
    with Emulator(file) as reopened:
        _, page = asyncio.run(Wire(reopened).get(path))
    assert ["late"] == [item["content"][0]["text"] for item in page["data"]]


async def test_late_commit_that_is_refused_by_then_stores_nothing(emulator, wire, conversation):
    emulator.inject(Fault("late_commit", delay=0.2))
    with pytest.raises(HTTP_FAMILY.ReadError):
        await wire.add(conversation, user("late"))
    with emulator.locked(conversation):
        await emulator.late_commits()
    assert [] == await wire.texts(conversation)


async def test_late_commit_goes_behind_what_was_written_meanwhile(emulator, wire, conversation):
    emulator.inject(Fault("late_commit", delay=0.3))
    with pytest.raises(HTTP_FAMILY.ReadError):
        await wire.add(conversation, user("late"))
    await wire.add_one(conversation, user("meanwhile"))
    await emulator.late_commits()
    assert ["late", "meanwhile"] == await wire.texts(conversation)


async def test_late_commit_outlasts_the_server(emulator):
    with emulator.serve() as base_url:
        async with client_of(base_url) as client:
            subject = await new_subject(emulator, client)
            emulator.inject(Fault("late_commit"))
            with pytest.raises(openai.APIConnectionError):
                await subject.perform("create_items")
    await emulator.late_commits()
    assert DONE["create_items"] == subject.stored()


async def test_late_commits_leave_no_thread(emulator, wire, conversation):
    threads = threading.active_count()
    emulator.inject(Fault("late_commit", delay=0), times=3)
    for number in range(3):
        with pytest.raises(HTTP_FAMILY.ReadError):
            await wire.add(conversation, user(str(number)))
    emulator.close()
    assert threads == threading.active_count()


async def test_stalled_request_does_not_keep_the_server_from_stopping(emulator, caplog):
    """It is cut at once: nothing is left to cancel when the time for requests in flight is over."""
    emulator.inject(Fault("stall"), times=2)
    with emulator.serve() as base_url:
        client = client_of(base_url)
        stalled = [asyncio.create_task(client.conversations.create()) for _ in range(2)]
        while len(emulator.requests) < 2:  # noqa: ASYNC110 - the emulator has no event to wait for
            await asyncio.sleep(0)
        assert not any(task.done() for task in stalled)
    errors = await asyncio.gather(*stalled, return_exceptions=True)
    assert [openai.APIConnectionError] * 2 == [type(error) for error in errors]
    assert [] == caplog.records
    await client.close()


async def test_stalled_request_ends_with_its_client(emulator):
    ended = threading.Event()

    async def app(scope, receive, send):
        await emulator(scope, receive, send)
        ended.set()

    emulator.inject(Fault("stall"))
    with serving(app, host="127.0.0.1", port=0) as base_url:
        async with client_of(base_url, timeout=0.2) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.conversations.create()
        assert ended.wait(10)


@pytest.mark.parametrize("kind", ["cut_before", "cut_after_commit", "stall", "truncated_body"])
async def test_fault_is_quiet_in_the_server(emulator, caplog, kind):
    """The server neither logs it nor adds an answer of its own."""
    emulator.inject(Fault(kind), operation="create_conversation")
    with emulator.serve() as base_url:
        async with client_of(base_url, timeout=0.2 if kind == "stall" else 30) as client:
            with pytest.raises(openai.APIConnectionError):
                await client.conversations.create()
    assert [] == caplog.records


async def test_fault_is_real_below_a_mount(emulator):
    emulator.inject(Fault("cut_before"))
    app = Starlette(routes=[Mount("/", app=emulator)])
    with serving(app, host="127.0.0.1", port=0) as base_url:
        async with client_of(base_url) as client:
            with pytest.raises(openai.APIConnectionError) as caught:
                await client.conversations.create()
    assert HTTP_FAMILY.ReadError is type(caught.value.__cause__)


@pytest.mark.parametrize("kind", ["cut_before", "stall", "truncated_body"])
async def test_fault_without_an_answer_is_a_500_on_another_server(emulator, kind):
    """Only the emulator's own server gives access to its connections."""

    async def app(scope, receive, send):
        await emulator({**scope, "state": {}}, receive, send)

    emulator.inject(Fault(kind))
    with serving(app, host="127.0.0.1", port=0) as base_url:
        async with client_of(base_url) as client:
            with pytest.raises(openai.InternalServerError):
                await client.conversations.create()
