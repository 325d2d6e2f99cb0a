"""Repeated attempts at one request. The only importer of tenacity."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

import anyio
from tenacity import AsyncRetrying, RetryCallState

from openai_sessions._observing import Retried, note_attempt, tell
from openai_sessions._policy import (
    Decision,
    Failure,
    Operation,
    Outcome,
    RetryPolicy,
    decide,
    may_send_again,
)

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
        operation: Operation,
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
        operation: Operation,
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
