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
    """The underlying session of encrypted ones."""
    return OpenAIConversationsSession(openai_client=client)


@pytest.fixture
def encrypted(hosted, clock):
    """Return a factory of encrypted sessions, by default over `hosted`."""

    def make(underlying=None, *, session_id="first user", key=KEY, ttl=600):
        return EncryptedSession(
            session_id, hosted if underlying is None else underlying, key, ttl=ttl, clock=clock
        )

    return make


@pytest.fixture
def names():
    """Return a factory of unique session names."""
    numbers = itertools.count(1)
    return lambda: f"user {next(numbers)}"
