"""What a test of this plugin is kept away from: the network, and the traces of the Agents SDK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from openai_sessions.testing._plugin._environment import without_traces
from openai_sessions.testing._plugin._network import network_guard
from openai_sessions.testing._plugin._state import running


def is_live(item: pytest.Item) -> bool:
    """Tell whether tests run against OpenAI."""
    return bool(item.config.getoption("conversations_live"))


def record_mode(item: pytest.Item) -> str:
    """Return how cassettes record."""
    return str(item.config.getoption("conversations_record_mode"))


@contextmanager
def isolated(item: pytest.Item) -> Iterator[None]:
    """Keep a test away, inside the block, from what it has no business with. Twice is as once."""
    test = running(item)
    if test.isolated:
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(without_traces())
        if not _may_use_network(item):
            test.refused = stack.enter_context(network_guard().closed())
        test.isolated = True
        yield
    test.isolated = False


def _may_use_network(item: pytest.Item) -> bool:
    records = record_mode(item) != "none" and "conversation_cassette" in getattr(item, "fixturenames", ())
    return is_live(item) or records or item.get_closest_marker("conversation_network") is not None
