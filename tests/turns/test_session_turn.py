"""A turn of a session: what it reads, what it keeps, and the one write at its end."""

# ruff: noqa: PT012 -- the statement that raises is the end of a turn

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle

import pytest
from agents import Session
from agents.run_internal.session_persistence import rewind_session_items

from openai_sessions import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    HistoryLimits,
    InvalidItemError,
    OpenAIConversationsSession,
    UnsettledWriteError,
)
from openai_sessions._conversation.state import forget_conversations
from openai_sessions._items.forms import same_item
from openai_sessions.errors import ConversationChangedError, ConversationHeldError, TurnStateError
from tests.faults.stage import Gate, Stage
from tests.faults.world import ALWAYS, FAILURES, Spot, World, texts, users
from tests.fixtures.samples import SAMPLE_NAMES, sample
from tests.selection import one_in

CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
THOUGHT = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAAA"}
QUESTION, ANSWER = {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}
WHOLE = [QUESTION, THOUGHT, CALL, OUTPUT, ANSWER]

OLD = users(3, name="old")


@pytest.fixture
def world(emulator):
    return World(emulator)


# One write at the end


async def test_what_is_added_is_one_write_when_the_block_ends(world):
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        assert await turn.get_items() == OLD
        for item in WHOLE:
            await turn.add_items([item])
        assert world.wire() == "L"
        assert turn.pending == WHOLE
    assert world.wire() == "LP"
    assert turn.pending == []
    assert await session.get_items() == [*OLD, *WHOLE]


async def test_the_conversation_is_created_when_the_first_turn_ends(world):
    session = world.session()
    async with session.turn() as turn:
        assert await turn.get_items() == []
        assert await turn.pop_item() is None
        await turn.add_items([QUESTION])
        assert turn.conversation_id is None
        with pytest.raises(ConversationNotCreatedError):
            _ = turn.session_id
        assert isinstance(turn, Session)
        await turn.add_items([ANSWER])
    assert world.wire() == "NP"
    assert turn.session_id == session.session_id
    assert await session.get_items() == [QUESTION, ANSWER]


@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_turn_without_changes_sends_nothing(world, exclusive):
    session = world.session()
    async with session.turn() as turn:
        await turn.add_items([])
        await turn.add_items([QUESTION])
        await turn.pop_item()
    assert world.wire() == ""
    assert session.conversation_id is None
    session = await world.session_with(*OLD)
    async with session.turn(exclusive=exclusive) as turn:
        await turn.get_items()
    assert world.wire() == "L"


@pytest.mark.parametrize("size", one_in(2, [10, 990]))
async def test_the_read_of_an_incremental_history_is_one_request_at_any_length(world, size):
    session = await world.session_with(*users(size), history="incremental")
    await session.get_items()
    for number in range(1, 4):
        world.inject()
        async with session.turn() as turn:
            assert len(await turn.get_items()) == size + 2 * (number - 1)
            await turn.add_items([QUESTION])
            await turn.add_items([ANSWER])
        assert world.wire() == "LP"


async def test_a_turn_over_twenty_items_is_stored_whole_or_not(world):
    session = await world.session_with(*OLD)
    world.inject(Spot("quota", "create_items", after=1, times=ALWAYS))
    with pytest.raises(FAILURES):
        async with session.turn() as turn:
            await turn.add_items(users(30))
            await turn.add_items([ANSWER])
    assert world.stored(session.session_id) == texts(OLD)
    assert turn.pending == [*users(30), ANSWER]
    await world.calm()
    async with session.turn() as again:
        await again.add_items(turn.pending)
    assert texts(await session.get_items()) == texts([*OLD, *users(30), ANSWER])


@pytest.mark.parametrize("kind", ["cut_after_commit", "cut_before", "late_commit", "truncated_body"])
async def test_a_lost_reply_does_not_store_a_turn_twice(world, kind):
    session = await world.session_with(*OLD, openai_client=world.patient)
    world.inject(Spot(kind, "create_items"))
    async with session.turn() as turn:
        await turn.add_items([QUESTION])
        await turn.add_items([ANSWER])
    assert world.faults() == [kind]
    assert world.stored(session.session_id) == texts([*OLD, QUESTION, ANSWER])


