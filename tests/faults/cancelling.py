"""The ways in which a caller is cancelled, as functions of the call and of the gate it has come to."""

from __future__ import annotations

import asyncio
import contextlib

import anyio
import pytest

TURNS = 5
"""Turns of the event loop that let a cancellation arrive."""


async def _turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def task_cancel(call, gate, times=1):
    task = asyncio.ensure_future(call())
    await gate.reached.wait()
    for _ in range(times):
        task.cancel()
        await _turn()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def task_cancel_repeated(call, gate):
    await task_cancel(call, gate, times=4)


async def anyio_scope(call, gate):
    with anyio.CancelScope() as scope:
        async with _at(gate, scope.cancel):
            await call()
    assert scope.cancelled_caught


async def asyncio_timeout(call, gate):
    loop = asyncio.get_running_loop()

    async def within_a_timeout():
        async with asyncio.timeout(None) as scope, _at(gate, lambda: scope.reschedule(loop.time())):
            await call()

    with pytest.raises(TimeoutError):
        await within_a_timeout()


async def asyncio_wait_for(call, gate):
    """Time out where the call has come to by then: at the gate, unless the machine is very slow."""

    async def open_later():
        await asyncio.sleep(0.15)
        gate.opened.set()

    opening = asyncio.ensure_future(open_later())
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(call(), 0.1)
    await opening


async def task_group_of_a_failing_sibling(call, gate):
    async def fail():
        await gate.reached.wait()
        asyncio.get_running_loop().call_soon(gate.opened.set)
        raise LookupError

    async def both():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            tasks.start_soon(fail)

    with pytest.raises(Exception) as caught:  # noqa: PT011 -- an ExceptionGroup, unknown to Python 3.10
        await both()
    assert [type(error) for error in caught.value.exceptions] == [LookupError]


@contextlib.asynccontextmanager
async def _at(gate, cancel):
    """Cancel once the gate is reached, and open it a moment later."""

    async def act():
        await gate.reached.wait()
        cancel()
        await _turn()
        gate.opened.set()

    acting = asyncio.ensure_future(act())
    try:
        yield
    finally:
        while not acting.done():
            with anyio.CancelScope(shield=True):
                await acting


WAYS = [
    task_cancel,
    task_cancel_repeated,
    anyio_scope,
    asyncio_wait_for,
    task_group_of_a_failing_sibling,
    *([asyncio_timeout] if hasattr(asyncio, "timeout") else []),
]
