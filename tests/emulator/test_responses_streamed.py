"""Streamed responses: server-sent events, on a socket where it matters."""

import asyncio
import json

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from .responding import ADD, CALL, MODEL, added_when_free, ask, items_of, refused
from .wire import KEY, user

MESSAGE_EVENTS = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]
CALL_EVENTS = [
    "response.output_item.added",
    *["response.function_call_arguments.delta"] * 5,
    "response.function_call_arguments.done",
    "response.output_item.done",
]
LONG = "word " * 500
"""A reply that takes seconds with the delay below: nothing here waits for its end."""

DELAY = 0.01


async def events_of(wire, given="Hello", **options):
    """Return the events of a stream as they are on the wire."""
    body = {"model": MODEL, "input": given, "stream": True, **options}
    answer = await wire.http.post("/v1/responses", json=body)
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    *blocks, rest = answer.text.split("\n\n")
    assert "" == rest
    return [parsed(block) for block in blocks]


def parsed(block):
    name, data = block.split("\n")
    event = json.loads(data.removeprefix("data: "))
    assert f"event: {event['type']}" == name
    return event


def types(events):
    return [event["type"] for event in events]


async def test_events_of_a_message(emulator, wire, conversation):
    emulator.reply("Hi there!")
    events = await events_of(wire, conversation=conversation)
    assert ["response.created", "response.in_progress", *MESSAGE_EVENTS, "response.completed"] == types(
        events
    )
    assert list(range(len(events))) == [event["sequence_number"] for event in events]
    assert ["Hi", " there!"] == [event["delta"] for event in events if "delta" in event]
    created, completed = events[0]["response"], events[-1]["response"]
    assert ("in_progress", [], None, None) == tuple(
        created[name] for name in ("status", "output", "usage", "completed_at")
    )
    assert completed["output"] == (await items_of(wire, conversation))[1:]
    assert created.keys() == completed.keys()
    assert (200, completed) == await wire.get(f"/responses/{completed['id']}")


async def test_events_of_a_function_call(emulator, wire):
    emulator.reply(CALL)
    events = await events_of(wire, tools=[ADD])
    assert CALL_EVENTS == types(events)[2:-1]
    added, done = events[2]["item"], events[-2]["item"]
    assert ("", "in_progress", "completed") == (added["arguments"], added["status"], done["status"])
    assert '{"a":1}' == "".join(event["delta"] for event in events if "delta" in event)
    assert '{"a":1}' == events[-3]["arguments"] == done["arguments"]
    assert {done["id"]} == {event["item_id"] for event in events if "item_id" in event}


async def test_each_event_is_one_to_the_openai_package(emulator, wire):
    reasoning = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "I think."}],
        "content": [{"type": "reasoning_text", "text": "First this, then that."}],
    }
    refusal = {
        "content": [{"type": "refusal", "refusal": "I will not."}, {"type": "output_text", "text": "Or"}]
    }
    search = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}}
    custom = {"type": "custom_tool_call", "name": "free", "input": "some text"}
    emulator.reply([reasoning, search, CALL, custom, refusal])
    events = await events_of(wire)
    adapter = TypeAdapter(ResponseStreamEvent)
    assert types(events) == [adapter.validate_python(event).type for event in events]
    indices = [event["output_index"] for event in events if "output_index" in event]
    assert (sorted(indices), set(range(5))) == (indices, set(indices))
    assert "First this, then that." == "".join(
        event["delta"] for event in events if event["type"] == "response.reasoning_text.delta"
    )
    Response.model_validate(events[-1]["response"], strict=True)


@pytest.mark.parametrize("text", ["", " ", "  a\n\n b ", "\u2028line\u2028", "x" * 50, "é ü\r\n"])
async def test_deltas_make_up_the_text(emulator, wire, text):
    emulator.reply({"content": text})
    events = await events_of(wire)
    assert text == "".join(event["delta"] for event in events if "delta" in event)


@pytest.mark.parametrize("wanted", [None, True, False])
async def test_deltas_are_filled_up_unless_asked_not_to(emulator, wire, wanted):
    emulator.reply("Hi there!")
    deltas = [
        event
        for event in await events_of(wire, stream_options={"include_obfuscation": wanted})
        if "delta" in event
    ]
    expected = [0, 0] if wanted is False else [14, 9]
    assert expected == [len(event.get("obfuscation", "")) for event in deltas]


@pytest.mark.parametrize("status", ["failed", "incomplete"])
async def test_stream_ends_as_the_response_does(emulator, wire, conversation, status):
    emulator.reply("Hel", status=status)
    events = await events_of(wire, conversation=conversation)
    assert (f"response.{status}", status) == (events[-1]["type"], events[-1]["response"]["status"])
    assert [] == await items_of(wire, conversation)


async def test_refusal_is_no_stream(emulator, wire, conversation):
    assert (404, None, None) == await refused(wire, stream=True, conversation="conv_unknown")
    assert "invalid_type" == (await refused(wire, stream=True, tools=1))[1]
    with emulator.locked(conversation):
        assert "conversation_locked" == (await refused(wire, stream=True, conversation=conversation))[1]


