"""What a session was given since its last read."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_sessions._agents import WrittenAsGiven
from openai_sessions._items.forms import replay_form, to_replay
from tests.strategies import stored_items, written_items

ANSWER = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
}
HELLO = {"role": "user", "content": "Hello"}


def test_the_newest_items_are_given_back_as_they_came_without_ids():
    unread = WrittenAsGiven()
    unread.add([HELLO, ANSWER])
    as_given = {key: value for key, value in ANSWER.items() if key != "id"}
    assert unread.restored_in([HELLO, *to_replay([HELLO, ANSWER])]) == [HELLO, HELLO, as_given]


def test_what_does_not_fit_the_history_is_not_put_into_it():
    """Another process has added an item since."""
    unread = WrittenAsGiven()
    unread.add([ANSWER])
    history = to_replay([ANSWER, {"role": "user", "content": "And then?"}])
    assert unread.restored_in(history) == history


def test_what_was_read_since_is_forgotten():
    unread = WrittenAsGiven()
    unread.add([ANSWER])
    unread.forget()
    assert unread.restored_in(to_replay([ANSWER])) == to_replay([ANSWER])


def test_more_was_given_than_is_left():
    unread = WrittenAsGiven()
    unread.add([HELLO, HELLO])
    assert unread.restored_in([HELLO]) == [HELLO]


def test_more_is_there_than_was_given():
    unread = WrittenAsGiven()
    unread.add([HELLO, ANSWER])
    assert unread.restored_in([]) == []


@pytest.mark.parametrize("extras", [{"status": "completed"}, {"phase": None}, {"provider_data": {"x": "y"}}])
def test_what_the_replay_form_leaves_out_is_given_back(extras):
    as_given = {**HELLO, "type": "message", **extras}
    unread = WrittenAsGiven()
    unread.add([as_given])
    assert unread.restored_in([HELLO]) == [as_given]


def test_an_equal_form_with_another_text_is_not_what_was_given():
    unread = WrittenAsGiven()
    unread.add([ANSWER])
    other = to_replay([{**ANSWER, "content": [{"type": "output_text", "text": "Ho"}]}])
    assert unread.restored_in(other) == other


def test_texts_that_have_changed_places_are_not_what_was_given():
    """All its texts are there, and the item is another."""
    call = {"type": "function_call", "call_id": "a", "name": "b", "arguments": "{}"}
    swapped = {**call, "call_id": "b", "name": "a"}
    unread = WrittenAsGiven()
    unread.add([call])
    assert unread.restored_in([swapped]) == [swapped]


def test_an_item_with_much_that_no_listing_tells_is_not_remembered():
    as_given = {**ANSWER, "provider_data": {"trace": "x" * 5000}}
    unread = WrittenAsGiven()
    unread.add([as_given, HELLO])
    assert unread.restored_in(to_replay([as_given, HELLO])) == to_replay([as_given, HELLO])


def test_no_more_than_250_items_are_remembered():
    unread = WrittenAsGiven()
    unread.add([ANSWER] * 200)
    unread.add([ANSWER] * 100)
    as_given = {key: value for key, value in ANSWER.items() if key != "id"}
    listed = to_replay([ANSWER] * 300)
    assert unread.restored_in(listed) == listed[:50] + [as_given] * 250


def test_what_was_said_is_not_remembered():
    unread = WrittenAsGiven()
    unread.add([{**ANSWER, "content": [{"type": "output_text", "text": f"Secret {n}"}]} for n in range(9)])
    assert "Secret" not in zlib.decompress(unread._outlines).decode()


@given(st.lists(st.one_of(written_items(), stored_items()), max_size=4))
def test_items_of_any_kind_are_given_back_as_they_came_but_for_ids(items):
    """Ids that the replay form has are kept."""
    history = [replay_form(item) for item in items]
    unread = WrittenAsGiven()
    unread.add(items)
    assert unread.restored_in(history) == [
        {key: value for key, value in item.items() if key != "id" or "id" in listed}
        for item, listed in zip(items, history, strict=True)
    ]
