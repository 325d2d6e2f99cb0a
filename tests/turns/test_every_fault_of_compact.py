"""Every fault and cancellation at every request of a compaction, and two processes that compact at once.

After each, and after the next operation of the process, the history is as it was, or it is compacted whole:
a model knows each item once.
"""

from __future__ import annotations

import asyncio

import pytest

from openai_sessions.errors import ConversationChangedError
from openai_sessions.session import CompactedHistory
from tests.faults.cancelling import anyio_scope, task_cancel, task_group_of_a_failing_sibling
from tests.faults.conftest import quiet_loop  # noqa: F401 -- a fixture
from tests.faults.on_the_wire import POLICY
from tests.faults.stage import Gate, Stage
from tests.faults.world import ALWAYS, FAILURES, LIES, Spot, World, spots
from tests.selection import one_in

from .compact_world import LONG, check_view, compaction, known, other_process, shown, turns

HISTORY = turns(4)
REQUESTS = [
    *spots("list_items", after=(0, 1, 2)),
    *spots("compact_response"),
    *spots("create_items", after=(0, 1)),
    *spots("create_items", after=(1,), times=(ALWAYS,)),
    *spots("delete_item", after=(0, 23)),
    *spots("delete_item", after=(12,), times=(ALWAYS,)),
]
"""The history is read, the newest item, and what has been written; two requests write it."""

REFUSALS = [Spot("quota", "create_items", 1), Spot("quota", "list_items", 2), Spot("quota", "delete_item")]
UNDOING = spots("delete_item", after=(0, 10))
LOOKING = spots("list_items", after=(2, 3))
CASES = [
    *((fault,) for fault in REQUESTS),
    *((first, second) for first in REFUSALS[:2] for second in UNDOING),
    *((REFUSALS[0], fault) for fault in spots("delete_item", times=(ALWAYS,))),
    *((Spot("cut_after_commit", "create_items", 1), look) for look in LOOKING),
]

RESULTS = (CompactedHistory, ConversationChangedError, type(None))


@pytest.fixture
def world(emulator):
    return World(emulator)


async def check(world, session, before, result):
    """Check what is left of a compaction that returned a result, or raised."""
    await world.calm()
    receipt = getattr(result, "receipt", None)
    if receipt is not None:
        await session.settle(receipt)
    view = await session.get_items()
    check_view(view, shown(HISTORY))
    assert session.unsettled == ()
    ids = world.stored_ids(session.session_id)
    if isinstance(result, BaseException):
        assert ids == before
        assert view == HISTORY
    else:
        assert shown(view)[:3] == ["turn 0.0", "turn 1.0", "compaction"]
        assert ids == [*before[: 2 * LONG], *result.item_ids]


@pytest.mark.parametrize("case", one_in(11, CASES), ids=lambda case: " + ".join(map(str, case)))
async def test_a_compaction_under_faults_is_whole_or_absent(world, case):
    session = await world.session_with(*HISTORY, openai_client=world.patient, retry_policy=POLICY)
    before = world.stored_ids(session.session_id)
    world.inject(*case)
    try:
        result = await session.compact(compaction())
    except FAILURES as error:
        result = error
    await check(world, session, before, result)
    lost = {fault.kind for fault in case}
    if len(case) == 1 and not lost & {"quota", *LIES} and case[0].times == 1:
        assert not isinstance(result, BaseException), result


@pytest.mark.parametrize(
    "case", one_in(9, [(fault,) for fault in REQUESTS[::3]]), ids=lambda case: str(case[0])
)
async def test_what_is_replaced_is_deleted_whole_or_not_at_all(world, case):
    session = await world.session_with(*HISTORY, openai_client=world.patient, retry_policy=POLICY)
    before = world.stored_ids(session.session_id)
    world.inject(*case)
    try:
        result = await session.compact(compaction(delete_replaced=True, keep_turns=1))
    except FAILURES as error:
        result = error
    await world.calm()
    if getattr(result, "receipt", None) is not None:
        await session.settle(result.receipt)
    check_view(await session.get_items(), shown(HISTORY))
    left = before if isinstance(result, BaseException) else list(result.item_ids)
    assert world.stored_ids(session.session_id) == left


PHASES = [
    *(("list_items", number) for number in range(3)),
    ("compact_response", 0),
    *(("create_items", number) for number in range(2)),
    *(("delete_item", number) for number in (0, 12, 23)),
]
CANCELLATIONS = [
    (phase, moment, way)
    for phase in PHASES
    for moment in ("before", "after")
    for way in (task_cancel, anyio_scope, task_group_of_a_failing_sibling)
]


