"""The README says what is so: its programs run, its commands exist, its figures are measured."""

import re
import shlex
from importlib.metadata import version

import pytest

import openai_sessions
from openai_sessions.cli._app import app
from tests.docs.markdown import code_blocks, table_after
from tests.examples.stand_in import ROOT, run_python, stand_in

README = (ROOT / "README.md").read_text()
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "fixtures/README.md")


def commands():
    """Return every command of every console block, as its words."""
    return [
        shlex.split(line.removeprefix("$ "), comments=True)
        for name in DOCUMENTS
        for block in code_blocks((ROOT / name).read_text(), "console")
        for line in block.splitlines()
    ]


def exists(command):
    """Tell whether a command names something that this checkout has."""
    program, *arguments = command
    if program == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        variables = [word for word in arguments[1:] if "=" not in word]
        return arguments[0] in targets and not variables
    if program == "openai-sessions":
        return arguments[0] in [each.name or each.callback.__name__ for each in app.registered_commands]
    if program == "python":
        return (ROOT / arguments[0]).is_file()
    if program == "pytest":
        return not arguments
    if program == "pip":
        extras = re.fullmatch(r"\.\[([\w,]+)\]", arguments[1]).group(1).split(",")
        project = (ROOT / "pyproject.toml").read_text()
        return all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)
    return False


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_command_exists(command):
    assert exists(command)


@pytest.mark.parametrize(
    "command", ["make tea", "openai-sessions dance", "python no.py", "pip install .[no]", "ls"]
)
def test_command_that_does_not_exist_is_told(command):
    assert not exists(command.split())


@pytest.mark.slow
def test_python_blocks_run_and_print_what_they_say():
    with stand_in() as (base_url, _):
        finished = run_python("-m", "tests.docs.run_blocks", "README.md", base_url=base_url)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[:3] == ["San Francisco.", "California.", "About 39 million."]


def test_first_program_is_short():
    first = code_blocks(README, "python")[0]
    assert len([line for line in first.splitlines() if line]) == 10


def test_table_of_errors_is_complete():
    documented = [row[0].strip("`") for row in table_after(README, "### Errors")]
    errors = [name for name in openai_sessions.__all__ if name.endswith("Error")]
    assert sorted([*documented, "SessionError"]) == sorted(errors)


@pytest.mark.slow
def test_comparison_is_as_measured():
    """The column of this library holds with any version, that of the Agents SDK with the one it names."""
    finished = run_python("-m", "tools.comparison", base_url="http://127.0.0.1:9/v1")
    assert finished.returncode == 0, finished.stderr
    documented = table_after(README, "## Beside the Agents SDK's own class")
    measured = table_after(finished.stdout, "")
    compared = 3 if f"| openai-agents {version('openai-agents')} |" in README else 2
    assert [row[:compared] for row in measured] == [row[:compared] for row in documented]


def test_examples_are_all_listed():
    listed = {words[1] for words in commands() if words[0] == "python"}
    assert listed == {f"examples/{path.name}" for path in (ROOT / "examples").glob("*.py")}


def test_changelog_names_everything_exported():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in openai_sessions.__all__ if f"`{name}" not in changelog] == []
