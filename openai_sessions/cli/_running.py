"""Running a command: its settings, its workspace (client, directory, sessions), signals and exit codes."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from io import TextIOWrapper
from logging.handlers import BufferingHandler
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai import AsyncOpenAI

from openai_sessions._api.retries import RetryEvent, RetryPolicy
from openai_sessions.cli._errors import CommandError, ExitCode, explained, interruptible, one_line_errors
from openai_sessions.cli._output import escaped_line
from openai_sessions.errors import NameNotFoundError, NameTakenError
from openai_sessions.session import HistoryLimits, OpenAIConversationsSession, RequestSettings

if TYPE_CHECKING:
    from typing_extensions import Self

    from openai_sessions.directory import NamedSession, SessionDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options that all commands on conversations share.

    Attributes:
        base_url: The base URL of the API; None for OpenAI's.
        directory: The database URL of the session directory; None without one.
        tenant: The tenant whose names are used.
        quiet: Whether to hide progress and messages.
    """

    base_url: str | None = None
    directory: str | None = None
    tenant: str = ""
    quiet: bool = False


Work = Callable[["Workspace"], Awaitable[None]]

_EXIT_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}

_PATIENCE = 0.5
"""Seconds from Ctrl-C to the message that says what the command is waiting for."""

_MAX_WARNINGS = 20


def run(work: Work, settings: Settings, *, shows_log: bool = True) -> None:
    """Run the work of a command, and exit with its code.

    Ctrl-C and SIGTERM cancel the work, which undoes what it has written. A second signal limits the undoing
    to 10 seconds.

    Args:
        work: Called with a `Workspace`.
        settings: The shared options.
        shows_log: Whether to print the warnings of the library.

    Raises:
        typer.Exit: The work failed or was interrupted; the message was printed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # escapes instead of a UnicodeEncodeError halfway
    with one_line_errors():
        try:
            with _warnings_on_stderr(shows_log=shows_log):
                asyncio.run(_until_signalled(work, settings))
                sys.stdout.flush()
        except BrokenPipeError:
            raise CommandError("", exit_code=ExitCode.READER_GONE) from None
        except Exception as error:
            raise explained(error, base_url=shown_base_url(settings)) from error


async def _until_signalled(work: Work, settings: Settings) -> None:
    async def in_workspace() -> None:
        async with Workspace(settings) as workspace:
            await work(workspace)

    task = asyncio.ensure_future(in_workspace())
    received: list[signal.Signals] = []

    def cancel(number: signal.Signals) -> None:
        if not received:
            loop.call_later(_PATIENCE, _say_that_it_undoes)
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in _EXIT_CODES:
        with suppress(NotImplementedError):  # on Windows asyncio itself cancels on Ctrl-C
            loop.add_signal_handler(number, cancel, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
        raise CommandError("Interrupted.", exit_code=_EXIT_CODES[received[0]]) from None


def _say_that_it_undoes() -> None:
    sys.stderr.write("Interrupted: undoing changes. Press Ctrl-C again to wait at most 10 seconds.\n")


@contextmanager
def _warnings_on_stderr(*, shows_log: bool) -> Iterator[None]:
    """Print the library's log records at the end, unless an exception replaces them by its own message."""
    logger, records = logging.getLogger("openai_sessions"), BufferingHandler(_MAX_WARNINGS)
    logger.addHandler(records)
    try:
        yield
    except Exception as error:
        if not isinstance(error, CommandError):
            records.buffer.clear()
        raise
    finally:
        logger.removeHandler(records)
        for record in records.buffer if shows_log else ():
            sys.stderr.write(f"{escaped_line(record.getMessage())}\n")


OPENAI_URL = "https://api.openai.com/v1"

_ID_PREFIX = "conv_"

POLICY = RetryPolicy(attempts=4)
"""Someone is waiting: give up on a dead server after about 4 seconds instead of half a minute."""


