"""What became of a failed request, and whether it is sent again: outcomes, policy, budget, attempts."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum

import anyio
import openai
from tenacity import AsyncRetrying, RetryCallState

from openai_sessions._api.transports import add_facts, never_sent
from openai_sessions._arguments import is_number, is_whole_number
from openai_sessions._instrumentation import Retried, note_attempt, tell
from openai_sessions.errors import (
    ClosedClientError,
    InvalidResponseError,
    RedirectError,
    RequestTimeoutError,
)

logger = logging.getLogger("openai_sessions")

Sleep = Callable[[float], Awaitable[None]]


class RequestKind(str, Enum):
    """What a request does: the policy retries each kind differently."""

    READ = "read"
    APPEND = "append"
    DELETE_ITEM = "delete item"
    DELETE_CONVERSATION = "delete conversation"
    DELETE_RESPONSE = "delete response"
    DELETE_FILE = "delete file"
    CREATE_CONVERSATION = "create conversation"
    REPLACE_METADATA = "replace metadata"
    RESPOND = "create response"
    CANCEL_RESPONSE = "cancel response"


class Outcome(str, Enum):
    """What is known of a request that failed."""

    REFUSED = "refused"
    """The server rejected the request and would reject it again."""

    NOT_FOUND = "not found"
    """The server does not know the conversation or the item."""

    THROTTLED = "throttled"
    """Too many requests; not applied."""

    LOCKED = "locked"
    """Another writer holds the conversation; not applied."""

    UNREACHABLE = "unreachable"
    """No connection was made; not applied."""

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
        retry_after: Seconds to wait, as the server's `retry-after` says, or None.
        should_retry: The server's `x-should-retry`, or None.
    """

    outcome: Outcome
    retry_after: float | None = None
    should_retry: bool | None = None


_NOT_APPLIED = (Outcome.THROTTLED, Outcome.LOCKED, Outcome.UNREACHABLE)

_LOOKED_FOR = (RequestKind.APPEND, RequestKind.RESPOND)
"""Requests that add items: one whose outcome is unknown is searched for before it is sent again."""

_DELETIONS = (
    RequestKind.DELETE_ITEM,
    RequestKind.DELETE_CONVERSATION,
    RequestKind.DELETE_RESPONSE,
    RequestKind.DELETE_FILE,
)

_TABLE: dict[tuple[RequestKind, Outcome], Decision] = {
    **{(kind, outcome): Decision.RETRY for kind in RequestKind for outcome in _NOT_APPLIED},
    (RequestKind.READ, Outcome.UNKNOWN): Decision.RETRY,
    **{(kind, Outcome.UNKNOWN): Decision.LOOK for kind in _LOOKED_FOR},
    **{(kind, Outcome.UNKNOWN): Decision.RETRY for kind in _DELETIONS},
    (RequestKind.CREATE_CONVERSATION, Outcome.UNKNOWN): Decision.RETRY,
    (RequestKind.REPLACE_METADATA, Outcome.UNKNOWN): Decision.RETRY,
    (RequestKind.CANCEL_RESPONSE, Outcome.UNKNOWN): Decision.RETRY,
}
"""Every other pair is raised."""


def decide(kind: RequestKind, failure: Failure, *, in_doubt: bool = False) -> Decision:
    """Return what follows a failure.

    Args:
        kind: What the request does.
        failure: How it failed.
        in_doubt: An earlier attempt of the same request had an unknown outcome. Then the history is searched
            after every failure of a request that adds items: it may say "duplicate", or be our own lock.
    """
    decision = _TABLE.get((kind, failure.outcome), Decision.RAISE)
    if kind in _LOOKED_FOR and (in_doubt or decision is Decision.LOOK):
        return Decision.LOOK
    if failure.should_retry is None:
        return decision
    return Decision.RETRY if failure.should_retry else Decision.RAISE


def may_send_again(kind: RequestKind, failure: Failure) -> bool:
    """Return whether a failed request may be sent again; one that adds items, once it was searched for."""
    if failure.should_retry is not None:
        return failure.should_retry
    return _TABLE.get((kind, failure.outcome), Decision.RAISE) is not Decision.RAISE