async def test_a_write_that_is_not_undone_leaves_a_receipt_and_the_items(world):
    session = await world.session_with(*OLD)
    world.inject(
        Spot("quota", "create_items", after=1, times=ALWAYS), Spot("quota", "delete_item", times=ALWAYS)
    )
    with pytest.raises(UnsettledWriteError) as caught:
        async with session.turn() as turn:
            await turn.add_items(users(30))
    await world.calm()
    await session.settle(caught.value.receipt)
    assert world.stored(session.session_id) == texts(OLD)
    assert turn.pending == users(30)


async def test_what_an_earlier_write_has_left_is_deleted_first(world):
    session = await world.session_with(*OLD)
    world.inject(
        Spot("quota", "create_items", after=1, times=ALWAYS), Spot("quota", "delete_item", times=ALWAYS)
    )
    with pytest.raises(UnsettledWriteError):
        await session.add_items(users(30))
    await world.calm()
    async with session.turn() as turn:
        await turn.add_items([QUESTION])
    assert world.stored(session.session_id) == texts([*OLD, QUESTION])


async def test_a_turn_that_has_not_read_takes_no_older_item_for_its_own(world):
    """The tail is read before the write, so that a search after a lost reply begins behind it."""
    session = await world.session_with(QUESTION)
    forget_conversations()
    world.inject(Spot("cut_before", "create_items"))
    async with session.turn() as turn:
        await turn.add_items([QUESTION])
    assert await session.get_items() == [QUESTION, QUESTION]


# Reading


async def test_a_second_read_sends_no_request(world):
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.get_items()
        await turn.add_items([QUESTION])
        assert await turn.get_items() == [*OLD, QUESTION]
        assert await turn.get_items(2) == [OLD[2], QUESTION]
        assert await turn.get_items(1) == [QUESTION]
        assert await turn.get_items(0) == []
        assert await turn.get_items(turns=2) == [OLD[2], QUESTION]
        assert world.wire() == "L"


async def test_a_read_of_the_newest_items_reads_no_more_than_it_needs(world):
    session = await world.session_with(*users(5))
    async with session.turn() as turn:
        await turn.add_items([QUESTION])
        assert await turn.get_items(1) == [QUESTION]
        assert world.wire() == ""
        assert await turn.get_items(3) == [*users(5)[3:], QUESTION]
        assert await turn.get_items(2) == [users(5)[4], QUESTION]
        assert world.wire() == "L"
        assert await turn.get_items(limit=5) == [*users(5)[1:], QUESTION]
        assert world.wire() == "LL"
        assert await turn.get_items() == [*users(5), QUESTION]
        assert world.wire() == "LLL"


async def test_the_limits_of_the_session_hold(world):
    session = await world.session_with(
        *(item for _ in range(4) for item in WHOLE), history_limits=HistoryLimits(max_turns=2)
    )
    async with session.turn() as turn:
        assert await turn.get_items() == [*WHOLE, *WHOLE]
        assert await turn.get_items() == [*WHOLE, *WHOLE]
        assert world.wire() == "L"
        await turn.add_items([QUESTION])
        assert await turn.get_items() == [*WHOLE, QUESTION]
        assert await turn.get_items(turns=4) == [*WHOLE * 3, QUESTION]
        assert await turn.get_items(turns=0) == []
    session.session_settings = {"limit": 2}
    async with session.turn() as turn:
        assert turn.session_settings.limit == 2
        assert await turn.get_items(None) == [QUESTION]
        turn.session_settings = None
    assert session.session_settings.limit is None


async def test_a_turn_that_exceeds_the_limit_of_tokens_is_not_read(world):
    session = await world.session_with(*OLD)
    async with session.turn(on_conflict="raise") as turn:
        assert await turn.get_items(max_tokens=1, count_tokens=lambda _: 2) == []
        assert await turn.get_items(max_tokens=5, count_tokens=lambda _: 2) == OLD[1:]
        await turn.add_items([QUESTION])
    assert await session.get_items() == [*OLD, QUESTION]