class Workspace:
    """Client, directory and sessions of a command, opened on first use and closed at the end.

    Args:
        settings: The shared options.
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
            CommandError: The key is missing, or the base URL is invalid.
        """
        if self._client is None:
            self._client = _open_client(self.settings)
            self._stack.push_async_callback(self._client.close)
        return self._client

    @property
    def directory(self) -> SessionDirectory:
        """The session directory; see `open_directory`."""
        return self.open_directory()

    def open_directory(self, *, must_exist: bool = True) -> SessionDirectory:
        """Return the session directory. Without an API key it works except for calls to OpenAI.

        Args:
            must_exist: Whether to refuse a missing SQLite file, which would be created, empty.

        Raises:
            CommandError: No directory was given, or its file does not exist.
            ValueError: The URL is not a database URL.
        """
        if self._directory is None:
            if not self.settings.directory:
                raise CommandError(
                    "No directory given: set --directory or OPENAI_SESSIONS_DIRECTORY.",
                    exit_code=ExitCode.USAGE,
                )
            from openai_sessions.directory import SessionDirectory  # noqa: PLC0415 - conversation ids need none

            _check_database_file(self.settings.directory, must_exist=must_exist)
            self._directory = SessionDirectory(
                self.settings.directory,
                tenant=self.settings.tenant,
                openai_client=self.client if key_of_environment() else None,
                session_options=self._session_options(),
            )
            self._stack.push_async_callback(self._directory.aclose)
        return self._directory

    def is_id(self, conversation: str) -> bool:
        """Return whether an argument is a conversation id; without a directory, nothing else is possible."""
        return conversation.startswith(_ID_PREFIX) or not self.settings.directory

    async def source(self, conversation: str) -> OpenAIConversationsSession:
        """Return a session that reads a conversation, without changing the directory.

        Args:
            conversation: A conversation id, or a name from the directory.

        Raises:
            InvalidConversationIdError: It is a name, and no directory was given.
            NameNotFoundError: The directory does not have the name.
        """
        if self.is_id(conversation):
            return self._open(conversation)
        entry = await self._directory_for(conversation).get(conversation)
        if entry is None:
            raise NameNotFoundError(conversation)
        return self._open(entry.conversation_id)

    async def target(
        self, conversation: str | None, *, create: bool = False, **options: Any
    ) -> OpenAIConversationsSession:
        """Return a session that writes to a conversation.

        Args:
            conversation: A conversation id, or a name from the directory; None for a new conversation.
            create: Whether to create the name if the directory does not have it. If the command fails, the
                name is forgotten again.
            **options: Options of the session that are not those of the other commands.

        Raises:
            InvalidConversationIdError: It is a name, and no directory was given.
            NameNotFoundError: The directory does not have the name.
        """
        if conversation is None or self.is_id(conversation):
            return self._open(conversation, **options)
        directory = self._directory_for(conversation)
        if await directory.get(conversation) is None:
            if not create:
                raise NameNotFoundError(conversation)
            self._new_names.append(conversation)
        return self._closed_at_end(await directory.session(conversation, **options))

    async def named_session(self, name: str, *, needed_by: str) -> NamedSession:
        """Return the session of a name that has not expired: opening an expired name would replace it.

        Args:
            name: A name from the directory.
            needed_by: The option that needs a name instead of an id.

        Raises:
            CommandError: It is an id, or no directory was given.
            NameNotFoundError: The directory does not have the name, or it has expired.
        """
        self.require_name(name, needed_by=needed_by)
        directory = self._directory_for(name)
        entry = await directory.get(name)
        if entry is None or (entry.expires_at and entry.expires_at <= datetime.now(timezone.utc)):
            raise NameNotFoundError(name)
        return await directory.session(name)

    def require_name(self, conversation: str, *, needed_by: str) -> None:
        """Refuse a conversation id where an option needs a name.

        Raises:
            CommandError: It is an id.
        """
        if conversation.startswith(_ID_PREFIX):
            raise CommandError(
                f"{conversation} is a conversation id; {needed_by} needs a name from the directory.",
                exit_code=ExitCode.USAGE,
            )

    async def require_free(self, name: str) -> None:
        """Refuse a new name that the directory already has, or that looks like a conversation id.

        Raises:
            CommandError: No directory was given, or the name looks like an id.
            NameTakenError: The directory already has the name.
        """
        if name.startswith(_ID_PREFIX):
            raise CommandError(
                f"The name {name!r} looks like a conversation id: choose one that does not start with "
                f"{_ID_PREFIX}.",
                exit_code=ExitCode.USAGE,
            )
        if await self._directory_for(name).get(name) is not None:
            raise NameTakenError(name)

    def note(self, text: str) -> None:
        """Print a message to standard error, unless `--quiet` was given: standard output is for data."""
        if not self.settings.quiet:
            sys.stderr.write(f"{escaped_line(text)}\n")

    def _directory_for(self, name: str) -> SessionDirectory:
        if not self.settings.directory:
            raise CommandError(
                f"{name!r} is a name: to use one, set --directory or OPENAI_SESSIONS_DIRECTORY.",
                exit_code=ExitCode.USAGE,
            )
        _ = (
            self.client
        )  # a missing key is reported here: the directory's own client would say it less clearly
        return self.directory

    def _open(self, conversation_id: str | None, **options: Any) -> OpenAIConversationsSession:
        session = OpenAIConversationsSession(
            conversation_id=conversation_id,
            openai_client=self.client,
            on_conversation_created=lambda created: self.note(f"Created {created}."),
            **{**self._session_options(), **options},
        )
        return self._closed_at_end(session)

    def _session_options(self) -> dict[str, Any]:
        return {
            "history_limits": HistoryLimits(from_compaction=False),
            "requests": RequestSettings(retry_policy=POLICY, on_retry=self._note_retry),
        }

    def _note_retry(self, event: RetryEvent) -> None:
        if sys.stderr.isatty():
            wait = f"{event.wait:.0f} s" if event.wait >= 1 else "a moment"
            self.note(f"{event.operation}: {event.outcome}; retrying in {wait}")

    def _closed_at_end(self, session: OpenAIConversationsSession) -> OpenAIConversationsSession:
        self._stack.push_async_callback(session.aclose)
        return session

    async def _forget_new_names(self) -> None:
        for name in self._new_names:
            entry = await self.directory.get(name)
            if entry is not None and entry.conversation_id is None:
                await self.directory.forget(name)


