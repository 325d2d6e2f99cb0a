"""Faults: their kinds, which request meets one, and how that request is then answered."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from starlette.responses import Response

from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    conversation_locked,
    quota_exceeded,
    rate_limited,
    server_error,
)
from openai_sessions.emulator._server import http_family

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from openai_sessions.emulator._server import Connection


FaultKind = Literal[
    "cut_before",
    "cut_after_commit",
    "late_commit",
    "error_500_before",
    "error_500_after_commit",
    "throttled",
    "quota",
    "locked",
    "stall",
    "stall_after_commit",
    "truncated_body",
    "not_json",
    "empty_page",
    "stale_page",
    "cut_mid_stream",
    "cut_mid_stream_after_commit",
    "cut_mid_stream_late_commit",
]

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
"""All fault kinds, in the order in which `Fault` explains them."""

STREAM_CUTS: tuple[FaultKind, ...] = (
    "cut_mid_stream",
    "cut_mid_stream_after_commit",
    "cut_mid_stream_late_commit",
)
"""The kinds that cut a stream between two events, or inside one."""

OperationName = Literal[
    "create_conversation",
    "retrieve_conversation",
    "update_conversation",
    "delete_conversation",
    "create_items",
    "list_items",
    "retrieve_item",
    "delete_item",
    "create_response",
    "retrieve_response",
    "delete_response",
    "cancel_response",
    "list_input_items",
    "count_input_tokens",
    "compact_response",
    "list_conversations",
    "create_file",
    "list_files",
    "retrieve_file",
    "retrieve_file_content",
    "delete_file",
]

OPERATION_NAMES: tuple[OperationName, ...] = get_args(OperationName)

_CONVERSATION_WRITES = frozenset(
    {"update_conversation", "delete_conversation", "create_items", "delete_item", "create_response"}
)

_WRITES = frozenset(
    {
        "create_conversation",
        *_CONVERSATION_WRITES,
        "delete_response",
        "cancel_response",
        "create_file",
        "delete_file",
    }
)

_OPERATIONS: dict[str, frozenset[str]] = {
    "cut_after_commit": _WRITES,
    "late_commit": _WRITES,
    "error_500_after_commit": _WRITES,
    "stall_after_commit": _WRITES,
    "locked": _CONVERSATION_WRITES,
    "empty_page": frozenset({"list_items"}),
    "stale_page": frozenset({"list_items"}),
    "cut_mid_stream": frozenset({"create_response", "retrieve_response"}),
    "cut_mid_stream_after_commit": frozenset({"create_response"}),
    "cut_mid_stream_late_commit": frozenset({"create_response"}),
}
"""The operations of each kind that does not apply to all of them."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which a request can fail.

    Args:
        kind: One of `FAULT_KINDS`. Kinds with a commit apply to writes only, kinds with a page to lists of
            items only:

            - `cut_before`: the connection is reset; the request has no effect.
            - `cut_after_commit`: the write is committed, then the connection is reset.
            - `late_commit`: the connection is reset, and the write is committed `delay` seconds later.
            - `error_500_before`: a 500; the request has no effect.
            - `error_500_after_commit`: a 500; the write is committed.
            - `throttled`: a 429 of the rate limit; the request has no effect.
            - `quota`: a 429 `insufficient_quota`; the request has no effect.
            - `locked`: a 400 `conversation_locked`; the request has no effect. For writes to an existing
              conversation.
            - `stall`: no response; the request has no effect.
            - `stall_after_commit`: no response; the write is committed.
            - `truncated_body`: the request is served, but the connection ends in the middle of the response.
            - `not_json`: the request is served, but the response is a 200 with an HTML body.
            - `empty_page`: the list is an empty page with `has_more` true.
            - `stale_page`: the list is as it was before the last write to the conversation by this emulator;
              another process's writes to the same file are always visible.
            - `cut_mid_stream`: the connection of a streamed response is cut after some of its events; the
              response is not stored and adds nothing to its conversation. A response that is not streamed
              gets `cut_before`.
            - `cut_mid_stream_after_commit`: the same, but the response is stored and its items are added
              before the last event that is sent. A response that is not streamed gets `cut_after_commit`.
            - `cut_mid_stream_late_commit`: the same, but the response is stored `delay` seconds after the
              cut; the conversation is locked until then. A response that is not streamed gets `late_commit`.
        retry_after: The `retry-after` header of a `throttled` response, in seconds; None leaves it out.
        delay: Seconds between the reset of a `late_commit`, or the cut of a `cut_mid_stream_late_commit`, and
            its write.
        after_events: The number of events that a `cut_mid_stream` kind sends; None for half of them. 0 cuts
            after the headers. A stream with fewer events is cut before its last one, with
            `cut_mid_stream_after_commit` after it. `EmulatedRequest.events` has the number of all events.
        inside_event: Whether half of the next event is sent too.

    Raises:
        ValueError: The kind is unknown, a number is negative, `retry_after` is given for another kind than
            `throttled`, or `after_events` or `inside_event` for another than those of a stream.
    """

    kind: FaultKind
    retry_after: float | None = field(default=None, kw_only=True)
    delay: float = field(default=0.15, kw_only=True)
    after_events: int | None = field(default=None, kw_only=True)
    inside_event: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.kind not in FAULT_KINDS:
            raise ValueError(f"Unknown fault kind {self.kind!r}; the kinds are {', '.join(FAULT_KINDS)}.")
        if self.retry_after is not None and self.kind != "throttled":
            raise ValueError(f"retry_after applies to 'throttled' faults only, not to {self.kind!r}.")
        for name, seconds in (("delay", self.delay), ("retry_after", self.retry_after)):
            if seconds is not None and seconds < 0:
                raise ValueError(f"{name} must be at least 0 seconds, not {seconds}.")
        if self.kind not in STREAM_CUTS and (self.after_events is not None or self.inside_event):
            name = "inside_event" if self.after_events is None else "after_events"
            raise ValueError(f"{name} applies to {', '.join(STREAM_CUTS)} only, not to {self.kind!r}.")
        if self.after_events is not None and self.after_events < 0:
            raise ValueError(f"after_events must be at least 0, not {self.after_events}.")

    def fits(self, operation: OperationName) -> bool:
        """Return whether the fault applies to the operation."""
        return operation in _OPERATIONS.get(self.kind, OPERATION_NAMES)


class FaultPlan:
    """The rules by which requests meet faults; usable from any thread.

    Every rule is offered every request, and the first rule with a fault wins.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._rules: list[InjectedFault | RandomFaults] = []

    def add(self, rule: InjectedFault | RandomFaults) -> None:
        """Append a rule."""
        with self._mutex:
            self._rules.append(rule)

    def clear(self) -> None:
        """Remove all rules."""
        with self._mutex:
            self._rules.clear()

    @property
    def unmet(self) -> tuple[Fault, ...]:
        """The injected faults that no request has met."""
        with self._mutex:
            return tuple(fault for rule in self._rules for fault in rule.unmet)

    def draw(self, operation: OperationName, conversation_id: str | None) -> Fault | None:
        """Return the fault that a request meets, if any."""
        with self._mutex:
            offers = [(rule, rule.offer(operation, conversation_id)) for rule in self._rules]
            for rule, fault in offers:
                if fault is not None:
                    if rule.spend():
                        self._rules.remove(rule)
                    return fault
        return None


