"""A process is killed in the middle of a write, and another one goes on."""

import asyncio
from dataclasses import replace

import pytest

from openai_sessions.emulator import Fault
from tests.selection import one_in

from .staff import SECONDS, batch, user

CALL = {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "found"}

WRITE = [*batch("dead", 0, 19), CALL, OUTPUT, *batch("dead", 1, 24)]
"""Three requests: the call would end the first one, and goes with its output into the second."""

REQUESTS = (19, 20, 6)
"""How many items each has."""


async def reached(emulator, fault):
    """Wait until a request has met the fault: it comes from another process, and can only be looked for."""
    while all(request.fault != fault for request in emulator.requests):  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.01)


async def die_in_the_middle(emulator, worker, *, request, fault):
    """Kill a process while it waits for the answer to a request of `WRITE`."""
    emulator.inject(Fault(fault), operation="create_items", after=request)
    worker.order("add", items=WRITE)
    await asyncio.wait_for(reached(emulator, fault), SECONDS)
    worker.die()


@pytest.mark.parametrize(
    "death",
    one_in(4, [(2, "stall_after_commit"), (0, "stall"), (1, "stall"), (0, "stall_after_commit")]),
    ids=lambda death: "-".join(map(str, death)),
)
async def test_writer_killed_leaves_whole_requests(emulator, session, staff, unlocked, death):
    """What stands are whole requests in order, no call is torn from its output, and others can go on."""
    request, fault = death
    with staff.workers(2, unlocked) as (writing, resuming):
        await die_in_the_middle(emulator, writing, request=request, fault=fault)
        left = resuming.do("get")
        resuming.do("add", items=batch("next", 0))
    complete = request + (fault == "stall_after_commit")
    assert WRITE[: sum(REQUESTS[:complete])] == left
    assert [*left, *batch("next", 0)] == await session.get_items()


@pytest.mark.exhaustive
async def test_lock_of_a_killed_writer_is_freed_by_its_lease(emulator, session, staff, locked):
    """The next process has to wait for the lock, gets it when the lease is over, and goes on."""
    from redis.asyncio import Redis  # noqa: PLC0415 - installed where the fixture has not skipped

    setting = replace(locked, lock={"lease": 1.5})
    with staff.workers(2, setting) as (writing, waiting):
        await die_in_the_middle(emulator, writing, request=1, fault="stall")
        waiting.order("add", items=[user("next")])
        async with Redis.from_url(locked.redis_url) as redis:
            seconds = await redis.pttl(f"openai-sessions:{session.session_id}") / 1000
        waiting.answer()
    assert 0 < seconds <= 1.5
    assert [*WRITE[:19], user("next")] == await session.get_items()
