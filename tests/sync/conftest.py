import pytest

from openai_sessions.sync import OpenAIConversationsSession


@pytest.fixture
def base_url(emulator, monkeypatch):
    """Serve the emulator on a socket, where clients look by default."""
    with emulator.serve() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-emulator")
        yield url


@pytest.fixture
def session(base_url):
    """A session with clients of its own."""
    with OpenAIConversationsSession() as session:
        yield session
