"""POST /responses/input_tokens: the count of a request's input."""

import openai
import pytest

from .responding import ADD, CALL, MODEL, ask, output_of
from .wire import user

IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}
PICTURE = user([{"type": "input_text", "text": "What is this?"}, IMAGE])

REQUESTS = {
    "text": {"input": "Tell me a joke."},
    "items": {"input": [user("Hello"), {"role": "assistant", "content": "Hi there!"}, user("Well?")]},
    "instructions": {"input": "Hello", "instructions": "Answer in one word."},
    "tools": {"input": "Hello", "tools": [ADD], "tool_choice": "auto", "parallel_tool_calls": False},
    "image": {"input": [PICTURE]},
    "settings": {"input": "Hello", "reasoning": {"effort": "low"}, "text": {"verbosity": "low"}},
}


async def count(wire, **body):
    """Return the count of a request that must be accepted."""
    status, answer = await wire.post("/responses/input_tokens", body)
    assert (status, answer["object"], len(answer)) == (200, "response.input_tokens", 2), answer
    return answer["input_tokens"]


@pytest.mark.parametrize("request_body", REQUESTS.values(), ids=REQUESTS)
async def test_the_count_is_the_input_that_a_response_reports(wire, request_body):
    given = dict(request_body)
    response = await ask(wire, given.pop("input"), **given)
    assert response["usage"]["input_tokens"] == await count(wire, model=MODEL, **request_body) > 0


async def test_images_and_tools_count(wire):
    text = await count(wire, model=MODEL, input="What is this?")
    assert await count(wire, model=MODEL, input=[PICTURE]) == text + 85
    assert await count(wire, model=MODEL, input="What is this?", tools=[ADD]) > text


@pytest.mark.parametrize("form", [lambda name: name, lambda name: {"id": name}], ids=["string", "object"])
async def test_the_items_of_a_conversation_count_and_stay_as_they_are(wire, form):
    conversation_id = await wire.new_conversation(user("one two three"))
    counted = await count(wire, model=MODEL, conversation=form(conversation_id), input="four five")
    assert counted == 5 == await count(wire, model=MODEL, input="one two three four five")
    assert await wire.texts(conversation_id) == ["one two three"]
    assert await count(wire, model=MODEL, conversation=conversation_id) == 3
    response = await ask(wire, "four five", conversation=conversation_id)
    assert response["usage"]["input_tokens"] == counted


async def test_a_conversation_that_a_response_holds_is_counted(emulator, wire):
    """A count writes nothing, and waits for no writer."""
    conversation_id = await wire.new_conversation(user("one"))
    with emulator._store.locked(conversation_id):
        assert await count(wire, model=MODEL, conversation=conversation_id, input="two") == 2


async def test_the_items_of_a_previous_response_count(emulator, wire):
    emulator.reply(CALL)
    previous = await ask(wire, "1 + 0?", tools=[ADD])
    given = {"previous_response_id": previous["id"], "input": [output_of("call_1", "one")]}
    emulator.clear_replies()
    counted = await count(wire, model=MODEL, **given)
    assert counted == (await ask(wire, given.pop("input"), **given))["usage"]["input_tokens"]


async def test_every_parameter_may_be_left_out_or_null(wire):
    assert await count(wire) == 0
    assert await count(wire, model=None, input=None, tools=None, conversation=None) == 0
    assert await count(wire, instructions="Be kind.", personality="friendly") == 2


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"input": "Hello", "stream": True}, 400, "unknown_parameter", "stream"),
        ({"input": 7}, 400, "invalid_type", "input"),
        ({"input": "Hello", "tools": [{}]}, 400, "missing_required_parameter", "tools[0].type"),
        ({"input": [output_of("call_9")]}, 400, None, "input"),
        ({"input": "Hello", "conversation": f"conv_{'0' * 48}"}, 404, None, None),
        ({"input": "Hello", "personality": 1}, 400, "invalid_type", "personality"),
        (
            {"conversation": f"conv_{'0' * 48}", "previous_response_id": "resp_1"},
            400,
            "mutually_exclusive_parameters",
            None,
        ),
    ],
)
async def test_a_request_that_no_response_could_have_is_refused(wire, body, status, code, param):
    answered, refusal = await wire.post("/responses/input_tokens", {"model": MODEL, **body})
    assert (answered, refusal["error"]["code"], refusal["error"]["param"]) == (status, code, param)


async def test_the_client_of_openai_counts(served, served_conversation):
    counted = await served.responses.input_tokens.count(
        model=MODEL, conversation=served_conversation, input="Hello there", tools=[ADD]
    )
    response = await served.responses.create(
        model=MODEL, conversation=served_conversation, input="Hello there", tools=[ADD]
    )
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", response.usage.input_tokens)
    with pytest.raises(openai.NotFoundError):
        await served.responses.input_tokens.count(model=MODEL, conversation=f"conv_{'0' * 48}", input="Hello")
