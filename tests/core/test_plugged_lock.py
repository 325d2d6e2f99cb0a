"""A lock of the caller's, around each operation."""

from __future__ import annotations

import asyncio
import logging
import threading
from itertools import count
from typing import Any

import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings
from openai_sessions._conversation.lazy import Hooks
from openai_sessions._conversation.locks import holding
from openai_sessions._conversation.shielding import Cancellation, _running, run_shielded
from tests.wire import FAST, Call, Wire, error, page

USER = {"role": "user", "content": "Hi"}
ITEMS = "/conversations/conv_1/items"


class ServerDownError(Exception):
    """What the server of a lock may raise."""


class Lock:
    """A lock that writes a log, and fails where it is told to."""

    def __init__(self, log: list[str], *, fails: str = "", swallows: bool = False) -> None:
        self.log = log
        self._fails = fails
        self._swallows = swallows
        self.is_held = False

    def __call__(self, conversation_id: str) -> Lock:
        self._fail("making")
        self.log.append(f"lock {conversation_id}")
        return self

    def _fail(self, step: str) -> None:
        if self._fails == step:
            raise ServerDownError

    async def __aenter__(self) -> None:
        assert not self.is_held, "sessions of one process must not compete for it"
        self._fail("entering")
        self.is_held = True
        self.log.append("enter")

    async def __aexit__(self, error_type: type[BaseException] | None, *rest: object) -> bool:
        self.is_held = False
        self.log.append(f"leave {error_type.__name__ if error_type else None}")
        self._fail("leaving")
        return self._swallows


def locked_session(answer: Any, **options: Any) -> tuple[list[str], OpenAIConversationsSession]:
    """Return a session under a lock, and the log of the lock and of the requests."""
    log: list[str] = []

    def respond(call: Call) -> Any:
        log.append(str(call))
        return answer(call)

    return log, OpenAIConversationsSession(
        conversation_id="conv_1",
        openai_client=Wire(respond).client,
        requests=RequestSettings(retry_policy=FAST),
        lock=Lock(log, **options),
    )


NUMBERS = count()


def well(call: Call) -> Any:
    """List `m1`; append under new ids."""
    return page(f"new{next(NUMBERS)}") if call.method == "POST" else page("m1")


OPERATIONS = {
    "get_items": (lambda session: session.get_items(), [f"GET {ITEMS}"]),
    "add_items": (lambda session: session.add_items([USER]), [f"GET {ITEMS}", f"POST {ITEMS}"]),
    "pop_item": (lambda session: session.pop_item(), [f"GET {ITEMS}", f"DELETE {ITEMS}/m1"]),
    "clear_session": (lambda session: session.clear_session(), ["DELETE /conversations/conv_1"]),
    "check": (lambda session: session.check(), [f"GET {ITEMS}"]),
    "rewind": (lambda session: session.rewind(before_turn=1), [f"GET {ITEMS}", f"DELETE {ITEMS}/m1"]),
    "replace_item": (
        lambda session: session.replace_item("m1", USER),
        [f"GET {ITEMS}", f"POST {ITEMS}", f"DELETE {ITEMS}/m1"],
    ),
    "settle": (
        lambda session: session.settle(
            {
                "version": 1,
                "conversation_id": "conv_1",
                "anchors": [],
                "stored": [],
                "found": [],
                "unknown": [],
                "deleting": [],
            }
        ),
        [f"GET {ITEMS}"],
    ),
}

every_operation = pytest.mark.parametrize(("operate", "requests"), OPERATIONS.values(), ids=list(OPERATIONS))


@every_operation
async def test_the_lock_of_the_conversation_is_held_around_an_operation(operate, requests):
    log, session = locked_session(well)
    await operate(session)
    assert ["lock conv_1", "enter", *requests, "leave None"] == log


@every_operation
@pytest.mark.parametrize("step", ["making", "entering"])
async def test_a_lock_that_is_not_had_raises_before_any_request(operate, requests, step):
    log, session = locked_session(well, fails=step)
    with pytest.raises(ServerDownError):
        await operate(session)
    assert ([] if step == "making" else ["lock conv_1"]) == log


async def test_a_lock_that_is_not_for_async_is_named_before_any_request():
    wire = Wire(well)
    session = OpenAIConversationsSession(
        conversation_id="conv_1", openai_client=wire.client, lock=lambda _: threading.Lock()
    )
    with pytest.raises(
        TypeError, match=r"^lock= returned a lock, which is not an async context manager: return one"
    ):
        await session.get_items()
    assert [] == wire.calls


