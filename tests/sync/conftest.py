import pytest

from openai_sessions.emulator import Emulator
from openai_sessions.sync import OpenAIConversationsSession


@pytest.fixture(scope="module")
def server():
    """An emulator on a socket and its URL; one per module, because stopping it takes a while."""
    with Emulator() as emulator, emulator.serve() as url:
        yield emulator, url


@pytest.fixture
def emulator(server):
    """The emulator without requests and faults of earlier tests."""
    emulator, _ = server
    emulator.forget_requests()
    yield emulator
    emulator.clear_faults()


@pytest.fixture
def base_url(server, emulator, monkeypatch):
    """The URL of the emulator, as the default of clients."""
    _, url = server
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-emulator")
    return url


@pytest.fixture
def session(base_url):
    """A session that opens its own client."""
    with OpenAIConversationsSession() as session:
        yield session
