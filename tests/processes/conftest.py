"""A conversation on a served emulator, and a Redis server to lock it with."""

import openai
import pytest

from openai_sessions import OpenAIConversationsSession

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


def client_of(base_url):
    transport = openai.DefaultAsyncHttpxClient(verify=False)  # plain HTTP: spares the loading of certificates
    return openai.AsyncOpenAI(base_url=base_url, api_key="sk-stand-in", http_client=transport)


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
