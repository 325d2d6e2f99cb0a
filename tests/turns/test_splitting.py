"""How a history is split into turns."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from openai_sessions._items.forms import to_replay
from openai_sessions._items.turns import safe_cuts, split_turns, turn_spans
from openai_sessions._items.types import is_user_message
from tests.strategies import histories

from .histories import PAIRS, assistant, call, ids, interleaved, message, output, reasoning, torn, user


def test_a_turn_is_a_user_message_and_all_that_follows_it():
    items = [user("one"), assistant("1"), user("two"), call("a"), output("a"), assistant("2")]
    first, second = split_turns(items)
    assert (first.number, first.text, list(first.item_ids)) == (1, "one", ids(items[:2]))
    assert (second.number, second.text, list(second.item_ids)) == (2, "two", ids(items[2:]))
    assert list(second.items) == to_replay(items[2:])


def test_what_precedes_the_first_user_message_is_turn_0():
    items = [message("system", "Be brief."), user("Hello"), assistant("Hi")]
    assert [(turn.number, turn.text) for turn in split_turns(items)] == [(0, ""), (1, "Hello")]
    assert [turn.number for turn in split_turns(items[:1])] == [0]


def test_nothing_has_no_turns():
    assert split_turns([]) == []


def test_user_messages_in_a_row_begin_turns_of_their_own():
    assert [turn.text for turn in split_turns([user("a"), user("b"), assistant()])] == ["a", "b"]


@pytest.mark.parametrize("call_type", PAIRS)
def test_a_user_message_between_a_call_and_its_output_begins_no_turn(call_type):
    items = [
        user("one"),
        call("a", call_type),
        user("meanwhile"),
        assistant(),
        output("a", call_type),
        assistant(),
        user("two"),
        assistant(),
    ]
    assert [(turn.number, turn.text) for turn in split_turns(items)] == [(1, "one\nmeanwhile"), (2, "two")]
    assert turn_spans(items) == {1: (0, 6), 2: (6, 8)}


def test_a_call_before_the_first_user_message_keeps_its_output_in_turn_0():
    items = [call("a"), user(), output("a"), user()]
    assert turn_spans(items) == {0: (0, 3), 1: (3, 4)}


def test_calls_without_an_output_and_outputs_without_a_call_hold_nothing_together():
    assert turn_spans([user(), call("a"), user(), output("b"), user()]) == {1: (0, 2), 2: (2, 4), 3: (4, 5)}


def test_reasoning_that_led_to_nothing_is_left_out_with_its_id():
    items = [user("one"), reasoning(), user("two"), reasoning("secret"), assistant()]
    first, second = split_turns(items)
    assert list(first.item_ids) == ids(items[:1])
    assert list(second.item_ids) == ids(items[2:])
    assert [len(turn.items) for turn in (first, second)] == [1, 3]


def test_text_of_a_message_of_several_parts():
    """A picture has none."""
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "input_text", "text": "And this?"},
    ]
    (turn,) = split_turns([{**user(), "content": parts}])
    assert turn.text == "What is this?\nAnd this?"


def test_a_message_without_a_type_is_a_message():
    assert [is_user_message({"role": role, "content": ""}) for role in ("user", "assistant")] == [True, False]
    assert not is_user_message({"type": "hologram", "role": "user"})


@settings(max_examples=60)
@given(histories() | interleaved)
def test_turns_joined_are_the_history_and_tear_nothing(items):
    turns = split_turns(items)
    replayed = to_replay(items)
    assert [item for turn in turns for item in turn.items] == replayed
    assert all(len(turn.items) == len(turn.item_ids) > 0 for turn in turns)
    left = iter(items)  # an answer may have the id of a call
    kept = [
        next(item for item in left if item["id"] == item_id) for turn in turns for item_id in turn.item_ids
    ]
    assert to_replay(kept) == replayed
    numbers = [turn.number for turn in turns]
    assert numbers == list(range(numbers[0], numbers[0] + len(turns))) if turns else numbers == []
    assert all(is_user_message(turn.items[0]) for turn in turns if turn.number)


@given(interleaved)
def test_a_turn_ends_where_a_user_message_follows_and_nothing_would_be_torn(items):
    """The boundaries are all of those, and only those, by a check that knows nothing of turns."""
    starts = [span[0] for number, span in turn_spans(items).items() if number]
    expected = [place for place, item in enumerate(items) if is_user_message(item) and not torn(items, place)]
    assert starts == expected


@given(interleaved)
def test_safe_cuts_tear_nothing_and_are_at_every_turn(items):
    cuts = safe_cuts(items)
    assert cuts == sorted(set(cuts))
    assert not any(torn(items, cut) for cut in cuts)
    assert {0, len(items), *(start for start, _ in turn_spans(items).values())} <= set(cuts)
    apart = [place for place in range(1, len(items)) if items[place - 1]["type"] != "reasoning"]
    assert [place for place in apart if place not in cuts] == [place for place in apart if torn(items, place)]


def test_reasoning_is_not_cut_from_what_it_has_led_to():
    items = [user(), reasoning(), call("a"), output("a"), assistant()]
    assert safe_cuts(items) == [0, 1, 4, 5]
    assert safe_cuts([user(), reasoning(), user()]) == [0, 1, 2, 3]