async def test_what_is_read_in_the_turn_is_what_is_read_afterwards(world):
    items = [sample(name) for name in SAMPLE_NAMES if not name.endswith("listed_only_parts")]
    session = await world.session_with(QUESTION)
    async with session.turn() as turn:
        for item in items:
            await turn.add_items([item, ANSWER])
        inside = await turn.get_items()
    after = await session.get_items()
    assert len(inside) == len(after) > len(items)
    assert all(map(same_item, inside, after))
    assert {"message"} >= {
        one.get("type", "message") for one, other in zip(inside, after, strict=True) if one != other
    }


async def test_what_is_read_may_be_changed(world):
    parts = {
        "role": "user",
        "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
    }
    session = await world.session_with(parts, history="incremental")
    async with session.turn() as turn:
        await turn.add_items([parts])
        for _ in range(2):
            items = await turn.get_items()
            assert ["a", "a"] == [item["content"][0]["text"] for item in items]
            for item in (*items, *turn.pending):
                item["content"][0]["text"] = "changed"
        (await turn.pop_item())["content"].clear()
    assert "changed" not in str(await session.get_items())


async def test_a_resumed_conversation_that_is_gone_is_not_replaced(world):
    session = world.session("conv_" + "0" * 48)
    async with session.turn() as turn:
        with pytest.raises(ConversationNotFoundError):
            await turn.get_items()
    with pytest.raises(ConversationNotFoundError):
        async with session.turn() as turn:
            await turn.add_items([QUESTION])
    assert world.conversations() == []


async def test_an_item_that_cannot_be_stored_is_refused_at_once(world):
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.add_items([QUESTION])
        with pytest.raises(InvalidItemError, match=r"items\[1\]"):
            await turn.add_items([ANSWER, {"role": "user"}])
        with pytest.raises(TypeError):
            await turn.add_items("text")
    assert await session.get_items() == [*OLD, QUESTION]


# Removing


async def test_a_pop_touches_what_is_pending_first(world):
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.add_items([QUESTION, ANSWER])
        assert await turn.pop_item() == ANSWER
        assert await turn.pop_item() == QUESTION
        assert world.wire() == ""
        assert await turn.pop_item() == OLD[2]
        assert await turn.pop_item() == OLD[1]
        assert await turn.get_items() == OLD[:1]
        await turn.add_items([QUESTION])
        assert await turn.get_items() == [*OLD[:1], QUESTION]
        assert await turn.get_items(2) == [*OLD[:1], QUESTION]
        assert await turn.get_items(turns=1) == [QUESTION]
        assert world.stored(session.session_id) == texts(OLD)
        world.inject()
    assert world.wire() == "PDD"
    assert await session.get_items() == [*OLD[:1], QUESTION]


async def test_a_pop_that_reads_takes_what_another_task_adds_meanwhile(world):
    stage, gate = Stage(world.emulator), Gate()
    session = world.session((await world.session_with(*OLD)).session_id, openai_client=stage.client)
    stage.at("list_items", 0, gate.before)
    async with session.turn() as turn:
        popping = asyncio.ensure_future(turn.pop_item())
        await gate.reached.wait()
        await turn.add_items([QUESTION])
        gate.opened.set()
        assert await popping == QUESTION
    assert await session.get_items() == OLD


async def test_a_pop_that_reads_removes_nothing_once_the_block_has_ended(world):
    stage, gate = Stage(world.emulator), Gate()
    session = world.session((await world.session_with(*OLD)).session_id, openai_client=stage.client)
    stage.at("list_items", 0, gate.before)
    async with session.turn() as turn:
        popping = asyncio.ensure_future(turn.pop_item())
        await gate.reached.wait()
    gate.opened.set()
    with pytest.raises(TurnStateError):
        await popping
    assert await session.get_items() == OLD


async def test_whole_turns_are_read_behind_those_that_were_popped(world):
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.pop_item()
        await turn.pop_item()
        assert await turn.get_items(turns=1) == OLD[:1]
    assert await session.get_items() == OLD[:1]


