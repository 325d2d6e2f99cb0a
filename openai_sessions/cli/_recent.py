"""The newest requests that an emulator has met."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from openai_sessions.emulator import EmulatedRequest, Emulator

KEPT = 200
"""How many requests are kept."""


@dataclass(frozen=True, slots=True)
class NumberedRequest:
    """A request, the how manieth it is, and when it was noted in seconds since the epoch."""

    number: int
    at: float
    request: EmulatedRequest


class RecentRequests:
    """Take the requests that an emulator remembers out of it, tell of each, and keep the newest.

    Args:
        emulator: The emulator, which would remember every request for as long as it runs.
        tell: Called with each request, once and in order.
        clock: Gives the seconds since the epoch.
    """

    def __init__(
        self,
        emulator: Emulator,
        tell: Callable[[EmulatedRequest], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._emulator = emulator
        self._tell = tell
        self._clock = clock
        self._number = 0
        self._kept: deque[NumberedRequest] = deque(maxlen=KEPT)

    def collect(self) -> None:
        """Take over what the emulator has met since the last time."""
        requests = self._emulator.requests
        self._emulator.forget_requests()  # nothing can come in between: both run in one event loop
        for request in requests:
            self._number += 1
            self._kept.append(NumberedRequest(self._number, self._clock(), request))
            self._tell(request)

    @property
    def number(self) -> int:
        """How many there were in all."""
        return self._number

    def after(self, number: int) -> list[NumberedRequest]:
        """Return those kept that came after the request of this number, oldest first."""
        return [kept for kept in self._kept if kept.number > number]
