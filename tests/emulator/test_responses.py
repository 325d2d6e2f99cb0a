"""Responses: the response object, the items added to a conversation, and refused requests."""

import re

import openai
import pytest
from openai.types.responses import Response

from openai_sessions.emulator import Emulator

from .responding import ADD, CALL, MODEL, ask, items_of, output_of, refused, text_of
from .wire import KEY, Wire, user


async def test_default_reply_echoes_the_newest_user_message(wire):
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
async def test_conversation_is_given_in_two_forms(wire, conversation, form):
    await ask(wire, conversation=form(conversation))
    assert 2 == len(await items_of(wire, conversation))


async def test_conversation_without_input_is_answered(wire):
    """An empty input adds nothing."""
    conversation_id = await wire.new_conversation(user("Hello"))
    assert "You said: Hello" == text_of(await ask(wire, [], conversation=conversation_id))
    assert ["Hello", "You said: Hello"] == await wire.texts(conversation_id, order="asc")


async def test_response_without_a_conversation_has_no_such_field(wire):
    assert "conversation" not in await ask(wire)


async def test_reply_function_sees_the_whole_history(emulator, wire):
    """Even if it is longer than a page."""
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
    hosted = {"type": "code_interpreter", "container": {"type": "auto"}}
    response = await ask(wire, **options, tools=[ADD, hosted])
    assert {**options, "model": MODEL} | {
        "reasoning": {"context": None, "effort": "low", "mode": "standard", "summary": None},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
    } == {name: response[name] for name in (*options, "model")}
    assert [{**ADD, "description": None, "output_schema": None, "strict": True}, hosted] == response["tools"]


@pytest.mark.parametrize(("asked", "given"), [("auto", "default"), ("fast", "priority"), ("flex", "flex")])
async def test_service_tier_is_the_used_one(wire, asked, given):
    assert given == (await ask(wire, service_tier=asked))["service_tier"]


async def test_null_counts_as_a_missing_field(wire):
    names = ("conversation", "instructions", "metadata", "store", "stream", "temperature", "tools")
    response = await ask(wire, **dict.fromkeys(names))
    assert ({}, True, 1.0, []) == tuple(
        response[name] for name in ("metadata", "store", "temperature", "tools")
    )


async def test_response_is_valid_for_the_openai_package(emulator, wire, conversation):
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


async def test_ids_have_the_form_of_the_api(wire):
    """50 hex digits: 16 are common to the response, 8 are the second of creation."""
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


async def test_response_with_store_false_is_not_found(wire, conversation):
    """Its items are added to the conversation."""
    response = await ask(wire, store=False, conversation=conversation)
    status, answer = await wire.get(f"/responses/{response['id']}")
    assert (404, f"Response with id '{response['id']}' not found.") == (status, answer["error"]["message"])
    assert 2 == len(await items_of(wire, conversation))
    expected = (400, "previous_response_not_found", "previous_response_id")
    assert expected == await refused(wire, previous_response_id=response["id"])


async def test_previous_response_continues_its_items(emulator, wire):
    first = await ask(wire, "a", instructions="Be brief.")
    second = await ask(wire, "b", previous_response_id=first["id"])
    emulator.reply(lambda request: "|".join(request.texts))
    third = await ask(wire, "c", previous_response_id=second["id"])
    assert "a|You said: a|b|You said: b|c" == text_of(third)
    assert (second["id"], None) == (third["previous_response_id"], third["instructions"])


async def test_previous_response_of_a_conversation_continues_its_items(emulator, wire):
    """And adds nothing to the conversation."""
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


async def test_reference_adds_nothing(emulator, wire):
    conversation_id = await wire.new_conversation(user("Hello"))
    (item,) = await items_of(wire, conversation_id)
    emulator.reply(lambda request: str(len(request.items)))
    given = [{"type": "item_reference", "id": item["id"]}, user("again")]
    assert "2" == text_of(await ask(wire, given, conversation=conversation_id))
    assert 3 == len(await items_of(wire, conversation_id))


async def test_unknown_types_are_accepted_on_request():
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


async def test_responses_survive_a_restart(tmp_path):
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


async def test_openai_client_in_process(emulator):
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


def test_synchronous_openai_client_on_a_socket(base_url):
    with openai.OpenAI(api_key=KEY, base_url=base_url) as client:
        conversation = client.conversations.create()
        response = client.responses.create(model=MODEL, input="Hello", conversation=conversation.id)
        listed = client.conversations.items.list(conversation.id, order="asc")
        assert ["Hello", "You said: Hello"] == [item.content[0].text for item in listed.data]
        assert response.output[0].id == listed.data[1].id


