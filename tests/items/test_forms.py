"""The stored and the replay form of an item, and the equality of items."""

from __future__ import annotations

import copy
import enum
import logging
import re
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from openai._utils import transform
from openai.types.chat import ChatCompletionMessage
from openai.types.responses import (
    ParsedResponseFunctionToolCall,
    ParsedResponseOutputMessage,
    ParsedResponseOutputText,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
)
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import BaseModel

from openai_sessions import InvalidItemError
from openai_sessions._items.forms import replay_form, same_item, sent_form, to_replay, to_stored
from tests.fixtures.samples import SAMPLE_NAMES, sample
from tests.strategies import REQUIRES_ID, histories, stored_items, unknown_items, written_items

IDS = {"id": "msg_1", "status": "completed"}


def stored_message(role: str, *parts: dict, **fields: object) -> dict:
    return {"type": "message", **IDS, "role": role, "content": list(parts), **fields}


def text(value: str, **fields: object) -> dict:
    return {"type": "input_text", "text": value, **fields}


def output(value: str, **fields: object) -> dict:
    return {"type": "output_text", "text": value, "annotations": [], **fields}


@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer", "tool"])
def test_replay_of_a_single_plain_text_part_is_a_string(role):
    assert replay_form(stored_message(role, text("Hi"))) == {"role": role, "content": "Hi"}


@pytest.mark.parametrize("status", [None, "completed"])
def test_replay_of_plain_text_ignores_an_absent_status(status):
    """Some servers list `status: null` for a message without one."""
    message = stored_message("user", text("Hi"), status=status)
    assert replay_form(message) == {"role": "user", "content": "Hi"}


def test_replay_of_listed_string_content_is_the_same_string():
    """Some servers keep string content as a string."""
    assert replay_form({"type": "message", **IDS, "role": "user", "content": "Hi"}) == {
        "role": "user",
        "content": "Hi",
    }


@pytest.mark.parametrize("part", [text("Hi"), output("Hi"), output("Hi", logprobs=[])])
def test_replay_of_the_plain_text_of_an_assistant_is_a_string_and_its_phase(part):
    message = stored_message("assistant", part, phase="commentary")
    assert replay_form(message) == {"role": "assistant", "content": "Hi", "phase": "commentary"}


@pytest.mark.parametrize("part", [text("Hi"), output("Hi")])
def test_replay_of_a_text_that_an_assistant_did_not_finish_is_output_with_its_status(part):
    assert replay_form(stored_message("assistant", part, status="incomplete")) == {
        "type": "message",
        "role": "assistant",
        "status": "incomplete",
        "content": [output("Hi")],
    }


@pytest.mark.parametrize(
    "parts",
    [
        [output("Hi"), output("there")],
        [output("Hi"), {"type": "refusal", "refusal": "No"}],
        [output("Hi", new_field=1)],
        [output(None)],
    ],
)
def test_replay_of_other_output_of_an_assistant_keeps_its_parts(parts):
    message = stored_message("assistant", *parts)
    assert replay_form(message) == {key: message[key] for key in message if key != "id"}


@pytest.mark.parametrize(
    "parts",
    [
        [text("a"), text("b")],
        [text("a", prompt_cache_breakpoint={"type": "ephemeral"})],
        [text("a", annotations=None)],
        [
            {
                "type": "input_image",
                "image_url": "https://example.com/i.png",
                "detail": "auto",
                "file_id": None,
            }
        ],
    ],
)
def test_replay_keeps_other_input_parts_unchanged(parts):
    assert replay_form(stored_message("user", *parts)) == {
        "type": "message",
        "role": "user",
        "content": parts,
    }


def test_replay_of_an_incomplete_message_keeps_its_status():
    message = stored_message("user", text("Hi"), status="incomplete")
    assert replay_form(message) == {
        "type": "message",
        "role": "user",
        "status": "incomplete",
        "content": [text("Hi")],
    }


