"""How a command fails: exit codes, and one line on standard error for every exception."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import typer
from openai import APIConnectionError, APIStatusError, OpenAIError

from openai_sessions._secrets import spellings, without
from openai_sessions.cli._output import counted, escaped_line
from openai_sessions.errors import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    CutPointError,
    DirectorySchemaError,
    InvalidConversationIdError,
    ItemNotFoundError,
    NameNotFoundError,
    SessionError,
    TransferConflictError,
    UnfinishedDeletionError,
    UnfinishedForkError,
    UnsettledTransferError,
    UnsettledWriteError,
    UserMismatchError,
)


class ExitCode(IntEnum):
    """The exit codes of all commands; `docs/commands.md` lists them for users."""

    DONE = 0
    FAILED = 1
    """The service, a database or a file failed, or the user answered no; or a check found something."""

    USAGE = 2
    """The command cannot run as given; nothing was sent to the service."""

    NOT_FOUND = 3
    """The conversation, name, turn or item does not exist."""

    UNFINISHED = 4
    """The command failed halfway; the message says what is left."""

    INTERRUPTED = 130
    """Ctrl-C: 128 + SIGINT."""

    READER_GONE = 141
    """The reader closed the pipe: 128 + SIGPIPE."""

    TERMINATED = 143
    """The process was terminated: 128 + SIGTERM."""


class CommandError(Exception):
    """Ends the command with a one-line message.

    Attributes:
        exit_code: One of `ExitCode`.
    """

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UnfinishedError(Exception):
    """A command failed halfway. The message says what is left, `__cause__` why it failed."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a `CommandError` raised inside to standard error, and exit with its code.

    Raises:
        typer.Exit: A `CommandError` was raised.
    """
    try:
        yield
    except CommandError as error:
        if str(error):
            typer.echo(escaped_line(str(error)), err=True)
        raise typer.Exit(error.exit_code) from None


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt a blocking read, which an event loop's signal handler would not.

    Raises:
        CommandError: Ctrl-C was pressed.
    """
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise CommandError("Interrupted; nothing was done.", exit_code=ExitCode.INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGINT, handler)


_MAX_LENGTH = 500
"""Characters of a message; longer ones are truncated."""

_DATABASE_PACKAGES = ("aiosqlite", "asyncpg", "redis", "sqlalchemy", "sqlite3")

_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_HINTS = {
    401: "set OPENAI_API_KEY to a key that this server accepts",
    403: "the key in OPENAI_API_KEY lacks the permission",
    429: "wait, or raise the limits of the project",
}


def explained(error: Exception, *, base_url: str) -> CommandError:
    """Convert an exception to a `CommandError`: the fact, the request id and the remedy in one line.

    Args:
        error: The exception that a command raised.
        base_url: The URL to which requests were sent, as shown to the user.
    """
    if isinstance(error, CommandError):
        return error
    if isinstance(error, UnfinishedError) and isinstance(error.__cause__, Exception):
        return CommandError(
            f"{explained(error.__cause__, base_url=base_url)} {error}", exit_code=ExitCode.UNFINISHED
        )
    text, exit_code = _fact(error, base_url)
    return CommandError(_in_one_line(f"{text.rstrip('.')}{_request_id(error)}."), exit_code=exit_code)


def _fact(error: Exception, base_url: str) -> tuple[str, ExitCode]:
    for kind, (explain, exit_code) in _EXPLANATIONS.items():
        if isinstance(error, kind):
            return explain(error), exit_code
    if isinstance(error, (APIStatusError, APIConnectionError)):
        return _request_failure(error, base_url), ExitCode.FAILED
    if isinstance(error, (ValueError, ImportError)) and not isinstance(error, (SessionError, OpenAIError)):
        return str(error), ExitCode.USAGE
    return _other_failure(error), ExitCode.FAILED


def _request_failure(error: APIStatusError | APIConnectionError, base_url: str) -> str:
    if isinstance(error, APIConnectionError):
        reason = str(error.__cause__ or error).rstrip(".")
        return f"{base_url} could not be reached ({reason}): check --base-url or OPENAI_BASE_URL"
    body = error.body if isinstance(error.body, dict) else {}
    reason = str(body.get("message") or "no reason given").rstrip(".")
    hint = _HINTS.get(error.status_code)
    return f"{base_url} returned {error.status_code}: {reason}{f'; {hint}' if hint else ''}"


def _other_failure(error: Exception) -> str:
    if isinstance(error, (SessionError, OpenAIError)):
        return str(error)
    if type(error).__module__.partition(".")[0] in _DATABASE_PACKAGES:
        return _database_failure(error)
    if isinstance(error, OSError):
        what = "Writing" if error.errno in _WRITE_ERRORS else "A connection"
        return f"{error.filename or f'{what} failed'}: {error.strerror or error}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"Unexpected {type(error).__name__}{place}; this is a bug in openai-sessions"