INVALID_REQUESTS = (
    ({"modell": "x"}, "unknown_parameter", "modell"),
    ({"type": "x"}, "unknown_parameter", "type"),
    ({"model": None}, "invalid_type", "model"),
    ({"model": 1}, "invalid_type", "model"),
    ({"model": ""}, "empty_string", "model"),
    ({"given": None}, "invalid_type", "input"),
    ({"given": ""}, "missing_required_parameter", None),
    ({"given": []}, "missing_required_parameter", None),
    ({"given": [1]}, "invalid_type", "input[0]"),
    ({"given": [{"role": "user", "content": "x", "mood": 1}]}, "unknown_parameter", "input[0].mood"),
    ({"given": [{"role": "robot", "content": "x"}]}, "invalid_value", "input[0].role"),
    ({"given": [{"type": "telepathy"}]}, "invalid_value", "input[0].type"),
    ({"conversation": 1}, "invalid_type", "conversation"),
    ({"conversation": {}}, "missing_required_parameter", "conversation.id"),
    ({"conversation": "thread_1"}, "invalid_value", "conversation"),
    ({"temperature": "hot"}, "invalid_type", "temperature"),
    ({"temperature": 2.5}, "decimal_above_max_value", "temperature"),
    ({"top_p": -0.1}, "decimal_below_min_value", "top_p"),
    ({"max_output_tokens": 15}, "integer_below_min_value", "max_output_tokens"),
    ({"top_logprobs": 21}, "integer_above_max_value", "top_logprobs"),
    ({"stream": "yes"}, "invalid_type", "stream"),
    ({"truncation": "often"}, "invalid_value", "truncation"),
    ({"tool_choice": "maybe"}, "invalid_value", "tool_choice"),
    ({"tools": [{}]}, "missing_required_parameter", "tools[0].type"),
    ({"tools": [{"type": 1}]}, "invalid_type", "tools[0].type"),
    ({"tools": [ADD, {"type": "function"}]}, "missing_required_parameter", "tools[1].name"),
    ({"tool_choice": {"type": "telepathy"}}, "invalid_value", "tool_choice.type"),
    ({"tool_choice": {"type": "function"}}, "missing_required_parameter", "tool_choice.name"),
    ({"reasoning": {"effort": "heroic"}}, "invalid_value", "reasoning.effort"),
    ({"reasoning": {"mood": "calm"}}, "unknown_parameter", "reasoning.mood"),
    ({"text": {"format": {"type": "xml"}}}, "invalid_value", "text.format.type"),
    (
        {"text": {"format": {"type": "json_schema", "name": "x"}}},
        "missing_required_parameter",
        "text.format.schema",
    ),
    ({"prompt_cache_options": {"ttl": "1y"}}, "invalid_value", "prompt_cache_options.ttl"),
    ({"context_management": [{}]}, "missing_required_parameter", "context_management[0].type"),
    ({"include": ["everything"]}, "invalid_value", "include[0]"),
    ({"metadata": {"topic": 1}}, "invalid_type", "metadata.topic"),
    ({"background": True, "store": False}, "unsupported_parameter", "background"),
    ({"previous_response_id": "resp_1"}, "previous_response_not_found", "previous_response_id"),
    (
        {"previous_response_id": "resp_1", "conversation": "conv_1"},
        "mutually_exclusive_parameters",
        None,
    ),
)


async def test_invalid_request_is_a_400(wire):
    expected = [(options, (400, code, param)) for options, code, param in INVALID_REQUESTS]
    assert expected == [(options, await refused(wire, **options)) for options, *_ in INVALID_REQUESTS]


@pytest.mark.parametrize("missing", ["model", "input"])
async def test_missing_field_is_named(wire, missing):
    body = {"model": MODEL, "input": "Hello"}
    del body[missing]
    status, answer = await wire.post("/responses", body)
    assert (400, f"Missing required parameter: '{missing}'.") == (status, answer["error"]["message"])


@pytest.mark.parametrize(
    "options", [{"background": False}, {"conversation": None, "previous_response_id": None}]
)
async def test_unsupported_parameter_that_is_off_is_served(wire, options):
    assert "completed" == (await ask(wire, **options))["status"]


async def test_unknown_conversation_is_a_404(wire, conversation):
    assert (404, None, None) == await refused(wire, conversation="conv_unknown")
    await wire.delete(f"/conversations/{conversation}")
    assert (404, None, None) == await refused(wire, conversation=conversation)


async def test_locked_conversation_is_a_400(emulator, wire, conversation):
    with emulator.locked(conversation):
        assert (400, "conversation_locked", None) == await refused(wire, conversation=conversation)
    await ask(wire, conversation=conversation)
    assert 2 == len(await items_of(wire, conversation))


