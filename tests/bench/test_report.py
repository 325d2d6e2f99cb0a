"""The tables, the targets, and the file of results."""

import pytest
from rich.console import Console

from tests.bench.samples import REACHED, results, row
from tools.bench.__main__ import WIDTH, show
from tools.bench.report import milliseconds, tables, targets
from tools.bench.results import load, save

MISSED = {
    "cold read of 990": (800, 5300, 620),
    "cold read of 5,000": (3200, 26500, 2700),
    "warm read of 990": (200, 5300, 120),
    "append of 200": (1100, 1030, 1000),
    "a turn of each of 500": (3000, 4000, None),
    "first turn of each of 500": (3000, 4000, None),
}


def printed(*what):
    console = Console(width=WIDTH, highlight=False, record=True)
    console.print(*what)
    return console.export_text().splitlines()


def test_tables_are_one_for_each_delay():
    rows = (*results().rows, row("pop", "ours", 3, delay_ms=0.0, depth=None))
    assert ["0 ms a request", "100 ms a request"] == [table.title for table in tables(results(rows=rows))]


def test_line_has_both_sides_the_floor_and_the_ratios(capsys):
    (line,) = [line for line in printed(*tables(results())) if "cold read of 990" in line]
    cells = ["6 (6)", "6 (6)", "650", "5,300", "620", "8.2", "10.0", "70.0", "7.0", "7.0", "1,234", "1,234"]
    assert f"cold read of 990 {' '.join(cells)}".split() == line.split()


def test_tables_are_readable_in_their_width():
    """Large figures in every column, and no name or number is cut."""
    big = {"requests": 1500, "depth": 26, "cpu_ms": 12345.0, "peak_kb": 33456}
    rows = [row("first turn of each of 500", side, 26500, **big) for side in ("ours", "sdk", "floor")]
    lines = printed(*tables(results(rows=tuple(rows))))
    assert "…" not in "".join(lines)
    assert 1 == sum("first turn of each of 500" in line for line in lines)
    assert max(len(line.rstrip()) for line in lines) <= WIDTH


def test_everything_is_shown(capsys):
    show(results())
    shown = capsys.readouterr().out
    assert [] == [scenario for scenario in REACHED if scenario not in shown]
    assert "not reached" not in shown
    assert "Python 3.11.7, Linux x86_64, 2 processors; openai-agents 0.24.0, openai 3.54.0" in shown


def test_file_holds_all_that_was_measured(tmp_path):
    save(results(), tmp_path / "results.json")
    assert results() == load(tmp_path / "results.json")


def test_milliseconds_have_three_digits():
    assert ["0.4", "99.9", "100", "26,500"] == [milliseconds(value) for value in (0.42, 99.9, 100.2, 26500.3)]


def test_every_target_is_in_the_table():
    assert [
        ("cold read of 990", "SDK", "8.2"),
        ("cold read of 990", "depth", "6"),
        ("cold read of 990", "floor, 6 round trips", "1.05"),
        ("cold read of 5,000", "SDK", "9.1"),
        ("warm read of 990", "SDK", "35.3"),
        ("warm read of 990", "depth", "1"),
        ("warm read of 990", "floor, 1 round trip", "1.25"),
        ("CPU of a cold read of 990", "SDK", "7.0"),
        ("CPU of a cold read of 990", "floor", "1.43"),
        ("CPU of a warm read of 990", "SDK", "7.0"),
        ("CPU of a warm read of 990", "floor", "1.43"),
        ("a turn of each of 500", "SDK", "2.0"),
        ("first turn of each of 500", "SDK", "2.0"),
        ("append of 200", "SDK", "0.99 × its time"),  # noqa: RUF001 - the sign of multiplication is meant
        ("append of 200", "depth", "10"),
    ] == [(target.what, target.against, target.measured) for target in targets(results())]


def test_targets_are_reached():
    assert [] == [target for target in targets(results()) if not target.is_reached]


@pytest.mark.parametrize("scenario", MISSED)
def test_target_that_is_missed_says_so(scenario):
    missed = [target for target in targets(results({scenario: MISSED[scenario]})) if not target.is_reached]
    assert {scenario} == {target.what for target in missed}


def test_targets_of_what_was_not_measured_are_left_out():
    assert [] == targets(results(rows=()))
