"""The session: an agent's memory in a hosted conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from openai_sessions import _agents
from openai_sessions._arguments import (
    checked_conversation_id,
    checked_history,
    checked_include,
    checked_items,
    checked_metadata,
    checked_timeout,
)
from openai_sessions._clients import clients_for
from openai_sessions._compactable import CompactableHistory
from openai_sessions._failures import classify
from openai_sessions._forking import ForkableHistory
from openai_sessions._history import KnownHistory
from openai_sessions._items import replay_form, to_stored
from openai_sessions._lazy_conversation import Hooks, LazyConversation, PossibleOrphan
from openai_sessions._metadata import KeptMetadata
from openai_sessions._operations import one_or_none, operation
from openai_sessions._plugged_lock import PluggedLock
from openai_sessions._policy import RetryPolicy
from openai_sessions._receipts import Receipt
from openai_sessions._removing import Progress, delete_all_items, pop_newest, put_back
from openai_sessions._retrying import Retrier, RetryBudget, RetryEvent
from openai_sessions._settling import Settlement, settle_receipt
from openai_sessions._streaming import StreamedHistory
from openai_sessions._turn_limits import CountTokens
from openai_sessions._turn_reading import TurnHistory, turn_limits
from openai_sessions._types import ConversationCallback, Metadata
from openai_sessions._unread import UnreadItems
from openai_sessions._usage_keeping import KeptUsage
from openai_sessions._writing import append_items, delete_appended
from openai_sessions.errors import ConversationNotFoundError

if TYPE_CHECKING:
    from agents import SessionSettings
    from openai import AsyncOpenAI
    from openai.types.responses import ResponseInputItemParam
    from pydantic import BaseModel


class OpenAIConversationsSession(
    TurnHistory, ForkableHistory, StreamedHistory, CompactableHistory, KeptMetadata, KeptUsage
):
    """Keep an agent's memory in a conversation hosted by OpenAI.

    A drop-in for the Agents SDK's class of the same name. The conversation is created, empty, by the
    first write; a session that is only read, popped or cleared before that makes no request. Session
    objects on one conversation in one process share a lock and behave as one; operations on different
    conversations never wait for each other.

    Any operation may be cancelled. One that has begun to write ends first, undone, within 10 seconds;
    what is not undone by then is in `unsettled`.

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
        history: "full" reads all pages each time. "incremental" reads the newest page of 100, and joins
            it to the items that the session then keeps in memory: exact while others only append, pop
            or clear, as deletions further back are not seen.
        max_turns: How many of the newest turns `get_items()` without arguments returns, as the Runner
            calls it; None for no limit. It calls it with that of `session_settings`, where that is set.
        max_tokens: The same for tokens: it returns the newest whole turns that fit.
        count_tokens: How many tokens a text takes; by default tiktoken tells.
        timeout: Seconds of wall clock for one request, from its start to the last byte of its
            answer; None for no limit but those of the client.
        on_conversation_created: Called with the id of each conversation that this session creates,
            before its first item is written, so that an application can save the id. May be a
            coroutine function. What it raises comes out of the write, the conversation stays, and
            the next write calls it again. Inside of it the session may be used.
        on_orphan: Called with a `PossibleOrphan` when the answer to a creation was lost: an empty
            conversation may exist that nobody knows.
        retry_policy: How often and how long one request is tried.
        retry_budget: What retries are paid from; by default the sessions of one client share one.
        on_retry: Called with a `RetryEvent` before a request is sent again.
        lock: Given the conversation id, returns an async context manager that is held around each
            read and write, so that processes exclude each other. Its lease must outlast the timeout and
            three of the policy's deadlines, and two more for each further 20 items of a write. An
            error on leaving it is logged. What is applied only after it was left may stay twice.

    Raises:
        ValueError: The conversation id is malformed, or the metadata is over a limit.
        TypeError: An argument is of the wrong type.
        ImportError: There is max_tokens, no count_tokens, and no tiktoken.
        VocabularyError: tiktoken could not fetch its vocabulary.
    """

    def __init__(  # noqa: PLR0913 -- the arguments of the Agents SDK's class, and ours
        self,
        *,
        conversation_id: str | None = None,
        openai_client: AsyncOpenAI | None = None,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
        metadata: Metadata | None = None,
        include: Sequence[str] = (),
        history: Literal["full", "incremental"] = "full",
        max_turns: int | None = None,
        max_tokens: int | None = None,
        count_tokens: CountTokens | None = None,
        timeout: float | None = 30.0,
        on_conversation_created: ConversationCallback | None = None,
        on_orphan: Callable[[PossibleOrphan], object] | None = None,
        retry_policy: RetryPolicy | None = None,
        retry_budget: RetryBudget | None = None,
        on_retry: Callable[[RetryEvent], object] | None = None,
        lock: PluggedLock | None = None,
    ) -> None:
        openai_client = openai_client or _agents.default_client()
        self._options = {name: value for name, value in dict(locals()).items() if name != "self"}
        self._settings = _agents.session_settings(session_settings)
        self._turn_limits = turn_limits(max_turns, max_tokens, count_tokens)
        self._unread = UnreadItems()
        self._history = KnownHistory() if checked_history(history) == "incremental" else None
        self._clients = clients_for(
            openai_client,
            timeout=checked_timeout(timeout),
            include=checked_include(include),
            retrier=Retrier(classify=classify, policy=retry_policy or RetryPolicy(), on_retry=on_retry),
            budget=retry_budget,
        )
        resumed = None if conversation_id is None else checked_conversation_id(conversation_id)
        self._conversation = LazyConversation(
            self._clients,
            conversation_id=resumed,
            metadata=checked_metadata(metadata),
            hooks=Hooks(on_created=on_conversation_created, on_orphan=on_orphan, lock=lock),
        )
        _agents.register_session(OpenAIConversationsSession)

    @operation(arguments=["limit", "turns", "max_tokens"], gives="read")
    async def get_items(
        self,
        limit: int | None = None,
        *,
        turns: int | None = None,
        max_tokens: int | None = None,
        count_tokens: CountTokens | None = None,
    ) -> list[ResponseInputItemParam]:
        """Return the history, oldest first, ready to be sent to a model.

        With `turns` or `max_tokens` these are the newest whole turns within all limits: none where the
        newest is over one of them. They are read from the newest page back, as far as needed.

        Args:
            limit: How many of the newest items; None for `session_settings.limit`, or for all when
                that is None too. Alone it may tear a call from its output.
            turns: How many of the newest turns, as `turns()` gives them.
            max_tokens: How many tokens, of the texts that `openai_sessions.tokens.item_text` returns.
            count_tokens: How many tokens a text takes; by default as for the session. With none of the
                limits, `max_turns` and `max_tokens` of the session hold.

        Returns:
            New dicts, the caller's to change; none, without a request, where a limit is 0 or less. All
            items take a request for each 100 of them and at most two more: two at a time, or all at once
            when the process has read them before.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            CursorError: The server's pages contradict each other.
            ImportError, VocabularyError: tiktoken is needed and missing, or has no vocabulary.
            openai.OpenAIError: A request failed; transient failures were repeated in vain.
        """
        limits = await self._limits_for(limit, turns, max_tokens, count_tokens)
        self._unread.forget()
        items = await (self._read(limit) if limits is None else self._read_turns(limits))
        return cast("list[ResponseInputItemParam]", items)

    @operation(takes="items")
    async def add_items(
        self, items: Sequence[ResponseInputItemParam | Mapping[str, Any] | BaseModel]
    ) -> None:
        """Append items to the history: all of them, in order, once; or none.

        They go out in requests of at most 20; a call and its output, and a reasoning item and what
        follows it, travel together where they fit. A request whose answer is lost is looked for
        before it is sent again. A write that fails or is cancelled is undone.

        Args:
            items: Items as a model request accepts them: dicts, or objects of the SDKs. They are not
                changed. Reasoning with neither id nor encrypted content cannot be stored by the API;
                it is left out, and logged.

        Raises:
            InvalidItemError: An item can never be stored. Nothing was sent.
            UnsettledWriteError: The write failed and could not be undone; says what stands.
            ConversationNotFoundError: The server does not know the resumed conversation.
            RequestTimeoutError: A request got no answer in time. Nothing of the write is left.
            openai.OpenAIError: A request failed. Nothing of the write is left.
        """
        given = checked_items(items)
        if written := to_stored(given):
            append = partial(append_items, items=written)
            await self._conversation.run(append, create=True, undo=delete_appended)
            self._unread.add(given)

    @operation(gives="deleted", items=one_or_none)
    async def pop_item(self) -> ResponseInputItemParam | None:
        """Remove the newest item and return it as `get_items` would; None when there is none.

        Each item goes to one taker, in this process or among those that share a `lock`. When the
        deletion gets no answer, or the caller is cancelled, and the item turns out to be gone, the
        next pop returns it.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed.
        """
        popped = await self._conversation.run(pop_newest, undo=put_back)
        return None if popped is None else cast("ResponseInputItemParam", replay_form(popped))

    @operation(arguments=["purge_items", "keep_conversation"])
    async def clear_session(
        self,
        *,
        purge_items: bool = False,
        keep_conversation: bool = False,
        on_progress: Progress | None = None,
    ) -> None:
        """Delete the conversation; the next write creates a new one.

        Succeeds when the conversation is gone already. OpenAI deletes the conversation and keeps its
        items, out of reach, unless they are deleted before. When the deletion fails, the session
        keeps its id.

        Args:
            purge_items: Delete every item first, one request each, eight at a time, until a second
                listing shows none.
            keep_conversation: Delete every item, and keep the conversation and its id.
            on_progress: Called with the number of items deleted so far and of all.

        Raises:
            openai.OpenAIError: A deletion failed.
        """
        if purge_items or keep_conversation:
            with suppress(ConversationNotFoundError):
                await self._conversation.run(lambda held: delete_all_items(held, on_progress))
        if not keep_conversation:
            await self._conversation.delete()

    @property
    def unsettled(self) -> tuple[dict[str, Any], ...]:
        """The receipts of writes that failed and are not undone yet."""
        return tuple(receipt.as_json() for receipt in self._conversation.receipts())

    @operation()
    async def settle(self, receipt: Mapping[str, Any]) -> Settlement:
        """Undo what a failed write has left, in this or another process.

        Args:
            receipt: `UnsettledWriteError.receipt`, or one of `unsettled`.

        Returns:
            Which items were deleted, and which stay because others follow them.

        Raises:
            ValueError: It is no receipt, or one of another conversation.
            UnsettledWriteError: The listing does not show which items are of the write, or some could
                not be deleted: use its receipt from now on.
            openai.OpenAIError: The items could not be listed; the receipt stays good.
        """
        left = Receipt.from_json(receipt)
        if left.conversation_id != self.conversation_id:
            raise ValueError(f"the receipt is of {left.conversation_id}, not of {self.conversation_id}")
        return await self._conversation.run(lambda held: settle_receipt(held, left)) or Settlement()

    async def aclose(self) -> None:
        """Settle what is unsettled, or warn of it; look for what was cut; close what the session opened.

        A later operation opens a new one. A client that was given, and the default client of the
        Agents SDK, stay open.
        """
        try:
            await self._conversation.settle_or_warn()
        finally:
            await super().aclose()
