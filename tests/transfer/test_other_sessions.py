"""Copies to and from every testable session class of the Agents SDK, and back to hosted storage."""

from __future__ import annotations

import asyncio
import gc
import inspect
from contextlib import asynccontextmanager

import pytest

from openai_sessions import OpenAIConversationsSession, copy_session, export_session, import_session
from openai_sessions.emulator import Emulator
from openai_sessions.errors import TransferConflictError
from openai_sessions.transfer import TransferReport
from tests.conformance.agents_sessions import SESSIONS
from tests.selection import one_in
from tests.servers import client_of, smg_server

from .items import every_kind, turns, users

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning"
    ),
]
"""The SDK's SQLite classes leave connections of threads open; Python 3.13 warns of them."""

OF_THE_SDK = [name for name in SESSIONS if name not in ("this library", "OpenAIConversationsSession")]


@pytest.fixture(scope="module", params=one_in(4, OF_THE_SDK))
def makers(request):
    """Return an async context manager that makes sessions of one class on its storage."""
    storage, makers = SESSIONS[request.param]

    @asynccontextmanager
    async def emptied(storage_at):
        async with makers(storage_at) as (make, _):

            async def new():
                session = make()
                made.append(session)
                await session.clear_session()  # its id is that of a session of the test before
                return session

            made = []
            yield new
            for session in made:
                await closed(session)

    with storage() as storage_at:
        yield lambda: emptied(storage_at)
    gc.collect()  # what the SDK's classes have left open is found now, and not in a test of others


async def closed(session):
    close = getattr(session, "close", None)
    result = close() if close else None
    if inspect.isawaitable(result):
        await result


@pytest.fixture
def hosted(emulator):
    client = emulator.client()
    return lambda: OpenAIConversationsSession(openai_client=client)


async def test_every_kind_of_item_is_copied_there_and_back(makers, hosted):
    here, back = hosted(), hosted()
    await here.add_items(every_kind())
    items = await here.get_items()
    async with makers() as new:
        there = await new()
        assert TransferReport(copied=len(items)) == await copy_session(here, there)
        assert items == await there.get_items()
        assert TransferReport(copied=len(items)) == await copy_session(there, back)
    assert items == await back.get_items()


async def test_copy_continues_in_both_directions(makers, hosted):
    async with makers() as new:
        here, there = hosted(), await new()
        await here.add_items(turns(60))
        await there.add_items(turns(60)[:111])
        assert TransferReport(copied=129, already_there=111) == await copy_session(here, there)
        back = hosted()
        await back.add_items(turns(60)[:30])
        assert TransferReport(copied=210, already_there=30) == await copy_session(there, back)
        assert turns(60) == await back.get_items()


async def test_target_with_other_items_is_refused(makers, hosted):
    async with makers() as new:
        here, there = hosted(), await new()
        await here.add_items(users(3))
        await there.add_items(users(2, "other"))
        with pytest.raises(TransferConflictError):
            await copy_session(here, there)
        assert TransferReport(copied=3) == await copy_session(here, there, append=True)
        assert [*users(2, "other"), *users(3)] == await there.get_items()


async def test_export_of_one_is_imported_into_another(makers, tmp_path):
    async with makers() as new:
        here, there = await new(), await new()
        await here.add_items(turns(60))
        assert 240 == (await export_session(here, tmp_path / "history.jsonl")).copied
        assert 240 == (await import_session(tmp_path / "history.jsonl", there)).copied
        assert await here.get_items() == await there.get_items()


async def test_failed_copy_is_popped_again(makers, hosted):
    """Earlier items are kept."""
    async with makers() as new:
        here, there = hosted(), await new()
        await here.add_items(users(250))
        await there.add_items(users(7, "before"))

        def stop(done, _):
            if done > 100:
                raise LookupError

        with pytest.raises(LookupError):
            await copy_session(here, there, append=True, on_progress=stop)
        assert users(7, "before") == await there.get_items()
        with pytest.raises(LookupError):
            await copy_session(here, there, append=True, keep_partial=True, on_progress=stop)
        assert [*users(7, "before"), *users(200)] == await there.get_items()


