"""A pytest plugin: an emulated Conversations API, clients and sessions on it, faults, cassettes, no network.

It is loaded by its entry point wherever the package is installed, and imports what a fixture needs when a
test asks for it. docs/testing.md is its manual.
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
        "let requests of the test to the emulator meet a fault; it takes the arguments of "
        "conversation_faults.inject, or with rate= and seed= those of conversation_faults.at_random."
    ),
    "conversation_network": "leave the network open to the test.",
}
_RECORD_MODES = ("none", "once", "new_episodes", "all")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the command line and of the configuration file."""
    group = parser.getgroup("openai-sessions", "conversations of openai-sessions")
    group.addoption(
        "--conversations-live",
        action="store_true",
        help="Run the tests that use openai_client, openai_environment or conversation_session against "
        "OpenAI, with OPENAI_API_KEY. The network is open; conversations that they create are deleted.",
    )
    group.addoption(
        "--conversations-record-mode",
        choices=_RECORD_MODES,
        default="none",
        help="How conversation_cassette records, in vcrpy's words: %(choices)s. The network is open to the "
        "tests that record. Default: %(default)s.",
    )
    parser.addini(
        "conversations_cassette_dir",
        "Where conversation_cassette keeps its files, from the rootdir on.",
        default="fixtures/cassettes",
    )
    parser.addini(
        "conversations_block_network",
        "Close the network, but for loopback, to all tests, and not only to those that use this plugin.",
        type="bool",
        default=False,
    )
    parser.addini(
        "conversations_vcr_defaults",
        "Give the tests marked vcr, of pytest-recording, the defaults of openai_sessions.testing.cassettes.",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and refuse to run live without a key."""
    for marker, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")
    if config.getoption("conversations_live") and not os.environ.get("OPENAI_API_KEY"):
        raise pytest.UsageError(
            "--conversations-live needs a key: set OPENAI_API_KEY, or leave the option out to run offline."
        )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Check the markers of the tests that are going to run."""
    for item in items:
        marker = item.get_closest_marker("conversation_network")
        if marker is not None and (marker.args or marker.kwargs):
            raise pytest.UsageError(
                f"{item.nodeid}: {as_written(marker)}: it takes no arguments, and opens the network as a "
                "whole. Remove them."
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
    """Begin a run of a test."""
    running(item).begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test that passes although the network refused it something, or what it planned never came."""
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
    """Let no fault meet what the fixtures of a test clear up."""
    emulator = running(item).emulator
    if emulator is not None:
        emulator.clear_faults()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failure what the emulator saw, and what the network refused."""
    report = yield
    test = running(item)
    if call.excinfo is not None and test.error is None:
        test.error = call.excinfo.value
    if report.failed:
        report.sections.extend(report_sections(test))
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_recording_configure(config: pytest.Config, vcr: Any) -> None:
    """Keep credentials out of the cassettes of pytest-recording, in all tests marked `vcr`.

    With the setting conversations_vcr_defaults these cassettes are used as `use_cassette` does. It is off by
    default: a project that has this package installed may have cassettes that have nothing to do with it.
    """
    has_defaults = bool(config.getini("conversations_vcr_defaults"))
    try:
        from openai_sessions.testing import _scrubbing, cassettes  # noqa: PLC0415 -- needs the extra
    except ImportError:
        if has_defaults:
            raise
        return  # a vcrpy that is too old for ours, and still good for the project's own
    if has_defaults:
        cassettes.configure(vcr)
    else:
        scrubber = _scrubbing.Scrubber()
        vcr.before_record_request, vcr.before_record_response = scrubber.request, scrubber.response