async def test_popped_items_are_deleted_although_nothing_is_added(world):
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        assert await asyncio.gather(*(turn.pop_item() for _ in range(4))) == [*OLD[::-1], None]
        world.inject()
    assert world.wire() == "DDD"
    assert await session.get_items() == []


async def test_items_of_others_are_not_deleted_with_those_that_were_popped(world):
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.pop_item()
        await world.foreign_add(session.session_id, ANSWER)
        await turn.add_items([QUESTION])
    assert world.stored(session.session_id) == texts([*OLD[:2], ANSWER, QUESTION])


async def test_a_cleared_history_is_replaced_under_its_id(world):
    session = await world.session_with(*OLD)
    before = session.session_id
    async with session.turn() as turn:
        await turn.add_items([ANSWER])
        await turn.clear_session()
        assert await turn.get_items() == await turn.get_items(turns=3) == await turn.get_items(2) == []
        assert await turn.pop_item() is None
        await turn.add_items([QUESTION])
        assert await turn.get_items() == [QUESTION]
        assert world.wire() == ""
    assert world.wire() == "LPDDD"
    assert session.session_id == before
    assert await session.get_items() == [QUESTION]


async def test_the_rewinds_of_the_sdk_touch_what_is_pending(world):
    """As it rewinds what it has added when it retries; ids are not compared."""
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.get_items()
        await turn.add_items(WHOLE)
        await rewind_session_items(turn, [{**CALL, "id": "fc_1"}, OUTPUT, ANSWER])
        assert turn.pending == WHOLE[:2]
        await rewind_session_items(turn, [OLD[0]])
        assert turn.pending == WHOLE[:2]
    assert world.wire() == "LP"
    assert await session.get_items() == [*OLD, *WHOLE[:2]]


async def test_a_clear_removes_what_is_older_than_what_was_read(world):
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.get_items(1)
        await turn.clear_session()
        await turn.add_items([QUESTION])
    assert await session.get_items() == [QUESTION]


async def test_what_others_have_added_since_the_read_survives_a_clear(world):
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.get_items()
        await turn.clear_session()
        await turn.add_items([QUESTION])
        await world.foreign_add(session.session_id, ANSWER)
    assert world.stored(session.session_id) == texts([ANSWER, QUESTION])
    async with session.turn() as turn:
        await turn.get_items()
        await turn.clear_session()
        await turn.add_items([QUESTION])
        await world.foreign_delete(session.session_id, world.stored_ids(session.session_id)[-1])
        await world.foreign_add(session.session_id, OLD[0])
    assert world.stored(session.session_id) == texts([OLD[0], QUESTION])


async def test_a_turn_that_only_clears_deletes_the_conversation(world):
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.clear_session()
        assert world.wire() == ""
    assert world.wire() == "X"
    assert session.conversation_id is None
    async with session.turn() as turn:
        await turn.clear_session()
    assert world.wire() == "X"


async def test_new_items_are_deleted_again_if_the_old_ones_cannot_be(world):
    session = await world.session_with(*OLD)
    world.inject(Spot("quota", "delete_item"))
    with pytest.raises(FAILURES):
        async with session.turn() as turn:
            await turn.pop_item()
            await turn.add_items([QUESTION])
    assert world.wire() == "LPDD"
    assert world.stored(session.session_id) == texts(OLD)
    assert session.unsettled == ()


@pytest.mark.parametrize(
    "fault",
    [Spot("quota", "delete_item", 1, ALWAYS), Spot("cut_after_commit", "delete_item", 0, ALWAYS)],
    ids=str,
)
async def test_once_an_old_item_may_be_deleted_the_rest_is_deleted_later(world, fault, caplog):
    """The turn is stored: its caller must not repeat it."""
    session = await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.pop_item()
        await turn.pop_item()
        await turn.add_items([QUESTION])
        world.inject(fault)
    assert "could not be deleted; the next operation deletes them" in caplog.text
    assert turn.pending == []
    assert texts([QUESTION]) == world.stored(session.session_id)[-1:]
    await world.calm()
    assert await session.get_items() == [OLD[0], QUESTION]
    assert session.unsettled == ()