def test_hosted_session_of_the_sdk_is_a_source_and_a_target():
    """The ids and statuses that it returns make no difference."""
    storage, makers = SESSIONS["OpenAIConversationsSession"]

    async def there_and_back(base_url):
        async with makers(base_url) as (make, _), client_of(base_url) as client:
            here = OpenAIConversationsSession(openai_client=client)
            back = OpenAIConversationsSession(openai_client=client)
            await here.add_items(turns(30))
            there = make()
            assert 120 == (await copy_session(here, there)).copied
            assert 120 == (await copy_session(there, back)).copied
            assert await here.get_items() == await back.get_items()

    with storage() as base_url:
        asyncio.run(there_and_back(base_url))


class Wrapper:
    """A session of an application around another one."""

    def __init__(self, session):
        self.underlying_session = session
        self.get_items, self.add_items = session.get_items, session.add_items
        self.pop_item, self.clear_session = session.pop_item, session.clear_session


def test_wrapped_hosted_session_of_the_sdk_is_a_source():
    """Older versions of it send any limit to the API, which allows 100."""
    storage, makers = SESSIONS["OpenAIConversationsSession"]

    async def copied(base_url):
        async with makers(base_url) as (make, _), client_of(base_url) as client:
            hosted = make()
            await hosted.add_items(users(3))
            target = OpenAIConversationsSession(openai_client=client)
            await copy_session(Wrapper(hosted), target)
            assert users(3) == await target.get_items()

    with storage() as base_url:
        asyncio.run(copied(base_url))


async def test_copy_to_another_server_and_back(hosted):
    """smg returns page one for a missing cursor, and announces more after each full page."""
    with smg_server() as base_url:
        async with client_of(base_url) as client:
            here, back = hosted(), hosted()
            there = OpenAIConversationsSession(openai_client=client)
            await here.add_items(turns(75))
            assert TransferReport(copied=300) == await copy_session(here, there)
            assert TransferReport(already_there=300) == await copy_session(here, there)
            assert TransferReport(copied=300) == await copy_session(there, back)
            assert turns(75) == await back.get_items()


async def test_encrypted_session_of_this_library_is_a_source_and_a_target(emulator, hosted):
    """The wrapper has no ids to delete by: its items are popped, and the conversation deleted."""
    encryption = pytest.importorskip("openai_sessions.encryption")
    pytest.importorskip("cryptography")

    def wrapped(beneath):
        return encryption.EncryptedSession("moved", beneath, "a key of the tests, of no other use")

    here, beneath, back = hosted(), hosted(), hosted()
    await here.add_items(turns(40))
    assert TransferReport(copied=160) == await copy_session(here, wrapped(beneath))
    assert "question" not in str(emulator.items(beneath.session_id))
    assert TransferReport(copied=160) == await copy_session(wrapped(beneath), back)
    assert turns(40) == await back.get_items()

    failed = hosted()
    before = emulator.conversations()

    def stop(*_):
        raise LookupError

    with pytest.raises(LookupError):
        await copy_session(here, wrapped(failed), on_progress=stop)
    assert before == emulator.conversations()


async def test_encrypted_session_of_the_sdk_is_read_decrypted(hosted, tmp_path):
    """It delegates missing attributes, such as `iterate_items`, to its underlying session."""
    pytest.importorskip("cryptography")
    memory = pytest.importorskip("agents.extensions.memory")
    with Emulator() as emulator:
        beneath = OpenAIConversationsSession(openai_client=emulator.client())
        source = memory.EncryptedSession("moved", beneath, "a key of the tests, of no other use")
        assert hasattr(source, "iterate_items")
        await export_session(source, tmp_path / "empty.jsonl")
        assert () == emulator.requests  # it was asked by get_items(), of an unused session
