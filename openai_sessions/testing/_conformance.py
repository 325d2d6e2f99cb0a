"""Run the checks on a session, and report what it does and does not do."""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Literal

from openai_sessions.testing._checks import CHECKS, Check
from openai_sessions.testing._expectations import CheckFailedError, CheckSkippedError
from openai_sessions.testing._sessions import Make, Reopen, Sessions, within

Outcome = Literal["passed", "failed", "skipped"]


class ConformanceError(AssertionError):
    """A session does not do what it must; the message is the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check found.

    Attributes:
        name: The name of the check, a key of `CHECKS`.
        outcome: "passed", "failed" or "skipped".
        requirement: What a session must do.
        detail: How the session failed, or why the check was skipped; empty when it passed.
        error: What the session raised, with its traceback, if that is how it failed.
    """

    name: str
    outcome: Outcome
    requirement: str
    detail: str = ""
    error: Exception | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        label = self.outcome.upper() if self.outcome == "failed" else self.outcome
        lines = [f"{self.name}: {self.requirement}", *self.detail.splitlines()]
        return f"{label:<9}" + "\n".join([lines[0], *(f"{'':9}{line}" for line in lines[1:])])


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """What all checks found, in the order of `CHECKS`; `str` makes a table of it, failures first."""

    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> tuple[CheckResult, ...]:
        """The checks that the session passed."""
        return self._with("passed")

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that the session failed."""
        return self._with("failed")

    @property
    def skipped(self) -> tuple[CheckResult, ...]:
        """The checks that could not be made, each with the reason as its detail."""
        return self._with("skipped")

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    def raise_if_failed(self) -> None:
        """Raise with this report as the message if a check failed.

        Raises:
            ConformanceError: A check failed; its cause is the first error that the session raised.
        """
        if not self.ok:
            errors = (result.error for result in self.failed if result.error)
            raise ConformanceError(str(self)) from next(errors, None)

    def __str__(self) -> str:
        counts = f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"
        results = (*self.failed, *self.skipped, *self.passed)
        return "\n".join([f"Session conformance: {counts}", "", *map(str, results)])

    def _with(self, outcome: Outcome) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.outcome == outcome)


async def check_session(
    make: Make,
    *,
    reopen: Reopen | None = None,
    timeout: float = 30.0,
) -> ConformanceReport:
    """Run every check, one after the other, and report what each found.

    Args:
        make: Returns a new session with an empty history of its own; may be async. Each check asks
            for its own sessions, which are cleared and closed after it.
        reopen: Takes a session and returns another one on the same history; may be async. Without
            it the checks that need it are skipped.
        timeout: Seconds that one check may take before it fails and is stopped. A session that
            blocks the event loop cannot be stopped.

    Returns:
        The report. A failed check stops none of the others, and nothing is raised for it.
    """
    results = [await run_check(name, make, reopen=reopen, timeout=timeout) for name in CHECKS]
    return ConformanceReport(tuple(results))


async def run_check(
    name: str,
    make: Make,
    *,
    reopen: Reopen | None = None,
    timeout: float = 30.0,
) -> CheckResult:
    """Run one check.

    Args:
        name: A key of `CHECKS`.
        make: As for `check_session`.
        reopen: As for `check_session`.
        timeout: As for `check_session`.

    Returns:
        What the check found. Errors of the session are part of it, those of putting it away are not.

    Raises:
        KeyError: There is no such check.
    """
    check = CHECKS[name]
    async with AsyncExitStack() as stack:
        sessions = Sessions(make=make, reopen_with=reopen, timeout=timeout, stack=stack)
        outcome, detail, error = await _judge(check, sessions)
    requirement = inspect.getdoc(check) or ""
    return CheckResult(name=name, outcome=outcome, requirement=requirement, detail=detail, error=error)


async def _judge(check: Check, sessions: Sessions) -> tuple[Outcome, str, Exception | None]:
    try:
        await within(sessions.timeout, check(sessions))
    except CheckSkippedError as skipped:
        return "skipped", str(skipped), None
    except CheckFailedError as failed:
        return "failed", str(failed), None
    except Exception as error:  # noqa: BLE001 - whatever a session raises is a finding
        return "failed", f"raised {type(error).__name__}: {error}", error
    return "passed", "", None