def test_replay_of_an_assistant_output_keeps_status_and_annotations_and_drops_id_and_empty_logprobs():
    citation = {
        "type": "url_citation",
        "url": "https://example.com",
        "title": "t",
        "start_index": 0,
        "end_index": 1,
    }
    message = stored_message(
        "assistant", output("Hi", logprobs=[], annotations=[citation]), phase="final_answer"
    )
    assert replay_form(message) == {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Hi", "annotations": [citation]}],
        "phase": "final_answer",
    }


def test_replay_of_an_assistant_output_keeps_logprobs():
    part = output("Hi", logprobs=[{"token": "Hi", "logprob": 0.0, "bytes": [], "top_logprobs": []}])
    assert replay_form(stored_message("assistant", part))["content"] == [part]


def test_a_history_in_sent_form_has_the_parts_of_answers_and_is_in_replay_form_otherwise():
    history = [USER, BARE, CALL, OUTPUT, ASSISTANT]
    *others, answer = to_replay(history, form=sent_form)
    assert answer == {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [output("Hi")],
    }
    assert [*others, replay_form(answer)] == to_replay(history)


def test_replay_of_a_refusal_is_an_assistant_output():
    refusal = {"type": "refusal", "refusal": "no"}
    assert replay_form(stored_message("assistant", refusal, status="incomplete")) == {
        "type": "message",
        "role": "assistant",
        "status": "incomplete",
        "content": [refusal],
    }


def test_replay_of_a_call_has_neither_id_nor_completed_status_nor_creator():
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    assert replay_form({**call, "id": "fc_1", "status": "completed", "created_by": "user_1"}) == call


def test_replay_of_a_shell_output_has_no_creators():
    part = {"stdout": "1", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}
    item = {"type": "shell_call_output", "call_id": "c", "output": [{**part, "created_by": "user_1"}]}
    assert replay_form({**item, "id": "sho_1", "status": "completed"}) == {**item, "output": [part]}


@pytest.mark.parametrize("output", [None, "text", ["text"]])
def test_replay_of_a_shell_output_of_another_shape_is_unchanged(output):
    item = {"type": "shell_call_output", "call_id": "c", "output": output}
    assert replay_form(item) == item


def test_replay_of_an_interrupted_call_keeps_its_status():
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{", "status": "incomplete"}
    assert replay_form({**call, "id": "fc_1"}) == call


@pytest.mark.parametrize("name", [name for name in SAMPLE_NAMES if sample(name)["type"] in REQUIRES_ID])
def test_replay_keeps_an_id_that_creating_requires(name):
    assert replay_form(sample(name))["id"] == sample(name)["id"]


CODE_CALL = {
    "type": "code_interpreter_call",
    "id": "ci_1",
    "status": "completed",
    "container_id": "c",
    "code": None,
    "outputs": None,
}


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (CODE_CALL, "code"),
        (CODE_CALL, "outputs"),
        ({"type": "image_generation_call", "id": "ig_1", "status": "failed", "result": None}, "result"),
    ],
)
def test_replay_keeps_a_required_null(item, field):
    assert field in replay_form(item)


def test_replay_drops_other_nulls_at_the_top_only():
    tools = [{"type": "function", "name": "f", "strict": None, "parameters": {"default": None}}]
    item = {
        "type": "tool_search_output",
        "id": "tso_1",
        "call_id": None,
        "execution": "client",
        "tools": tools,
    }
    assert replay_form({**item, "created_by": None, "new_field": None}) == {
        "type": "tool_search_output",
        "execution": "client",
        "tools": tools,
    }


def test_replay_of_an_unknown_type_is_the_item():
    item = {
        "type": "hologram",
        "id": "h_1",
        "created_by": "x",
        "model": "m",
        "status": None,
        "z": {"a": None},
    }
    assert replay_form(item) == item


def test_replay_keeps_unknown_fields():
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "priority": 3}
    assert replay_form({**call, "id": "fc_1"}) == call
    assert replay_form({**stored_message("user", text("Hi")), "mood": "good"}) == {
        "role": "user",
        "content": "Hi",
        "mood": "good",
    }


CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"}
CALL_2 = {**CALL, "id": "fc_2", "call_id": "c2"}
OUTPUT = {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "1"}
BARE = {"type": "reasoning", "id": "rs_1", "summary": []}
ENCRYPTED = {**BARE, "encrypted_content": "gAAA"}
USER = stored_message("user", text("Hi"))
ASSISTANT = stored_message("assistant", output("Hi"))


def ids(items: list[dict]) -> list[object]:
    return [item.get("id") for item in items]


def test_replay_of_encrypted_reasoning_has_no_id_and_neither_has_its_call():
    assert ids(to_replay([ENCRYPTED, CALL, OUTPUT])) == [None, None, None]


def test_replay_of_bare_reasoning_keeps_its_id_and_those_of_the_calls_right_after_it():
    assert ids(to_replay([USER, BARE, CALL, CALL_2, OUTPUT])) == [None, "rs_1", "fc_1", "fc_2", None]


def test_replay_takes_the_id_that_the_sdk_makes_up_for_none():
    fake = {"id": "__fake_id__"}
    assert ids(to_replay([USER, {**BARE, **fake}, {**CALL, **fake}])) == [None, None]
    assert ids(to_replay([USER, BARE, {**CALL, **fake}, OUTPUT])) == [None, "rs_1", None, None]


def test_replay_of_a_call_after_an_output_has_no_id():
    assert ids(to_replay([BARE, CALL, OUTPUT, CALL_2])) == ["rs_1", "fc_1", None, None]


def test_replay_of_bare_reasoning_before_an_answer_keeps_its_id_alone():
    """An assistant message with an id makes newer models unlink the stored ones."""
    assert ids(to_replay([BARE, ASSISTANT])) == ["rs_1", None]


@pytest.mark.parametrize("after", [[], [USER], [OUTPUT], [{**BARE, "id": "rs_2"}]])
def test_replay_leaves_out_bare_reasoning_whose_partner_is_gone_and_logs_it(after, caplog):
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        replayed = to_replay([USER, BARE, *after])
    assert "reasoning" not in [item.get("type") for item in replayed]
    assert "reasoning" in caplog.text


def test_stored_form_drops_internal_fields():
    internal = {
        "provider_data": {"model": "m"},
        "providerData": {},
        "model": "m",
        "_agents_tool_title": "t",
        "_agents_tool_description": "d",
    }
    assert to_stored([{**CALL, **internal, "id": "__fake_id__", "status": None}]) == [
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    ]


def test_stored_form_of_a_message_has_no_id():
    assert to_stored([{"role": "user", "content": "Hi", "id": "msg_1", "type": "message"}]) == [
        {"role": "user", "content": "Hi"}
    ]


def test_stored_form_fills_the_annotations_that_creating_requires():
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    assert to_stored([message]) == [
        {"type": "message", "role": "assistant", "status": "completed", "content": [output("Hi")]}
    ]


@pytest.mark.parametrize("fake", [{}, {"id": "__fake_id__"}, {"id": ""}, {"id": None}])
def test_stored_form_of_the_output_of_a_local_shell_has_an_id(fake):
    """As the Agents SDK makes it, it has none."""
    output = {"type": "local_shell_call_output", "call_id": "call_1", "output": "main.py", **fake}
    (first,), (second,) = to_stored([output]), to_stored([{**output, "call_id": "call_2"}])
    assert re.fullmatch("lsho_[0-9a-f]{48}", first["id"])
    assert {**output, "id": first["id"]} == first
    assert second["id"] != first["id"]
    assert to_stored([output]) == to_replay([first]) == [first]


@pytest.mark.parametrize("fake", [{}, {"id": "__fake_id__"}, {"id": ""}, {"encrypted_content": None}])
def test_stored_form_leaves_out_reasoning_that_the_api_cannot_store_and_logs_it(fake, caplog):
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        stored = to_stored([{"type": "reasoning", "summary": [], **fake}, {"role": "user", "content": "Hi"}])
    assert stored == [{"role": "user", "content": "Hi"}]
    assert "1 reasoning item(s)" in caplog.text


