"""What a run sees of sessions that break a promise, without a server."""

import pytest

from tools.chaos.judging import Wrong
from tools.chaos.report import errors, first_violations, table
from tools.chaos.running import Plan, Run
from tools.chaos.worlds import Request

from . import broken

PLAN = Plan(operations=240, rooms=3, tasks=2, burst=10)


async def run(kind, plan=PLAN):
    return await Run(broken.MemoryWorld(kind), plan).go()


async def test_a_sound_session_breaks_nothing():
    result = await run(broken.Sound)
    assert ([], 240) == (result.violations, result.operations)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (broken.Drops, {Wrong.LOST, Wrong.LOST_ON_POP}),
        (broken.Duplicates, {Wrong.DUPLICATED}),
        (broken.PopsTwice, {Wrong.DUPLICATED}),
        (broken.Reverses, {Wrong.OUT_OF_ORDER}),
        (broken.PutsInFront, {Wrong.OUT_OF_ORDER}),
        (broken.KeepsAfterError, {Wrong.STORED_AFTER_ERROR}),
        (broken.LosesPops, {Wrong.LOST_ON_POP}),
    ],
)
async def test_a_broken_session_is_seen(kind, expected):
    """An item that was dropped may also have been lost by a pop that returned nothing."""
    seen = {violation.wrong for violation, _ in (await run(kind)).violations} - {Wrong.READ}
    assert seen
    assert expected >= seen


class LateWorld(broken.MemoryWorld):
    """A world whose server says that it applied each add late."""

    def requests(self):
        return [Request(number, "create_items", "late_commit") for number in range(1, 400)]


async def test_a_copy_that_came_late_is_counted_apart():
    result = await Run(LateWorld(broken.Duplicates), PLAN).go()
    assert result.late > 0
    assert [] == result.violations


@pytest.mark.parametrize(
    ("kind", "flaw"),
    [
        (broken.ShowsTwice, "is shown twice"),
        (broken.ShowsTooMany, "is shown beyond the limit"),
        (broken.ShowsBackwards, "is out of order"),
        (broken.ShowsTheOldest, "is not shown"),
        (broken.Hides, "is not shown"),
        (broken.HidesTheOldest, "is not shown"),
        (broken.ShowsWhatWasPopped, "is shown although it was popped"),
        (broken.ShowsWhatFailed, "is shown although the call that added it had raised"),
    ],
)
async def test_a_session_that_keeps_everything_and_shows_something_else_is_seen(kind, flaw):
    violations = [violation for violation, _ in (await run(kind)).violations]
    assert {Wrong.READ} == {violation.wrong for violation in violations}
    assert flaw in {violation.flaw for violation in violations}


async def test_a_session_that_keeps_what_was_cancelled_is_seen():
    plan = Plan(operations=120, rooms=3, tasks=2, cancelled=0.5, cancelled_within=0.002)
    result = await run(broken.KeepsAfterCancelling, plan)
    # What a cancelled pop has taken of it, as the timing may have it, is missing as well.
    assert Wrong.STORED_AFTER_ERROR in {violation.wrong for violation, _ in result.violations}
    assert result.cancelled


async def test_an_operation_that_hangs_ends_the_run():
    with pytest.raises(TimeoutError, match="hangs"):
        await run(broken.Hangs, Plan(operations=60, rooms=1, tasks=1, patience=0.01))


async def test_the_same_seed_draws_the_same_operations():
    first, second, other = [await run(broken.Sound, Plan(operations=60, seed=seed)) for seed in (1, 1, 2)]
    assert first.cancelled == second.cancelled
    assert first.operations == other.operations


async def test_a_report_names_what_is_wrong_with_its_history():
    result = await run(broken.KeepsAfterError)
    assert "| items stored although the call raised | 0 |" not in list(table({"a session": result}))
    told = list(first_violations(result))
    assert told[0].startswith("items stored although the call raised: ")
    assert "ConnectionError" in told[1]
    assert errors(result.errors).startswith("ConnectionError ")


async def test_a_report_names_a_read_that_is_wrong_with_its_history():
    result = await run(broken.Hides)
    violation, _ = result.violations[0]
    told = list(first_violations(result))
    assert f"{violation.text} of operation {violation.add.number} is not shown by operation" in told[0]
    assert any(f"#{violation.read.number} get by" in line for line in told)
