"""What a command works on: the API, and the directory of names when there is one."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import datetime, timezone
from io import TextIOWrapper
from logging.handlers import BufferingHandler
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai import APIConnectionError, APIStatusError, AsyncOpenAI, OpenAIError

from openai_sessions._api.retries import RetryEvent, RetryPolicy
from openai_sessions.cli._app import Settings
from openai_sessions.cli._errors import CommandError, ExitCode, UnfinishedError, one_line_errors
from openai_sessions.cli._output import escaped_line
from openai_sessions.errors import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    ForkPointError,
    NameNotFoundError,
    NameTakenError,
    SessionError,
    TransferConflictError,
    UnfinishedForkError,
    UnsettledTransferError,
    UnsettledWriteError,
)
from openai_sessions.session import OpenAIConversationsSession

if TYPE_CHECKING:
    from typing_extensions import Self

    from openai_sessions.directory import NamedSession, SessionDirectory


_OPENAI = "https://api.openai.com/v1"

_ID_PREFIX = "conv_"

_POLICY = RetryPolicy(attempts=4)
"""A person waits: four seconds for a server that does not answer, rather than half a minute."""


class Workspace:
    """Open what a command needs when it first needs it, and close it at the end.

    Args:
        settings: Where things are.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stack = AsyncExitStack()
        self._client: AsyncOpenAI | None = None
        self._directory: SessionDirectory | None = None
        self._new_names: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._stack:
            if error is not None:
                await self._forget_new_names()

    @property
    def client(self) -> AsyncOpenAI:
        """The client of the API.

        Raises:
            CommandError: There is no key, or the URL is none.
        """
        if self._client is None:
            self._client = _open_client(self.settings)
            self._stack.push_async_callback(self._client.close)
        return self._client

    @property
    def directory(self) -> SessionDirectory:
        """The directory of names. It needs a key for what is done at OpenAI alone.

        Raises:
            CommandError: None was given.
            ValueError: Its URL is none.
        """
        if self._directory is None:
            if not self.settings.directory:
                raise CommandError(
                    "Names are kept in a directory: give --directory, or set OPENAI_SESSIONS_DIRECTORY.",
                    exit_code=ExitCode.USAGE,
                )
            from openai_sessions.directory import SessionDirectory  # noqa: PLC0415 - an id needs none

            _check_file(self.settings.directory)
            self._directory = SessionDirectory(
                self.settings.directory,
                tenant=self.settings.tenant,
                openai_client=self.client if key_of_environment() else None,
                session_options=self._session_options(),
            )
            self._stack.push_async_callback(self._directory.aclose)
        return self._directory

    async def source(self, conversation: str) -> OpenAIConversationsSession:
        """Return a session to read an id or a name of the directory, of which nothing is changed.

        Raises:
            CommandError: It is no id, and there is no directory.
            NameNotFoundError: The directory has no such name.
        """
        if conversation.startswith(_ID_PREFIX):
            return self._of_conversation(conversation)
        entry = await self._named(conversation).get(conversation)
        if entry is None:
            raise NameNotFoundError(conversation)
        return self._of_conversation(entry.conversation_id)

    async def target(self, conversation: str | None, *, make: bool = False) -> OpenAIConversationsSession:
        """Return a session to write to.

        Args:
            conversation: An id, or a name of the directory; None for a new conversation.
            make: Whether to make a name that is not there. When the command fails it is forgotten again.

        Raises:
            CommandError: It is no id, and there is no directory.
            NameNotFoundError: The directory has no such name.
        """
        if conversation is None or conversation.startswith(_ID_PREFIX):
            return self._of_conversation(conversation)
        directory = self._named(conversation)
        if await directory.get(conversation) is None:
            if not make:
                raise NameNotFoundError(conversation)
            self._new_names.append(conversation)
        return self._kept(await directory.session(conversation))

    async def require_free(self, name: str) -> None:
        """Refuse a name that the directory has, or that no command could find.

        Raises:
            CommandError: There is no directory, or the name would be taken for an id.
            NameTakenError: It has the name.
        """
        if name.startswith(_ID_PREFIX):
            raise CommandError(
                f"The name {name!r} would be taken for an id: choose one that begins otherwise.",
                exit_code=ExitCode.USAGE,
            )
        if await self._named(name).get(name) is not None:
            raise NameTakenError(name)

    async def named_session(self, name: str) -> NamedSession:
        """Return the session of a name that the directory has.

        Raises:
            CommandError: It is an id, or there is no directory.
            NameNotFoundError: There is no such name, or it has expired: opening it would begin it anew.
        """
        self.require_name(name)
        directory = self._named(name)
        entry = await directory.get(name)
        if entry is None or (entry.expires_at and entry.expires_at <= datetime.now(timezone.utc)):
            raise NameNotFoundError(name)
        return await directory.session(name)

    def require_name(self, conversation: str) -> None:
        """Refuse an id where a name of the directory is needed.

        Raises:
            CommandError: It is an id.
        """
        if conversation.startswith(_ID_PREFIX):
            raise CommandError(
                f"{conversation} is an id: this is kept with the names of a directory.",
                exit_code=ExitCode.USAGE,
            )

    def note(self, text: str) -> None:
        """Tell the person what was done, on standard error: standard output is for what is asked for."""
        if not self.settings.quiet:
            sys.stderr.write(f"{escaped_line(text)}\n")

    def _named(self, name: str) -> SessionDirectory:
        if not self.settings.directory:
            raise CommandError(
                f"{name!r} is no id (conv_...), and for a name there is no directory: "
                "give --directory, or set OPENAI_SESSIONS_DIRECTORY.",
                exit_code=ExitCode.USAGE,
            )
        _ = self.client  # without a key the directory would open a client of its own, and fail less clearly
        return self.directory

    def _of_conversation(self, conversation_id: str | None) -> OpenAIConversationsSession:
        session = OpenAIConversationsSession(
            conversation_id=conversation_id,
            openai_client=self.client,
            on_conversation_created=lambda created: self.note(f"Writing to {created}."),
            **self._session_options(),
        )
        return self._kept(session)

    def _session_options(self) -> dict[str, Any]:
        return {"retry_policy": _POLICY, "on_retry": self._note_retry}

    def _kept(self, session: OpenAIConversationsSession) -> OpenAIConversationsSession:
        self._stack.push_async_callback(session.aclose)
        return session

    async def _forget_new_names(self) -> None:
        """Forget names that were made for nothing."""
        for name in self._new_names:
            entry = await self.directory.get(name)
            if entry is not None and entry.conversation_id is None:
                await self.directory.forget(name)

    def _note_retry(self, event: RetryEvent) -> None:
        if sys.stderr.isatty():
            wait = f"{event.wait:.0f} s" if event.wait >= 1 else "a moment"
            self.note(f"{event.operation}: {event.outcome}; trying again in {wait}")


