"""Which items belong together."""

from __future__ import annotations

import pytest

from openai_sessions._items.turns import calls_by_output, partners

from .histories import PAIRS, assistant, call, output, reasoning, user


@pytest.mark.parametrize("call_type", PAIRS)
def test_an_answer_is_to_the_call_that_it_names(call_type):
    items = [
        call("a", call_type),
        call("b", call_type),
        user(),
        output("b", call_type),
        output("a", call_type),
    ]
    assert calls_by_output(items) == {3: 1, 4: 0}


def test_an_answer_to_nothing_has_no_call():
    assert calls_by_output([call("a"), output("b")]) == {1: None}


def test_an_answer_is_to_the_newest_call_of_its_name():
    assert calls_by_output([call("a"), output("a"), call("a"), output("a")]) == {1: 0, 3: 2}


def test_one_call_may_have_several_answers():
    assert calls_by_output([call("a"), output("a"), output("a")]) == {1: 0, 2: 0}


def test_calls_and_answers_without_a_name_are_matched_by_their_type():
    """A tool search that the server has done has no call_id."""
    search = {"id": "tsc_1", "type": "tool_search_call", "call_id": None, "arguments": {}}
    found = {"id": "tso_1", "type": "tool_search_output", "call_id": None, "tools": []}
    assert calls_by_output([search, call("a"), found, output("a")]) == {2: 0, 3: 1}
    assert calls_by_output([call("a"), found]) == {1: None}


def test_an_answer_that_names_another_call_is_not_matched_by_type():
    search = {"id": "tsc_1", "type": "tool_search_call", "call_id": None, "arguments": {}}
    assert calls_by_output([search, output("a", "tool_search_call")]) == {1: None}


def test_calls_that_hold_their_result_and_messages_belong_to_nothing():
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {}}
    assert calls_by_output([user(), search, assistant()]) == {}


def test_reasoning_belongs_to_what_follows_it():
    items = [reasoning(), call("a"), output("a"), reasoning("x"), assistant()]
    assert partners(items) == [[1], [2], [], [4], []]


def test_an_item_that_is_not_there_has_no_partner():
    assert partners([]) == []
    assert partners([reasoning()]) == [[]]