def test_stored_form_of_objects_of_the_sdk_uses_the_names_of_the_api():
    message = ResponseOutputMessage(
        id="msg_1",
        type="message",
        role="assistant",
        status="completed",
        content=[ResponseOutputText(type="output_text", text="Hi", annotations=[], logprobs=[])],
    )
    call = ResponseFunctionToolCall(type="function_call", call_id="c1", name="f", arguments="{}")
    assert to_stored([message, call]) == [
        {"type": "message", "role": "assistant", "status": "completed", "content": [output("Hi")]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    ]


def test_stored_form_of_an_object_inside_a_dict_is_json():
    part = ResponseOutputText(type="output_text", text="Hi", annotations=[])
    stored = to_stored([{"type": "message", "role": "assistant", "content": (part,)}])
    assert stored[0]["content"] == [output("Hi")]


def test_stored_form_names_an_aliased_field_as_the_api_does():
    """The field `async` is the attribute `async_` of openai's models."""
    field = ResponseFunctionToolCall.model_fields.get("async_")
    if field is None:
        pytest.skip("the installed openai has no field with a name of its own")
    call = ResponseFunctionToolCall.model_validate(
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "async": True}
    )
    assert to_stored([call])[0]["async"] is True


class Answer(BaseModel):
    number: int


ANSWERED = {"annotations": [], "text": '{"number": 3}', "type": "output_text"}


@pytest.mark.parametrize(
    "model",
    [
        ParsedResponseOutputMessage[Answer].model_validate(
            {
                **ASSISTANT,
                "content": [{**ANSWERED, "parsed": {"number": 3}}, {"type": "refusal", "refusal": "No"}],
            }
        ),
        ParsedResponseFunctionToolCall.model_validate(
            {**CALL, "arguments": '{"number": 3}', "parsed_arguments": {"number": 3}}
        ),
        ResponseOutputMessage.model_validate({**ASSISTANT, "content": [ANSWERED], "new_field": 1}),
        ResponseReasoningItem.model_construct(type="reasoning", id="rs_1", summary=[]),
    ],
    ids=lambda model: type(model).__name__,
)
def test_stored_form_of_an_object_of_openai_has_the_fields_that_openai_sends(model):
    (sent,) = transform({"input": [model]}, ResponseCreateParamsNonStreaming)["input"]
    for part in sent.get("content", ()):
        part.pop("parsed", None)  # openai 2 sends it, and the API refuses it
    assert to_stored([model]) == to_stored([sent])


def test_stored_form_of_a_part_of_a_parsed_message_has_what_openai_sends():
    part = ParsedResponseOutputText[Answer].model_validate({**ANSWERED, "parsed": {"number": 3}})
    stored = to_stored([{"type": "message", "role": "assistant", "content": [part]}])
    assert stored[0]["content"] == [ANSWERED]


class Part(BaseModel):
    type: Literal["input_text"] = "input_text"
    text: str


class Note(BaseModel):
    type: Literal["message"] = "message"
    role: str = "user"
    content: list[Part]
    mood: str | None = None


def test_stored_form_of_a_model_of_the_caller_has_its_defaults():
    note = Note(content=[Part(text="a"), Part(text="b")])
    assert to_stored([note]) == [user_message(text("a"), text("b"))]


def test_stored_form_renames_the_fields_that_the_sdk_writes_under_their_python_names():
    """It gives a session `model_dump()` of openai's models, which does not use their aliases."""
    tool = {"type": "function", "name": "f", "parameters": {"async_": 1}}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    found = {"type": "tool_search_output", "tools": [tool]}
    namespace = {"type": "namespace", "name": "n", "description": "d"}
    assert to_stored(
        [
            {**call, "async_": True},
            {
                **found,
                "tools": [{**tool, "async_": True}, {**namespace, "tools": [{**tool, "async_": False}]}],
            },
        ]
    ) == [
        {**call, "async": True},
        {**found, "tools": [{**tool, "async": True}, {**namespace, "tools": [{**tool, "async": False}]}]},
    ]


