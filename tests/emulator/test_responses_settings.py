"""The fields of a response that repeat its request, with the defaults of the API."""

import pytest
from openai.types.responses import Response

from .responding import ADD, CALL, MODEL, ask, output_of, refused, text_of
from .wire import user

HERE = {"type": "approximate", "city": None, "country": "US", "region": None, "timezone": None}
PIXELS = {
    "background": "auto",
    "model": "gpt-image-1",
    "moderation": "auto",
    "n": 1,
    "output_compression": 100,
    "output_format": "png",
    "quality": "auto",
    "size": "auto",
}
MCP = {"type": "mcp", "server_label": "dice", "server_url": "https://dice.example/mcp"}
SHOWN_MCP = {
    **MCP,
    "allowed_tools": None,
    "headers": None,
    "require_approval": "always",
    "server_description": None,
}
SHOWN_ADD = {**ADD, "description": None, "output_schema": None, "strict": True}
FOUND = {"vector_store_ids": ["vs_1"], "max_num_results": 20, "filters": None}
WEB = {
    "filters": None,
    "return_token_budget": "default",
    "search_content_types": ["text"],
    "search_context_size": "medium",
}

TOOLS = {
    "function": (ADD, SHOWN_ADD),
    "null is a default": ({**ADD, "strict": None}, SHOWN_ADD),
    "tool search": ({"type": "tool_search"}, {"description": None, "parameters": None}),
    "image generation": ({"type": "image_generation", "quality": "low"}, {**PIXELS, "quality": "low"}),
    "file search": (
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {**FOUND, "ranking_options": {"ranker": "auto", "score_threshold": 0.0}},
    ),
    "ranked file search": (
        {"type": "file_search", "vector_store_ids": ["vs_1"], "ranking_options": {"score_threshold": 0.5}},
        {**FOUND, "ranking_options": {"ranker": "auto", "score_threshold": 0.5}},
    ),
    "web search": ({"type": "web_search"}, {**WEB, "user_location": HERE}),
    "web search elsewhere": (
        {"type": "web_search", "user_location": {"type": "approximate", "city": "Rome"}},
        {**WEB, "user_location": {**HERE, "city": "Rome", "country": None}},
    ),
    "web search preview": (
        {"type": "web_search_preview"},
        {"search_context_size": "medium", "user_location": HERE},
    ),
    "mcp": (MCP, SHOWN_MCP),
    "mcp with some tools": (
        {**MCP, "allowed_tools": {"tool_names": ["roll"]}},
        {**SHOWN_MCP, "allowed_tools": {"read_only": None, "tool_names": ["roll"]}},
    ),
    "mcp with a list of tools": (
        {**MCP, "allowed_tools": ["roll"]},
        {**SHOWN_MCP, "allowed_tools": ["roll"]},
    ),
    "mcp with approvals": (
        {**MCP, "require_approval": {"never": {"read_only": True}}},
        {
            **SHOWN_MCP,
            "require_approval": {"always": None, "never": {"read_only": True, "tool_names": None}},
        },
    ),
    "mcp with secrets": (
        {**MCP, "authorization": "secret", "headers": {"x-key": "secret"}},
        {**SHOWN_MCP, "authorization": "<redacted>", "headers": {"x-key": "<redacted>"}},
    ),
    "namespace": (
        {"type": "namespace", "name": "sums", "description": "Sums.", "tools": [ADD]},
        {"name": "sums", "description": "Sums.", "tools": [SHOWN_ADD]},
    ),
    "image generation of a newer package": (
        {"type": "image_generation", "output_format": "gif", "frame_count": 3},
        {**PIXELS, "output_format": "gif", "frame_count": 3},
    ),
}


@pytest.mark.parametrize("name", TOOLS)
async def test_tool_is_shown_with_its_defaults(wire, name):
    given, shown = TOOLS[name]
    assert [{"type": given["type"], **shown}] == (await ask(wire, tools=[given]))["tools"]


