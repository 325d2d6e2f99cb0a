"""Keep the history of agents of Microsoft's Agent Framework in conversations hosted by OpenAI.

Requires agent-framework-core: `pip install "openai-sessions[agent-framework]"`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

try:
    from agent_framework import HistoryProvider, Message
except ImportError as error:
    raise ImportError(
        "openai_sessions.adapters.agent_framework requires agent-framework-core: "
        "pip install 'openai-sessions[agent-framework]'",
        name=error.name,
    ) from error

from openai_sessions._arguments import checked_number
from openai_sessions.adapters._agent_framework_items import to_items, to_messages
from openai_sessions.session import OpenAIConversationsSession, RequestSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from openai_sessions.directory import SessionDirectory


class OpenAIConversationsHistoryProvider(HistoryProvider):
    """Load the messages of a session before a run, and store those of the run when it has succeeded.

    Each `AgentSession` has a conversation, which its first run creates. Its id is kept in the state of the
    session, as `session.state[source_id]["conversation_id"]`, and so in what `session.to_dict()` returns. To
    resume a conversation, set it there. With a `directory`, the conversation is found by the `session_id`
    instead.

    What of a message is stored, and what is lost, is in docs/agent-framework.md.

    One provider serves any number of sessions and agents. Runs that the chat client stores itself need no
    history provider: with `OpenAIChatClient`, pass `default_options={"store": False}` to the agent.

    Args:
        source_id: The name of this provider in the states of sessions and in the attribution of messages.
        openai_client: Sends the requests, and is not closed here; None for a new client in each operation,
            from OPENAI_API_KEY and OPENAI_BASE_URL.
        directory: Finds conversations by `session_id`, with a client of its own.
        requests: How requests are sent and repeated.
        max_turns: How many of the newest turns are loaded; None for all.
        load_messages: See `agent_framework.HistoryProvider`, as for all that follow.
        store_inputs: Whether to store the input of a run.
        store_context_messages: Whether to store the messages of other providers.
        store_context_from: The `source_id` of the providers whose messages are stored; None for all others.
        store_outputs: Whether to store the response of a run.

    Raises:
        ValueError: A directory is given together with what the directory has: a client or requests.
        TypeError: An argument is of the wrong type, such as a synchronous client.
    """

    DEFAULT_SOURCE_ID = "openai_conversations"
    """The `source_id` of a provider that is given none."""

    def __init__(  # noqa: PLR0913 -- the arguments of the framework's providers, and ours
        self,
        source_id: str = DEFAULT_SOURCE_ID,
        *,
        openai_client: AsyncOpenAI | None = None,
        directory: SessionDirectory | None = None,
        requests: RequestSettings | None = None,
        max_turns: int | None = None,
        load_messages: bool = True,
        store_inputs: bool = True,
        store_context_messages: bool = False,
        store_context_from: set[str] | None = None,
        store_outputs: bool = True,
    ) -> None:
        super().__init__(
            source_id,
            load_messages=load_messages,
            store_inputs=store_inputs,
            store_context_messages=store_context_messages,
            store_context_from=store_context_from,
            store_outputs=store_outputs,
        )
        if directory is not None and (openai_client is not None or requests is not None):
            raise ValueError(
                "directory= has a client and request settings of its own: pass openai_client and "
                "session_options={'requests': …} to SessionDirectory instead"
            )
        self._options: dict[str, Any] = {"openai_client": openai_client, "requests": requests}
        OpenAIConversationsSession(**self._options)  # checks the arguments
        self._directory = directory
        self._max_turns = checked_number("max_turns", max_turns, "turns")
        self._saving: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def get_messages(
        self,
        session_id: str | None,
        *,
        state: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002 -- of the base class
    ) -> list[Message]:
        """Return the stored messages, oldest first; none, without a request, before the first run.

        Args:
            session_id: The `session_id` of the `AgentSession`; names the conversation in the directory.
            state: The state of this provider in the session; contains the id of the conversation.
            **kwargs: Ignored.

        Raises:
            ValueError: The state is None, or, with a directory, the `session_id`.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed; transient failures were retried without success.
        """
        async with self._session(session_id, state) as session:
            turns = await session.turns(self._max_turns)
        return to_messages(
            (item, item_id) for turn in turns for item, item_id in zip(turn.items, turn.item_ids, strict=True)
        )

    async def save_messages(
        self,
        session_id: str | None,
        messages: Sequence[Message],
        *,
        state: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002 -- of the base class
    ) -> None:
        """Append messages: all of them, in order, once; or none, if it raises or is cancelled.

        The first call for a session creates its conversation. What has no item is left out, and logged.

        Args:
            session_id: As for `get_messages`.
            messages: The messages. They are not compared with those that are stored.
            state: As for `get_messages`; the id of a new conversation is put here.
            **kwargs: Ignored.

        Raises:
            ValueError: The state is None, or, with a directory, the `session_id`.
            InvalidItemError: A message can never be stored. Nothing was sent.
            UnsettledWriteError: The write failed and could not be undone; says what remains stored.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed. Nothing of the write remains.
        """
        items = to_items(messages)
        # One at a time, so that two runs that are the first of a session use one conversation.
        async with (
            self._saving.setdefault(id(state), asyncio.Lock()),
            self._session(session_id, state) as session,
        ):
            await session.add_items(items)

    @asynccontextmanager
    async def _session(
        self, session_id: str | None, state: dict[str, Any] | None
    ) -> AsyncIterator[OpenAIConversationsSession]:
        """Open the hosted session; note the id of the conversation that it creates, if it does."""
        if self._directory is not None:
            if session_id is None:
                raise ValueError("session_id is None: with directory=, it is the name of the conversation")
            yield await self._directory.session(session_id)
            return
        if state is None:
            raise ValueError(
                "state is None, and it has the id of the conversation: pass "
                "session.state.setdefault(provider.source_id, {})"
            )
        known = state.get("conversation_id")
        async with OpenAIConversationsSession(conversation_id=known, **self._options) as session:
            try:
                yield session
            finally:
                if session.conversation_id is not None:
                    state["conversation_id"] = session.conversation_id
