"""Background responses: their progress, their events, their end, and what cancels them."""

import asyncio
import threading

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from openai_sessions.emulator import Emulator, Fault

from .responding import MODEL, ask, items_of, refused
from .test_responses_streamed import BROKEN, events_of, parsed, types
from .wire import KEY, Wire, user

EVENTS = [
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


async def start(client, **options):
    return await client.responses.create(model=MODEL, input="Hello", background=True, **options)


async def in_progress(wire, response_id):
    """Wait until the response runs, and return it."""
    while True:
        _, body = await wire.get(f"/responses/{response_id}")
        if body["status"] != "queued":
            return body
        await asyncio.sleep(0)


async def test_response_is_queued_then_in_progress_then_completed(emulator, client, wire):
    emulator.reply("Hi there!")
    with emulator.hold_background():
        queued = await start(client)
        assert ("queued", [], None, True) == (queued.status, queued.output, queued.usage, queued.background)
        running = await in_progress(wire, queued.id)
        assert ("in_progress", [], None) == (running["status"], running["output"], running["completed_at"])
    await emulator.background_responses()
    completed = await client.responses.retrieve(queued.id)
    assert ("completed", "Hi there!", True) == (completed.status, completed.output_text, completed.background)
    responses = (queued.to_dict(), running, completed.to_dict())
    assert [False, False, True] == ["billing" in response for response in responses]  # as recorded
    for response in responses:
        Response.model_validate(response, strict=True)


async def test_conversation_is_locked_and_grows_at_the_end(emulator, client, wire, conversation):
    with emulator.hold_background():
        response = await start(client, conversation=conversation)
        assert ("conversation_locked", None) == await wire.refusal(conversation, user("meanwhile"))
        assert "conversation_locked" == (await refused(wire, conversation=conversation))[1]
        assert [] == await items_of(wire, conversation)
    await emulator.background_responses()
    await wire.add_one(conversation, user("after"))
    assert ["Hello", "You said: Hello", "after"] == await wire.texts(conversation, order="asc")
    assert {"id": conversation} == (await client.responses.retrieve(response.id)).conversation.to_dict()


@pytest.mark.parametrize("status", ["failed", "incomplete"])
async def test_response_that_is_not_completed_adds_nothing(emulator, client, wire, conversation, status):
    emulator.reply("Hel", status=status)
    response = await start(client, conversation=conversation)
    await emulator.background_responses()
    assert status == (await client.responses.retrieve(response.id)).status
    await wire.add_one(conversation, user("after"))
    assert ["after"] == await wire.texts(conversation)


async def test_cancelled_response_adds_nothing(emulator, client, wire, conversation):
    with emulator.hold_background():
        response = await start(client, conversation=conversation)
        cancelled = await client.responses.cancel(response.id)
        assert ("cancelled", [], None) == (cancelled.status, cancelled.output, cancelled.error)
        await wire.add_one(conversation, user("after"))
        again = await client.responses.cancel(response.id)
    await emulator.background_responses()
    retrieved = await client.responses.retrieve(response.id)
    assert cancelled.to_dict() == again.to_dict() == retrieved.to_dict()
    assert ["after"] == await wire.texts(conversation)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": False}, "Cannot cancel a synchronous response."),
        ({"background": True}, "Cannot cancel a completed response."),
    ],
)
async def test_finished_response_cannot_be_cancelled(emulator, client, options, message):
    response = await client.responses.create(model=MODEL, input="Hello", **options)
    await emulator.background_responses()
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        await client.responses.cancel(response.id)
    assert ("invalid_request_error", None, None) == (
        caught.value.type,
        caught.value.code,
        caught.value.param,
    )
    assert "completed" == (await client.responses.retrieve(response.id)).status


async def test_incomplete_response_cannot_be_cancelled(emulator, client):
    emulator.reply("Hel", status="incomplete")
    response = await start(client)
    await emulator.background_responses()
    with pytest.raises(openai.BadRequestError, match="Cannot cancel an incomplete response"):
        await client.responses.cancel(response.id)