async def test_tools_in_items_are_shown(wire):
    """A function that a search has loaded is in a namespace of its own."""
    later = {**ADD, "name": "later", "defer_loading": True}
    search = {"type": "tool_search_call", "execution": "client", "call_id": "call_1", "arguments": {}}
    sums = {"type": "namespace", "name": "sums", "description": "Sums.", "tools": [ADD]}
    given = [
        {"type": "additional_tools", "role": "developer", "tools": [{**ADD, "name": "more"}]},
        search,
        {"type": "tool_search_output", "execution": "client", "call_id": "call_1", "tools": [later, sums]},
        user("Hello"),
    ]
    response = await ask(wire, given, tools=[later, ADD])
    loaded = {"type": "namespace", "description": None, "name": "later"}
    assert [
        SHOWN_ADD,
        {**SHOWN_ADD, "name": "more"},
        {**loaded, "tools": [{**SHOWN_ADD, "name": "later"}]},
        {**sums, "tools": [SHOWN_ADD]},
    ] == response["tools"]


@pytest.mark.parametrize(
    ("tool", "code", "param"),
    [
        ({"type": "telepathy"}, "invalid_value", "type"),
        ({**ADD, "mood": 1}, "unknown_parameter", "mood"),
        ({"type": "image_generation", "quality": "best"}, "invalid_value", "quality"),
        (
            {"type": "image_generation", "output_compression": 101},
            "integer_above_max_value",
            "output_compression",
        ),
        ({"type": "mcp"}, "missing_required_parameter", "server_label"),
        ({"type": "web_search", "user_location": "Rome"}, "invalid_type", "user_location"),
        ({**MCP, "headers": "x-key"}, "invalid_type", "headers"),
        (
            {"type": "file_search", "vector_store_ids": [], "ranking_options": 1},
            "invalid_type",
            "ranking_options",
        ),
        (
            {"type": "namespace", "name": "x", "description": "X.", "tools": [{}]},
            "missing_required_parameter",
            "tools[0].type",
        ),
    ],
)
async def test_invalid_tool_is_a_400(wire, tool, code, param):
    assert (400, code, f"tools[0].{param}") == await refused(wire, tools=[tool])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, {"format": {"type": "text"}, "verbosity": "medium"}),
        ({"format": None, "verbosity": None}, {"format": {"type": "text"}, "verbosity": "medium"}),
        ({"format": {"type": "json_object"}}, {"format": {"type": "json_object"}, "verbosity": "medium"}),
        (
            {"format": {"type": "json_schema", "name": "city", "schema": {"type": "object"}}},
            {
                "format": {
                    "type": "json_schema",
                    "description": None,
                    "name": "city",
                    "schema": {"type": "object"},
                    "strict": True,
                },
                "verbosity": "medium",
            },
        ),
    ],
)
async def test_text_is_shown_with_its_defaults(emulator, wire, given, shown):
    emulator.reply("{}")
    assert shown == (await ask(wire, text=given))["text"]


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        ({"format": "json"}, "invalid_type", "text.format"),
        ({"verbosity": "chatty"}, "invalid_value", "text.verbosity"),
    ],
)
async def test_invalid_text_is_a_400(wire, text, code, param):
    assert (400, code, param) == await refused(wire, text=text)


async def test_reasoning_has_a_mode(wire):
    standard = {"context": None, "effort": None, "mode": "standard", "summary": None}
    assert standard == (await ask(wire))["reasoning"]
    asked = {"effort": "low", "generate_summary": "concise", "mode": "pro"}
    assert {**standard, **asked} == (await ask(wire, reasoning=asked))["reasoning"]