class InjectedFault:
    """The rule of `Emulator.inject`: one fault for some of the matching requests."""

    def __init__(
        self,
        fault: Fault,
        *,
        operation: OperationName | None,
        after: int,
        times: int,
        conversation_id: str | None,
    ) -> None:
        if operation is not None:
            _check_operations([operation])
            if not fault.fits(operation):
                raise ValueError(f"A {fault.kind!r} fault does not apply to {operation}.")
        if operation == "create_conversation" and conversation_id is not None:
            raise ValueError(
                "create_conversation has no conversation_id to match: leave conversation_id out."
            )
        if after < 0 or times < 1:
            raise ValueError(f"after must be at least 0 and times at least 1, not {after} and {times}.")
        self._fault = fault
        self._operation = operation
        self._conversation_id = conversation_id
        self._to_pass = after
        self._left = times
        self._is_met = False

    @property
    def unmet(self) -> tuple[Fault, ...]:
        """The fault, until a request meets it."""
        return () if self._is_met else (self._fault,)

    def offer(self, operation: OperationName, conversation_id: str | None) -> Fault | None:
        """Count the request, and return the fault if enough matching requests have passed."""
        if self._operation not in {None, operation} or not self._fault.fits(operation):
            return None
        if self._conversation_id not in {None, conversation_id}:
            return None
        if self._to_pass:
            self._to_pass -= 1
            return None
        return self._fault

    def spend(self) -> bool:
        """Record that a request met the fault, and return whether the rule is used up."""
        self._is_met = True
        self._left -= 1
        return not self._left


