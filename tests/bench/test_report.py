"""The tables, and the file."""

from rich.console import Console

from tests.bench.samples import REACHED, results, row
from tools.bench.__main__ import WIDTH, show
from tools.bench.report import milliseconds, tables
from tools.bench.results import load, save


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
