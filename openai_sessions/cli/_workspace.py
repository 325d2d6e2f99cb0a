"""What a command works on: the API, and the directory of names when there is one."""

from __future__ import annotations

import os
import re
import sys
from contextlib import AsyncExitStack
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from openai import AsyncOpenAI

from openai_sessions._policy import RetryPolicy
from openai_sessions._retrying import RetryEvent
from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._escaping import escaped_line
from openai_sessions.cli._settings import Settings
from openai_sessions.errors.directory import NameNotFoundError, NameTakenError
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
