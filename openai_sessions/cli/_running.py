"""Running what a command does on an event loop: until it ends, or a person ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from logging.handlers import BufferingHandler

from openai_sessions.cli._errors import CommandError, ExitCode, one_line_errors
from openai_sessions.cli._escaping import escaped_line
from openai_sessions.cli._explaining import explained
from openai_sessions.cli._settings import Settings
from openai_sessions.cli._workspace import Workspace, base_url_of

Work = Callable[[Workspace], Awaitable[None]]

_ENDS = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}

_PATIENCE = 0.5
"""Seconds after which a person wonders why nothing ends."""

_MOST_WARNINGS = 20


def run(work: Work, settings: Settings) -> None:
    """Run the work of a command to its end.

    Ctrl-C, and the signal to end, cancel it: what it has begun to write is undone first. A second one
    leaves that 10 seconds.

    Args:
        work: Called with what the command works on.
        settings: Where that is.

    Raises:
        typer.Exit: It failed, or was interrupted, and has said so.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # rather an escape than an error halfway
    with one_line_errors():
        _run(work, settings)


def _run(work: Work, settings: Settings) -> None:
    try:
        with _warnings_as_notes():
            asyncio.run(_until_signalled(work, settings))
            sys.stdout.flush()
    except BrokenPipeError:
        raise CommandError("", exit_code=ExitCode.READER_GONE) from None
    except Exception as error:
        raise explained(error, base_url=base_url_of(settings)) from error


async def _until_signalled(work: Work, settings: Settings) -> None:
    async def in_workspace() -> None:
        async with Workspace(settings) as workspace:
            await work(workspace)

    task = asyncio.ensure_future(in_workspace())
    ended_by: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not ended_by:
            loop.call_later(_PATIENCE, _tell_of_undoing)
        ended_by.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in _ENDS:
        with suppress(NotImplementedError):  # Windows: Ctrl-C then cancels as asyncio does it
            loop.add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        if not ended_by:
            raise
        raise CommandError("Interrupted.", exit_code=_ENDS[ended_by[0]]) from None


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Tell what the library has warned of, unless the command fails: its error tells what matters then."""
    logger, kept = logging.getLogger("openai_sessions"), BufferingHandler(_MOST_WARNINGS)
    logger.addHandler(kept)
    try:
        yield
    except Exception as error:
        if not isinstance(error, CommandError):
            kept.buffer.clear()
        raise
    finally:
        logger.removeHandler(kept)
        for record in kept.buffer:
            sys.stderr.write(f"{escaped_line(record.getMessage())}\n")


def _tell_of_undoing() -> None:
    sys.stderr.write("Interrupted: undoing what was begun. Ctrl-C again hurries it.\n")
