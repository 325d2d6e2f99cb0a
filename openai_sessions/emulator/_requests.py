"""What the emulator remembers of the requests that it has met."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EmulatedRequest:
    """One request, without its headers: no key is kept.

    It is remembered before its answer goes out, and before its connection is cut.

    Attributes:
        method: The HTTP method.
        path: The full path, `/v1/...`.
        query: Every value of each query parameter, in order.
        body: The parsed JSON body; None where there was none or it was not JSON.
        status: The HTTP status answered; None where a fault left the request without an answer.
        operation: Which of the API's operations it asked for, `create_items` for example; None for a URL or
            a method that is none of theirs.
        fault: The kind of the injected fault that it met, if any.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    status: int | None
    operation: str | None
    fault: str | None = None


class RequestLog:
    """Collect requests from any thread, in the order in which they were answered or met a fault."""

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
