"""Running the command: in a process of its own, or in this one, where it need not be imported again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager

from typer.testing import CliRunner

from openai_sessions.cli._app import app
from tests import programs
from tests.programs import ROOT

COMMAND = [sys.executable, "-c", "from openai_sessions.cli import main; main()"]


def environment(**variables):
    """Return the variables of a process without keys, with those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **variables}


def run(*arguments, stdin="", **variables):
    """Run the command to its end in a process of its own, with no terminal."""
    return programs.run(*COMMAND[1:], *arguments, env=environment(**variables), stdin=stdin)


def run_here(*arguments, stdin="", **variables):
    """Run the command to its end in this process; return what `run` returns.

    It takes a second less: for the many runs that differ in what is asked and told. An exception that the
    command does not turn into an exit code is raised.
    """
    unset = dict.fromkeys(name for name in os.environ if name.startswith("OPENAI_"))
    ended = CliRunner().invoke(
        app,
        arguments,
        input=stdin,
        env={**unset, "COLUMNS": "80", **variables},
        prog_name="openai-sessions",
        catch_exceptions=False,
    )
    return subprocess.CompletedProcess(arguments, ended.exit_code, ended.stdout, ended.stderr)


@contextmanager
def serving(*arguments, **variables):
    """Run `serve` on a free port; give the process, what it printed, and its base URL."""
    command = "serve", "--port", "0", *arguments
    with running(*command, until="OPENAI_AGENTS_DISABLE_TRACING=", **variables) as started:
        yield started


@contextmanager
def running(*arguments, until, **variables):
    """Run a command that serves; give the process, what it printed up to `until`, and the first URL."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        printed = ""
        while process.poll() is None and until not in printed:
            printed += process.stdout.readline()
        url = next((word for word in printed.split() if word.startswith("http://")), None)
        yield process, printed, url
    finally:
        process.kill()
        process.communicate()


def eventually(condition):
    """Tell whether a condition comes to hold within a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
