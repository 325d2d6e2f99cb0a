"""The command as a whole: what it lists, what it needs, and how little it loads."""

import subprocess
import sys

import pytest

from openai_sessions.cli import main
from tests.cli.command import environment, run_here


@pytest.mark.parametrize(
    "missing", ["agents", "aiosqlite", "alembic", "rich", "sqlalchemy", "starlette", "typer", "uvicorn"]
)
def test_command_without_a_package_of_its_extra_says_what_to_install(missing, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err == f'{missing} not found: install "openai-sessions[cli]"\n'


def test_help_lists_the_commands():
    printed = run_here("--help").stdout
    assert "demo" in printed
    assert "serve" in printed


def test_help_and_serve_load_nothing_that_they_do_not_need():
    code = """
import sys
import openai_sessions.cli._app
print({"agents", "openai", "sqlalchemy"} & {*sys.modules})
import openai_sessions.cli._serve
print({"agents", "sqlalchemy"} & {*sys.modules})
"""
    printed = subprocess.check_output([sys.executable, "-c", code], env=environment(), timeout=60, text=True)
    assert printed.splitlines() == ["set()", "set()"]