async def test_prompt_replaces_model_and_input(wire):
    """The emulator has no prompts: it shows that one was named."""
    status, response = await wire.post("/responses", {"prompt": {"id": "pmpt_1"}})
    assert (200, "emulated", "You said nothing.") == (status, response["model"], text_of(response))
    assert {"id": "pmpt_1", "variables": {}, "version": "1"} == response["prompt"]
    prompt = {"id": "pmpt_1", "variables": {"city": "Rome"}, "version": "2"}
    response = await ask(wire, prompt=prompt)
    assert (MODEL, prompt) == (response["model"], response["prompt"])
    assert (400, "missing_required_parameter", "prompt.id") == await refused(wire, prompt={})


async def test_moderation_flags_nothing(wire):
    response = await ask(wire, moderation={"model": "omni-moderation-latest"})
    parsed = Response.model_validate(response, strict=True).moderation
    for result in (parsed.input, parsed.output):
        assert (False, "omni-moderation-latest") == (result.flagged, result.model)
        assert {False} == set(result.categories.values())
    assert (await ask(wire))["moderation"] is None
    assert (400, "missing_required_parameter", "moderation.model") == await refused(wire, moderation={})


DRAWN = {"type": "image_generation_call", "id": "ig_1"}
SEARCHED = {"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}}


@pytest.mark.parametrize("status", [{}, {"status": None}], ids=["absent", "null"])
@pytest.mark.parametrize(
    "call", [{**CALL, "arguments": "{}"}, DRAWN, SEARCHED], ids=lambda call: call["type"]
)
async def test_call_without_status_is_completed(wire, conversation, call, status):
    """In the input of a response; the items of a conversation need it."""
    output = [output_of("call_1")] if call["type"] == "function_call" else []
    response = await ask(wire, [{**call, **status}, *output])
    _, page = await wire.get(f"/responses/{response['id']}/input_items", order="asc")
    assert "completed" == page["data"][0]["status"]
    if status:
        assert ("unknown_parameter", "items[0].status") == await wire.refusal(
            conversation, {**call, **status}
        )


async def test_image_generation_call_without_result_is_accepted(wire):
    response = await ask(wire, [DRAWN])
    _, page = await wire.get(f"/responses/{response['id']}/input_items")
    assert [{**DRAWN, "status": "completed", "result": None}] == page["data"]


@pytest.mark.parametrize("item", [{"type": ["x_call"]}, {"type": "unknown_call"}])
async def test_item_of_an_unknown_type_is_a_400(wire, item):
    assert "input[0].type" == (await refused(wire, given=[item]))[2]


@pytest.mark.parametrize(
    ("choice", "call"),
    [
        ("web_search", "web_search_call"),
        ("web_search_preview", "web_search_call"),
        ("file_search", "file_search_call"),
        ("code_interpreter", "code_interpreter_call"),
        ("image_generation", "image_generation_call"),
    ],
)
async def test_choice_of_a_hosted_tool_is_called(wire, choice, call):
    """By default; the text follows."""
    response = await ask(wire, "Rome?", tool_choice={"type": choice})
    assert [(call, "completed"), ("message", "completed")] == [
        (item["type"], item["status"]) for item in response["output"]
    ]
    parsed = Response.model_validate({**response, "tool_choice": "auto"}, strict=True)
    assert "You said: Rome?" == parsed.output_text


async def test_choice_of_a_tool_that_needs_facts_is_a_400(wire):
    choice = {"type": "mcp", "server_label": "dice"}
    assert (400, "no_scripted_reply", None) == await refused(wire, tool_choice=choice)


@pytest.mark.parametrize("include", [[], ["file_search_call.results"]])
async def test_file_search_shows_its_results_or_null(emulator, wire, conversation, include):
    """In a response; a listed item without them has no such field."""
    found = [{"file_id": "file-1", "text": "Rome"}]
    search = {"type": "file_search_call", "queries": ["x"], "status": "completed", "results": found}
    emulator.reply([search, "Rome."])
    response = await ask(wire, conversation=conversation, include=include)
    assert (found if include else None) == response["output"][0]["results"]
    _, page = await wire.list(conversation, order="asc")
    assert "results" not in page["data"][1]