def base_url_of(settings: Settings) -> str:
    """Return where requests go, for people to read: without a user, a password or a query."""
    try:
        parts = urlsplit(settings.base_url or _OPENAI)
    except ValueError:  # refused, and told of, before anything is asked there
        return "--base-url"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _check_file(url: str) -> None:
    """Refuse a directory in a file that is not there, before SQLite makes an empty one."""
    file = url.partition(":///")[2] if url.startswith("sqlite") else ""
    if file and not file.startswith("file:") and not Path(file.partition("?")[0]).is_file():
        raise CommandError(f"The directory is {url}, and there is no such file.", exit_code=ExitCode.USAGE)


def _open_client(settings: Settings) -> AsyncOpenAI:
    if settings.base_url:
        _check_base_url(settings.base_url)
    key = key_of_environment()
    if not key:
        raise CommandError("There is no API key: set OPENAI_API_KEY.", exit_code=ExitCode.USAGE)
    return AsyncOpenAI(base_url=settings.base_url or _OPENAI, api_key=key)  # an empty variable is none


def _check_base_url(url: str) -> None:
    needed = None
    if not url.startswith(("http://", "https://")):
        needed = "begin with http:// or https://"
    elif not _has_address(url):
        needed = "have a host, and a port up to 65535 if any"
    if needed:
        shown = re.sub(r"(?<=//)[^/]*@", "", url)  # without a password
        raise CommandError(f"--base-url is {shown!r}; it must {needed}.", exit_code=ExitCode.USAGE)


def _has_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port
        return False


def key_of_environment() -> str:
    """Return the key in OPENAI_API_KEY, or nothing.

    Raises:
        CommandError: As `checked_key`.
    """
    return checked_key(os.environ.get("OPENAI_API_KEY", "").strip())


def checked_key(key: str) -> str:
    """Return a key that a header can hold.

    Raises:
        CommandError: It holds something else than letters, digits and marks of ASCII. The HTTP library would
            quote all of it.
    """
    odd = next((character for character in key if not "!" <= character <= "~"), None)
    if odd is not None:
        raise CommandError(
            f"OPENAI_API_KEY holds {odd!a}, as no key does: set it anew.", exit_code=ExitCode.USAGE
        )
    return key


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
