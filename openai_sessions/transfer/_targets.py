"""Where items go to, and how what was written is removed again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from itertools import chain
from typing import Protocol

from openai_sessions._holding import Held
from openai_sessions._items import to_replay, to_stored
from openai_sessions._lazy_conversation import LazyConversation
from openai_sessions._operations import operation
from openai_sessions._planning import batches
from openai_sessions._same_item import same_item
from openai_sessions._settling import settle_all
from openai_sessions._types import Item
from openai_sessions._writing import append_items, delete_appended
from openai_sessions.errors import ConversationNotFoundError
from openai_sessions.session import OpenAIConversationsSession
from openai_sessions.transfer._journal import Journal
from openai_sessions.transfer._sources import AnySession, all_items, innermost


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

    async def _delete(self, held: Held, ids: Sequence[str]) -> None:
        await settle_all(held)
        await held.delete(ids, on_deleted=self._count)

    def _count(self, _: str) -> None:
        self.left -= 1

    def close(self) -> None:
        """Forget the ids."""
        self._added.close()


async def _is_empty(held: Held) -> bool:
    await settle_all(held)
    return not await held.newest(1)


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
