"""A pytest plugin: an emulator of the Conversations API, clients, sessions, faults, and cassettes.

pytest loads it by its entry point if the package is installed. Modules that a fixture needs are imported
when a test requests it. See docs/testing.md.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

from openai_sessions.testing._faults import ConversationFaults, as_written, use_marked
from openai_sessions.testing._fixtures import (
    FIXTURES,
    _isolated_test,
    conversation_cassette,
    conversation_faults,
    conversation_session,
    conversations,
    openai_client,
    openai_environment,
)
from openai_sessions.testing._isolation import (
    is_live,
    isolated,
    refusal,
    report_sections,
    running,
    unused,
)

__all__ = [
    "ConversationFaults",
    "_isolated_test",
    "conversation_cassette",
    "conversation_faults",
    "conversation_session",
    "conversations",
    "openai_client",
    "openai_environment",
]

_MARKERS = {
    "conversation_faults(kind, *, operation, after, times, conversation_id, allow_unmet, ...)": (
        "make requests of the test to the emulator fail; takes the arguments of "
        "conversation_faults.inject, or with rate= and seed= those of conversation_faults.at_random."
    ),
    "conversation_network": "allow the test to use the network.",
}
_RECORD_MODES = ("none", "once", "new_episodes", "all")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the command line and of the configuration file."""
    group = parser.getgroup("openai-sessions", "conversations of openai-sessions")
    group.addoption(
        "--conversations-live",
        action="store_true",
        help="Run tests that use openai_client, openai_environment or conversation_session against OpenAI, "
        "with OPENAI_API_KEY. They may use the network; the conversations they create are deleted.",
    )
    group.addoption(
        "--conversations-record-mode",
        choices=_RECORD_MODES,
        default="none",
        help="vcrpy's record mode for conversation_cassette: %(choices)s. Tests that record may use the "
        "network. Default: %(default)s.",
    )
    parser.addini(
        "conversations_cassette_dir",
        "The folder for the files of conversation_cassette, relative to the rootdir.",
        default="fixtures/cassettes",
    )
    parser.addini(
        "conversations_block_network",
        "Block network access except loopback for all tests, not only for those that use this plugin.",
        type="bool",
        default=False,
    )
    parser.addini(
        "conversations_vcr_defaults",
        "Use the defaults of openai_sessions.testing.cassettes for tests with pytest-recording's marker vcr.",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and reject --conversations-live without a key."""
    for marker, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")
    if config.getoption("conversations_live") and not os.environ.get("OPENAI_API_KEY"):
        raise pytest.UsageError(
            "--conversations-live needs a key: set OPENAI_API_KEY, or remove the option to run offline."
        )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Check the markers of the collected tests."""
    for item in items:
        marker = item.get_closest_marker("conversation_network")
        if marker is not None and (marker.args or marker.kwargs):
            raise pytest.UsageError(
                f"{item.nodeid}: {as_written(marker)}: it takes no arguments, and allows all network access. "
                "Remove them."
            )
    use_marked(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Isolate a test that uses this plugin, from its first fixture to its last."""
    blocks_all = item.config.getini("conversations_block_network") and not is_live(item)
    if blocks_all or not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        with isolated(item):
            return (yield)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Reset the state of a test that runs again."""
    running(item).start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a passing test with a blocked connection, a fault that no request met, or an unused reply."""
    yield
    test = running(item)
    if test.refused:
        pytest.fail(refusal(test.refused), pytrace=False)
    if test.emulator is not None:
        (test.faults or ConversationFaults(test.emulator)).check_met()
        if test.emulator.unused_replies:
            pytest.fail(unused(test.emulator.unused_replies), pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Remove faults, so that they do not affect the teardown of fixtures."""
    emulator = running(item).emulator
    if emulator is not None:
        emulator.clear_faults()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the requests to the emulator and the blocked destinations to the report of a failure."""
    report = yield
    test = running(item)
    if call.excinfo is not None and test.error is None:
        test.error = call.excinfo.value
    if report.failed:
        report.sections.extend(report_sections(test))
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_recording_configure(config: pytest.Config, vcr: Any) -> None:
    """Remove credentials from the cassettes of pytest-recording, in all tests with the marker `vcr`.

    With the setting conversations_vcr_defaults they behave like those of `use_cassette`. It is off by
    default, because a project may have unrelated cassettes.
    """
    has_defaults = bool(config.getini("conversations_vcr_defaults"))
    try:
        from openai_sessions.testing import _scrubbing, cassettes  # noqa: PLC0415 -- needs the extra
    except ImportError:
        if has_defaults:
            raise
        return  # this vcrpy is too old for us, but may suffice for the project
    if has_defaults:
        cassettes.configure(vcr)
    else:
        scrubber = _scrubbing.Scrubber()
        vcr.before_record_request, vcr.before_record_response = scrubber.request, scrubber.response
