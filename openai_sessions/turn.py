"""A turn of a session: what a run adds is kept until its block ends, and then stored in one write, or not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

from openai_sessions import _agents
from openai_sessions._arguments import checked_choice, checked_items
from openai_sessions._conversation.counting import start_of_newest
from openai_sessions._conversation.lazy import HeldConversation
from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._conversation.newest_turns import read_newest_turns
from openai_sessions._conversation.reading import HistoryCache, copied
from openai_sessions._conversation.shielding import run_to_end
from openai_sessions._conversation.state import Receipt
from openai_sessions._conversation.writing import append_and_delete, append_items, delete_appended
from openai_sessions._instrumentation import operation
from openai_sessions._items.forms import replay_form, to_replay, to_stored
from openai_sessions._items.turns import (
    TurnLimits,
    calls_by_output,
    complete_items,
    ends_turn,
    newest_compaction,
)
from openai_sessions._items.types import CountTokens, Item, RunItem, is_compaction, newest_id
from openai_sessions.errors import ConversationChangedError, TurnStateError
from openai_sessions.tokens import ServerTokens

if TYPE_CHECKING:
    from types import TracebackType

    from agents import SessionSettings
    from openai.types.responses import ResponseInputItemParam
    from pydantic import BaseModel
    from typing_extensions import Self

    from openai_sessions.session import OpenAIConversationsSession

__all__ = ["SessionTurn"]


@dataclass(frozen=True, slots=True)
class _Read:
    """What a turn has read of the stored history.

    Attributes:
        conversation_id: The conversation; None if there was none.
        items: The items as listed, oldest first.
        newest_id: The id of the newest item of the conversation; None if it was empty.
        is_whole: Whether the items are the whole history.
        limits: The limits within which they are the newest whole turns, or None.
    """

    conversation_id: str | None = None
    items: Sequence[Item] = ()
    newest_id: str | None = None
    is_whole: bool = True
    limits: TurnLimits | None = None


@dataclass(frozen=True, slots=True)
class _Addition:
    """An item that a turn adds, as it is sent and as it was given."""

    sent: Item
    given: object


class SessionTurn:
    """A turn of a session: `async with session.turn() as turn`. Give it to a run in place of the session.

    It has the methods of a session. Reads return the stored history and what the turn has added; nothing is
    written before the block ends. Then everything is stored in one write, all or nothing; if the block raises
    or is cancelled, nothing is. Each turn is used for one block.

    Args:
        session: The session.
        on_error: See `OpenAIConversationsSession.turn`.
        on_conflict: The same.
        exclusive: The same.
    """

    _ignore_ids_for_matching = True  # the Agents SDK then compares items without their ids

    def __init__(
        self,
        session: OpenAIConversationsSession,
        *,
        on_error: Literal["discard", "keep"],
        on_conflict: Literal["append", "raise"],
        exclusive: bool,
    ) -> None:
        checked_choice("on_error", on_error, ("discard", "keep"))
        checked_choice("on_conflict", on_conflict, ("append", "raise"))
        if not isinstance(exclusive, bool):
            raise TypeError(f"exclusive must be True or False, not {exclusive!r}")
        self._session = session
        self._keeps = on_error == "keep"
        self._must_match = on_conflict == "raise"
        self._holding = session._conversation.held() if exclusive else None
        self._held: HeldConversation | None = None
        self._state: Literal["new", "open", "ended"] = "new"
        self._first: _Read | None = None
        self._latest: _Read | None = None
        self._removed: dict[str, None] = {}
        """The ids of stored items that the turn has popped, newest first."""
        self._is_cleared = False
        self._is_stored = False
        self._additions: list[_Addition] = []
        self._opened: Callable[[Item], Item] = _unchanged
        self._renewed: Callable[[Sequence[Item]], Awaitable[Sequence[Item]]] = _as_they_are
        _agents.register_session(type(self))

    if TYPE_CHECKING:
        # Attributes for type checkers, as in the protocol agents.Session; properties below.
        session_id: str
        session_settings: SessionSettings | None
    else:

        @property
        def session_id(self) -> str:
            """The id of the conversation.

            Raises:
                ConversationNotCreatedError: The session is unused; a ValueError and AttributeError.
            """
            _agents.register_session(type(self))
            return self._session.session_id

        @property
        def session_settings(self) -> SessionSettings:
            """The settings of the session."""
            return self._session.session_settings

        @session_settings.setter
        def session_settings(self, value: SessionSettings | Mapping[str, Any] | None) -> None:
            self._session.session_settings = value

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, or None if there is none yet."""
        return self._session.conversation_id

    @property
    def pending(self) -> list[ResponseInputItemParam]:
        """The items of the turn that are not stored, oldest first, in replay form.

        After the block: none if it was stored; otherwise what was discarded, or what the failed write had.
        """
        return cast("list[ResponseInputItemParam]", to_replay(copied(self._sent())))

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise TurnStateError("a turn is used for one block, and this one was: call session.turn() again")
        self._state = "open"
        if self._holding is not None:
            try:
                self._held = await self._holding.__aenter__()
            except BaseException:
                self._state = "ended"
                raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._state = "ended"
        sent = self._sent()
        try:
            if error is None:
                await self._store(self._additions)
            elif self._keeps:
                await self._store_complete(error)
        finally:
            if self._holding is not None:
                await self._holding.__aexit__(None, None, None)
        if error is None and self._is_stored:
            if ends_turn(sent):
                await self._session._turn_ended()
            await self._session._compact_after_turn()

    # Reading

    @operation(arguments=["limit", "turns", "max_tokens"], gives="read")
    @_agents.called_by_runner
    async def get_items(
        self,
        limit: int | None = None,
        *,
        turns: int | None = None,
        max_tokens: int | None = None,
        count_tokens: CountTokens | ServerTokens | None = None,
    ) -> list[ResponseInputItemParam]:
        """Return the stored history and what the turn has added, as the session would once it is stored.

        The filters of the session's `reading` see both.

        The stored history is read once, and again only if more of it is needed. What others write meanwhile
        may therefore be missing.

        Args:
            limit: As for `OpenAIConversationsSession.get_items`, like the other arguments.
            turns: The same.
            max_tokens: The same.
            count_tokens: The same.

        Raises:
            TurnStateError: The block has not begun, or has ended.
            Exception: As for `OpenAIConversationsSession.get_items`.
        """
        self._check_open()
        limits = await self._session._limits_for(limit, turns, max_tokens, count_tokens)
        items = await self._session._filtered(await self._unfiltered(limit, limits), limit)
        return cast("list[ResponseInputItemParam]", items)

    async def _unfiltered(self, limit: int | None, limits: TurnLimits | None) -> list[Item]:
        """Return the newest whole turns within limits, or the newest `limit` items, in replay form."""
        if limits is None:
            newest = await self._newest(self._session._wanted(limit))
            items = list(self._session._needed(newest, limit))
        else:
            items = [] if limits.admit_nothing else await self._newest_turns(limits)
        return to_replay(copied(items))

    async def _newest(self, wanted: int | None) -> list[Item]:
        """Return the newest items as listed; None for all."""
        if wanted == 0:
            return []
        while (missing := self._missing(wanted)) is not None:
            await self._read(missing or None, None)
        items = [*self._stored(), *self._sent()]
        return items if wanted is None else items[-wanted:]

    def _missing(self, wanted: int | None) -> int | None:
        """Return how many of the newest stored items must be read; 0 for all, None if they were read."""
        if self._is_cleared or (self._latest is not None and self._latest.is_whole):
            return None
        if wanted is None:
            return 0
        stored = wanted - len(self._additions)
        return None if stored <= len(self._stored()) else stored + len(self._removed)

    async def _newest_turns(self, limits: TurnLimits) -> list[Item]:
        """Return the newest whole turns as listed."""
        while True:
            items = [*self._stored(), *self._sent()]
            latest = self._latest
            is_read = latest is not None and latest.limits == limits
            is_all = self._is_cleared or (latest is not None and latest.is_whole)
            is_all = is_all or (is_read and not self._needs_older(items))
            if latest or is_all:
                start = await self._start_of_newest(limits, items, is_all=is_all)
                if start is not None:
                    return items[start:]
            await self._read(None, None if self._removed or is_read else limits)

    async def _start_of_newest(
        self, limits: TurnLimits, items: Sequence[Item], *, is_all: bool
    ) -> int | None:
        """Return the start of the newest whole turns, with a client only if the server may count them."""
        if not limits.are_of_turns:
            return limits.start_of_newest(items, is_all=is_all)
        client = await self._session._clients.client()
        return await start_of_newest(client, limits, items, is_all=is_all)

    def _needs_older(self, items: Sequence[Item]) -> bool:
        """Return whether the turn has changed what follows from a compaction item that it has read.

        It has removed the item, or added the output of a call that was dropped.
        """
        read = self._latest.items if self._latest else ()
        if newest_compaction(read) is None:
            return False
        removed = any(is_compaction(item) and item.get("id") in self._removed for item in read)
        return removed or None in calls_by_output(items).values()

    def _stored(self) -> list[Item]:
        """Return the stored items that were read and that the turn has not removed."""
        if self._is_cleared or self._latest is None:
            return []
        return [item for item in self._latest.items if item.get("id") not in self._removed]

    def _sent(self) -> list[Item]:
        return [addition.sent for addition in self._additions]

    async def _read(self, count: int | None, limits: TurnLimits | None) -> None:
        """Read stored items: the newest `count`, None for all, or the newest turns within limits."""
        self._session._written.forget()
        read = await self._run(_read_stored, count, limits, self._session._history)
        self._latest = _Read() if read is None else read
        self._first = self._first or self._latest

    # Changing

    @_agents.called_by_runner
    async def add_items(
        self, items: Sequence[ResponseInputItemParam | Mapping[str, Any] | BaseModel | RunItem]
    ) -> None:
        """Add items to the turn. They are stored when the block ends; no request is sent before.

        Args:
            items: As for `OpenAIConversationsSession.add_items`.

        Raises:
            TurnStateError: The block has not begun, or has ended.
            InvalidItemError: An item can never be stored. None was added.
        """
        self._check_open()
        given = checked_items(items)
        sent = to_stored(given, on_loss=self._session._log_loss)
        as_given = given if len(given) == len(sent) else sent
        self._additions += map(_Addition, sent, as_given)

    @operation()
    @_agents.called_by_runner
    async def pop_item(self) -> ResponseInputItemParam | None:
        """Remove the newest item and return it as `get_items` would; None if there is none.

        An item that the turn has added is dropped. A stored one is deleted when the block ends: until then,
        others can still read and pop it.

        Raises:
            TurnStateError: The block has not begun, or has ended.
            Exception: As for `OpenAIConversationsSession.get_items`.
        """
        self._check_open()
        if self._additions:
            return _replayed(self._additions.pop().sent)
        await self._newest(1)
        self._check_open()
        if self._additions:  # added by another task meanwhile
            return _replayed(self._additions.pop().sent)
        stored = self._stored()
        if not stored:
            return None
        self._removed[stored[-1]["id"]] = None
        return _replayed(stored[-1])

    @_agents.called_by_runner
    async def clear_session(self) -> None:
        """Drop what the turn has added, and remove the whole stored history when the block ends.

        If the turn adds items after this, they replace the history under the same conversation id; what
        others have added since the turn has read it stays. Otherwise the conversation is deleted, as by
        `OpenAIConversationsSession.clear_session`.

        Raises:
            TurnStateError: The block has not begun, or has ended.
        """
        self._check_open()
        self._additions.clear()
        self._is_cleared = True

    @_agents.for_compaction
    async def _read_compaction_items(self, limit: int | None) -> tuple[list[Item], bool]:
        """Return the history for the Agents SDK's compaction, and whether that is all of it.

        The compaction replaces it with `clear_session` and `add_items`, which costs nothing in a turn.
        """
        self._check_open()
        items = to_replay(copied(await self._newest(self._session._wanted(limit))))
        given = _agents.WrittenAsGiven()
        given.add(addition.given for addition in self._additions)
        return given.restored_in(items), limit is not None and len(items) < limit

    async def abandon(self) -> None:
        """End a turn whose block never began, as the caller was interrupted while it was entered."""
        if self._state == "open":
            await self.__aexit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    def mark_context(self) -> None:
        """Let the current context know that an exclusive turn is open, if it was entered in another one."""
        if self._held is not None:
            self._held.enter()

    def read_as(
        self,
        opened: Callable[[Item], Item],
        renewed: Callable[[Sequence[Item]], Awaitable[Sequence[Item]]],
    ) -> None:
        """Use items in another form, such as tokens.

        Args:
            opened: Returns what an item depends on, by which it is judged whether it is complete.
            renewed: Returns items of the turn as they are stored without the others.
        """
        self._opened = opened
        self._renewed = renewed

    # The end of the block

    async def _store_complete(self, error: BaseException) -> None:
        """Store what is complete of a turn whose block has raised an error, which is raised in every case."""
        latest = self._latest
        before = [self._opened(item) for item in self._stored()]
        is_whole = self._is_cleared or (latest is not None and latest.is_whole)
        items = [self._opened(item) for item in self._sent()]
        kept = complete_items(before, items, is_whole=is_whole)
        try:
            if isinstance(error, asyncio.CancelledError):
                with suppress(asyncio.CancelledError):
                    await run_to_end(self._store_some(kept))
            else:
                await self._store_some(kept)
        except Exception as problem:  # noqa: BLE001 -- attached to the error of the block
            _attach(error, problem)

    async def _store_some(self, positions: Sequence[int]) -> None:
        """Store the additions at these positions, without the others."""
        if len(positions) < len(self._additions):
            renewed = await self._renewed([self._additions[position].sent for position in positions])
            for position, item in zip(positions, renewed, strict=True):
                self._additions[position] = replace(self._additions[position], sent=item)
        await self._store([self._additions[position] for position in positions])

    async def _store(self, additions: Sequence[_Addition]) -> None:
        """Make the changes of the turn, and leave in it what was not stored."""
        if not (additions or self._removed or self._is_cleared):
            return
        if self._must_match and self._first is not None:
            self._check_same_conversation(self._first)
        try:
            await self._store_turn([addition.sent for addition in additions])
            self._is_stored = True
        finally:
            if self._is_stored:  # also if the caller was cancelled too late
                self._session._written.add(addition.given for addition in additions)
                stored = set(map(id, additions))
                self._additions = [each for each in self._additions if id(each) not in stored]

    def _check_same_conversation(self, first: _Read) -> None:
        current = self._session.conversation_id
        if first.conversation_id not in (None, current):
            raise ConversationChangedError(first.conversation_id, first.newest_id, current, None)

    @operation(takes="items")
    async def _store_turn(self, items: Sequence[Item]) -> None:
        if self._is_cleared and not items:
            await self._run(self._clear)
        elif self._is_cleared or self._removed:
            await self._run(self._replace, items, create=bool(items))
        else:
            await self._run(self._append, items, create=True, undo=delete_appended)

    async def _append(self, locked: LockedConversation, items: Sequence[Item]) -> Receipt:
        await settle_all(locked)
        await self._check_unchanged(locked)
        return await append_items(locked, items)

    async def _replace(self, locked: LockedConversation, items: Sequence[Item]) -> None:
        await settle_all(locked)
        await self._check_unchanged(locked)
        await append_and_delete(locked, items, [await self._to_delete(locked)])
        self._is_stored = True

    async def _clear(self, locked: LockedConversation) -> None:
        await self._check_unchanged(locked)
        await self._session._conversation.delete_locked(locked)

    async def _check_unchanged(self, locked: LockedConversation) -> None:
        """Read the newest item, if the history that the turn has read must still be the newest one.

        Raises:
            ConversationChangedError: Others have written since. Nothing was written.
        """
        first = self._first
        if not self._must_match or first is None:
            return
        newest = newest_id(await locked.newest(1))
        if newest != first.newest_id or first.conversation_id not in (None, locked.conversation_id):
            raise ConversationChangedError(
                first.conversation_id, first.newest_id, locked.conversation_id, newest
            )

    async def _to_delete(self, locked: LockedConversation) -> list[str]:
        """Return the ids of the stored items to delete, oldest first: none that the turn cannot know of."""
        first = self._first
        if first is not None and first.conversation_id not in (None, locked.conversation_id):
            return []
        if not self._is_cleared:
            return list(self._removed)[::-1]
        ids = [str(item["id"]) for item in await locked.newest(None)]
        if first is None:
            return ids
        if first.newest_id in ids:
            return ids[: ids.index(first.newest_id) + 1]
        seen = {item["id"] for read in (first, self._latest or first) for item in read.items}
        return [item_id for item_id in ids if item_id in seen]

    def _run(
        self, operation: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **options: Any
    ) -> Coroutine[Any, Any, Any]:
        """Run an operation on the conversation, which an exclusive turn holds."""
        conversation = cast("Any", self._held or self._session._conversation)
        return cast("Coroutine[Any, Any, Any]", conversation.run(operation, *args, **options))

    def _check_open(self) -> None:
        if self._state == "new":
            raise TurnStateError("the turn has not begun: use it inside `async with session.turn() as turn:`")
        if self._state == "ended":
            raise TurnStateError(
                "the turn has ended with its block, and is read and written no more: call session.turn() for "
                "the next one, or use the session"
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state}, {len(self._additions)} pending, of {self._session!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled or copied: it belongs to one block")


async def _read_stored(
    locked: LockedConversation, count: int | None, limits: TurnLimits | None, history: HistoryCache | None
) -> _Read:
    """Read the newest items, once earlier writes are settled: `count`, all, or turns within limits."""
    if limits is None:
        await settle_all(locked)
        items = await locked.newest(count, history)
        is_whole = count is None or len(items) < count
        return _Read(locked.conversation_id, items, newest_id(items), is_whole)
    items, is_whole = await read_newest_turns(locked, limits, history)
    newest = items if items or is_whole else await locked.newest(1)  # the newest turn may exceed the limits
    return _Read(locked.conversation_id, items, newest_id(newest), is_whole, limits)


def _unchanged(item: Item) -> Item:
    return item


async def _as_they_are(items: Sequence[Item]) -> Sequence[Item]:
    return items


def _replayed(item: Item) -> ResponseInputItemParam:
    return cast("ResponseInputItemParam", replay_form(copied(item)))


def _attach(error: BaseException, problem: Exception) -> None:
    """Add to an error that the turn could not be stored either: a note, and the end of its contexts."""
    if sys.version_info >= (3, 11):
        error.add_note(f"The turn could not be stored: {type(problem).__name__}: {problem}")
    end, met = error, {id(error)}
    while end.__context__ is not None and id(end.__context__) not in met:
        end = end.__context__
        met.add(id(end))
    if id(problem) not in met:
        end.__context__ = problem
