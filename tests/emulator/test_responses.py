"""Responses: what they come to, what they add to a conversation, and what is found of them afterwards."""

import re

import openai
import pytest
from openai.types.responses import Response

from openai_sessions.emulator import Emulator

from .responding import ADD, CALL, MODEL, ask, items_of, output_of, refused, text_of
from .wire import KEY, Wire, user


async def test_response_is_answered_from_what_the_user_said(wire):
    assert "You said: Hello" == text_of(await ask(wire, "Hello"))
    assert "You said: Hello" == text_of(await ask(wire, [user("Hi"), user("Hello")]))
    assert "You said: ab" == text_of(
        await ask(wire, [{**user([{"type": "input_text", "text": text} for text in "ab"])}])
    )
    assert "You said nothing." == text_of(await ask(wire, [{"role": "developer", "content": "Be kind."}]))
    assert "You said nothing." == text_of(await ask(wire, [], conversation=await wire.new_conversation()))


async def test_input_and_output_are_added_to_the_conversation_in_order(wire):
    conversation_id = await wire.new_conversation(user("first"))
    response = await ask(wire, [user("a"), user("b")], conversation=conversation_id)
    items = await items_of(wire, conversation_id)
    assert ["first", "a", "b", "You said: b"] == [item["content"][0]["text"] for item in items]
    assert response["output"] == items[-1:]
    assert {"id": conversation_id} == response["conversation"]


@pytest.mark.parametrize("form", [lambda name: name, lambda name: {"id": name}], ids=["string", "object"])
async def test_conversation_is_named_in_two_forms(wire, conversation, form):
    await ask(wire, conversation=form(conversation))
    assert 2 == len(await items_of(wire, conversation))


async def test_conversation_alone_can_be_answered(wire):
    """An empty input adds nothing."""
    conversation_id = await wire.new_conversation(user("Hello"))
    assert "You said: Hello" == text_of(await ask(wire, [], conversation=conversation_id))
    assert ["Hello", "You said: Hello"] == await wire.texts(conversation_id, order="asc")


async def test_response_without_a_conversation_names_none(wire):
    assert "conversation" not in await ask(wire)


async def test_whole_history_is_shown_to_the_reply(emulator, wire):
    """Also where it is longer than a page of a list."""
    conversation_id = await wire.new_conversation()
    for first in range(0, 120, 20):
        await wire.add(conversation_id, *[user(str(number)) for number in range(first, first + 20)])
    emulator.reply(lambda request: str(len(request.items)))
    assert "121" == text_of(await ask(wire, conversation=conversation_id))


async def test_tool_round_trip(emulator, wire, conversation):
    emulator.reply(CALL, conversation_id=conversation)
    response = await ask(wire, "1 + 0?", conversation=conversation, tools=[ADD])
    (call,) = response["output"]
    assert ("function_call", "add", '{"a":1}', "completed") == (
        call["type"],
        call["name"],
        call["arguments"],
        call["status"],
    )
    emulator.clear_replies()
    answer = await ask(wire, [output_of("call_1", "one")], conversation=conversation)
    assert "one" == text_of(answer)
    assert ["message", "function_call", "function_call_output", "message"] == [
        item["type"] for item in await items_of(wire, conversation)
    ]


async def test_outputs_of_several_tools_are_answered_together(wire):
    given = [
        CALL | {"arguments": "{}"},
        CALL | {"arguments": "{}", "call_id": "call_2"},
        {"type": "custom_tool_call", "call_id": "call_3", "name": "free", "input": "x"},
        output_of("call_1", "one"),
        output_of("call_2", [{"type": "input_text", "text": "two"}]),
        {"type": "custom_tool_call_output", "call_id": "call_3", "output": "three"},
    ]
    assert "one\ntwo\nthree" == text_of(await ask(wire, given))


async def test_request_is_echoed(wire):
    options = {
        "instructions": "Be brief.",
        "max_output_tokens": 16,
        "max_tool_calls": 3,
        "metadata": {"topic": "test"},
        "parallel_tool_calls": False,
        "prompt_cache_key": "key",
        "reasoning": {"effort": "low"},
        "safety_identifier": "someone",
        "service_tier": "flex",
        "store": False,
        "temperature": 0.5,
        "text": {"verbosity": "low"},
        "tool_choice": "none",
        "top_logprobs": 2,
        "top_p": 0.9,
        "truncation": "auto",
        "user": "someone",
    }
    hosted = {"type": "web_search", "search_context_size": "low"}
    response = await ask(wire, **options, tools=[ADD, hosted])
    assert {**options, "model": MODEL} | {
        "reasoning": {"context": None, "effort": "low", "summary": None},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
    } == {name: response[name] for name in (*options, "model")}
    assert [{**ADD, "description": None, "strict": True}, hosted] == response["tools"]


