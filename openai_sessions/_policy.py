"""What to do after a request that failed: a table, without input or output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class Operation(str, Enum):
    """What a request does, as far as its repetition is concerned."""

    READ = "read"
    APPEND = "append"
    DELETE_ITEM = "delete item"
    DELETE_CONVERSATION = "delete conversation"
    CREATE_CONVERSATION = "create conversation"
    REPLACE_METADATA = "replace metadata"


class Outcome(str, Enum):
    """What is known of a request that failed."""

    REFUSED = "refused"
    """The server said no, and would again."""

    NOT_FOUND = "not found"
    """The server knows no such conversation or item."""

    THROTTLED = "throttled"
    """Too many requests; not applied."""

    LOCKED = "locked"
    """Another writer holds the conversation; not applied."""

    UNREACHABLE = "unreachable"
    """No connection came about; not applied."""

    UNKNOWN = "unknown"
    """The request may have been applied."""


class Decision(Enum):
    """What follows a failure."""

    RETRY = "retry"
    LOOK = "look"
    RAISE = "raise"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request as the policy sees it.

    Attributes:
        outcome: What is known of it.
        retry_after: Seconds that the server asked to wait, or None.
        should_retry: What the server's `x-should-retry` says, or None.
    """

    outcome: Outcome
    retry_after: float | None = None
    should_retry: bool | None = None


_NOT_APPLIED = (Outcome.THROTTLED, Outcome.LOCKED, Outcome.UNREACHABLE)

_TABLE: dict[tuple[Operation, Outcome], Decision] = {
    **{(operation, outcome): Decision.RETRY for operation in Operation for outcome in _NOT_APPLIED},
    (Operation.READ, Outcome.UNKNOWN): Decision.RETRY,
    (Operation.APPEND, Outcome.UNKNOWN): Decision.LOOK,
    (Operation.DELETE_ITEM, Outcome.UNKNOWN): Decision.RETRY,
    (Operation.DELETE_CONVERSATION, Outcome.UNKNOWN): Decision.RETRY,
    (Operation.CREATE_CONVERSATION, Outcome.UNKNOWN): Decision.RETRY,
    (Operation.REPLACE_METADATA, Outcome.UNKNOWN): Decision.RETRY,
}
"""All other pairs are raised."""


def decide(operation: Operation, failure: Failure, *, in_doubt: bool = False) -> Decision:
    """Return what follows a failure.

    Args:
        operation: What the request does.
        failure: How it failed.
        in_doubt: An earlier attempt of the same request had an unknown outcome. Then every failure
            of an append is looked into: it may say "duplicate", or be our own lock.
    """
    decision = _TABLE.get((operation, failure.outcome), Decision.RAISE)
    if operation is Operation.APPEND and (in_doubt or decision is Decision.LOOK):
        return Decision.LOOK
    if failure.should_retry is None:
        return decision
    return Decision.RETRY if failure.should_retry else Decision.RAISE


def may_send_again(operation: Operation, failure: Failure) -> bool:
    """Tell whether a request that failed, and that looking did not find applied, may be sent again."""
    if failure.should_retry is not None:
        return failure.should_retry
    return _TABLE.get((operation, failure.outcome), Decision.RAISE) is not Decision.RAISE


_MOST_DOUBLINGS = 64
"""Waits have long reached their longest by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long a request is tried.

    Attributes:
        attempts: How often one request is sent at most.
        deadline: Seconds for one request with all its attempts and waits. A wait that would go
            beyond it is not begun: the error comes out at once.
        initial_wait: Seconds before the second attempt, at the least; each further wait is twice as
            long, and up to half of it is added at random. Waits for a locked conversation are twice
            as long and have nothing added.
        max_wait: Seconds of the longest wait that the server did not ask for.
        settle_after: Seconds between the two looks for a request whose answer was lost.

    Raises:
        ValueError: A number is not in its range.
    """

    attempts: int = 6
    deadline: float = 120.0
    initial_wait: float = 0.5
    max_wait: float = 8.0
    settle_after: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise ValueError(f"attempts is a whole number from 1, not {self.attempts!r}")
        for name in ("deadline", "initial_wait", "max_wait", "settle_after"):
            seconds = getattr(self, name)
            is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
            if not (is_number and 0 < seconds < math.inf):
                raise ValueError(f"{name} is a positive number of seconds, not {seconds!r}")

    def wait(self, failure: Failure, attempt: int, *, random: float) -> float:
        """Return the seconds to wait after the `attempt`-th attempt, counted from 1.

        Args:
            failure: How it failed. What the server asked for is obeyed.
            attempt: Which attempt failed.
            random: A number from 0 to 1.
        """
        if failure.retry_after is not None:
            return failure.retry_after
        base = self.initial_wait * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS)
        if failure.outcome is Outcome.LOCKED:
            return min(2 * base, self.max_wait)
        return min(base * (1 + random / 2), self.max_wait)