# A block that raises


class BodyError(Exception):
    """What the block raises."""


@pytest.mark.parametrize("error", one_in(3, [BodyError, asyncio.CancelledError, KeyboardInterrupt]))
@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_turn_whose_block_raises_is_discarded(world, error, exclusive):
    session = await world.session_with(*OLD)
    with pytest.raises(error):
        async with session.turn(exclusive=exclusive) as turn:
            await turn.get_items()
            await turn.add_items(WHOLE)
            await turn.pop_item()
            raise error
    assert world.wire() == "L"
    assert turn.pending == WHOLE[:-1]
    assert await session.get_items() == OLD


COMPLETE = {
    "all": (WHOLE, WHOLE),
    "a call without output": (WHOLE[:3], WHOLE[:1]),
    "reasoning without what it led to": (WHOLE[:2], WHOLE[:1]),
    "one of two calls": (
        [QUESTION, THOUGHT, {**CALL, "call_id": "call_2"}, CALL, OUTPUT],
        [QUESTION, THOUGHT, CALL, OUTPUT],
    ),
    "an output without its call": ([QUESTION, OUTPUT], [QUESTION]),
    "nothing": ([CALL], []),
}


@pytest.mark.parametrize(("added", "kept"), COMPLETE.values(), ids=list(COMPLETE))
@pytest.mark.parametrize("error", one_in(2, [asyncio.CancelledError, BodyError]))
async def test_a_turn_can_keep_what_is_complete(world, added, kept, error):
    session = await world.session_with(*OLD)
    with pytest.raises(error):
        async with session.turn(on_error="keep") as turn:
            await turn.get_items()
            await turn.add_items(added)
            raise error
    assert world.wire() == ("LP" if kept else "L")
    assert await session.get_items() == [*OLD, *kept]
    assert turn.pending == [item for item in added if item not in kept]


async def test_an_output_of_a_stored_call_is_kept(world):
    """As in a run that was interrupted for an approval, and is resumed."""
    session = await world.session_with(QUESTION, CALL)
    with pytest.raises(BodyError):
        async with session.turn(on_error="keep") as turn:
            await turn.get_items()
            await turn.add_items([OUTPUT])
            raise BodyError
    assert await session.get_items() == [QUESTION, CALL, OUTPUT]


async def test_an_output_is_kept_if_its_call_may_be_older_than_what_was_read(world):
    session = await world.session_with(CALL, *OLD)
    with pytest.raises(BodyError):
        async with session.turn(on_error="keep") as turn:
            await turn.get_items(1)
            await turn.add_items([OUTPUT])
            raise BodyError
    assert await session.get_items() == [CALL, *OLD, OUTPUT]


async def test_the_error_of_the_block_is_raised_although_the_write_fails_too(world):
    session = await world.session_with(*OLD)
    world.inject(Spot("quota", "create_items"))
    with pytest.raises(BodyError) as caught:
        async with session.turn(on_error="keep") as turn:
            await turn.add_items([QUESTION])
            raise BodyError from ValueError("cause")
    assert type(caught.value.__context__).__name__ == "RateLimitError"
    assert all("could not be stored" in note for note in getattr(caught.value, "__notes__", []))
    assert turn.pending == [QUESTION]


async def test_a_turn_that_keeps_is_stored_however_often_it_is_cancelled(world):
    session = await world.session_with(*OLD)
    entered = asyncio.Event()

    async def work():
        async with session.turn(on_error="keep") as turn:
            await turn.add_items([QUESTION, ANSWER])
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await entered.wait()
    for _ in range(4):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await session.get_items() == [*OLD, QUESTION, ANSWER]


# Two at once


async def test_two_turns_at_once_are_stored_one_behind_the_other(world):
    session = await world.session_with(*OLD)
    both_read = asyncio.Barrier(2) if hasattr(asyncio, "Barrier") else None

    async def work(name):
        async with session.turn() as turn:
            await turn.get_items()
            for part in range(3):
                await turn.add_items(users(1, name=f"{name} {part}"))
                await asyncio.sleep(0)
            if both_read:
                await both_read.wait()

    await asyncio.gather(work("a"), work("b"))
    stored = world.stored(session.session_id)[3:]
    assert sorted(stored[:3]) == stored[:3]
    assert {text[0] for text in stored[:3]} != {text[0] for text in stored[3:]}


