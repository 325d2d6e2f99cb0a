"""Running the command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

from tests.examples.stand_in import ROOT

COMMAND = [sys.executable, "-c", "from openai_sessions.cli import main; main()"]


def environment(**variables):
    """Return the variables of a process without keys, with those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **variables}


def run(*arguments, **variables):
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def serving(*arguments, **variables):
    """Run `serve` on a free port; give the process, what it printed, and its base URL."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *arguments],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        printed = ""
        while process.poll() is None and "OPENAI_API_KEY=" not in printed:
            printed += process.stdout.readline()
        base_url = next((word for word in printed.split() if word.startswith("http://")), None)
        yield process, printed, base_url
    finally:
        process.kill()
        process.communicate()
