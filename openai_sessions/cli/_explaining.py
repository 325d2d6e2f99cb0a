"""What went wrong, in one line: the fact, the request id, and what to do; no key and no traceback."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from openai import APIConnectionError, APIStatusError, OpenAIError

from openai_sessions.cli._errors import CommandError, ExitCode, UnfinishedError
from openai_sessions.cli._escaping import escaped_line
from openai_sessions.errors import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    SessionError,
    UnsettledWriteError,
)
from openai_sessions.errors.directory import NameNotFoundError
from openai_sessions.errors.forking import ForkPointError, UnfinishedForkError
from openai_sessions.errors.transfer import TransferConflictError, UnsettledTransferError

_LONGEST = 500
_DATABASES = ("aiosqlite", "asyncpg", "redis", "sqlalchemy", "sqlite3")
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_HINTS = {
    401: "set OPENAI_API_KEY to a key that is accepted there",
    403: "the key in OPENAI_API_KEY may not do this",
    429: "wait, or raise the limits of the project",
}


def explained(error: Exception, *, base_url: str) -> CommandError:
    """Return the end of a command for an error that came out of it.

    Args:
        error: What was raised.
        base_url: Where the requests went.
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
    for kind, (tell, exit_code) in _FACTS.items():
        if isinstance(error, kind):
            return tell(error), exit_code
    if isinstance(error, (APIStatusError, APIConnectionError)):
        return _of_a_request(error, base_url), ExitCode.FAILED
    if isinstance(error, (ValueError, ImportError)) and not isinstance(error, (SessionError, OpenAIError)):
        return str(error), ExitCode.USAGE
    return _failure(error), ExitCode.FAILED


def _of_a_request(error: APIStatusError | APIConnectionError, base_url: str) -> str:
    if isinstance(error, APIConnectionError):
        reason = str(error.__cause__ or error).rstrip(".")
        return f"{base_url} could not be reached ({reason}): check --base-url or OPENAI_BASE_URL"
    body = error.body if isinstance(error.body, dict) else {}
    reason = str(body.get("message") or "no reason given").rstrip(".")
    hint = _HINTS.get(error.status_code)
    return f"{base_url} answered {error.status_code}: {reason}{f'; {hint}' if hint else ''}"


def _failure(error: Exception) -> str:
    if isinstance(error, (SessionError, OpenAIError)):
        return str(error)
    if type(error).__module__.partition(".")[0] in _DATABASES:
        return _of_a_database(error)
    if isinstance(error, OSError):
        what = "Writing" if error.errno in _OF_WRITING else "A connection"
        return f"{error.filename or f'{what} failed'}: {error.strerror or error}"
    return _unexpected(error)


def _not_found(error: Any) -> str:
    reason = "it was deleted, or belongs to another project or server"
    return f"There is no conversation {error.conversation_id}: {reason}"


def _unused(_: Any) -> str:
    return "The name has no conversation yet: nothing was written to it"


def _unnamed(error: Any) -> str:
    return (
        f"The directory has no {'name' if error.branch is None else 'branch'} {error.branch or error.name!r}"
    )


def _conflict(error: Any) -> str:
    where = f"from its item {error.position} on (counted from 0)"
    return (
        f"The target holds something else than the source, {where}; nothing was written: --append adds to it"
    )


def _unsettled(error: Any) -> str:
    stand, unknown = len(error.stored_ids), len(error.unknown)
    where = error.receipt["conversation_id"]
    return (
        f"Writing to {where} failed and could not be undone: {stand} items stand, of {unknown} it is unknown"
    )


def _unsettled_transfer(error: Any) -> str:
    left = f"up to {error.left} items of it are left in {error.session_id}; the same command goes on there"
    return f"It failed ({_root(error)}) and could not be undone: {left}"


def _unfinished_fork(error: Any) -> str:
    made = error.conversation_id
    remedy = f"`openai-sessions clear {made} --purge` deletes it"
    return f"It failed ({_root(error)}) and left {made}: {remedy}"


_FACTS: dict[type[Exception], tuple[Callable[[Any], str], ExitCode]] = {
    ConversationNotFoundError: (_not_found, ExitCode.NOT_FOUND),
    ConversationNotCreatedError: (_unused, ExitCode.NOT_FOUND),
    NameNotFoundError: (_unnamed, ExitCode.NOT_FOUND),
    ForkPointError: (str, ExitCode.NOT_FOUND),
    TransferConflictError: (_conflict, ExitCode.FAILED),
    UnsettledWriteError: (_unsettled, ExitCode.UNFINISHED),
    UnsettledTransferError: (_unsettled_transfer, ExitCode.UNFINISHED),
    UnfinishedForkError: (_unfinished_fork, ExitCode.UNFINISHED),
}
"""Errors that the command can say more of than they say themselves, or end otherwise for."""


def _of_a_database(error: Exception) -> str:
    """Return the first line: the others hold the statement, and what was in it."""
    told = str(getattr(error, "orig", None) or error).strip().splitlines()
    return f"The database failed: {told[0] if told else type(error).__name__}".rstrip(".")


def _unexpected(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"Unexpected {type(error).__name__}{place}; this is a defect of openai-sessions"


def _root(error: Exception) -> str:
    """Return the name of what all began with."""
    known = [each for each in _causes(error) if isinstance(each, (OpenAIError, SessionError))]
    return type(known[-1]).__name__


def _request_id(error: Exception) -> str:
    found = next((each for each in map(_id_of, _causes(error)) if each), None)
    return f" (x-request-id: {found})" if found else ""


def _id_of(error: BaseException) -> str | None:
    return error.request_id if isinstance(error, APIStatusError) else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _in_one_line(text: str) -> str:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    line = " ".join((text.replace(key, "sk-...") if key else text).split())
    shortened = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
    return escaped_line(shortened)