_MOST_DOUBLINGS = 64
"""By then every wait has reached its maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a failed request is sent again, and how long it takes at most.

    Attributes:
        attempts: Maximum number of times one request is sent.
        deadline: Seconds for one request with all its attempts and waits. If the next wait would end
            later, the error is raised at once.
        initial_wait: Minimum seconds before the second attempt. Each further wait is twice as long, plus up
            to half of it at random. Waits for a locked conversation are twice as long, without a random part.
        max_wait: Maximum seconds of a wait, except where the server's `retry-after` says more.
        settle_after: Seconds between the two searches for a request whose reply was lost.

    Raises:
        ValueError: A number is out of range.
    """

    attempts: int = 6
    deadline: float = 120.0
    initial_wait: float = 0.5
    max_wait: float = 8.0
    settle_after: float = 1.0

    def __post_init__(self) -> None:
        if not is_whole_number(self.attempts) or self.attempts < 1:
            raise ValueError(f"attempts must be a whole number of at least 1, not {self.attempts!r}")
        for name in ("deadline", "initial_wait", "max_wait", "settle_after"):
            seconds = getattr(self, name)
            if not is_number(seconds) or not 0 < seconds < math.inf:
                raise ValueError(f"{name} must be a positive, finite number of seconds, not {seconds!r}")

    def wait(self, failure: Failure, attempt: int, *, random: float) -> float:
        """Return the seconds to wait before the next attempt.

        Args:
            failure: How the attempt failed. The server's `retry-after` is obeyed.
            attempt: The number of the attempt that failed, from 1.
            random: A number from 0 to 1.
        """
        if failure.retry_after is not None:
            return failure.retry_after
        base = self.initial_wait * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS)
        if failure.outcome is Outcome.LOCKED:
            return min(2 * base, self.max_wait)
        return min(base * (1 + random / 2), self.max_wait)


def classify(error: BaseException) -> Failure | None:
    """Return what is known of a request that failed with this error; None if it is not an error of a request.

    Sources: OpenAI's documentation of its error codes, and what the transport proves.
    """
    if isinstance(error, openai.APIStatusError):
        return Failure(_outcome_of(error), _retry_after(error.response.headers), _should_retry(error))
    if isinstance(error, openai.APIConnectionError):
        return Failure(Outcome.UNREACHABLE if never_sent(error) else Outcome.UNKNOWN)
    if isinstance(error, InvalidResponseError):
        return Failure(Outcome.UNKNOWN, should_retry=False if error.is_lasting else None)
    if isinstance(error, (RequestTimeoutError, openai.APIError)):
        return Failure(Outcome.UNKNOWN)
    if isinstance(error, ClosedClientError):
        return Failure(Outcome.UNREACHABLE, should_retry=False)
    # A redirect comes again; a client is closed meanwhile, or belongs to another loop. It may be applied.
    is_lasting = isinstance(error, (RedirectError, RuntimeError))
    return Failure(Outcome.UNKNOWN, should_retry=False) if is_lasting else None


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
    """Return the seconds in `retry-after-ms` or `retry-after`, which may also be a date; or None."""
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


