"""Clients of an emulator: the openai client and plain HTTP, in process and on a socket."""

import openai
import pytest

from openai_sessions.emulator._server import serving
from tests.servers import Replaceable

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


@pytest.fixture(scope="session")
def server():
    """One server for all tests; it serves the emulator that `base_url` sets."""
    application = Replaceable()
    with serving(application, host="127.0.0.1", port=0) as base_url:
        yield application, base_url


@pytest.fixture
def base_url(server, emulator):
    """The URL of the emulator on a socket."""
    application, url = server
    application.app = emulator
    return url


@pytest.fixture
async def served(base_url):
    """The openai client of the emulator on a socket."""
    async with openai.AsyncOpenAI(api_key=KEY, base_url=base_url, max_retries=0) as client:
        yield client


@pytest.fixture
async def served_conversation(served):
    """A conversation of `served` with one item."""
    return (await served.conversations.create(items=[user("first")])).id
