"""docs/directory.md matches the code, and the example runs."""

import re

import pytest

from openai_sessions.directory import NamedSession, SessionDirectory
from tests.docs.markdown import code_blocks, promised_output
from tests.examples.stand_in import ROOT, run_python, stand_in

NAME = "docs/directory.md"
TEXT = (ROOT / NAME).read_text()


@pytest.mark.exhaustive
def test_python_blocks_run_and_print_what_they_say():
    assert all(promised_output(block) for block in code_blocks(TEXT, "python"))
    with stand_in() as (base_url, _):
        finished = run_python("-W", "error", "-m", "tests.docs.run_blocks", NAME, base_url=base_url)
    assert (0, "") == (finished.returncode, finished.stderr)


def test_documented_calls_exist():
    names = set(re.findall(r"`(\w+)\(", TEXT)) - {"SessionDirectory"}
    assert [
        name for name in names if not hasattr(SessionDirectory, name) and not hasattr(NamedSession, name)
    ] == []


def test_example_leaves_nothing_at_openai():
    with stand_in() as (base_url, emulator):
        finished = run_python("examples/named_sessions.py", base_url=base_url)
        assert (0, "") == (finished.returncode, finished.stderr)
        assert () == emulator.conversations()
