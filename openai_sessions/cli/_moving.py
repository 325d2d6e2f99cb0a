"""The commands that move histories: export, import and copy, also from and to sessions of the Agents SDK."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import BadRequestError

from openai_sessions.cli._errors import (
    CommandError,
    ExitCode,
    UnfinishedError,
    explained,
    interruptible,
    one_line_errors,
)
from openai_sessions.cli._output import counted, escaped_line, progress, write_line
from openai_sessions.cli._running import Workspace, confirm, require_folder, require_terminal, shown_base_url
from openai_sessions.cli._stores import is_store, open_session, session_ids, shown_store
from openai_sessions.errors import SessionError
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
    require_folder(path)
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
    workspace.note(f"Imported {_counted(report)}.")
    write_line(await session.ensure_conversation())


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How `copy` treats a target.

    Attributes:
        append: Whether to add the items to a target that contains others.
        keep_partial: Whether to keep what was written if the copy fails.
    """

    append: bool
    keep_partial: bool


async def copy(workspace: Workspace, source: str, target: str | None, options: CopyOptions) -> None:
    """Copy items, and print the id of the conversation that they were copied to.

    Args:
        workspace: The workspace.
        source: A conversation id, a name from the directory, or the URL of an SDK session.
        target: The same; None for a new conversation.
        options: How to treat the target.
    """
    _require_two(source, target)
    report, conversation_id = await _copy_one(workspace, source, target, options)
    workspace.note(f"Copied {_counted(report)}.")
    if conversation_id is not None:
        write_line(conversation_id)


async def copy_all(workspace: Workspace, source: str, target: str | None, options: CopyOptions) -> None:
    """Copy all sessions of a database, and print the id of each with that of its conversation.

    A session that cannot be copied is reported, and the others are copied.

    Args:
        workspace: The workspace.
        source: The URL of a database of SDK sessions.
        target: The URL of another one, whose sessions get the same ids; None for names in the directory that
            are the ids, or without a directory for new conversations.
        options: How to treat each target.

    Raises:
        CommandError: Some sessions could not be copied.
        UnfinishedError: The service or a database failed before the last session.
    """
    _require_two(source, target)
    if target is not None and (not is_store(target) or "#" in target):
        raise CommandError(
            f"{shown_store(target)} cannot take all sessions: give the URL of a database without #ID, or "
            "--directory and no target.",
            exit_code=ExitCode.USAGE,
        )
    ids = await session_ids(source)
    total, failed = TransferReport(), 0
    for number, session_id in enumerate(ids):
        try:
            to = _target_of(workspace, session_id, target)
            report, conversation_id = await _copy_one(workspace, f"{source}#{session_id}", to, options)
        except (SessionError, CommandError, BadRequestError) as error:
            failed += 1
            reason = explained(error, base_url=shown_base_url(workspace.settings))
            sys.stderr.write(f"{escaped_line(f'{session_id} was not copied: {reason}')}\n")
        except Exception as error:
            raise UnfinishedError(
                f"{number:,} of {counted(len(ids), 'session')} were done before."
            ) from error
        else:
            total += report
            if conversation_id is not None:
                write_line(f"{escaped_line(session_id)}\t{conversation_id}")
    workspace.note(f"Copied {counted(len(ids) - failed, 'session')} with {_counted(total)}.")
    if failed:
        raise CommandError(
            f"{counted(failed, 'session')} could not be copied.",
            exit_code=ExitCode.UNFINISHED if failed < len(ids) else ExitCode.FAILED,
        )


def _require_two(source: str, target: str | None) -> None:
    if is_store(source) and source == target:
        raise CommandError(
            f"{shown_store(source)} is both source and target: give another target.", exit_code=ExitCode.USAGE
        )


def _target_of(workspace: Workspace, session_id: str, target: str | None) -> str | None:
    """Return where one of all sessions is copied to."""
    if target is not None:
        return f"{target}#{session_id}"
    if not workspace.settings.directory:
        return None
    workspace.require_name(session_id, needed_by="--all")
    return session_id


async def _copy_one(
    workspace: Workspace, source: str, target: str | None, options: CopyOptions
) -> tuple[TransferReport, str | None]:
    """Copy items; return what was done, and the id of the target if it is a conversation."""
    async with AsyncExitStack() as stack:
        if is_store(source):
            read_from = await stack.enter_async_context(open_session(source, create=False))
        else:
            read_from = await workspace.source(source)
        if target is not None and is_store(target):
            write_to = await stack.enter_async_context(open_session(target, create=True))
        else:
            write_to = await workspace.target(target, create=True)
        shown = shown_store(source) if is_store(source) else source
        with progress(f"Copying {shown}", quiet=workspace.settings.quiet) as advance:
            report = await copy_session(
                read_from,
                write_to,
                append=options.append,
                keep_partial=options.keep_partial,
                on_progress=advance,
            )
        return report, await _id_of(write_to)


async def _id_of(target: object) -> str | None:
    """Return the id of a conversation, which is created if nothing was written to it; else None."""
    return await target.ensure_conversation() if isinstance(target, OpenAIConversationsSession) else None


def _counted(report: TransferReport) -> str:
    parts = [counted(report.copied, "item")]
    if report.already_there:
        parts.append(f"{report.already_there:,} were there already")
    if report.skipped:
        parts.append(f"skipped {counted(report.skipped, 'reasoning item')} that cannot be stored")
    if report.without_provider_data:
        parts.append(f"{report.without_provider_data:,} without their provider_data, which cannot be stored")
    return "; ".join(parts)
