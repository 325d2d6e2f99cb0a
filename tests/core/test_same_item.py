"""When a written item and a stored one are the same."""

from __future__ import annotations

import pytest
from hypothesis import given

from openai_sessions._items.forms import same_item
from tests.strategies import written_items

CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
IMAGE = {"type": "input_image", "image_url": "https://example.com/i.png"}


def message(*parts: dict, **fields: object) -> dict:
    return {"type": "message", "role": "user", "content": list(parts), **fields}


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (
            {"role": "user", "content": "Hi"},
            message({"type": "input_text", "text": "Hi"}, id="msg_1", status="completed"),
        ),
        (CALL, {**CALL, "id": "fc_1", "status": "completed", "created_by": "user_1", "namespace": None}),
        (message(IMAGE), message({**IMAGE, "detail": "auto", "file_id": None}, id="msg_1")),
        (message(IMAGE), message({"type": "input_image", "detail": "auto"})),
        (
            message({"type": "output_text", "text": "Hi"}, role="assistant"),
            message(
                {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}, role="assistant"
            ),
        ),
        (
            {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
        ),
        (
            {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": [], "results": [{}]},
            {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": [], "results": None},
        ),
        (
            {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "q", "sources": [{"url": "u"}]},
            },
            {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "q"},
            },
        ),
        ({"type": "hologram", "x": 1}, {"type": "hologram", "id": "h_1", "x": 1}),
    ],
)
def test_same_item_sees_through_what_the_api_fills_in_and_leaves_out(written, stored):
    assert same_item(written, stored)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ({"role": "user", "content": "Hi"}, {"role": "user", "content": "Hi "}),
        ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}),
        (
            {"role": "user", "content": "Hi"},
            message({"type": "input_text", "text": "Hi"}, status="incomplete"),
        ),
        (CALL, {**CALL, "call_id": "d"}),
        (CALL, {**CALL, "namespace": "n"}),
        (CALL, {**CALL, "type": "custom_tool_call"}),
        (message(IMAGE), message({**IMAGE, "detail": "high"})),
        (message(IMAGE), message({**IMAGE, "image_url": "https://example.com/other.png"})),
        (message(IMAGE), message(IMAGE, IMAGE)),
        (message(IMAGE), message("text")),
        ({"type": "mcp_call", "id": "mcp_1", "name": "f"}, {"type": "mcp_call", "id": "mcp_2", "name": "f"}),
        (
            {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "x"},
            {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": None},
        ),
        (
            {"type": "tool_search_output", "tools": [{"parameters": {"default": None}}]},
            {"type": "tool_search_output", "tools": [{"parameters": {}}]},
        ),
    ],
)
def test_same_item_tells_different_items_apart(written, stored):
    assert not same_item(written, stored)


@given(written_items())
def test_an_item_is_the_same_as_itself(item):
    assert same_item(item, item)
