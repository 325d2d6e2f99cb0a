"""Streamed responses: server-sent events and their faults, on a socket where it matters."""

import asyncio
import json

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from openai_sessions.emulator import Fault

from .responding import ADD, CALL, MODEL, added_when_free, ask, items_of, refused
from .wire import HTTP_FAMILY, KEY, user

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
"""A reply whose stream takes seconds with `DELAY`; no test waits for its end."""

DELAY = 0.01


async def events_of(wire, given="Hello", **options):
    """Return the events of a stream as they are sent."""
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
    billed = {**completed, "billing": {"payer": "developer"}}
    assert "billing" not in completed  # as recorded
    assert (200, billed) == await wire.get(f"/responses/{completed['id']}")


async def test_events_of_a_function_call(emulator, wire):
    emulator.reply(CALL)
    events = await events_of(wire, tools=[ADD])
    assert CALL_EVENTS == types(events)[2:-1]
    added, done = events[2]["item"], events[-2]["item"]
    assert ("", "in_progress", "completed") == (added["arguments"], added["status"], done["status"])
    assert '{"a":1}' == "".join(event["delta"] for event in events if "delta" in event)
    assert '{"a":1}' == events[-3]["arguments"] == done["arguments"]
    assert {done["id"]} == {event["item_id"] for event in events if "item_id" in event}


async def test_events_are_valid_for_the_openai_package(emulator, wire):
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
async def test_deltas_are_padded_unless_disabled(emulator, wire, wanted):
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


async def test_refused_stream_is_a_json_error(emulator, wire, conversation):
    assert (404, None, None) == await refused(wire, stream=True, conversation="conv_unknown")
    assert "invalid_type" == (await refused(wire, stream=True, tools=1))[1]
    with emulator.locked(conversation):
        assert "conversation_locked" == (await refused(wire, stream=True, conversation=conversation))[1]


async def test_openai_stream_on_a_socket(served, served_conversation):
    stream = await served.responses.create(
        model=MODEL, input="Hello", conversation=served_conversation, stream=True
    )
    events = [event async for event in stream]
    assert "You said: Hello" == "".join(
        event.delta for event in events if event.type == "response.output_text.delta"
    )
    listed = (await served.conversations.items.list(served_conversation, order="asc")).data
    assert ["first", "Hello", "You said: Hello"] == [item.content[0].text for item in listed]
    assert listed[-1].id == events[-1].response.output[0].id


class Sum(BaseModel):
    a: int


async def test_openai_stream_helper_on_a_socket(emulator, served, served_conversation):
    emulator.reply([CALL, {"content": '{"a": 3}'}])
    async with served.responses.stream(
        model=MODEL, input="Hello", conversation=served_conversation, text_format=Sum
    ) as stream:
        deltas = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert (['{"a":', '{"a": 3}'], Sum(a=3)) == (deltas, final.output_parsed)
    assert '{"a":1}' == final.output[0].arguments


def test_synchronous_openai_stream_on_a_socket(base_url):
    with openai.OpenAI(api_key=KEY, base_url=base_url) as client:
        conversation = client.conversations.create()
        stream = client.responses.create(
            model=MODEL, input="Hello", conversation=conversation.id, stream=True
        )
        assert "response.completed" == list(stream)[-1].type
        assert 2 == len(client.conversations.items.list(conversation.id).data)


async def test_events_are_sent_one_by_one_while_the_conversation_is_locked(
    emulator, served, served_conversation
):
    """The first arrive before the last; until then other writers are refused, readers are not."""
    emulator.reply(LONG, delay=DELAY)
    stream = await served.responses.create(
        model=MODEL, input="Hello", conversation=served_conversation, stream=True
    )
    async with stream:
        assert "response.created" == (await stream.__anext__()).type
        with pytest.raises(openai.BadRequestError) as locked:
            await served.conversations.items.create(served_conversation, items=[user("x")])
        assert 1 == len((await served.conversations.items.list(served_conversation)).data)
        with pytest.raises(openai.BadRequestError) as second:
            await served.responses.create(model=MODEL, input="x", conversation=served_conversation)
    assert ("conversation_locked", "conversation_locked") == (locked.value.code, second.value.code)


