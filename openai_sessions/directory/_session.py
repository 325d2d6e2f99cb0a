"""The session of a name."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload
from weakref import WeakKeyDictionary

import anyio
from openai import AsyncOpenAI

from openai_sessions import _agents
from openai_sessions._api.client import ConversationsClient, NotFoundError
from openai_sessions._api.clients import Clients, OwnClients, PerLoop
from openai_sessions._api.retries import Outcome
from openai_sessions._arguments import checked_user_metadata
from openai_sessions._conversation.lazy import Hooks, LazyConversation, PossibleOrphan
from openai_sessions._conversation.locked import LockedConversation
from openai_sessions._conversation.metadata import own_pairs
from openai_sessions._conversation.usage import Usage, counted_run, marks_of
from openai_sessions._conversation.writing import delete_conversation
from openai_sessions._instrumentation import operation
from openai_sessions._items.types import Item, Metadata
from openai_sessions.directory._registration import Registration
from openai_sessions.directory._rows import UsageRows
from openai_sessions.directory._values import CREATION_KEY
from openai_sessions.errors import ConversationNotCreatedError, ConversationNotFoundError, UnfinishedForkError
from openai_sessions.session import OpenAIConversationsSession

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from typing_extensions import Self


class SharedClients:
    """The clients of a directory as one session uses them: with its own settings, and never closed by it.

    Args:
        opened: The clients, one for each event loop, opened when a request is to be made.
        use: Returns how the session uses one of them.
    """

    unclosed = False

    def __init__(self, opened: PerLoop[AsyncOpenAI], use: Callable[[AsyncOpenAI], Clients]) -> None:
        self._opened = opened
        self._use = use
        self._used: WeakKeyDictionary[AsyncOpenAI, Clients] = WeakKeyDictionary()

    async def client(self) -> ConversationsClient:
        """Return the client for the running event loop.

        Raises:
            openai.OpenAIError: The environment has no credentials.
        """
        client = await self._opened.get()
        if client not in self._used:
            self._used[client] = self._use(client)
        return await self._used[client].client()

    async def aclose(self) -> None:
        """Leave the clients open: they are the directory's."""


T = TypeVar("T")

logger = logging.getLogger("openai_sessions")

_DELETING = 10.0
"""Seconds that the first write waits for the deletion of a conversation that was created in vain."""