class Colour(str, enum.Enum):
    RED = "red"


def test_stored_form_of_a_string_enum_is_its_value():
    assert to_stored([{"role": "user", "content": Colour.RED}]) == [{"role": "user", "content": "red"}]


CHAT_CALL = {"name": "f", "arguments": "{}"}

CALLS = (
    {"tool_calls": [{"id": "c", "type": "function", "function": CHAT_CALL}]},
    {"function_call": CHAT_CALL},
)

CHAT_CALLS = (
    "it is a message of the Chat Completions API: write each call as "
    "{'type': 'function_call', 'call_id': …, 'name': …, 'arguments': …}"
)

CHAT_OUTPUT = (
    "it is a message of the Chat Completions API: write the output as "
    "{'type': 'function_call_output', 'call_id': …, 'output': …}"
)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("Hello", "it is of type str, not a dict such as {'role': …, 'content': …}"),
        (None, "it is of type NoneType, not a dict such as {'role': …, 'content': …}"),
        ([], "it is of type list, not a dict such as {'role': …, 'content': …}"),
        ({}, "it has neither 'type' nor 'role'"),
        ({"content": "Hi"}, "it has neither 'type' nor 'role'"),
        *(
            ({"role": "assistant", "content": content, **calls}, CHAT_CALLS)
            for content in ("", None)
            for calls in CALLS
        ),
        *(
            ({"role": role, "tool_call_id": "c", "content": "1"}, CHAT_OUTPUT)
            for role in ("tool", "function")
        ),
        ({"type": 3}, "its type is 3, not a name such as 'function_call'"),
        ({"type": ""}, "its type is '', not a name such as 'function_call'"),
        ({"type": "message", "content": "Hi"}, "its role is None, not a name such as 'user'"),
        ({"role": "user"}, "its content is of type NoneType, not a string or a list of parts"),
        ({"role": "user", "content": 5}, "its content is of type int, not a string or a list of parts"),
        ({"role": "user", "content": ["Hi"]}, "content[0] is not a dict with a 'type', such as 'input_text'"),
        (
            {"role": "user", "content": [{"text": "Hi"}]},
            "content[0] is not a dict with a 'type', such as 'input_text'",
        ),
        ({"role": "user", "content": b"Hi"}, "content is of type bytes, which is not JSON"),
        (
            {"role": "user", "content": [{"type": "x", "n": float("nan")}]},
            "content[0].n is nan, which is not JSON",
        ),
        (
            {"role": "user", "content": "\ud800"},
            "content contains a lone surrogate, which UTF-8 cannot encode: remove it",
        ),
        ({"role": "user", "content": "Hi", 1: 2}, "it has the key 1, and JSON keys are strings"),
        (
            {"type": "web_search_call", "status": "completed", "action": {}},
            "an item of type 'web_search_call' needs the id that the API gave it, and has None",
        ),
        (
            {"type": "mcp_call", "id": "__fake_id__"},
            "an item of type 'mcp_call' needs the id that the API gave it, and has '__fake_id__'",
        ),
    ],
)
def test_an_item_that_cannot_be_stored_is_refused_with_its_index_and_the_reason(item, reason):
    with pytest.raises(InvalidItemError) as caught:
        to_stored([{"role": "user", "content": "fine"}, item])
    assert (caught.value.index, caught.value.reason) == (1, reason)
    assert str(caught.value) == f"items[1] cannot be stored: {reason}. Nothing was sent."


def test_an_answer_of_chat_completions_without_calls_is_stored():
    answer = ChatCompletionMessage(role="assistant", content="Hi", tool_calls=None, refusal=None)
    assert to_stored([answer]) == [{"role": "assistant", "content": "Hi"}]


def test_an_item_that_contains_itself_is_refused():
    item: dict = {"type": "hologram"}
    item["self"] = item
    with pytest.raises(InvalidItemError, match="nested too deeply, or contains itself"):
        to_stored([item])


