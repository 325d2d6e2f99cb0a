"""The session of a name: its conversation is found in the directory, or created and registered there."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload
from weakref import WeakKeyDictionary

import anyio

from openai_sessions._api.client import ConversationsClient
from openai_sessions._api.clients import Clients, PerLoop, clients_for
from openai_sessions._api.retries import Outcome
from openai_sessions._arguments import checked_user_metadata
from openai_sessions._conversation.lazy import Hooks, LazyConversation, PossibleOrphan
from openai_sessions._conversation.locked import LockedConversation
from openai_sessions._conversation.metadata import own_pairs
from openai_sessions._conversation.reading import read_newest_page
from openai_sessions._conversation.usage import Usage, counted_run, marks_of
from openai_sessions._conversation.writing import Progress
from openai_sessions._instrumentation import not_a_part, operation
from openai_sessions._items.forms import to_replay
from openai_sessions._items.turns import count_ended, turn_starts
from openai_sessions._items.types import Item, Metadata
from openai_sessions.directory._database import MAX_NAME
from openai_sessions.directory._registration import Registration
from openai_sessions.directory._rows import UsageRows
from openai_sessions.directory._values import CREATION_KEY, TitleWriter, checked_name
from openai_sessions.errors import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    UnfinishedForkError,
    UserMismatchError,
)
from openai_sessions.session import OpenAIConversationsSession, SessionOptions

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from typing_extensions import Self, TypeVarTuple, Unpack

    Arguments = TypeVarTuple("Arguments")

T = TypeVar("T")

logger = logging.getLogger("openai_sessions")

_DELETING = 10.0
"""Maximum seconds that the first write waits for the deletion of a conversation that lost a race."""

_RESERVED_PAIRS = 3
"""Metadata pairs of this library: the directory's creation id, the usage totals, the parent of a fork."""


KeepFork = Callable[[str, "str | None", int], Awaitable[object]]
"""Called with the conversation of a fork, the record of its creation, and the number of its turns."""


