"""docs/coming-from-the-agents-sdk.md names files and methods that exist."""

import inspect
import re

import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.directory import NamedSession, SessionDirectory
from tests.docs.markdown import table_after
from tests.examples.stand_in import ROOT

DOCUMENT = (ROOT / "docs" / "coming-from-the-agents-sdk.md").read_text()
FILES = [cells[1].strip("`") for cells in table_after(DOCUMENT, "## Examples")]
CALLS = [
    (owner, name)
    for theirs, ours, *_ in table_after(DOCUMENT, "## Methods of `AdvancedSQLiteSession`")
    for owner, name in re.findall(
        r"(?:`|\b(session|directory)\.)(\w+)\(", theirs if ours.startswith("the same") else ours
    )
]


@pytest.mark.parametrize("name", FILES)
def test_file_exists(name):
    assert (ROOT / name).is_file()


def test_every_example_of_the_folder_is_named():
    folder = ROOT / "examples" / "agents_sdk"
    assert {str(path.relative_to(ROOT)) for path in folder.glob("*.py")} <= set(FILES)


@pytest.mark.parametrize(("owner", "name"), CALLS)
def test_method_exists(owner, name):
    owners = [SessionDirectory] if owner == "directory" else [OpenAIConversationsSession, NamedSession]
    assert any(inspect.iscoroutinefunction(getattr(each, name, None)) for each in owners)


def test_methods_are_found_in_the_table():
    assert {("", "get_turn_usage"), ("session", "find_turns"), ("directory", "switch")} <= set(CALLS)
