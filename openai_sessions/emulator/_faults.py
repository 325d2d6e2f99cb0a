"""Faults: which request meets which, and how each goes wrong."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

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
]

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
"""Every kind of fault, in the order in which `Fault` explains them."""

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
    "list_input_items",
]

OPERATION_NAMES: tuple[OperationName, ...] = get_args(OperationName)

_CONVERSATION_WRITES = frozenset(
    {"update_conversation", "delete_conversation", "create_items", "delete_item", "create_response"}
)

_WRITES = frozenset({"create_conversation", *_CONVERSATION_WRITES, "delete_response"})

_FITTING: dict[str, frozenset[str]] = {
    "cut_after_commit": _WRITES,
    "late_commit": _WRITES,
    "error_500_after_commit": _WRITES,
    "stall_after_commit": _WRITES,
    "locked": _CONVERSATION_WRITES,
    "empty_page": frozenset({"list_items"}),
    "stale_page": frozenset({"list_items"}),
    "cut_mid_stream": frozenset({"create_response"}),
}
"""The operations of the kinds that do not fit all of them."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which a request can go wrong.

    Args:
        kind: One of `FAULT_KINDS`. Those of commits fit writes only, those of pages lists of items only:

            - `cut_before`: the connection is reset, nothing is done.
            - `cut_after_commit`: the write is done, then the connection is reset.
            - `late_commit`: the connection is reset, and the write is done `delay` seconds later.
            - `error_500_before`, `error_500_after_commit`: a 500, with nothing or the write done.
            - `throttled`: a 429 of the rate limit, nothing is done.
            - `quota`: a 429 `insufficient_quota`, nothing is done.
            - `locked`: a 400 `conversation_locked`, nothing is done; for writes to a known conversation.
            - `stall`, `stall_after_commit`: no answer ever comes, with nothing or the write done.
            - `truncated_body`: the request is served, but the connection ends in the middle of the answer.
            - `not_json`: the request is served, but the answer is a 200 with an HTML body.
            - `empty_page`: the list is an empty page that says that more follow.
            - `stale_page`: the list is as it was before the last write to the conversation (the last that
              this emulator made: another process's writes to the same file are always seen).
            - `cut_mid_stream`: the first half of a streamed response, then the end of the connection; the
              response is not completed. One that is not streamed is a `cut_before`.
        retry_after: Seconds that a `throttled` answer asks to wait; None leaves the header out.
        delay: Seconds from a late commit's cut to its write.

    Raises:
        ValueError: The kind is unknown, a number of seconds is negative, or `retry_after` is given to a kind
            other than `throttled`.
    """

    kind: FaultKind
    retry_after: float | None = field(default=None, kw_only=True)
    delay: float = field(default=0.15, kw_only=True)

    def __post_init__(self) -> None:
        if self.kind not in FAULT_KINDS:
            raise ValueError(f"Unknown fault kind {self.kind!r}; the kinds are {', '.join(FAULT_KINDS)}.")
        if self.retry_after is not None and self.kind != "throttled":
            raise ValueError(f"retry_after belongs to a 'throttled' fault, not to {self.kind!r}.")
        if self.delay < 0 or (self.retry_after or 0) < 0:
            raise ValueError("Seconds of a fault cannot be negative.")

    def fits(self, operation: OperationName) -> bool:
        """Tell whether the fault makes sense for the operation."""
        return operation in _FITTING.get(self.kind, OPERATION_NAMES)


class Script:
    """Let some of the matching requests meet one fault; how is told by `Emulator.inject`."""

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
            raise ValueError("A conversation has no id before it is created: leave conversation_id out.")
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
        """The fault, while no request has met it."""
        return () if self._is_met else (self._fault,)

    def offer(self, operation: OperationName, conversation_id: str | None) -> Fault | None:
        """Count the request, and return the fault when enough matching ones have passed."""
        if self._operation not in {None, operation} or not self._fault.fits(operation):
            return None
        if self._conversation_id not in {None, conversation_id}:
            return None
        if self._to_pass:
            self._to_pass -= 1
            return None
        return self._fault

    def spend(self) -> bool:
        """Use up one of the times; tell whether none is left."""
        self._is_met = True
        self._left -= 1
        return not self._left


class Chance:
    """Let requests meet faults at random; how is told by `Emulator.inject_at_random`."""

    unmet: tuple[Fault, ...] = ()
    """None is certain to be met."""

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
        self._random = random.Random(seed)  # noqa: S311 - reproducible is what it is for

    def offer(self, operation: OperationName, conversation_id: str | None) -> Fault | None:  # noqa: ARG002 - any will do
        """Return a fault that fits the operation, or none, as the generator has it."""
        fitting = self._fitting.get(operation)
        if not fitting or self._random.random() >= self._rate:
            return None
        return self._random.choice(fitting)

    def spend(self) -> bool:
        """Stay: chance is never used up."""
        return False


Rule = Script | Chance


class FaultPlan:
    """Hold the rules, from any thread: each is offered every request, and the first with a fault wins."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> None:
        """Add a rule behind the others."""
        with self._mutex:
            self._rules.append(rule)

    def clear(self) -> None:
        """Drop all rules."""
        with self._mutex:
            self._rules.clear()

    @property
    def unmet(self) -> tuple[Fault, ...]:
        """The scripted faults that no request has met."""
        with self._mutex:
            return tuple(fault for rule in self._rules for fault in rule.unmet)

    def draw(self, operation: OperationName, conversation_id: str | None) -> Fault | None:
        """Return the fault that this request meets; None for a request that goes well."""
        with self._mutex:
            offers = [(rule, rule.offer(operation, conversation_id)) for rule in self._rules]
            for rule, fault in offers:
                if fault is not None:
                    if rule.spend():
                        self._rules.remove(rule)
                    return fault
        return None


def _check_operations(names: Collection[str]) -> None:
    for name in names:
        if name not in OPERATION_NAMES:
            raise ValueError(f"Unknown operation {name!r}; the operations are {', '.join(OPERATION_NAMES)}.")


_PAGE = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>Welcome</h1></body></html>\n"


class JsonResponse(Response):
    """A whole answer in the layout of the API."""

    media_type = "application/json"

    def render(self, content: JsonObject) -> bytes:
        """Return the body."""
        return json.dumps(content, indent=2).encode()


class HtmlResponse(Response):
    """A page of HTML whatever the content, as from a proxy in between."""

    media_type = "text/html"

    def render(self, content: JsonObject) -> bytes:  # noqa: ARG002 - it is what gets lost
        """Return the body."""
        return _PAGE


class TruncatedResponse(JsonResponse):
    """Half of an answer. In process it is a `RemoteProtocolError`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the body under the length of the whole."""
        connection = _connection(scope)
        if connection is None:
            raise http_family().RemoteProtocolError("the emulator ended the body too early")
        half = self.body[: len(self.body) // 2]
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        connection.end()
        await _disconnected(receive)


class NoResponse(JsonResponse):
    """No answer at all."""


class ResetResponse(NoResponse):
    """The connection is reset. In process it is a `ReadError`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - see above
        """Reset the connection."""
        connection = _connection(scope)
        if connection is None:
            raise http_family().ReadError("the emulator cut the connection")
        connection.reset()
        await _disconnected(receive)


class StalledResponse(NoResponse):
    """The connection stays, and is silent. In process it is a `ReadTimeout` at once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - see above
        """Wait for the other side to leave."""
        connection = _connection(scope)
        if connection is None:
            raise http_family().ReadTimeout("the emulator does not answer")
        connection.stall()
        await _disconnected(receive)


def _connection(scope: Scope) -> Connection | None:
    state: dict[str, Any] = scope.get("state", {})
    return state.get("connection")


async def _disconnected(receive: Receive) -> None:
    # Returning before the server has noticed would make it send a 500 of its own. The request has been
    # received whole, so that nothing but its end can come.
    await receive()


Outcome = JsonObject | ApiError
"""What a request comes to: the body of an answer of success, or an error."""


def _unchanged(_fault: Fault, outcome: Outcome) -> Outcome:
    return outcome


@dataclass(frozen=True, slots=True)
class Course:
    """The way that a request goes when it meets a fault.

    Attributes:
        response: The form of the answer.
        performed: Whether the request is served; otherwise its outcome is an empty object.
        answered: Makes the outcome that is told of the real one.
    """

    response: type[Response] = JsonResponse
    performed: bool = False
    answered: Callable[[Fault, Outcome], Outcome] = _unchanged


def _emptied(_fault: Fault, outcome: Outcome) -> Outcome:
    if isinstance(outcome, ApiError):
        return outcome
    return {"object": "list", "data": [], "first_id": None, "has_more": True, "last_id": None}


COURSES: Mapping[FaultKind, Course] = {
    "cut_before": Course(ResetResponse),
    "cut_after_commit": Course(ResetResponse, performed=True),
    "late_commit": Course(ResetResponse),
    "error_500_before": Course(answered=lambda *_: server_error()),
    "error_500_after_commit": Course(performed=True, answered=lambda *_: server_error()),
    "throttled": Course(answered=lambda fault, _: rate_limited(retry_after=fault.retry_after)),
    "quota": Course(answered=lambda *_: quota_exceeded()),
    "locked": Course(answered=lambda *_: conversation_locked()),
    "stall": Course(StalledResponse),
    "stall_after_commit": Course(StalledResponse, performed=True),
    "truncated_body": Course(TruncatedResponse, performed=True),
    "not_json": Course(HtmlResponse, performed=True, answered=lambda *_: {}),
    "empty_page": Course(performed=True, answered=_emptied),
    "stale_page": Course(performed=True),
    "cut_mid_stream": Course(ResetResponse),  # of a request whose answer is no stream
}


class LateCommits:
    """Run writes later, each in a thread of its own: event loops may end before."""

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
        """Wait until all that were scheduled are done."""
        with self._mutex:
            pending = tuple(self._pending)
        for timer in pending:
            timer.join()
