"""What docs/conformance.md says is so: its programs run, its tables are made."""

import os

import pytest

from openai_sessions.testing import CHECKS
from tests import programs
from tests.docs.markdown import code_blocks
from tests.examples.stand_in import ROOT, run_python
from tools.conformance import check_tables

PATH = ROOT / "docs/conformance.md"
TEXT = PATH.read_text()


def test_python_blocks_run_and_print_what_they_say():
    finished = run_python("-m", "tests.docs.run_blocks", str(PATH), base_url="http://127.0.0.1:9/v1")

    assert finished.returncode == 0, finished.stderr
    report = "\n".join(line.rstrip() for line in finished.stdout.splitlines())
    (printed,) = code_blocks(TEXT, "text")
    assert printed.strip() in report


@pytest.mark.exhaustive
def test_tests_of_the_document_run_as_tests(tmp_path):
    """The one with pytest: the failure that is known is expected, and no other is."""
    (block,) = [block for block in code_blocks(TEXT, "python") if "import pytest" in block]
    (tmp_path / "test_session.py").write_text(block)
    command = ["-m", "pytest", "-q", "-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    finished = programs.run(*command, cwd=tmp_path, env=environment)

    assert finished.returncode == 0, finished.stdout
    assert f"{len(CHECKS) - 2} passed, 1 skipped, 1 xfailed" in finished.stdout


@pytest.mark.parametrize("table", check_tables(), ids=lambda table: table.split("`")[1])
def test_checks_are_explained_by_their_own_words(table):
    assert table in TEXT


def test_number_of_checks_is_said():
    assert f"{len(CHECKS)} checks, each of one requirement" in " ".join(TEXT.split())
