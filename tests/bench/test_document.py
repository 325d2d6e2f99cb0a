"""docs/performance.md shows the results of the last complete run."""

from pathlib import Path

import pytest

from tests.bench.samples import results
from tools.bench.document import (
    BEGIN,
    BEGIN_TURNS,
    END,
    END_TURNS,
    PICTURE,
    MarkerError,
    main,
    rewrite,
    section,
)
from tools.bench.results import save
from tools.bench.turns import load_turns, turn_section


@pytest.fixture
def paths(tmp_path):
    save(results(), tmp_path / "results.json")
    document = f"# Title\n{BEGIN}\nold\n{END}\nMore.\n{BEGIN_TURNS}\n{END_TURNS}\nThe rest.\n"
    (tmp_path / "performance.md").write_text(document)
    return ["--document", str(tmp_path / "performance.md"), "--results", str(tmp_path / "results.json")]


def test_document_has_the_figures_of_the_results(capsys):
    assert 0 == main(["--check"]), capsys.readouterr().err


def test_section_has_a_line_for_each_scenario_with_its_figures():
    line = "| cold read of 990 | 6 | 6 | 650 | 5,300 | 620 | 8.2 | 10.0 | 70.0 | 7.0 | 1,234 | 1,234 |"
    assert line in section(results()).splitlines()


def test_section_tells_what_the_picture_shows():
    told = "a warm read of 990 items takes 0.15 s instead of 5.30"
    assert told in section(results())
    assert "](performance.svg)" in section(results())
    assert PICTURE.is_file()


def test_section_counts_the_requests_beside_the_chain():
    rows = tuple(row for row in results().rows if row.scenario == "cold read of 5,000")
    assert "| cold read of 5,000 | 1 | 1 |" in section(results(rows=rows))


def test_rewriting_changes_what_stands_between_the_comments(paths):
    assert 1 == main([*paths, "--check"])
    assert 0 == main(paths)
    assert 0 == main([*paths, "--check"])
    document = Path(paths[1]).read_text()
    turns = f"{BEGIN_TURNS}\n{turn_section(load_turns())}{END_TURNS}"
    assert document == f"# Title\n{BEGIN}\n{section(results())}{END}\nMore.\n{turns}\nThe rest.\n"


@pytest.mark.parametrize(
    "document", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"]
)
def test_rewriting_needs_both_comments_once(document):
    with pytest.raises(MarkerError):
        rewrite(document, "text")
