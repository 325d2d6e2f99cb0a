"""Asking before something is deleted."""

from __future__ import annotations

import sys

from openai_sessions.cli._errors import CommandError, ExitCode, interruptible
from openai_sessions.cli._escaping import escaped_line


def require_terminal() -> None:
    """Refuse to go on where nobody can be asked.

    Raises:
        CommandError: Standard input or standard error is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(
            "This deletes something, and there is no terminal to ask on: give --yes.",
            exit_code=ExitCode.USAGE,
        )


def confirm(question: str) -> None:
    """Ask on the terminal, and return when the answer is yes.

    Args:
        question: What is about to be done, ending in a question mark.

    Raises:
        CommandError: The answer is not yes (1), or Ctrl-C (130).
    """
    sys.stderr.write(f"{escaped_line(question)} [y/N] ")
    sys.stderr.flush()
    with interruptible():
        answer = sys.stdin.readline()
    if not answer:
        sys.stderr.write("\n")
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was done.", exit_code=ExitCode.FAILED)
