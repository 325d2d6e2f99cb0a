"""One session object for all users of an application: the context of each run selects whose session it is."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from openai_sessions import _agents
from openai_sessions._arguments import checked_text, missing_methods
from openai_sessions.errors import MissingContextError

if TYPE_CHECKING:
    from agents import RunContextWrapper, SessionSettings
    from openai.types.responses import ResponseInputItemParam

__all__ = ["ContextSession"]

C = TypeVar("C")


class ContextSession(Generic[C]):
    """A session of the Agents SDK that passes each call to the session of the run's context.

    One object serves all users, also at once:

        sessions = ContextSession(lambda user: directory.session(user.id))
        await Runner.run(agent, text, session=sessions, context=user)

    `select` is called once for each run, at the first use of the session, and the run keeps the session that
    it returned. A run that is resumed is a new run: its context must select the same conversation.

    It stores nothing and closes nothing. All else that sessions do (turns, search, usage) is done on the
    session that `select_session(context)` returns. Responses are not compacted through it.

    Args:
        select: Called with the context, the object given as `context=`. Returns a session, or an awaitable of
            one, such as `directory.session(name)` or `OpenAIConversationsSession(conversation_id=…,
            openai_client=client)`. Two calls with contexts of one user must return sessions of one
            conversation.
        session_id: What the SDK knows this object by: in saved states of runs, which can only be resumed with
            the same value, and in the prompt cache key that it sends to OpenAI. It is no conversation id.
        session_settings: An `agents.SessionSettings`, a dict of its fields, or None. Without a `limit`, that
            of the selected session applies.

    Raises:
        TypeError: `select` is not callable, or another argument is of the wrong type.
        ValueError: The session id is empty.
    """

    _ignore_ids_for_matching = True  # the Agents SDK then compares items without their ids

    def __init__(
        self,
        select: Callable[[C], Any],
        *,
        session_id: str = "context",
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(select):
            raise TypeError(
                f"select must be a function that returns a session for a context, not {type(select).__name__}"
            )
        self._select = select
        self._settings = _agents.session_settings(session_settings)
        self._selected: WeakKeyDictionary[object, tuple[object, Any]] = WeakKeyDictionary()
        self.session_id = checked_text("session_id", session_id, wanted='a name such as "chat"')

    if TYPE_CHECKING:
        session_settings: SessionSettings | None  # as in the protocol agents.Session; a property below
    else:

        @property
        def session_settings(self) -> SessionSettings:
            """The settings, as the Runner of the Agents SDK expects them."""
            self._settings = _agents.session_settings(self._settings)
            return self._settings

        @session_settings.setter
        def session_settings(self, value: SessionSettings | Mapping[str, Any] | None) -> None:
            self._settings = _agents.session_settings(value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} session_id={self.session_id!r}>"

    async def select_session(self, context: C) -> Any:
        """Return the session of a context, for use outside of a run.

        Raises:
            MissingContextError: The context is None.
            TypeError: `select` returned something else than a session.
            Exception: Any error of `select`.
        """
        if context is None:
            raise MissingContextError
        selected = self._select(context)
        if inspect.isawaitable(selected):
            selected = await selected
        if missing := missing_methods(selected):
            raise TypeError(
                f"select must return a session, and returned {type(selected).__name__}, which has no "
                f"{missing[0]}(): return one such as OpenAIConversationsSession(conversation_id=…)"
            )
        return selected

    async def get_items(
        self, limit: int | None = None, *, wrapper: RunContextWrapper[C] | None = None
    ) -> list[ResponseInputItemParam]:
        """Return the history of the run's session, oldest first.

        Args:
            limit: Maximum number of the newest items; None for what the selected session returns.
            wrapper: The context of the run, which the Runner passes.

        Raises:
            MissingContextError: There is no context.
            Exception: Any error of `select`, or of the selected session.
        """
        session = await self._session_of(wrapper)
        items: list[ResponseInputItemParam] = await _call(session.get_items, limit, wrapper=wrapper)
        return items

    async def add_items(
        self, items: Sequence[ResponseInputItemParam], *, wrapper: RunContextWrapper[C] | None = None
    ) -> None:
        """Append items to the run's session. Arguments and errors: see `get_items()`."""
        session = await self._session_of(wrapper)
        await _call(session.add_items, items, wrapper=wrapper)

    async def pop_item(self, *, wrapper: RunContextWrapper[C] | None = None) -> ResponseInputItemParam | None:
        """Remove and return the newest item of the run's session. Arguments and errors: see `get_items()`."""
        session = await self._session_of(wrapper)
        item: ResponseInputItemParam | None = await _call(session.pop_item, wrapper=wrapper)
        return item

    async def clear_session(self, *, wrapper: RunContextWrapper[C] | None = None) -> None:
        """Clear the run's session. Arguments and errors: see `get_items()`."""
        session = await self._session_of(wrapper)
        await _call(session.clear_session, wrapper=wrapper)

    async def _session_of(self, wrapper: RunContextWrapper[C] | None) -> Any:
        """Return the session of a run: the one that it has used before, unless its context was replaced."""
        if wrapper is None:
            raise MissingContextError
        context, session = self._selected.get(wrapper, (None, None))
        if context is None or context is not wrapper.context:
            session = await self.select_session(wrapper.context)
            self._selected[wrapper] = (wrapper.context, session)
        return session


def _call(method: Callable[..., Awaitable[Any]], *args: Any, wrapper: object) -> Awaitable[Any]:
    """Call a method of a session; pass the context of the run to one that accepts it, as the Runner does."""
    accepts = "wrapper" in inspect.signature(method).parameters
    return method(*args, wrapper=wrapper) if accepts else method(*args)
