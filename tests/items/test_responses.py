"""The items that a response adds to a conversation."""

import pytest
from openai.types.responses import Response

from openai_sessions._items.responses import (
    answered_calls,
    calls_in,
    input_items,
    output_at,
    rebuilt_response,
)

USER = {"type": "message", "role": "user", "content": "Hi"}
ANSWER = {"type": "message", "role": "assistant", "content": []}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}
CALL = {"type": "function_call", "call_id": "call_1"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1"}
SHELL_OUTPUT = {"type": "shell_call_output", "call_id": "call_2"}


def shell(kind):
    return {"type": "shell_call", "call_id": "call_2", "environment": {"type": kind}}


@pytest.mark.parametrize(
    ("listed", "count"),
    [
        ([], 0),
        ([USER], 0),
        ([ANSWER], 1),
        ([{"role": "assistant", "content": "Hi"}], 1),
        ([REASONING, ANSWER, CALL, OUTPUT], 3),
        ([CALL, CALL, USER, ANSWER], 2),
        ([{"type": "web_search_call"}, {"type": "an_unknown_type"}, ANSWER], 3),
        ([{"type": "mcp_approval_request"}, {"type": "mcp_approval_response"}], 1),
        ([shell("container_auto"), SHELL_OUTPUT, ANSWER], 3),
        ([shell("local"), SHELL_OUTPUT, ANSWER], 1),
        ([{"type": "shell_call", "call_id": "call_2"}, SHELL_OUTPUT], 1),
        ([{"type": "tool_search_call"}, {"type": "tool_search_output", "execution": "server"}, ANSWER], 3),
        ([{"type": "tool_search_call"}, {"type": "tool_search_output", "execution": "client"}], 1),
    ],
)
def test_the_output_ends_before_what_a_model_does_not_make(listed, count):
    assert listed[:count] == output_at([USER, *listed], 1)


@pytest.mark.parametrize(
    ("given", "items"),
    [
        ("Hi", ({"role": "user", "content": "Hi"},)),
        (None, ()),
        ([], ()),
        ([USER, {"type": "item_reference", "id": "msg_1"}], (USER,)),
        (5, None),
        (["Hi"], None),
    ],
)
def test_the_items_of_an_input(given, items):
    assert items == input_items(given)


def test_call_ids():
    assert {"call_1", "call_2"} == answered_calls(
        [USER, CALL, OUTPUT, SHELL_OUTPUT, {"type": OUTPUT["type"]}]
    )
    assert {"call_1"} == calls_in([REASONING, CALL])


def test_a_rebuilt_response_is_a_response():
    body = {
        "model": "m",
        "metadata": {"a": "b"},
        "tools": [{"type": "function", "name": "add"}],
        "top_p": 0.5,
    }
    rebuilt = rebuilt_response(body, "conv_1", "resp_1", [CALL])
    response = Response.model_validate({**rebuilt, "output": [], "tools": []})
    assert ("resp_1", "conv_1", "m") == (response.id, response.conversation.id, response.model)
    assert {"a": "b", "openai_sessions.rebuilt": "true"} == response.metadata
    assert [CALL] == rebuilt["output"]
    assert response.usage is None
