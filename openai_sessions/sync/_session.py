"""The async session behind one without async."""

from __future__ import annotations

import asyncio
import inspect
import os
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, cast
from weakref import WeakSet

from openai import OpenAI

from openai_sessions import session
from openai_sessions._api.clients import RequestSettings
from openai_sessions._conversation.forking import ForkParent
from openai_sessions._conversation.lazy import PossibleOrphan
from openai_sessions._conversation.locked import Settlement
from openai_sessions._conversation.locks import ConversationLock
from openai_sessions._conversation.newest_turns import HistoryLimits
from openai_sessions._conversation.usage import Usage
from openai_sessions._conversation.writing import Progress
from openai_sessions._items.turns import Turn
from openai_sessions._items.types import ConversationCallback, CountTokens, Metadata
from openai_sessions.sync._background import background_loop

if TYPE_CHECKING:
    from types import TracebackType

    from agents import SessionSettings
    from openai import AsyncOpenAI
    from openai.types.responses import ResponseInputItemParam
    from pydantic import BaseModel
    from typing_extensions import Self


class SessionBehind(session.OpenAIConversationsSession):
    """The session that does the work, on the background loop."""

    @property
    def is_unclosed(self) -> bool:
        """Whether it has opened a client and not been closed since."""
        return self._clients.unclosed

    def in_child(self) -> SessionBehind:
        """Return a session on the same conversation for a process that was forked."""
        return self._sibling(cast("str", self.conversation_id))  # None where there is none yet

    def __del__(self) -> None:
        """Leave it to the session in front to warn."""


def off_the_loop(callback: ConversationCallback | None) -> ConversationCallback | None:
    """Return a callback that runs in a thread, where it may block; a coroutine function as it is."""
    if callback is None or inspect.iscoroutinefunction(callback):
        return callback

    async def call(conversation_id: str) -> None:
        answer = await asyncio.to_thread(callback, conversation_id)
        if inspect.isawaitable(answer):
            await answer

    return call


T = TypeVar("T")

_AT_A_TIME = 50
"""How many items an iteration fetches from the background loop at once."""

_fronts: WeakSet[Front] = WeakSet()
"""The registry of the process: sessions without async, which begin anew in a child process."""