@given(written_items())
def test_stored_form_does_not_change_its_argument(item):
    before = copy.deepcopy(item)
    to_stored([item])
    assert before == item


@given(stored_items())
def test_replay_form_is_a_fixed_point(item):
    assert replay_form(replay_form(item)) == replay_form(item)


@settings(suppress_health_check=[HealthCheck.too_slow])  # of drawing, on a busy machine
@given(histories())
def test_replay_of_a_history_is_a_fixed_point(history):
    assert to_replay(to_replay(history)) == to_replay(history)


@settings(suppress_health_check=[HealthCheck.too_slow])  # of drawing, on a busy machine
@given(histories())
def test_replay_does_not_change_its_argument(history):
    before = copy.deepcopy(history)
    to_replay(history)
    assert before == history


@given(unknown_items())
def test_unknown_types_pass_both_ways_unchanged(item):
    assert to_stored([item]) == [item]
    assert to_replay([item]) == [item]


@given(stored_items())
def test_a_listed_item_is_the_same_as_its_replay_form(item):
    assert same_item(replay_form(item), item)


@given(written_items())
def test_the_sent_form_is_a_fixed_point_with_the_replay_form_of_the_item(item):
    for sent in to_stored([item]):
        assert sent_form(sent) == sent
        assert replay_form(sent) == replay_form(item)


WRITTEN_CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
IMAGE = {"type": "input_image", "image_url": "https://example.com/i.png"}


def user_message(*parts: dict, **fields: object) -> dict:
    return {"type": "message", "role": "user", "content": list(parts), **fields}


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (
            {"role": "user", "content": "Hi"},
            user_message({"type": "input_text", "text": "Hi"}, id="msg_1", status="completed"),
        ),
        (
            WRITTEN_CALL,
            {**WRITTEN_CALL, "id": "fc_1", "status": "completed", "created_by": "user_1", "namespace": None},
        ),
        (user_message(IMAGE), user_message({**IMAGE, "detail": "auto", "file_id": None}, id="msg_1")),
        (user_message(IMAGE), user_message({"type": "input_image", "detail": "auto"})),
        (
            user_message({"type": "output_text", "text": "Hi"}, role="assistant"),
            user_message(
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
def test_same_item_ignores_what_the_api_fills_in_or_leaves_out(written, stored):
    assert same_item(written, stored)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ({"role": "user", "content": "Hi"}, {"role": "user", "content": "Hi "}),
        ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}),
        (
            {"role": "user", "content": "Hi"},
            user_message({"type": "input_text", "text": "Hi"}, status="incomplete"),
        ),
        (WRITTEN_CALL, {**WRITTEN_CALL, "call_id": "d"}),
        (WRITTEN_CALL, {**WRITTEN_CALL, "namespace": "n"}),
        (WRITTEN_CALL, {**WRITTEN_CALL, "type": "custom_tool_call"}),
        (user_message(IMAGE), user_message({**IMAGE, "detail": "high"})),
        (user_message(IMAGE), user_message({**IMAGE, "image_url": "https://example.com/other.png"})),
        (user_message(IMAGE), user_message(IMAGE, IMAGE)),
        (user_message(IMAGE), user_message("text")),
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
def test_same_item_is_false_for_different_items(written, stored):
    assert not same_item(written, stored)


@given(written_items())
def test_an_item_is_the_same_as_itself(item):
    assert same_item(item, item)


@pytest.mark.parametrize("listed", ["Yes", [{"type": "output_text", "text": "Yes", "annotations": []}]])
def test_answer_is_the_same_without_the_logprobs_that_a_list_leaves_out(listed):
    logprobs = [{"token": "Yes", "logprob": -0.125, "bytes": [89], "top_logprobs": []}]
    part = {"type": "output_text", "text": "Yes", "annotations": [], "logprobs": logprobs}
    written = {"type": "message", "role": "assistant", "status": "completed", "content": [part]}
    stored = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    assert same_item(written, {**stored, "content": listed})
    assert not same_item({**written, "content": [{**part, "text": "No"}]}, {**stored, "content": listed})
