"""The results of runs as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from tools.chaos.judging import Wrong
from tools.chaos.judging_turns import TurnWrong
from tools.chaos.running import Result
from tools.chaos.turns import TurnsResult
from tools.chaos.workers import WorkersResult

TOLD = 5
"""The number of violations reported with their operations."""


def table(results: Mapping[str, Result]) -> Iterator[str]:
    """Yield the lines of a table with a column for each run."""
    yield from _lines({name: _figures(result) for name, result in results.items()})


def workers_table(results: Mapping[str, WorkersResult]) -> Iterator[str]:
    """Yield the lines of a table with a column for each run of several processes."""
    yield from _lines({name: _figures_of_workers(result) for name, result in results.items()})


def turns_table(results: Mapping[str, TurnsResult]) -> Iterator[str]:
    """Yield the lines of a table with a column for each way to play turns."""
    yield from _lines({name: _figures_of_turns(result) for name, result in results.items()})


def errors(counted: Counter[str]) -> str:
    """Return errors with their counts."""
    return ", ".join(f"{name} {number}" for name, number in counted.most_common()) or "none"


def first_violations(result: Result) -> Iterator[str]:
    """Yield the first violations, one for each add, with the operations related to them."""
    of_adds = {violation.add.number: (violation, told) for violation, told in reversed(result.violations)}
    for violation, told in list(reversed(of_adds.values()))[:TOLD]:
        read = violation.read and f" {violation.flaw} by operation {violation.read.number}"
        yield f"{violation.wrong.value}: {violation.text} of operation {violation.add.number}{read or ''}"
        yield from (f"    {line}" for line in told)


def _lines(columns: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield "| | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for name in next(iter(columns.values())):
        yield f"| {name} | " + " | ".join(column[name] for column in columns.values()) + " |"


def _figures_of_workers(result: WorkersResult) -> dict[str, str]:
    return {
        "writes": f"{result.writes}",
        "items of another process deleted": f"{result.deleted}",
        "items duplicated": f"{result.duplicated}",
        "items out of order": f"{result.out_of_order}",
        "late copies": f"{result.late}",
        "calls that raised": f"{sum(result.errors.values())}",
    }


def _figures_of_turns(result: TurnsResult) -> dict[str, str]:
    wrongs = result.wrongs
    return {
        "turns": f"{result.turns}",
        TurnWrong.DOUBLED.value: f"{wrongs[TurnWrong.DOUBLED]}",
        TurnWrong.TOOL_TWICE.value: f"{wrongs[TurnWrong.TOOL_TWICE]}",
        "conversations dead": f"{result.dead}",
        TurnWrong.UNANSWERED.value: f"{wrongs[TurnWrong.UNANSWERED]}",
        TurnWrong.KEPT.value: f"{wrongs[TurnWrong.KEPT]}",
        TurnWrong.LOST.value: f"{wrongs[TurnWrong.LOST]}",
        TurnWrong.TORN.value: f"{wrongs[TurnWrong.TORN]}",
        "items of another process gone": f"{result.foreign}",
        "late copies": f"{result.late}",
        "turns of killed processes, left in part": f"{result.killed}, {result.left}",
        "cancelled": f"{result.cancelled}",
        "runs that raised": f"{sum(result.errors.values())}",
        "requests per turn": f"{result.requests / max(1, result.turns):.2f}",
    }


def _figures(result: Result) -> dict[str, str]:
    wrongs = Counter(violation.wrong for violation, _ in result.violations)
    return {
        "operations": f"{result.operations}",
        **{wrong.value: f"{wrongs[wrong]}" for wrong in Wrong},
        "late copies": f"{result.late}",
        "errors raised": f"{sum(result.errors.values())}",
        "cancelled": f"{result.cancelled}",
        "requests per operation": f"{result.requests / max(1, result.operations):.2f}",
    }
