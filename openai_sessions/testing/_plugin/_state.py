"""What the plugin knows of the test that runs, and what it adds to its report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from openai_sessions.emulator import EmulatedRequest, Emulator
    from openai_sessions.testing._plugin._clients import Connections
    from openai_sessions.testing._plugin._faults import ConversationFaults

_MOST_REQUESTS = 50
"""How many of the last requests a report shows."""


@dataclass(slots=True)
class RunningTest:
    """What the fixtures and hooks of one test share.

    Attributes:
        isolated: Whether the network is closed to it, where it must be, and traces are off.
        refused: The destinations beyond this machine that it has tried to reach.
        emulator: The emulator that it talks to.
        faults: The faults that it has injected.
        connections: The connections of the client that it talks through.
        error: What it has raised.
    """

    isolated: bool = False
    refused: list[str] = field(default_factory=list)
    emulator: Emulator | None = None
    faults: ConversationFaults | None = None
    connections: Connections | None = None
    error: BaseException | None = None

    def begin(self) -> None:
        """Forget an earlier run of the same test."""
        self.refused.clear()
        self.emulator = self.faults = self.connections = self.error = None


_RUNNING = pytest.StashKey[RunningTest]()


def running(item: pytest.Item) -> RunningTest:
    """Return what is known of a test."""
    return item.stash.setdefault(_RUNNING, RunningTest())


def report_sections(test: RunningTest) -> Iterator[tuple[str, str]]:
    """Yield the titles and texts that the report of a failure needs."""
    if test.refused:
        yield "Refused by the closed network", "\n".join(test.refused)
    if test.emulator is not None:
        yield "Requests to the emulator", "\n".join(_request_lines(test.emulator.requests))


def unused(replies: int) -> str:
    """Return why a test with scripted replies that were not asked for has not passed."""
    return (
        f"The test passed, but the model was asked less often than planned: {replies} of the scripted "
        "replies were not used. Leave them out, give times=None, or call conversations.clear_replies()."
    )


def _request_lines(requests: tuple[EmulatedRequest, ...]) -> Iterator[str]:
    """Yield a line for each request: no body, no query, no header."""
    if not requests:
        yield "none"
    if len(requests) > _MOST_REQUESTS:
        yield f"... {len(requests) - _MOST_REQUESTS} before these"
    for request in requests[-_MOST_REQUESTS:]:
        answer = "no answer" if request.status is None else request.status
        yield f"{request.method} {request.path} {answer}" + (f" ({request.fault})" if request.fault else "")
