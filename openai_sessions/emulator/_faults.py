"""Which faults there are, what they fit, and which request meets one. How they look is told elsewhere."""

from __future__ import annotations

import random
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, get_args

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
            raise ValueError(f"Unknown kind of fault {self.kind!r}; the kinds are {', '.join(FAULT_KINDS)}.")
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
                raise ValueError(f"A {fault.kind!r} fault makes no sense for {operation}.")
        if operation == "create_conversation" and conversation_id is not None:
            raise ValueError("A conversation has no id before it is created: leave conversation_id out.")
        if after < 0 or times < 1:
            raise ValueError(f"A fault needs after >= 0 and times >= 1, not {after} and {times}.")
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
            raise ValueError(f"The rate of faults is a probability from 0 to 1, not {rate}.")
        operations = OPERATION_NAMES if operations is None else operations
        _check_operations(operations)
        faults = tuple(Fault(kind) for kind in FAULT_KINDS) if faults is None else tuple(faults)
        self._rate = rate
        self._fitting = {name: [fault for fault in faults if fault.fits(name)] for name in operations}
        if not any(self._fitting.values()):
            raise ValueError("None of the faults makes sense for any of the operations.")
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
