"""A conversation on a served emulator, and a Redis server to lock it with."""

import pytest

from openai_sessions import OpenAIConversationsSession
from tests.servers import client_of

from .redis_server import redis_server
from .staff import Setting, Staff


@pytest.fixture(scope="session")
def redis_url():
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def staff():
    staff = Staff()
    yield staff
    staff.dismiss()


@pytest.fixture
def base_url(emulator):
    with emulator.serve() as url:
        yield url


@pytest.fixture
async def client(base_url):
    async with client_of(base_url) as client:
        yield client


@pytest.fixture
async def session(client):
    """A session of this process on the conversation that the workers use."""
    session = OpenAIConversationsSession(openai_client=client)
    await session.ensure_conversation()
    return session


@pytest.fixture
def unlocked(base_url, session):
    """Workers on the conversation, without a lock."""
    return Setting(base_url, session.session_id)


@pytest.fixture
def locked(base_url, session, redis_url):
    """Workers on the conversation that share a lock."""
    return Setting(base_url, session.session_id, redis_url)