class NamedConversation(LazyConversation):
    """A conversation that follows what a directory has registered.

    It follows until another conversation is set, and again once that is cleared.

    Args:
        clients: Where the client for the running event loop comes from.
        registration: The branch of a name.
        metadata: Kept with a conversation that is created.
        hooks: What the caller plugs in. `on_created` is not told of a conversation that lost a race.
    """

    def __init__(
        self, clients: Clients, *, registration: Registration, metadata: Metadata, hooks: Hooks
    ) -> None:
        followed = registration.opened.conversation_id
        super().__init__(
            clients,
            conversation_id=followed,
            metadata=metadata,
            hooks=replace(hooks, on_created=self._claim),
        )
        self._registration = registration
        self._on_created = hooks.on_created
        self._given = metadata
        self._followed = followed
        self._creation_id: str | None = None

    async def ensure(self) -> str:
        """Return the id of the conversation that is registered; create and register one when there is none.

        Notes in the directory that the name is used.
        """
        locked = self.conversation_id
        if locked == self._followed:
            self._follow(locked, await self._registration.renew(locked))
        return await super().ensure()

    async def run(
        self,
        operation: Callable[[LockedConversation], Awaitable[T]],
        *,
        create: bool = False,
        undo: Callable[[LockedConversation, T], Awaitable[object]] | None = None,
    ) -> T | None:
        """Run an operation as a `LazyConversation` does, on the conversation that is registered.

        Where another process has cleared the one that this session had, it is run on the one that is
        registered since, if there is one or one is to be created.
        """
        while True:
            locked = self.conversation_id
            if not create and (locked is None or (locked == self._followed and self._registration.is_over)):
                self._follow(locked, await self._registration.look_up())
            try:
                return await super().run(operation, create=create, undo=undo)
            except ConversationNotFoundError as error:
                if not await self._has_moved(error.conversation_id):
                    raise

    async def delete(self) -> None:
        """Take the conversation from its name, and delete it, if there is one.

        The name is free before the deletion, which a sweep makes up for when it fails.
        """

        async def delete(locked: LockedConversation) -> None:
            locked.cancellation.has_begun = True
            await self._registration.release(locked.conversation_id, self._creation_id)
            self._follow(locked.conversation_id, None)
            await delete_conversation(locked)
            await self._registration.deleted(locked.conversation_id)
            logger.info("deleted %s", locked.conversation_id)

        await self.run(delete)

    def _follow(self, locked: str | None, found: str | None) -> None:
        """Go on with what the directory says, unless another task has meanwhile set another conversation."""
        if self.conversation_id == locked:
            if found != locked:
                self.conversation_id = found
            self._followed = found

    async def _has_moved(self, gone: str) -> bool:
        """Tell whether the directory has registered another conversation than one that is gone, or none."""
        locked = self.conversation_id
        if locked != gone or locked != self._followed:
            return locked != gone
        found = await self._registration.look_up()
        self._follow(locked, found)
        return found != gone

    async def _request_creation(self, client: ConversationsClient) -> str:
        """Ask for a conversation that carries a mark, which is noted before."""
        creation_id = await self._registration.note_creation(self._given)
        self._metadata = {**self._given, CREATION_KEY: creation_id}
        try:
            created = await super()._request_creation(client)
        except Exception as error:
            failure = client.retrier.classify(error)
            is_lost = failure is None or failure.outcome is Outcome.UNKNOWN
            await self._note_failure(creation_id, is_lost=is_lost)
            raise
        self._creation_id = creation_id
        return created

    async def _note_failure(self, creation_id: str, *, is_lost: bool) -> None:
        note = self._registration.creation_lost if is_lost else self._registration.forget_creation
        try:
            await note(creation_id)
        except Exception as error:  # noqa: BLE001 -- the failed creation is what its caller must see
            logger.warning("creation %s stays noted: %s", creation_id, type(error).__name__)

    async def _claim(self, created: str) -> None:
        """Register a conversation before its first item; give it up when the name has one already."""
        registered = await self._registration.claim(created, self._creation_id or "")
        if registered != created:
            logger.info("%s is given up for %s", created, registered)
            self._follow(created, registered)
            await self._delete_in_vain(created)
            return
        self._followed = created
        if self._on_created is not None:
            result = self._on_created(created)
            if inspect.isawaitable(result):
                await result

    async def _delete_in_vain(self, created: str) -> None:
        """Delete a conversation of which nobody else knows. When that fails, a sweep does it."""
        try:
            with anyio.fail_after(_DELETING), suppress(NotFoundError):
                client = await self._clients.client()
                await client.delete_conversation(created)
            await self._registration.deleted(created)
        except Exception as error:  # noqa: BLE001 -- the write that it happens in goes on
            logger.warning("%s is left for a sweep: %s", created, type(error).__name__)


_RESERVED_PAIRS = 3
"""Metadata pairs of this library: the directory's creation id, the usage totals, the parent of a fork."""