async def test_stream_of_the_openai_package_on_a_socket(served, held):
    stream = await served.responses.create(model=MODEL, input="Hello", conversation=held, stream=True)
    events = [event async for event in stream]
    assert "You said: Hello" == "".join(
        event.delta for event in events if event.type == "response.output_text.delta"
    )
    listed = (await served.conversations.items.list(held, order="asc")).data
    assert ["first", "Hello", "You said: Hello"] == [item.content[0].text for item in listed]
    assert listed[-1].id == events[-1].response.output[0].id


class Sum(BaseModel):
    a: int


async def test_stream_helper_of_the_openai_package(emulator, served, held):
    emulator.reply([CALL, {"content": '{"a": 3}'}])
    async with served.responses.stream(
        model=MODEL, input="Hello", conversation=held, text_format=Sum
    ) as stream:
        deltas = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert (['{"a":', '{"a": 3}'], Sum(a=3)) == (deltas, final.output_parsed)
    assert '{"a":1}' == final.output[0].arguments


def test_synchronous_stream_on_a_socket(emulator):
    with emulator.serve() as base_url, openai.OpenAI(api_key=KEY, base_url=base_url) as client:
        conversation = client.conversations.create()
        stream = client.responses.create(
            model=MODEL, input="Hello", conversation=conversation.id, stream=True
        )
        assert "response.completed" == list(stream)[-1].type
        assert 2 == len(client.conversations.items.list(conversation.id).data)


async def test_events_go_out_one_by_one_and_the_conversation_is_held(emulator, served, held):
    """The first are there before the last is made; until then other writers are kept out, readers are not."""
    emulator.reply(LONG, delay=DELAY)
    stream = await served.responses.create(model=MODEL, input="Hello", conversation=held, stream=True)
    async with stream:
        assert "response.created" == (await stream.__anext__()).type
        with pytest.raises(openai.BadRequestError) as locked:
            await served.conversations.items.create(held, items=[user("x")])
        assert 1 == len((await served.conversations.items.list(held)).data)
        with pytest.raises(openai.BadRequestError) as second:
            await served.responses.create(model=MODEL, input="x", conversation=held)
    assert ("conversation_locked", "conversation_locked") == (locked.value.code, second.value.code)


async def test_client_that_leaves_mid_stream_gets_nothing_added(emulator, served, held, wire):
    """As reported of the API: neither the input nor what was streamed is kept."""
    emulator.reply([CALL, LONG], delay=DELAY)
    stream = await served.responses.create(model=MODEL, input="Hello", conversation=held, stream=True)
    async with stream:
        async for event in stream:
            if event.type == "response.output_item.done":
                break
    await added_when_free(wire, held, user("after"))
    assert ["first", "after"] == await wire.texts(held, order="asc")
    with pytest.raises(openai.BadRequestError, match="No tool call found for function call output"):
        await served.responses.create(
            model=MODEL,
            conversation=held,
            input=[{"type": "function_call_output", "call_id": "call_1", "output": "1"}],
        )


async def test_cancelled_stream_in_process_adds_nothing(emulator, wire, conversation):
    reached = asyncio.Event()

    def reply(request):
        reached.set()
        return LONG

    emulator.reply(reply, delay=DELAY)
    task = asyncio.create_task(events_of(wire, conversation=conversation))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wire.add_one(conversation, user("after"))
    assert ["after"] == await wire.texts(conversation)


async def test_server_that_tells_of_a_client_that_left(emulator, wire, conversation):
    """By an error of `send`, as newer servers do, and not by a message."""
    body = {"model": MODEL, "input": "Hello", "conversation": conversation, "stream": True}
    sent = []

    async def receive():
        return {"type": "http.request", "body": json.dumps(body).encode()}

    async def send(message):
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            raise OSError

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "POST",
        "path": "/v1/responses",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {KEY}".encode())],
    }
    await emulator(scope, receive, send)
    assert ["http.response.start", "http.response.body"] == sent
    await wire.add_one(conversation, user("after"))
    assert ["after"] == await wire.texts(conversation)


async def test_stream_that_cannot_be_completed_ends_in_an_error(emulator, wire, conversation):
    """Another process deleted the conversation meanwhile, say."""

    def reply(request):
        with emulator._store.exclusive() as connection:
            connection.execute("UPDATE conversations SET deleted = 1")
        return "Hello"

    emulator.reply(reply)
    events = await events_of(wire, conversation=conversation)
    assert ("error", f"Conversation with id '{conversation}' not found.") == (
        events[-1]["type"],
        events[-1]["message"],
    )
    assert list(range(len(events))) == [event["sequence_number"] for event in events]


async def test_stream_is_logged_once(emulator, wire):
    await events_of(wire)
    (request,) = emulator.requests
    assert ("create_response", 200, None) == (request.operation, request.status, request.fault)


async def test_conversation_is_free_after_a_stream(wire, conversation):
    await events_of(wire, conversation=conversation)
    await ask(wire, conversation=conversation)
    assert 4 == len(await items_of(wire, conversation))


async def test_conversation_is_free_as_soon_as_the_last_event_is_there(emulator, served, held):
    """A client that goes on at once meets no lock."""
    emulator.reply([], status="failed", delay=0.2)
    stream = await served.responses.create(model=MODEL, input="Hello", conversation=held, stream=True)
    async for event in stream:
        if event.type == "response.failed":
            await served.conversations.items.create(held, items=[user("after")])
    assert 2 == len((await served.conversations.items.list(held)).data)