def _database_failure(error: Exception) -> str:
    """Return the first line of the error; the others contain the SQL statement and its values."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return f"The database failed: {lines[0] if lines else type(error).__name__}"


def _not_found(error: Any) -> str:
    reason = "it was deleted, or belongs to another project or server"
    hint = "" if error.conversation_id.startswith("conv_") else "; to use a name, set --directory"
    return f"Conversation {error.conversation_id} was not found: {reason}{hint}"


def _invalid_id(error: Any) -> str:
    return f"{error.problem}; to use a name, set --directory or OPENAI_SESSIONS_DIRECTORY"


def _no_item(error: Any) -> str:
    return (
        f"{error.conversation_id} has no item {', '.join(error.item_ids)}; nothing was changed. "
        f"`openai-sessions show {error.conversation_id} --ids` prints the ids"
    )


def _not_created(_: Any) -> str:
    return "The name has no conversation yet: nothing was written to it"


def _unknown_name(error: Any) -> str:
    kind = "name" if error.branch is None else "branch"
    return f"The directory has no {kind} {error.branch or error.name!r}"


def _no_tables(error: Any) -> str:
    if error.found is None:
        return (
            "The database has no tables of a session directory: `openai-sessions directory upgrade` creates "
            "them"
        )
    if error.oldest <= error.found < error.supported:
        return (
            f"The database has session directory tables of version {error.found}. `openai-sessions directory "
            f"upgrade` upgrades them to version {error.supported}, which earlier releases cannot use"
        )
    return str(error)


def _conflict(error: Any) -> str:
    return (
        f"The target differs from the source from item {error.position} on (counted from 0); nothing was "
        "written. --append adds the items after those of the target"
    )


def _unsettled(error: Any) -> str:
    return (
        f"Writing to {error.receipt['conversation_id']} failed and could not be undone. Items that remain "
        f"stored: {len(error.stored_ids)}; that may or may not be stored: {len(error.unknown)}"
    )


def _unsettled_transfer(error: Any) -> str:
    where = error.session_id
    remains = (
        f"up to {error.left} of its items remain in {where}" if error.left else f"{where} remains, empty"
    )
    return (
        f"The copy failed ({_root_cause(error)}) and could not be undone: {remains}. "
        "Without --append, run the command again into it to resume"
    )


def _unfinished_deletion(error: Any) -> str:
    left = error.receipt["conversation_id"], *error.remaining_ids
    return (
        f"Deleted {counted(len(error.deleted_ids), 'item')} ({_root_cause(error)}). Those that may still be "
        f"stored are deleted by `openai-sessions delete-items {' '.join(left)}`"
    )


def _unfinished_fork(error: Any) -> str:
    made = error.conversation_id
    return (
        f"The fork failed ({_root_cause(error)}) and left {made}: `openai-sessions clear {made} --purge` "
        "deletes it"
    )


def _other_user(error: Any) -> str:
    return f"The name {error.name!r} belongs to another user, or to none: choose another name"


_EXPLANATIONS: dict[type[Exception], tuple[Callable[[Any], str], ExitCode]] = {
    ConversationNotFoundError: (_not_found, ExitCode.NOT_FOUND),
    InvalidConversationIdError: (_invalid_id, ExitCode.USAGE),
    ConversationNotCreatedError: (_not_created, ExitCode.NOT_FOUND),
    NameNotFoundError: (_unknown_name, ExitCode.NOT_FOUND),
    UserMismatchError: (_other_user, ExitCode.FAILED),
    DirectorySchemaError: (_no_tables, ExitCode.FAILED),
    CutPointError: (str, ExitCode.NOT_FOUND),
    ItemNotFoundError: (_no_item, ExitCode.NOT_FOUND),
    UnfinishedDeletionError: (_unfinished_deletion, ExitCode.UNFINISHED),
    TransferConflictError: (_conflict, ExitCode.FAILED),
    UnsettledWriteError: (_unsettled, ExitCode.UNFINISHED),
    UnsettledTransferError: (_unsettled_transfer, ExitCode.UNFINISHED),
    UnfinishedForkError: (_unfinished_fork, ExitCode.UNFINISHED),
}
"""Errors whose own message speaks of Python, or that have an exit code of their own."""


def _root_cause(error: Exception) -> str:
    """Return the class name of the last known error in the chain of causes."""
    known = [each for each in _causes(error) if isinstance(each, (OpenAIError, SessionError))]
    return type(known[-1]).__name__


def _request_id(error: Exception) -> str:
    ids = (each.request_id for each in _causes(error) if isinstance(each, APIStatusError))
    found = next(filter(None, ids), None)
    return f" (x-request-id: {found})" if found else ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _in_one_line(text: str) -> str:
    """Return the text in one line, truncated, without the API key unless that may be any word."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    line = " ".join(without(text, spellings(key)).split())
    return escaped_line(line if len(line) <= _MAX_LENGTH else f"{line[:_MAX_LENGTH]}...")
