"""Work that goes on although its caller is cancelled."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable

import anyio
import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings
from openai_sessions._conversation.shielding import Cancellation, _running, run_shielded
from tests.wire import FAST, HTTP_FAMILY

HOUR = 3600.0

has_timeout = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is of Python 3.11")

WAYS = ["task", "anyio", pytest.param("timeout", marks=has_timeout)]


class Caller:
    """A task that waits for a call, and can be cancelled in one of the usual ways.

    Attributes:
        stop: Cancels it.
    """

    def __init__(self, call: Callable[[], Awaitable[object]], way: str = "task") -> None:
        self._call = call
        self._way = way
        self.stop: Callable[[], object] = lambda: None
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> object:
        if self._way == "anyio":
            with anyio.CancelScope() as scope:
                self.stop = scope.cancel
                return await self._call()
            raise asyncio.CancelledError
        if self._way == "timeout":
            try:
                async with asyncio.timeout(None) as timeout:
                    self.stop = lambda: timeout.reschedule(0)
                    return await self._call()
            except TimeoutError:
                raise asyncio.CancelledError from None
        self.stop = asyncio.current_task().cancel
        return await self._call()

    @property
    async def was_cancelled(self) -> bool:
        await asyncio.wait({self.task})
        return self.task.cancelled()


@pytest.fixture(autouse=True)
def nothing_is_left(recwarn):
    yield
    assert not _running
    assert not list(recwarn)


@pytest.fixture(autouse=True)
async def no_error_is_forgotten():
    """Fail when the loop is told of an exception that nobody retrieved."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield
    await some_turns(3)
    assert not complaints


async def some_turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Work:
    """Work that begins, waits to be told of its caller's cancellation, and writes a log.

    Args:
        begins: Whether it says that it has begun.
        heeds: Whether it ends when it is told.
    """

    def __init__(self, *, begins: bool = True, heeds: bool = True) -> None:
        self.begins, self.heeds = begins, heeds
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.log: list[str] = []

    async def __call__(self, cancellation: Cancellation) -> str:
        cancellation.has_begun = self.begins
        self.started.set()
        try:
            if self.heeds:
                await cancellation.cut_short(asyncio.sleep(HOUR))
                self.log.append(f"told: {cancellation.is_set()}")
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.log.append("cut")
            raise
        self.log.append("ended")
        return "done"


async def test_a_result_is_returned():
    async def work(cancellation):
        await asyncio.sleep(0)
        return cancellation.is_set(), cancellation.has_begun

    assert await run_shielded(work) == (False, False)


async def test_an_error_comes_out():
    error = ZeroDivisionError()

    async def work(cancellation):
        raise error

    with pytest.raises(ZeroDivisionError) as caught:
        await run_shielded(work)
    assert caught.value is error


async def test_work_that_is_cancelled_from_within_is_cancelled():
    async def work(cancellation):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_shielded(work)


async def test_work_runs_in_a_task_of_its_own():
    async def work(cancellation):
        return asyncio.current_task()

    assert await run_shielded(work) is not asyncio.current_task()


@pytest.mark.parametrize("way", WAYS)
async def test_work_that_has_not_begun_is_cancelled_at_once(way):
    work = Work(begins=False)
    caller = Caller(lambda: run_shielded(work, grace=HOUR), way)
    await work.started.wait()
    caller.stop()
    assert await caller.was_cancelled
    assert ["cut"] == work.log


@pytest.mark.parametrize("way", WAYS)
async def test_work_that_has_begun_is_told_and_ends_before_its_caller(way):
    work = Work()
    caller = Caller(lambda: run_shielded(work, grace=HOUR), way)
    await work.started.wait()
    caller.stop()
    await some_turns()
    assert not caller.task.done()
    work.may_end.set()
    assert await caller.was_cancelled
    assert ["told: True", "ended"] == work.log