async def test_disconnect_in_a_stream_adds_nothing(emulator, served, served_conversation, wire):
    """As reported of the API: neither the input nor the streamed output is kept."""
    emulator.reply([CALL, LONG], delay=DELAY)
    stream = await served.responses.create(
        model=MODEL, input="Hello", conversation=served_conversation, stream=True
    )
    async with stream:
        async for event in stream:
            if event.type == "response.output_item.done":
                break
    await added_when_free(wire, served_conversation, user("after"))
    assert ["first", "after"] == await wire.texts(served_conversation, order="asc")
    with pytest.raises(openai.BadRequestError, match="No tool call found for function call output"):
        await served.responses.create(
            model=MODEL,
            conversation=served_conversation,
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


async def test_disconnect_reported_by_send_adds_nothing(emulator, wire, conversation):
    """Newer servers raise in `send` instead of sending a message."""
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


async def test_stream_that_cannot_be_saved_ends_with_an_error_event(emulator, wire, conversation):
    """For example, another process deleted the conversation meanwhile."""

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


async def test_conversation_is_unlocked_after_a_stream(wire, conversation):
    await events_of(wire, conversation=conversation)
    await ask(wire, conversation=conversation)
    assert 4 == len(await items_of(wire, conversation))


async def test_conversation_is_unlocked_before_the_last_event(emulator, served, served_conversation):
    """A client that writes immediately is not refused."""
    emulator.reply([], status="failed", delay=0.1)
    stream = await served.responses.create(
        model=MODEL, input="Hello", conversation=served_conversation, stream=True
    )
    async for event in stream:
        if event.type == "response.failed":
            await served.conversations.items.create(served_conversation, items=[user("after")])
    assert 2 == len((await served.conversations.items.list(served_conversation)).data)


async def texts(client, conversation_id):
    page = await client.conversations.items.list(conversation_id, order="asc")
    return [item.content[0].text for item in page.data]


def logged(emulator):
    return [(request.fault, request.status) for request in emulator.requests if request.fault]


async def streamed(client, conversation_id, seen):
    """Read a whole stream, and append the types of its events to `seen`."""
    stream = await client.responses.create(
        model=MODEL, input="Hello", conversation=conversation_id, stream=True
    )
    async for event in stream:
        seen.append(event.type)


BROKEN = (openai.APIConnectionError, HTTP_FAMILY.RemoteProtocolError)
"""The error for a stream that ends early, which depends on the version of openai."""


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("cut_mid_stream", ["first"]), ("truncated_body", ["first", "Hello", "You said: Hello"])],
)
async def test_stream_ends_in_the_middle(emulator, served, served_conversation, kind, stored):
    """A cut response is not kept; a complete one of which half arrives is."""
    emulator.inject(Fault(kind), operation="create_response")
    seen = []
    with pytest.raises(BROKEN):
        await streamed(served, served_conversation, seen)
    assert "response.created" == seen[0]
    assert "response.completed" not in seen
    assert stored == await texts(served, served_conversation)
    assert [(kind, 200)] == logged(emulator)
    await streamed(served, served_conversation, seen)
    assert "response.completed" == seen[-1]


@pytest.mark.parametrize("kind", ["cut_mid_stream", "truncated_body"])
async def test_stream_ends_in_the_middle_in_process(emulator, kind):
    """In process, a response arrives completely or not at all."""
    emulator.inject(Fault(kind), operation="create_response")
    with pytest.raises(openai.APIConnectionError) as caught:
        await streamed(emulator.client().with_options(max_retries=0), None, [])
    assert HTTP_FAMILY.RemoteProtocolError is type(caught.value.__cause__)


REFUSING = {
    "cut_before": openai.APIConnectionError,
    "error_500_before": openai.InternalServerError,
    "throttled": openai.RateLimitError,
    "quota": openai.RateLimitError,
    "locked": openai.BadRequestError,
}
LOSING = {
    "cut_after_commit": openai.APIConnectionError,
    "error_500_after_commit": openai.InternalServerError,
}


async def test_other_faults_come_before_the_stream(emulator, served):
    for kind, error in {**REFUSING, **LOSING}.items():
        conversation_id = (await served.conversations.create(items=[user("first")])).id
        emulator.inject(Fault(kind), operation="create_response", conversation_id=conversation_id)
        with pytest.raises(error):
            await streamed(served, conversation_id, [])
        assert (kind, 3 if kind in LOSING else 1) == (kind, len(await texts(served, conversation_id)))


async def test_late_commit_of_a_response(emulator, served, served_conversation):
    emulator.inject(Fault("late_commit", delay=0), operation="create_response")
    with pytest.raises(openai.APIConnectionError):
        await streamed(served, served_conversation, [])
    await emulator.late_commits()
    assert 3 == len(await texts(served, served_conversation))


NOTHING_ADDED = ["first"]
ALL_ADDED = ["first", "Hello", "You said: Hello"]
STORED_BY = {
    "cut_mid_stream": NOTHING_ADDED,
    "cut_mid_stream_after_commit": ALL_ADDED,
    "cut_mid_stream_late_commit": ALL_ADDED,
}
"""What the conversation contains after each kind of cut, once late commits are made."""


