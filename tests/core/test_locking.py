"""The lock between tasks of any event loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from openai_sessions._conversation.locks import FairLock
from openai_sessions.errors import StoppedLoopError


async def turn(lock: FairLock, log: list, name: object) -> None:
    async with lock.held():
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
        async with lock.held():
            raise ZeroDivisionError
    async with lock.held():
        assert lock._holder is not None
    assert lock._holder is None


async def test_a_cancelled_waiter_does_not_hold_up_the_next():
    lock, log = FairLock(), []
    async with lock.held():
        waiting = [asyncio.ensure_future(turn(lock, log, number)) for number in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    await asyncio.wait(waiting)
    assert log == [1, 1, 2, 2]


async def test_a_waiter_cancelled_as_it_is_served_passes_the_lock_on():
    lock, log = FairLock(), []
    async with lock.held():
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
            async with lock.held():
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


def abandoned_in(lock: FairLock) -> asyncio.Task:
    """Return a task that holds a lock, and will for ever: its loop is closed."""

    async def hold():
        async with lock.held():
            await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    task = loop.create_task(hold())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    task._log_destroy_pending = False
    return task


def test_a_lock_held_by_a_closed_loop_is_taken_over():
    """A loop that is closed without cancelling its tasks never leaves the block."""
    lock, log = FairLock(), []
    left = abandoned_in(lock)
    asyncio.run(turn(lock, log, "next"))
    assert log == ["next", "next"]
    assert not left.done()


def test_a_waiter_whose_loop_is_closed_is_passed_over():
    lock, log = FairLock(), []
    abandoned = asyncio.new_event_loop()
    waiting = abandoned.create_task(turn(lock, log, "abandoned"))

    async def hold():
        async with lock.held():
            with ThreadPoolExecutor() as thread:
                thread.submit(abandoned.run_until_complete, asyncio.sleep(0)).result()
            abandoned.close()
        await turn(lock, log, "next")

    asyncio.run(hold())
    assert log == ["next", "next"]
    waiting._log_destroy_pending = False  # its loop is closed on purpose


def test_a_task_of_a_closed_loop_does_not_set_another_tasks_lock_free():
    """Its `async with` ends when it is collected, long after the lock was taken over."""
    lock, log = FairLock(), []

    left = weakref.ref(abandoned_in(lock))

    async def take_over():
        async with lock.held():
            gc.collect()
            log.append((left(), lock._holder is not None))

    asyncio.run(take_over())
    assert log == [(None, True)]


def stopped_in(lock: FairLock) -> asyncio.AbstractEventLoop:
    """Return a loop that was stopped while a task of it holds a lock."""
    loop = asyncio.new_event_loop()

    async def hold() -> None:
        async with lock.held():
            loop.stop()
            await asyncio.sleep(0)

    task = loop.create_task(hold(), name="the holder")
    loop.run_forever()
    assert not task.done()
    return loop


def test_a_lock_held_in_a_stopped_loop_is_an_error_that_names_the_holder():
    lock, log = FairLock(), []
    stopped = stopped_in(lock)

    async def wait() -> None:
        async with lock.held(patience=0.02):
            log.append("held")

    with pytest.raises(StoppedLoopError, match=r"held by the holder of MainThread, whose event loop has not"):
        asyncio.run(wait())
    assert [] == log
    stopped.run_until_complete(asyncio.sleep(0))
    asyncio.run(wait())
    assert ["held"] == log
    stopped.close()


def test_a_lock_held_in_a_loop_that_goes_on_in_time_is_waited_for():
    lock, log = FairLock(), []
    stopped = stopped_in(lock)

    async def wait() -> None:
        async with lock.held(patience=60):
            log.append("held")

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(asyncio.run, wait())
        while not lock._waiting:
            time.sleep(0.001)
        stopped.run_until_complete(asyncio.sleep(0))
        waiting.result(10)
    assert ["held"] == log
    stopped.close()


def test_a_waiter_in_a_stopped_loop_lets_others_go_first_and_comes_later():
    lock, log = FairLock(), []
    stopped = asyncio.new_event_loop()

    async def first() -> None:
        async with lock.held():
            task = await asyncio.to_thread(wait_in_stopped_loop)
            log.append("first")
        await turn(lock, log, "second")
        tasks.append(task)

    def wait_in_stopped_loop() -> asyncio.Task:
        task = stopped.create_task(turn(lock, log, "stopped"))
        stopped.run_until_complete(asyncio.sleep(0))
        return task

    tasks: list[asyncio.Task] = []
    asyncio.run(asyncio.wait_for(first(), 10))
    assert ["first", "second", "second"] == log
    stopped.run_until_complete(tasks[0])
    assert ["stopped", "stopped"] == log[3:]
    stopped.close()


def test_a_lock_given_to_a_stopped_loop_is_taken_by_who_comes():
    lock, log = FairLock(), []
    stopped = stopped_in(lock)
    other = asyncio.new_event_loop()
    task = other.create_task(turn(lock, log, "other"))
    other.run_until_complete(asyncio.sleep(0))
    stopped.run_until_complete(asyncio.sleep(0))  # releases the lock, for a loop that does not run
    asyncio.run(turn(lock, log, "new"))
    assert ["new", "new"] == log
    other.run_until_complete(task)
    assert ["new", "new", "other", "other"] == log
    stopped.close()
    other.close()