@every_operation
async def test_an_operation_after_one_without_the_lock_is_not_blocked(operate, requests):
    log, session = locked_session(well, fails="entering")
    for _ in range(2):
        with pytest.raises(ServerDownError):
            await asyncio.wait_for(operate(session), 5)
    assert ["lock conv_1"] * 2 == log


@every_operation
async def test_an_error_on_leaving_after_a_success_is_logged(operate, requests, caplog):
    log, session = locked_session(well, fails="leaving")
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        await operate(session)
    assert ["conv_1: releasing the lock failed: ServerDownError"] == caplog.messages
    assert "leave None" == log[-1]


@pytest.mark.parametrize("options", [{}, {"fails": "leaving"}, {"swallows": True}], ids=repr)
@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "settle"])
async def test_after_a_failure_its_error_comes_out(name, options):
    log, session = locked_session(lambda call: error(403), **options)
    with pytest.raises(openai.PermissionDeniedError):
        await OPERATIONS[name][0](session)
    assert "leave PermissionDeniedError" == log[-1]


async def test_a_cancellation_leaves_the_lock():
    log: list[str] = []
    entered = asyncio.Event()

    async def hold() -> None:
        async with holding(Lock(log), "conv_1", Cancellation()):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(hold())
    await entered.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert ["lock conv_1", "enter", "leave CancelledError"] == log


async def test_an_append_under_a_lock_reads_first_each_time():
    """Another process may have written since."""
    log, session = locked_session(well)
    for _ in range(2):
        await session.add_items([USER])
    assert [f"GET {ITEMS}", f"POST {ITEMS}"] * 2 == [line for line in log if ITEMS in line]


async def test_an_append_without_a_lock_reads_first_once():
    wire = Wire(well)
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    for _ in range(2):
        await session.add_items([USER])
    assert [f"GET {ITEMS}", f"POST {ITEMS}", f"POST {ITEMS}"] == str(wire).split("\n")


async def test_an_unused_session_takes_no_lock():
    log: list[str] = []
    wire = Wire(well)
    session = OpenAIConversationsSession(openai_client=wire.client, lock=Lock(log))
    assert [] == await session.get_items()
    assert await session.pop_item() is None
    await session.clear_session()
    assert ([], []) == (log, wire.calls)


async def test_sessions_of_one_process_do_not_compete_for_the_lock():
    log: list[str] = []
    wire = Wire(well)
    lock = Lock(log)
    sessions = [
        OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client, lock=lock)
        for _ in range(3)
    ]
    await asyncio.gather(*(session.get_items() for session in sessions))
    assert ["lock conv_1", "enter", "leave None"] * 3 == log


class SlowLock(Lock):
    """A lock that somebody else holds until the test says otherwise."""

    def __init__(self, log: list[str]) -> None:
        super().__init__(log)
        self.is_awaited, self.is_free = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> None:
        self.is_awaited.set()
        await self.is_free.wait()
        await super().__aenter__()


async def cancelled_while_acquiring(times: int = 1) -> tuple[SlowLock, asyncio.Task[Any], list[str]]:
    log, session = locked_session(well)
    lock = SlowLock(log)
    session._conversation._hooks = Hooks(lock=lock)
    reading = asyncio.ensure_future(session.get_items())
    await lock.is_awaited.wait()
    for _ in range(times):
        reading.cancel()
        await asyncio.sleep(0)
    return lock, reading, log


@pytest.mark.parametrize("times", [1, 3])
async def test_a_lock_that_is_had_after_its_taker_was_cancelled_is_left(times):
    """Cut in the middle, it would be held until its lease ends."""
    lock, reading, log = await cancelled_while_acquiring(times)
    lock.is_free.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert ["lock conv_1", "enter", "leave OperationCancelledError"] == log


async def test_a_cancelled_taker_does_not_wait_long_for_a_lock_that_is_not_free():
    log: list[str] = []
    lock = SlowLock(log)

    async def work(cancellation: Cancellation) -> None:
        async with holding(lock, "conv_1", cancellation):
            log.append("work")

    taking = asyncio.ensure_future(run_shielded(work, patience=0.01))
    await lock.is_awaited.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert ["lock conv_1"] == log
    (acquiring,) = _running
    lock.is_free.set()
    await asyncio.wait({acquiring})
    assert ["lock conv_1", "enter", "leave OperationCancelledError"] == log
