"""The commands that move histories: export, import and copy, also from and to sessions of the Agents SDK."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openai_sessions.cli._errors import CommandError, ExitCode, interruptible, one_line_errors
from openai_sessions.cli._output import counted, progress, write_line
from openai_sessions.cli._running import Workspace, confirm, require_terminal
from openai_sessions.session import OpenAIConversationsSession
from openai_sessions.transfer import TransferReport, copy_session, export_session, import_session

_STANDARD = "-"
"""Standard input or output instead of a file."""


async def export(workspace: Workspace, conversation: str, file: str, *, yes: bool) -> None:
    """Write a conversation to a file, and say how many items it contains.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory.
        file: The path of the file, or `-` for standard output.
        yes: Whether to replace an existing file without asking.
    """
    to_standard = file == _STANDARD
    if not to_standard:
        _require_replaceable(Path(file), yes=yes)
    session = await workspace.source(conversation)
    hidden = workspace.settings.quiet or (to_standard and sys.stdout.isatty())
    with progress(f"Exporting {conversation}", quiet=hidden) as advance:
        target: Any = sys.stdout.buffer if to_standard else file
        report = await export_session(session, target, on_progress=advance)
    if not to_standard:
        workspace.note(f"Exported {counted(report.copied, 'item')} to {file}.")


def _require_replaceable(path: Path, *, yes: bool) -> None:
    """Refuse a link, a device, a pipe, a folder and a path in no folder; ask before a file is replaced."""
    exists = path.exists()
    if path.is_symlink():
        raise CommandError(
            f"{path} is a symbolic link: give the path of the file itself, or remove the link.",
            exit_code=ExitCode.USAGE,
        )
    if exists and not path.is_file():
        raise CommandError(
            f"{path} is not a regular file: give a file, or - for standard output.", exit_code=ExitCode.USAGE
        )
    _require_folder(path)
    if exists and not yes:
        require_terminal()
        confirm(f"Replace {path}?")


@contextmanager
def input_file(file: str) -> Iterator[str]:
    """Yield the path of a file to import; standard input is copied to one first, which Ctrl-C can interrupt.

    Args:
        file: The path of the file, or `-` for standard input.
    """
    if file != _STANDARD:
        yield file
        return
    with tempfile.NamedTemporaryFile() as copied:
        with one_line_errors(), interruptible():
            shutil.copyfileobj(sys.stdin.buffer, copied)
        copied.flush()
        yield copied.name


async def import_file(  # noqa: PLR0913 - one for each option
    workspace: Workspace, file: str, *, name: str | None, into: str | None, append: bool, keep_partial: bool
) -> None:
    """Write the items of a file to a conversation, and print its id.

    Args:
        workspace: The workspace.
        file: The path of the file.
        name: Register the conversation in the directory under this new name; or None.
        into: A conversation id, or a name from the directory; None for a new conversation.
        append: Whether to add the items to a conversation that contains others.
        keep_partial: Whether to keep what was written if the import fails.
    """
    if name and into:
        raise CommandError("Give --name or --into, not both.", exit_code=ExitCode.USAGE)
    if name:
        await workspace.require_free(name)
    session = await workspace.target(name or into, create=name is not None)
    with progress("Importing", quiet=workspace.settings.quiet) as advance:
        report = await import_session(
            file, session, append=append, keep_partial=keep_partial, on_progress=advance
        )
    await _tell("Imported", report, session, workspace)


async def copy(
    workspace: Workspace, source: str, target: str | None, *, append: bool, keep_partial: bool
) -> None:
    """Copy items, and print the id of the conversation that they were copied to.

    Args:
        workspace: The workspace.
        source: A conversation id, a name from the directory, or the URL of an SDK session.
        target: The same; None for a new conversation.
        append: Whether to add the items to a target that contains others.
        keep_partial: Whether to keep what was written if the copy fails.
    """
    shown = shown_store(source) if _is_store(source) else source
    if _is_store(source) and source == target:
        raise CommandError(
            f"{shown} is both source and target: give another target.", exit_code=ExitCode.USAGE
        )
    async with AsyncExitStack() as stack:
        if _is_store(source):
            read_from = await stack.enter_async_context(_open_store(source, create=False))
        else:
            read_from = await workspace.source(source)
        if target is not None and _is_store(target):
            write_to = await stack.enter_async_context(_open_store(target, create=True))
        else:
            write_to = await workspace.target(target, create=True)
        with progress(f"Copying {shown}", quiet=workspace.settings.quiet) as advance:
            report = await copy_session(
                read_from, write_to, append=append, keep_partial=keep_partial, on_progress=advance
            )
    await _tell("Copied", report, write_to, workspace)


async def _tell(done: str, report: TransferReport, target: object, workspace: Workspace) -> None:
    """Say what was written, and print the id of the target if it is a conversation."""
    conversation_id = None
    if isinstance(target, OpenAIConversationsSession):
        conversation_id = await target.ensure_conversation()  # a copy of nothing is an empty conversation
    parts = [f"{done} {counted(report.copied, 'item')}"]
    if report.already_there:
        parts.append(f"{report.already_there:,} were there already")
    if report.skipped:
        parts.append(f"skipped {counted(report.skipped, 'reasoning item')} that cannot be stored")
    workspace.note(f"{'; '.join(parts)}.")
    if conversation_id is not None:
        write_line(conversation_id)


_FORMS = "sqlite:///FILE#ID, sqlite+aiosqlite:///FILE#ID, postgresql+asyncpg://USER@HOST/DATABASE#ID, redis://HOST#ID"


def _is_store(text: str) -> bool:
    return "://" in text


def shown_store(url: str) -> str:
    """Return the URL of a store for messages: without password and options."""
    address, mark, session_id = url.rpartition("#") if "#" in url else (url, "", "")
    return re.sub(r"(?<=://)([^/:@]*):.*@", r"\1@", address).partition("?")[0] + mark + session_id


def _open_store(text: str, *, create: bool) -> AbstractAsyncContextManager[Any]:
    """Return a context manager that opens a session of the Agents SDK.

    Args:
        text: The URL of a database, `#`, and a session id.
        create: Whether to create a missing file or missing tables.

    Raises:
        CommandError: The URL is not supported; on entering: the file does not exist.
    """
    url, _, session_id = text.rpartition("#")
    opener = _OPENERS.get(text.partition("://")[0].partition("+")[0].lower())
    if not (url and session_id) or opener is None or not _is_url(text):
        raise CommandError(
            f"{shown_store(text)} is not a supported store; the forms are {_FORMS}.", exit_code=ExitCode.USAGE
        )
    return opener(url, session_id, create=create)


def _is_url(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:  # unbalanced brackets
        return False
    return True


@asynccontextmanager
async def _sqlite(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:
    if "+" in urlsplit(url).scheme:
        async with _sqlalchemy(url, session_id, create=create) as session:
            yield session
        return
    from agents import SQLiteSession  # noqa: PLC0415 - only a copy from or to a store loads agents

    session = SQLiteSession(session_id, _database_file(url, create=create))
    try:
        yield session
    finally:
        session.close()


@asynccontextmanager
async def _sqlalchemy(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:
    from agents.extensions.memory import SQLAlchemySession  # noqa: PLC0415 - as above

    scheme, colon, rest = url.partition(":")
    if scheme.startswith("sqlite"):
        _database_file(url, create=create)
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


_OPENERS: dict[str, Callable[..., AbstractAsyncContextManager[Any]]] = {
    "sqlite": _sqlite,
    "postgresql": _sqlalchemy,
    "postgres": _sqlalchemy,
    "redis": _redis,
    "rediss": _redis,
}


def _database_file(url: str, *, create: bool) -> Path:
    file = Path(urlsplit(url).path.removeprefix("/"))
    if not file.name:
        raise CommandError(
            f"{url} has no file: give one, as in sqlite:///sessions.db.", exit_code=ExitCode.USAGE
        )
    if not create and not file.is_file():
        raise CommandError(f"{file}: no such file.", exit_code=ExitCode.NOT_FOUND)
    _require_folder(file)
    return file


def _require_folder(file: Path) -> None:
    folder = file.absolute().parent
    if not folder.is_dir():
        raise CommandError(f"{folder}: no such folder.", exit_code=ExitCode.FAILED)
