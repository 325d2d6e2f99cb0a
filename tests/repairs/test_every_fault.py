"""Every fault at every request of a repair, a rewind and a replacement.

After each, the call has returned and everything is done; or it has raised and nothing was changed; or a
receipt, settled, has it done.
"""

from __future__ import annotations

import pytest

from openai_sessions import UnsettledWriteError
from openai_sessions.errors import UnfinishedDeletionError
from tests.faults.on_the_wire import POLICY
from tests.faults.world import ALWAYS, FAILURES, LIES, Spot, spots, texts
from tests.selection import one_in

from .broken import BROKEN, SOUND, assistant, call, next_response, output, user

FOREIGN = user("foreign")

LISTS = [spot for spot in spots("list_items") if spot.kind not in LIES]
APPENDS = [*spots("create_items"), *spots("create_items", times=(ALWAYS,))]
DELETIONS = [*spots("delete_item", after=(0, 9)), *spots("delete_item", after=(3,), times=(ALWAYS,))]


async def settled(world, session, error):
    """Settle what an error has left, in another process; return whether a deletion was begun."""
    await world.calm()
    if isinstance(error, (UnfinishedDeletionError, UnsettledWriteError)):
        await world.session(session.session_id).settle(error.receipt)
    return isinstance(error, UnfinishedDeletionError)


async def run(world, fault, call_session, *, history):
    """Call under a fault; return the session, whether it was done, and the ids before and after."""
    session = await world.session_with(*history, openai_client=world.patient, retry_policy=POLICY)
    before = world.stored_ids(session.session_id)
    world.inject(fault)
    try:
        await call_session(session)
        done = True
    except FAILURES as error:
        await world.calm()
        foreign = await world.foreign_add(session.session_id, FOREIGN)
        done = await settled(world, session, error)
        after = world.stored_ids(session.session_id)
        assert after[-1:] == foreign, fault
        return session, done, before, after[:-1]
    await world.calm()
    return session, done, before, world.stored_ids(session.session_id)


LONG = [
    *SOUND,
    *(item for n in range(10) for item in (user(), call(f"old {n}"))),
    *(user(), call("a"), output("x"), call("b")),
]


@pytest.mark.parametrize("fault", one_in(12, [*LISTS, *APPENDS, *DELETIONS]), ids=str)
async def test_a_fault_of_a_repair(world, fault):
    session, done, before, after = await run(world, fault, lambda session: session.repair(), history=LONG)
    removed = [item_id for item_id in before if item_id not in after]
    if done:
        assert len(removed) == 11, fault
        assert len(after) == len(before) - 11 + 2, fault
    else:
        assert after == before, fault
    assert (await session.repair()).is_sound
    assert await next_response(world.foreign, session.session_id) == 200


@pytest.mark.parametrize("fault", one_in(12, [*LISTS, *DELETIONS]), ids=str)
async def test_a_fault_of_a_rewind(world, fault):
    history = [user(f"q{n}") for n in range(25)]
    _, done, before, after = await run(
        world, fault, lambda session: session.rewind(before_turn=6), history=history
    )
    assert after == (before[:5] if done else before), fault


@pytest.mark.parametrize("fault", one_in(12, [*LISTS, *APPENDS, *DELETIONS]), ids=str)
async def test_a_fault_of_a_replacement(world, fault):
    history = [each for n in range(15) for each in (user(f"q{n}"), assistant(f"a{n}"))]
    session, done, before, after = await run(
        world,
        fault,
        lambda session: session.replace_item(world.stored_ids(session.session_id)[5], assistant("other")),
        history=history,
    )
    if done:
        stored = world.stored(session.session_id)[: len(before)]
        assert stored == [*texts(history[:5]), "other", *texts(history[6:])], fault
        assert after[:5] == before[:5], fault
        assert not set(after[5:]) & set(before), fault
    else:
        assert after == before, fault


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", ["create_items", "delete_item"])
async def test_two_faults_of_a_repair(world, first):
    for one in spots(first):
        for other in (*spots("delete_item", after=(1,))[::3], *LISTS[::5]):
            session = await world.session_with(*SOUND, openai_client=world.patient, retry_policy=POLICY)
            await world.foreign_add(session.session_id, *BROKEN["everything"])
            kept = world.stored_ids(session.session_id)[: len(SOUND)]
            world.inject(one, other)
            try:
                await session.repair()
            except FAILURES as error:
                await settled(world, session, error)
            await world.calm()
            await session.repair()
            assert (await session.check()).findings == (), (one, other)
            assert world.stored_ids(session.session_id)[: len(SOUND)] == kept, (one, other)
            assert await next_response(world.foreign, session.session_id) == 200
            await session.clear_session(keep_conversation=True)


async def test_a_lying_page_never_lets_anything_be_deleted_that_is_needed(world):
    """A listing that lacks the newest items shows open calls: they are closed, and nothing is lost."""
    for kind in LIES:
        session = await world.session_with(*SOUND, user(), call("z"), retry_policy=POLICY)
        await session.add_items([output("z"), assistant("done")])
        said = world.stored(session.session_id)
        world.inject(Spot(kind, "list_items"))
        await session.repair()
        await world.calm()
        await session.repair()
        assert [text for text in said if text in world.stored(session.session_id)] == said, kind
        assert await next_response(world.foreign, session.session_id) == 200
