"""The lock between tasks of any event loops."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from openai_sessions._locking import FairLock


async def turn(lock: FairLock, log: list, name: object) -> None:
    async with lock:
        log.append(name)
        await asyncio.sleep(0)
        log.append(name)


async def test_tasks_are_served_in_the_order_they_came():
    lock, log = FairLock(), []
    await asyncio.gather(*(turn(lock, log, number) for number in range(5)))
    assert log == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


async def test_an_error_inside_sets_the_lock_free():
    lock = FairLock()
    with contextlib.suppress(ZeroDivisionError):
        async with lock:
            raise ZeroDivisionError
    async with lock:
        assert lock._owner is asyncio.get_running_loop()
    assert lock._owner is None


async def test_a_cancelled_waiter_does_not_hold_up_the_next():
    lock, log = FairLock(), []
    async with lock:
        waiting = [asyncio.ensure_future(turn(lock, log, number)) for number in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    await asyncio.wait(waiting)
    assert log == [1, 1, 2, 2]


async def test_a_waiter_cancelled_as_it_is_served_passes_the_lock_on():
    lock, log = FairLock(), []
    async with lock:
        waiting = [asyncio.ensure_future(turn(lock, log, number)) for number in range(2)]
        await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait(waiting)
    assert log == [1, 1]
    await turn(lock, log, "free")
    assert log[-1] == "free"


def test_loops_in_several_threads_exclude_each_other():
    lock, inside, most = FairLock(), [], []

    async def work() -> None:
        for _ in range(50):
            async with lock:
                inside.append(1)
                most.append(len(inside))
                await asyncio.sleep(0)
                inside.pop()

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 200
    assert max(most) == 1


def test_a_lock_held_by_a_closed_loop_is_taken_over():
    """A loop that is closed without cancelling its tasks never leaves the block."""
    lock, log = FairLock(), []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(lock.__aenter__())
    loop.close()
    asyncio.run(turn(lock, log, "next"))
    assert log == ["next", "next"]


def test_a_waiter_whose_loop_is_closed_is_passed_over():
    lock, log = FairLock(), []
    holder, abandoned = asyncio.new_event_loop(), asyncio.new_event_loop()
    holder.run_until_complete(lock.__aenter__())
    waiting = abandoned.create_task(turn(lock, log, "abandoned"))
    abandoned.run_until_complete(asyncio.sleep(0))
    abandoned.close()
    holder.run_until_complete(lock.__aexit__())
    holder.run_until_complete(turn(lock, log, "next"))
    holder.close()
    assert log == ["next", "next"]
    waiting._log_destroy_pending = False  # its loop is closed on purpose
