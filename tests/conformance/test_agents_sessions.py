"""What every session class of the Agents SDK that starts here fails, by the checks' own report."""

import functools
from importlib.metadata import version

import agents
import agents.extensions.memory
import pytest

from openai_sessions.testing import CHECKS
from tests.conformance.agents_sessions import FAILS_AT_TIMES, NOT_STARTED, SESSIONS, report_on
from tests.examples.stand_in import ROOT
from tools.conformance import VERSION, session_table

pytestmark = [
    pytest.mark.exhaustive,
    # The SDK's classes over SQLite leave connections of threads open, and Python 3.13 says so.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning"
    ),
]

_NEGATIVE_TO_SQL = {"limit_below_zero_gives_none": "gives a negative limit to the database"}

_HOSTED = {
    "pop_gives_what_was_added": "gives the stored form: parts for a string, an id and a status",
    "user_text_comes_back": "gives the stored form: parts for a string",
    "instructions_come_back": "gives the stored form: parts for a string",
    "user_picture_comes_back": "lists without include, and so without the addresses of images",
    "encrypted_reasoning_comes_back": "lists without include, and so without encrypted content",
    "unused_session_creates_nothing": "creates a conversation when it is read or popped",
    "concurrent_adds_of_reopened_sessions_stay_together": "locks the session object, not the conversation",
    "concurrent_pops_of_reopened_sessions_share_no_item": "locks the session object, not the conversation",
}

_HOSTED_BY_VERSION = {
    "0.20": {
        **_HOSTED,
        "many_items_in_one_call_are_kept": "sends any number of items in one request",
        "concurrent_large_adds_stay_together": "sends any number of items in one request",
        "concurrent_adds_of_reopened_sessions_stay_together": "sends any number of items in one request",
        "limit_zero_gives_none": "sends the limit as the size of a page",
        "limit_below_zero_gives_none": "sends the limit as the size of a page",
        "limit_of_any_size_gives_all": "sends the limit as the size of a page",
        "limit_above_a_page_gives_the_newest": "sends the limit as the size of a page",
        "concurrent_pops_share_no_item": "does not lock: the same item is found twice",
    },
    "0.24": {**_HOSTED, "limit_below_zero_gives_none": "stops behind the first item"},
}

DOCUMENT = (ROOT / "docs/conformance.md").read_text()
SENTENCES = " ".join(DOCUMENT.split())

SDK_VERSION = ".".join(version("openai-agents").split(".")[:2])

FAILED = {
    "SQLiteSession": _NEGATIVE_TO_SQL,
    "AsyncSQLiteSession": _NEGATIVE_TO_SQL,
    "AdvancedSQLiteSession": _NEGATIVE_TO_SQL,
    "EncryptedSession": _NEGATIVE_TO_SQL,
    "OpenAIResponsesCompactionSession": _NEGATIVE_TO_SQL,
    "SQLAlchemySession on SQLite": _NEGATIVE_TO_SQL,
    "SQLAlchemySession on PostgreSQL": _NEGATIVE_TO_SQL,
    "RedisSession": {},
    "OpenAIConversationsSession": _HOSTED_BY_VERSION.get(SDK_VERSION, {}),
    "this library": {},
}
"""The checks that each class fails, and why."""

_HAS_ITS_ID = {"unused_session_creates_nothing": "the session has its id from the start"}
_WITHOUT_SETTINGS = dict.fromkeys(
    ("settings_limit_holds_without_another", "explicit_limit_beats_settings"),
    "the session has no session_settings with a limit",
)

SKIPPED = {
    **dict.fromkeys(FAILED, _HAS_ITS_ID),
    "OpenAIResponsesCompactionSession": {**_HAS_ITS_ID, **_WITHOUT_SETTINGS},
    "OpenAIConversationsSession": {},
    "this library": {},
}
"""The checks that cannot be made of each class, and why."""

report = functools.cache(report_on)
"""Each class is checked once."""

measured = pytest.mark.skipif(
    SDK_VERSION not in _HOSTED_BY_VERSION,
    reason=f"measured with {' and '.join(_HOSTED_BY_VERSION)}, not {SDK_VERSION}",
)


@measured
@pytest.mark.parametrize("name", SESSIONS)
def test_session_fails_exactly_what_it_is_known_to_fail(name):
    failed = {result.name for result in report(name).failed}
    at_times = set(FAILS_AT_TIMES.get(name, ()))
    assert set(FAILED[name]) - at_times == failed - at_times, str(report(name))
    assert failed <= set(FAILED[name]), str(report(name))


@measured
@pytest.mark.parametrize("name", SESSIONS)
def test_session_is_checked_in_everything_else(name):
    assert SKIPPED[name] == {result.name: result.detail for result in report(name).skipped}


def test_every_session_class_of_the_sdk_is_checked_or_named():
    modules = (agents.extensions.memory, agents.memory)
    exported = {name for module in modules for name in module.__all__ if name.endswith("Session")}

    protocols = {"Session", "OpenAIResponsesCompactionAwareSession"}
    started = {name.partition(" ")[0] for name in SESSIONS} - {"this"}
    assert exported - protocols == {*started, *NOT_STARTED}


def test_expectations_name_checks_that_exist():
    named = [
        *(set(checks) for checks in FAILED.values()),
        *(set(checks) for checks in _HOSTED_BY_VERSION.values()),
        *(set(checks) for checks in SKIPPED.values()),
    ]

    assert set().union(*named) - set(CHECKS) == set()


@pytest.mark.skipif(
    version("openai-agents") != VERSION, reason=f"the document was measured with openai-agents {VERSION}"
)
def test_table_of_the_document_is_what_the_command_prints():
    assert session_table({name: report(name) for name in SESSIONS}) in DOCUMENT
    assert f"checks that not every class passes with {VERSION}" in SENTENCES


def test_document_names_what_does_not_start():
    assert [name for name, reason in NOT_STARTED.items() if f"`{name}` {reason}" not in SENTENCES] == []
