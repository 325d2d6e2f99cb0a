"""The fixtures work in all styles of tests, belong to one test each, and are closed after it."""

import pytest

STYLES = """
import asyncio
import unittest

import pytest
from openai_sessions.emulator import Emulator

HELLO = {"role": "user", "content": "Hello"}


async def test_async(conversations, openai_client, conversation_session):
    await conversation_session.add_items([HELLO])
    listed = await openai_client.conversations.items.list(conversation_session.session_id)
    assert [item.content[0].text for item in listed.data] == ["Hello"]
    assert [request.operation for request in conversations.requests] == [
        "create_conversation", "create_items", "list_items"
    ]


async def test_fresh(conversations, conversation_session):
    assert isinstance(conversations, Emulator)
    assert conversations.requests == ()
    assert conversation_session.conversation_id is None


def test_sync_in_two_loops(conversation_session):
    asyncio.run(conversation_session.add_items([HELLO]))
    assert asyncio.run(conversation_session.get_items()) == [HELLO]


@pytest.fixture(params=["first", "second"])
async def prepared(request, conversation_session):
    await conversation_session.add_items([{"role": "user", "content": request.param}])
    yield conversation_session
    await conversation_session.clear_session()


async def test_parametrised(prepared, request):
    assert len(await prepared.get_items()) == 1


def test_asked_for_by_name(request):
    assert request.getfixturevalue("conversations").requests == ()


class TestUnittest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _session(self, conversation_session, conversations):
        self.session, self.emulator = conversation_session, conversations

    def test_in_a_class(self):
        asyncio.run(self.session.add_items([HELLO]))
        self.assertEqual(len(self.emulator.requests), 2)


class TestAsyncUnittest(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def _session(self, conversation_session):
        self.session = conversation_session

    async def test_in_a_class(self):
        await self.session.add_items([HELLO])
        self.assertEqual(await self.session.get_items(), [HELLO])
"""


def test_styles_of_tests(project):
    project.run_tests(STYLES, "-p", "no:cacheprovider").assert_outcomes(passed=8)


STRICT = """
import pytest

@pytest.mark.{runner}
async def test_session(conversation_session, openai_environment):
    await conversation_session.add_items([{{"role": "user", "content": "Hello"}}])
    assert len(await conversation_session.get_items()) == 1
"""


@pytest.mark.exhaustive
def test_strict_mode_of_pytest_asyncio(project):
    result = project.run_tests(STRICT.format(runner="asyncio"), "--asyncio-mode=strict")
    result.assert_outcomes(passed=1)


@pytest.mark.exhaustive
def test_runner_of_anyio(project):
    project.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    project.write(
        "conftest.py", "import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    )
    result = project.run_tests(STRICT.format(runner="anyio"), plugins=["anyio"])
    result.assert_outcomes(passed=1)


CLOSED = '''
import sqlite3

import pytest
from openai_sessions import UnsettledWriteError

kept = []


async def test_use(conversations, openai_client, conversation_session):
    await conversation_session.add_items([{"role": "user", "content": "Hello"}])
    kept.extend([conversations, openai_client, conversation_session])


async def test_closed():
    emulator, client, session = kept
    assert client.is_closed()
    with pytest.raises(sqlite3.ProgrammingError):
        emulator.conversations()


@pytest.mark.conversation_faults("quota", operation="create_items", after=1)
@pytest.mark.conversation_faults("quota", operation="delete_item", times=1000)
async def test_unsettled(conversation_session):
    """What a test leaves unsettled is settled after it, when no fault is in its way any more."""
    with pytest.raises(UnsettledWriteError):
        await conversation_session.add_items([{"role": "user", "content": str(n)} for n in range(21)])
    assert conversation_session.unsettled
    kept.append(conversation_session)


async def test_settled():
    assert kept[-1].unsettled == ()
'''


def test_closed_after_the_test(project):
    result = project.run_tests(CLOSED)
    result.assert_outcomes(passed=4)


REPORTED = """
import pytest

@pytest.mark.conversation_faults("cut_before", operation="create_items")
async def test_failing(conversation_session):
    await conversation_session.add_items([{"role": "user", "content": "a secret"}])
    assert False

async def test_failing_after_many(conversation_session):
    await conversation_session.ensure_conversation()
    for n in range(60):
        await conversation_session.get_items()
    assert False

async def test_failing_without_requests(conversations):
    assert False
"""


@pytest.mark.exhaustive
def test_failure_shows_the_requests(project):
    result = project.run_tests(REPORTED, "--tb=short")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "*- Requests to the emulator -*",
            "POST /v1/conversations 200",
            "POST /v1/conversations/conv_*/items no response (cut_before)",
            "GET /v1/conversations/conv_*/items 200",
            "*- Requests to the emulator -*",
            "... 11 earlier requests",
            "GET /v1/conversations/conv_*/items 200",
            "*- Requests to the emulator -*",
            "none",
        ]
    )
    result.stdout.no_fnmatch_line("*sk-emulator*")


OVERRIDDEN = """
import pytest
from openai_sessions.emulator import Emulator

@pytest.fixture
def conversations():
    with Emulator(api_keys=["sk-ours"]) as emulator:
        yield emulator

@pytest.fixture
def openai_client(conversations):
    return conversations.client(api_key="sk-ours")

@pytest.mark.conversation_faults("throttled", operation="create_items", retry_after=0)
async def test_session(conversation_session, conversations):
    await conversation_session.add_items([{"role": "user", "content": "Hello"}])
    assert [request.fault for request in conversations.requests] == [None, "throttled", None]
"""


def test_fixtures_of_the_project_stand_in_for_ours(project):
    project.run_tests(OVERRIDDEN).assert_outcomes(passed=1)


def test_fixtures_explain_themselves(project):
    shown = project.run("--fixtures").stdout
    for name, beginning in {
        "conversations": "An emulator of the Conversations API",
        "conversation_faults": "Faults on demand",
        "openai_client": "An `openai.AsyncOpenAI` on the emulator",
        "conversation_session": "A new `openai_sessions.OpenAIConversationsSession`",
        "openai_environment": "The base URL of the emulator",
        "conversation_cassette": "The cassette of the test",
    }.items():
        shown.fnmatch_lines([f"{name} -- *", f"    {beginning}*"])
    shown.no_fnmatch_line("_isolated_test*")


ONE_OF_TWO = """
async def test_alone(conversations, conversation_session):
    await conversation_session.add_items([{"role": "user", "content": "Hello"}])
    assert len(conversations.requests) == 2
"""


@pytest.mark.exhaustive
def test_processes_of_xdist(project):
    pytest.importorskip("xdist")
    for name in ("test_one.py", "test_two.py"):
        project.write(name, ONE_OF_TWO)
    project.run("-n", "2", "--dist", "loadfile", plugins=["asyncio", "xdist"]).assert_outcomes(passed=2)


REPLIES = """
def test_all_used(conversations):
    conversations.reply("Yes.", times=None)

def test_cleared(conversations):
    conversations.reply("Yes.")
    conversations.clear_replies()

async def test_left(conversations, openai_client):
    conversations.reply("Yes.", times=3)
    await openai_client.responses.create(model="any name", input="Hello")

def test_failed_for_another_reason(conversations):
    conversations.reply("Yes.")
    assert "this" == "that"
"""


def test_scripted_replies_that_were_not_used_fail_the_test(project):
    result = project.run_tests(REPLIES)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*The test passed, but 2 scripted replies of the model were not used.*"])
    result.stdout.fnmatch_lines(["*AssertionError: assert 'this' == 'that'*"])
