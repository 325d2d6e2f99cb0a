"""The emulator with faults, and a stage that delays single requests."""

from __future__ import annotations

import contextlib

import agents
import pytest

from tests.faults.conftest import quiet_loop, stage, world

from .items import users

__all__ = ["quiet_loop", "stage", "world"]


@pytest.fixture
def local():
    """Return a factory of SQLite sessions, which are closed after the test."""
    with contextlib.ExitStack() as opened:

        def make(name, *, cls=agents.SQLiteSession, **options):
            return opened.enter_context(contextlib.closing(cls(name, **options)))

        yield make


@pytest.fixture
async def source(local):
    """A session of 130 items: two pieces, seven requests."""
    source = local("source")
    await source.add_items(users(130))
    return source
