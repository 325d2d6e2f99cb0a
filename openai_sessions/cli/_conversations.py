"""The commands on one conversation: show, turns, usage, fork and clear."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from openai_sessions._conversation.compacting import Compaction
from openai_sessions._conversation.newest_turns import HistoryLimits
from openai_sessions._conversation.usage import COUNTS, Usage
from openai_sessions._items.turns import Turn
from openai_sessions.cli._errors import CommandError, ExitCode, UnfinishedError
from openai_sessions.cli._output import (
    TableWriter,
    TranscriptWriter,
    counted,
    progress,
    write_json,
    write_line,
)
from openai_sessions.cli._running import Workspace, confirm, require_terminal
from openai_sessions.encryption._envelope import is_envelope
from openai_sessions.errors import UnfinishedForkError, UnknownCostError
from openai_sessions.session import OpenAIConversationsSession


async def show(  # noqa: PLR0913 - one for each option
    workspace: Workspace,
    conversation: str,
    *,
    limit: int | None,
    last_turns: int | None,
    full: bool,
    ids: bool,
    as_json: bool,
) -> None:
    """Print each item as it is read.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory.
        limit: Only this many of the newest items; None for all.
        last_turns: Only this many of the newest turns; None for all.
        full: Whether to print items in full.
        ids: Whether to print the id of each item; the whole history is read first.
        as_json: Whether to print JSON, one item per line.
    """
    session = await workspace.source(conversation)
    write = _write_as_json if as_json else TranscriptWriter(full=full).write
    is_on_screen = sys.stdout.isatty()  # the items themselves show the progress
    with progress(f"Reading {conversation}", quiet=workspace.settings.quiet or is_on_screen) as advance:
        count = 0
        if ids:
            found = [pair for turn in await session.turns(last_turns) for pair in _pairs(turn)]
            for item_id, item in found[-limit:] if limit else found:
                write(item, item_id)
            return
        async for item in _items(session, limit, last_turns):
            write(item)
            count += 1
            advance(count, None)


def _write_as_json(item: Mapping[str, Any], item_id: str | None = None) -> None:
    write_json(item if item_id is None else {"id": item_id, **item})


def _pairs(turn: Turn) -> Iterable[tuple[str, Any]]:
    return zip(turn.item_ids, turn.items, strict=True)


async def _items(
    session: OpenAIConversationsSession, limit: int | None, last_turns: int | None
) -> AsyncIterator[Any]:
    if limit is not None or last_turns is not None:
        for item in await session.get_items(limit, turns=last_turns):
            yield item
    else:
        async for item in session.iterate_items():
            yield item


_MAX_TEXT = 300
"""Characters of a user message in the list of turns."""


async def turns(
    workspace: Workspace, conversation: str, *, find: str | None, last: int | None, as_json: bool
) -> None:
    """Print the turns.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory.
        find: Only turns that contain this text; None for all.
        last: Only this many of the newest; None for all.
        as_json: Whether to print JSON, one turn per line.
    """
    session = await workspace.source(conversation)
    with progress(f"Reading {conversation}", quiet=workspace.settings.quiet):
        found = await (session.turns(last) if find is None else session.find_turns(find))
    found = found[-last:] if last else found
    if as_json:
        for turn in found:
            write_json(_turn_as_json(turn))
    else:
        rows = ((str(turn.number), str(len(turn.items)), _beginning(turn.text)) for turn in found)
        TableWriter(">Turn", ">Items", "User message").write(rows)


def _turn_as_json(turn: Turn) -> dict[str, Any]:
    return {
        "number": turn.number,
        "text": turn.text,
        "item_ids": list(turn.item_ids),
        "items": list(turn.items),
    }


def _beginning(text: str) -> str:
    """Return the beginning of a text in one line, each run of white space as one space."""
    return " ".join(text[: 2 * _MAX_TEXT].split())[:_MAX_TEXT]


async def usage(workspace: Workspace, conversation: str, *, by_turn: bool, as_json: bool) -> None:
    """Print what `store_run_usage` has stored, and its cost if genai-prices is installed.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory; with `by_turn` a name.
        by_turn: Whether to print the usage of each turn, which only a directory stores.
        as_json: Whether to print JSON.
    """
    if by_turn:
        named = await workspace.named_session(conversation, needed_by="--by-turn")
        _print_turn_usage(await named.get_turn_usage(), workspace, as_json=as_json)
    else:
        session = await workspace.source(conversation)
        _print_total_usage(await session.get_session_usage(), workspace, as_json=as_json)


def _print_total_usage(total: Usage | None, workspace: Workspace, *, as_json: bool) -> None:
    if total is None:
        _note_no_usage(workspace)
        if as_json:
            write_json(None)
        return
    (cost,) = _costs([total], workspace)
    if as_json:
        write_json(_usage_json(total, cost))
    else:
        rows = [
            (name.replace("_", " "), f"{number:,}")
            for name, number in zip(COUNTS, total.numbers(), strict=True)
        ]
        TableWriter("", ">Total").write([*rows, *(("cost", dollars(each)) for each in cost)])


def _print_turn_usage(used: Mapping[int, Usage], workspace: Workspace, *, as_json: bool) -> None:
    if not used:
        _note_no_usage(workspace)
    costs = _costs(used.values(), workspace)
    turns = zip(used.items(), costs, strict=True)
    if as_json:
        for (turn, each), cost in turns:
            write_json({"turn": turn, **_usage_json(each, cost)})
    else:
        headings = [f">{name.removesuffix('_tokens').replace('_', ' ').capitalize()}" for name in COUNTS]
        rows = [
            [*(f"{count:,}" for count in (turn, *each.numbers())), *map(dollars, cost)]
            for (turn, each), cost in turns
        ]
        TableWriter(">Turn", *headings, *([">Cost"] if any(costs) else [])).write(rows)


def _costs(usages: Iterable[Usage], workspace: Workspace) -> list[tuple[Decimal | None, ...]]:
    """Return for each usage its cost, None if it is unknown, or () if genai-prices is not installed.

    Notes which models have no price.
    """
    costs: list[tuple[Decimal | None, ...]] = []
    unknown = Counter[str]()
    for each in usages:
        try:
            costs.append((each.cost(),))
        except UnknownCostError as error:
            costs.append((None,))
            unknown.update(error.unknown)
        except ImportError:
            costs.append(())
    for model, requests in unknown.items():
        shown = f"model {model}" if model else "unknown model"
        workspace.note(f"There is no price for {counted(requests, 'request')} of the {shown}.")
    return costs


def dollars(cost: Decimal | None) -> str:
    """Return a cost for people; None is an unknown one."""
    return "unknown" if cost is None else f"${cost:,.6f}"


def _usage_json(used: Usage, cost: tuple[Decimal | None, ...]) -> dict[str, Any]:
    shown = [None if each is None else float(each) for each in cost]
    return {**asdict(used), **dict(zip(["cost_usd"], shown, strict=False))}


def _note_no_usage(workspace: Workspace) -> None:
    workspace.note("No usage is stored; `await session.store_run_usage(result)` stores it.")


async def fork(  # noqa: PLR0913 - one for each option
    workspace: Workspace,
    conversation: str,
    *,
    before_turn: int | None,
    after_item: str | None,
    branch: str | None,
    name: str | None,
) -> None:
    """Fork a conversation, and print the id of the new one.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory; with `branch` a name.
        before_turn: Copy only what precedes this turn; or None.
        after_item: Copy up to this item; or None.
        branch: Register the fork as a branch of the name; or None.
        name: Register the fork in the directory under this new name; or None.
    """
    if branch is not None and name is not None:
        raise CommandError("Give --name or --branch, not both.", exit_code=ExitCode.USAGE)
    if name is not None:
        await workspace.require_free(name)
    with progress(f"Forking {conversation}", quiet=workspace.settings.quiet):
        if branch is not None:
            workspace.require_name(conversation, needed_by="--branch")
            forked: OpenAIConversationsSession = await workspace.directory.fork(
                conversation, branch, before_turn=before_turn, after_item=after_item
            )
        else:
            source = await workspace.source(conversation)
            forked = await source.fork(before_turn=before_turn, after_item=after_item)
        if name is not None:
            await _register(forked, name, workspace)
    write_line(forked.session_id)


async def _register(forked: OpenAIConversationsSession, name: str, workspace: Workspace) -> None:
    """Register a fork under a name; delete the fork if that fails."""
    try:
        await workspace.directory.register(name, forked.session_id)
    except BaseException as error:
        made = forked.session_id
        try:
            await forked.clear_session()
        except Exception as undoing:  # noqa: BLE001 - reported together with the first error
            raise UnfinishedForkError(made, undoing) from error
        raise


async def compact(
    workspace: Workspace, conversation: str, compaction: Compaction, *, yes: bool, as_json: bool
) -> None:
    """Compact a conversation, and print the id of the compaction item.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory.
        compaction: How to compact, and from which size on.
        yes: Whether to skip the confirmation, which only a deletion needs.
        as_json: Whether to print what was written, deleted and used as JSON.

    Raises:
        CommandError: The conversation is encrypted, so that the model would read tokens.
    """
    asks = compaction.delete_replaced and not yes
    if asks:
        require_terminal()
    session = await workspace.target(conversation, history_limits=HistoryLimits())
    if any(is_envelope(dict(item)) for item in await session.get_items(1)):
        raise CommandError(
            f"{conversation} is encrypted: compact it with EncryptedSession.compact(), which has the key.",
            exit_code=ExitCode.FAILED,
        )
    if asks:
        confirm(f"Permanently delete the older turns of {conversation} once they are compacted?")
    with progress(f"Compacting {conversation}", quiet=workspace.settings.quiet):
        done = None if session.conversation_id is None else await session.compact(compaction)
    if done is None:
        workspace.note(f"{conversation} has nothing to compact.")
        return
    if as_json:
        write_json(asdict(done))
    else:
        write_line(done.compaction_id)
    written, deleted = counted(len(done.item_ids), "item"), counted(len(done.replaced_ids), "item")
    workspace.note(f"Compacted {conversation} with {compaction.model}: wrote {written}, deleted {deleted}.")


async def clear(workspace: Workspace, conversation: str, *, purge: bool, yes: bool) -> None:
    """Delete a conversation, and say so.

    Args:
        workspace: The workspace.
        conversation: A conversation id, or a name from the directory.
        purge: Whether to delete each item first: OpenAI keeps the items of a deleted conversation. Those of a
            name are always deleted.
        yes: Whether to skip the confirmation.
    """
    if not yes:
        require_terminal()
    session = await workspace.target(conversation)
    conversation_id = session.conversation_id
    if conversation_id is None:
        workspace.note(f"{conversation} has no conversation; there is nothing to delete.")
        return
    is_named = conversation != conversation_id
    purge = purge or is_named
    if not yes:
        count = await _count_items(session, workspace)
        named = f" ({conversation})" if is_named else ""
        items = f"and its {counted(count, 'item')}" if purge else f"with {counted(count, 'item')}"
        confirm(f"Permanently delete {conversation_id}{named} {items}?")
    await session.get_items(1)  # raises if the conversation does not exist, which clearing does not
    rest = (
        "`openai-sessions directory sweep` deletes the rest" if is_named else "run the command again to go on"
    )
    await _delete(session, conversation_id, workspace, purge=purge, rest=rest)
    workspace.note(f"Deleted {conversation_id}.")


async def _count_items(session: OpenAIConversationsSession, workspace: Workspace) -> int:
    count = 0
    with progress("Counting", quiet=workspace.settings.quiet) as advance:
        async for _ in session.iterate_items():
            count += 1
            advance(count, None)
    return count


async def _delete(
    session: OpenAIConversationsSession, conversation_id: str, workspace: Workspace, *, purge: bool, rest: str
) -> None:
    deleted = 0
    with progress(f"Deleting {conversation_id}", quiet=workspace.settings.quiet) as advance:

        def count(done: int, total: int) -> None:
            nonlocal deleted
            deleted = done
            advance(done, total)

        try:
            await session.clear_session(purge_items=purge, on_progress=count)
        except (Exception, asyncio.CancelledError) as error:
            if not deleted:
                raise
            left = f"Deleted {counted(deleted, 'item')} of {conversation_id}; {rest}."
            if isinstance(error, asyncio.CancelledError):
                workspace.note(left)
                raise
            raise UnfinishedError(left) from error
