"""A conversation whose locks a whole block holds."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from openai_sessions import OpenAIConversationsSession, start_openai_conversations_session
from openai_sessions._conversation.lazy import Hooks, _held_here
from openai_sessions._conversation.shielding import _running
from openai_sessions._conversation.writing import append_items
from openai_sessions.errors import ConversationHeldError
from tests.wire import Wire

from .test_plugged_lock import ITEMS, USER, Lock, ServerDownError, SlowLock, locked_session, well


async def newest(locked):
    return [item["id"] for item in await locked.newest(1)]


async def test_operations_run_under_locks_that_are_held_once():
    log, session = locked_session(well)
    async with session._conversation.held() as held:
        assert held.conversation_id == "conv_1"
        assert ["m1"] == await held.run(newest)
        await held.run(append_items, [USER])
        assert ["m1"] == await held.run(newest)
    assert ["lock conv_1", "enter", f"GET {ITEMS}", f"POST {ITEMS}", f"GET {ITEMS}", "leave None"] == log


async def test_the_conversation_is_created_at_the_start():
    wire = Wire(lambda call: (200, {"id": "conv_2", "object": "conversation", "metadata": None}))
    session = OpenAIConversationsSession(openai_client=wire.client)
    async with session._conversation.held() as held:
        assert held.conversation_id == session.session_id == "conv_2"
    assert ["POST /conversations"] == [str(call) for call in wire.calls]


async def test_others_wait_for_the_end_of_the_block():
    log, session = locked_session(well)
    async with session._conversation.held() as held:
        await held.run(append_items, [USER])
        with not_a_part_of_the_block():
            reading = asyncio.ensure_future(session.get_items())
        for _ in range(20):
            await asyncio.sleep(0)
        log.append("end")
    await reading
    assert ["end", "leave None", "lock conv_1", "enter", f"GET {ITEMS}", "leave None"] == log[4:]


@contextlib.contextmanager
def not_a_part_of_the_block():
    """Start tasks as somebody outside of the block would."""
    token = _held_here.set(())
    yield
    _held_here.reset(token)


async def test_a_task_does_not_wait_for_itself():
    """Nor does a task or a thread that it starts; a task that outlives the block may go on."""
    log, session = locked_session(well)
    is_over = asyncio.Event()

    async def later():
        await is_over.wait()
        return await session.get_items()

    async with session._conversation.held():
        started = asyncio.ensure_future(later())
        with pytest.raises(ConversationHeldError, match="conv_1 is held by an exclusive turn"):
            await session.get_items()
        with pytest.raises(ConversationHeldError):
            await asyncio.ensure_future(session.add_items([USER]))
        with pytest.raises(ConversationHeldError):
            await asyncio.to_thread(lambda: asyncio.run(session.get_items()))
        with pytest.raises(ConversationHeldError):
            async with session._conversation.held():
                pass
        assert ["lock conv_1", "enter"] == log
    is_over.set()
    assert 1 == len(await started)
    assert 1 == len(await session.get_items())


async def test_operations_of_several_tasks_run_one_after_another():
    log, session = locked_session(well)

    async def work(locked, name):
        log.append(f"start {name}")
        await asyncio.sleep(0)
        log.append(f"end {name}")

    async with session._conversation.held() as held:
        await asyncio.gather(held.run(work, 1), held.run(work, 2))
    assert log[2:-1] == ["start 1", "end 1", "start 2", "end 2"]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_block_releases_its_locks(times):
    log, session = locked_session(well)
    entered = asyncio.Event()

    async def hold():
        async with session._conversation.held():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(hold())
    await entered.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ["lock conv_1", "enter", "leave None"] == log
    await session.get_items()


async def test_a_lock_that_is_acquired_after_its_block_was_cancelled_is_released():
    log, session = locked_session(well)
    lock = SlowLock(log)
    session._conversation._hooks = Hooks(lock=lock)

    async def hold():
        async with session._conversation.held():
            raise AssertionError

    task = asyncio.ensure_future(hold())
    await lock.is_awaited.wait()
    task.cancel()
    await asyncio.sleep(0)
    lock.is_free.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ["lock conv_1", "enter", "leave OperationCancelledError"] == log
    await session.get_items()


@pytest.mark.parametrize("turns", range(12))
async def test_a_block_cancelled_at_any_moment_of_its_start_releases_its_locks(turns):
    _, session = locked_session(well)

    async def hold():
        async with session._conversation.held():
            await asyncio.Event().wait()

    task = asyncio.ensure_future(hold())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if _running:
        await asyncio.wait(_running)
    assert 1 == len(await session.get_items())


async def test_a_lock_that_is_not_acquired_fails_the_block_before_any_request():
    log, session = locked_session(well, fails="entering")
    with pytest.raises(ServerDownError):
        async with session._conversation.held():
            raise AssertionError
    assert ["lock conv_1"] == log
    assert not asyncio.all_tasks() - {asyncio.current_task()}


async def test_the_tail_is_read_again_under_a_lock():
    """Another process may have written since this one did."""
    log, session = locked_session(well)
    await session.add_items([USER])
    log.clear()
    async with session._conversation.held() as held:
        await held.run(append_items, [USER])
        await held.run(append_items, [USER])
    assert [f"GET {ITEMS}", f"POST {ITEMS}", f"POST {ITEMS}"] == [line for line in log if ITEMS in line]


async def test_contexts_keep_no_blocks_that_have_ended():
    """As those of a thread do that enters the blocks of a sync session."""
    _, session = locked_session(well)

    async def block():
        async with session._conversation.held() as held:
            return held

    for _ in range(3):
        (await asyncio.ensure_future(block())).enter()
    assert 1 == len(_held_here.get())
    assert 1 == len(await session.get_items())


class LostLock(Lock):
    """A lock whose lease has run out."""

    async def __aenter__(self):
        await super().__aenter__()
        return self

    def raise_if_lost(self):
        raise InterruptedError


async def test_nothing_is_written_under_a_lock_that_was_lost():
    log, session = locked_session(well)
    session._conversation._hooks = Hooks(lock=LostLock(log))
    with pytest.raises(InterruptedError):
        await session.add_items([USER])
    async with session._conversation.held() as held:
        with pytest.raises(InterruptedError):
            await held.run(append_items, [USER])
    assert not [line for line in log if line.startswith("POST")]


def test_loops_in_several_threads_hold_one_after_another(emulator):
    log = []
    conversation_id = asyncio.run(start_openai_conversations_session(emulator.client()))

    async def hold():
        session = OpenAIConversationsSession(conversation_id=conversation_id, openai_client=emulator.client())
        async with session._conversation.held() as held:
            log.append("in")
            await held.run(append_items, [USER])
            log.append("out")

    threads = [threading.Thread(target=asyncio.run, args=(hold(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ["in", "out"] * 4 == log


def test_a_block_uses_the_client_of_the_loop_in_which_it_works(emulator, monkeypatch):
    """As a tool does that runs in a thread with a loop of its own."""
    with emulator.serve() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-emulator")

        async def work():
            async with OpenAIConversationsSession() as session, session._conversation.held() as held:
                await held.run(append_items, [USER])
                await asyncio.to_thread(asyncio.run, held.run(append_items, [USER]))
                return len(await held.run(newest))

        assert 1 == asyncio.run(work())
        assert 2 == len(emulator.items(emulator.conversations()[0].id))
