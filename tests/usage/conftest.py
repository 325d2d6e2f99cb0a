"""Fixtures of the usage tests."""

import agents
import pytest

from tests.faults.conftest import quiet_loop, world

__all__ = ["quiet_loop", "world"]


@pytest.fixture(autouse=True, scope="package")
def _tracing_is_off():
    agents.set_tracing_disabled(disabled=True)


@pytest.fixture
async def client(emulator):
    async with emulator.client() as client:
        yield client
