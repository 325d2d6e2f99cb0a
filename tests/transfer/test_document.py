"""docs/moving.md: its programs run, and it names every session class and function."""

import pytest

from openai_sessions.transfer import __all__ as public
from tests.conformance.agents_sessions import NOT_STARTED, SESSIONS
from tests.examples.stand_in import ROOT, run_python, stand_in

PATH = ROOT / "docs" / "moving.md"


@pytest.mark.exhaustive
def test_python_blocks_run_and_print_what_they_say():
    with stand_in() as (base_url, _):
        finished = run_python("-m", "tests.docs.run_blocks", str(PATH), base_url=base_url)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_document_names_every_session_class_and_function():
    text = PATH.read_text()
    classes = {name.partition(" ")[0] for name in SESSIONS if name != "this library"}
    assert [name for name in {*classes, *NOT_STARTED} if f"`{name}`" not in text] == []
    assert [name for name in public if name not in text] == []
