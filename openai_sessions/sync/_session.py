"""The synchronous session, and the async session that does its work."""

from __future__ import annotations

import asyncio
import inspect
import os
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, cast, overload
from weakref import WeakSet

from openai import OpenAI

from openai_sessions import server_managed as server_managed_turns
from openai_sessions import session
from openai_sessions import turn as turns
from openai_sessions._api.clients import Clients, RequestSettings
from openai_sessions._api.responses import guarded_sync_client
from openai_sessions._arguments import refuse_positional
from openai_sessions._conversation.compacting import CompactedHistory, Compaction
from openai_sessions._conversation.forking import ForkParent
from openai_sessions._conversation.lazy import PossibleOrphan
from openai_sessions._conversation.locked import Settlement
from openai_sessions._conversation.locks import ConversationLock
from openai_sessions._conversation.newest_turns import HistoryLimits
from openai_sessions._conversation.repairing import DeletedItems, ReplacedItems
from openai_sessions._conversation.responding import ResponseGuard
from openai_sessions._conversation.usage import Usage
from openai_sessions._conversation.writing import Progress
from openai_sessions._items.repairs import RepairReport
from openai_sessions._items.turns import Turn
from openai_sessions._items.types import ConversationCallback, CountTokens, Metadata, RunItem
from openai_sessions.reading import ReadingFilter
from openai_sessions.sync._background import background_loop
from openai_sessions.tokens import ServerTokens

if TYPE_CHECKING:
    from types import TracebackType

    from agents import RunConfig, SessionSettings
    from openai import AsyncOpenAI
    from openai.types.responses import ResponseInputItemParam
    from pydantic import BaseModel
    from typing_extensions import Never, Self

T = TypeVar("T")

_ITERATION_BATCH = 50
"""The number of items that an iteration fetches from the background loop at once."""

_sessions: WeakSet[OpenAIConversationsSession] = WeakSet()
"""The registry of the process: its sync sessions, which continue in a forked child."""


