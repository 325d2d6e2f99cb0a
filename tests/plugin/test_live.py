"""`--conversations-live` runs the same tests against the API of the environment, and leaves nothing there.

No test here reaches OpenAI: the emulator on a socket stands in for it.
"""

import pytest

from openai_sessions.emulator import Fault

KEY = "sk-recognisable"


@pytest.fixture
def api(emulator, monkeypatch):
    with emulator.serve() as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield emulator


def created_and_deleted(emulator):
    """Return how many conversations were created, and how many of them deleted again."""
    operations = [request.operation for request in emulator.requests if request.status == 200]
    return operations.count("create_conversation"), operations.count("delete_conversation")


TESTS = """
import contextlib
import os
import socket

import pytest
from openai import AsyncOpenAI, OpenAI
from openai_sessions import OpenAIConversationsSession

HELLO = [{"role": "user", "content": "Hello"}]


async def test_session(conversation_session):
    await conversation_session.add_items(HELLO)
    assert await conversation_session.get_items() == HELLO


async def test_client(openai_client):
    assert str(openai_client.base_url).rstrip("/") == os.environ.get("OPENAI_BASE_URL", "http://emulator/v1")
    await openai_client.conversations.create()
    async with openai_client.conversations.with_streaming_response.create() as response:
        await response.json()
    gone = await openai_client.conversations.create()
    await openai_client.conversations.delete(gone.id)


async def test_own_clients(openai_environment):
    assert os.environ["OPENAI_BASE_URL"] == openai_environment
    async with AsyncOpenAI() as client, OpenAIConversationsSession() as session:
        await client.conversations.create()
        await session.add_items(HELLO)
    with OpenAI() as client:
        client.conversations.create()
        client.conversations.items.create(session.session_id, items=HELLO)


def test_failing_after_creating(openai_environment):
    with OpenAI() as client:
        client.conversations.create()
    assert False


def test_network(openai_environment, request):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside, contextlib.suppress(OSError):
        if request.config.getoption("--conversations-live"):
            outside.connect(("192.0.2.1", 9))  # sends nothing; the address is reserved for documents


async def test_emulator(conversations):
    pass


@pytest.mark.conversation_faults("cut_before", operation="create_items")
async def test_fault(conversation_session):
    await conversation_session.add_items(HELLO)


def test_cassette(conversation_cassette):
    pass


def test_without_the_plugin():
    assert OpenAI(api_key="sk-none").base_url
"""


LOOPS = """
import asyncio

import pytest

@pytest.mark.asyncio(loop_scope="module")
async def test_loop_that_goes_on(openai_client, conversation_session):
    await conversation_session.add_items([{"role": "user", "content": "Hello"}])

@pytest.mark.asyncio(loop_scope="module")
async def test_the_same_loop(openai_client):
    await openai_client.conversations.create()

def test_sync(openai_client):
    asyncio.run(openai_client.conversations.create())
"""


@pytest.mark.exhaustive
def test_live_run(project, api):
    """A connection that is left open would be a ResourceWarning, and an error."""
    project.write("test_loops.py", LOOPS)
    result = project.run_tests(TESTS, "--conversations-live", "-rs")
    result.assert_outcomes(passed=8, failed=1, skipped=3)
    assert created_and_deleted(api) == (11, 11)
    looks_into = "*--conversations-live: this test needs the emulator"
    result.stdout.fnmatch_lines([looks_into, "*--conversations-live: this test replays a cassette"])
    assert KEY not in result.stdout.str()


@pytest.mark.exhaustive
def test_same_tests_offline(project):
    """The live run above proves nothing unless they pass here too."""
    project.write("fixtures/cassettes/test_it/test_cassette.yaml", "interactions: []\nversion: 1\n")
    project.run_tests(TESTS).assert_outcomes(passed=8, failed=1)


CREATING = """
async def test_creating(openai_client):
    await openai_client.conversations.create()
"""


@pytest.mark.exhaustive
def test_conversation_that_cannot_be_deleted_is_named(project, api):
    api.inject(Fault("quota"), operation="delete_conversation", times=100)
    result = project.run_tests(CREATING, "--conversations-live")
    result.assert_outcomes(passed=1, errors=1)
    (created,) = [one.id for one in api.conversations(api_key=KEY)]
    result.stdout.fnmatch_lines(
        [f"These conversations of the test could not be deleted: {created} (RateLimitError). Delete*"]
    )


def test_live_without_a_key_is_a_usage_error(project):
    result = project.run_tests(TESTS, "--conversations-live")
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines(["ERROR: --conversations-live needs a key: set OPENAI_API_KEY, *"])
