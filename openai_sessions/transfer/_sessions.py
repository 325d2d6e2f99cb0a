"""Sources and targets of a transfer: this library's hosted session, and any other session."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import astuple, dataclass
from functools import partial
from itertools import chain
from typing import IO, Any, Protocol, TypeAlias, cast

from openai_sessions._arguments import (
    EVERY_ITEM,
    MAX_ITEMS_PER_REQUEST,
    MAX_REQUEST_BYTES,
    SESSION_METHODS,
    missing_methods,
)
from openai_sessions._conversation.iterating import whole_until
from openai_sessions._conversation.lazy import LazyConversation
from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._conversation.writing import append_items, delete_appended
from openai_sessions._instrumentation import operation
from openai_sessions._items.forms import plain_item, same_item, sent_form, to_replay, to_stored
from openai_sessions._items.turns import batches
from openai_sessions._items.types import Item
from openai_sessions.errors import ConversationNotFoundError, SessionError, UnsettledWriteError
from openai_sessions.session import OpenAIConversationsSession

Progress: TypeAlias = Callable[[int, "int | None"], object]
"""Called with the number of items done and the total, or None while the total is unknown."""

BATCH = 100
"""About how many items are read and written at once."""

_HOSTED_OF_SDK = "agents.memory.openai_conversations_session"
"""The module of the SDK's hosted session: older versions send any limit to the API, which allows 100."""

_IN_MEMORY = 1 << 20
"""Bytes of a journal that are kept in memory."""


@dataclass(frozen=True, slots=True)
class TransferReport:
    """The number of items that were written, already there, skipped, and stored incompletely.

    Attributes:
        copied: Items that were written.
        already_there: Items that the target already contained, from an interrupted copy.
        skipped: Items that were left out: reasoning that the API cannot store, or cannot return without the
            item that followed it.
        without_provider_data: Items of the source whose `provider_data` the target did not keep. The API
            cannot store it; most other sessions can.
    """

    copied: int = 0
    already_there: int = 0
    skipped: int = 0
    without_provider_data: int = 0

    def __add__(self, other: TransferReport) -> TransferReport:
        return TransferReport(*map(sum, zip(astuple(self), astuple(other), strict=True)))


class AnySession(Protocol):
    """The Agents SDK's session protocol."""

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
    """Check that an argument has the methods of a session.

    Raises:
        TypeError: It lacks one of them.
    """
    if isinstance(value, type) or missing_methods(value):
        raise TypeError(
            f"{name} must be a session, an object with {', '.join(SESSION_METHODS)}, not {value!r}. "
            "For a conversation, pass OpenAIConversationsSession(conversation_id=…)"
        )


def innermost(session: Any) -> Any:
    """Return the session inside all wrappers."""
    while (underlying := getattr(session, "underlying_session", None)) is not None:
        session = underlying
    return session


def id_of(session: object) -> str | None:
    """Return the id of a session, or None if it has none yet."""
    try:
        return getattr(session, "session_id", None)
    except ValueError:  # raised by the Agents SDK's hosted session
        return None


def _is_unused(session: object) -> bool:
    """Return whether a session, or the one that it wraps, has no id because nothing was written to it."""
    return id_of(innermost(session)) is None


class Source(Protocol):
    """Items that can be read any number of times."""

    @property
    def total(self) -> int | None:
        """The number of items, if it is known."""
        ...

    def read(self) -> AsyncGenerator[Item, None]:
        """Yield all items, oldest first."""
        ...


class SessionSource:
    """The items of a session: read page by page if it has `iterate_items`, otherwise all at once."""

    def __init__(self, session: AnySession) -> None:
        self._session = session
        self.total: int | None = None

    async def read(self) -> AsyncGenerator[Item, None]:
        """Yield all items, oldest first.

        Raises:
            TypeError: It is a synchronous session.
            InvalidItemError: An item is not JSON.
        """
        # Looked up on the class: a wrapper may delegate missing attributes to the session that it wraps.
        iterate = getattr(type(self._session), "iterate_items", None)
        if iterate is not None:
            iterated = iterate(self._session)
            if not hasattr(iterated, "__aiter__"):
                raise _synchronous(self._session)
            async with aclosing(iterated) as items:
                async for item in items:
                    yield item
            return
        found = await _all_items(self._session)
        self.total = len(found)
        for item in found:
            yield item


async def _all_items(session: AnySession) -> list[Item]:
    """Return all items of a session, past the limit of its settings and what a session under it leaves out.

    Raises:
        TypeError: It is a synchronous session.
        InvalidItemError: An item is not JSON.
    """
    limit = getattr(getattr(session, "session_settings", None), "limit", None)
    is_hosted_of_sdk = any(each.__module__ == _HOSTED_OF_SDK for each in type(innermost(session)).__mro__)
    found = session.get_items(None if limit is None and is_hosted_of_sdk else EVERY_ITEM)
    if not inspect.isawaitable(found):
        raise _synchronous(session)
    return [_as_dict(index, item) for index, item in enumerate(await found)]


def _synchronous(session: object) -> TypeError:
    return TypeError(
        f"{type(session).__name__} is a synchronous session, whose methods cannot be awaited: pass an async "
        "session of the same history"
    )


def _as_dict(index: int, item: object) -> Item:
    """Return an item unchanged, or the JSON form of an SDK object."""
    return item if isinstance(item, dict) else plain_item(index, item)


