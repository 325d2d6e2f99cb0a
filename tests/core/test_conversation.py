"""What the process knows of a conversation, and for how long."""

from __future__ import annotations

import gc
import weakref

import pytest

from openai_sessions._conversation.state import (
    Conversation,
    Receipt,
    SentItems,
    TailCache,
    UnconfirmedPop,
    keep_while_unsettled,
    shared_conversation,
)
from openai_sessions._conversation.state import (
    _unsettled as unsettled,
)

BASE_URL = "https://conversation.test/v1/"


def items(*ids: object) -> list[dict]:
    return [{"id": item_id} for item_id in ids]


def numbered(start: int, stop: int) -> list[str]:
    return [f"m{number}" for number in range(start, stop)]


def tail_of(*ids: str, is_whole: bool = False) -> TailCache:
    tail = TailCache()
    tail.learn(items(*ids), is_whole=is_whole)
    return tail


def test_a_new_tail_is_not_known():
    tail = TailCache()
    assert ((), False) == (tail.ids, tail.is_known)


def test_an_empty_conversation_is_known():
    tail = tail_of(is_whole=True)
    assert ((), True) == (tail.ids, tail.is_known)


def test_a_tail_of_which_all_was_deleted_is_known_only_if_it_was_the_whole():
    for is_whole in (False, True):
        tail = tail_of("m1", is_whole=is_whole)
        tail.remove(["m1"])
        assert is_whole == tail.is_known


@pytest.mark.parametrize(
    ("shown", "is_whole"), [(["m2"], True), (["m1", "m2"], True), (["m3"], False), (["m2", "m3"], False)]
)
def test_a_whole_tail_stays_whole_while_nothing_new_is_shown(shown, is_whole):
    tail = tail_of("m1", "m2", is_whole=True)
    tail.learn(items(*shown), is_whole=False)
    assert is_whole == tail.is_whole


@pytest.mark.parametrize(("count", "is_whole"), [(128, True), (129, False)])
def test_a_listing_of_more_than_is_remembered_is_not_the_whole(count, is_whole):
    assert is_whole == tail_of(*numbered(0, count), is_whole=True).is_whole


@pytest.mark.parametrize(("count", "is_whole"), [(32, True), (33, False)])
def test_a_tail_that_has_forgotten_missing_ids_is_not_whole(count, is_whole):
    tail = tail_of(*numbered(0, count), is_whole=True)
    tail.learn([], is_whole=True)
    assert is_whole == tail.is_whole


@pytest.mark.parametrize(("count", "is_whole"), [(160, True), (161, False)])
def test_a_tail_that_has_forgotten_its_beginning_is_not_whole(count, is_whole):
    tail = tail_of(is_whole=True)
    tail.add(numbered(0, count))
    assert is_whole == tail.is_whole


def test_what_was_read_is_known_in_order():
    assert ("m1", "m2") == tail_of("m1", "m2").ids


def test_items_without_ids_are_passed_over():
    tail = TailCache()
    tail.learn([{}, *items("m1", None, 7)], is_whole=False)
    assert ("m1",) == tail.ids


def test_what_was_appended_comes_last():
    tail = tail_of("m1")
    tail.add(["m2", "m3"])
    assert ("m1", "m2", "m3") == tail.ids


def test_what_a_listing_lacks_is_remembered_before_it():
    """The listing may have been an old one."""
    tail = tail_of("m1", "m2", "m3")
    tail.learn(items("m1", "m2"), is_whole=False)
    assert ("m3", "m1", "m2") == tail.ids


def test_what_was_deleted_is_forgotten():
    tail = tail_of("m1", "m2", "m3")
    tail.remove(["m3", "m1", "other"])
    assert (("m2",), True) == (tail.ids, tail.is_known)


def test_the_newest_128_of_a_listing_are_remembered():
    assert numbered(72, 200) == list(tail_of(*numbered(0, 200)).ids)


def test_the_newest_32_that_a_listing_lacks_are_remembered():
    tail = tail_of(*numbered(0, 100))
    tail.learn(items("n1"), is_whole=False)
    assert [*numbered(68, 100), "n1"] == list(tail.ids)


def test_the_newest_160_stay_when_items_are_appended():
    tail = tail_of(*numbered(0, 128))
    tail.add(numbered(128, 200))
    assert numbered(40, 200) == list(tail.ids)


def test_an_expired_tail_is_to_be_read_again_and_not_taken_for_new():
    tail = tail_of("m1", is_whole=True)
    tail.expire()
    assert (("m1",), False, False) == (tail.ids, tail.is_known, tail.is_whole)
    tail.learn(items("m2"), is_whole=False)
    assert (("m1", "m2"), True) == (tail.ids, tail.is_known)


