"""A real terminal: tmux, with a shell in it, and what a person would see."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.cli.command import COMMAND, environment

SECONDS = 30
"""How long something may take to appear."""

PROMPT = "ready> "


class Terminal:
    """One window of a tmux server of its own."""

    def __init__(self, tmux, socket):
        self._tmux = [tmux, "-S", str(socket), "-f", "/dev/null"]

    def tmux(self, *arguments, **options):
        """Run a tmux command; return what it prints."""
        finished = subprocess.run(
            [*self._tmux, *arguments], capture_output=True, text=True, check=True, timeout=SECONDS, **options
        )
        return finished.stdout

    def press(self, *keys):
        """Press keys: letters, or those named as Enter or C-c."""
        self.tmux("send-keys", *keys)

    def type(self, text):
        """Type a text."""
        self.tmux("send-keys", "-l", "--", text)

    def run(self, *arguments):
        """Type `openai-sessions` with arguments, and Enter."""
        self.type(shlex.join(["openai-sessions", *arguments]))
        self.press("Enter")

    def screen(self, *, colours=False):
        """Return the lines on the screen, without the empty ones at its end."""
        return self.tmux("capture-pane", "-p", *(["-e"] if colours else [])).rstrip("\n").splitlines()

    def wait_for(self, pattern, *, colours=False):
        """Return the screen once the pattern is found on it."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            screen = self.screen(colours=colours)
            if re.search(pattern, "\n".join(screen)):
                return screen
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} did not appear on:\n" + "\n".join(screen))

    def finish(self):
        """Wait for the end of what was run; return its exit code, and the screen above it."""
        *shown, status = self.wait_for(r"\n\d+ ready> ?$")
        return int(status.split()[0]), shown

    def watch(self):
        """Return all the screens that there were until the end of what was run, which succeeded."""
        deadline, screens = time.monotonic() + SECONDS, []
        while time.monotonic() < deadline:
            screens.append("\n".join(self.screen()))
            if re.search(r"\n0 ready> ?$", screens[-1]):
                return screens
        raise AssertionError(f"it did not end:\n{screens[-1]}")

    def clear(self):
        """Empty the screen."""
        self.press("C-l")
        self.wait_for(r"\A(\d+ )?ready> ?\Z")


@contextmanager
def terminal(folder, *, width=80, height=30, **variables):
    """Open a terminal whose shell knows `openai-sessions`, and shows the exit code before its prompt.

    Skips the test where tmux is not installed.
    """
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("tmux is not installed: there is no terminal to run in")
    (folder / "bin").mkdir(exist_ok=True)
    command = folder / "bin/openai-sessions"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{environment()['PATH']}"
    shell = {
        **environment(**variables),
        "PATH": path,
        "PS1": "$? " + PROMPT,
        "HISTFILE": "",
        "LC_ALL": "C.UTF-8",
        "TERM": "screen-256color",
    }
    del shell["COLUMNS"]
    opened = Terminal(tmux, folder / "tmux")
    size = ["-x", str(width), "-y", str(height)]
    opened.tmux("new-session", "-d", *size, "bash", "--norc", "--noprofile", env=shell)
    try:
        opened.wait_for("ready> ?$")
        yield opened
    finally:
        opened.tmux("kill-server")