class RandomFaults:
    """The rule of `Emulator.inject_at_random`: faults from a seeded random generator."""

    unmet: tuple[Fault, ...] = ()
    """Empty: a random fault may never be drawn."""

    def __init__(
        self,
        rate: float,
        *,
        seed: int,
        faults: Collection[Fault] | None,
        operations: Collection[OperationName] | None,
    ) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"rate must be a probability from 0 to 1, not {rate}.")
        operations = OPERATION_NAMES if operations is None else operations
        _check_operations(operations)
        faults = tuple(Fault(kind) for kind in FAULT_KINDS) if faults is None else tuple(faults)
        self._rate = rate
        self._fitting = {name: [fault for fault in faults if fault.fits(name)] for name in operations}
        if not any(self._fitting.values()):
            raise ValueError("None of the faults applies to any of the operations.")
        self._random = random.Random(seed)  # noqa: S311 - faults must be reproducible, not secret

    def offer(self, operation: OperationName, conversation_id: str | None) -> Fault | None:  # noqa: ARG002 - every conversation matches
        """Return a random fault that applies to the operation, or None, at the given rate."""
        fitting = self._fitting.get(operation)
        if not fitting or self._random.random() >= self._rate:
            return None
        return self._random.choice(fitting)

    def spend(self) -> bool:
        """Return False: the rule is never used up."""
        return False


def _check_operations(names: Collection[str]) -> None:
    for name in names:
        if name not in OPERATION_NAMES:
            raise ValueError(f"Unknown operation {name!r}; the operations are {', '.join(OPERATION_NAMES)}.")


class ApiResponse(Response):
    """A complete response: JSON, indented as the API indents it, or the bytes of a file."""

    media_type = "application/json"

    def render(self, content: JsonObject | bytes) -> bytes:
        """Return the body."""
        return content if isinstance(content, bytes) else json.dumps(content, indent=2).encode()


class HtmlResponse(Response):
    """An HTML page in place of the content, as a proxy might send."""

    media_type = "text/html"

    def render(self, content: JsonObject) -> bytes:  # noqa: ARG002 - the page replaces it
        """Return the body."""
        return _HTML


_HTML = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>Welcome</h1></body></html>\n"


