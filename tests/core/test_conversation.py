"""What the process knows of a conversation, and for how long."""

from __future__ import annotations

import gc
import weakref

import pytest

from openai_sessions._conversation.state import (
    Conversation,
    InDoubtWrite,
    Receipt,
    SentItems,
    TailCache,
    UnconfirmedPop,
    keep_while_unsettled,
    shared_conversation,
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


SENT = SentItems(({"role": "user", "content": "Hi"},), (), sends=1)

UNSETTLED = {
    "unwanted": lambda conversation: conversation.unwanted.add("m7"),
    "unsettled": lambda conversation: conversation.unsettled.append(Receipt("conv_1")),
    "doubts": lambda conversation: conversation.in_doubt.append(
        InDoubtWrite(SENT, until=1.0, is_whole=False)
    ),
    "taken": lambda conversation: conversation.unconfirmed_pops.append(
        UnconfirmedPop({"id": "m1"}, is_gone=False)
    ),
}


def test_a_conversation_is_let_go_with_its_last_user():
    conversation = shared_conversation(BASE_URL, "conv_free")
    conversation.tail.learn(items("m1"), is_whole=False)
    keep_while_unsettled(conversation)
    gone = weakref.ref(conversation)
    del conversation
    gc.collect()
    assert gone() is None
    assert not shared_conversation(BASE_URL, "conv_free").tail.is_known


@pytest.mark.parametrize("leave", UNSETTLED.values(), ids=UNSETTLED)
def test_a_conversation_lives_while_something_is_unsettled(leave):
    conversation = shared_conversation(BASE_URL, "conv_unsettled")
    leave(conversation)
    keep_while_unsettled(conversation)
    reference = weakref.ref(conversation)
    del conversation
    gc.collect()
    locked = shared_conversation(BASE_URL, "conv_unsettled")
    assert locked is reference()
    locked.forget()
    keep_while_unsettled(locked)
    del locked
    gc.collect()
    assert reference() is None


def full() -> Conversation:
    conversation = Conversation()
    for leave in UNSETTLED.values():
        leave(conversation)
    conversation.tail.learn(items("m1"), is_whole=False)
    return conversation


def test_when_all_items_are_gone_only_doubts_and_the_tail_stay():
    conversation = full()
    conversation.settle_everything()
    assert (set(), [], []) == (conversation.unwanted, conversation.unsettled, conversation.unconfirmed_pops)
    assert (1, ("m1",)) == (len(conversation.in_doubt), conversation.tail.ids)


def test_when_the_conversation_is_gone_nothing_stays():
    conversation = full()
    conversation.forget()
    assert (set(), [], []) == (conversation.unwanted, conversation.unsettled, conversation.unconfirmed_pops)
    assert not conversation.in_doubt
    assert not conversation.tail.is_known


def in_doubt(*anchors: str, is_whole: bool) -> InDoubtWrite:
    return InDoubtWrite(SentItems(SENT.items, anchors, sends=1), until=1.0, is_whole=is_whole)


@pytest.mark.parametrize(("is_whole", "anchors"), [(True, ()), (False, ("m1",))])
def test_a_doubt_keeps_its_last_anchor_unless_nothing_was_there_before(is_whole, anchors):
    conversation = Conversation(in_doubt=[in_doubt("m1", "m2", is_whole=is_whole)])
    conversation.remove(["m2"])
    conversation.remove(["m1"])
    assert anchors == conversation.in_doubt[0].sent.anchors


def test_an_unwanted_copy_is_part_of_the_receipts_until_it_is_deleted():
    conversation = Conversation(unwanted={"m2", "m1"}, unsettled=[Receipt("conv_1")])
    assert (Receipt("conv_1"), Receipt("conv_1", stored=("m1", "m2"))) == conversation.receipts("conv_1")
    conversation.remove(["m1", "m2"])
    assert (Receipt("conv_1"),) == conversation.receipts("conv_1")
