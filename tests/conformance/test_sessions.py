"""Every check on every session, each a test of its own, with the checks that a session must fail."""

import itertools
from importlib.metadata import version

import agents
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.testing import CHECKS, run_check

SMG = {
    "pop_gives_what_was_added": "stores an assistant's string as output_text, which reads as a whole message",
    "encrypted_reasoning_comes_back": "drops the summary and the encrypted content of reasoning",
}
"""Where smg 1.13 differs from OpenAI, so that our session on it fails a check."""

SQLITE = {"limit_below_zero_gives_none": "SQLite takes a negative limit for none"}
"""What the SDK's SQLiteSession fails."""

_SDK = {
    "pop_gives_what_was_added": "gives the stored form: parts for a string, an id and a status",
    "user_text_comes_back": "gives the stored form: parts for a string",
    "instructions_come_back": "gives the stored form: parts for a string",
    "user_picture_comes_back": "lists without include, and so without the addresses of images",
    "encrypted_reasoning_comes_back": "lists without include, and so without encrypted content",
    "unused_session_creates_nothing": "creates a conversation when it is read or popped",
    "concurrent_adds_of_reopened_sessions_stay_together": "locks the session object, not the conversation",
    "concurrent_pops_of_reopened_sessions_share_no_item": "locks the session object, not the conversation",
}

SDK = {
    "0.20": {
        **_SDK,
        "many_items_in_one_call_are_kept": "sends any number of items in one request",
        "concurrent_large_adds_stay_together": "sends any number of items in one request",
        "concurrent_adds_of_reopened_sessions_stay_together": "sends any number of items in one request",
        "limit_zero_gives_none": "sends the limit as the size of a page",
        "limit_below_zero_gives_none": "sends the limit as the size of a page",
        "limit_of_any_size_gives_all": "sends the limit as the size of a page",
        "limit_above_a_page_gives_the_newest": "sends the limit as the size of a page",
        "concurrent_pops_share_no_item": "does not lock: the same item is found twice",
    },
    "0.24": {**_SDK, "limit_below_zero_gives_none": "stops behind the first item"},
}
"""What the SDK's OpenAIConversationsSession fails, by the version of the SDK."""

SDK_VERSION = ".".join(version("openai-agents").split(".")[:2])


def every_check(failures):
    """Parametrise a test with every check; those that the session is known to fail must fail."""
    strict = {
        name: pytest.mark.xfail(strict=True, raises=NotConformingError, reason=reason)
        for name, reason in failures.items()
    }
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=strict.get(name, ())) for name in CHECKS]
    )


class NotConformingError(AssertionError):
    """A session failed a check."""


async def check(name, make, reopen):
    result = await run_check(name, make, reopen=reopen)
    if result.outcome == "skipped":
        pytest.skip(result.detail)
    if result.outcome == "failed":
        raise NotConformingError(str(result)) from result.error


def of_client(session_class, client):
    """Return a maker of sessions on new conversations, and a function that reopens one."""
    return (
        lambda: session_class(openai_client=client),
        lambda session: session_class(openai_client=client, conversation_id=session.session_id),
    )


@every_check({})
async def test_session_on_the_emulator_in_process(name, in_process):
    await check(name, *of_client(OpenAIConversationsSession, in_process))


@every_check({})
async def test_session_on_the_emulator_over_a_socket(name, over_socket):
    await check(name, *of_client(OpenAIConversationsSession, over_socket))


@every_check(SMG)
async def test_session_on_smg(name, to_smg):
    await check(name, *of_client(OpenAIConversationsSession, to_smg))


@every_check(SQLITE)
async def test_sqlite_session_of_the_sdk(name, tmp_path):
    ids = itertools.count()

    def open_session(session_id):
        return agents.SQLiteSession(session_id, tmp_path / "sessions.db")

    await check(
        name, lambda: open_session(f"session {next(ids)}"), lambda session: open_session(session.session_id)
    )


@pytest.mark.skipif(SDK_VERSION not in SDK, reason=f"measured with {' and '.join(SDK)}, not {SDK_VERSION}")
@every_check(SDK.get(SDK_VERSION, {}))
async def test_hosted_session_of_the_sdk_on_the_emulator(name, over_socket):
    await check(name, *of_client(agents.OpenAIConversationsSession, over_socket))


def test_tables_name_checks_that_exist():
    named = {*SMG, *SQLITE, *itertools.chain(*SDK.values())}

    assert named - set(CHECKS) == set()