class TruncatedResponse(ApiResponse):
    """The first half of a response. In process, a `RemoteProtocolError`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the body with the `content-length` of all of it, then close the connection."""
        connection = _connection(scope, **_TRUNCATED)
        half = self.body[: len(self.body) // 2]
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        connection.close()
        await _disconnected(receive)


async def close_early(scope: Scope, receive: Receive) -> None:
    """Close the connection before the end of the response; in process, raise a `RemoteProtocolError`."""
    _connection(scope, **_TRUNCATED).close()
    await _disconnected(receive)


_TRUNCATED = {"error": "RemoteProtocolError", "reason": "the emulator ended the response early"}


class NoResponse(ApiResponse):
    """A response that the client does not receive."""


class ResetResponse(NoResponse):
    """A reset connection. In process, a `ReadError`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent
        """Reset the connection."""
        _connection(scope, error="ReadError", reason="the emulator reset the connection").reset()
        await _disconnected(receive)


class StalledResponse(NoResponse):
    """An open, silent connection. In process, an immediate `ReadTimeout`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent
        """Wait until the client disconnects."""
        _connection(scope, error="ReadTimeout", reason="the emulator does not respond").stall()
        await _disconnected(receive)


def _connection(scope: Scope, *, error: str, reason: str) -> Connection:
    """Return the socket connection of a request; in process, raise the named error of the HTTP library."""
    connection: Connection | None = scope.get("state", {}).get("connection")
    if connection is None:
        raise getattr(http_family(), error)(reason)
    return connection


async def _disconnected(receive: Receive) -> None:
    # Returning before the server has noticed would make it send a 500 of its own. The request has been
    # received completely, so the only message left is its end.
    await receive()


Outcome = JsonObject | bytes | ApiError
"""The result of a request: the body of a successful response, the content of a file, or an error."""


@dataclass(frozen=True, slots=True)
class FaultEffect:
    """How a request with a fault is answered.

    Attributes:
        response_class: The class of the response.
        served: Whether the operation is performed; otherwise its outcome is an empty object.
        outcome: Replaces the outcome of the operation in the response.
    """

    response_class: type[Response] = ApiResponse
    served: bool = False
    outcome: Callable[[Fault, Outcome], Outcome] = lambda _, outcome: outcome


def _empty_page(_fault: Fault, outcome: Outcome) -> Outcome:
    if isinstance(outcome, ApiError):
        return outcome
    return {"object": "list", "data": [], "first_id": None, "has_more": True, "last_id": None}


FAULT_EFFECTS: Mapping[FaultKind, FaultEffect] = {
    "cut_before": FaultEffect(ResetResponse),
    "cut_after_commit": FaultEffect(ResetResponse, served=True),
    "late_commit": FaultEffect(ResetResponse),
    "error_500_before": FaultEffect(outcome=lambda *_: server_error()),
    "error_500_after_commit": FaultEffect(served=True, outcome=lambda *_: server_error()),
    "throttled": FaultEffect(outcome=lambda fault, _: rate_limited(retry_after=fault.retry_after)),
    "quota": FaultEffect(outcome=lambda *_: quota_exceeded()),
    "locked": FaultEffect(outcome=lambda *_: conversation_locked()),
    "stall": FaultEffect(StalledResponse),
    "stall_after_commit": FaultEffect(StalledResponse, served=True),
    "truncated_body": FaultEffect(TruncatedResponse, served=True),
    "not_json": FaultEffect(HtmlResponse, served=True, outcome=lambda *_: {}),
    "empty_page": FaultEffect(served=True, outcome=_empty_page),
    "stale_page": FaultEffect(served=True),
    # For responses that are not streamed:
    "cut_mid_stream": FaultEffect(ResetResponse),
    "cut_mid_stream_after_commit": FaultEffect(ResetResponse, served=True),
    "cut_mid_stream_late_commit": FaultEffect(ResetResponse),
}

LATE_KINDS: frozenset[FaultKind] = frozenset({"late_commit", "cut_mid_stream_late_commit"})
"""The kinds that commit `Fault.delay` seconds later."""


class LateCommits:
    """The scheduled writes of `late_commit` faults, each in a thread: the event loop may end earlier."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._pending: list[threading.Timer] = []

    def schedule(self, commit: Callable[[], object], *, delay: float) -> None:
        """Call `commit` after `delay` seconds."""
        timer = threading.Timer(delay, commit)
        with self._mutex:
            self._pending = [pending for pending in self._pending if pending.is_alive()]
            self._pending.append(timer)
            timer.start()

    def wait(self) -> None:
        """Wait until all scheduled writes are done."""
        with self._mutex:
            pending = tuple(self._pending)
        for timer in pending:
            timer.join()
