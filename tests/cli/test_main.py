"""The command as a whole."""

import subprocess
import sys

import pytest

from openai_sessions.cli import main
from tests.cli.command import environment, run


@pytest.mark.parametrize(
    "missing", ["agents", "aiosqlite", "rich", "sqlalchemy", "starlette", "typer", "uvicorn"]
)
def test_command_without_a_package_of_its_extra_says_what_to_install(missing, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err == f'{missing} not found: install "openai-sessions[cli]"\n'


@pytest.mark.slow
def test_command_without_arguments_lists_its_commands():
    printed = run("--help").stdout
    assert "demo" in printed
    assert "serve" in printed


@pytest.mark.slow
def test_serve_loads_no_agents():
    code = "import sys, openai_sessions.cli._serve; sys.exit('agents' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], env=environment(), timeout=60, check=False)
    assert finished.returncode == 0


@pytest.mark.slow
def test_help_loads_nothing_that_takes_long():
    code = "import sys, openai_sessions.cli._app; print({'agents', 'openai', 'sqlalchemy'} & {*sys.modules})"
    printed = subprocess.check_output([sys.executable, "-c", code], env=environment(), timeout=60, text=True)
    assert printed == "set()\n"
