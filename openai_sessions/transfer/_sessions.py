"""Sessions that items are read from and written to."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import IO, Any, Protocol, TypeAlias, cast

from openai_sessions._arguments import SESSION_METHODS, missing_methods
from openai_sessions._conversation.iterating import whole_until
from openai_sessions._conversation.lazy import LazyConversation
from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._conversation.writing import append_items, delete_appended
from openai_sessions._instrumentation import operation
from openai_sessions._items.forms import NotJSONError, plain_json, same_item, to_replay, to_stored
from openai_sessions._items.turns import batches
from openai_sessions._items.types import Item
from openai_sessions.errors import ConversationNotFoundError, InvalidItemError
from openai_sessions.session import OpenAIConversationsSession

Progress: TypeAlias = Callable[[int, "int | None"], object]
"""Called with the number of items that are done, and of all, or None while that is not known."""


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What became of the items of a source.

    Attributes:
        copied: How many were written.
        already_there: How many the target held already, from a copy that was cut short.
        skipped: How many were left out: reasoning that the API cannot store, or cannot show without the
            item that it led to.
    """

    copied: int = 0
    already_there: int = 0
    skipped: int = 0


_IN_MEMORY = 1 << 20
"""Bytes that are kept in memory."""


class Journal:
    """Lists of JSON values, to be read again from either end."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._starts: list[int] = []

    def write(self, values: Sequence[Any]) -> None:
        """Add a list."""
        if self._file is None:
            spooled = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 -- closed by close()
            self._file = cast("IO[bytes]", spooled)
        self._file.seek(0, 2)
        self._starts.append(self._file.tell())
        self._file.write(json.dumps(list(values)).encode() + b"\n")

    def oldest_first(self) -> Iterator[list[Any]]:
        """Yield the lists in the order in which they were written."""
        return map(self._read, self._starts)

    def newest_first(self) -> Iterator[list[Any]]:
        """Yield the lists in the other order."""
        return map(self._read, reversed(self._starts))

    def close(self) -> None:
        """Forget all."""
        if self._file is not None:
            self._file.close()

    def _read(self, start: int) -> list[Any]:
        file = cast("IO[bytes]", self._file)
        file.seek(start)
        return list(json.loads(file.readline()))


PIECE = 100
"""About how many items are taken up and written at once."""

_ALL = 2**31 - 1
"""What the Agents SDK asks for when it wants all items, whatever limit the settings of a session have."""


class AnySession(Protocol):
    """What every session of the Agents SDK, and of its users, can do."""

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """Return the newest items, oldest first; all without a limit."""
        ...

    async def add_items(self, items: list[Any]) -> None:
        """Append items."""
        ...

    async def pop_item(self) -> Any:
        """Remove the newest item and return it."""
        ...

    async def clear_session(self) -> None:
        """Remove all items."""
        ...


def check_session(name: str, value: object) -> None:
    """Do nothing for what has the methods of a session.

    Raises:
        TypeError: It has not.
    """
    if isinstance(value, type) or missing_methods(value):
        raise TypeError(
            f"{name} is a session, an object with {', '.join(SESSION_METHODS)}, not {value!r}. "
            "For a conversation, give OpenAIConversationsSession(conversation_id=…)"
        )


def innermost(session: Any) -> Any:
    """Return the session that a session wraps, or itself."""
    while (beneath := getattr(session, "underlying_session", None)) is not None:
        session = beneath
    return session


class Source(Protocol):
    """Items that can be read any number of times."""

    @property
    def total(self) -> int | None:
        """How many there are, where it is known."""
        ...

    def read(self) -> AsyncGenerator[Item, None]:
        """Give all items, oldest first."""
        ...


class SessionSource:
    """The items of a session: page by page where it has `iterate_items`, else all at once."""

    def __init__(self, session: AnySession) -> None:
        self._session = session
        self.total: int | None = None

    async def read(self) -> AsyncGenerator[Item, None]:
        """Give all items, oldest first.

        Raises:
            TypeError: It is a session without async.
            InvalidItemError: An item is not JSON.
        """
        # Of the class: a session around another may pass on to that one what it does not have itself.
        iterate = getattr(type(self._session), "iterate_items", None)
        if iterate is not None:
            iterated = iterate(self._session)
            if not hasattr(iterated, "__aiter__"):
                raise _no_async(self._session)
            async with aclosing(iterated) as items:
                async for item in items:
                    yield item
            return
        found = await all_items(self._session)
        self.total = len(found)
        for item in found:
            yield item


async def all_items(session: AnySession) -> list[Item]:
    """Return all items of a session, also of one whose settings have a limit.

    Raises:
        TypeError: It is a session without async.
        InvalidItemError: An item is not JSON.
    """
    limit = getattr(getattr(session, "session_settings", None), "limit", None)
    found = session.get_items(None if limit is None else _ALL)
    if not inspect.isawaitable(found):
        raise _no_async(session)
    return [_as_dict(index, item) for index, item in enumerate(await found)]


def _no_async(session: object) -> TypeError:
    return TypeError(
        f"{type(session).__name__} is a session without async, whose methods cannot be awaited: give an "
        "async session of the same history"
    )


def _as_dict(index: int, item: object) -> Item:
    """Return an item as it is, or the object of an SDK as JSON."""
    if isinstance(item, dict):
        return item
    try:
        plain = plain_json(item)
    except NotJSONError as error:
        raise InvalidItemError(index, str(error)) from None
    if not isinstance(plain, Mapping):
        raise InvalidItemError(index, f"it is of type {type(item).__name__}, not a mapping")
    return dict(plain)


async def in_pieces(items: AsyncIterable[Item]) -> AsyncGenerator[list[Item], None]:
    """Give items in lists of about a hundred; reasoning stays with what it led to."""
    waiting: list[Item] = []
    async for item in items:
        waiting.append(item)
        if len(waiting) >= PIECE and (end := whole_until(waiting)):
            yield waiting[:end]
            del waiting[:end]
    if waiting:
        yield waiting


class ForeignItemsError(Exception):
    """Tell that others have written to a session, so that what was added cannot be taken off its end."""


class Target(Protocol):
    """A session that items are written to.

    Attributes:
        left: How many items were written and not removed again, at most.
    """

    left: int

    @property
    def session_id(self) -> str | None:
        """What the session calls itself, or None."""
        ...

    def check(self, item: Item) -> None:
        """Do nothing.

        Raises:
            InvalidItemError: The item can never be stored.
        """
        ...

    def storable(self, items: Sequence[Item]) -> list[Item]:
        """Return those of some items in a row that the session can keep.

        Raises:
            InvalidItemError: An item can never be stored.
        """
        ...

    def read(self) -> AsyncGenerator[Item, None]:
        """Give all items, oldest first."""
        ...

    async def add_items(self, items: Sequence[Item]) -> None:
        """Append items."""
        ...

    async def undo(self) -> None:
        """Remove what was added, newest first; the conversation too, when that was created for it.

        Raises:
            Exception: Something of it is left.
        """
        ...

    def close(self) -> None:
        """Let go of what is needed for undoing."""
        ...


def target_of(session: AnySession) -> Target:
    """Return a session as a target."""
    if isinstance(session, OpenAIConversationsSession):
        return HostedTarget(session)
    return OtherTarget(session)


def id_of(session: object) -> str | None:
    """Return the id of a session, or None where it has none yet."""
    try:
        return getattr(session, "session_id", None)
    except ValueError:  # as the hosted session of the Agents SDK says it
        return None


def is_unused(session: object) -> bool:
    """Tell whether a session, or the one that it wraps, has no id yet, as nothing was written to it."""
    return id_of(innermost(session)) is None


class HostedTarget:
    """A conversation hosted by OpenAI: what was added is known by its ids."""

    def __init__(self, session: OpenAIConversationsSession) -> None:
        self._session = session
        self._conversation: LazyConversation = session._conversation  # noqa: SLF001 -- ids are not public
        self._is_created_here = session.conversation_id is None
        self._added = Journal()
        self.left = 0

    @property
    def session_id(self) -> str | None:
        """The id of the conversation, or None."""
        return self._session.conversation_id

    @property
    def conversation_id(self) -> str | None:
        """The same, for whoever observes what is called on this."""
        return self._session.conversation_id

    def check(self, item: Item) -> None:
        """Do nothing, or raise where the API can never store the item."""
        to_stored([item])

    def storable(self, items: Sequence[Item]) -> list[Item]:
        """Return all but reasoning that the API cannot store, or cannot show again by itself."""
        return to_replay(to_stored(items))

    async def read(self) -> AsyncGenerator[Item, None]:
        """Give all items page by page."""
        async with aclosing(self._session.iterate_items()) as items:
            async for item in items:
                yield dict(item)

    @operation(takes="items")
    async def add_items(self, items: Sequence[Item]) -> None:
        """Append items, all or none of them."""
        append = partial(append_items, items=items)
        self.left += len(items)
        try:
            ids = await self._conversation.run(append, create=True, undo=delete_appended)
        except BaseException:
            if not self._session.unsettled:
                self.left -= len(items)
            raise
        self._added.write(ids or [])

    @operation()
    async def undo(self) -> None:
        """Delete the items by their ids, and the conversation unless others have written to it."""
        with suppress(ConversationNotFoundError):
            for ids in self._added.newest_first():
                await self._conversation.run(partial(self._delete, ids=ids))
            if self._is_created_here and await self._conversation.run(_is_empty):
                await self._conversation.delete()
        self.left = 0

    async def _delete(self, locked: LockedConversation, ids: Sequence[str]) -> None:
        await settle_all(locked)
        await locked.delete(ids, on_deleted=self._count)

    def _count(self, _: str) -> None:
        self.left -= 1

    def close(self) -> None:
        """Forget the ids."""
        self._added.close()


async def _is_empty(locked: LockedConversation) -> bool:
    await settle_all(locked)
    return not await locked.newest(1)


class OtherTarget:
    """Any other session: what was added is popped again, as long as nobody else has written."""

    def __init__(self, session: AnySession) -> None:
        self._session = session
        self._is_created_here = is_unused(session)
        self._before: int | None = None
        self._added = Journal()
        self.left = 0

    @property
    def session_id(self) -> str | None:
        """What the session calls itself, or None."""
        return id_of(self._session)

    def check(self, item: Item) -> None:
        """Do nothing: what such a session refuses is not known before."""

    def storable(self, items: Sequence[Item]) -> list[Item]:
        """Return all items."""
        return list(items)

    async def read(self) -> AsyncGenerator[Item, None]:
        """Give all items."""
        items = await all_items(self._session)
        if self._before is None:
            self._before = len(items)
        for item in items:
            yield item

    async def add_items(self, items: Sequence[Item]) -> None:
        """Append items, 20 at a time as a hosted session wants them; when that fails, some may be there."""
        self._added.write(items)
        self.left += len(items)
        for some in batches(items):
            await self._session.add_items(some)

    async def undo(self) -> None:
        """Pop the items, if nothing but them was added."""
        if self._before is not None and self.left:
            await self._pop(await all_items(self._session), self._before)
        is_created = self._is_created_here and not is_unused(self._session)
        if is_created and not await all_items(self._session):
            await self._session.clear_session()
        self.left = 0

    async def _pop(self, items: Sequence[Item], before: int) -> None:
        found = items[before:]
        # As many as were added are those; fewer, when the last call has failed, are told by what they say.
        if len(found) > self.left or (len(found) < self.left and not self._begins_with(found)):
            raise ForeignItemsError("others have written to the session meanwhile")
        self.left = len(found)
        for _ in found:
            await self._session.pop_item()
            self.left -= 1

    def _begins_with(self, found: Sequence[Item]) -> bool:
        """Tell whether items are the first of those that were added."""
        return all(map(same_item, chain.from_iterable(self._added.oldest_first()), found))

    def close(self) -> None:
        """Forget the items."""
        self._added.close()
