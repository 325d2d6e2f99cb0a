"""The events of each type of item in a stream, as recordings of the API have them.

They are read with the openai package's own stream helper, which refuses events that contradict each other.
"""

import json
from itertools import groupby
from pathlib import Path

import pytest

from openai_sessions.emulator import Emulator

from .responding import MODEL
from .wire import Wire

CONTAINER = {"type": "container_reference", "container_id": "cntr_1"}
DONE = {"stdout": "4 files\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}
WARNED = {"stdout": "", "stderr": "late\n", "outcome": {"type": "timeout"}}
SUMMARY = [{"type": "summary_text", "text": "I look."}, {"type": "summary_text", "text": "I see."}]
SOURCES = [{"type": "url", "url": "https://example.com"}, {"type": "api", "name": "oai-weather"}]
TOOL = {"name": "roll", "input_schema": {"type": "object"}}
MCP = {"server_label": "dice", "name": "roll"}
PATCH = {"type": "update_file", "path": "a.md", "diff": "-a\n+b\n"}
PAGE = {"type": "url_citation", "start_index": 4, "end_index": 8, "url": "https://example.com", "title": "A"}
FILE = {"type": "file_citation", "file_id": "file_1", "filename": "a.txt", "index": 14}
ATTACHED = {
    "type": "container_file_citation",
    "container_id": "cntr_1",
    "file_id": "cfile_1",
    "filename": "a.png",
    "start_index": 0,
    "end_index": 0,
}
COMMAND = ["shell_call_command.added", "shell_call_command.delta", "shell_call_command.done"]
PART = ["reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.done"]


def cited(*annotations):
    return {"content": [{"type": "output_text", "text": "See page and file.", "annotations": annotations}]}


CASES = {
    "message": (
        {"content": "See page and file."},
        {"content": []},
        ["content_part.added", "output_text.delta", "output_text.done", "content_part.done"],
    ),
    "citations": (
        cited(ATTACHED, PAGE, FILE),
        {"content": []},
        [
            "content_part.added",
            *["output_text.delta", "output_text.annotation.added"] * 3,
            "output_text.done",
            "content_part.done",
        ],
    ),
    "refusal": (
        {"content": [{"type": "refusal", "refusal": "I will not."}]},
        {"content": []},
        ["content_part.added", "refusal.delta", "refusal.done", "content_part.done"],
    ),
    "reasoning": (
        {"type": "reasoning", "summary": SUMMARY},
        {"summary": []},
        [*PART, "reasoning_summary_part.done"] * 2,
    ),
    "reasoning without a summary": ({"type": "reasoning"}, {}, []),
    "function_call": (
        {"type": "function_call", "name": "add", "arguments": {"a": 1}},
        {"arguments": ""},
        ["function_call_arguments.delta", "function_call_arguments.done"],
    ),
    "custom_tool_call": (
        {"type": "custom_tool_call", "name": "query", "input": "SELECT 1"},
        {"input": ""},
        ["custom_tool_call_input.delta", "custom_tool_call_input.done"],
    ),
    "web_search_call": (
        {"type": "web_search_call", "action": {"type": "search", "query": "a", "sources": SOURCES}},
        {"action": {"type": "search"}},
        ["web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed"],
    ),
    "file_search_call": (
        {"type": "file_search_call", "queries": ["a"], "results": [{"file_id": "file_1"}]},
        {"queries": []},
        ["file_search_call.in_progress", "file_search_call.searching", "file_search_call.completed"],
    ),
    "code_interpreter_call": (
        {"type": "code_interpreter_call", "code": "print(1)", "outputs": [{"type": "logs", "logs": "1\n"}]},
        {"code": ""},
        [
            "code_interpreter_call.in_progress",
            "code_interpreter_call_code.delta",
            "code_interpreter_call_code.done",
            "code_interpreter_call.interpreting",
            "code_interpreter_call.completed",
        ],
    ),
    "code_interpreter_call without code": (
        {"type": "code_interpreter_call"},
        {"code": ""},
        [
            "code_interpreter_call.in_progress",
            "code_interpreter_call.interpreting",
            "code_interpreter_call.completed",
        ],
    ),
    "image_generation_call": (
        {"type": "image_generation_call", "result": "aW1n", "size": "auto", "revised_prompt": "A cat"},
        {"result": None, "size": None, "revised_prompt": None},
        [
            "image_generation_call.in_progress",
            "image_generation_call.generating",
            "image_generation_call.partial_image",
            "image_generation_call.completed",
        ],
    ),
    "mcp_list_tools": (
        {"type": "mcp_list_tools", "server_label": "dice", "tools": [TOOL]},
        {"tools": []},
        ["mcp_list_tools.in_progress", "mcp_list_tools.completed"],
    ),
    "mcp_list_tools failed": (
        {"type": "mcp_list_tools", "server_label": "dice", "tools": [], "error": "unreachable"},
        {"error": None},
        ["mcp_list_tools.in_progress", "mcp_list_tools.failed"],
    ),
    "mcp_call": (
        {"type": "mcp_call", **MCP, "arguments": {"sides": 6}, "output": "4"},
        {"arguments": "", "output": None},
        [
            "mcp_call.in_progress",
            "mcp_call_arguments.delta",
            "mcp_call_arguments.done",
            "mcp_call.completed",
        ],
    ),
    "mcp_call failed": (
        {"type": "mcp_call", **MCP, "error": {"type": "http_error", "code": 424, "message": "down"}},
        {"arguments": "", "error": None},
        ["mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done", "mcp_call.failed"],
    ),
    "mcp_approval_request": ({"type": "mcp_approval_request", **MCP}, {}, []),
    "shell_call": (
        {"type": "shell_call", "action": {"commands": ["ls -l", "pwd"]}, "environment": CONTAINER},
        {"action": {"commands": [], "max_output_length": None, "timeout_ms": None}},
        COMMAND * 2,
    ),
    "shell_call_output": (
        {"type": "shell_call_output", "call_id": "call_1", "output": [DONE, WARNED]},
        {"output": []},
        ["shell_call_output_content.delta", "shell_call_output_content.done"] * 2,
    ),
    "local_shell_call": (
        {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"], "env": {"A": "b"}}},
        {"action": {"type": "exec", "command": [], "env": {}}},
        [],
    ),
    "apply_patch_call": (
        {"type": "apply_patch_call", "operation": PATCH},
        {"operation": {**PATCH, "diff": ""}},
        ["apply_patch_call_operation_diff.delta", "apply_patch_call_operation_diff.done"],
    ),
    "apply_patch_call without a diff": (
        {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a.md"}},
        {},
        [],
    ),
    "computer_call": ({"type": "computer_call", "action": {"type": "screenshot"}}, {}, []),
    "tool_search_call": (
        {"type": "tool_search_call", "arguments": {"paths": ["crm"]}},
        {"arguments": {}},
        [],
    ),
    "tool_search_output": (
        {"type": "tool_search_output", "tools": [{"type": "function", "name": "find"}]},
        {},
        [],
    ),
    "program": (
        {"type": "program", "call_id": "call_1", "code": "text(1)", "fingerprint": "f"},
        {"code": ""},
        [],
    ),
    "program_output": ({"type": "program_output", "call_id": "call_1", "result": "1"}, {}, []),
    "compaction": ({"type": "compaction", "encrypted_content": "gAAAA"}, {}, []),
}


async def read(client, **options):
    """Return the events of a stream, and the response at its end."""
    async with client.responses.stream(model=MODEL, input="Hello", **options) as stream:
        return [event async for event in stream], await stream.get_final_response()


def collapsed(types):
    """Return the types of events, with one delta in place of several in a row."""
    return [name for name, _ in groupby(types)]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # older types say that errors are texts
@pytest.mark.parametrize("case", CASES)
async def test_item_is_streamed_as_recorded(emulator, client, case):
    """What it was before its first content, its own events in order, and what it is at the end."""
    item, before, types = CASES[case]
    emulator.reply(item)
    events, final = await read(client)
    created, started, added, *inside, done, completed = events
    assert ["response.created", "response.in_progress", "response.output_item.added"] == [
        event.type for event in (created, started, added)
    ]
    assert [f"response.{name}" for name in types] == collapsed(event.type for event in inside)
    assert ("response.output_item.done", "response.completed") == (done.type, completed.type)
    assert list(range(len(events))) == [event.sequence_number for event in events]
    assert {0} == {event.output_index for event in events[2:-1]}

    stored = (await client.responses.retrieve(final.id)).output[0].to_dict(warnings=False)
    status = {"status": "in_progress"} if "status" in stored else {}
    expected = {name: value for name, value in {**stored, **status, **before}.items() if value is not None}
    assert expected == without_nulls(added.item)
    assert stored == done.item.to_dict(warnings=False)
    for event in inside:
        if not event.type.startswith("response.shell_call_command."):
            assert stored["id"] == event.item_id
    assert texts_of(inside) == {
        event.type: event.to_dict(warnings=False) for event in inside if ends_a_text(event)
    }


def without_nulls(item):
    return {name: value for name, value in item.to_dict(warnings=False).items() if value is not None}


def ends_a_text(event):
    kinds = ("arguments", "code", "command", "diff", "input", "text")
    return event.type.endswith(tuple(f"_{kind}.done" for kind in kinds))


def texts_of(events):
    """Return the last events of texts as they must be: with all deltas before them."""
    ends, text = {}, ""
    for event in events:
        if event.type.endswith(".delta") and isinstance(event.delta, str):
            text += event.delta
        elif ends_a_text(event):
            name = "text" if event.type.endswith("_text.done") else event.type.split("_")[-1].split(".")[0]
            ends[event.type], text = {**event.to_dict(warnings=False), name: text}, ""
    return ends


async def test_citation_follows_the_text_it_is_about(emulator, client):
    emulator.reply(cited(ATTACHED, PAGE, FILE))
    events, _ = await read(client)
    text, after = "", {}
    for event in events:
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type == "response.output_text.annotation.added":
            after[event.annotation_index] = text
    assert {0: "See page and file.", 1: "See page", 2: "See page and f"} == after


@pytest.mark.parametrize(("demanded", "sent"), [(None, 1), (0, 1), (3, 3)])
async def test_partial_images_are_sent_as_demanded_and_one_at_least(emulator, client, demanded, sent):
    emulator.reply({"type": "image_generation_call", "result": "aW1n", "size": "auto"})
    given = {} if demanded is None else {"partial_images": demanded}
    events, _ = await read(client, tools=[{"type": "image_generation", **given}])
    partial = [event for event in events if event.type.endswith(".partial_image")]
    assert [(index, "aW1n", "auto") for index in range(sent)] == [
        (event.partial_image_index, event.partial_image_b64, event.size) for event in partial
    ]


async def test_outputs_of_a_shell_are_sent_without_empty_streams(emulator, client):
    emulator.reply({"type": "shell_call_output", "call_id": "call_1", "output": [DONE, WARNED]})
    events, _ = await read(client)
    inside = [event.to_dict(warnings=False) for event in events if "shell_call_output_content" in event.type]
    assert [{"stdout": "4 files\n"}, {"stderr": "late\n"}] == [e["delta"] for e in inside if "delta" in e]
    assert [[DONE], [WARNED]] == [event["output"] for event in inside if "output" in event]
    assert [0, 0, 1, 1] == [event["command_index"] for event in inside]
    assert not any("obfuscation" in event for event in inside)


@pytest.mark.parametrize("kind", ["web_search_call", "mcp_call"])
async def test_call_in_an_incomplete_response_is_not_completed(emulator, client, kind):
    item, _, types = CASES[kind]
    incomplete = {**item, "status": "failed"} if kind == "web_search_call" else item
    emulator.reply(incomplete, status="completed" if kind == "web_search_call" else "incomplete")
    stream = await client.responses.create(model=MODEL, input="Hello", stream=True)
    inside = [event.type.removeprefix("response.") async for event in stream][3:-2]
    assert types[:-1] == collapsed(inside)


RECORDED = Path(__file__).parents[3] / "shared" / "recordings" / "responses"
NOT_REPRODUCED = {
    "pydantic__pydantic-ai.jsonl:67",  # the recording cuts the text that its citations are about
    "pydantic__pydantic-ai.jsonl:248",  # three servers list their tools at once, and two never end
}


def recorded_streams():
    for path in sorted(RECORDED.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            exchange = json.loads(line)
            name = f"{path.name}:{number}"
            if "events" in exchange and exchange["method"] == "POST" and name not in NOT_REPRODUCED:
                yield name, exchange


@pytest.mark.exhaustive
async def test_recorded_streams_have_the_same_events():
    """The output of a recorded stream, scripted as a reply to its request, gives its types of events."""
    if not RECORDED.is_dir():
        pytest.skip("the recordings are not beside this checkout")
    different = []
    for name, exchange in recorded_streams():
        output = exchange["first_of_each"][-1]["response"]["output"]
        background = {"background": True} if exchange["request"].get("background") else {}
        with Emulator() as emulator:
            emulator.reply(output)
            body = {"model": MODEL, "input": "Hello", "stream": True, **background}
            answer = await Wire(emulator).http.post("/v1/responses", json=body)
        types = [line.removeprefix("event: ") for line in answer.text.splitlines() if line[:7] == "event: "]
        if collapsed(exchange["events"]) != collapsed(types):
            different.append(name)
    assert [] == different
