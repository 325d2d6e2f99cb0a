import pytest

from openai_sessions.emulator import Emulator
from openai_sessions.sync import OpenAIConversationsSession


@pytest.fixture(scope="module")
def server():
    """An emulator on a socket, with its URL; one for a module, as each takes a while to stop."""
    with Emulator() as emulator, emulator.serve() as url:
        yield emulator, url


@pytest.fixture
def emulator(server):
    """That emulator, without requests and faults of the tests before."""
    emulator, _ = server
    emulator.forget_requests()
    yield emulator
    emulator.clear_faults()


@pytest.fixture
def base_url(server, emulator, monkeypatch):
    """The URL of the emulator, where clients look by default."""
    _, url = server
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-emulator")
    return url


@pytest.fixture
def session(base_url):
    """A session with clients of its own."""
    with OpenAIConversationsSession() as session:
        yield session
