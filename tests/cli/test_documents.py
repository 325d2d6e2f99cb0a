"""`docs/commands.md` and `docs/serve.md` describe the commands, options and exit codes of the program."""

import json
import re
import shlex
import struct

import pytest
import typer

from openai_sessions.cli._app import app
from openai_sessions.cli._errors import ExitCode
from openai_sessions.cli._files import inject_from, replies_from, seed_from
from openai_sessions.cli._running import Settings
from openai_sessions.cli._view import print_banner
from openai_sessions.emulator import SeedResult
from tests.cli.command import serving
from tests.cli.page import CHROMIUM
from tests.docs.markdown import code_blocks, table_after
from tests.examples.stand_in import ROOT
from tools import screenshot

COMMANDS_DOCUMENT = (ROOT / "docs/commands.md").read_text()
SERVE_DOCUMENT = (ROOT / "docs/serve.md").read_text()
COMMANDS = typer.main.get_command(app).commands
MAX_PICTURE_BYTES = 300_000


def lines():
    """Return the words of every call of the program in a console block."""
    typed = [
        line[2:]
        for block in code_blocks(COMMANDS_DOCUMENT, "console")
        for line in block.splitlines()
        if line[:2] == "$ "
    ]
    calls = [call for line in typed for call in re.findall(r"openai-sessions ([^|&>)]+)", line)]
    return [shlex.split(call) for call in calls]


@pytest.mark.parametrize("words", lines(), ids=" ".join)
def test_call_is_understood(words):
    command, words = COMMANDS[words[0]], words[1:]
    if words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context(command.name, words, resilient_parsing=False)
    assert context.args == []


def all_commands():
    """Return all commands by their names, those of a group with its name."""
    named = {}
    for name, command in COMMANDS.items():
        of_group = getattr(command, "commands", None)
        named |= {f"{name} {each}": of_group[each] for each in of_group} if of_group else {name: command}
    return named


def test_every_command_is_listed():
    rows = table_after(COMMANDS_DOCUMENT, "# Conversations in a shell")
    listed = [re.match(r"`([a-z-]+(?: [a-z-]+)?)", row[0]).group(1) for row in rows]
    assert [*listed, "demo", "serve"] == sorted(all_commands(), key=[*listed, "demo", "serve"].index)


def test_every_exit_code_is_listed():
    rows = table_after(COMMANDS_DOCUMENT, "## For scripts")
    assert [int(row[0]) for row in rows] == sorted(ExitCode)


def test_help_names_the_exit_codes():
    named = [int(code) for code in re.findall(r"\b\d+\b", app.info.epilog)]
    assert set(named) == {*ExitCode} - {ExitCode.READER_GONE, ExitCode.TERMINATED}


def test_options_that_are_named_exist():
    options = {
        option for command in all_commands().values() for param in command.params for option in param.opts
    }
    named = set(re.findall(r"`[^`\n]*?(--[a-z-]+)", COMMANDS_DOCUMENT))
    assert named - options == {"--install-completion", "--show-completion", "--help"}


def test_options_of_serve_are_those_of_the_command():
    documented = re.findall(
        r"`(--[a-z-]+)", " ".join(row[0] for row in table_after(SERVE_DOCUMENT, "# The emulator"))
    )
    (command,) = [each for each in app.registered_commands if each.callback.__name__ == "serve"]
    options = command.callback.__annotations__.keys() - {"return"}
    assert {name[2:].replace("-", "_") for name in documented} == options


def test_output_is_what_the_command_prints():
    """But for the port: the tests take a free one."""
    promised = code_blocks(SERVE_DOCUMENT, "console")[0].splitlines()
    _, _, *arguments = promised[0].removeprefix("$ ").split()
    with serving(*arguments) as (_, printed, base_url):
        address = base_url.removesuffix("/v1")
    assert printed.replace(address, "http://127.0.0.1:8080").splitlines() == promised[1:]


def test_output_of_view_is_what_the_command_prints(capsys):
    """But for the address, which is new each time."""
    (promised,) = [block for block in code_blocks(COMMANDS_DOCUMENT, "console") if "sessions view" in block]
    (url,) = re.findall(r"http://127\S+", promised)
    print_banner(Settings(), "2 conversations", url, is_public=False)
    assert capsys.readouterr().out.splitlines() == promised.splitlines()[1:]


def test_file_of_faults_is_one(emulator, tmp_path):
    file = tmp_path / "faults.json"
    file.write_text(code_blocks(SERVE_DOCUMENT, "json")[0])
    assert len(inject_from(file, emulator)) == 3


def test_file_of_replies_is_the_example(emulator):
    example = ROOT / "examples/replies.json"
    assert code_blocks(SERVE_DOCUMENT, "json")[2] == example.read_text()
    assert replies_from(example, emulator) == 5


def test_line_of_a_file_of_conversations_is_one(emulator, tmp_path):
    file = tmp_path / "conversations.jsonl"
    file.write_text(code_blocks(SERVE_DOCUMENT, "json")[1])
    assert seed_from(file, emulator) == SeedResult(conversations=1, items=1)
    assert len(json.loads(file.read_text())) == 4


def size_of(picture):
    """Return the width and the height that a PNG tells, and its number of bytes."""
    content = picture.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return (*struct.unpack(">II", content[16:24]), len(content))


def test_picture_fits_a_document():
    width, _, size = size_of(screenshot.PICTURE)
    assert (width, size < MAX_PICTURE_BYTES) == (1200, True)


@pytest.mark.exhaustive
def test_picture_can_be_taken_again(tmp_path, capsys):
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    picture = tmp_path / "page.png"
    assert screenshot.main(["--output", str(picture)]) == 0
    assert size_of(picture)[:2] == size_of(screenshot.PICTURE)[:2]
    assert capsys.readouterr().out.startswith(f"{picture}: ")


def test_picture_without_a_browser_is_refused(tmp_path, capsys):
    missing = tmp_path / "chromium"
    assert screenshot.main(["--chromium", str(missing)]) == 2
    assert (
        capsys.readouterr().err
        == f"{missing} does not exist: install Chromium, or name it with --chromium.\n"
    )
