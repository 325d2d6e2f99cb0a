"""How deep a read is: the coroutines that wait for each other between `get_items()` and openai's client.

Everyone who steps through a read in a debugger, or reads its traceback, meets each of them. `pytest -s`
prints them.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import types

import pytest

from openai_sessions._conversation.shielding import _running
from tests.core.listing import ItemList

MOST = 16

READS = {
    "cold": (250, lambda session: session.get_items()),
    "newest": (250, lambda session: session.get_items(limit=10)),
    "turns": (250, lambda session: session.get_items(turns=2)),
    "small": (3, lambda session: session.get_items()),
}


def waiting(task: asyncio.Task) -> list[types.CodeType]:
    """Return the code of the coroutines of a task that wait for each other, the outermost first."""
    codes, coroutine = [], task.get_coro()
    while inspect.iscoroutine(coroutine):
        codes.append(coroutine.cr_code)
        coroutine = coroutine.cr_await
    return codes


def running() -> list[types.CodeType]:
    """Return the code of the coroutines of the running task, the outermost first."""
    codes, frame = [], sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_flags & inspect.CO_COROUTINE:
            codes.append(frame.f_code)
        frame = frame.f_back
    return codes[::-1]


def name_of(code: types.CodeType) -> str:
    return f"{code.co_filename.rpartition('openai_sessions/')[2]}: {code.co_name}"


async def deepest(listing: ItemList, read) -> list[str]:
    """Return the awaiting frames of the package at the deepest call of openai's client during a read."""
    found: list[str] = []
    client = listing.wire.client
    get = client.get

    def sampled(*args, **kwargs):
        nonlocal found
        outer = [reader, *(task for task in _running if task is not asyncio.current_task())]
        codes = [code for task in outer for code in waiting(task)] + running()
        names = [name_of(code) for code in codes if "/openai_sessions/" in code.co_filename]
        found = max(found, names, key=len)
        return get(*args, **kwargs)

    client.get = sampled
    reader = asyncio.ensure_future(read(listing.session()))
    await reader
    return found


@pytest.mark.parametrize("kind", READS)
async def test_a_read_awaits_few_frames(kind):
    count, read = READS[kind]
    frames = await deepest(ItemList(count), read)
    print(f"\n{kind}: {len(frames)} awaiting frames", *frames, sep="\n  ")  # noqa: T201
    assert 3 < len(frames) <= MOST
