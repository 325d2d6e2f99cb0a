"""Faults on demand: by fixture, by marker, and what happens to those that nothing meets."""

import pytest

from openai_sessions.emulator import Fault
from openai_sessions.testing._faults import ConversationFaults, inject_marked

MET = '''
import pytest
from openai_sessions.emulator import Fault

HELLO = [{"role": "user", "content": "Hello"}]
pytestmark = pytest.mark.conversation_faults("throttled", operation="create_conversation", retry_after=0)


def faults(conversations):
    return [request.fault for request in conversations.requests]


@pytest.mark.conversation_faults("cut_after_commit", operation="create_items")
@pytest.mark.conversation_faults(Fault("throttled", retry_after=0), operation="list_items")
async def test_marked(conversations, conversation_session):
    await conversation_session.add_items(HELLO)
    assert faults(conversations) == ["throttled", None, "cut_after_commit", "throttled", None]


class TestFaults:
    pytestmark = pytest.mark.conversation_faults("locked", operation="create_items", times=100)

    async def test_of_the_class(self, conversations, conversation_session, conversation_faults):
        await conversation_session.ensure_conversation()
        conversation_faults.clear()
        await conversation_session.add_items(HELLO)
        assert faults(conversations) == ["throttled", None, None]


@pytest.fixture
async def prepared(conversation_session):
    await conversation_session.ensure_conversation()
    return conversation_session


async def test_injected(prepared, conversations, conversation_faults):
    """The faults of markers meet the test, and not what its fixtures prepare."""
    conversation_faults.inject("late_commit", operation="create_items", delay=0, allow_unmet=True)
    conversation_faults.clear()
    conversation_faults.inject("empty_page", allow_unmet=True)
    conversation_faults.inject("throttled", operation="create_items", retry_after=0)
    await prepared.add_items(HELLO)
    assert await prepared.get_items() == HELLO
    conversation_faults.clear()


async def test_locked(conversations, conversation_session, conversation_faults):
    await conversation_session.ensure_conversation()
    with conversation_faults.locked(conversation_session.session_id):
        with pytest.raises(Exception, match="Another"):
            client = conversations.client()
            await client.conversations.items.create(conversation_session.session_id, items=HELLO)


@pytest.mark.conversation_faults(rate=1, seed=1, kinds=["throttled"], operations=["list_items"])
async def test_at_random_by_marker(conversations, openai_client, conversation_session):
    await conversation_session.ensure_conversation()
    with pytest.raises(Exception, match="Rate limit"):
        client = openai_client.with_options(max_retries=0)
        await client.conversations.items.list(conversation_session.session_id)


async def test_at_random(conversations, conversation_session, conversation_faults):
    conversation_faults.clear()
    conversation_faults.at_random(1, seed=1, operations=["delete_item"])
    await conversation_session.add_items(HELLO)
    assert faults(conversations) == [None, None]


@pytest.mark.conversation_faults("cut_mid_stream", operation="create_response", after_events=2)
async def test_of_a_stream(conversations, conversation_session):
    await conversation_session.ensure_conversation()
    client = conversations.client().with_options(max_retries=0)
    with pytest.raises(Exception, match="Connection error"):
        await client.responses.create(model="any", input="Hello", stream=True)
    assert faults(conversations) == ["throttled", None, "cut_mid_stream"]


throttled = pytest.mark.conversation_faults("throttled", operation="retrieve_item", retry_after=0)


@pytest.mark.parametrize("count", [pytest.param(1, marks=throttled), 2])
async def test_of_a_parameter(count, openai_client, conversation_session, conversations):
    await conversation_session.add_items(HELLO)
    conversation_id, items = conversation_session.session_id, openai_client.conversations.items
    page = await items.list(conversation_id)
    await items.retrieve(page.data[0].id, conversation_id=conversation_id)
    assert faults(conversations).count("throttled") == 1 + (count == 1)
'''


