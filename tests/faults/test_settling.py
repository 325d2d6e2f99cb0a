"""Writes that could not be undone: their receipts, and what settling them does, here or elsewhere."""

from __future__ import annotations

import json
import os
import warnings

import openai
import pytest

from openai_sessions import UnsettledWarning, UnsettledWriteError
from openai_sessions.session import Settlement
from tests import programs

from .world import ALWAYS, Spot, texts, users

ITEMS = users(45)
BEFORE = users(2, name="before")
ANSWER = {"role": "assistant", "content": "an answer"}

NO_DELETION = Spot("quota", "delete_item", times=ALWAYS)
NO_LOOK = Spot("quota", "list_items", times=ALWAYS)


@pytest.fixture
async def session(world):
    return await world.session_with(*BEFORE)


@pytest.fixture
async def failed(world, session):
    """A write of which 20 items stand, 20 are stored without anybody knowing, and 5 are not stored."""
    world.inject(Spot("cut_after_commit", "create_items", after=1), NO_LOOK)
    with pytest.raises(UnsettledWriteError) as caught:
        await session.add_items(ITEMS)
    await world.calm()
    world.emulator.forget_requests()
    return caught.value


async def test_the_error_says_what_stands_what_is_unknown_and_what_is_not_stored(world, session, failed):
    assert list(failed.stored_ids) == world.stored_ids(session.session_id)[2:22]
    assert texts(failed.unknown) == texts(ITEMS)[20:40]
    assert texts(failed.not_stored) == texts(ITEMS)[40:]
    assert type(failed.__cause__).__name__ == "RateLimitError"
    assert session.unsettled == ({**failed.receipt, "unknown": []},)


@pytest.mark.parametrize("operation", ["get", "add", "pop", "aclose"])
async def test_the_next_operation_of_any_session_object_deletes_what_was_acknowledged(
    world, session, failed, operation
):
    """The request whose outcome is unknown stays: other writers may have stored equal items since."""
    other = world.session(session.session_id)
    done = {
        "get": other.get_items,
        "add": lambda: other.add_items([ANSWER]),
        "pop": other.pop_item,
        "aclose": session.aclose,
    }
    await done[operation]()
    left = [*texts(BEFORE), *texts(ITEMS)[20:40]]
    expected = {"add": [*left, "an answer"], "pop": left[:-1]}.get(operation, left)
    assert world.stored(session.session_id) == expected
    assert session.unsettled == ()
    settlement = await session.settle(failed.receipt)
    unknown = {"add": 0, "pop": 0}.get(operation, 20)
    assert len(settlement.deleted) == unknown


CALL = {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}


async def test_the_next_operation_deletes_what_was_acknowledged_although_others_follow(world, session):
    """The user has tried again elsewhere."""
    world.inject(Spot("quota", "create_items", after=1), NO_DELETION)
    with pytest.raises(UnsettledWriteError):
        await session.add_items(users(21))
    await world.calm()
    await world.foreign_add(session.session_id, *users(20))
    assert await session.get_items() == [*BEFORE, *users(20)]


async def test_a_call_that_others_have_answered_is_kept(world, session, caplog):
    world.inject(Spot("quota", "create_items", after=1), NO_DELETION)
    with pytest.raises(UnsettledWriteError):
        await session.add_items([CALL, *users(20)])
    await world.calm()
    world.emulator.forget_requests()
    await world.foreign_add(session.session_id, OUTPUT)
    assert CALL in await session.get_items()
    assert world.count()["delete_item"] == 0
    assert "item(s) of a failed write are kept" in caplog.text


async def test_settling_says_what_it_deleted(world, session, failed):
    stored = world.stored_ids(session.session_id)[2:]
    assert await session.settle(failed.receipt) == Settlement(deleted=tuple(stored))
    assert session.unsettled == ()
    assert world.stored(session.session_id) == texts(BEFORE)
    assert await session.settle(failed.receipt) == Settlement()


async def test_what_only_its_content_shows_stays_once_others_follow_and_is_named(
    world, session, failed, caplog
):
    stored = world.stored_ids(session.session_id)[2:]
    await world.foreign_add(session.session_id, ANSWER)
    settlement = await session.settle(json.loads(json.dumps(failed.receipt)))
    assert settlement == Settlement(deleted=tuple(stored[:20]), kept=tuple(stored[20:]))
    assert world.stored(session.session_id) == [*texts(BEFORE), *texts(ITEMS)[20:40], "an answer"]
    assert session.unsettled == ()
    assert "20 item(s) of a failed write are kept" in caplog.text