class OpenAIConversationsSession:
    """Keep an agent's memory in a conversation hosted by OpenAI, without async.

    Has the arguments, methods and properties of `openai_sessions.OpenAIConversationsSession`, where they are
    documented; methods return when they are done, and raise the same errors. `close()` replaces `aclose()`,
    and a `with` block replaces `async with`.

    Operations run on one event loop per process, in a daemon thread that the first use starts. Any number of
    threads may use one session or many. A session may be used while an event loop is running, as in a
    notebook, and blocks that loop meanwhile.

    KeyboardInterrupt or another external exception cancels the operation, and propagates once that is undone,
    as in async code; a second one does not wait. The same applies to a daemon thread that waits when the
    program ends. After `os.fork()` a session continues in the child, on the child's own loop and clients; a
    given client serves the parent only.

    Args:
        conversation_id: See the async class, as for all arguments without a description here.
        openai_client: An `AsyncOpenAI`, which is used on the background loop and must not be used elsewhere.
        session_settings: See the async class.
        metadata: See the async class.
        include: See the async class.
        history: See the async class.
        history_limits: See the async class. `count_tokens` is called on the background loop.
        reading: See the async class. The filters are called on the background loop.
        compact_when: See the async class. `count_tokens` is called on the background loop.
        requests: See the async class. `on_retry` is called on the background loop.
        on_conversation_created: Called in its own thread, where it may block, and use the session; a
            coroutine function runs on the background loop.
        on_orphan: Called on the background loop: it should return quickly, and not use a sync session.
        lock: Its async context manager is entered on the background loop.

    Raises:
        TypeError: An argument is of the wrong type, such as a synchronous client.
        InvalidConversationIdError, ValueError: As for the async class.
    """

    def __init__(  # noqa: PLR0913 -- the arguments of the async class
        self,
        *positional: Never,
        conversation_id: str | None = None,
        openai_client: AsyncOpenAI | None = None,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
        metadata: Metadata | None = None,
        include: Sequence[str] = (),
        history: Literal["full", "incremental"] = "full",
        history_limits: HistoryLimits | None = None,
        reading: Sequence[ReadingFilter] = (),
        compact_when: Compaction | None = None,
        requests: RequestSettings | None = None,
        on_conversation_created: ConversationCallback | None = None,
        on_orphan: Callable[[PossibleOrphan], object] | None = None,
        lock: ConversationLock | None = None,
    ) -> None:
        refuse_positional(type(self).__name__, positional)
        if isinstance(openai_client, OpenAI):
            raise TypeError(
                "openai_client must be an AsyncOpenAI for a sync session too, because it is used on a "
                "background event loop: pass openai.AsyncOpenAI(…) with the same arguments, or omit it."
            )
        self._attach(
            _Async(
                conversation_id=conversation_id,
                openai_client=openai_client,
                session_settings=session_settings,
                metadata=metadata,
                include=include,
                history=history,
                history_limits=history_limits,
                reading=reading,
                compact_when=compact_when,
                requests=requests,
                on_conversation_created=_in_thread(on_conversation_created),
                on_orphan=on_orphan,
                lock=lock,
            )
        )

    def _attach(self, async_session: _Async) -> None:
        self._async = async_session
        _sessions.add(self)

    if TYPE_CHECKING:
        # Attributes for type checkers, as in the async class; properties below.
        session_id: str
        session_settings: SessionSettings | None
    else:

        @property
        def session_id(self) -> str:
            """The id of the conversation. Setting it resumes another conversation.

            Raises:
                ConversationNotCreatedError: The session is unused; a ValueError and AttributeError.
                InvalidConversationIdError: The new id cannot be that of a conversation.
            """
            return self._async.session_id

        @session_id.setter
        def session_id(self, value: str) -> None:
            self._async.session_id = value

        @property
        def session_settings(self) -> SessionSettings:
            """The settings, whose `limit` applies to reads without a limit."""
            return self._async.session_settings

        @session_settings.setter
        def session_settings(self, value: SessionSettings | Mapping[str, Any] | None) -> None:
            self._async.session_settings = value

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, or None while there is none."""
        return self._async.conversation_id

    @property
    def unsettled(self) -> tuple[dict[str, Any], ...]:
        """The receipts of failed writes that are not undone yet."""
        return self._async.unsettled

    def get_items(
        self,
        limit: int | None = None,
        *,
        turns: int | None = None,
        max_tokens: int | None = None,
        count_tokens: CountTokens | ServerTokens | None = None,
    ) -> list[ResponseInputItemParam]:
        """Return the history, oldest first, ready to be sent to a model."""
        return self._run(
            lambda session: session.get_items(
                limit, turns=turns, max_tokens=max_tokens, count_tokens=count_tokens
            )
        )

    def iterate_items(self, *, after: str | None = None) -> Iterator[ResponseInputItemParam]:
        """Yield the history item by item, oldest first, in memory that does not grow with it."""
        items = self._async.iterate_items(after=after)
        while True:
            batch, error = background_loop().run(lambda: _next_batch(items))
            yield from batch
            if error is not None:
                raise error
            if len(batch) < _ITERATION_BATCH:
                return

    def add_items(
        self, items: Sequence[ResponseInputItemParam | Mapping[str, Any] | BaseModel | RunItem]
    ) -> None:
        """Append items to the history: all of them, in order, once; or none."""
        self._run(lambda session: session.add_items(items))

    def pop_item(self) -> ResponseInputItemParam | None:
        """Remove the newest item and return it as `get_items` would; None when there is none."""
        return self._run(lambda session: session.pop_item())

    def clear_session(
        self,
        *,
        purge_items: bool | None = None,
        keep_conversation: bool = False,
        on_progress: Progress | None = None,
    ) -> None:
        """Delete the conversation; the next write creates a new one."""
        self._run(
            lambda session: session.clear_session(
                purge_items=purge_items, keep_conversation=keep_conversation, on_progress=on_progress
            )
        )

    def ensure_conversation(self) -> str:
        """Create the conversation if there is none yet, and return its id."""
        return self._run(lambda session: session.ensure_conversation())

    def turns(self, last: int | None = None) -> list[Turn]:
        """Return the turns of the history, oldest first."""
        return self._run(lambda session: session.turns(last))

    def find_turns(self, text: str, *, case_sensitive: bool = False) -> list[Turn]:
        """Return the turns that contain a text, oldest first."""
        return self._run(lambda session: session.find_turns(text, case_sensitive=case_sensitive))

    @overload
    def turn(
        self,
        *,
        server_managed: Literal[False] = False,
        on_error: Literal["discard", "keep"] | None = None,
        on_conflict: Literal["append", "raise"] = "append",
        exclusive: bool = False,
    ) -> SessionTurn: ...

    @overload
    def turn(
        self,
        *,
        server_managed: Literal[True],
        on_error: Literal["rewind", "repair", "keep"] | None = None,
        exclusive: bool = False,
    ) -> ServerManagedTurn: ...

    def turn(
        self,
        *,
        server_managed: bool = False,
        on_error: Literal["discard", "rewind", "repair", "keep"] | None = None,
        on_conflict: Literal["append", "raise"] = "append",
        exclusive: bool = False,
    ) -> SessionTurn | ServerManagedTurn:
        """Return a turn: one `with` block whose items are stored once and whole, or not at all."""
        make_turn = cast("Callable[..., Any]", self._async.turn)
        turn = make_turn(
            server_managed=server_managed, on_error=on_error, on_conflict=on_conflict, exclusive=exclusive
        )
        if isinstance(turn, server_managed_turns.ServerManagedTurn):
            return ServerManagedTurn(turn, self._async.clients)
        return SessionTurn(turn)

    def fork(
        self,
        *,
        before_turn: int | None = None,
        after_item: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Return a session on a new conversation with the items of this one up to some point."""
        forked = self._run(
            lambda session: session.fork(before_turn=before_turn, after_item=after_item, metadata=metadata)
        )
        fork = type(self).__new__(type(self))
        fork._attach(forked)  # noqa: SLF001 -- of this class
        return fork

    def parent(self) -> ForkParent | None:
        """Return what this conversation was forked from; None when it is not a fork."""
        return self._run(lambda session: session.parent())

    def get_metadata(self) -> dict[str, str]:
        """Return the metadata of the conversation; {} while there is none."""
        return self._run(lambda session: session.get_metadata())

    def update_metadata(self, changes: Mapping[str, str | None]) -> None:
        """Change some pairs of the conversation's metadata, and keep the others."""
        self._run(lambda session: session.update_metadata(changes))

    def store_run_usage(self, result: object, *, model: str | None = None) -> None:
        """Add the usage of a run, or of a response, to the total of the conversation; each once."""
        self._run(lambda session: session.store_run_usage(result, model=model))

    def get_session_usage(self) -> Usage | None:
        """Return the total usage of the conversation; None if no usage is stored."""
        return self._run(lambda session: session.get_session_usage())

    def set_session_usage(self, usage: Usage) -> None:
        """Replace the total usage of the conversation."""
        self._run(lambda session: session.set_session_usage(usage))

    def settle(self, receipt: Mapping[str, Any]) -> Settlement:
        """Undo what a failed write left behind, in this or another process."""
        return self._run(lambda session: session.settle(receipt))

    def check(self) -> RepairReport:
        """Return what makes the API refuse the next response, or loses its meaning, without changing it."""
        return self._run(lambda session: session.check())

    def repair(self) -> RepairReport:
        """Close or remove what `check()` finds, so that the next response is not refused."""
        return self._run(lambda session: session.repair())

    def compact(self, compaction: Compaction | None = None) -> CompactedHistory | None:
        """Compact the history: a compaction item stands for all but the newest turns from now on."""
        return self._run(lambda session: session.compact(compaction))

    def rewind(self, *, before_turn: int | None = None, after_item: str | None = None) -> DeletedItems:
        """Delete the items after some point."""
        return self._run(lambda session: session.rewind(before_turn=before_turn, after_item=after_item))

    def delete_items(self, ids: Sequence[str]) -> DeletedItems:
        """Delete some items."""
        return self._run(lambda session: session.delete_items(ids))

    def replace_item(
        self, item_id: str, item: ResponseInputItemParam | Mapping[str, Any] | BaseModel | RunItem
    ) -> ReplacedItems:
        """Replace an item. It and all items that follow it get new ids."""
        return self._run(lambda session: session.replace_item(item_id, item))

    def close(self) -> None:
        """Settle failed writes, or warn of them, and close the client that the session opened.

        A later operation opens a new one.
        """
        self._run(lambda session: session.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} conversation_id={self.conversation_id!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied. Store `session.conversation_id` and create "
            "a new session with conversation_id= where you need it."
        )

    def __del__(self) -> None:
        async_session = getattr(self, "_async", None)
        if async_session is not None and async_session.is_unclosed:
            warnings.warn(
                f"{self!r} was not closed: call `session.close()`, or use `with`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def client(self) -> OpenAI:
        """Return a client of openai whose `responses.create(conversation=…)` is sent once.

        As that of the async class, and synchronous: its requests run on the background loop.

        Raises:
            openai.OpenAIError: The environment has no credentials.
        """
        clients = self._async.clients
        return guarded_sync_client(clients.given, ResponseGuard(clients), _run_in_background)

    def _run(self, call: Callable[[_Async], Coroutine[Any, Any, T]]) -> T:
        async_session = self._async
        return background_loop().run(lambda: call(async_session))

    def _continue_in_child(self) -> None:
        """Use a new async session on the same conversation, in a forked process."""
        self._async = self._async.in_child()


class SessionTurn:
    """A turn of a sync session: `with session.turn() as turn`. Has the methods of a session.

    They are documented at `openai_sessions.turn.SessionTurn`.

    Args:
        turn: The turn of the async session that does the work.
    """

    def __init__(self, turn: turns.SessionTurn) -> None:
        self._turn = turn

    @property
    def session_id(self) -> str:
        """The id of the conversation; raises `ConversationNotCreatedError` if there is none yet."""
        return self._turn.session_id

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, or None while there is none."""
        return self._turn.conversation_id

    @property
    def session_settings(self) -> SessionSettings | None:
        """The settings of the session."""
        return self._turn.session_settings

    @property
    def pending(self) -> list[ResponseInputItemParam]:
        """The items of the turn that are not stored, oldest first, in replay form."""
        return self._turn.pending

    def get_items(
        self,
        limit: int | None = None,
        *,
        turns: int | None = None,
        max_tokens: int | None = None,
        count_tokens: CountTokens | ServerTokens | None = None,
    ) -> list[ResponseInputItemParam]:
        """Return the stored history and what the turn has added, oldest first."""
        return self._run(
            lambda turn: turn.get_items(limit, turns=turns, max_tokens=max_tokens, count_tokens=count_tokens)
        )

    def add_items(
        self, items: Sequence[ResponseInputItemParam | Mapping[str, Any] | BaseModel | RunItem]
    ) -> None:
        """Add items to the turn; they are stored when the block ends."""
        self._run(lambda turn: turn.add_items(items))

    def pop_item(self) -> ResponseInputItemParam | None:
        """Remove the newest item and return it; a stored one is deleted when the block ends."""
        return self._run(lambda turn: turn.pop_item())

    def clear_session(self) -> None:
        """Drop what the turn has added, and remove the stored history when the block ends."""
        self._run(lambda turn: turn.clear_session())

    def __enter__(self) -> Self:
        try:
            self._run(lambda turn: turn.__aenter__())
            self._turn.mark_context()
        except BaseException:
            self._run(lambda turn: turn.abandon())
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run(lambda turn: turn.__aexit__(exc_type, exc_value, traceback))

    def __repr__(self) -> str:
        return repr(self._turn)

    def _run(self, call: Callable[[turns.SessionTurn], Coroutine[Any, Any, T]]) -> T:
        turn = self._turn
        return background_loop().run(lambda: call(turn))


class ServerManagedTurn:
    """A turn of a sync session that the model stores: `with session.turn(server_managed=True) as turn`.

    Args:
        turn: The turn of the async session that does the work.
        clients: The clients of that session.
    """

    def __init__(self, turn: server_managed_turns.ServerManagedTurn, clients: Clients) -> None:
        self._turn = turn
        self._clients = clients
        self._client: OpenAI | None = None

    @property
    def conversation_id(self) -> str:
        """The id of the conversation, which exists when the block starts."""
        return self._turn.conversation_id

    @property
    def client(self) -> OpenAI:
        """A client for the requests of this turn: as `session.client()`, and what they add is recorded."""
        if self._client is None:
            self._client = guarded_sync_client(self._clients.given, self._turn.guard, _run_in_background)
        return self._client

    @property
    def run_config(self) -> RunConfig:
        """An `agents.RunConfig` for `Runner.run_sync`, whose event loop is its own.

        Its requests are of this turn. It needs a session without `openai_client`, which opens a client for
        each event loop.
        """
        return self._turn.run_config

    def __enter__(self) -> Self:
        try:
            background_loop().run(self._turn.__aenter__)
            self._turn.mark_context()
        except BaseException:
            background_loop().run(self._turn.abandon)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        background_loop().run(lambda: self._turn.__aexit__(exc_type, exc_value, traceback))


class _Async(session.OpenAIConversationsSession):
    """The async session that does the work, on the background loop."""

    @property
    def is_unclosed(self) -> bool:
        """Whether it has opened a client and was not closed since."""
        return self._clients.unclosed

    @property
    def clients(self) -> Clients:
        """The source of its clients."""
        return self._clients

    def in_child(self) -> _Async:
        """Return a session on the same conversation for a forked process."""
        return self._sibling(cast("str", self.conversation_id))  # None while there is none

    def __del__(self) -> None:
        """Do nothing: the sync session warns."""


def _run_in_background(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return background_loop().run(work)


async def _next_batch(items: AsyncGenerator[T, None]) -> tuple[list[T], Exception | None]:
    """Return the next items, and the error that followed them."""
    batch: list[T] = []
    try:
        async for item in items:
            batch.append(item)
            if len(batch) == _ITERATION_BATCH:
                break
    except Exception as error:  # noqa: BLE001 -- raised by the caller, after the items
        return batch, error
    return batch, None


def _in_thread(callback: ConversationCallback | None) -> ConversationCallback | None:
    """Return a callback that runs in a thread, where it may block; a coroutine function unchanged."""
    if callback is None or inspect.iscoroutinefunction(callback):
        return callback

    async def call(conversation_id: str) -> None:
        result = await asyncio.to_thread(callback, conversation_id)
        if inspect.isawaitable(result):
            await result

    return call


def _continue_in_child() -> None:
    for sync_session in list(_sessions):
        sync_session._continue_in_child()  # noqa: SLF001 -- of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_continue_in_child)
