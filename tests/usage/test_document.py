"""docs/usage.md shows a record as it is stored."""

import json

from openai_sessions._conversation.usage import UsageRecord
from tests.docs.markdown import code_blocks
from tests.examples.stand_in import ROOT


def test_value_that_is_shown_is_a_record():
    (value,) = code_blocks((ROOT / "docs/usage.md").read_text(), "json")
    assert json.loads(value) == json.loads(UsageRecord.from_value(value).as_value())