async def test_a_write_of_others_is_a_conflict_before_anything_is_written(world):
    session = await world.session_with(*OLD)
    newest = world.stored_ids(session.session_id)[-1]
    with pytest.raises(ConversationChangedError, match=newest) as caught:
        async with session.turn(on_conflict="raise") as turn:
            await turn.get_items()
            await turn.add_items([QUESTION])
            (theirs,) = await world.foreign_add(session.session_id, ANSWER)
            world.inject()
    assert world.wire() == "L"
    assert (newest, theirs) == (caught.value.read_id, caught.value.newest_id)
    assert session.session_id == caught.value.conversation_id == caught.value.current_conversation_id
    assert turn.pending == [QUESTION]
    assert world.stored(session.session_id) == texts([*OLD, ANSWER])


@pytest.mark.parametrize("remove", ["pop_item", "clear_session"])
async def test_a_conflict_is_found_before_anything_is_deleted(world, remove):
    session = await world.session_with(*OLD)
    with pytest.raises(ConversationChangedError):
        async with session.turn(on_conflict="raise") as turn:
            await turn.get_items()
            await getattr(turn, remove)()
            await world.foreign_add(session.session_id, ANSWER)
    assert world.stored(session.session_id) == texts([*OLD, ANSWER])


async def test_the_first_read_of_the_turn_decides_on_a_conflict(world):
    session = await world.session_with(*OLD)
    with pytest.raises(ConversationChangedError):
        async with session.turn(on_conflict="raise") as turn:
            await turn.get_items(1)
            await world.foreign_add(session.session_id, ANSWER)
            assert await turn.get_items() == [*OLD, ANSWER]
            await turn.add_items([QUESTION])
    assert world.stored(session.session_id) == texts([*OLD, ANSWER])


@pytest.mark.parametrize("remove", ["pop_item", "clear_session"])
async def test_nothing_is_deleted_in_another_conversation_than_the_one_read(world, remove):
    session, other = await world.session_with(*OLD), await world.session_with(*OLD)
    async with session.turn() as turn:
        await turn.get_items()
        await getattr(turn, remove)()
        await turn.add_items([QUESTION])
        session.session_id = other.session_id
    assert await other.get_items() == [*OLD, QUESTION]


async def test_without_a_write_of_others_one_read_more_tells(world):
    session = await world.session_with(*OLD)
    for _ in range(2):
        world.inject()
        async with session.turn(on_conflict="raise") as turn:
            await turn.get_items()
            await turn.add_items([QUESTION])
        assert world.wire() == "LLP"


async def test_a_turn_that_has_not_read_has_no_conflict(world):
    session = await world.session_with(*OLD)
    async with session.turn(on_conflict="raise") as turn:
        await turn.add_items([QUESTION])
        await world.foreign_add(session.session_id, ANSWER)
    assert world.stored(session.session_id) == texts([*OLD, ANSWER, QUESTION])


async def test_another_conversation_than_the_one_read_is_a_conflict(world):
    session = await world.session_with(*OLD)
    other = await world.session_with(*OLD)
    for change in (
        session.clear_session,
        lambda: setattr(session, "session_id", other.session_id),
    ):
        with pytest.raises(ConversationChangedError, match=r"session has (no conversation|conv_)"):
            async with session.turn(on_conflict="raise") as turn:
                await turn.get_items()
                await turn.add_items([QUESTION])
                changed = change()
                if changed is not None:
                    await changed
        assert "N" not in world.wire()
        if session.conversation_id is None:
            session.session_id = (await world.session_with(*OLD)).session_id


