"""docs/commands.md says what is so: its commands, options and exit codes are those of the program."""

import re
import shlex

import pytest
import typer

from openai_sessions.cli._app import app
from openai_sessions.cli._errors import ExitCode
from tests.docs.markdown import code_blocks, table_after
from tests.examples.stand_in import ROOT

DOCUMENT = (ROOT / "docs/commands.md").read_text()
COMMANDS = typer.main.get_command(app).commands


def lines():
    """Return the words of every call of the program in a console block."""
    typed = [
        line[2:]
        for block in code_blocks(DOCUMENT, "console")
        for line in block.splitlines()
        if line[:2] == "$ "
    ]
    calls = [call for line in typed for call in re.findall(r"openai-sessions ([^|&>)]+)", line)]
    return [shlex.split(call) for call in calls]


@pytest.mark.parametrize("words", lines(), ids=" ".join)
def test_call_is_understood(words):
    command = COMMANDS[words[0]]
    context = command.make_context(words[0], words[1:], resilient_parsing=False)
    assert context.args == []


def test_every_command_is_listed():
    rows = table_after(DOCUMENT, "# Conversations in a shell")
    listed = [re.match(r"`(\w+)", row[0]).group(1) for row in rows]
    assert [*listed, "demo", "serve"] == list(COMMANDS)


def test_every_exit_code_is_listed():
    rows = table_after(DOCUMENT, "## For scripts")
    assert [int(row[0]) for row in rows] == sorted(ExitCode)


def test_help_names_the_exit_codes():
    named = [int(code) for code in re.findall(r"\b\d+\b", app.info.epilog)]
    assert set(named) == {*ExitCode} - {ExitCode.READER_GONE, ExitCode.TERMINATED}


def test_options_that_are_named_exist():
    options = {option for command in COMMANDS.values() for param in command.params for option in param.opts}
    named = set(re.findall(r"`[^`\n]*?(--[a-z-]+)", DOCUMENT))
    assert named - options == {"--install-completion", "--show-completion", "--help"}
