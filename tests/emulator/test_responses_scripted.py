"""Scripted replies: their forms, the requests that get them, and what happens when they are used up."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from openai_sessions.emulator import Emulator, ErrorReply, ResponseRequest
from openai_sessions.emulator._responses._scripts import Replies, ReplyTarget, ScriptedReply

from .responding import ADD, CALL, MODEL, ask, items_of, output_of, refused, text_of
from .wire import user


async def test_replies_are_used_in_order(emulator, wire):
    for text in "abc":
        emulator.reply(text)
    assert ["a", "b", "c"] == [text_of(await ask(wire)) for _ in range(3)]


@pytest.mark.parametrize(
    ("reply", "types"),
    [
        ("Hello", ["message"]),
        (CALL, ["function_call"]),
        ([CALL, "Hello"], ["function_call", "message"]),
        ({"content": "Hello"}, ["message"]),
        ([{"type": "reasoning"}, {"role": "assistant", "content": []}], ["reasoning", "message"]),
        (
            {"type": "web_search_call", "status": "completed", "action": {"type": "search"}},
            ["web_search_call"],
        ),
        ({"type": "mcp_call", "server_label": "x", "name": "y", "arguments": "{}"}, ["mcp_call"]),
        (lambda request: ["Hello"], ["message"]),
        ((CALL, "Hello"), ["function_call", "message"]),
    ],
)
async def test_reply_has_many_forms(emulator, wire, conversation, reply, types):
    emulator.reply(reply)
    response = await ask(wire, conversation=conversation)
    assert types == [item["type"] for item in response["output"]]
    assert response["output"] == (await items_of(wire, conversation))[1:]


async def test_message_is_completed_and_a_refusal_is_kept(emulator, wire):
    emulator.reply({"content": "Hello", "phase": "final_answer"})
    emulator.reply({"content": [{"type": "refusal", "refusal": "No."}]})
    (message,) = (await ask(wire))["output"]
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": "Hello"}
    expected = {"type": "message", "status": "completed", "content": [part], "role": "assistant"}
    assert expected | {"phase": "final_answer", "id": message["id"]} == message
    assert [{"type": "refusal", "refusal": "No."}] == (await ask(wire))["output"][0]["content"]


async def test_given_ids_are_kept_and_others_are_new_each_time(emulator, wire):
    emulator.reply([{**CALL, "id": "fc_given"}, {"type": "function_call", "name": "add"}], times=2)
    (given, fresh), (again, other) = [(await ask(wire))["output"] for _ in range(2)]
    assert ("fc_given", "call_1", "fc_given") == (given["id"], given["call_id"], again["id"])
    assert (fresh["id"], fresh["call_id"]) != (other["id"], other["call_id"])
    assert "{}" == fresh["arguments"]


async def test_arguments_given_as_text_are_kept(emulator, wire):
    emulator.reply({**CALL, "arguments": '{"a": '})
    assert '{"a": ' == (await ask(wire))["output"][0]["arguments"]


async def test_function_sees_the_request(emulator, wire):
    seen = []

    def reply(request):
        seen.append(request)
        return f"{request.user_text}, {request.texts[0]}"

    conversation_id = await wire.new_conversation(user("first"))
    emulator.reply(reply)
    answer = await ask(wire, "last", conversation=conversation_id, tools=[ADD], temperature=0)
    assert "last, first" == text_of(answer)
    (request,) = seen
    assert isinstance(request, ResponseRequest)
    assert conversation_id == request.conversation_id
    assert (MODEL, [ADD], 0) == tuple(request.body[name] for name in ("model", "tools", "temperature"))
    assert ["first", "last"] == [item["content"][0]["text"] for item in request.items]


async def test_function_sees_the_texts_of_messages_only(emulator, wire):
    emulator.reply(lambda request: f"{request.user_text!r} {request.texts}")
    given = [{**CALL, "arguments": "{}"}, output_of("call_1", "one"), {"role": "system", "content": "a"}]
    assert "'' ('a',)" == text_of(await ask(wire, given))


async def test_function_cannot_change_what_is_stored(emulator, wire, conversation):
    def reply(request):
        request.items[0]["content"][0]["text"] = "changed"
        request.body["model"] = "changed"
        return "Hello"

    emulator.reply(reply)
    assert MODEL == (await ask(wire, "given", conversation=conversation))["model"]
    assert ["given", "Hello"] == await wire.texts(conversation, order="asc")


async def test_reply_is_not_mutated(emulator, wire):
    script = [{**CALL, "arguments": {"a": [1]}}]
    emulator.reply(script)
    await ask(wire)
    assert [{**CALL, "arguments": {"a": [1]}}] == script


async def test_reply_for_one_conversation_waits_for_it(emulator, wire, conversation):
    emulator.reply("for the conversation", conversation_id=conversation)
    emulator.reply("for any")
    assert "for any" == text_of(await ask(wire))
    assert "for the conversation" == text_of(await ask(wire, conversation=conversation))


async def test_reply_for_several_requests_and_for_all(emulator, wire):
    emulator.reply("twice", times=2)
    emulator.reply("always", times=None)
    assert ["twice", "twice", "always", "always"] == [text_of(await ask(wire)) for _ in range(4)]


async def test_request_after_the_last_reply_is_refused(emulator, wire, conversation):
    """With an error that clients do not retry and that names the remedy."""
    emulator.reply("Hello")
    await ask(wire)
    status, answer = await wire.post(
        "/responses", {"model": MODEL, "input": "x", "conversation": conversation}
    )
    assert (400, "no_scripted_reply") == (status, answer["error"]["code"])
    assert "Emulator.reply" in answer["error"]["message"]
    assert [] == await items_of(wire, conversation)
    emulator.clear_replies()
    assert "You said: x" == text_of(await ask(wire, "x"))


async def test_replies_of_one_conversation_leave_the_default_to_others(emulator, wire, conversation):
    emulator.reply("Hello", conversation_id=conversation)
    await ask(wire, conversation=conversation)
    assert "no_scripted_reply" == (await refused(wire, conversation=conversation))[1]
    assert "You said: x" == text_of(await ask(wire, "x"))


async def test_unused_replies_are_counted(emulator, wire):
    assert 0 == emulator.unused_replies
    emulator.reply("a", times=3)
    emulator.reply("b")
    emulator.reply("c", times=None)
    await ask(wire)
    assert 3 == emulator.unused_replies
    emulator.clear_replies()
    assert 0 == emulator.unused_replies


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tool_choice": "required", "tools": [ADD]}, "tool_choice demands a tool call"),
        (
            {"tool_choice": {"type": "function", "name": "add"}, "tools": [ADD]},
            "tool_choice demands a tool call",
        ),
    ],
)
async def test_default_does_not_invent_calls(emulator, wire, options, reason):
    body = {"model": MODEL, "input": "Hello", **options}
    status, answer = await wire.post("/responses", body)
    assert (400, "no_scripted_reply") == (status, answer["error"]["code"])
    assert reason in answer["error"]["message"]
    emulator.reply("{}")
    assert "{}" == text_of(await ask(wire, **options))


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        ("failed", {"error": {"code": "server_error"}, "usage": None}),
        ("incomplete", {"error": None, "incomplete_details": {"reason": "max_output_tokens"}}),
    ],
)
async def test_response_that_is_not_completed_adds_nothing(emulator, wire, conversation, status, detail):
    emulator.reply("Hel", status=status)
    response = await ask(wire, conversation=conversation)
    if response["error"] is not None:
        assert response["error"].pop("message").startswith("The model failed")
    expected = {"status": status, "completed_at": None, **detail}
    assert expected == {name: response[name] for name in expected}
    assert [] == await items_of(wire, conversation)
    assert status == (await wire.get(f"/responses/{response['id']}"))[1]["status"]


async def test_incomplete_response_ends_with_an_incomplete_item(emulator, wire):
    emulator.reply(["a", "b"], status="incomplete")
    emulator.reply([], status="incomplete")
    assert ["completed", "incomplete"] == [item["status"] for item in (await ask(wire))["output"]]
    assert [] == (await ask(wire))["output"]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (None, "A reply must be a text, an item or a list of items, not None"),
        (1, "A reply must be a text, an item or a list of items, not int"),
        ([], "needs at least one item"),
        (["a", 1], "Item 1 of the reply must be a text or an item, not int"),
        ({}, "The reply has the type None; the output types of a model are message, "),
        ({"type": "function_call_output", "output": "x"}, "has the type 'function_call_output'"),
        ({"type": "function_call"}, r"Missing required parameter: 'items\[0\].name'"),
        ({"type": "function_call", "name": "add", "arguments": [1]}, r"'items\[0\].arguments'"),
        ({"type": "function_call", "name": "add", "mood": 1}, "Unknown parameter"),
        ({"role": "user", "content": "x"}, "a message with the role 'user'; use 'assistant'"),
        (
            {"content": [{"type": "input_text", "text": "x"}]},
            "a part of another type than output_text or refusal",
        ),
        ({"content": object()}, "is not JSON"),
        ({"content": "x", "id": "fc_1"}, "Expected an ID that begins with 'msg'"),
    ],
)
def test_invalid_reply_is_refused(emulator, reply, message):
    with pytest.raises(ValueError, match=message):
        emulator.reply(reply)
    assert 0 == emulator.unused_replies


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": 0}, "times must be at least 1, or None for all requests, not 0"),
        ({"status": "lost"}, "Unknown status 'lost'; the statuses are completed, incomplete, failed"),
        ({"delay": -1}, "delay must be at least 0 seconds, not -1"),
    ],
)
def test_invalid_option_of_a_reply_is_refused(emulator, options, message):
    with pytest.raises(ValueError, match=message):
        emulator.reply("Hello", **options)


def test_coroutine_function_is_refused(emulator):
    async def reply(request): ...

    with pytest.raises(ValueError, match="not a coroutine function"):
        emulator.reply(reply)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda request: None, "ValueError: A reply must be a text, an item or a list of items, not None."),
        (lambda request: {}["key"], "KeyError: 'key'"),
    ],
)
async def test_error_of_a_reply_function_is_reported_to_the_client(
    emulator, wire, conversation, reply, message
):
    """With an error that clients do not retry."""
    emulator.reply(reply)
    body = {"model": MODEL, "input": "x", "conversation": conversation}
    status, answer = await wire.post("/responses", body)
    assert (400, "scripted_reply_failed") == (status, answer["error"]["code"])
    assert answer["error"]["message"].endswith(message)
    assert [] == await items_of(wire, conversation)
    await wire.add_one(conversation, user("goes on"))


def test_emulators_do_not_share_replies():
    with Emulator() as one, Emulator() as other:
        one.reply("Hello")
        assert (1, 0) == (one.unused_replies, other.unused_replies)


async def test_reply_with_a_condition_waits_for_its_request(emulator, wire):
    """Those without one get the next reply in the queue."""
    emulator.reply("for b", when=lambda request: request.user_text == "b")
    emulator.reply("for any", times=None)
    assert ["for any", "for b", "for any"] == [text_of(await ask(wire, text)) for text in "abb"]


async def test_condition_sees_the_conversation_and_can_change_nothing(emulator, wire, conversation):
    def when(request):
        request.items[0]["content"][0]["text"] = "changed"
        return request.conversation_id is not None

    emulator.reply(lambda request: request.texts[0], when=when, conversation_id=conversation)
    assert "You said: x" == text_of(await ask(wire, "x"))
    assert "x" == text_of(await ask(wire, "x", conversation=conversation))
    assert ["x", "x"] == await wire.texts(conversation, order="asc")


async def test_used_up_conditions_leave_the_default_to_other_requests(emulator, wire):
    emulator.reply("Hello", when=lambda request: request.user_text == "a")
    await ask(wire, "a")
    assert "no_scripted_reply" == (await refused(wire, given="a"))[1]
    assert "You said: b" == text_of(await ask(wire, "b"))
    emulator.clear_replies()
    assert "You said: a" == text_of(await ask(wire, "a"))


async def test_condition_that_raises_is_reported_and_uses_no_reply(emulator, wire):
    emulator.reply("Hello", when=lambda request: {}["key"])
    status, answer = await wire.post("/responses", {"model": MODEL, "input": "x"})
    assert (400, "scripted_reply_failed") == (status, answer["error"]["code"])
    assert answer["error"]["message"].endswith("KeyError: 'key'")
    assert 1 == emulator.unused_replies


async def test_condition_may_queue_replies(emulator, wire):
    """It is called without a lock."""
    emulator.reply("Hello", when=lambda request: emulator.reply("queued meanwhile"))
    emulator.reply("after it")
    assert ["after it"] == [text_of(await ask(wire))]


async def test_reply_that_another_request_uses_meanwhile_is_passed_over(emulator, wire):
    def when(request):
        if request.user_text == "slow":
            emulator.clear_replies()
            emulator.reply("the next")
        return True

    emulator.reply("taken", when=when)
    assert "You said: slow" == text_of(await ask(wire, "slow"))
    assert "the next" == text_of(await ask(wire, "x"))


def test_reply_that_two_requests_want_at_once_is_used_once():
    """Both conditions are true before either request uses the reply."""
    replies, both = Replies(), threading.Barrier(2)
    replies.add(ScriptedReply("one", target=ReplyTarget(when=lambda request: both.wait(30) >= 0)))
    replies.add(ScriptedReply("two"))

    def take(conversation_id):
        answer = replies.answer(ResponseRequest({}, (), conversation_id), new_id=lambda prefix: f"{prefix}_1")
        return answer.output[0]["content"][0]["text"]

    with ThreadPoolExecutor(2) as pool:
        assert ["one", "two"] == sorted(pool.map(take, ("conv_1", "conv_2")))
    assert 0 == replies.unused()


async def test_tool_outputs_are_those_at_the_end(emulator, wire):
    seen = []
    emulator.reply(lambda request: str(seen.append(request.tool_outputs)), times=None)
    custom = {"type": "custom_tool_call", "call_id": "call_2", "name": "look", "input": ""}
    parts = [{"type": "input_text", "text": "t"}, {"type": "input_text", "text": "wo"}]
    outputs = [output_of("call_1"), {**output_of("call_2", parts), "type": "custom_tool_call_output"}]
    await ask(wire, [{**CALL, "arguments": "{}"}, custom, *outputs])
    await ask(wire, [{**CALL, "arguments": "{}"}, output_of("call_1"), user("and?")])
    assert [(("add", "1"), ("look", "two")), ()] == seen


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (
            ErrorReply("Too long.", code="context_length_exceeded"),
            (400, "invalid_request_error", "context_length_exceeded"),
        ),
        (ErrorReply("Busy.", status=503), (503, "server_error", None)),
        (ErrorReply("Slow.", status=429, type="requests"), (429, "requests", None)),
        (lambda request: ErrorReply(request.user_text), (400, "invalid_request_error", None)),
    ],
)
async def test_error_reply_is_the_response_and_stores_nothing(emulator, wire, conversation, reply, error):
    emulator.reply(reply, times=2)
    for stream in (False, True):
        body = {"model": MODEL, "input": "x", "conversation": conversation, "stream": stream}
        status, answer = await wire.post("/responses", body)
        assert error == (status, answer["error"]["type"], answer["error"]["code"])
        message = "x" if callable(reply) else reply.message
        assert (message, None) == (answer["error"]["message"], answer["error"]["param"])
    assert [] == await items_of(wire, conversation)
    await wire.add_one(conversation, user("goes on"))


@pytest.mark.parametrize("status", [200, 399, 600])
def test_error_reply_needs_the_status_of_an_error(status):
    with pytest.raises(ValueError, match=f"status must be from 400 to 599, not {status}"):
        ErrorReply("x", status=status)


@pytest.mark.parametrize("option", [{"status": "failed"}, {"delay": 1}])
def test_error_reply_has_no_options_of_output(emulator, option):
    with pytest.raises(ValueError, match="an error has none: leave them out"):
        emulator.reply(ErrorReply("x"), **option)


def test_condition_that_is_a_coroutine_function_is_refused(emulator):
    async def when(request): ...

    with pytest.raises(ValueError, match="condition must be a plain function"):
        emulator.reply("Hello", when=when)