class Front:
    """The part of a session without async that is in front of an async one."""

    def __init__(self, behind: SessionBehind) -> None:
        self._behind = behind
        _fronts.add(self)

    def _begin_anew(self) -> None:
        """Use another session behind, for a process that was forked."""
        self._behind = self._behind.in_child()

    def _in_front_of(self, behind: SessionBehind) -> Self:
        """Return a session of this class in front of another one."""
        front = type(self).__new__(type(self))
        Front.__init__(front, behind)
        return front

    def _run(self, call: Callable[[SessionBehind], Coroutine[Any, Any, T]]) -> T:
        behind = self._behind
        return background_loop().run(lambda: call(behind))

    def _iterate(self, begin: Callable[[SessionBehind], AsyncGenerator[T, None]]) -> Iterator[T]:
        items = begin(self._behind)
        while True:
            some, error = background_loop().run(lambda: _next_of(items))
            yield from some
            if error is not None:
                raise error
            if len(some) < _AT_A_TIME:
                return

    if TYPE_CHECKING:
        session_id: str
        session_settings: SessionSettings | None
    else:

        @property
        def session_id(self) -> str:
            """The id of the conversation. Setting it resumes another conversation.

            Raises:
                ConversationNotCreatedError: The session is unused; a ValueError and AttributeError.
                ValueError: The id that is set is malformed.
            """
            return self._behind.session_id

        @session_id.setter
        def session_id(self, value: str) -> None:
            self._behind.session_id = value

        @property
        def session_settings(self) -> SessionSettings:
            """The settings, of which `limit` holds for reads without one."""
            return self._behind.session_settings

        @session_settings.setter
        def session_settings(self, value: SessionSettings | Mapping[str, Any] | None) -> None:
            self._behind.session_settings = value

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, or None while there is none."""
        return self._behind.conversation_id

    @property
    def unsettled(self) -> tuple[dict[str, Any], ...]:
        """The receipts of writes that failed and are not undone yet."""
        return self._behind.unsettled

    def ensure_conversation(self) -> str:
        """Create the conversation now if there is none yet, and return its id."""
        return self._run(lambda session: session.ensure_conversation())

    def close(self) -> None:
        """Settle what is unsettled, or warn of it, and close what the session opened.

        A later operation opens it anew.
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
            f"{type(self).__name__} cannot be pickled or copied. Keep `session.conversation_id` and make "
            "a new session with conversation_id= where it is needed."
        )

    def __del__(self) -> None:
        behind = getattr(self, "_behind", None)
        if behind is not None and behind.is_unclosed:
            warnings.warn(
                f"{self!r} was not closed: call `session.close()`, or use `with`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


async def _next_of(items: AsyncGenerator[T, None]) -> tuple[list[T], Exception | None]:
    """Return some items, and the error that came after them."""
    some: list[T] = []
    try:
        async for item in items:
            some.append(item)
            if len(some) == _AT_A_TIME:
                break
    except Exception as error:  # noqa: BLE001 -- raised by the caller, after the items
        return some, error
    return some, None


def _begin_anew() -> None:
    """Have the sessions of a child process use the loop of that process."""
    for front in list(_fronts):
        front._begin_anew()  # noqa: SLF001 -- of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


class OpenAIConversationsSession(Front):
    """Keep an agent's memory in a conversation hosted by OpenAI, without async.

    Has the arguments, methods and properties of `openai_sessions.OpenAIConversationsSession`, whose
    documentation says what each does; the methods return when it is done, and raise what it raises.
    `close()` stands for `aclose()`, and a `with` block for `async with`.

    The work is done on one event loop of the process, in a daemon thread that the first use starts. Any
    number of threads may use one session or many. It may be used where an event loop runs, as in a notebook,
    and blocks that loop meanwhile.

    KeyboardInterrupt, or another exception that comes from outside, cancels the operation, and goes on when
    it is undone, as in async; a second one does not wait for that. So it is when the program ends while a
    daemon thread waits. After `os.fork()` a session begins anew in the child, on a loop and with clients of
    the child's own; a client that was given serves the parent only.

    Args:
        conversation_id: See the async class, as for all that follow.
        openai_client: An `AsyncOpenAI`, which is used on the background loop, and by nobody elsewhere.
        session_settings: See there.
        metadata: See there.
        include: See there.
        history: See there.
        history_limits: See there. `count_tokens` is called on the background loop.
        requests: See there. `on_retry` is called on the background loop.
        on_conversation_created: Called in a thread of its own, where it may block, and use the session; a
            coroutine function runs on the background loop.
        on_orphan: Called on the background loop: it should return soon, and use no session without async.
        lock: Gives an async context manager, which is entered on the background loop.

    Raises:
        TypeError: An argument is of the wrong type, as a client without async is.
        ValueError: As for the async class.
    """

    def __init__(  # noqa: PLR0913 -- the arguments of the async class
        self,
        *,
        conversation_id: str | None = None,
        openai_client: AsyncOpenAI | None = None,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
        metadata: Metadata | None = None,
        include: Sequence[str] = (),
        history: Literal["full", "incremental"] = "full",
        history_limits: HistoryLimits | None = None,
        requests: RequestSettings | None = None,
        on_conversation_created: ConversationCallback | None = None,
        on_orphan: Callable[[PossibleOrphan], object] | None = None,
        lock: ConversationLock | None = None,
    ) -> None:
        if isinstance(openai_client, OpenAI):
            raise TypeError(
                "openai_client is an AsyncOpenAI, also here: it is used on an event loop in the background. "
                "Give openai.AsyncOpenAI(…) with the same arguments, or leave it out."
            )
        super().__init__(
            SessionBehind(
                conversation_id=conversation_id,
                openai_client=openai_client,
                session_settings=session_settings,
                metadata=metadata,
                include=include,
                history=history,
                history_limits=history_limits,
                requests=requests,
                on_conversation_created=off_the_loop(on_conversation_created),
                on_orphan=on_orphan,
                lock=lock,
            )
        )

    def get_items(
        self,
        limit: int | None = None,
        *,
        turns: int | None = None,
        max_tokens: int | None = None,
        count_tokens: CountTokens | None = None,
    ) -> list[ResponseInputItemParam]:
        """Return the history, oldest first, ready to be sent to a model."""
        return self._run(
            lambda session: session.get_items(
                limit, turns=turns, max_tokens=max_tokens, count_tokens=count_tokens
            )
        )

    def iterate_items(self, *, after: str | None = None) -> Iterator[ResponseInputItemParam]:
        """Give the history item by item, oldest first, in memory that does not grow with it."""
        return self._iterate(lambda session: session.iterate_items(after=after))

    def add_items(self, items: Sequence[ResponseInputItemParam | Mapping[str, Any] | BaseModel]) -> None:
        """Append items to the history: all of them, in order, once; or none."""
        self._run(lambda session: session.add_items(items))

    def pop_item(self) -> ResponseInputItemParam | None:
        """Remove the newest item and return it as `get_items` would; None when there is none."""
        return self._run(lambda session: session.pop_item())

    def clear_session(
        self,
        *,
        purge_items: bool = False,
        keep_conversation: bool = False,
        on_progress: Progress | None = None,
    ) -> None:
        """Delete the conversation; the next write creates a new one."""
        self._run(
            lambda session: session.clear_session(
                purge_items=purge_items, keep_conversation=keep_conversation, on_progress=on_progress
            )
        )

    def turns(self, last: int | None = None) -> list[Turn]:
        """Return the turns of the history, oldest first."""
        return self._run(lambda session: session.turns(last))

    def find_turns(self, text: str, *, case_sensitive: bool = False) -> list[Turn]:
        """Return the turns that say something, oldest first."""
        return self._run(lambda session: session.find_turns(text, case_sensitive=case_sensitive))

    def fork(
        self,
        *,
        before_turn: int | None = None,
        after_item: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Return a session on a new conversation that holds the items of this one up to some point."""
        forked = self._run(
            lambda session: session.fork(before_turn=before_turn, after_item=after_item, metadata=metadata)
        )
        return self._in_front_of(forked)

    def parent(self) -> ForkParent | None:
        """Return what this conversation was forked from; None when it is no fork."""
        return self._run(lambda session: session.parent())

    def get_metadata(self) -> dict[str, str]:
        """Return the metadata of the conversation; {} while there is none."""
        return self._run(lambda session: session.get_metadata())

    def update_metadata(self, changes: Mapping[str, str | None]) -> None:
        """Change some pairs of the conversation's metadata, and leave the others."""
        self._run(lambda session: session.update_metadata(changes))

    def store_run_usage(self, result: object) -> None:
        """Add what a run has used to the totals of the conversation; each run once."""
        self._run(lambda session: session.store_run_usage(result))

    def get_session_usage(self) -> Usage | None:
        """Return the totals of the conversation; None when nothing was counted."""
        return self._run(lambda session: session.get_session_usage())

    def set_session_usage(self, usage: Usage) -> None:
        """Put other totals in the place of those of the conversation, whatever stands there."""
        self._run(lambda session: session.set_session_usage(usage))

    def settle(self, receipt: Mapping[str, Any]) -> Settlement:
        """Undo what a failed write has left, in this or another process."""
        return self._run(lambda session: session.settle(receipt))