@pytest.mark.usefixtures("quiet_loop")
@pytest.mark.parametrize(
    "case",
    one_in(13, CANCELLATIONS),
    ids=lambda case: f"{case[0][0]}[{case[0][1]}]-{case[1]}-{case[2].__name__}",
)
async def test_a_cancelled_compaction_is_whole_or_absent(world, case):
    (operation, number), moment, way = case
    stage, gate = Stage(world.emulator), Gate()
    origin = await world.session_with(*HISTORY)
    before = world.stored_ids(origin.session_id)
    session = world.session(origin.session_id, openai_client=stage.client)
    stage.at(operation, number, getattr(gate, moment))
    await way(lambda: session.compact(compaction()), gate)
    assert gate.reached.is_set()
    await world.calm()
    view = await session.get_items()
    check_view(view, shown(HISTORY))
    assert session.unsettled == ()
    is_compacted = len(view) == 3 + 2 * LONG
    assert is_compacted or world.stored_ids(session.session_id) == before
    if way is not task_group_of_a_failing_sibling:  # which opens the gate before it cancels
        assert is_compacted == (operation == "delete_item")


PLACES = [(operation, number, moment) for operation, number in PHASES[:-1] for moment in ("before", "after")]
SHORT = turns(10, items=4)
"""Of these turns, four are kept: the messages of the user are one request, all else is the second one."""

HALF_WRITTEN = [("create_items", 0, "after"), ("create_items", 1, "before")]
"""Where the messages of the user are there twice: between the two requests of the write."""


def check_known(view, texts):
    """Check that a model knows each of these texts, perhaps not only once."""
    before, behind = known(view)
    assert {*before, *behind} == {*texts}


@pytest.mark.parametrize("keep_turns", [1, 4])
@pytest.mark.parametrize("place", one_in(9, PLACES), ids=str)
async def test_two_processes_that_compact_at_once_lose_nothing(world, place, keep_turns):
    """The second one compacts while the first one waits at one of its requests."""
    operation, number, moment = place
    stage, gate = Stage(world.emulator), Gate()
    origin = await world.session_with(*SHORT)
    first = world.session(origin.session_id, openai_client=stage.client)
    second = world.session(origin.session_id, openai_client=other_process(world))
    stage.at(operation, number, getattr(gate, moment))
    check = check_known if place in HALF_WRITTEN else check_view
    compacting = asyncio.ensure_future(first.compact(compaction(keep_turns=4)))
    await gate.reached.wait()
    results = await asyncio.gather(second.compact(compaction(keep_turns=keep_turns)), return_exceptions=True)
    check(await second.get_items(), shown(SHORT))
    gate.opened.set()
    results += await asyncio.gather(compacting, return_exceptions=True)
    assert all(isinstance(each, RESULTS) for each in results), results
    for session in (first, second, origin):
        check(await session.get_items(), shown(SHORT))


PAIRS = [(one, two) for one in PLACES[6:12] for two in PLACES[6:12:2]]


@pytest.mark.parametrize("places", one_in(13, PAIRS), ids=lambda places: f"{places[0]}-{places[1]}")
async def test_two_processes_whose_requests_alternate_lose_nothing(world, places):
    """Both wait at a request of their write; then the first one goes on, and then the second one."""
    stages, gates = [Stage(world.emulator), Stage(world.emulator)], [Gate(), Gate()]
    origin = await world.session_with(*SHORT)
    clients = [stages[0].client, other_process(world, transport=stages[1])]
    sessions = [world.session(origin.session_id, openai_client=client) for client in clients]
    for stage, gate, (operation, number, moment) in zip(stages, gates, places, strict=True):
        stage.at(operation, number, getattr(gate, moment))
    check = check_view if set(HALF_WRITTEN).isdisjoint(places) else check_known
    running = [asyncio.ensure_future(session.compact(compaction(keep_turns=4))) for session in sessions]
    for gate, task in zip(gates, running, strict=True):
        reaching = asyncio.ensure_future(gate.reached.wait())
        await asyncio.wait({reaching, task}, return_when=asyncio.FIRST_COMPLETED)
        reaching.cancel()
    for gate in gates:
        gate.opened.set()
    results = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(each, RESULTS) for each in results), results
    for session in (*sessions, origin):
        check(await session.get_items(), shown(SHORT))
