"""Run the checks on a session, and report what it does and does not do."""

from __future__ import annotations

import inspect
from itertools import islice

from openai_sessions.testing._checks import CHECKS
from openai_sessions.testing._report import CheckResult, ConformanceReport, Make, Reopen, try_check

_HUNG = 3
"""So many checks in a row that end in a time-out are taken for a session that will never answer."""


async def check_session(
    make: Make,
    *,
    reopen: Reopen | None = None,
    timeout: float = 30.0,
) -> ConformanceReport:
    """Run every check, one after the other, and report what each found.

    Args:
        make: Returns a new session with an empty history of its own, so with a `session_id` of its own;
            it may be async, and may return a context manager that gives the session. Each check asks for
            its own sessions. After it they are cleared, and left if they are context managers, or else
            closed by `aclose()` or `close()`; errors of that are not reported.
        reopen: Takes a session and returns another one on the same history, as another process would
            have it; in the forms of `make`. Without it the checks that need it are skipped.
        timeout: Seconds that one check may take before it fails and is stopped, and as many again that its
            sessions may take to be put away. A session that blocks the event loop cannot be stopped.

    Returns:
        The report. A failed check stops none of the others, and nothing is raised for it; but when three in
        a row end in a time-out, those that are left are skipped.
    """
    results: list[CheckResult] = []
    for name in CHECKS:
        result = (
            _not_made(name)
            if _is_hung(results)
            else await run_check(name, make, reopen=reopen, timeout=timeout)
        )
        results.append(result)
    return ConformanceReport(tuple(results))


async def run_check(
    name: str,
    make: Make,
    *,
    reopen: Reopen | None = None,
    timeout: float = 30.0,
) -> CheckResult:
    """Run one check.

    Cancelled, it stops the check, puts its sessions away as far as that takes no more than some seconds,
    and is cancelled.

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
    finding = await try_check(CHECKS[name], make, reopen=reopen, timeout=timeout)
    return CheckResult(
        name=name,
        outcome=finding.outcome,
        requirement=_requirement(name),
        detail=finding.detail,
        error=finding.error,
    )


def _is_hung(results: list[CheckResult]) -> bool:
    made = (result for result in reversed(results) if result.outcome != "skipped")
    latest = list(islice(made, _HUNG))
    return len(latest) == _HUNG and all(isinstance(result.error, TimeoutError) for result in latest)


def _not_made(name: str) -> CheckResult:
    detail = f"not made: {_HUNG} checks in a row before it ended in a time-out"
    return CheckResult(name=name, outcome="skipped", requirement=_requirement(name), detail=detail)


def _requirement(name: str) -> str:
    return inspect.getdoc(CHECKS[name]) or ""
