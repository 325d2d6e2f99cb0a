"""Stores on a SQLite file, with an emulator of the API."""

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from openai_sessions import RequestSettings
from openai_sessions.directory import SessionDirectory
from tests.wire import FAST

collect_ignore_glob = []
try:
    import pydantic_ai.conversation_store  # noqa: F401 - Pydantic AI needs Python 3.11
except ImportError:
    collect_ignore_glob = ["test_*.py"]

OPTIONS = {"requests": RequestSettings(retry_policy=FAST)}


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A SQLite file with empty tables."""
    path = tmp_path_factory.mktemp("template") / "sessions.db"
    with ThreadPoolExecutor(1) as thread:  # which has no event loop of a test
        thread.submit(asyncio.run, create_tables(f"sqlite+aiosqlite:///{path}")).result()
    return path


async def create_tables(url):
    async with SessionDirectory(url) as directory:
        await directory.create_tables()


@pytest.fixture
def url(template, tmp_path):
    shutil.copy(template, tmp_path / "sessions.db")
    return f"sqlite+aiosqlite:///{tmp_path}/sessions.db"


@pytest.fixture
async def client(emulator):
    async with emulator.client() as client:
        yield client


@pytest.fixture
async def open_directory(url, client):
    """Return a factory of directories on the database, like those of several processes."""
    opened = []

    def make(**options):
        opened.append(
            SessionDirectory(url, **{"openai_client": client, "session_options": OPTIONS, **options})
        )
        return opened[-1]

    yield make
    for directory in opened:
        await directory.aclose()


@pytest.fixture
def directory(open_directory):
    return open_directory()


@pytest.fixture
def store(directory):
    from openai_sessions.adapters.pydantic_ai import OpenAIConversationStore  # noqa: PLC0415 - may be missing

    return OpenAIConversationStore(directory)


@pytest.fixture
def other(open_directory):
    """The same store, like that of another process."""
    from openai_sessions.adapters.pydantic_ai import OpenAIConversationStore  # noqa: PLC0415 - may be missing

    return OpenAIConversationStore(open_directory())
