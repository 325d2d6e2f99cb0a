"""Fixtures of the fault tests."""

from __future__ import annotations

import asyncio
import gc

import pytest

from .stage import Stage
from .world import World


@pytest.fixture
def world(emulator):
    return World(emulator)


@pytest.fixture
async def quiet_loop():
    """Fail the test when it leaves a task, or an exception that nobody has seen."""
    complaints = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    gc.freeze()  # what other tests have left: the collection below then takes no time
    yield
    for _ in range(3):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    gc.collect()
    await asyncio.sleep(0)
    assert not left
    assert complaints == []


@pytest.fixture
def stage(emulator):
    return Stage(emulator)