async def test_a_conversation_that_another_task_has_created_is_a_conflict_once_it_has_items(world):
    for others, stored in ([], [QUESTION]), ([ANSWER], [ANSWER]):
        session = world.session()
        with contextlib.suppress(ConversationChangedError):
            async with session.turn(on_conflict="raise") as turn:
                await turn.get_items()
                await turn.add_items([QUESTION])
                await session.ensure_conversation()
                await session.add_items(others)
        assert await session.get_items() == stored


async def test_a_first_turn_that_raises_on_conflicts_is_stored(world):
    session = world.session()
    async with session.turn(on_conflict="raise") as turn:
        await turn.get_items()
        await turn.add_items([QUESTION])
    assert world.wire() == "NLP"


# Exclusive


async def test_a_second_exclusive_turn_sees_the_first(world):
    session = await world.session_with()
    other = world.session(session.session_id)

    async def work(one, name):
        async with one.turn(exclusive=True) as turn:
            before = await turn.get_items()
            await turn.add_items(users(1, name=name))
            await asyncio.sleep(0)
            await turn.add_items([{"role": "assistant", "content": f"{len(before)}"}])

    await asyncio.gather(*(work(one, name) for name in "abc" for one in (session, other)))
    answers = [item["content"] for item in (await session.get_items())[1::2]]
    assert answers == [str(number) for number in range(0, 12, 2)]


async def test_an_exclusive_turn_creates_the_conversation_at_its_start(world):
    session = world.session()
    async with session.turn(exclusive=True) as turn:
        assert turn.session_id == session.session_id
        assert await turn.get_items() == []
        await turn.add_items([QUESTION])
    assert world.wire() == "NLP"


async def test_the_session_is_not_used_inside_an_exclusive_turn(world):
    session = await world.session_with(*OLD)
    async with session.turn(exclusive=True) as turn:
        for use in (session.get_items, session.pop_item, world.session(session.session_id).clear_session):
            with pytest.raises(ConversationHeldError, match="Use the turn itself"):
                await use()
        with pytest.raises(ConversationHeldError):
            async with session.turn(exclusive=True):
                pass
        await turn.add_items([QUESTION])
    assert await session.get_items() == [*OLD, QUESTION]


async def test_a_lock_is_held_once_for_the_whole_turn(world):
    log = []

    @contextlib.asynccontextmanager
    async def lock(_):
        log.append("lock")
        yield
        log.append("unlock")

    session = world.session((await world.session_with(*OLD)).session_id, lock=lock)
    async with session.turn(exclusive=True) as turn:
        await turn.get_items()
        await turn.add_items([QUESTION])
        await turn.add_items([ANSWER])
        assert log == ["lock"]
    assert log == ["lock", "unlock"]
    assert world.wire() == "LP"


# Misuse


async def test_a_turn_is_used_inside_one_block(world):
    session = await world.session_with(*OLD)
    turn = session.turn()
    for state in ("has not begun", "has ended"):
        for use in (turn.get_items, turn.pop_item, turn.clear_session, lambda: turn.add_items([QUESTION])):
            with pytest.raises(TurnStateError, match=state):
                await use()
        if state == "has not begun":
            async with turn:
                with pytest.raises(TurnStateError, match="used for one block"):
                    async with turn:
                        pass
    with pytest.raises(TurnStateError, match="used for one block"):
        await turn.__aenter__()
    assert world.wire() == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_error": "rewind"}, "on_error must be 'discard' or 'keep', not 'rewind'"),
        ({"on_conflict": None}, "on_conflict must be 'append' or 'raise', not None"),
        ({"exclusive": "yes"}, "exclusive must be True or False, not 'yes'"),
    ],
)
async def test_arguments_are_checked_at_the_call(world, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        world.session().turn(**options)


async def test_a_subclass_that_changes_items_is_not_passed_by(world):
    class Redacting(OpenAIConversationsSession):
        async def add_items(self, items):
            await super().add_items([{**item, "content": "redacted"} for item in items])

    with pytest.raises(TypeError, match="Redacting overrides"):
        Redacting(openai_client=world.client).turn()


async def test_a_turn_is_not_copied(world):
    turn = world.session().turn()
    for make in (copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match="belongs to one block"):
            make(turn)
    assert "new, 0 pending" in repr(turn)