@pytest.mark.parametrize(("asked", "given"), [("auto", "default"), ("fast", "priority"), ("flex", "flex")])
async def test_service_tier_is_the_one_that_was_used(wire, asked, given):
    assert given == (await ask(wire, service_tier=asked))["service_tier"]


async def test_null_stands_for_an_absent_field(wire):
    names = ("conversation", "instructions", "metadata", "store", "stream", "temperature", "tools")
    response = await ask(wire, **dict.fromkeys(names))
    assert ({}, True, 1.0, []) == tuple(
        response[name] for name in ("metadata", "store", "temperature", "tools")
    )


async def test_response_is_one_to_the_openai_package(emulator, wire, conversation):
    reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Well."}]}
    emulator.reply([reasoning, CALL, "Hello"])
    choice = {"type": "function", "name": "add"}
    body = await ask(wire, conversation=conversation, tools=[ADD], tool_choice=choice)
    parsed = Response.model_validate(body, strict=True)
    assert ("Hello", "completed", conversation) == (
        parsed.output_text,
        parsed.status,
        parsed.conversation.id,
    )


async def test_ids_of_a_response_are_like_those_of_the_api(wire):
    """50 hex digits, of which 16 are common to all, and 8 are the second of creation."""
    response = await ask(wire)
    ids = [response["id"], response["output"][0]["id"]]
    matches = [re.fullmatch(r"(resp|msg)_([0-9a-f]{16})00([0-9a-f]{8})[0-9a-f]{24}", each) for each in ids]
    assert ["resp", "msg"] == [match[1] for match in matches]
    assert 1 == len({match[2] for match in matches})
    assert {response["created_at"]} == {int(match[3], 16) for match in matches}