class NamedSession(OpenAIConversationsSession):
    """Keep an agent's memory in the conversation that a directory has registered under a name.

    Made by `SessionDirectory.session()`. It is an `OpenAIConversationsSession` in every respect, and
    - its conversation is created by the first write, and registered before its first item is written;
    - each write notes in the directory that the name is used, and goes to the conversation that is
      registered then; a read does so once the one it knows is gone;
    - `clear_session()` takes the conversation from the name before it deletes it. When the deletion
      fails, its error comes out, and the next sweep of the directory makes up for it;
    - `fork()` gives a session that has no name: `SessionDirectory.fork()` makes a branch;
    - `store_run_usage()` and its companions count in the directory, turn by turn;
    - setting `session_id` leaves the directory, until the session is cleared.

    It stands for the branch that was current when it was opened, also when the directory switches to
    another one, and for its name also when that is changed.
    """

    def __init__(
        self,
        registration: Registration,
        *,
        options: Mapping[str, Any],
        shared: PerLoop[AsyncOpenAI],
        keep_fork: Callable[[str, str | None], Awaitable[object]] | None = None,
    ) -> None:
        metadata = checked_conversation_metadata(options.get("metadata"))
        super().__init__(**{**options, "metadata": metadata})
        if isinstance(self._clients, OwnClients):
            self._clients = SharedClients(shared, self._using)
        self._registration = registration
        self._usage = UsageRows(registration.database)
        self._keep_fork = keep_fork
        self._orphaned: set[str] = set()
        self._on_orphan = options.get("on_orphan")
        self._options["on_orphan"] = self._note_orphan  # for forks
        self._conversation = NamedConversation(
            self._clients,
            registration=registration,
            metadata=metadata,
            hooks=Hooks(
                on_created=options.get("on_conversation_created"),
                on_orphan=self._on_orphan,
                lock=options.get("lock"),
            ),
        )
        _agents.register_session(NamedSession)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} name={self.name!r} branch={self.branch!r} "
            f"conversation_id={self.conversation_id!r}>"
        )

    @property
    def name(self) -> str:
        """The name, as the directory had it when the session was last opened or written to."""
        return self._registration.opened.name

    @property
    def branch(self) -> str:
        """The branch that the session stands for."""
        return self._registration.opened.branch

    def _using(self, client: AsyncOpenAI) -> Clients:
        """Return how a session with the settings of this one uses a client."""
        like_this = OpenAIConversationsSession(**{**self._options, "openai_client": client})
        return like_this._clients  # noqa: SLF001 -- what this session would have had, had it been given it

    def _sibling(self, conversation_id: str) -> Self:
        """Return a session without a name: this one's has a conversation."""
        options = {
            **self._options,
            "conversation_id": conversation_id,
            "session_settings": copy.copy(self.session_settings),
            "on_orphan": self._on_orphan,
        }
        return cast("Self", OpenAIConversationsSession(**options))

    async def _forked(self, items: Sequence[Item], metadata: Metadata) -> Self:
        """Fork as an `OpenAIConversationsSession` does, and note in the directory before that it is done."""
        checked_conversation_metadata(own_pairs(metadata))
        registration = self._registration
        creation_id = await registration.note_creation(metadata)
        try:
            fork = await super()._forked(items, {**metadata, CREATION_KEY: creation_id})
        except UnfinishedForkError as error:
            await registration.release(error.conversation_id, self._creation_to_forget(creation_id))
            raise
        except Exception:
            if self._creation_to_forget(creation_id):
                await registration.forget_creation(creation_id)
            else:
                await registration.creation_lost(creation_id)
            raise
        keep = self._keep_fork or (lambda _, creation_id: registration.forget_creation(creation_id))
        kept = self._creation_to_forget(creation_id)
        if kept is None:
            await registration.creation_lost(creation_id)
        await keep(fork.session_id, kept)
        return fork

    def _creation_to_forget(self, creation_id: str) -> str | None:
        """Return a creation, or None when the reply to one of its requests was lost: it stays noted."""
        return None if creation_id in self._orphaned else creation_id

    def _note_orphan(self, orphan: PossibleOrphan) -> None:
        self._orphaned.add((orphan.metadata or {}).get(CREATION_KEY, ""))
        if self._on_orphan is not None:
            self._on_orphan(orphan)

    _is_mirrored = True

    """Whether the metadata of the conversation has the sum of what this session has stored."""

    @operation()
    async def store_run_usage(self, result: object) -> None:
        """Add what a run has used to its turn, the newest one of the history; each run once.

        As that of `OpenAIConversationsSession`, save that nothing is lost among all processes that share
        the directory, with or without a lock. It reads the history, for the number of the turn, and writes
        the sum to the metadata of the conversation, again as long as others have added to it meanwhile.

        Args:
            result: A `RunResult` or `RunResultStreaming` of the Agents SDK. When its usage is None or zero,
                nothing is done.

        Raises:
            TypeError: It is not the result of a run. Nothing was stored.
            ConversationNotCreatedError: The session is unused, or was cleared since the run.
            MetadataFullError: The conversation has 16 pairs of metadata already. The usage is stored in the
                directory.
            openai.OpenAIError: A request failed. Call it again with the same result: it is counted once.
            sqlalchemy.exc.SQLAlchemyError: The database failed: it may or may not be stored.
        """
        total = Usage.of_run(result)
        if total is None or total == Usage():
            return
        if self.conversation_id is None:
            raise ConversationNotCreatedError
        opened = self._registration.opened
        counted = counted_run(marks_of(result), f"{opened.entry_id}/{opened.branch}/{self.session_id}")
        before, since = counted.seen, total.since(counted.seen)
        if since != Usage():
            counted.seen = total
            try:
                await self._add(since)
            except BaseException:
                counted.seen = before
                raise
        if not self._is_mirrored:
            await self._mirror()

    @operation()
    async def get_session_usage(self) -> Usage | None:
        """Return what all turns have used, from the directory; None when nothing was counted.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database cannot be read.
        """
        return await self._usage.total(self._registration.opened)

    @operation()
    async def set_session_usage(self, usage: Usage) -> None:
        """Put a total in the place of what the turns have used; it is turn 0 from now on.

        Raises:
            TypeError: It is no `Usage`. Nothing was changed.
            ConversationNotCreatedError: The session is unused.
            openai.OpenAIError: The metadata of the conversation could not be written. Call it again.
        """
        if not isinstance(usage, Usage):
            raise TypeError(f"usage is an openai_sessions.Usage, not {type(usage).__name__}")
        if self.conversation_id is None or not await self._usage.replace(self._registration.opened, usage):
            raise ConversationNotCreatedError
        await self._mirror()

    @overload
    async def get_turn_usage(self, turn: None = None) -> dict[int, Usage]: ...

    @overload
    async def get_turn_usage(self, turn: int) -> Usage | None: ...

    @operation()
    async def get_turn_usage(self, turn: int | None = None) -> dict[int, Usage] | Usage | None:
        """Return what each turn has used, by its number; or one turn, None when nothing was counted for it.

        Args:
            turn: A number, as `turns()` gives it; None for all turns.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database cannot be read.
        """
        used = await self._usage.by_turn(self._registration.opened)
        return used if turn is None else used.get(turn)

    async def _add(self, used: Usage) -> None:
        turns = await self.turns(last=1)
        if not await self._usage.add(self._registration.opened, turns[-1].number if turns else 0, used):
            raise ConversationNotCreatedError
        self._is_mirrored = False

    async def _mirror(self) -> None:
        """Write the sum to the metadata of the conversation: the last one who writes has the newest."""
        self._is_mirrored = False
        written: Usage | None = None
        while (total := await self._usage.total(self._registration.opened)) != written and total is not None:
            await super().set_session_usage(total)
            written = total
        self._is_mirrored = True


def checked_conversation_metadata(value: object) -> dict[str, str]:
    """Return metadata for a conversation of the directory, which leaves room for this library's pairs.

    Raises:
        TypeError: It is not a mapping of strings to strings.
        ValueError: It is over a limit of the API, or has a reserved key.
    """
    return checked_user_metadata(value, reserved=_RESERVED_PAIRS)
