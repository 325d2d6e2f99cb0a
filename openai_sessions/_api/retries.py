"""What became of a failed request, and whether it is sent again: outcomes, policy, budget, loop."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TypeVar, cast

import anyio
import openai
from tenacity import AsyncRetrying, RetryCallState

from openai_sessions._instrumentation import Retried, note_attempt, tell
from openai_sessions.errors import InvalidResponseError, RequestTimeoutError


class RequestKind(str, Enum):
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

_TABLE: dict[tuple[RequestKind, Outcome], Decision] = {
    **{(operation, outcome): Decision.RETRY for operation in RequestKind for outcome in _NOT_APPLIED},
    (RequestKind.READ, Outcome.UNKNOWN): Decision.RETRY,
    (RequestKind.APPEND, Outcome.UNKNOWN): Decision.LOOK,
    (RequestKind.DELETE_ITEM, Outcome.UNKNOWN): Decision.RETRY,
    (RequestKind.DELETE_CONVERSATION, Outcome.UNKNOWN): Decision.RETRY,
    (RequestKind.CREATE_CONVERSATION, Outcome.UNKNOWN): Decision.RETRY,
    (RequestKind.REPLACE_METADATA, Outcome.UNKNOWN): Decision.RETRY,
}
"""All other pairs are raised."""


def decide(operation: RequestKind, failure: Failure, *, in_doubt: bool = False) -> Decision:
    """Return what follows a failure.

    Args:
        operation: What the request does.
        failure: How it failed.
        in_doubt: An earlier attempt of the same request had an unknown outcome. Then every failure
            of an append is looked into: it may say "duplicate", or be our own lock.
    """
    decision = _TABLE.get((operation, failure.outcome), Decision.RAISE)
    if operation is RequestKind.APPEND and (in_doubt or decision is Decision.LOOK):
        return Decision.LOOK
    if failure.should_retry is None:
        return decision
    return Decision.RETRY if failure.should_retry else Decision.RAISE


def may_send_again(operation: RequestKind, failure: Failure) -> bool:
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


_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
"""The errors of the HTTP libraries after which the server has seen nothing of the request."""


def classify(error: BaseException) -> Failure | None:
    """Return what is known of a request that failed with this error; None when it was no request.

    What was not applied and what may have been: OpenAI's documentation of its errors, and the errors
    of the HTTP library below, which stand in `__cause__`.
    """
    if isinstance(error, openai.APIStatusError):
        return Failure(_outcome_of(error), _retry_after(error.response.headers), _should_retry(error))
    if isinstance(error, openai.APIConnectionError):
        never_sent = type(error.__cause__).__name__ in _NEVER_SENT
        return Failure(Outcome.UNREACHABLE if never_sent else Outcome.UNKNOWN)
    if isinstance(error, (RequestTimeoutError, InvalidResponseError, openai.APIError)):
        return Failure(Outcome.UNKNOWN)
    # A client that is closed, or of another loop: the server may have served the request all the same.
    return Failure(Outcome.UNKNOWN, should_retry=False) if isinstance(error, RuntimeError) else None


def _outcome_of(error: openai.APIStatusError) -> Outcome:
    if error.status_code == 404:
        return Outcome.NOT_FOUND
    if error.status_code == 429:
        return Outcome.REFUSED if error.code == "insufficient_quota" else Outcome.THROTTLED
    if error.status_code in (400, 409) and error.code == "conversation_locked":
        return Outcome.LOCKED
    if error.status_code in (408, 409) or error.status_code >= 500:
        return Outcome.UNKNOWN
    return Outcome.REFUSED


def _should_retry(error: openai.APIStatusError) -> bool | None:
    return {"true": True, "false": False}.get(error.response.headers.get("x-should-retry", ""))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asked to wait, or None."""
    for name, scale in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(0.0, float(headers[name]) / scale)
        except (KeyError, ValueError):
            continue
    try:
        at = parsedate_to_datetime(headers["retry-after"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
    return max(0.0, at - time.time())


T = TypeVar("T")

logger = logging.getLogger("openai_sessions")

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RetryEvent:
    """What `on_retry` is told before a request is sent again.

    Attributes:
        operation: What the request does, such as "append".
        attempt: Which attempt failed, from 1.
        outcome: What is known of it, such as "throttled".
        wait: Seconds until the next attempt.
        conversation_id: The conversation, or None while it is being created.
    """

    operation: str
    attempt: int
    outcome: str
    wait: float
    conversation_id: str | None


class RetryBudget:
    """A bucket of tokens that retries are paid from, so that an outage is not answered by a storm.

    The sessions of one client share one. A retry after a throttle costs less than one after a
    transient error; a request that succeeds at its first attempt gives one token back. When the
    bucket is empty, errors come out as if there were no retries. May be used from any thread.

    Args:
        capacity: How many tokens it holds, and has at the beginning.
        transient_cost: Tokens for a retry after a transient error.
        throttle_cost: Tokens for a retry after a throttle or a locked conversation.
    """

    def __init__(self, capacity: int = 500, *, transient_cost: int = 14, throttle_cost: int = 5) -> None:
        self._guard = threading.Lock()
        self._capacity = capacity
        self._tokens = capacity
        self._transient_cost = transient_cost
        self._throttle_cost = throttle_cost

    @property
    def tokens(self) -> int:
        """How many tokens are left."""
        return self._tokens

    def spend(self, outcome: Outcome) -> bool:
        """Pay for a retry after this outcome; False when there are too few tokens."""
        throttled = outcome in (Outcome.THROTTLED, Outcome.LOCKED)
        cost = self._throttle_cost if throttled else self._transient_cost
        with self._guard:
            if self._tokens < cost:
                return False
            self._tokens -= cost
            return True

    def earn(self) -> None:
        """Put one token back."""
        with self._guard:
            self._tokens = min(self._tokens + 1, self._capacity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrier:
    """Run requests as a `RetryPolicy` says.

    Attributes:
        classify: Turns an error into what the policy knows of it; None for errors that are not of a
            request.
        policy: How often and how long.
        budget: What retries are paid from.
        on_retry: Told of each retry, or None. What it raises is logged.
        sleep: Waits for a number of seconds.
        clock: Gives seconds that never go back.
        random: Gives numbers from 0 to 1.
    """

    classify: Callable[[BaseException], Failure | None]
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    budget: RetryBudget = field(default_factory=RetryBudget)
    on_retry: Callable[[RetryEvent], object] | None = None
    sleep: Sleep = anyio.sleep
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random

    async def run(  # noqa: PLR0913 -- one request, and all that bears on its repetition
        self,
        operation: RequestKind,
        request: Callable[[], Awaitable[T]],
        *,
        conversation_id: str | None = None,
        look: Callable[[], Awaitable[T | None]] | None = None,
        exempt: bool = False,
        stopped: Callable[[], bool] = lambda: False,
        sleep: Sleep | None = None,
    ) -> T:
        """Make a request, and again as the policy says.

        Args:
            operation: What the request does.
            request: Sends it once.
            conversation_id: For `on_retry`.
            look: For an append: returns the result of the request if it was applied after all, or
                None. What it raises comes out.
            exempt: Do not pay for retries: looking, settling and rolling back must not fail for want
                of tokens.
            stopped: Tells that no further attempt is wanted.
            sleep: Waits in the place of the usual sleep.

        Raises:
            Exception: That of the last attempt.
        """
        attempts = _Attempts(self, operation, request, look, conversation_id, exempt, stopped)
        try:
            return cast("T", await attempts.attempt())
        except Exception as error:  # noqa: BLE001 -- goes to tenacity, which takes a tenth of a request
            attempts.first_error = error
        retrying = AsyncRetrying(
            sleep=sleep or self.sleep,
            retry=attempts.is_worth_another,
            wait=attempts.wait,
            stop=attempts.must_stop,
            before_sleep=attempts.announce,
            reraise=True,
        )
        return cast("T", await retrying(attempts.attempt))


class _Attempts:
    """One run: the attempts so far."""

    def __init__(  # noqa: PLR0913, PLR0917 -- as Retrier.run
        self,
        retrier: Retrier,
        operation: RequestKind,
        request: Callable[[], Awaitable[object]],
        look: Callable[[], Awaitable[object | None]] | None,
        conversation_id: str | None,
        exempt: bool,  # noqa: FBT001
        stopped: Callable[[], bool],
    ) -> None:
        self._retrier = retrier
        self._operation = operation
        self._request = request
        self._look = look
        self._conversation_id = conversation_id
        self._exempt = exempt
        self._stopped = stopped
        self._started = retrier.clock()
        self._in_doubt = False
        self._look_failed = False
        self._count = 0
        self.first_error: Exception | None = None

    async def attempt(self) -> object:
        """Send the request once; when its outcome is unknown, look.

        When called for the first time after the attempt that raised `first_error`, raise that.
        """
        if self.first_error is not None:
            error, self.first_error = self.first_error, None
            raise error
        self._count += 1
        note_attempt(self._count)
        try:
            result = await self._request()
        except Exception as error:
            failure = self._retrier.classify(error)
            if failure is None or self._look is None:
                raise
            if decide(self._operation, failure, in_doubt=self._in_doubt) is not Decision.LOOK:
                raise
            self._in_doubt = self._in_doubt or failure.outcome is Outcome.UNKNOWN
            self._look_failed = True  # unless it comes to an end
            found = await self._look()
            self._look_failed = False
            if found is None:
                raise
            return found
        if self._count == 1:
            self._retrier.budget.earn()
        return result

    def is_worth_another(self, state: RetryCallState) -> bool:
        failure = self._failure(state)
        if failure is None or self._look_failed:
            return False
        return may_send_again(self._operation, failure)

    def wait(self, state: RetryCallState) -> float:
        retrier, failure = self._retrier, self._failure(state)
        if failure is None:
            return 0.0
        seconds = retrier.policy.wait(failure, state.attempt_number, random=retrier.random())
        looked = self._look is not None and failure.outcome is Outcome.UNKNOWN
        # After a look, the time between its two halves has passed already.
        return max(0.0, seconds - retrier.policy.settle_after) if looked else seconds

    def must_stop(self, state: RetryCallState) -> bool:
        policy, failure = self._retrier.policy, self._failure(state)
        if state.attempt_number >= policy.attempts or self._stopped() or failure is None:
            return True
        if self._retrier.clock() + state.upcoming_sleep > self._started + policy.deadline:
            return True
        return not (self._exempt or self._retrier.budget.spend(failure.outcome))

    def announce(self, state: RetryCallState) -> None:
        failure = self._failure(state)
        if failure is None:
            return
        event = RetryEvent(
            self._operation.value,
            state.attempt_number,
            failure.outcome.value,
            state.upcoming_sleep,
            self._conversation_id,
        )
        tell(Retried(event.operation, event.attempt, event.outcome, event.wait))
        if self._retrier.on_retry is None:
            return
        try:
            self._retrier.on_retry(event)
        except Exception:
            logger.exception("on_retry raised")

    def _failure(self, state: RetryCallState) -> Failure | None:
        error = state.outcome.exception() if state.outcome else None
        return None if error is None else self._retrier.classify(error)
