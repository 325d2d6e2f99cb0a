"""docs/usage.md says what is so: its programs run."""

import json

import pytest

from openai_sessions._conversation.usage import UsageRecord
from tests.docs.markdown import code_blocks
from tests.examples.stand_in import ROOT, run_python

NAME = "docs/usage.md"


@pytest.mark.slow
def test_programs_run():
    finished = run_python("-m", "tests.docs.run_blocks", NAME, base_url="http://127.0.0.1:9/v1")
    assert ("", 0) == (finished.stderr, finished.returncode)


def test_value_that_is_shown_is_a_record():
    (value,) = code_blocks((ROOT / NAME).read_text(), "json")
    assert json.loads(value) == json.loads(UsageRecord.from_value(value).as_value())
