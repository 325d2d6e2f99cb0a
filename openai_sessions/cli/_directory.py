"""The commands on a session directory: upgrade, list, sweep and erase."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._output import TableWriter, counted, progress, standard_output, write_json
from openai_sessions.cli._running import Workspace, confirm, require_terminal
from openai_sessions.directory import ErasureReport, LostCreation, SessionEntry
from openai_sessions.directory._database import SCHEMA_VERSION

_PAGE = 1000
"""Names per query, and conversations per sweep."""

_EVERYTHING = 10**9
"""The limit of a dry run."""


async def upgrade(workspace: Workspace, *, dry_run: bool) -> None:
    """Create the tables of the directory if they are missing, upgrade older ones, and say so.

    Args:
        workspace: The workspace.
        dry_run: Only say what would be done.
    """
    directory = workspace.open_directory(must_exist=dry_run)
    found = await directory.create_tables(dry_run=dry_run)
    if found == SCHEMA_VERSION:
        workspace.note("The directory is ready.")
    elif found is None:
        done = "Would create" if dry_run else "Created"
        workspace.note(f"{done} the tables, version {SCHEMA_VERSION}.")
    else:
        done = "Would upgrade" if dry_run else "Upgraded"
        workspace.note(f"{done} the tables from version {found} to version {SCHEMA_VERSION}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which names are listed: those that start with `prefix`, of `user`, with `search` in their title."""

    prefix: str = ""
    user: str | None = None
    search: str | None = None


async def list_names(
    workspace: Workspace, wanted: Wanted, *, after: str | None, limit: int | None, as_json: bool
) -> None:
    """Print the names, page by page.

    Args:
        workspace: The workspace.
        wanted: Which names.
        after: Only names after this one; None for all.
        limit: At most this many; None for all.
        as_json: Whether to print JSON, one name per line.
    """
    table = TableWriter("Name", "Title", "User", "Used", "Expires", "Conversation")
    show_time = _local_time if standard_output().is_terminal else datetime.isoformat
    async for entries in _pages(workspace, wanted, after=after, limit=limit):
        if as_json:
            for entry in entries:
                write_json(_entry_as_json(entry))
        else:
            table.write(
                (
                    entry.name,
                    entry.title or "-",
                    entry.user or "-",
                    show_time(entry.used_at),
                    show_time(entry.expires_at) if entry.expires_at else "-",
                    entry.conversation_id or "-",
                )
                for entry in entries
            )


async def _pages(
    workspace: Workspace, wanted: Wanted, *, after: str | None = None, limit: int | None = None
) -> AsyncIterator[Sequence[SessionEntry]]:
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = await workspace.directory.conversations(
            wanted.user, prefix=wanted.prefix, search=wanted.search, order="name", limit=size, after=after
        )
        yield page.entries
        after, left = page.next_after, None if left is None else left - size
        if after is None:
            return
    workspace.note(f"More names follow: --after {after}")


def _local_time(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M}"


def _entry_as_json(entry: SessionEntry) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in asdict(entry).items()
    }


async def sweep(workspace: Workspace, *, keep_items: bool, dry_run: bool, yes: bool) -> None:
    """Sweep until nothing is left to delete, and say what was deleted.

    Args:
        workspace: The workspace.
        keep_items: Whether to leave the items of the conversations at OpenAI, out of reach.
        dry_run: Only say what would be deleted.
        yes: Whether to skip the confirmation.
    """
    workspace.client  # noqa: B018 - reports a missing key before the confirmation
    if dry_run or not yes:
        if not dry_run:
            require_terminal()
        planned = await workspace.directory.sweep(limit=_EVERYTHING, dry_run=True)
        names, conversations = _counts(planned.expired, planned.deleted)
        if dry_run:
            workspace.note(f"Would remove {names} and delete {conversations}.")
            _note_lost_creations(planned.lost_creations, workspace)
            return
        confirm(f"Permanently delete {names} and {conversations}?")
    removed = deleted = 0
    while True:
        with progress("Sweeping", unit="conversations", quiet=workspace.settings.quiet) as advance:
            report = await workspace.directory.sweep(
                limit=_PAGE, purge_items=not keep_items, on_progress=advance
            )
        removed, deleted = removed + report.expired, deleted + report.deleted
        if not (report.remaining and report.deleted):
            break
    names, conversations = _counts(removed, deleted)
    workspace.note(f"Removed {names} and deleted {conversations}.")
    _note_lost_creations(report.lost_creations, workspace)
    if report.remaining:
        left = counted(report.remaining, "conversation")
        raise CommandError(f"{left} could not be deleted: sweep again later.", exit_code=ExitCode.UNFINISHED)


def _counts(names: int, conversations: int) -> tuple[str, str]:
    return counted(names, "expired name"), counted(conversations, "conversation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasing:
    """Whom `directory erase` erases, what it leaves, and whether it deletes files."""

    user: str
    keep_items: bool
    keep_responses: bool
    files: bool


async def erase(workspace: Workspace, wanted: Erasing, *, dry_run: bool, as_json: bool, yes: bool) -> None:
    """Erase a user, and print what became of each kind of objects.

    Args:
        workspace: The workspace.
        wanted: The user, and what is erased.
        dry_run: Only print what would be deleted.
        as_json: Whether to print the report as JSON, with all ids.
        yes: Whether to skip the confirmation.
    """
    erase_user = partial(
        workspace.directory.erase,
        wanted.user,
        items=not wanted.keep_items,
        responses=not wanted.keep_responses,
        files=wanted.files,
    )
    if dry_run or not yes:
        if not dry_run:
            require_terminal()
        report = await erase_user(dry_run=True)
        if dry_run:
            _print_erasure(report, workspace, as_json=as_json)
            return
        found = counted(len(report.conversations.deleted), "conversation")
        confirm(f"Permanently delete {found} of {wanted.user} with everything that belongs to them?")
    report = await erase_user()
    _print_erasure(report, workspace, as_json=as_json)
    _note_lost_creations(report.lost_creations, workspace)
    if report.has_failures:
        raise CommandError("Not everything was deleted: erase again later.", exit_code=ExitCode.UNFINISHED)


def _print_erasure(report: ErasureReport, workspace: Workspace, *, as_json: bool) -> None:
    told = report.as_json()
    if as_json:
        write_json(told)
        return
    kinds = {kind: objects for kind, objects in told.items() if isinstance(objects, dict)}
    deleted = "Would be deleted" if report.dry_run else "Deleted"
    table = TableWriter("Objects", deleted, "Already gone", "Failed")
    table.write(
        (kind, *(f"{len(objects[each]):,}" for each in ("deleted", "already_gone", "failed")))
        for kind, objects in kinds.items()
    )
    for objects in kinds.values():
        for object_id, reason in objects["failed"].items():
            workspace.note(f"{object_id}: {reason}")


def _note_lost_creations(creations: Sequence[LostCreation], workspace: Workspace) -> None:
    """Report conversations that may exist under an unknown id: the response to their creation was lost."""
    for lost in creations:
        workspace.note(
            f"A conversation of {lost.name} may exist under an unknown id; its metadata contains "
            f"openai_sessions.creation={lost.creation_id}."
        )
