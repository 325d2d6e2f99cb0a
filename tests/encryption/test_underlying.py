"""Delegation to the underlying session, and which sessions can be one."""

from types import SimpleNamespace

import agents
import pytest
from agents import OpenAIResponsesCompactionSession, SessionSettings, SQLiteSession
from agents.extensions.memory import AdvancedSQLiteSession
from agents.extensions.memory import EncryptedSession as SdkEncryptedSession

from openai_sessions import (
    ConversationNotCreatedError,
    HistoryLimits,
    InvalidItemError,
    OpenAIConversationsSession,
)
from openai_sessions.encryption import EncryptedSession, SkippedItems

from .stores import HELLO, HI, KEY, OTHER_KEY, ListSession, said, texts


def test_it_follows_the_session_protocol(encrypted):
    session = encrypted()
    assert isinstance(session, agents.Session)
    assert "first user" == session.session_id
    assert session._ignore_ids_for_matching is True


async def test_attributes_of_the_underlying_session_are_available(encrypted, hosted):
    session = encrypted()
    assert session.conversation_id is None
    assert await session.ensure_conversation() == hosted.session_id == session.conversation_id
    assert () == session.unsettled


async def test_usage_is_that_of_the_underlying_session(encrypted, hosted):
    session = encrypted()
    await session.add_items([HELLO])
    response = SimpleNamespace(model="gpt-5-mini", usage=SimpleNamespace(input_tokens=5))
    await session.store_run_usage(response, model="gpt-5.2")
    assert ["gpt-5.2"] == [part.model for part in (await session.get_session_usage()).models]
    assert await hosted.get_session_usage() == await session.get_session_usage()


def test_error_of_an_attribute_is_that_of_the_underlying_session(encrypted, hosted):
    with pytest.raises(ConversationNotCreatedError):
        _ = encrypted().underlying_session.session_id
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = encrypted().no_such_name


@pytest.mark.parametrize(
    "name",
    [
        "fork",
        "turns",
        "find_turns",
        "get_turn_usage",
        "run_compaction",
        "_get_compaction_snapshot",
        *("check", "delete_items", "repair", "replace_item", "rewind"),
        "create_branch_from_content",
        "create_branch_from_turn",
        "find_turns_by_content",
        "get_conversation_by_turns",
        "get_conversation_turns",
    ],
)
def test_methods_that_would_see_tokens_are_not_delegated(encrypted, name):
    underlying = ListSession()
    session = encrypted(underlying)
    setattr(underlying, name, lambda: "tokens")
    assert not hasattr(session, name)


def test_settings_are_those_of_the_underlying_session(encrypted, hosted):
    session = encrypted()
    session.session_settings = SessionSettings(limit=3)
    assert hosted.session_settings == SessionSettings(limit=3) == session.session_settings


async def test_options_of_clear_are_passed_on(encrypted, hosted, emulator):
    session = encrypted()
    await session.add_items([HELLO, HI])
    conversation_id = hosted.session_id
    await session.clear_session(keep_conversation=True)
    assert (conversation_id, ()) == (hosted.session_id, emulator.items(conversation_id))


async def test_leaving_the_block_closes_the_underlying_session(encrypted, emulator, monkeypatch):
    with emulator.serve() as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-emulator")
        underlying = OpenAIConversationsSession()
        async with encrypted(underlying) as session:
            await session.add_items([HELLO])
            assert underlying._clients.unclosed
        assert not underlying._clients.unclosed


async def test_synchronous_close_is_called(encrypted, tmp_path):
    closed = []
    underlying = SQLiteSession("first user", tmp_path / "sessions.db")
    close = underlying.close
    underlying.close = lambda: closed.append(close())
    async with encrypted(underlying):
        pass
    assert [None] == closed


async def test_turn_methods_of_the_advanced_session_are_not_delegated(encrypted, tmp_path):
    """They would treat each token as a user message that starts a turn."""
    underlying = AdvancedSQLiteSession(
        session_id="first user", db_path=tmp_path / "sessions.db", create_tables=True
    )
    async with encrypted(underlying) as session:
        await session.add_items([HELLO, HI])
        shown = {name for name in dir(underlying) if "turn" in name and not name.startswith("_")}
        assert {"get_turn_usage", "find_turns_by_content", "create_branch_from_turn"} <= shown
        assert {name for name in shown if hasattr(session, name)} == set()
        assert HI == await session.pop_item()
        assert [HELLO] == await session.get_items()


async def test_session_without_close_is_supported(encrypted):
    async with encrypted(ListSession()) as session:
        assert [] == await session.get_items()


def test_object_without_session_methods_is_refused(encrypted):
    with pytest.raises(TypeError, match="dict has no get_items, add_items, pop_item, clear_session"):
        EncryptedSession("first user", {}, KEY)


def test_session_that_compacts_is_refused_with_the_remedy(encrypted):
    compacting = OpenAIResponsesCompactionSession("first user", ListSession())
    with pytest.raises(TypeError, match=r"would compact tokens.*underlying_session=EncryptedSession"):
        encrypted(compacting)


@pytest.mark.parametrize("limit", [{"max_turns": 2}, {"max_tokens": 100, "count_tokens": len}])
def test_session_that_counts_tokens_is_refused(encrypted, client, limit):
    with pytest.raises(ValueError, match="has history_limits, and would apply them to encrypted items"):
        encrypted(OpenAIConversationsSession(openai_client=client, history_limits=HistoryLimits(**limit)))


async def test_envelope_is_read_in_the_stored_form(encrypted, client):
    """The Agents SDK's class returns messages in the stored form: with an id and parts."""
    underlying = agents.OpenAIConversationsSession(openai_client=client)
    session = encrypted(underlying)
    await session.add_items([HELLO, HI])
    assert isinstance((await underlying.get_items())[0]["content"], list)
    assert [HELLO, HI] == await session.get_items()
    assert HI == await session.pop_item()


@pytest.mark.parametrize("count", [0, 1, 250])
@pytest.mark.parametrize("kind", ["hosted", "list"])
async def test_iteration_yields_readable_items(encrypted, hosted, kind, count):
    session = encrypted(hosted if kind == "hosted" else ListSession())
    await session.add_items(said(*map(str, range(count))))
    await encrypted(session.underlying_session, key=OTHER_KEY).add_items(said("other"))

    assert [str(n) for n in range(count)] == [item["content"] async for item in session.iterate_items()]
    assert SkippedItems(undecryptable=1) == session.skipped


async def test_iteration_starts_after_an_item(encrypted, hosted, emulator):
    session = encrypted()
    await session.add_items(said("1", "2", "3"))
    first, *_ = emulator.items(hosted.session_id)
    assert ["2", "3"] == texts([item async for item in session.iterate_items(after=first["id"])])
    with pytest.raises(TypeError, match="ListSession has no iterate_items"):
        _ = [item async for item in encrypted(ListSession()).iterate_items(after="msg_1")]


async def test_item_of_the_sdks_wrapper_is_refused_with_the_name_of_this_class(hosted, emulator):
    session = SdkEncryptedSession("first user", hosted, KEY)
    with pytest.raises(InvalidItemError, match=r"items\[0\] .*use openai_sessions\.EncryptedSession"):
        await session.add_items([HELLO])
    assert () == emulator.requests
    with pytest.raises(InvalidItemError, match=r"neither 'type' nor 'role'\. Nothing was sent"):
        await hosted.add_items([{"content": "Hello"}])
