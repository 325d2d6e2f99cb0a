import itertools

import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.encryption import EncryptedSession

from .stores import KEY, Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def client(emulator):
    async with emulator.client() as client:
        yield client


@pytest.fixture
def hosted(client):
    """A session of this library, over whose tokens encrypted ones are made."""
    return OpenAIConversationsSession(openai_client=client)


@pytest.fixture
def encrypted(hosted, clock):
    """Make an encrypted session, by default over `hosted`, with a name and a key of the tests."""

    def make(underlying=None, *, session_id="first user", key=KEY, ttl=600):
        return EncryptedSession(
            session_id, hosted if underlying is None else underlying, key, ttl=ttl, clock=clock
        )

    return make


@pytest.fixture
def names():
    """Names of sessions that no other has."""
    numbers = itertools.count(1)
    return lambda: f"user {next(numbers)}"