def _check_database_file(url: str, *, must_exist: bool) -> None:
    """Refuse an SQLite file in a missing folder, or a missing file, which SQLite would create, empty."""
    name = url.partition(":///")[2].partition("?")[0] if url.startswith("sqlite") else ""
    if not name or name.startswith("file:"):
        return
    if must_exist and not Path(name).is_file():
        raise CommandError(
            f"The directory {url} does not exist: no such file. "
            "`openai-sessions directory upgrade` creates it.",
            exit_code=ExitCode.USAGE,
        )
    require_folder(Path(name))


def require_folder(file: Path) -> None:
    """Refuse a file in a folder that does not exist.

    Raises:
        CommandError: There is no such folder.
    """
    folder = file.absolute().parent
    if not folder.is_dir():
        raise CommandError(f"{folder}: no such folder.", exit_code=ExitCode.FAILED)


def _open_client(settings: Settings) -> AsyncOpenAI:
    if settings.base_url:
        require_url(settings.base_url)
    key = key_of_environment()
    if not key:
        raise CommandError("No API key: set OPENAI_API_KEY.", exit_code=ExitCode.USAGE)
    return AsyncOpenAI(
        base_url=settings.base_url or OPENAI_URL, api_key=key
    )  # an empty variable counts as unset


def require_url(url: str, source: str = "--base-url") -> None:
    """Refuse a base URL that no request can be sent to.

    Args:
        url: The base URL.
        source: The option or variable that has it.

    Raises:
        CommandError: It has another scheme than HTTP, no host, or no valid port.
    """
    needed = None
    if not url.startswith(("http://", "https://")):
        needed = "start with http:// or https://"
    elif not _has_address(url):
        needed = "contain a host, and only a port from 1 to 65535"
    if needed:
        shown = re.sub(r"(?<=//)[^/]*@", "", url)  # without a password
        raise CommandError(f"{source} is {shown!r}; it must {needed}.", exit_code=ExitCode.USAGE)


def _has_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number up to 65535
        return False


def shown_base_url(settings: Settings) -> str:
    """Return the base URL for messages: without user, password and query."""
    try:
        parts = urlsplit(settings.base_url or OPENAI_URL)
    except ValueError:  # reported before the first request
        return "--base-url"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def key_of_environment() -> str:
    """Return the key in OPENAI_API_KEY, or an empty string.

    Raises:
        CommandError: The key is invalid, see `checked_key`.
    """
    return checked_key(os.environ.get("OPENAI_API_KEY", "").strip())


def checked_key(key: str, variable: str = "OPENAI_API_KEY") -> str:
    """Return the key if it can be sent in a header.

    Args:
        key: The key.
        variable: The variable that has it.

    Raises:
        CommandError: It contains a character other than printable ASCII. The HTTP library's own error would
            quote the whole key.
    """
    invalid = next((character for character in key if not "!" <= character <= "~"), None)
    if invalid is not None:
        raise CommandError(
            f"{variable} contains {invalid!a}, which no key contains: set it again.",
            exit_code=ExitCode.USAGE,
        )
    return key


def require_terminal() -> None:
    """Refuse to go on if the user cannot be asked for confirmation.

    Raises:
        CommandError: Standard input or standard error is not a terminal.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(
            "There is no terminal to ask for confirmation: give --yes.", exit_code=ExitCode.USAGE
        )


def confirm(question: str) -> None:
    """Ask the user, and return if the answer is yes.

    Args:
        question: What is about to be done, ending in a question mark.

    Raises:
        CommandError: The answer is not yes (exit code 1), or Ctrl-C (130).
    """
    sys.stderr.write(f"{escaped_line(question)} [y/N] ")
    sys.stderr.flush()
    with interruptible():
        answer = sys.stdin.readline()
    if not answer:
        sys.stderr.write("\n")
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was done.", exit_code=ExitCode.FAILED)
