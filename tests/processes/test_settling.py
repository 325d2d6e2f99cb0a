"""A process cannot undo a write, leaves a receipt and ends; another process settles it."""

import pytest

from openai_sessions.emulator import Fault
from tests.selection import one_in

from .staff import batch, user

BEFORE = [user("before")]
ALWAYS = 10_000


def refuse_second_and_forbid_deleting(emulator):
    """Leave twenty items that are known to stand."""
    emulator.inject(Fault("quota"), operation="create_items", after=1)
    emulator.inject(Fault("error_500_before"), operation="delete_item", times=ALWAYS)


def lose_answer_and_go_blind(emulator, kind="cut_after_commit"):
    """Leave twenty items that stand and five that may: their request cannot be looked for."""
    emulator.inject(Fault(kind), operation="create_items", after=1)
    emulator.inject(Fault("error_500_before"), operation="list_items", after=1, times=ALWAYS)
    emulator.inject(Fault("error_500_before"), operation="delete_item", times=ALWAYS)


def lose_request_and_go_blind(emulator):
    """Leave twenty items that stand and five that may, and do not."""
    lose_answer_and_go_blind(emulator, "cut_before")


OUTAGES = {
    refuse_second_and_forbid_deleting: ([20, 0, 5], 20),
    lose_answer_and_go_blind: ([20, 5, 0], 25),
    lose_request_and_go_blind: ([20, 5, 0], 20),
}
"""How many of 25 items are said to be stored, unknown and not stored, and how many do stand."""


@pytest.fixture
def receipt(emulator, session, staff, unlocked, tmp_path):
    """Makes a process write 25 items in an outage; gives what it says, and the path of its receipt."""
    path = tmp_path / "receipt.json"

    async def make(outage):
        await session.add_items(BEFORE)
        outage(emulator)
        with staff.workers(1, unlocked) as (worker,):
            said = worker.do("add_or_leave_a_receipt", items=batch("failed", 0), path=str(path))
            worker.do("close")
            worker.die()
        emulator.clear_faults()
        return said, str(path)

    return make


@pytest.mark.parametrize("outage", one_in(3, OUTAGES), ids=lambda outage: outage.__name__)
async def test_receipt_is_settled_by_another_process(session, staff, unlocked, receipt, outage):
    """Nothing of the write is left, and a receipt that is delivered twice does no harm."""
    said, path = await receipt(outage)
    with staff.workers(1, unlocked) as (worker,):
        first = worker.do("settle", path=path)
        second = worker.do("settle", path=path)
    expected, standing = OUTAGES[outage]
    assert expected == said
    assert [standing, 0] == first
    assert [0, 0] == second
    assert BEFORE == await session.get_items()


@pytest.mark.exhaustive
@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.__name__)
async def test_receipt_settled_after_the_user_tried_again_elsewhere(
    session, staff, unlocked, receipt, outage
):
    """Acknowledged items are deleted by their ids; what only its content shows stays, as others follow."""
    _, path = await receipt(outage)
    with staff.workers(1, unlocked) as (retrying,):
        retrying.do("add", items=batch("failed", 0))
        settled = retrying.do("settle_or_tell", path=path)
    left = batch("failed", 0)[20:] if outage is lose_answer_and_go_blind else []
    assert [*BEFORE, *left, *batch("failed", 0)] == await session.get_items()
    assert EXPECTED[outage] == settled


EXPECTED = {
    refuse_second_and_forbid_deleting: [20, 0],
    lose_answer_and_go_blind: "UnsettledWriteError",
    lose_request_and_go_blind: [20, 5],
}
"""What settling says then: how many items were deleted and kept, or that it cannot tell."""
