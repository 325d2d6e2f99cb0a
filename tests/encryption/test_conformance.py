"""The conformance suite, over sessions of this library and of the Agents SDK."""

import itertools
from contextlib import asynccontextmanager

import agents
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Emulator
from openai_sessions.encryption import EncryptedSession
from openai_sessions.testing import CHECKS, check_session

from .stores import KEY, OTHER_KEY
from .test_key_stores import MemoryKeys

numbers = itertools.count(1)


@asynccontextmanager
async def over_hosted(tmp_path):
    """Hosted sessions: another object on the same conversation knows its id."""
    with Emulator() as emulator:
        async with emulator.client() as client:
            yield (
                lambda name: OpenAIConversationsSession(openai_client=client),
                lambda session: OpenAIConversationsSession(
                    openai_client=client, conversation_id=session.conversation_id
                ),
            )


@asynccontextmanager
async def over_sqlite(tmp_path):
    opened = []

    def open_session(name):
        opened.append(agents.SQLiteSession(name, tmp_path / "sessions.db"))
        return opened[-1]

    yield open_session, lambda session: open_session(session.session_id)
    for session in opened:
        session.close()


@asynccontextmanager
async def over_encrypted(tmp_path):
    """An encrypted session is a session: it can be encrypted again."""
    async with over_sqlite(tmp_path) as (make, _):
        yield (
            lambda name: EncryptedSession(name, make(name), OTHER_KEY),
            lambda session: EncryptedSession(session.session_id, make(session.session_id), OTHER_KEY),
        )


SKIPPED = {"unused_session_creates_nothing"}
"""The session always has an id."""


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("stores", [over_hosted, over_sqlite, over_encrypted])
async def test_session_passes_every_check(stores, tmp_path):
    report = await checked(stores, tmp_path)
    assert [] == [str(result) for result in report.failed]
    assert SKIPPED == {result.name for result in report.skipped}
    assert len(CHECKS) - len(SKIPPED) == len(report.passed)


async def checked(stores, tmp_path):
    async with stores(tmp_path) as (make, reopen):
        return await check_session(
            lambda: encrypted(f"user {next(numbers)}", make),
            reopen=lambda session: EncryptedSession(session.session_id, reopen(session), KEY),
        )


@pytest.mark.exhaustive
async def test_session_with_a_key_store_passes_every_check(tmp_path):
    keys = MemoryKeys()
    async with over_hosted(tmp_path) as (make, reopen):
        report = await check_session(
            lambda: EncryptedSession(f"user {next(numbers)}", make(""), keys, user="alice"),
            reopen=lambda session: EncryptedSession(session.session_id, reopen(session), keys, user="alice"),
        )
    assert [] == [str(result) for result in report.failed]


def encrypted(name, make):
    return EncryptedSession(name, make(name), KEY)