@dataclass(frozen=True, slots=True)
class RetryEvent:
    """Passed to `on_retry` before a request is sent again.

    Attributes:
        operation: What the request does, such as "append".
        attempt: The number of the attempt that failed, from 1.
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
    """A token bucket that limits retries, so that an outage does not cause a storm of requests.

    The sessions of one client share one. A retry after a throttle costs fewer tokens than one after a
    transient error; a request that succeeds at its first attempt returns one token. When the bucket is
    empty, errors are raised without a retry. Safe to use from any thread.

    Args:
        capacity: Maximum and initial number of tokens.
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
        """The number of tokens left."""
        return self._tokens

    def spend(self, outcome: Outcome) -> bool:
        """Pay for a retry after this outcome; return False if there are too few tokens."""
        throttled = outcome in (Outcome.THROTTLED, Outcome.LOCKED)
        cost = self._throttle_cost if throttled else self._transient_cost
        with self._guard:
            if self._tokens < cost:
                return False
            self._tokens -= cost
            return True

    def earn(self) -> None:
        """Return one token."""
        with self._guard:
            self._tokens = min(self._tokens + 1, self._capacity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """What the attempts at every request of one client have in common.

    Attributes:
        policy: How often and how long.
        budget: Pays for retries.
        on_retry: Called before each retry, or None. An exception it raises is logged.
        classify: Returns what is known of a request that failed with an error; None for other errors.
        sleep: Waits for a number of seconds.
        clock: Returns monotonic seconds.
        random: Returns numbers from 0 to 1.
    """

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    budget: RetryBudget = field(default_factory=RetryBudget)
    on_retry: Callable[[RetryEvent], object] | None = None
    classify: Callable[[BaseException], Failure | None] = classify
    sleep: Sleep = anyio.sleep
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random

    def attempts(  # noqa: PLR0913 -- everything that decides on another attempt
        self,
        kind: RequestKind,
        *,
        conversation_id: str | None = None,
        exempt: bool = False,
        retry_locked: bool = True,
        locked_for: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
        sleep: Sleep | None = None,
    ) -> Attempts:
        """Return the attempts at one request.

        Args:
            kind: What the request does.
            conversation_id: For `on_retry`.
            exempt: Do not pay for retries: looking, settling and rolling back must not fail because the
                budget is empty.
            retry_locked: Try again when another writer holds the conversation.
            locked_for: Seconds that another writer may hold the conversation, in addition to the deadline:
                attempts that it refuses do not count. None: they count, and the deadline applies.
            stopped: Returns whether no further attempt is wanted.
            sleep: Waits, instead of `Retries.sleep`.
        """
        return Attempts(
            self, kind, conversation_id, exempt, retry_locked, locked_for, stopped, sleep or self.sleep
        )


class Attempts:
    """The attempts at one request, run by tenacity as the policy says.

    ```python
    async for attempt in attempts:
        with attempt:
            answer = await send()
            attempts.succeeded()
            return answer
    ```

    The error of the last attempt is raised. If no response arrived, it names the address and the attempts.
    """

    def __init__(  # noqa: PLR0913, PLR0917 -- as Retries.attempts
        self,
        retries: Retries,
        kind: RequestKind,
        conversation_id: str | None,
        exempt: bool,  # noqa: FBT001
        retry_locked: bool,  # noqa: FBT001
        locked_for: float | None,
        stopped: Callable[[], bool],
        sleep: Sleep,
    ) -> None:
        self._retries = retries
        self._kind = kind
        self._conversation_id = conversation_id
        self._exempt = exempt
        self._retry_locked = retry_locked
        self._locked_for = locked_for
        self._refused_by_lock = 0
        self._stopped = stopped
        self._sleep = sleep
        self._started = retries.clock()
        self._number = 0
        self._in_doubt = False
        self._is_looking = False

    def __aiter__(self) -> AsyncRetrying:
        return AsyncRetrying(
            before=self._begin,
            retry=self._may_repeat,
            wait=self._wait,
            stop=self._must_stop,
            before_sleep=self._report,
            sleep=self._sleep,
            reraise=True,
        ).__aiter__()

    def succeeded(self) -> None:
        """Return a token to the budget if the first attempt succeeded."""
        if self._number == 1:
            self._retries.budget.earn()

    def must_look(self, error: Exception) -> bool:
        """Return whether the history must be searched for an append that failed, before it is sent again."""
        failure = self._retries.classify(error)
        if failure is None or decide(self._kind, failure, in_doubt=self._in_doubt) is not Decision.LOOK:
            return False
        self._in_doubt = self._in_doubt or failure.outcome is Outcome.UNKNOWN
        return True

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Search inside: an error raised there is never retried, as the items might be stored twice."""
        self._is_looking = True
        yield
        self._is_looking = False

    def _begin(self, state: RetryCallState) -> None:
        self._number = state.attempt_number
        note_attempt(self._number)

    def _may_repeat(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, openai.APIConnectionError):
            add_facts(error, attempts=state.attempt_number)
        failure = self._failure(state)
        if failure is None or self._is_looking:
            return False
        if failure.outcome is Outcome.LOCKED and not self._retry_locked:
            return False
        return may_send_again(self._kind, failure)

    def _wait(self, state: RetryCallState) -> float:
        failure = self._failure(state)
        if failure is None:
            return 0.0
        policy = self._retries.policy
        seconds = policy.wait(failure, state.attempt_number, random=self._retries.random())
        if self._kind in _LOOKED_FOR and failure.outcome is Outcome.UNKNOWN:
            return max(0.0, seconds - policy.settle_after)  # it has passed between the two searches
        return seconds

    def _must_stop(self, state: RetryCallState) -> bool:
        policy, failure = self._retries.policy, self._failure(state)
        if self._stopped() or failure is None:
            return True
        deadline = policy.deadline
        if self._locked_for is not None and failure.outcome is Outcome.LOCKED:
            self._refused_by_lock += 1
            deadline += self._locked_for
        elif state.attempt_number - self._refused_by_lock >= policy.attempts:
            return True
        if self._retries.clock() + state.upcoming_sleep > self._started + deadline:
            return True
        return not (self._exempt or self._retries.budget.spend(failure.outcome))

    def _report(self, state: RetryCallState) -> None:
        failure = self._failure(state)
        if failure is None:
            return
        event = RetryEvent(
            self._kind.value,
            state.attempt_number,
            failure.outcome.value,
            state.upcoming_sleep,
            self._conversation_id,
        )
        tell(Retried(event.operation, event.attempt, event.outcome, event.wait))
        if self._retries.on_retry is None:
            return
        try:
            self._retries.on_retry(event)
        except Exception:
            logger.exception("on_retry raised")

    def _failure(self, state: RetryCallState) -> Failure | None:
        error = state.outcome.exception() if state.outcome else None
        return None if error is None else self._retries.classify(error)