@pytest.mark.parametrize("way", WAYS)
async def test_work_that_does_not_end_is_cut_after_the_grace(way):
    work = Work(heeds=False)
    caller = Caller(lambda: run_shielded(work, grace=0.01), way)
    await work.started.wait()
    caller.stop()
    assert await caller.was_cancelled
    assert ["cut"] == work.log


@pytest.mark.parametrize("way", ["task", "anyio"])
async def test_repeated_cancellation_is_absorbed_until_the_work_has_ended(way):
    work = Work()
    caller = Caller(lambda: run_shielded(work, grace=HOUR), way)
    await work.started.wait()
    for _ in range(5):
        caller.stop()
        caller.task.cancel()
        await some_turns(2)
    work.may_end.set()
    assert await caller.was_cancelled
    assert ["told: True", "ended"] == work.log


async def test_an_inner_and_an_outer_scope_may_both_be_cancelled():
    work = Work()
    with anyio.CancelScope() as outer:
        with anyio.CancelScope() as inner:
            async with anyio.create_task_group() as tasks:

                async def stop() -> None:
                    await work.started.wait()
                    inner.cancel()
                    outer.cancel()
                    work.may_end.set()

                tasks.start_soon(stop)
                await run_shielded(work, grace=HOUR)
    assert outer.cancelled_caught
    assert ["told: True", "ended"] == work.log


async def test_an_error_of_work_whose_caller_was_cancelled_gives_way_to_the_cancellation():
    started = asyncio.Event()

    async def work(cancellation):
        cancellation.has_begun = True
        started.set()
        await cancellation.cut_short(asyncio.sleep(HOUR))
        raise ZeroDivisionError

    caller = Caller(lambda: run_shielded(work))
    await started.wait()
    caller.stop()
    assert await caller.was_cancelled


async def test_a_sleep_that_is_not_cut_short_lasts():
    cancellation, may_end, log = Cancellation(), asyncio.Event(), []

    async def work() -> None:
        await cancellation.cut_short(may_end.wait())
        log.append("woke")

    task = asyncio.ensure_future(work())
    await some_turns()
    assert [] == log
    may_end.set()
    await task
    assert ["woke"] == log


async def test_a_sleep_that_is_cut_short_is_cancelled():
    cancellation, log = Cancellation(), []

    async def sleep() -> None:
        try:
            await asyncio.sleep(HOUR)
        finally:
            log.append("left")

    task = asyncio.ensure_future(cancellation.cut_short(sleep()))
    await some_turns()
    cancellation.set()
    await task
    await some_turns()
    assert ["left"] == log


# A cancellation that comes as the work succeeds


@pytest.mark.parametrize("turns", range(6))
async def test_a_result_is_either_returned_or_undone(turns):
    """However few turns of the loop lie between the end of the work and the cancellation."""
    undone, loop = [], asyncio.get_running_loop()

    def stop(remaining: int) -> None:
        loop.call_soon(stop, remaining - 1) if remaining else caller.stop()

    async def work(cancellation):
        cancellation.has_begun = True
        stop(turns)
        return "done"

    async def undo(result):
        undone.append(result)

    caller = Caller(lambda: run_shielded(work, undo=undo))
    assert (["done"] if await caller.was_cancelled else []) == undone


async def test_work_that_failed_or_was_cut_is_not_undone():
    undone = []

    async def undo(result):
        undone.append(result)

    for begins, grace in ((False, HOUR), (True, 0.01)):
        work = Work(begins=begins, heeds=False)
        caller = Caller(lambda work=work, grace=grace: run_shielded(work, undo=undo, grace=grace))
        await work.started.wait()
        caller.stop()
        assert await caller.was_cancelled
    assert [] == undone


