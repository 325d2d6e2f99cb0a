"""What the commands on one conversation do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from openai_sessions._conversation.usage import Usage
from openai_sessions._items.turns import Turn
from openai_sessions.cli._errors import CommandError, ExitCode, UnfinishedError
from openai_sessions.cli._output import (
    TableWriter,
    TranscriptWriter,
    confirm,
    counted,
    progress,
    require_terminal,
    write_json,
    write_line,
)
from openai_sessions.cli._running import Workspace
from openai_sessions.errors import UnfinishedForkError
from openai_sessions.session import OpenAIConversationsSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """What to show.

    Attributes:
        conversation: An id, or a name of the directory.
        limit: How many of the newest items; None for all.
        last_turns: How many of the newest turns; None for all.
        as_json: Whether to print JSON, an item a line.
        full: Whether to print all of an item, however long.
    """

    conversation: str
    limit: int | None = None
    last_turns: int | None = None
    as_json: bool = False
    full: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Print each item as it is read."""
        session = await workspace.source(self.conversation)
        write = write_json if self.as_json else TranscriptWriter(full=self.full).write
        is_seen = sys.stdout.isatty()  # which shows how far it is by itself
        with progress(f"Reading {self.conversation}", quiet=workspace.settings.quiet or is_seen) as show:
            count = 0
            async for item in self._items_of(session):
                write(item)
                count += 1
                show(count, None)

    async def _items_of(self, session: OpenAIConversationsSession) -> AsyncIterator[Any]:
        if self.limit is not None or self.last_turns is not None:
            for item in await session.get_items(self.limit, turns=self.last_turns):
                yield item
        else:
            async for item in session.iterate_items():
                yield item


_LONGEST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which turns to list.

    Attributes:
        conversation: An id, or a name of the directory.
        find: Only turns in which this is said; None for all.
        last: How many of the newest; None for all.
        as_json: Whether to print JSON, a turn a line.
    """

    conversation: str
    find: str | None = None
    last: int | None = None
    as_json: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Print the turns."""
        session = await workspace.source(self.conversation)
        with progress(f"Reading {self.conversation}", quiet=workspace.settings.quiet):
            turns = await (session.turns(self.last) if self.find is None else session.find_turns(self.find))
        turns = turns[-self.last :] if self.last else turns
        if self.as_json:
            for turn in turns:
                write_json(_as_json(turn))
        else:
            rows = ((str(turn.number), str(len(turn.items)), _beginning(turn.text)) for turn in turns)
            TableWriter(">Turn", ">Items", "The user").write(rows)


def _as_json(turn: Turn) -> dict[str, Any]:
    return {
        "number": turn.number,
        "text": turn.text,
        "item_ids": list(turn.item_ids),
        "items": list(turn.items),
    }


def _beginning(text: str) -> str:
    """Return the beginning of a text, with one space where it has several, or ends of lines."""
    return " ".join(text[: 2 * _LONGEST].split())[:_LONGEST]


