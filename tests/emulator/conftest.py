"""An emulator in memory and two ways to talk to it."""

import pytest

from .wire import KEY, Wire


@pytest.fixture
def client(emulator):
    return emulator.client(api_key=KEY)


@pytest.fixture
def wire(emulator):
    return Wire(emulator)


@pytest.fixture
async def conversation(wire):
    return await wire.new_conversation()
