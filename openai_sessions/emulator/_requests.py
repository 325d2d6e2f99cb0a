"""What the emulator remembers of the requests it has answered."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EmulatedRequest:
    """One answered request, without its headers: no key is kept.

    Attributes:
        method: The HTTP method.
        path: The full path, `/v1/...`.
        query: Every value of each query parameter, in order.
        body: The parsed JSON body; None where there was none or it was not JSON.
        status: The HTTP status answered.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    status: int


class RequestLog:
    """Collect requests from any thread, in the order in which they were answered."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._requests: list[EmulatedRequest] = []

    def append(self, request: EmulatedRequest) -> None:
        """Remember one more request."""
        with self._mutex:
            self._requests.append(request)

    def snapshot(self) -> tuple[EmulatedRequest, ...]:
        """Return all requests so far."""
        with self._mutex:
            return tuple(self._requests)

    def clear(self) -> None:
        """Forget all requests so far."""
        with self._mutex:
            self._requests.clear()