async def test_undoing_is_shielded_and_its_error_gives_way_to_the_cancellation():
    work, undoing, log = Work(), asyncio.Event(), []
    work.may_end.set()

    async def undo(result):
        undoing.set()
        await some_turns()
        log.append(f"undone: {result}")
        raise ZeroDivisionError

    caller = Caller(lambda: run_shielded(work, undo=undo))
    await work.started.wait()
    caller.stop()
    await undoing.wait()
    caller.stop()
    assert await caller.was_cancelled
    assert ["undone: done"] == log


# The session, cancelled at each turn of the loop in turn


USERS = [{"role": "user", "content": str(number)} for number in range(25)]


async def cancelled_after(turns: int, call: Callable[[], Awaitable[object]], way: str) -> Caller:
    """Cancel a call after so many turns of the loop, and wait for its end."""
    caller = Caller(call, way)
    await asyncio.sleep(0)
    for _ in range(turns):
        if caller.task.done():
            break
        await asyncio.sleep(0)
    else:
        caller.stop()
    await asyncio.wait({caller.task})
    return caller


def session_with_turns(emulator) -> OpenAIConversationsSession:
    """Return a session whose requests take some turns of the loop before and after they are served."""

    async def app(scope, receive, send):
        await some_turns(3)
        await emulator(scope, receive, send)
        await some_turns(3)

    client = openai.AsyncOpenAI(
        api_key="sk-emulator",
        base_url="http://turns.test/v1",
        http_client=openai.DefaultAsyncHttpxClient(transport=HTTP_FAMILY.ASGITransport(app=app)),
    )
    return OpenAIConversationsSession(openai_client=client, requests=RequestSettings(retry_policy=FAST))


@pytest.mark.parametrize("way", WAYS)
async def test_a_popped_item_is_returned_by_this_pop_or_the_next(emulator, way):
    session = session_with_turns(emulator)
    await session.add_items(USERS[:2])
    for turns in itertools.count():
        caller = await cancelled_after(turns, session.pop_item, way)
        if not caller.task.cancelled():
            assert USERS[1] == caller.task.result()
            break
        assert USERS[1] == await session.pop_item()
        await session.add_items(USERS[1:2])
    assert turns > 10
    assert USERS[:1] == await session.get_items()


@pytest.mark.parametrize("way", WAYS)
async def test_a_write_whose_caller_is_cancelled_leaves_nothing(emulator, way):
    session = session_with_turns(emulator)
    await session.add_items(USERS[:1])
    for turns in itertools.count():
        caller = await cancelled_after(turns, lambda: session.add_items(USERS), way)
        if not caller.task.cancelled():
            assert caller.task.exception() is None
            break
        assert USERS[:1] == await session.get_items()
        assert () == session.unsettled
    assert turns > 10
    assert [*USERS[:1], *USERS] == await session.get_items()


class SlowToLeave:
    """A lock that takes some turns of the loop to leave, and says when it begins to."""

    def __init__(self) -> None:
        self.leaving = asyncio.Event()

    async def __aenter__(self) -> None:
        self.leaving.clear()

    async def __aexit__(self, *error: object) -> None:
        self.leaving.set()
        await some_turns()


async def test_a_value_popped_as_the_lock_is_left_is_not_lost(emulator):
    lock = SlowToLeave()
    session = OpenAIConversationsSession(openai_client=emulator.client(), lock=lambda _: lock)
    await session.add_items(USERS[:2])
    lock.leaving.clear()
    caller = Caller(session.pop_item)
    await lock.leaving.wait()
    caller.stop()
    assert await caller.was_cancelled
    assert USERS[1] == await session.pop_item()


async def test_a_write_that_is_cancelled_as_the_lock_is_left_is_undone(emulator):
    lock = SlowToLeave()
    session = OpenAIConversationsSession(openai_client=emulator.client(), lock=lambda _: lock)
    await session.add_items(USERS[:1])
    lock.leaving.clear()
    caller = Caller(lambda: session.add_items(USERS[1:]))
    await lock.leaving.wait()
    caller.stop()
    assert await caller.was_cancelled
    assert USERS[:1] == await session.get_items()
