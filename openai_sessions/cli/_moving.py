"""The Agents SDK's own sessions by URL: where a history may come from, or go to."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._output import confirm, counted, progress, require_terminal, write_line
from openai_sessions.cli._running import Workspace
from openai_sessions.session import OpenAIConversationsSession
from openai_sessions.transfer import TransferReport, copy_session, export_session, import_session

FORMS = "sqlite:///FILE#ID, sqlite+aiosqlite:///FILE#ID, postgresql+asyncpg://USER@HOST/DATABASE#ID, redis://HOST#ID"


def is_store(text: str) -> bool:
    """Tell whether an argument is a URL rather than an id or a name."""
    return "://" in text


def open_store(text: str, *, create: bool) -> AbstractAsyncContextManager[Any]:
    """Return a session of the Agents SDK, to be entered.

    Args:
        text: The URL of a database, `#`, and the id of a session.
        create: Whether to make what is not there: the file, the tables.

    Raises:
        CommandError: It is no such URL, or the file is not there.
    """
    url, _, session_id = text.rpartition("#")
    opening = _OPENINGS.get(text.partition("://")[0].partition("+")[0].lower())
    if not (url and session_id) or opening is None or not _is_url(text):
        raise CommandError(
            f"A store is one of {FORMS}; {shown_store(text)} is none.", exit_code=ExitCode.USAGE
        )
    return opening(url, session_id, create=create)


def shown_store(text: str) -> str:
    """Return the URL of a store without its password and options."""
    url, mark, session_id = text.rpartition("#") if "#" in text else (text, "", "")
    return re.sub(r"(?<=://)([^/:@]*):.*@", r"\1@", url).partition("?")[0] + mark + session_id


def _is_url(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:  # of brackets
        return False
    return True


@asynccontextmanager
async def _sqlite(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:
    if "+" in urlsplit(url).scheme:
        async with _sqlalchemy(url, session_id, create=create) as session:
            yield session
        return
    from agents import SQLiteSession  # noqa: PLC0415 - only who copies from or to one waits for agents

    session = SQLiteSession(session_id, _existing_file(url, create=create))
    try:
        yield session
    finally:
        session.close()


@asynccontextmanager
async def _sqlalchemy(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:
    from agents.extensions.memory import SQLAlchemySession  # noqa: PLC0415 - as above

    scheme, colon, rest = url.partition(":")
    if scheme.startswith("sqlite"):
        _existing_file(url, create=create)
    driven = url if "+" in scheme else f"postgresql+asyncpg{colon}{rest}"
    session = SQLAlchemySession.from_url(session_id, url=driven, create_tables=create)
    try:
        yield session
    finally:
        await session.engine.dispose()


@asynccontextmanager
async def _redis(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:  # noqa: ARG001 - as the others
    from agents.extensions.memory import RedisSession  # noqa: PLC0415 - as above

    session = RedisSession.from_url(session_id, url=url)
    try:
        yield session
    finally:
        await session.close()


_OPENINGS: dict[str, Callable[..., AbstractAsyncContextManager[Any]]] = {
    "sqlite": _sqlite,
    "postgresql": _sqlalchemy,
    "postgres": _sqlalchemy,
    "redis": _redis,
    "rediss": _redis,
}


def _existing_file(url: str, *, create: bool) -> Path:
    file = Path(urlsplit(url).path.removeprefix("/"))
    if not file.name:
        raise CommandError(f"{url} names no file, as sqlite:///sessions.db does.", exit_code=ExitCode.USAGE)
    if not create and not file.is_file():
        raise CommandError(f"{file}: there is no such file.", exit_code=ExitCode.NOT_FOUND)
    require_folder(file)
    return file


def require_folder(file: Path) -> None:
    """Refuse a file in a folder that is not there.

    Raises:
        CommandError: So it is.
    """
    folder = file.absolute().parent
    if not folder.is_dir():
        raise CommandError(f"{folder}: there is no such folder.", exit_code=ExitCode.FAILED)


STANDARD = "-"
"""Standard input or output in the place of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What to write to a file.

    Attributes:
        conversation: An id, or a name of the directory.
        file: The file, or `-` for standard output.
        yes: Whether to replace a file that is there without asking.
    """

    conversation: str
    file: str
    yes: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Write the file, and say how many items it has."""
        to_standard = self.file == STANDARD
        if not to_standard:
            _check_place(Path(self.file))
        if not (to_standard or self.yes) and _exists(self.file):
            require_terminal()
            confirm(f"Replace {self.file}?")
        session = await workspace.source(self.conversation)
        hidden = workspace.settings.quiet or (to_standard and sys.stdout.isatty())
        with progress(f"Exporting {self.conversation}", quiet=hidden) as show:
            file: Any = sys.stdout.buffer if to_standard else self.file
            report = await export_session(session, file, on_progress=show)
        if not to_standard:
            workspace.note(f"Exported {counted(report.copied, 'item')} to {self.file}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What to read from a file.

    Attributes:
        file: The file.
        into: An id, or a name of the directory; None for a new conversation.
        name: A new name of the directory; None for none.
        append: Whether to add to a conversation that holds something.
        keep_partial: Whether to leave what was written when it fails.
    """

    file: str
    into: str | None = None
    name: str | None = None
    append: bool = False
    keep_partial: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Write the items, and print the id of the conversation."""
        if self.name and self.into:
            raise CommandError("Give --name or --into, not both.", exit_code=ExitCode.USAGE)
        if self.name:
            await workspace.require_free(self.name)
        session = await workspace.target(self.name or self.into, make=self.name is not None)
        with progress("Importing", quiet=workspace.settings.quiet) as show:
            report = await import_session(
                self.file, session, append=self.append, keep_partial=self.keep_partial, on_progress=show
            )
        await _tell("Imported", report, session, workspace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What to copy.

    Attributes:
        source: An id, a name of the directory, or a store of the Agents SDK.
        target: The same; None for a new conversation.
        append: Whether to add to a target that holds something.
        keep_partial: Whether to leave what was written when it fails.
    """

    source: str
    target: str | None = None
    append: bool = False
    keep_partial: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Copy the items, and print the id of the conversation that they went to."""
        if is_store(self.source) and self.source == self.target:
            raise CommandError(
                f"{_shown(self.source)} is source and target: give another target.", exit_code=ExitCode.USAGE
            )
        async with AsyncExitStack() as stack:
            source = await self._source(workspace, stack)
            target = await self._target(workspace, stack)
            with progress(f"Copying {_shown(self.source)}", quiet=workspace.settings.quiet) as show:
                report = await copy_session(
                    source, target, append=self.append, keep_partial=self.keep_partial, on_progress=show
                )
        await _tell("Copied", report, target, workspace)

    async def _source(self, workspace: Workspace, stack: AsyncExitStack) -> Any:
        if is_store(self.source):
            return await stack.enter_async_context(open_store(self.source, create=False))
        return await workspace.source(self.source)

    async def _target(self, workspace: Workspace, stack: AsyncExitStack) -> Any:
        if self.target is not None and is_store(self.target):
            return await stack.enter_async_context(open_store(self.target, create=True))
        return await workspace.target(self.target, make=True)


async def _tell(done: str, report: TransferReport, target: object, workspace: Workspace) -> None:
    conversation_id = None
    if isinstance(target, OpenAIConversationsSession):
        conversation_id = await target.ensure_conversation()  # that of nothing is empty
    notes = [
        f"{report.already_there:,} were there already" if report.already_there else "",
        f"{report.skipped:,} of reasoning left out: it cannot be stored" if report.skipped else "",
    ]
    said = "; ".join([f"{done} {counted(report.copied, 'item')}", *filter(None, notes)])
    workspace.note(f"{said}.")
    if conversation_id is not None:
        write_line(conversation_id)


def _shown(place: str) -> str:
    return shown_store(place) if is_store(place) else place


def _exists(file: str) -> bool:
    return Path(file).exists()


def _check_place(path: Path) -> None:
    """Refuse what is no file, such as a device, a pipe or a folder, and a folder that is not there."""
    if path.exists() and not path.is_file():
        raise CommandError(
            f"{path} is no file: name one, or write to standard output with -.", exit_code=ExitCode.USAGE
        )
    require_folder(path)