@pytest.mark.exhaustive
@pytest.mark.parametrize("answered", [False, True])
async def test_a_receipt_is_settled_by_another_process(world, session, failed, answered):
    ours = world.stored_ids(session.session_id)[2:]
    if answered:
        await world.foreign_add(session.session_id, ANSWER)
    with world.emulator.serve() as base_url:
        settlement = settled_elsewhere(base_url, failed.receipt)
    kept = ours[20:] if answered else []
    assert settlement == {"deleted": [each for each in ours if each not in kept], "kept": kept}
    expected = [*texts(ITEMS)[20:40], "an answer"] if answered else []
    assert world.stored(session.session_id) == [*texts(BEFORE), *expected]


def settled_elsewhere(base_url, receipt):
    settling = ("-m", "tests.faults.settling", base_url)
    finished = programs.run(*settling, env=os.environ, stdin=json.dumps(receipt))
    assert finished.returncode == 0
    return json.loads(finished.stdout)


async def test_a_receipt_whose_anchors_are_gone_is_refused_and_nothing_deleted(world, session, failed):
    stored = world.stored_ids(session.session_id)
    await world.foreign_delete(session.session_id, *stored[:22])
    world.emulator.forget_requests()
    with pytest.raises(UnsettledWriteError):
        await session.settle(failed.receipt)
    assert world.count()["delete_item"] == 0
    assert world.stored(session.session_id) == texts(ITEMS)[20:40]


async def test_a_settling_that_cannot_list_leaves_the_receipt_good(world, session, failed):
    world.inject(NO_LOOK)
    with pytest.raises(openai.RateLimitError):
        await session.settle(failed.receipt)
    await world.calm()
    assert len((await session.settle(failed.receipt)).deleted) > 0


async def test_a_settling_that_cannot_delete_gives_a_receipt_of_what_is_left(world, session, failed):
    world.inject(NO_DELETION)
    with pytest.raises(UnsettledWriteError) as caught:
        await session.settle(failed.receipt)
    assert session.unsettled == ({**caught.value.receipt, "found": []},)
    await world.calm()
    assert len((await session.settle(caught.value.receipt)).deleted) > 0
    assert world.stored(session.session_id) == texts(BEFORE)
    assert session.unsettled == ()


async def test_a_settling_that_can_neither_tell_nor_delete_keeps_both_in_its_receipt(world, session, failed):
    await world.foreign_add(session.session_id, *ITEMS[20:40])
    world.inject(NO_DELETION)
    with pytest.raises(UnsettledWriteError) as caught:
        await session.settle(failed.receipt)
    assert caught.value.receipt == failed.receipt
    await world.calm()
    with pytest.raises(UnsettledWriteError) as caught:
        await session.settle(failed.receipt)
    assert caught.value.receipt == {**failed.receipt, "stored": []}
    assert world.stored(session.session_id) == [*texts(BEFORE), *texts(ITEMS)[20:40] * 2]


async def test_closing_warns_with_the_receipts_when_it_cannot_settle(world, session, failed):
    world.inject(NO_LOOK)
    with pytest.warns(UnsettledWarning) as caught:
        await session.aclose()
    (receipt,) = [receipt for warning in caught for receipt in warning.message.receipts]
    assert receipt == {**failed.receipt, "unknown": []}
    await world.calm()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await session.aclose()
    assert world.stored(session.session_id) == [*texts(BEFORE), *texts(ITEMS)[20:40]]


@pytest.mark.parametrize("refused", [{}, {"version": 99}, {"version": 1, "conversation_id": "conv_1"}])
async def test_what_is_no_receipt_is_refused_without_a_request(world, session, refused):
    with pytest.raises(ValueError, match="receipt"):
        await session.settle(refused)
    assert world.operations() == []


async def test_a_receipt_of_another_conversation_is_refused_without_a_request(world, failed):
    other = await world.session_with()
    with pytest.raises(ValueError, match="the receipt belongs to conv_"):
        await other.settle(failed.receipt)
    assert world.operations() == []
