"""The README fits one sitting, its test passes, and its figures are those that are measured."""

from importlib.metadata import version

import pytest

from tests.docs.markdown import code_blocks, files_in, table_after
from tests.examples.stand_in import ROOT, run_python

README = (ROOT / "README.md").read_text()
UNREACHABLE = "http://127.0.0.1:9/v1"


def test_readme_fits_one_sitting():
    assert len(README.splitlines()) <= 150


def test_first_program_is_short():
    first = code_blocks(README, "python")[0]
    assert len([line for line in first.splitlines() if line]) == 10


def test_test_of_the_readme_passes(tmp_path):
    ((name, text),) = files_in(README).items()
    path = tmp_path / name
    path.write_text(text)
    options = (f"--rootdir={tmp_path}", "-p", "no:cacheprovider", "-p", "no:asyncio")
    finished = run_python("-m", "pytest", *options, str(path), base_url=UNREACHABLE)
    assert "1 passed" in finished.stdout, finished.stdout


@pytest.mark.exhaustive
def test_comparison_is_as_measured():
    """The column of this library holds with any version, that of the Agents SDK with the one it names."""
    finished = run_python("-m", "tools.comparison", base_url=UNREACHABLE)
    assert finished.returncode == 0, finished.stderr
    documented = table_after(README, "## Why not the SDK's class")
    measured = {row[0]: row for row in table_after(finished.stdout, "")}
    compared = 3 if f"| openai-agents {version('openai-agents')} |" in README else 2
    assert [row[:compared] for row in documented] == [measured[row[0]][:compared] for row in documented]