def test_faults_met(project):
    project.run_tests(MET).assert_outcomes(passed=9)


UNMET = """
import unittest
import pytest
from openai_sessions.emulator import Fault

@pytest.mark.conversation_faults("stale_page")
@pytest.mark.conversation_faults("cut_before", operation="delete_item", times=3)
async def test_unmet(conversation_session):
    await conversation_session.ensure_conversation()

@pytest.mark.conversation_faults("cut_before")
def test_of_nothing():
    pass

async def test_unmet_at_the_emulator(conversations):
    conversations.inject(Fault("quota"))

@pytest.mark.conversation_faults("cut_before", allow_unmet=True)
async def test_allowed(conversations):
    pass

@pytest.mark.conversation_faults("cut_before")
async def test_failing_for_another_reason(conversations):
    assert "this" == "that"

@pytest.mark.conversation_faults("cut_before")
def test_skipped(conversations):
    pytest.skip("for another reason")

@pytest.mark.conversation_faults("cut_before")
@pytest.mark.xfail(strict=True)
def test_expected_to_fail(conversations):
    pass

class TestOfUnittest(unittest.TestCase):
    @pytest.mark.conversation_faults("not_json")
    def test_unmet(self):
        pass
"""


def test_fault_that_no_request_meets_fails_the_test(project):
    result = project.run_tests(UNMET)
    result.assert_outcomes(failed=5, passed=1, skipped=1, xfailed=1)
    proves_nothing = (
        "The test passed, but no request met the fault {}, so it is not tested. *allow_unmet=True*"
    )
    result.stdout.fnmatch_lines(
        [
            "*_ test_unmet _*",
            proves_nothing.format("'stale_page', 'cut_before'"),
            "*_ test_of_nothing _*",
            proves_nothing.format("'cut_before'"),
            "*_ test_unmet_at_the_emulator _*",
            proves_nothing.format("'quota'"),
            "*_ test_failing_for_another_reason _*",
            "E   *'this' == 'that'",
            "*_ TestOfUnittest.test_unmet _*",
            proves_nothing.format("'not_json'"),
        ]
    )


class MarkedItem:
    """A test with one marker."""

    nodeid = "test_it.py::test_it"

    def __init__(self, marker):
        self._marker = marker.mark

    def iter_markers(self, name):
        return iter([self._marker])


marked = pytest.mark.conversation_faults


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        (marked("cut"), "('cut'): Unknown fault kind 'cut'; the kinds are cut_before,"),
        (marked("locked", operation="list_items"), "A 'locked' fault does not apply to list_items."),
        (
            marked("cut_before", operation="ask"),
            "operation='ask'): Unknown operation 'ask'; the operations are",
        ),
        (marked("cut_before", times=0), "after must be at least 0 and times at least 1, not 0 and 0."),
        (marked("cut_before", when=1), "unexpected keyword argument 'when'"),
        (marked(Fault("cut_before"), delay=1), "delay: pass it to the Fault instead."),
        (marked(), "missing 1 required positional argument: 'kind'"),
        (marked(rate=2, seed=1), "rate must be a probability from 0 to 1, not 2."),
        (marked(rate=0.1), "missing 1 required keyword-only argument: 'seed'"),
    ],
    ids=str,
)
def test_bad_marker_is_told(emulator, marker, complaint):
    with pytest.raises(pytest.UsageError) as caught:
        inject_marked(ConversationFaults(emulator), MarkedItem(marker))
    message = str(caught.value)
    assert message.startswith("test_it.py::test_it: conversation_faults(")
    assert complaint in message
    assert message.endswith("or rate= and seed=, with kinds= and operations=.")


def test_bad_marker_is_a_usage_error(project):
    text = "import pytest\n@pytest.mark.conversation_faults('cut')\ndef test_it():\n    pass\n"
    result = project.run_tests(text)
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines(
        ["ERROR: test_it.py::test_it: conversation_faults('cut'): Unknown fault kind *"]
    )
