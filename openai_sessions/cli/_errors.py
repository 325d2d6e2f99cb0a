"""How a command ends: its exit codes, and the error that ends it early."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer


class ExitCode(IntEnum):
    """What a script can tell from the end of a command; `docs/commands.md` lists them."""

    DONE = 0
    FAILED = 1
    """The service, a database or a file has failed, or the question was answered with no."""

    USAGE = 2
    """The command cannot be run as given: nothing was asked of the service."""

    NOT_FOUND = 3
    """There is no such conversation, name, turn or item."""

    UNFINISHED = 4
    """It failed halfway; the message says what is left."""

    INTERRUPTED = 130
    """Ctrl-C, as shells count it."""

    READER_GONE = 141
    """The program behind the pipe has stopped reading, as shells count it."""

    TERMINATED = 143
    """The process was asked to end, as shells count it."""


class CommandError(Exception):
    """End the command with one line for the person who ran it.

    Attributes:
        exit_code: One of `ExitCode`.
    """

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UnfinishedError(Exception):
    """Tell that a command failed halfway. Its message says what is left; `__cause__` says how it failed."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process with the exit code of a `CommandError` raised inside, its message on standard error."""
    try:
        yield
    except CommandError as error:
        if str(error):
            typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt what reads before anything is done, which the handler of an event loop would not.

    Raises:
        CommandError: It did.
    """
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise CommandError("Interrupted; nothing was done.", exit_code=ExitCode.INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGINT, handler)
