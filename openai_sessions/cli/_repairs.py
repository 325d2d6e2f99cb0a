"""The commands that repair a conversation or go back in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openai_sessions._conversation.repairing import DeletedItems
from openai_sessions._items.repairs import RepairReport
from openai_sessions._items.turns import Turn
from openai_sessions.cli._errors import CommandError, ExitCode, interruptible
from openai_sessions.cli._output import (
    TableWriter,
    TranscriptWriter,
    counted,
    progress,
    write_json,
)
from openai_sessions.cli._running import Workspace, confirm, require_terminal

_STANDARD = "-"
"""Standard input."""


async def check(workspace: Workspace, conversation: str, *, as_json: bool) -> None:
    """Print each finding.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory.
        as_json: Whether to print JSON, one finding per line.

    Raises:
        CommandError: There is something to repair.
    """
    session = await workspace.source(conversation)
    with progress(f"Reading {conversation}", quiet=workspace.settings.quiet):
        report = await session.check()
    _write_findings(report, as_json=as_json)
    if not report.is_sound:
        raise CommandError("", exit_code=ExitCode.FAILED)
    workspace.note("Nothing to repair.")


async def repair(workspace: Workspace, conversation: str, *, as_json: bool) -> None:
    """Repair a conversation, and print each finding with what was done.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory.
        as_json: Whether to print JSON, one finding per line.
    """
    session = await workspace.target(conversation)
    with progress(f"Repairing {conversation}", quiet=workspace.settings.quiet):
        report = await session.repair()
    _write_findings(report, as_json=as_json)
    workspace.note(
        f"Repaired {counted(len(report.findings), 'item')}." if report.findings else "Nothing to repair."
    )


_DONE = {"close": "closed", "remove": "removed"}


def _write_findings(report: RepairReport, *, as_json: bool) -> None:
    if as_json:
        for finding in report.findings:
            write_json({**asdict(finding), "is_repaired": report.is_repaired})
        return
    rows = (
        (
            finding.item_id,
            finding.item_type,
            finding.name or "",
            finding.problem,
            _DONE[finding.remedy] if report.is_repaired else finding.remedy,
        )
        for finding in report.findings
    )
    TableWriter("Item", "Type", "Tool", "Problem", "Repair").write(rows)


async def rewind(  # noqa: PLR0913 - one for each option
    workspace: Workspace,
    conversation: str,
    *,
    before_turn: int | None,
    after_item: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete the items after some point, and print them.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory.
        before_turn: Delete this turn and all that follow it; or None.
        after_item: Delete what follows this item; or None.
        yes: Whether to skip the confirmation.
        as_json: Whether to print JSON, one item per line.
    """
    if (before_turn is None) == (after_item is None):
        raise CommandError("Give --before-turn or --after-item.", exit_code=ExitCode.USAGE)
    if not yes:
        require_terminal()
    session = await workspace.target(conversation)
    if not yes:
        with progress(f"Reading {conversation}", quiet=workspace.settings.quiet):
            count = _count_after(await session.turns(), before_turn, after_item)
        if count:
            confirm(f"Permanently delete {counted(count, 'item')} of {conversation}?")
    with progress(f"Deleting the end of {conversation}", quiet=workspace.settings.quiet):
        deleted = await session.rewind(before_turn=before_turn, after_item=after_item)
    _write_deleted(deleted, workspace, as_json=as_json)


def _count_after(turns: Sequence[Turn], before_turn: int | None, after_item: str | None) -> int:
    if before_turn is not None:
        return sum(len(turn.items) for turn in turns if turn.number >= before_turn)
    ids = [item_id for turn in turns for item_id in turn.item_ids]
    return len(ids) - ids.index(after_item) - 1 if after_item in ids else 0


async def delete_items(
    workspace: Workspace, conversation: str, items: Sequence[str], *, yes: bool, as_json: bool
) -> None:
    """Delete items, and print them.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory.
        items: The ids of the items.
        yes: Whether to skip the confirmation.
        as_json: Whether to print JSON, one item per line.
    """
    if not yes:
        require_terminal()
    session = await workspace.target(conversation)
    if not yes:
        confirm(f"Permanently delete {counted(len(items), 'item')} of {conversation}?")
    with progress(f"Deleting items of {conversation}", quiet=workspace.settings.quiet):
        deleted = await session.delete_items(items)
    _write_deleted(deleted, workspace, as_json=as_json)


def _write_deleted(deleted: DeletedItems, workspace: Workspace, *, as_json: bool) -> None:
    write = write_json if as_json else TranscriptWriter(full=True).write
    for item in deleted.items:
        write(item)
    workspace.note(f"Deleted {counted(len(deleted.item_ids), 'item')}.")


async def replace_item(  # noqa: PLR0913 - one for each option
    workspace: Workspace, conversation: str, item: str, file: str, *, yes: bool, as_json: bool
) -> None:
    """Replace an item, and print the old and new ids.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory.
        item: The id of the item.
        file: The path of a file with the new item as JSON, or `-` for standard input.
        yes: Whether to skip the confirmation.
        as_json: Whether to print JSON: an object for each item.
    """
    if not yes:
        require_terminal()
    new = _read_item(file)
    session = await workspace.target(conversation)
    if not yes:
        confirm(f"Permanently replace {item} of {conversation}?")
    with progress(f"Replacing {item}", quiet=workspace.settings.quiet):
        replaced = await session.replace_item(item, new)
    if as_json:
        for old_id, new_id in replaced.new_ids.items():
            write_json({"old_id": old_id, "new_id": new_id})
    else:
        TableWriter("Old id", "New id").write(replaced.new_ids.items())
    workspace.note(f"Replaced {item}; {counted(len(replaced.new_ids), 'item')} got a new id.")


def _read_item(file: str) -> Any:
    """Return the JSON of a file, or of standard input.

    Raises:
        CommandError: It is not JSON.
        OSError: The file cannot be read.
    """
    if file == _STANDARD:
        with interruptible():
            text = sys.stdin.read()
    else:
        text = Path(file).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"{file} is not JSON: {error}.", exit_code=ExitCode.USAGE) from None
