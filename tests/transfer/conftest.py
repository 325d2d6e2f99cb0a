"""The emulator with faults, and a stage on which single requests are held up."""

from __future__ import annotations

import agents
import pytest

from tests.faults.conftest import quiet_loop, stage, world

from .items import users

__all__ = ["quiet_loop", "stage", "world"]


@pytest.fixture
async def source():
    """A session of 130 items: two pieces, seven requests."""
    source = agents.SQLiteSession("source")
    await source.add_items(users(130))
    yield source
    source.close()