class NamedSession(OpenAIConversationsSession):
    """Keep an agent's memory in the conversation that a directory has registered under a name.

    Made by `SessionDirectory.session()`. It is an `OpenAIConversationsSession`, and
    - its conversation is created by the first write, and registered before its first item is written;
    - each write records in the directory that the name is used, and goes to the conversation registered at
      that time; a read does so once the conversation it knows is gone;
    - `clear_session()` releases the name before it deletes the items and the conversation; without the items
      if called with `purge_items=False`. If a deletion fails, its error is raised, and the next sweep of the
      directory deletes the conversation;
    - each write that ends with an answer of the assistant, and each answer of a model that stores it itself,
      counts as a turn in the directory, and the first may give the name a title: see `SessionDirectory`. A
      failure of that is logged. A cancellation meanwhile propagates, and the items stay stored;
    - `fork()` returns a session without a name: `SessionDirectory.fork()` makes a branch;
    - `store_run_usage()`, `get_session_usage()` and `set_session_usage()` count in the directory, by turn;
    - setting `session_id` leaves the directory, until the session is cleared.

    It belongs to the branch that was current when it was opened, even if the directory switches to another
    one, and to its name even if that is changed. Once its name has expired or was forgotten, and was created
    for another user, its operations raise `UserMismatchError`.
    """

    _is_mirrored = True
    """Whether the metadata of the conversation has the sum of the usage that this session has stored."""

    def __init__(
        self,
        registration: Registration,
        *,
        options: SessionOptions,
        shared: PerLoop[AsyncOpenAI],
        keep_fork: KeepFork | None = None,
        title_with: TitleWriter | None = None,
    ) -> None:
        metadata = checked_conversation_metadata(options.metadata)
        if options.openai_client is None:
            clients: Clients = SharedClients(shared, options)
        else:
            clients = clients_for(options.openai_client, options.requests, options.include)
        conversation = NamedConversation(
            clients, registration=registration, metadata=metadata, hooks=options.hooks
        )
        self._set_up(replace(options, metadata=metadata), clients, conversation)
        self._registration = registration
        self._usage = UsageRows(registration.database)
        self._keep_fork = keep_fork
        self._title_with = title_with
        self._orphaned: set[str] = set()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} name={self.name!r} branch={self.branch!r} "
            f"conversation_id={self.conversation_id!r}>"
        )

    @property
    def name(self) -> str:
        """The name, as in the directory when the session was last opened or written to."""
        return self._registration.opened.name

    @property
    def user(self) -> str | None:
        """The owner of the name, as in the directory when the session was last opened or written to."""
        return self._registration.opened.user

    @property
    def branch(self) -> str:
        """The branch to which the session belongs."""
        return self._registration.opened.branch

    @operation()
    async def store_run_usage(self, result: object, *, model: str | None = None) -> None:
        """Add the usage of a run, or of a response, to its turn, the newest one of the history; each once.

        If the name has a user, it also records the ids of the responses, which `SessionDirectory.erase()`
        deletes.

        As in `OpenAIConversationsSession`, but nothing is lost among processes that share the directory, with
        or without a lock. It reads the history, for the number of the turn, and writes the sum to the
        metadata of the conversation, again while others add to it.

        Args:
            result: A `RunResult` or `RunResultStreaming` of the Agents SDK, or a `Response` of openai. If its
                usage is None or zero, nothing is done.
            model: The model of all its requests; None to take them from the result: see `Usage.of_run`.

        Raises:
            TypeError: It is not the result of a run or a response, or the model is not a string. Nothing was
                stored.
            ValueError: The model is empty, longer than 100 characters or not printable. Nothing was stored.
            ConversationNotCreatedError: The session is unused, or was cleared since the run.
            MetadataFullError: The conversation has 16 pairs of metadata already. The usage is stored in the
                directory.
            openai.OpenAIError: A request failed. Call it again with the same result: it is counted once.
            sqlalchemy.exc.SQLAlchemyError: The database failed: it may or may not be stored.
        """
        total = Usage.of_run(result, model=model)
        await self._registration.note_responses(_response_ids(result))
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
        """Return the usage of all turns, from the directory; None if nothing was counted.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database cannot be read.
        """
        return await self._usage.total(self._registration.opened)

    @operation()
    async def set_session_usage(self, usage: Usage) -> None:
        """Replace the usage of all turns by a total, as that of turn 0.

        Raises:
            TypeError: It is not a `Usage`. Nothing was changed.
            ValueError: One of its numbers is negative or not a whole number, or its models do not fit its
                total. Nothing was changed.
            ConversationNotCreatedError: The session is unused.
            openai.OpenAIError: The metadata of the conversation could not be written. Call it again.
        """
        if not isinstance(usage, Usage):
            raise TypeError(f"usage must be an openai_sessions.Usage, not {type(usage).__name__}")
        usage.check()
        if self.conversation_id is None or not await self._usage.replace(self._registration.opened, usage):
            raise ConversationNotCreatedError
        await self._mirror()

    @overload
    async def get_turn_usage(self, turn: None = None) -> dict[int, Usage]: ...

    @overload
    async def get_turn_usage(self, turn: int) -> Usage | None: ...

    @operation()
    async def get_turn_usage(self, turn: int | None = None) -> dict[int, Usage] | Usage | None:
        """Return the usage of each turn, by its number; or of one turn, None if nothing was counted for it.

        Args:
            turn: A number, as in `turns()`; None for all turns.

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
        """Write the sum to the metadata of the conversation: the last writer has the newest sum."""
        self._is_mirrored = False
        written: Usage | None = None
        while (total := await self._usage.total(self._registration.opened)) != written and total is not None:
            await super().set_session_usage(total)
            written = total
        self._is_mirrored = True

    async def _turn_ended(self) -> None:
        """Count a turn, and give its name a title if it has none; log a failure, as the turn is stored."""
        conversation_id, title_with = self.conversation_id, self._title_with
        if conversation_id is None:
            return
        try:
            is_asked = await self._registration.count_turn(
                conversation_id, asks_for_title=title_with is not None
            )
            if is_asked and title_with is not None:
                title = await _title_of(await self._newest_turn(conversation_id), title_with)
                if title is not None:
                    await self._registration.add_title(conversation_id, title)
        except Exception as error:  # noqa: BLE001 -- whatever it was, the turn is stored
            logger.warning(
                "%s has no title, or a turn is not counted: %s", conversation_id, type(error).__name__
            )

    async def _newest_turn(self, conversation_id: str) -> list[Item]:
        """Return the newest turn in replay form, as far as it is on the newest page, in one request."""
        items, is_all = await read_newest_page(await self._clients.client(), conversation_id)
        starts = turn_starts(items, is_all=is_all)
        return to_replay(items[starts[0][0] if starts else 0 :])

    def _sibling(self, conversation_id: str) -> Self:
        """Return a session without a name: the conversation of this one keeps the name."""
        options = replace(self._options, session_settings=copy.copy(self.session_settings))
        sibling = OpenAIConversationsSession(conversation_id=conversation_id, **options.as_arguments())
        return cast("Self", sibling)

    async def _forked(self, items: Sequence[Item], metadata: Metadata) -> Self:
        """Fork as an `OpenAIConversationsSession` does, and record it in the directory before."""
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
        keep = self._keep_fork or (lambda _, creation_id, __: registration.forget_creation(creation_id))
        kept = self._creation_to_forget(creation_id)
        if kept is None:
            await registration.creation_lost(creation_id)
        await keep(fork.session_id, kept, count_ended(items))
        return fork

    def _fork_hooks(self) -> Hooks:
        return replace(super()._fork_hooks(), on_orphan=self._note_orphan)

    def _creation_to_forget(self, creation_id: str) -> str | None:
        """Return a creation, or None if the reply to one of its requests was lost: it stays recorded."""
        return None if creation_id in self._orphaned else creation_id

    def _note_orphan(self, orphan: PossibleOrphan) -> None:
        self._orphaned.add((orphan.metadata or {}).get(CREATION_KEY, ""))
        if self._options.on_orphan is not None:
            self._options.on_orphan(orphan)


async def _title_of(items: list[Item], title_with: TitleWriter) -> str | None:
    """Return the title that a caller's function gives to items, cut to what fits; None for none.

    Raises:
        Exception: The function failed, or returned something else.
    """
    with not_a_part():
        title = title_with(items)
        if inspect.isawaitable(title):
            title = await title
    if title is None or not title.strip():
        return None
    return checked_name(title.strip()[:MAX_NAME], "title")


def _response_ids(result: object) -> list[str]:
    """Return the ids of the responses of a run, or of a response."""
    ids = [getattr(each, "response_id", None) for each in getattr(result, "raw_responses", None) or ()]
    return [each for each in (*ids, getattr(result, "id", None)) if isinstance(each, str)]


class NamedConversation(LazyConversation):
    """A conversation that follows the registration of a name.

    It stops following when another conversation is set, and follows again once that one is cleared.

    Args:
        clients: The source of the client for the running event loop.
        registration: The branch of a name.
        metadata: The metadata of a new conversation.
        hooks: The caller's callbacks and lock. `on_created` is not called for a conversation that lost a
            race.
    """

    purges_items = True

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
        """Return the id of the registered conversation; create and register one if there is none.

        Records the use of the name in the directory.
        """
        current = self.conversation_id
        if current == self._followed:
            self._follow(current, await self._registration.renew(current))
        return await super().ensure()

    async def run(
        self,
        operation: Callable[[LockedConversation, Unpack[Arguments]], Coroutine[Any, Any, T]],
        *args: Unpack[Arguments],
        create: bool = False,
        undo: Callable[[LockedConversation, T], Coroutine[Any, Any, object]] | None = None,
    ) -> T | None:
        """Run an operation as a `LazyConversation` does, on the registered conversation.

        If another process has cleared the one that this session had, the operation runs on the one registered
        since, if there is one or one is to be created.
        """
        while True:
            current = self.conversation_id
            if not create and (current is None or (current == self._followed and self._registration.is_over)):
                self._follow(current, await self._registration.look_up())
            try:
                return await super().run(operation, *args, create=create, undo=undo)
            except ConversationNotFoundError as error:
                if not await self._has_moved(error.conversation_id):
                    raise

    async def delete_locked(
        self,
        locked: LockedConversation,
        *,
        purge_items: bool | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        """Release the name, and delete the conversation; if that fails, the next sweep does it."""
        locked.cancellation.has_begun = True
        await self._registration.release(locked.conversation_id, self._creation_id)
        self._follow(locked.conversation_id, None)
        await self._delete(locked, purge_items=purge_items, on_progress=on_progress)
        await self._registration.deleted(locked.conversation_id)

    def _follow(self, current: str | None, found: str | None) -> None:
        """Switch to the registered conversation, unless another task has set a conversation meanwhile."""
        if self.conversation_id == current:
            if found != current:
                self.conversation_id = found
            self._followed = found

    async def _has_moved(self, gone: str) -> bool:
        """Return whether another conversation, or none, is registered instead of one that is gone."""
        current = self.conversation_id
        if current != gone or current != self._followed:
            return current != gone
        found = await self._registration.look_up()
        self._follow(current, found)
        return found != gone

    async def _create_once(self, client: ConversationsClient) -> str:
        """Create a conversation with a mark in its metadata, which is recorded before the request."""
        creation_id = await self._registration.note_creation(self._given)
        self._metadata = {**self._given, CREATION_KEY: creation_id}
        try:
            created = await super()._create_once(client)
        except Exception as error:
            failure = client.retries.classify(error)
            is_lost = failure is None or failure.outcome is Outcome.UNKNOWN
            await self._note_failure(creation_id, is_lost=is_lost)
            raise
        self._creation_id = creation_id
        return created

    async def _note_failure(self, creation_id: str, *, is_lost: bool) -> None:
        note = self._registration.creation_lost if is_lost else self._registration.forget_creation
        try:
            await note(creation_id)
        except Exception as error:  # noqa: BLE001 -- the caller must see why the creation failed
            logger.warning("creation %s stays recorded: %s", creation_id, type(error).__name__)

    async def _claim(self, created: str) -> None:
        """Register a conversation before its first item; give it up if the name has one already.

        Raises:
            UserMismatchError: The name belongs to another user since it was opened.
        """
        try:
            registered = await self._registration.claim(created, self._creation_id or "")
        except UserMismatchError:
            self._follow(created, None)
            await self._delete_loser(created)
            raise
        if registered != created:
            logger.info("%s was registered first: deleting %s", registered, created)
            self._follow(created, registered)
            await self._delete_loser(created)
            return
        self._followed = created
        if self._on_created is not None:
            result = self._on_created(created)
            if inspect.isawaitable(result):
                await result

    async def _delete_loser(self, created: str) -> None:
        """Delete a conversation that nobody else knows. If that fails, a sweep does it."""
        try:
            with anyio.fail_after(_DELETING):
                client = await self._clients.client()
                await client.delete_conversation(created)
            await self._registration.deleted(created)
        except Exception as error:  # noqa: BLE001 -- the write goes on
            logger.warning("%s is left for a sweep: %s", created, type(error).__name__)


class SharedClients:
    """The clients of a directory, as one session uses them: with its own settings, and never closed by it.

    Args:
        opened: The clients, one for each event loop, opened when a request is sent.
        options: The options of the session.
    """

    unclosed = False
    given = None

    def __init__(self, opened: PerLoop[AsyncOpenAI], options: SessionOptions) -> None:
        self._opened = opened
        self._options = options
        self._used: WeakKeyDictionary[AsyncOpenAI, Clients] = WeakKeyDictionary()

    async def client(self) -> ConversationsClient:
        """Return the client for the running event loop.

        Raises:
            openai.OpenAIError: The environment has no credentials.
        """
        client = await self._opened.get()
        if client not in self._used:
            self._used[client] = clients_for(client, self._options.requests, self._options.include)
        return await self._used[client].client()

    async def aclose(self) -> None:
        """Leave the clients open: the directory closes them."""


def checked_conversation_metadata(value: object) -> dict[str, str]:
    """Return metadata for a conversation of the directory, which leaves room for this library's pairs.

    Raises:
        TypeError: It is not a mapping of strings to strings.
        ValueError: It is over a limit of the API, or has a reserved key.
    """
    return checked_user_metadata(value, reserved=_RESERVED_PAIRS)