async def test_call_without_its_output_is_refused(emulator, wire, conversation):
    """With the API's message; with the output, the conversation continues."""
    emulator.reply(CALL)
    emulator.reply("Well.")
    await ask(wire, conversation=conversation)
    status, answer = await wire.post(
        "/responses", {"model": MODEL, "input": "And?", "conversation": conversation}
    )
    error = answer["error"]
    assert (400, "input", None) == (status, error["param"], error["code"])
    assert "No tool output found for function call call_1." == error["message"]
    await ask(wire, [output_of("call_1"), user("And?")], conversation=conversation)


@pytest.mark.parametrize(
    "given",
    [
        [output_of("call_9")],
        [output_of("call_9"), {**CALL, "arguments": "{}", "call_id": "call_9"}],
        [
            {"type": "custom_tool_call", "call_id": "call_9", "name": "x", "input": ""},
            output_of("call_9"),
        ],
    ],
    ids=["no call", "call after it", "call of another kind"],
)
async def test_output_without_its_call_is_refused(wire, given):
    status, answer = await wire.post("/responses", {"model": MODEL, "input": given})
    assert (400, "No tool call found for function call output with call_id call_9.") == (
        status,
        answer["error"]["message"],
    )


SEARCH = {"type": "tool_search_call", "execution": "client", "call_id": "call_1", "arguments": {}}
COMPUTER = {
    "type": "computer_call",
    "id": "cu_1",
    "call_id": "call_1",
    "action": {"type": "screenshot"},
    "pending_safety_checks": [],
    "status": "completed",
}
PATCH = {"type": "delete_file", "path": "a.txt"}
SHELL = {"type": "shell_call", "call_id": "call_1", "action": {"commands": ["ls"]}}
LOCAL = {"type": "exec", "command": ["ls"], "env": {}}
PAIRS = {
    "function call": (CALL | {"arguments": "{}"}, output_of("call_1")),
    "custom tool call": (
        {"type": "custom_tool_call", "call_id": "call_1", "name": "free", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": "y"},
    ),
    "computer call": (
        COMPUTER,
        {
            "type": "computer_call_output",
            "call_id": "call_1",
            "output": {"type": "computer_screenshot", "image_url": "https://example.com/a.png"},
        },
    ),
    "local shell call": (
        {
            "type": "local_shell_call",
            "id": "lsh_1",
            "call_id": "call_1",
            "action": LOCAL,
            "status": "completed",
        },
        {"type": "local_shell_call_output", "call_id": "call_1", "output": "a.txt"},
    ),
    "shell call": (SHELL, {"type": "shell_call_output", "call_id": "call_1", "output": []}),
    "apply patch call": (
        {"type": "apply_patch_call", "call_id": "call_1", "status": "completed", "operation": PATCH},
        {"type": "apply_patch_call_output", "call_id": "call_1", "status": "completed"},
    ),
    "tool search call": (
        SEARCH,
        {"type": "tool_search_output", "execution": "client", "call_id": "call_1", "tools": []},
    ),
}
"""Calls whose outputs the client makes, by their names in errors."""


async def error_of(wire, **options):
    status, body = await wire.post("/responses", {"model": MODEL, "input": "And?", **options})
    assert (400, "invalid_request_error", "input", None) == (
        status,
        *(body["error"][name] for name in ("type", "param", "code")),
    )
    return body["error"]["message"]


@pytest.mark.parametrize("name", PAIRS)
async def test_conversation_with_an_open_call_is_refused_until_it_is_closed(wire, name):
    """In a conversation that anyone has written, and after the output was deleted from it."""
    call, output = PAIRS[name]
    conversation = await wire.new_conversation(user("a"), call)
    open_call = f"No tool output found for {name} call_1."
    assert open_call == await error_of(wire, conversation=conversation)
    answer = await ask(wire, [output, user("b")], conversation=conversation)
    assert (await ask(wire, "c", previous_response_id=answer["id"]))["output"]
    items = await items_of(wire, conversation)
    for item in items:
        if item["type"] == output["type"]:
            await wire.delete(f"/conversations/{conversation}/items/{item['id']}")
    assert open_call == await error_of(wire, conversation=conversation)
    assert (await ask(wire, "c", previous_response_id=answer["id"]))["output"]


async def test_output_of_a_function_answers_a_tool_search_by_the_client(wire):
    assert (await ask(wire, [SEARCH, output_of("call_1"), user("b")]))["output"]


@pytest.mark.parametrize("name", PAIRS)
async def test_conversation_with_an_output_alone_is_refused(wire, name):
    call, output = PAIRS[name]
    conversation = await wire.new_conversation(call)
    await ask(wire, [output], conversation=conversation)
    (item, *_) = await items_of(wire, conversation)
    await wire.delete(f"/conversations/{conversation}/items/{item['id']}")
    expected = f"No tool call found for {name} output with call_id call_1."
    assert expected == await error_of(wire, conversation=conversation)


@pytest.mark.parametrize(
    "item",
    [
        {**SEARCH, "execution": "server"},
        {**SHELL, "environment": {"type": "container_reference", "container_id": "cntr_1"}},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
    ],
    ids=["search by the API", "shell in a container", "web search"],
)
async def test_call_that_the_api_makes_needs_no_output(wire, item):
    await ask(wire, [item, user("b")])


APPROVAL = {
    "type": "mcp_approval_request",
    "id": "mcpr_1",
    "server_label": "files",
    "name": "delete",
    "arguments": "{}",
}
APPROVED = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}


