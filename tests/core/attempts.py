"""A request with scripted answers, repeated as a policy says, in a time that passes only in sleeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from openai_sessions import RetryPolicy
from openai_sessions._api.retries import Failure, Outcome, RequestKind, Retries
from openai_sessions.session import RetryBudget, RetryEvent


class FailedError(Exception):
    """An error that the policy sees as `failure`."""

    def __init__(self, failure: Failure | Outcome) -> None:
        super().__init__(failure)
        self.failure = failure if isinstance(failure, Failure) else Failure(failure)


@dataclass
class Bench:
    """A request with scripted answers, and a time that passes only in sleeps.

    Attributes:
        answers: What the attempts do: an outcome or a failure to fail with, an exception to raise, or
            a result; the last is repeated.
        took: Seconds that each attempt takes.
    """

    answers: list[Any]
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    budget: RetryBudget = field(default_factory=RetryBudget)
    on_retry: Callable[[RetryEvent], object] | None = None
    took: float = 0.0
    now: float = 1000.0
    attempts: int = 0
    log: list[Any] = field(default_factory=list)

    async def request(self) -> Any:
        answer = self.answers[min(self.attempts, len(self.answers) - 1)]
        self.attempts += 1
        self.now += self.took
        self.log.append("request")
        if isinstance(answer, (Outcome, Failure)):
            raise FailedError(answer)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.log.append(seconds)
        self.now += seconds

    def looking(self, *found: Any) -> Callable[[], Any]:
        """Return a look that finds each of these in turn, then nothing."""
        pending = list(found)

        async def look() -> Any:
            self.log.append("look")
            result = pending.pop(0) if pending else None
            if isinstance(result, BaseException):
                raise result
            return result

        return look

    async def run(self, kind: RequestKind = RequestKind.READ, *, look: Any = None, **options: Any) -> Any:
        """Send the request as `ConversationsClient.send` does, or look for it as an append does."""
        retries = Retries(
            classify=lambda error: getattr(error, "failure", None),
            policy=self.policy,
            budget=self.budget,
            on_retry=self.on_retry,
            sleep=self.sleep,
            clock=lambda: self.now,
            random=lambda: 0.0,
        )
        attempts = retries.attempts(kind, **options)
        result = None
        async for attempt in attempts:
            with attempt:
                try:
                    result = await self.request()
                    attempts.succeeded()
                except Exception as error:
                    if look is None or not attempts.must_look(error):
                        raise
                    with attempts.looking():
                        result = await look()
                    if result is None:
                        raise
        return result

    async def fails(self, kind: RequestKind = RequestKind.READ, **options: Any) -> Failure:
        with pytest.raises(FailedError) as caught:
            await self.run(kind, **options)
        return caught.value.failure

    @property
    def waits(self) -> list[float]:
        return [entry for entry in self.log if isinstance(entry, float)]


TRANSIENT = [Outcome.UNKNOWN, Outcome.UNREACHABLE, Outcome.THROTTLED, Outcome.LOCKED]
LASTING = [Outcome.REFUSED, Outcome.NOT_FOUND]