async def cut_after(served, number, *, kind, inside=False, emulator):
    """Cut a stream after `number` events, and return the types that arrive and the texts stored then."""
    conversation = (await served.conversations.create(items=[user("first")])).id
    emulator.inject(Fault(kind, after_events=number, inside_event=inside, delay=0))
    seen = []
    with pytest.raises(BROKEN):
        await streamed(served, conversation, seen)
    await emulator.late_commits()
    return seen, await texts(served, conversation)


@pytest.mark.parametrize("kind", STORED_BY)
async def test_stream_is_cut_after_each_event(emulator, served, served_conversation, kind):
    complete = []
    await streamed(served, served_conversation, complete)
    number = emulator.requests[-1].events
    assert len(complete) == number
    last = number + (kind == "cut_mid_stream_after_commit")
    cuts = [await cut_after(served, count, kind=kind, emulator=emulator) for count in range(last)]
    assert [(complete[:count], STORED_BY[kind]) for count in range(last)] == cuts
    assert {number} == {request.events for request in emulator.requests if request.fault}


@pytest.mark.parametrize("kind", STORED_BY)
async def test_stream_is_cut_before_its_last_event_at_most(emulator, served, kind):
    """Only a response that is stored then can send its last event."""
    seen, stored = await cut_after(served, 1000, kind=kind, emulator=emulator)
    assert ("response.completed" == seen[-1]) is (kind == "cut_mid_stream_after_commit")
    assert STORED_BY[kind] == stored


async def read_all(answer, received):
    async for chunk in answer.aiter_bytes():
        received.append(chunk)


@pytest.mark.parametrize("kind", STORED_BY)
async def test_stream_is_cut_inside_an_event(emulator, base_url, kind):
    emulator.inject(Fault(kind, after_events=1, inside_event=True, delay=0))
    async with HTTP_FAMILY.AsyncClient(headers={"authorization": f"Bearer {KEY}"}) as http:
        received = []
        body = {"model": MODEL, "input": "Hello", "stream": True}
        async with http.stream("POST", f"{base_url}/responses", json=body) as answer:
            with pytest.raises(HTTP_FAMILY.RemoteProtocolError):
                await read_all(answer, received)
    first, second = b"".join(received).split(b"\n\n")
    assert first.startswith(b"event: response.created\ndata: {")
    assert second.startswith(b"event: response.in_progress\ndata: {")


async def test_late_commit_of_a_cut_stream_locks_until_it_is_made(emulator, wire, conversation):
    emulator.inject(Fault("cut_mid_stream_late_commit", delay=0))
    with emulator._store.exclusive():  # the commit waits for the end of the block
        with pytest.raises(HTTP_FAMILY.RemoteProtocolError):
            await events_of(wire, conversation=conversation)
        assert ("conversation_locked", None) == await wire.refusal(conversation, user("meanwhile"))
        assert [] == await wire.texts(conversation)
    await emulator.late_commits()
    await wire.add_one(conversation, user("after"))
    assert ["Hello", "You said: Hello", "after"] == await wire.texts(conversation, order="asc")


@pytest.mark.parametrize("kind", STORED_BY)
async def test_cut_mid_stream_of_a_response_without_a_stream(emulator, served, served_conversation, kind):
    emulator.inject(Fault(kind, delay=0))
    with pytest.raises(openai.APIConnectionError):
        await served.responses.create(model=MODEL, input="Hello", conversation=served_conversation)
    await emulator.late_commits()
    assert STORED_BY[kind] == await texts(served, served_conversation)


async def test_refused_stream_is_not_cut(emulator, wire):
    emulator.inject(Fault("cut_mid_stream"))
    emulator.inject(Fault("truncated_body"))
    assert 404 == (await refused(wire, stream=True, conversation="conv_unknown"))[0]
    assert [("cut_mid_stream", 404)] == logged(emulator)
    with pytest.raises(HTTP_FAMILY.RemoteProtocolError):
        await refused(wire, stream=True, conversation="conv_unknown")


async def test_fault_matches_the_conversation_in_the_body(emulator, wire, conversation):
    emulator.inject(Fault("throttled"), operation="create_response", conversation_id=conversation)
    await ask(wire)
    assert 429 == (await refused(wire, conversation={"id": conversation}))[0]


async def test_fault_uses_a_reply_only_after_the_commit(emulator, wire):
    emulator.reply("a", times=2)
    emulator.inject(Fault("error_500_before"))
    emulator.inject(Fault("error_500_after_commit"))
    left = []
    for _ in range(2):
        await refused(wire)
        left.append(emulator.unused_replies)
    assert [2, 1] == left


async def test_client_that_retries_a_lost_response_stores_two(emulator, served, served_conversation):
    """The openai client retries responses like every other request."""
    emulator.inject(Fault("cut_after_commit"), operation="create_response")
    await served.with_options(max_retries=1).responses.create(
        model=MODEL, input="Hello", conversation=served_conversation
    )
    assert 5 == len(await texts(served, served_conversation))
