"""The text of an item, to be counted and searched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from openai_sessions._items.forms import replay_form
from openai_sessions._items.text import item_texts, message_text
from openai_sessions.tokens import item_text
from tests.strategies import stored_items

PICTURE = "data:image/png;base64,iVBORw0KGgo="


def part(part_type, **fields):
    return {"type": part_type, **fields}


EXAMPLES = {
    "a message": ({"role": "user", "content": "Hello"}, ["Hello"]),
    "parts": (
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "phase": None,
            "content": [
                part("output_text", text="Hi", annotations=[], logprobs=[]),
                part("refusal", refusal="I cannot."),
                part("output_text", text="", annotations=[]),
            ],
        },
        ["Hi", "I cannot."],
    ),
    "images, audio and files": (
        {
            "role": "user",
            "content": [
                part("input_image", image_url=PICTURE, detail="auto"),
                part("input_image", image_url="https://example.com/a.png"),
                part("input_audio", input_audio={"data": "AAAA", "format": "wav"}),
                part("input_file", file_data="AAAA", filename="plan.pdf"),
            ],
        },
        ['{"type":"input_file","filename":"plan.pdf"}'],
    ),
    "a call": (
        {
            "id": "fc_1",
            "type": "function_call",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city":"Zürich"}',
            "status": "completed",
        },
        ["weather", '{"city":"Zürich"}'],
    ),
    "an output": ({"type": "function_call_output", "call_id": "c", "output": "Sunny"}, ["Sunny"]),
    "an output in parts": (
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [part("input_text", text="Sunny"), part("input_image", image_url=PICTURE)],
        },
        ["Sunny"],
    ),
    "reasoning": (
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [part("summary_text", text="The user greets.")],
            "encrypted_content": "gAAAA",
        },
        ["The user greets."],
    ),
    "an action": (
        {"id": "lsh_1", "type": "local_shell_call", "call_id": "c", "action": {"command": ["ls", "-l"]}},
        ['{"command":["ls","-l"]}'],
    ),
    "a screenshot": (
        {
            "type": "computer_call_output",
            "call_id": "c",
            "output": part("computer_screenshot", image_url=PICTURE),
        },
        [],
    ),
    "a generated image": (
        {"id": "ig_1", "type": "image_generation_call", "result": "iVBORw0KGgo="},
        [],
    ),
    "an approval": (
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
        ["true"],
    ),
    "tools": (
        {"id": "mcpl_1", "type": "mcp_list_tools", "server_label": "files", "tools": [{"name": "é"}]},
        ["files", '{"name":"é"}'],
    ),
    "data at any depth": (
        {"type": "hologram", "frames": {"a": [PICTURE, 1], "file_data": "AAAA", "b": {"c": PICTURE}}},
        ['{"a":[1],"b":{}}'],
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_texts_of_an_item(name):
    item, expected = EXAMPLES[name]
    assert item_texts(item) == expected
    assert item_text(item) == "\n".join(expected)


def test_text_of_a_message_leaves_out_its_images():
    content = [part("input_text", text="Look:"), part("input_image", image_url=PICTURE)]
    assert message_text({"role": "user", "content": content}) == "Look:"


@given(stored_items())
def test_texts_have_neither_data_nor_ids(item):
    """In the stored form and in the replay form of every type."""
    long = "A" * 50
    marked = {**item, "id": f"id_{long}", "encrypted_content": long, "file_data": {"file_data": long}}
    for form in (marked, replay_form(marked)):
        assert long not in item_text(form)


@given(stored_items("message", "function_call", "function_call_output", "reasoning"))
def test_text_has_every_text_of_a_known_type(item):
    texts = [item.get(name) for name in ("name", "arguments", "output")]
    texts += [part.get("text") for part in item.get("content") or [] if part["type"] != "reasoning_text"]
    said = item_text(item)
    for text in texts:
        if isinstance(text, str) and not text.startswith("data:"):
            assert text in said or json.dumps(text, ensure_ascii=False) in said