async def test_unknown_response_and_that_of_another_key_are_not_found(emulator, client):
    with emulator.hold_background():
        response = await start(client)
        other = emulator.client(api_key="sk-other")
        for call in (other.responses.retrieve, other.responses.cancel, other.responses.delete):
            with pytest.raises(openai.NotFoundError):
                await call(response.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.cancel("resp_unknown")
        assert "cancelled" == (await client.responses.cancel(response.id)).status


async def test_running_response_cannot_be_deleted(emulator, client):
    with emulator.hold_background():
        response = await start(client)
        with pytest.raises(openai.BadRequestError, match="Cannot delete an in-flight response"):
            await client.responses.delete(response.id)
    await emulator.background_responses()
    await client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(response.id)


async def test_input_items_of_a_running_response(emulator, client):
    with emulator.hold_background():
        response = await start(client)
        page = await client.responses.input_items.list(response.id)
    assert ["Hello"] == [item.content[0].text for item in page.data]


async def test_running_response_cannot_be_continued(emulator, client, wire):
    with emulator.hold_background():
        response = await start(client)
        assert "previous_response_not_found" == (await refused(wire, previous_response_id=response.id))[1]
    await emulator.background_responses()
    await ask(wire, previous_response_id=response.id)


async def test_conversation_deleted_meanwhile_fails_the_response(emulator, client, wire, conversation):
    with emulator.hold_background():
        response = await start(client, conversation=conversation)
        with emulator._store.exclusive() as connection:
            connection.execute("UPDATE conversations SET deleted = 1")
    await emulator.background_responses()
    failed = await client.responses.retrieve(response.id)
    assert ("failed", "server_error", []) == (failed.status, failed.error.code, failed.output)
    assert f"Conversation with id '{conversation}' not found." == failed.error.message


async def test_delay_is_waited_for_after_each_event(emulator, client, wire):
    emulator.reply("never given", delay=1000)
    response = await start(client)
    assert "queued" == (await client.responses.retrieve(response.id)).status
    assert "cancelled" == (await client.responses.cancel(response.id)).status


async def test_events_are_those_recorded(emulator, wire):
    emulator.reply("Hi there!")
    events = await events_of(wire, background=True)
    assert EVENTS == types(events)
    assert list(range(len(EVENTS))) == [event["sequence_number"] for event in events]
    statuses = [event["response"]["status"] for event in events if "response" in event]
    assert ["queued", "queued", "in_progress", "completed"] == statuses
    adapter = TypeAdapter(ResponseStreamEvent)
    assert EVENTS == [adapter.validate_python(event).type for event in events]


async def retrieved_events(wire, response_id, **params):
    answer = await wire.http.get(f"/v1/responses/{response_id}", params={"stream": "true", **params})
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    return [parsed(block) for block in answer.text.split("\n\n")[:-1]]


async def test_stream_is_taken_up_after_any_event(emulator, wire):
    emulator.reply("Hi there!")
    events = await events_of(wire, background=True)
    response_id = events[0]["response"]["id"]
    assert events == await retrieved_events(wire, response_id)
    for number in range(len(events) + 1):
        assert events[number + 1 :] == await retrieved_events(wire, response_id, starting_after=number)
    plain = await retrieved_events(wire, response_id, include_obfuscation="false")
    assert types(events) == types(plain)
    assert not any("obfuscation" in event for event in plain)


async def test_events_of_a_running_response_come_as_it_runs(emulator, served, served_conversation):
    emulator.reply("Hi there!")
    seen = []
    with emulator.hold_background():
        stream = await start(served, stream=True, conversation=served_conversation)
        async with stream:
            async for event in stream:
                seen.append(event)
                if event.type == "response.output_item.done":
                    break
    response_id = seen[0].response.id
    last = seen[-1].sequence_number
    rest = await served.responses.retrieve(response_id, stream=True, starting_after=last)
    seen += [event async for event in rest]
    assert EVENTS == [event.type for event in seen]
    assert list(range(len(EVENTS))) == [event.sequence_number for event in seen]
    assert 3 == len((await served.conversations.items.list(served_conversation)).data)


async def test_cancelled_stream_ends_with_a_failed_event(emulator, served):
    with emulator.hold_background():
        seen = []
        async for event in await start(served, stream=True):
            seen.append(event)
            if event.type == "response.output_item.done":
                await served.responses.cancel(seen[0].response.id)
    assert ("response.failed", "cancelled") == (seen[-1].type, seen[-1].response.status)
    assert list(range(len(seen))) == [event.sequence_number for event in seen]


@pytest.mark.parametrize(
    ("options", "condition"),
    [({"background": True}, "stream=true or the stream TTL has expired"), ({}, "background=true")],
)
async def test_response_that_was_not_streamed_cannot_be(wire, options, condition):
    response = await ask(wire, **options)
    status, body = await wire.get(f"/responses/{response['id']}", stream="true")
    message = f"This response cannot be streamed because it was not created with {condition}."
    assert (400, message, "stream") == (status, body["error"]["message"], body["error"]["param"])


async def test_starting_after_must_be_an_integer(wire):
    status, body = await wire.get("/responses/resp_1", stream="true", starting_after="x")
    assert (400, "invalid_type", "starting_after") == (
        status,
        body["error"]["code"],
        body["error"]["param"],
    )


@pytest.mark.parametrize("operation", ["create_response", "retrieve_response"])
async def test_cut_stream_of_a_background_response_goes_on(emulator, served, operation):
    """The response outlives the connection."""
    emulator.reply("Hi there!")
    emulator.inject(Fault("cut_mid_stream", after_events=4), operation=operation)
    ids, seen = set(), []

    async def read(stream):
        async for event in stream:
            seen.append(event.type)
            if event.type == "response.created":
                ids.add(event.response.id)

    async def read_twice():
        await read(await start(served, stream=True))
        await read(await served.responses.retrieve(*ids, stream=True))

    with pytest.raises(BROKEN):
        await read_twice()
    assert EVENTS[3] == seen[-1]
    await emulator.background_responses()
    assert "completed" == (await served.responses.retrieve(*ids)).status


async def test_lost_reply_does_not_end_a_background_response(emulator, client, wire, conversation):
    emulator.inject(Fault("cut_after_commit"), operation="create_response")
    with pytest.raises(openai.APIConnectionError):
        await start(client.with_options(max_retries=0), conversation=conversation)
    await emulator.background_responses()
    assert ["Hello", "You said: Hello"] == await wire.texts(conversation, order="asc")


def test_closing_the_emulator_stops_what_runs(tmp_path):
    async def run(emulator):
        wire = Wire(emulator)
        conversation = await wire.new_conversation()
        response = await ask(wire, background=True, conversation=conversation)
        await in_progress(wire, response["id"])
        return conversation, response["id"]

    threads = threading.active_count()
    file = tmp_path / "conversations.db"
    with Emulator(file) as emulator, emulator.hold_background():
        conversation, response_id = asyncio.run(run(emulator))
        emulator.close()
        assert threads == threading.active_count()
    with Emulator(file) as reopened:
        assert 404 == asyncio.run(Wire(reopened).get(f"/responses/{response_id}"))[0]
        assert () == reopened.items(conversation)


async def test_client_of_a_closed_loop_does_not_disturb(emulator, wire):
    """A client that stops to read, with its event loop, leaves nothing behind."""
    emulator.reply("Hi there!")

    async def read_one():
        async with openai.AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=0) as client:
            stream = await start(client, stream=True)
            return (await anext(stream)).response.id

    with emulator.hold_background(), emulator.serve() as base_url:
        response_id = await asyncio.to_thread(lambda: asyncio.run(read_one()))
    await emulator.background_responses()
    assert "completed" == (await wire.get(f"/responses/{response_id}"))[1]["status"]
