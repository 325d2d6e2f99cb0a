"""Print the tables of docs/conformance.md: the checks, and the results of the Agents SDK's session classes.

Run it with `python -m tools.conformance`. It starts a Redis and a PostgreSQL server on loopback, and fails if
one of them, or a package, is not installed.
"""

from __future__ import annotations

import inspect
import sys
from importlib.metadata import version
from typing import Any

import pytest

from openai_sessions.testing import CHECKS, ConformanceReport
from tests.conformance.agents_sessions import FAILS_AT_TIMES, SESSIONS, report_on

VERSION = "0.24.0"
"""The version of openai-agents that the document shows."""

_FIRST_OF_GROUP = (
    "empty_history_reads_as_empty_list",
    "limit_none_gives_all",
    "user_text_comes_back",
    "sessions_do_not_share_items",
    "concurrent_adds_lose_nothing",
)

_CELLS = {"passed": "", "failed": "**fails**", "skipped": "skipped"}


def main() -> int:
    """Print the tables, and return the exit code."""
    print(*check_tables(), sep="\n\n")
    try:
        reports = {name: report_on(name) for name in SESSIONS}
    except pytest.skip.Exception as missing:
        print(f"The session classes were not checked: {missing}", file=sys.stderr)
        return 1
    print(f"\nopenai-agents {version('openai-agents')}:\n\n{session_table(reports)}")
    return 0


def check_tables() -> list[str]:
    """Return a table for each group of checks, with the requirement of each check."""
    groups: list[list[str]] = []
    for name in CHECKS:
        if name in _FIRST_OF_GROUP:
            groups.append([])
        groups[-1].append(name)
    return [
        _table(
            ["check", "what a session must do"],
            [[f"`{name}`", inspect.getdoc(CHECKS[name])] for name in names],
        )
        for names in groups
    ]


def session_table(reports: dict[str, ConformanceReport]) -> str:
    """Return a table of the checks that some session does not pass, with the totals of each session."""
    outcomes = [_outcomes(name, report) for name, report in reports.items()]
    differing = [name for name in CHECKS if {each[name] for each in outcomes} != {"passed"}]
    rows = [[f"`{name}`", *(_CELLS[each[name]] for each in outcomes)] for name in differing]
    totals = [f"passed, of {len(CHECKS)}", *(list(each.values()).count("passed") for each in outcomes)]
    return _table(["", *map(_heading, reports)], [*rows, totals])


def _outcomes(name: str, report: ConformanceReport) -> dict[str, str]:
    """Return the outcome of each check; those that fail only at times count as failed."""
    racing = set(FAILS_AT_TIMES.get(name, ()))
    return {result.name: "failed" if result.name in racing else result.outcome for result in report.results}


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _heading(name: str) -> str:
    return name.removeprefix("OpenAI").replace("Session", "")


if __name__ == "__main__":
    sys.exit(main())
