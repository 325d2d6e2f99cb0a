"""What the checks found of a session, as values and as text for a person."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["passed", "failed", "skipped"]

_INDENT = " " * 9
_WIDTH = 110  # characters of a line, where a line may be broken


class ConformanceError(AssertionError):
    """A session does not do what it must; the message is the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check found.

    Attributes:
        name: The name of the check, a key of `CHECKS`.
        outcome: "passed", "failed" or "skipped".
        requirement: What a session must do.
        detail: How the session failed (what was called, what was expected, what happened), or why the
            check was skipped; empty when it passed.
        error: What the session raised, with its traceback, if that is how it failed; a `TimeoutError` when
            it did not answer in time.
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
    """What all checks found, in the order of `CHECKS`.

    As text it is a line of counts, then each failure and each check that was skipped, with the reasons,
    then the names of the checks that passed.
    """

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
        parts = [f"Session conformance: {counts}", *map(str, self.failed), *map(str, self.skipped)]
        if self.passed:
            names = ", ".join(result.name for result in self.passed)
            parts.append(textwrap.fill(f"{'passed':<9}{names}", _WIDTH, subsequent_indent=_INDENT))
        return "\n\n".join(parts)

    def _with(self, outcome: Outcome) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.outcome == outcome)
