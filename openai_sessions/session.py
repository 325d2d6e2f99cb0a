"""The session: an agent's memory in a hosted conversation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

from openai_sessions import _agents
from openai_sessions._arguments import (
    checked_conversation_id,
    checked_include,
    checked_items,
    checked_limit,
    checked_metadata,
    checked_timeout,
)
from openai_sessions._clients import Clients, GivenClient, OwnClients
from openai_sessions._gateway import Gateway, open_client
from openai_sessions._items import replay_form, to_replay, to_stored
from openai_sessions._lazy_conversation import LazyConversation
from openai_sessions._reading import read_items
from openai_sessions._types import ConversationCallback, Item, Metadata
from openai_sessions._unread import UnreadItems
from openai_sessions._writing import append_items, pop_newest, replace_items
from openai_sessions.errors import ConversationNotCreatedError

if TYPE_CHECKING:
    from types import TracebackType

    from agents import SessionSettings
    from openai import AsyncOpenAI
    from openai.types.responses import ResponseInputItemParam
    from pydantic import BaseModel
    from typing_extensions import Self


class OpenAIConversationsSession:
    """Keep an agent's memory in a conversation hosted by OpenAI.

    A drop-in for the Agents SDK's class of the same name. The conversation is created, empty, by the
    first write; a session that is only read, popped or cleared before that makes no request. Session
    objects on one conversation in one process share a lock and behave as one; operations on different
    conversations never wait for each other. Any operation may be cancelled; what that means for a
    write is said there.

    Args:
        conversation_id: Resume this conversation. No request is made until the session is used.
        openai_client: The client to use; it stays the caller's, and belongs to the event loop in
            which it is first used. Without one: the default client of the Agents SDK if that is
            imported and has one, else a client of its own for each event loop, configured from the
            environment at the first request and closed by `aclose()`.
        session_settings: An `agents.SessionSettings`, a dict of its fields, or None. Its `limit`
            holds for `get_items()` without a limit.
        metadata: Pairs to keep with a conversation that this session creates: at most 16, keys of at
            most 64 and values of at most 512 characters.
        include: Values of the API's `include` to list items with, beyond those that a faithful
            replay needs, such as `message.output_text.logprobs`.
        timeout: Seconds of wall clock for one request, from its start to the last byte of its
            answer; None for no limit but those of the client.
        on_conversation_created: Called with the id of each conversation that this session creates,
            before its first item is written, so that an application can save the id. May be a
            coroutine function. What it raises comes out of the write, the conversation stays, and
            the next write calls it again. Inside of it the session may be used.

    Raises:
        ValueError: The conversation id is malformed, or the metadata is over a limit.
        TypeError: An argument is of the wrong type.
    """

    _ignore_ids_for_matching = True  # the Agents SDK then compares items without their ids

    if TYPE_CHECKING:
        # Attributes for type checkers, as in the protocol agents.Session; properties below.
        session_id: str
        session_settings: SessionSettings | None

    def __init__(  # noqa: PLR0913 -- the arguments of the Agents SDK's class, and ours
        self,
        *,
        conversation_id: str | None = None,
        openai_client: AsyncOpenAI | None = None,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
        metadata: Metadata | None = None,
        include: Sequence[str] = (),
        timeout: float | None = 30.0,
        on_conversation_created: ConversationCallback | None = None,
    ) -> None:
        self._settings = _agents.session_settings(session_settings)
        self._unread = UnreadItems()
        self._clients = _clients(
            openai_client, timeout=checked_timeout(timeout), include=checked_include(include)
        )
        self._conversation = LazyConversation(
            self._clients,
            conversation_id=None if conversation_id is None else checked_conversation_id(conversation_id),
            metadata=checked_metadata(metadata),
            on_created=on_conversation_created,
        )
        _agents.register_session(OpenAIConversationsSession)

    if not TYPE_CHECKING:

        @property
        def session_id(self) -> str:
            """The id of the conversation. Setting it resumes another conversation.

            Raises:
                ConversationNotCreatedError: The session is unused; a ValueError and AttributeError.
                ValueError: The id that is set is malformed.
            """
            if self._conversation.conversation_id is None:
                _agents.register_session(OpenAIConversationsSession)
                raise ConversationNotCreatedError
            return self._conversation.conversation_id

        @session_id.setter
        def session_id(self, value: str) -> None:
            self._conversation.conversation_id = checked_conversation_id(value)

        @property
        def session_settings(self) -> SessionSettings:
            """The settings, as the Runner of the Agents SDK expects them."""
            self._settings = _agents.session_settings(self._settings)
            return self._settings

        @session_settings.setter
        def session_settings(self, value: SessionSettings | Mapping[str, Any] | None) -> None:
            self._settings = _agents.session_settings(value)

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, or None while there is none."""
        return self._conversation.conversation_id

    async def ensure_conversation(self) -> str:
        """Create the conversation now if there is none yet, and return its id.

        For code that needs `session_id` before the first write. Does not ask whether a resumed
        conversation still exists.

        Raises:
            openai.OpenAIError: The conversation could not be created; the next write tries again.
        """
        return await self._conversation.ensure()

    async def get_items(self, limit: int | None = None) -> list[ResponseInputItemParam]:
        """Return the history, oldest first, ready to be sent to a model.

        Args:
            limit: How many of the newest items; None for `session_settings.limit`, or for all when
                that is None too. 0 and negative numbers give an empty list without a request.

        Returns:
            New dicts, the caller's to change. It takes one request for each 100 items, and where the
            server says that more follow a full last page, one more.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            CursorError: The server's pages contradict each other.
            openai.OpenAIError: A request failed; a transient failure is tried three times.
        """
        self._unread.forget()
        return cast("list[ResponseInputItemParam]", await self._read(limit))

    async def _read(self, limit: int | None) -> list[Item]:
        wanted = checked_limit(_agents.limit_of(self.session_settings) if limit is None else limit)
        if wanted is not None and wanted <= 0:
            return []
        listed = await self._conversation.run(lambda gateway, at: read_items(gateway, at, wanted))
        return to_replay(listed or [])

    async def _read_compaction_items(self, limit: int | None) -> tuple[list[Item], bool]:
        """Return the history as the Agents SDK's compaction asks for it, and whether that is all of it."""
        items = await self._read(limit)
        return self._unread.restored_in(items), limit is not None and len(items) < limit

    async def add_items(
        self, items: Sequence[ResponseInputItemParam | Mapping[str, Any] | BaseModel]
    ) -> None:
        """Append items to the history, in order, in requests of at most 20.

        A call and its output, and a reasoning item and what follows it, travel in one request where
        they fit. No request is repeated: after an error or a cancellation, requests before the one
        that failed stay stored, and whether that one was stored is unknown unless the server refused
        it.

        Args:
            items: Items as a model request accepts them: dicts, or objects of the SDKs. They are not
                changed. Reasoning with neither id nor encrypted content cannot be stored by the API;
                it is left out, and logged.

        Raises:
            InvalidItemError: An item can never be stored. Nothing was sent.
            ConversationNotFoundError: The server does not know the resumed conversation.
            RequestTimeoutError: A request got no answer in time.
            openai.OpenAIError: A request failed.
        """
        given = checked_items(items)
        written = to_stored(given)
        if written:
            await self._conversation.run(lambda gateway, at: append_items(gateway, at, written), create=True)
            self._unread.add(given)

    async def pop_item(self) -> ResponseInputItemParam | None:
        """Remove the newest item and return it as `get_items` would; None when there is none.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed. When it was the deletion, and its answer did not
                arrive, the item may be gone.
        """
        popped = await self._conversation.run(pop_newest)
        return None if popped is None else cast("ResponseInputItemParam", replay_form(popped))

    async def clear_session(self) -> None:
        """Delete the conversation; the next write creates a new one.

        Succeeds when the conversation is gone already. OpenAI deletes the conversation and keeps its
        items, out of reach. When the deletion fails, the session keeps its id.

        Raises:
            openai.OpenAIError: The deletion failed.
        """
        await self._conversation.delete()

    async def aclose(self) -> None:
        """Close the clients that the session opened. A later operation opens a new one.

        A client that was given, and the default client of the Agents SDK, stay open.
        """
        await self._clients.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _atomic_replace_items(self, items: Sequence[ResponseInputItemParam]) -> bool:
        """Replace the history as the Agents SDK's compaction asks for it, keeping the conversation id."""
        written = to_stored(checked_items(items))
        await self._conversation.run(
            lambda gateway, at: replace_items(gateway, at, written), create=bool(written)
        )
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} conversation_id={self.conversation_id!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied. Keep `session.conversation_id` and make "
            "a new session with conversation_id= where it is needed."
        )

    def __del__(self) -> None:
        clients = getattr(self, "_clients", None)
        if clients is not None and clients.unclosed:
            warnings.warn(
                f"{self!r} was not closed: call `await session.aclose()`, or use `async with`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


def _clients(client: AsyncOpenAI | None, *, timeout: float | None, include: Sequence[str]) -> Clients:
    def gateway(client: AsyncOpenAI) -> Gateway:
        return Gateway(client, timeout=timeout, include=include)

    given = client or _agents.default_client()
    return OwnClients(lambda: gateway(open_client())) if given is None else GivenClient(gateway(given))


async def start_openai_conversations_session(openai_client: AsyncOpenAI | None = None) -> str:
    """Create an empty conversation and return its id.

    Args:
        openai_client: The client to use; by default as in `OpenAIConversationsSession`.

    Raises:
        openai.OpenAIError: The conversation could not be created.
    """
    async with OpenAIConversationsSession(openai_client=openai_client) as session:
        return await session.ensure_conversation()
