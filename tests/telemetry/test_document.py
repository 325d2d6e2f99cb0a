"""docs/telemetry.md: its programs run, and it names everything that is recorded."""

from __future__ import annotations

import re

from openai_sessions.telemetry import _names
from tests.docs.markdown import code_blocks, promised_output
from tests.examples.stand_in import ROOT, run_python

NAME = "docs/telemetry.md"
DOCUMENT = (ROOT / NAME).read_text()
TABLE = re.findall(r"^\| (`\w.*) \| `(\w+)` \|$", DOCUMENT, re.MULTILINE)


def test_python_blocks_run_and_print_what_they_say():
    assert [5, 1] == [len(promised_output(block)) for block in code_blocks(DOCUMENT, "python")]
    finished = run_python("-m", "tests.docs.run_blocks", NAME, base_url="http://127.0.0.1:9/v1")
    assert (0, "") == (finished.returncode, finished.stderr)


def test_table_of_operations_is_correct():
    documented = {
        method: name for methods, name in TABLE for method in re.findall(r"`(\w+)`", methods) if method
    }
    assert documented == dict(_names._CONVENTIONAL)
    assert _names.operation_name("clear_session", {"keep_conversation": True}) == "delete_memory"
    assert _names.operation_name("store_run_usage", {}) == "store_run_usage"


def test_every_recorded_name_is_documented():
    """Names that share the prefix of the previous one are documented by their suffix."""
    public = {name: value for name, value in vars(_names).items() if name.isupper() and name[0] != "_"}
    names = {value for value in public.values() if isinstance(value, str)}
    names -= {_names.INSTRUMENTATION, _names.LIST_ITEMS}
    assert len(names) > 30
    assert [name for name in sorted(names) if not documents(name)] == []


def documents(name):
    return f"`{name}" in DOCUMENT or f"`.{name.rpartition('.')[2]}`" in DOCUMENT
