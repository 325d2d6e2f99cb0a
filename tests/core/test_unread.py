"""What a session was given since its last read."""

from __future__ import annotations

from openai_sessions._items import to_replay
from openai_sessions._unread import UnreadItems

ANSWER = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
}
HELLO = {"role": "user", "content": "Hello"}


def test_the_newest_items_are_given_back_as_they_came_without_ids():
    unread = UnreadItems()
    unread.add([HELLO, ANSWER])
    given = {key: value for key, value in ANSWER.items() if key != "id"}
    assert unread.restored_in([HELLO, *to_replay([HELLO, ANSWER])]) == [HELLO, HELLO, given]


def test_what_does_not_fit_the_history_is_not_put_into_it():
    """Another process has added an item since."""
    unread = UnreadItems()
    unread.add([ANSWER])
    history = to_replay([ANSWER, {"role": "user", "content": "And then?"}])
    assert unread.restored_in(history) == history


def test_what_was_read_since_is_forgotten():
    unread = UnreadItems()
    unread.add([ANSWER])
    unread.forget()
    assert unread.restored_in(to_replay([ANSWER])) == to_replay([ANSWER])


def test_more_was_given_than_is_left():
    unread = UnreadItems()
    unread.add([HELLO, HELLO])
    assert unread.restored_in([HELLO]) == [HELLO]


def test_no_more_than_a_thousand_items_are_remembered():
    unread = UnreadItems()
    unread.add([HELLO] * 1500)
    assert len(unread._given) == 1000