async def in_batches(items: AsyncIterable[Item]) -> AsyncGenerator[list[Item], None]:
    """Yield items in lists of about a hundred, keeping reasoning together with the item that follows it."""
    waiting: list[Item] = []
    async for item in items:
        waiting.append(item)
        if len(waiting) >= BATCH and (end := whole_until(waiting)):
            yield waiting[:end]
            del waiting[:end]
    if waiting:
        yield waiting


class Target(Protocol):
    """A session that items are written to.

    Attributes:
        left: The number of written items that are not removed again, at most.
    """

    left: int

    @property
    def session_id(self) -> str | None:
        """The id of the session, or None."""
        ...

    def check(self, item: Item) -> None:
        """Check that an item can be stored.

        Raises:
            InvalidItemError: The item can never be stored.
        """
        ...

    def storable(self, items: Sequence[Item]) -> list[Item]:
        """Return those of some consecutive items that the session can keep.

        Raises:
            InvalidItemError: An item can never be stored.
        """
        ...

    def read(self) -> AsyncGenerator[Item, None]:
        """Yield all items, oldest first."""
        ...

    async def add_items(self, items: Sequence[Item]) -> None:
        """Append items."""
        ...

    async def undo(self) -> None:
        """Remove the added items, newest first, and the conversation if it was created for them.

        Raises:
            Exception: Some items are left.
        """
        ...

    def close(self) -> None:
        """Release what undoing needs."""
        ...


def target_of(session: AnySession) -> Target:
    """Return a target that writes to a session."""
    if isinstance(session, OpenAIConversationsSession):
        return HostedTarget(session)
    return OtherTarget(session)


class HostedTarget:
    """A conversation hosted by OpenAI: added items are known by their ids."""

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
        """The same id, as observers of operations read it."""
        return self._session.conversation_id

    def check(self, item: Item) -> None:
        """Raise `InvalidItemError` if the API can never store an item."""
        to_stored([item])

    def storable(self, items: Sequence[Item]) -> list[Item]:
        """Return all items except reasoning that the API cannot store, or cannot return by itself."""
        return to_replay(to_stored(items), form=sent_form)

    async def read(self) -> AsyncGenerator[Item, None]:
        """Yield all items, page by page."""
        async with aclosing(self._session.iterate_items()) as items:
            async for item in items:
                yield dict(item)

    @operation(takes="items")
    async def add_items(self, items: Sequence[Item]) -> None:
        """Append items: all or none."""
        append = partial(append_items, items=items)
        try:
            stored = await self._conversation.run(append, create=True, undo=delete_appended)
        except UnsettledWriteError as error:
            self.left += len(error.stored_ids) + len(error.unknown)
            raise
        self.left += len(items)
        self._added.write(stored.ids if stored else [])

    @operation()
    async def undo(self) -> None:
        """Delete the added items by their ids, and the new conversation unless others wrote to it."""
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
    """Any other session: added items are popped again, unless others have written to it."""

    def __init__(self, session: AnySession) -> None:
        self._session = session
        self._is_created_here = _is_unused(session)
        self._before: int | None = None
        self._added = Journal()
        self.left = 0

    @property
    def session_id(self) -> str | None:
        """The id of the session, or None."""
        return id_of(self._session)

    def check(self, item: Item) -> None:
        """Do nothing: which items such a session refuses is unknown."""

    def storable(self, items: Sequence[Item]) -> list[Item]:
        """Return all items."""
        return list(items)

    async def read(self) -> AsyncGenerator[Item, None]:
        """Yield all items."""
        items = await _all_items(self._session)
        if self._before is None:
            self._before = len(items)
        for item in items:
            yield item

    async def add_items(self, items: Sequence[Item]) -> None:
        """Append items, 20 per call as a hosted session requires; a failed call may leave some of them."""
        self._added.write(items)
        self.left += len(items)
        for batch in batches(items, MAX_ITEMS_PER_REQUEST, MAX_REQUEST_BYTES):
            await self._session.add_items(batch)

    async def undo(self) -> None:
        """Pop the added items, if no others were added."""
        if self._before is not None and self.left:
            await self._pop(await _all_items(self._session), self._before)
        is_created = self._is_created_here and not _is_unused(self._session)
        if is_created and not await _all_items(self._session):
            await self._session.clear_session()
        self.left = 0

    async def _pop(self, items: Sequence[Item], before: int) -> None:
        found = items[before:]
        # Equal numbers mean that these are our items; fewer, after a failed call, are compared by content.
        if len(found) > self.left or (len(found) < self.left and not self._starts_with(found)):
            raise SessionError("the session cannot be undone by popping: others have written to it")
        self.left = len(found)
        for _ in found:
            await self._session.pop_item()
            self.left -= 1

    def _starts_with(self, found: Sequence[Item]) -> bool:
        """Return whether the added items start with these."""
        return all(map(same_item, chain.from_iterable(self._added.oldest_first()), found))

    def close(self) -> None:
        """Forget the items."""
        self._added.close()


class Journal:
    """Lists of JSON values in a temporary file, readable from either end."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._starts: list[int] = []

    def write(self, values: Sequence[Any]) -> None:
        """Append a list."""
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
        """Yield the lists in reverse order."""
        return map(self._read, reversed(self._starts))

    def close(self) -> None:
        """Delete the file."""
        if self._file is not None:
            self._file.close()

    def _read(self, start: int) -> list[Any]:
        file = cast("IO[bytes]", self._file)
        file.seek(start)
        return list(json.loads(file.readline()))
