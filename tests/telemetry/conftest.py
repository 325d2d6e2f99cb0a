"""An emulator on a socket, and sessions on it."""

from contextlib import asynccontextmanager

import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Emulator
from tests.servers import client_of
from tests.wire import FAST, arguments


@pytest.fixture(scope="module")
def server():
    """An emulator and its base URL; each test must use up its faults."""
    with Emulator() as emulator, emulator.serve() as base_url:
        yield emulator, base_url
        assert emulator.unmet_faults == ()


@pytest.fixture
def open_session(server):
    """Return an async context manager that opens a session on the emulator."""

    @asynccontextmanager
    async def opened(**options):
        async with client_of(server[1]) as client:
            given = {"openai_client": client, "retry_policy": FAST, **options}
            async with OpenAIConversationsSession(**arguments(**given)) as session:
                yield session

    return opened


@pytest.fixture
def emulator(server):
    return server[0]