_NAMES = [field.name for field in fields(Usage)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """Whose usage to print.

    Attributes:
        conversation: An id, or a name of the directory.
        by_turn: Whether to print each turn, which the directory keeps with a name.
        as_json: Whether to print JSON.
    """

    conversation: str
    by_turn: bool = False
    as_json: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Print what `store_run_usage` has kept."""
        if self.by_turn:
            session = await workspace.named_session(self.conversation)
            self._print_turns(await session.get_turn_usage(), workspace)
        else:
            source = await workspace.source(self.conversation)
            self._print_total(await source.get_session_usage(), workspace)

    def _print_total(self, usage: Usage | None, workspace: Workspace) -> None:
        if usage is None:
            _tell_of_none(workspace)
        if self.as_json:
            write_json(None if usage is None else asdict(usage))
        elif usage is not None:
            TableWriter("", ">Total").write(
                (name.replace("_", " "), f"{number:,}") for name, number in asdict(usage).items()
            )

    def _print_turns(self, used: Mapping[int, Usage], workspace: Workspace) -> None:
        if not used:
            _tell_of_none(workspace)
        if self.as_json:
            for turn, usage in used.items():
                write_json({"turn": turn, **asdict(usage)})
        else:
            headings = (f">{name.removesuffix('_tokens').capitalize()}" for name in _NAMES)
            rows = ((turn, *asdict(usage).values()) for turn, usage in used.items())
            TableWriter(">Turn", *headings).write([f"{number:,}" for number in row] for row in rows)


def _tell_of_none(workspace: Workspace) -> None:
    workspace.note("No usage was stored: `await session.store_run_usage(result)` stores it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forking:
    """What to fork.

    Attributes:
        conversation: An id, or a name of the directory.
        before_turn: The number of the turn that is left out, with all that follows; or None.
        after_item: The id of the last item that is copied; or None.
        branch: What to call the fork as a branch of the name; or None.
        name: A new name of the directory for the fork; or None.
    """

    conversation: str
    before_turn: int | None = None
    after_item: str | None = None
    branch: str | None = None
    name: str | None = None

    async def __call__(self, workspace: Workspace) -> None:
        """Fork, and print the id of the new conversation."""
        if self.branch is not None and self.name is not None:
            raise CommandError("Give --name or --branch, not both.", exit_code=ExitCode.USAGE)
        if self.name is not None:
            await workspace.require_free(self.name)
        with progress(f"Forking {self.conversation}", quiet=workspace.settings.quiet):
            forked = await self._fork(workspace)
            if self.name is not None:
                await _register(forked, self.name, workspace)
        write_line(forked.session_id)

    async def _fork(self, workspace: Workspace) -> OpenAIConversationsSession:
        if self.branch is None:
            source = await workspace.source(self.conversation)
            return await source.fork(before_turn=self.before_turn, after_item=self.after_item)
        workspace.require_name(self.conversation)
        return await workspace.directory.fork(
            self.conversation, self.branch, before_turn=self.before_turn, after_item=self.after_item
        )


async def _register(forked: OpenAIConversationsSession, name: str, workspace: Workspace) -> None:
    """Put a fork under a name, or delete it."""
    try:
        await workspace.directory.register(name, forked.session_id)
    except BaseException as error:
        made = forked.session_id
        try:
            await forked.clear_session()
        except Exception as undoing:  # noqa: BLE001 - told with what was raised before
            raise UnfinishedForkError(made, undoing) from error
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """What to delete.

    Attributes:
        conversation: An id, or a name of the directory.
        purge: Whether to delete each item too, which OpenAI otherwise keeps, out of reach.
        yes: Whether to go ahead without asking.
    """

    conversation: str
    purge: bool = False
    yes: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Delete the conversation, and say so."""
        if not self.yes:
            require_terminal()
        session = await workspace.target(self.conversation)
        conversation_id = session.conversation_id
        if conversation_id is None:
            workspace.note(f"{self.conversation} has no conversation: there is nothing to delete.")
            return
        if not self.yes:
            confirm(await self._question(session, workspace))
        await session.get_items(1)  # raises when there is no such conversation, which clearing does not
        await self._clear(session, conversation_id, workspace)
        workspace.note(f"Deleted {conversation_id}.")

    async def _clear(
        self, session: OpenAIConversationsSession, conversation_id: str, workspace: Workspace
    ) -> None:
        deleted = 0
        with progress(f"Deleting {conversation_id}", quiet=workspace.settings.quiet) as show:

            def count(done: int, total: int) -> None:
                nonlocal deleted
                deleted = done
                show(done, total)

            try:
                await session.clear_session(purge_items=self.purge, on_progress=count)
            except (Exception, asyncio.CancelledError) as error:
                if not deleted:
                    raise
                left = f"{counted(deleted, 'item')} of {conversation_id} deleted: run it again."
                if isinstance(error, asyncio.CancelledError):
                    workspace.note(left)
                    raise
                raise UnfinishedError(left) from error

    async def _question(self, session: OpenAIConversationsSession, workspace: Workspace) -> str:
        count = 0
        with progress("Counting", quiet=workspace.settings.quiet) as show:
            async for _ in session.iterate_items():
                count += 1
                show(count, None)
        named = "" if self.conversation == session.conversation_id else f" ({self.conversation})"
        items = f"{'and its' if self.purge else 'with'} {counted(count, 'item')}"
        return f"Delete {session.conversation_id}{named} {items} for ever?"
