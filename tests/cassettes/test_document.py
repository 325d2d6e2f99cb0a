"""docs/cassettes.md: its programs run, and its tables are complete."""

import pytest

from openai_sessions.testing import cassettes
from tests import programs
from tests.docs.markdown import table_after
from tests.examples.stand_in import ROOT, environment, stand_in

DOCUMENT = ROOT / "docs" / "cassettes.md"


@pytest.mark.exhaustive
def test_python_blocks_run_and_print_what_they_say(tmp_path):
    with stand_in() as (base_url, emulator):
        finished = programs.run(
            *("-m", "tests.docs.run_blocks", str(DOCUMENT)),
            cwd=tmp_path,
            env={**environment(base_url), "CI": ""},
        )
        sent = len(emulator.requests)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert sent > 0


def test_table_of_errors_is_complete():
    documented = [row[0].strip("`") for row in table_after(DOCUMENT.read_text(), "## Errors")]
    errors = [name for name in cassettes.__all__ if name.endswith("Error")]
    assert sorted([*documented, "CassetteError"]) == sorted(errors)


def test_table_of_modes_is_complete():
    documented = [row[0].strip('`"') for row in table_after(DOCUMENT.read_text(), "## Record modes")]
    assert documented == ["none", "once", "new_episodes", "all"]


def test_all_names_are_documented():
    for name in cassettes.__all__:
        assert getattr(cassettes, name).__doc__, name
