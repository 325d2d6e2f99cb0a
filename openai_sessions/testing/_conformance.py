"""Run the conformance checks on a session, and report the results."""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from openai_sessions.testing._checks import CHECKS
from openai_sessions.testing._errors import (
    CallFailedError,
    CheckFailedError,
    CheckSkippedError,
    ConformanceError,
)
from openai_sessions.testing._sessions import Make, Reopen, Sessions

Outcome = Literal["passed", "failed", "skipped"]

_HUNG = 3
"""After this many timeouts in a row, the session is considered hung."""

_GRACE = 1.0  # seconds for cancelled work to end

_INDENT = " " * 9
_WIDTH = 110  # characters of a line, where a line may be broken


async def check_session(
    make: Make,
    *,
    reopen: Reopen | None = None,
    timeout: float = 30.0,
) -> ConformanceReport:
    """Run every check, one after the other, and report the results.

    Args:
        make: Returns a new session with an empty history and a `session_id` of its own. It may be async, and
            may return a context manager that yields the session. Each check makes its own sessions. When
            it ends, they are cleared, and then exited if they are context managers, else closed with
            `aclose()` or `close()`; errors of that are ignored.
        reopen: Takes a session and returns another one on the same history, as in another process. It may
            return what `make` may. Without it, the checks that need it are skipped.
        timeout: Seconds that one check may take before it fails and is cancelled, and as many again for the
            cleanup of its sessions. A session that blocks the event loop cannot be cancelled.

    Returns:
        The report. A failed check neither raises nor stops the others, but after three timeouts in a row
        the remaining checks are skipped.
    """
    results: list[CheckResult] = []
    for name in CHECKS:
        if _is_hung(results):
            results.append(_result(name, "skipped", f"not run: the {_HUNG} checks before it timed out"))
        else:
            results.append(await run_check(name, make, reopen=reopen, timeout=timeout))
    return ConformanceReport(tuple(results))


async def run_check(
    name: str,
    make: Make,
    *,
    reopen: Reopen | None = None,
    timeout: float = 30.0,
) -> CheckResult:
    """Run one check.

    If it is cancelled, it cancels the check, gives its sessions a few seconds for their cleanup, and raises
    `CancelledError`.

    Args:
        name: A key of `CHECKS`.
        make: As for `check_session`.
        reopen: As for `check_session`.
        timeout: As for `check_session`.

    Returns:
        The result. It includes errors of the session, but not those of its cleanup.

    Raises:
        KeyError: There is no such check.
    """
    sessions = Sessions(make=make, reopen_with=reopen)
    checked: asyncio.Future[CheckResult] = asyncio.get_running_loop().create_future()
    # One task runs the check and its cleanup: a context manager must be exited where it was entered.
    task = asyncio.create_task(_run(name, CHECKS[name](sessions), sessions, checked))
    try:
        first: set[asyncio.Future[Any]] = {checked, task}
        ended, _ = await asyncio.wait(first, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not ended:
            return _timed_out(name, sessions, timeout)
        if not checked.done():
            task.result()  # raises what is not an Exception, such as a skip of pytest
        await asyncio.wait({task}, timeout=timeout)
        return checked.result()
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=_GRACE)
        task.cancel()  # the cleanup hangs too; a task that swallows this is abandoned


async def _run(
    name: str,
    checking: Coroutine[Any, Any, None],
    sessions: Sessions,
    checked: asyncio.Future[CheckResult],
) -> None:
    async with sessions.stack:
        try:
            result = await _judge(name, checking)
        except asyncio.CancelledError:  # if `run_check` cancelled, it no longer waits for the result
            result = _result(name, "failed", "raised CancelledError without being cancelled")
        checked.set_result(result)


async def _judge(name: str, checking: Coroutine[Any, Any, None]) -> CheckResult:
    try:
        await checking
    except CheckSkippedError as skipped:
        return _result(name, "skipped", str(skipped))
    except CheckFailedError as failed:
        return _result(name, "failed", str(failed))
    except CallFailedError as failed:
        return _result(name, "failed", str(failed), failed.error)
    except Exception as error:  # noqa: BLE001 - any error of a session is a result
        return _result(name, "failed", f"raised {type(error).__name__}: {error}", error)
    return _result(name, "passed")


def _timed_out(name: str, sessions: Sessions, timeout: float) -> CheckResult:
    waiting = ", ".join(dict.fromkeys(sessions.pending)) or "the check"
    detail = f"{waiting} did not end within {timeout:g} seconds after the start of the check"
    return _result(name, "failed", detail, TimeoutError(detail))


def _is_hung(results: list[CheckResult]) -> bool:
    run = (result for result in reversed(results) if result.outcome != "skipped")
    latest = list(islice(run, _HUNG))
    return len(latest) == _HUNG and all(isinstance(result.error, TimeoutError) for result in latest)


def _result(name: str, outcome: Outcome, detail: str = "", error: Exception | None = None) -> CheckResult:
    requirement = inspect.getdoc(CHECKS[name]) or ""
    return CheckResult(name=name, outcome=outcome, requirement=requirement, detail=detail, error=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check.

    Attributes:
        name: The name of the check, a key of `CHECKS`.
        outcome: "passed", "failed" or "skipped".
        requirement: What a session must do.
        detail: How the session failed (the call, the expected and the actual result), or why the check was
            skipped; empty if it passed.
        error: The error that the session raised, with its traceback, if the check failed with one; a
            `TimeoutError` if it timed out.
    """

    name: str
    outcome: Outcome
    requirement: str
    detail: str = ""
    error: Exception | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        label = self.outcome.upper() if self.outcome == "failed" else self.outcome
        lines = [self.requirement, *self.detail.splitlines()]
        return "\n".join([f"{label:<9}{self.name}", *(_INDENT + line for line in lines)])


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """The results of all checks, in the order of `CHECKS`.

    As text: a line of counts, each failed and each skipped check with the reasons, and the names of the
    checks that passed.
    """

    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> tuple[CheckResult, ...]:
        """The checks that passed."""
        return self._with("passed")

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that failed."""
        return self._with("failed")

    @property
    def skipped(self) -> tuple[CheckResult, ...]:
        """The checks that could not run, each with the reason as its detail."""
        return self._with("skipped")

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    def raise_if_failed(self) -> None:
        """Raise an error with this report as its message if a check failed.

        Raises:
            ConformanceError: A check failed; its cause is the first error that the session raised.
        """
        if not self.ok:
            errors = (result.error for result in self.failed if result.error)
            raise ConformanceError(str(self)) from next(errors, None)

    def __str__(self) -> str:
        counts = f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"
        parts = [f"Session conformance: {counts}", *map(str, self.failed), *map(str, self.skipped)]
        if self.passed:
            names = ", ".join(result.name for result in self.passed)
            parts.append(textwrap.fill(f"{'passed':<9}{names}", _WIDTH, subsequent_indent=_INDENT))
        return "\n\n".join(parts)

    def _with(self, outcome: Outcome) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.outcome == outcome)