async def test_request_for_an_approval_needs_an_answer(wire):
    conversation = await wire.new_conversation(APPROVAL, {**APPROVAL, "id": "mcpr_2"})
    message = "The following MCP approval requests do not have an approval: mcpr_1, mcpr_2."
    assert message == await error_of(wire, conversation=conversation)
    both = [APPROVED, {**APPROVED, "approval_request_id": "mcpr_2"}]
    await ask(wire, both, conversation=conversation)
    await ask(wire, conversation=conversation)
    assert "No MCP approval request found with id mcpr_1." == await error_of(wire, input=[APPROVED])


REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


@pytest.mark.parametrize(
    "given",
    [[REASONING], [REASONING, user("b")], [REASONING, {**REASONING, "id": "rs_2"}, user("b")]],
    ids=["at the end", "before a question", "after reasoning"],
)
async def test_reasoning_without_what_it_led_to_is_refused(wire, given):
    message = f"Item '{given[-2:][0]['id']}' of type 'reasoning' was provided without its required following"
    assert (await error_of(wire, input=given)).startswith(message)
    conversation = await wire.new_conversation(*given)
    assert (await error_of(wire, input=[], conversation=conversation)).startswith(message)


async def test_reasoning_whose_message_was_deleted_is_refused(emulator, wire, conversation):
    emulator.reply([{"type": "reasoning"}, "Well."])
    emulator.reply("So.")
    response = await ask(wire, conversation=conversation)
    await wire.delete(f"/conversations/{conversation}/items/{response['output'][1]['id']}")
    assert "without its required following item" in await error_of(wire, conversation=conversation)
    await wire.delete(f"/conversations/{conversation}/items/{response['output'][0]['id']}")
    await ask(wire, conversation=conversation)


async def test_previous_responses_form_chains_and_branches_of_any_length(emulator, wire):
    """Deleting one in the middle changes nothing for those that follow it."""
    emulator.reply(lambda request: str(len(request.items)), times=None)
    chain = [await ask(wire, "0")]
    for number in range(1, 30):
        chain.append(await ask(wire, str(number), previous_response_id=chain[-1]["id"]))
    assert [str(2 * number + 1) for number in range(30)] == [text_of(response) for response in chain]
    await wire.delete(f"/responses/{chain[10]['id']}")
    assert "previous_response_not_found" == (await refused(wire, previous_response_id=chain[10]["id"]))[1]
    for number in (9, 11, 29):
        branches = [await ask(wire, "branch", previous_response_id=chain[number]["id"]) for _ in range(2)]
        assert [str(2 * number + 3)] * 2 == [text_of(branch) for branch in branches]


async def test_item_that_exists_is_refused(wire, conversation):
    response = await ask(wire, conversation=conversation)
    again = response["output"]
    assert (400, None, "input") == await refused(wire, given=again, conversation=conversation)
    assert (400, None, "input") == await refused(wire, given=again, previous_response_id=response["id"])
    assert (400, None, "input") == await refused(wire, given=again * 2)
    await ask(wire, again)


async def test_reference_to_an_unknown_item_is_a_404(wire, conversation):
    given = [{"type": "item_reference", "id": "msg_unknown"}]
    assert (404, None, None) == await refused(wire, given=given, conversation=conversation)


@pytest.mark.parametrize(
    "options",
    [{"given": [{"role": "robot"}]}, {"temperature": 9}, {"given": [output_of("call_9")]}, {"stream": 1}],
)
async def test_refused_request_adds_nothing_and_uses_no_reply(emulator, wire, conversation, options):
    emulator.reply("Hello")
    await refused(wire, **{"conversation": conversation, **options})
    assert ([], 1) == (await items_of(wire, conversation), emulator.unused_replies)
    await ask(wire, conversation=conversation)


async def test_stored_response_cannot_be_streamed(wire):
    response = await ask(wire)
    status, answer = await wire.get(f"/responses/{response['id']}", stream="true")
    assert (400, "stream") == (status, answer["error"]["param"])


@pytest.mark.parametrize("path", ["/responses/resp_unknown", "/responses/resp_unknown/input_items"])
async def test_unknown_response_is_a_404(wire, path):
    status, answer = await wire.get(path)
    assert (404, "Response with id 'resp_unknown' not found.") == (status, answer["error"]["message"])
