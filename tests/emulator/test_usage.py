"""The `usage` of responses: it adds up, and is the same wherever it is reported."""

import pytest

from .responding import CALL, MODEL, ask, output_of
from .test_item_events import CASES, DONE, SUMMARY
from .wire import user

REPLIES = {name: item for name, (item, _, _) in CASES.items()}


async def compact(wire, *items):
    """Return what replaces items, and its `usage`."""
    status, answer = await wire.post("/responses/compact", {"model": MODEL, "input": list(items)})
    assert status == 200, answer
    return answer["output"], answer["usage"]


async def count(wire, *items):
    status, answer = await wire.post("/responses/input_tokens", {"model": MODEL, "input": list(items)})
    assert status == 200, answer
    return answer["input_tokens"]


def assert_adds_up(usage):
    read, written = usage["input_tokens_details"], usage["output_tokens_details"]
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]
    assert read["cached_tokens"] + read["cache_write_tokens"] <= usage["input_tokens"]
    assert written["reasoning_tokens"] <= usage["output_tokens"]


@pytest.mark.parametrize("name", REPLIES)
async def test_usage_adds_up_with_and_without_a_stream(emulator, wire, client, name):
    emulator.reply([REPLIES[name], "Done."], times=2)
    usage = (await ask(wire, "What now?"))["usage"]
    assert_adds_up(usage)
    stream = await client.responses.create(model=MODEL, input="What now?", stream=True)
    *_, completed = [event async for event in stream]
    assert usage == completed.response.usage.to_dict()
    assert await count(wire, user("What now?")) == usage["input_tokens"] == 2


@pytest.mark.parametrize(
    ("item", "tokens", "reasoning"),
    [
        ({"type": "reasoning", "summary": SUMMARY}, 4, 4),
        (CALL, 1, 0),
        ({"type": "code_interpreter_call", "code": "a = 1\nprint(a)"}, 4, 0),
        ({"type": "shell_call", "action": {"commands": ["ls -l", "pwd"]}}, 3, 0),
        ({"type": "web_search_call", "action": {"type": "search", "queries": ["rain today"]}}, 2, 0),
    ],
)
async def test_what_a_model_writes_counts(emulator, wire, item, tokens, reasoning):
    emulator.reply([item, "Done."])
    usage = (await ask(wire))["usage"]
    assert (tokens + 1, reasoning) == (
        usage["output_tokens"],
        usage["output_tokens_details"]["reasoning_tokens"],
    )


async def test_web_searches_are_counted(emulator, client):
    """Pages that are opened are none; a stream says so at its end."""
    search, page = {"type": "search", "query": "rain"}, {"type": "open_page", "url": "https://example.com"}
    emulator.reply([{"type": "web_search_call", "action": action} for action in (search, page, search)])
    stream = await client.responses.create(model=MODEL, input="Rain?", stream=True)
    created, *_, completed = [event async for event in stream]
    counted = [event.response.to_dict()["tool_usage"]["web_search"] for event in (created, completed)]
    assert [{"num_requests": 0}, {"num_requests": 2}] == counted


async def test_what_a_shell_prints_counts(wire):
    called = {"type": "shell_call", "call_id": "call_1", "action": {"commands": ["ls"]}}
    printed = {"type": "shell_call_output", "call_id": "call_1", "output": [DONE]}
    assert 3 == await count(wire, called, printed)


@pytest.mark.parametrize(("words", "tokens"), [(0, 1), (7, 7), (50, 50), (5_000, 50)])
async def test_compaction_item_counts_as_what_it_replaced_up_to_a_limit(wire, words, tokens):
    """The same where it is written and where it is read."""
    replaced = [{"role": "assistant", "content": "word " * words}] if words else []
    output, usage = await compact(wire, user("kept as it is"), *replaced)
    assert_adds_up(usage)
    assert (4 + words, tokens) == (usage["input_tokens"], usage["output_tokens"])
    assert 4 + tokens == await count(wire, *output)


async def test_compaction_item_that_replaces_another_is_not_longer(wire):
    once, _ = await compact(wire, {"role": "assistant", "content": "word " * 100})
    twice, usage = await compact(wire, *once, {**CALL, "arguments": "{}"}, output_of("call_1", "one two"))
    assert (50, 50) == (await count(wire, *twice), usage["output_tokens"])


async def test_compaction_item_of_another_server_counts_as_one_token(wire):
    assert 1 == await count(wire, {"type": "compaction", "encrypted_content": "gAAAA"})
