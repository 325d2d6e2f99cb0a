"""Clients of an emulator: the openai client and plain HTTP, in process and on a socket."""

import openai
import pytest

from .wire import KEY, Wire, user


@pytest.fixture
def client(emulator):
    return emulator.client(api_key=KEY)


@pytest.fixture
def wire(emulator):
    return Wire(emulator)


@pytest.fixture
async def conversation(wire):
    return await wire.new_conversation()


@pytest.fixture
async def served(emulator):
    """The openai client of the emulator on a socket."""
    with emulator.serve() as base_url:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=0) as client:
            yield client


@pytest.fixture
async def served_conversation(served):
    """A conversation of `served` with one item."""
    return (await served.conversations.create(items=[user("first")])).id
