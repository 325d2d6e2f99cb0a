"""Every check on the session of this library, each a test of its own, on each server."""

import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.testing import CHECKS, run_check

SMG = {
    "encrypted_reasoning_comes_back": "drops the summary and the encrypted content of reasoning",
}
"""Where smg 1.13 differs from OpenAI, so that our session on it fails a check."""


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


def test_table_names_checks_that_exist():
    assert set(SMG) - set(CHECKS) == set()