def test_a_forgotten_tail_is_gone():
    tail = tail_of("m1")
    tail.forget()
    assert ((), False) == (tail.ids, tail.is_known)


def test_a_conversation_is_one_object():
    one = shared_conversation(BASE_URL, "conv_same")
    assert one is shared_conversation(BASE_URL, "conv_same")


@pytest.mark.parametrize("key", [(BASE_URL, "conv_b"), ("https://other.test/v1/", "conv_a")])
def test_another_id_or_server_is_another_conversation(key):
    one = shared_conversation(BASE_URL, "conv_a")
    assert one is not shared_conversation(*key)


UNSETTLED = {
    "unsettled": lambda conversation: conversation.leave_unsettled(Receipt("conv_1", stored=("m7",))),
    "taken": lambda conversation: conversation.unconfirmed_pops.append(
        UnconfirmedPop({"id": "m1"}, is_gone=False)
    ),
}


def test_a_conversation_is_let_go_with_its_last_user():
    conversation = shared_conversation(BASE_URL, "conv_free")
    conversation.tail.learn(items("m1"), is_whole=False)
    keep_while_unsettled(conversation, "conv_1")
    gone = weakref.ref(conversation)
    del conversation
    gc.collect()
    assert gone() is None
    assert not shared_conversation(BASE_URL, "conv_free").tail.is_known


@pytest.mark.parametrize("leave", UNSETTLED.values(), ids=UNSETTLED)
def test_a_conversation_lives_while_something_is_unsettled(leave):
    conversation = shared_conversation(BASE_URL, "conv_unsettled")
    leave(conversation)
    keep_while_unsettled(conversation, "conv_1")
    reference = weakref.ref(conversation)
    del conversation
    gc.collect()
    locked = shared_conversation(BASE_URL, "conv_unsettled")
    assert locked is reference()
    locked.forget()
    keep_while_unsettled(locked, "conv_1")
    del locked
    gc.collect()
    assert reference() is None


def full() -> Conversation:
    conversation = Conversation()
    for leave in UNSETTLED.values():
        leave(conversation)
    conversation.tail.learn(items("m1"), is_whole=False)
    return conversation


def test_when_all_items_are_gone_only_the_tail_stays():
    conversation = full()
    conversation.settle_everything()
    assert ([], []) == (conversation.unsettled, conversation.unconfirmed_pops)
    assert ("m1",) == conversation.tail.ids


def test_when_the_conversation_is_gone_nothing_stays():
    conversation = full()
    conversation.forget()
    assert ([], []) == (conversation.unsettled, conversation.unconfirmed_pops)
    assert not conversation.tail.is_known


REQUEST = SentItems(({"role": "user", "content": "Hi"},), (), sends=1)


def test_only_acknowledged_ids_of_a_failed_write_are_kept():
    conversation = Conversation()
    conversation.leave_unsettled(Receipt("conv_1", ("a",), found=("f",), unknown=(REQUEST,)))
    assert [] == conversation.unsettled
    conversation.leave_unsettled(Receipt("conv_1", ("a",), ("s", "t"), ("f",), (REQUEST,)))
    assert [Receipt("conv_1", ("a",), ("s", "t"))] == conversation.unsettled
    conversation.settled(["t", "f"])
    assert [Receipt("conv_1", ("a",), ("s",))] == conversation.unsettled
    conversation.settled(["s"])
    assert [] == conversation.unsettled


def test_the_oldest_of_too_many_unsettled_conversations_is_let_go(caplog):
    unsettled.clear()  # of other tests
    references = []
    for number in range(1_001):
        conversation = shared_conversation(BASE_URL, f"conv_{number}")
        conversation.leave_unsettled(Receipt(f"conv_{number}", stored=("m1",)))
        keep_while_unsettled(conversation, f"conv_{number}")
        references.append(weakref.ref(conversation))
    del conversation
    gc.collect()
    assert [0] == [number for number, reference in enumerate(references) if reference() is None]
    assert ["conv_0"] == [record.message.partition(":")[0] for record in caplog.records]
    unsettled.clear()


@pytest.mark.parametrize("how", ["add", "learn"])
def test_an_item_that_is_stored_again_is_no_longer_taken_for_gone(how):
    tail = tail_of("m1", "m2")
    tail.remove(["m1", "m2"])
    tail.add(["m2"]) if how == "add" else tail.learn(items("m2"), is_whole=False)
    assert {"m1"} == tail.gone
    assert ("m2",) == tail.ids