async def test_usage_counts_words(wire):
    response = await ask(wire, "Hello there", instructions="Be very brief.")
    usage = response["usage"]
    assert (5, 4, 9) == (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"])


@pytest.mark.parametrize("include", [[], ["reasoning.encrypted_content"]])
async def test_include_opens_fields(emulator, wire, conversation, include):
    emulator.reply([{"type": "reasoning", "encrypted_content": "secret"}, "Hello"])
    response = await ask(wire, conversation=conversation, include=include)
    again = await wire.get(f"/responses/{response['id']}", **{"include[]": include})
    listed = await wire.list(conversation, **{"include[]": include, "order": "asc"})
    shown = [response["output"][0], again[1]["output"][0], listed[1]["data"][1]]
    assert [bool(include)] * 3 == ["encrypted_content" in item for item in shown]


async def test_response_is_retrieved_and_deleted(wire, conversation):
    response = await ask(wire, conversation=conversation)
    path = f"/responses/{response['id']}"
    assert (200, response) == await wire.get(path)
    assert (200, {"id": response["id"], "object": "response", "deleted": True}) == await wire.delete(path)
    assert [404, 404] == [(await wire.get(path))[0], (await wire.delete(path))[0]]
    assert 2 == len(await items_of(wire, conversation))


async def test_response_that_is_not_stored_is_not_found(wire, conversation):
    """It is added to its conversation all the same."""
    response = await ask(wire, store=False, conversation=conversation)
    status, answer = await wire.get(f"/responses/{response['id']}")
    assert (404, f"Response with id '{response['id']}' not found.") == (status, answer["error"]["message"])
    assert 2 == len(await items_of(wire, conversation))
    expected = (400, "previous_response_not_found", "previous_response_id")
    assert expected == await refused(wire, previous_response_id=response["id"])


async def test_responses_follow_each_other(emulator, wire):
    first = await ask(wire, "a", instructions="Be brief.")
    second = await ask(wire, "b", previous_response_id=first["id"])
    emulator.reply(lambda request: "|".join(request.texts))
    third = await ask(wire, "c", previous_response_id=second["id"])
    assert "a|You said: a|b|You said: b|c" == text_of(third)
    assert (second["id"], None) == (third["previous_response_id"], third["instructions"])


async def test_response_that_follows_one_of_a_conversation_knows_it(emulator, wire):
    """And leaves the conversation as it is."""
    conversation_id = await wire.new_conversation(user("a"))
    first = await ask(wire, "b", conversation=conversation_id)
    emulator.reply(lambda request: "|".join(request.texts))
    assert "a|b|You said: b|c" == text_of(await ask(wire, "c", previous_response_id=first["id"]))
    assert 3 == len(await items_of(wire, conversation_id))


async def test_input_items_are_those_of_the_request(wire):
    conversation_id = await wire.new_conversation(user("before"))
    response = await ask(wire, [user("a"), user("b"), user("c")], conversation=conversation_id)
    path = f"/responses/{response['id']}/input_items"

    async def texts(**params):
        _, page = await wire.get(path, **params)
        return [item["content"][0]["text"] for item in page["data"]], page

    newest, page = await texts(limit=2)
    assert (["c", "b"], True) == (newest, page["has_more"])
    oldest, rest = await texts(after=page["last_id"])
    assert (["a"], False) == (oldest, rest["has_more"])
    assert ["a", "b", "c"] == (await texts(order="asc"))[0]
    assert 404 == (await wire.get(path, after="msg_unknown"))[0]


async def test_reference_shows_an_item_once_more_and_adds_nothing(emulator, wire):
    conversation_id = await wire.new_conversation(user("Hello"))
    (item,) = await items_of(wire, conversation_id)
    emulator.reply(lambda request: str(len(request.items)))
    given = [{"type": "item_reference", "id": item["id"]}, user("again")]
    assert "2" == text_of(await ask(wire, given, conversation=conversation_id))
    assert 3 == len(await items_of(wire, conversation_id))


async def test_unknown_types_are_taken_where_asked_to():
    with Emulator(accept_unknown_types=True) as emulator:
        wire = Wire(emulator)
        conversation_id = await wire.new_conversation()
        await ask(wire, [{"type": "telepathy", "thought": "x"}, user("Hello")], conversation=conversation_id)
        assert "telepathy" == (await items_of(wire, conversation_id))[0]["type"]


async def test_each_key_sees_its_own_responses(emulator, wire, conversation):
    response = await ask(wire, conversation=conversation)
    other = Wire(emulator, key="sk-somebody-else")
    path = f"/responses/{response['id']}"
    answers = [await other.get(path), await other.delete(path), await other.get(f"{path}/input_items")]
    assert [404, 404, 404] == [status for status, _ in answers]
    assert 404 == (await refused(other, conversation=conversation))[0]
    assert 400 == (await refused(other, previous_response_id=response["id"]))[0]
    assert (200, response) == await wire.get(path)


async def test_responses_stay_in_a_file(tmp_path):
    file = tmp_path / "conversations.db"
    with Emulator(file) as emulator:
        response = await ask(Wire(emulator))
    with Emulator(file) as emulator:
        assert (200, response) == await Wire(emulator).get(f"/responses/{response['id']}")


async def test_requests_are_logged(emulator, wire, conversation):
    emulator.forget_requests()
    response = await ask(wire, conversation=conversation)
    await wire.get(f"/responses/{response['id']}")
    await wire.get(f"/responses/{response['id']}/input_items")
    await wire.delete(f"/responses/{response['id']}")
    assert ["create_response", "retrieve_response", "list_input_items", "delete_response"] == [
        request.operation for request in emulator.requests
    ]
    assert conversation == emulator.requests[0].body["conversation"]


async def test_client_of_the_openai_package(emulator):
    async with emulator.client() as client:
        conversation = await client.conversations.create()
        response = await client.responses.create(
            model=MODEL, input="Hello", conversation=conversation.id, instructions="Be brief."
        )
        assert "You said: Hello" == response.output_text
        page = await client.responses.input_items.list(response.id)
        assert ["Hello"] == [item.content[0].text for item in page.data]
        assert response.output_text == (await client.responses.retrieve(response.id)).output_text
        await client.responses.delete(response.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(response.id)


def test_synchronous_client_on_a_socket(emulator):
    with emulator.serve() as base_url, openai.OpenAI(api_key=KEY, base_url=base_url) as client:
        conversation = client.conversations.create()
        response = client.responses.create(model=MODEL, input="Hello", conversation=conversation.id)
        listed = client.conversations.items.list(conversation.id, order="asc")
        assert ["Hello", "You said: Hello"] == [item.content[0].text for item in listed.data]
        assert response.output[0].id == listed.data[1].id
