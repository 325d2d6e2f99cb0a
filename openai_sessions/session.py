"""The session: an agent's memory in a hosted conversation."""

from __future__ import annotations

import asyncio
import copy
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

from openai_sessions import _agents
from openai_sessions._agents import WrittenAsGiven
from openai_sessions._api.clients import AsyncCloseable, Clients, clients_for
from openai_sessions._api.retries import Retrier, RetryBudget, RetryEvent, RetryPolicy, classify
from openai_sessions._arguments import (
    checked_conversation_id,
    checked_count_tokens,
    checked_history,
    checked_include,
    checked_items,
    checked_limit,
    checked_metadata,
    checked_number,
    checked_text,
    checked_timeout,
    checked_user_metadata,
    is_conversation_id,
)
from openai_sessions._conversation.lazy import Hooks, LazyConversation, PossibleOrphan
from openai_sessions._conversation.locked import LockedConversation, Settlement, settle_all, settle_receipt
from openai_sessions._conversation.locks import PluggedLock
from openai_sessions._conversation.metadata import check_room, own_pairs, replace_metadata
from openai_sessions._conversation.newest_turns import turn_limits
from openai_sessions._conversation.reading import HistoryCache, copied
from openai_sessions._conversation.shielding import run_shielded
from openai_sessions._conversation.state import Receipt
from openai_sessions._conversation.usage import (
    Usage,
    marks_of,
)
from openai_sessions._conversation.writing import (
    Progress,
    append_items,
    delete_all_items,
    delete_appended,
    pop_newest,
    put_back,
    replace_items,
)
from openai_sessions._instrumentation import one_or_none, operation
from openai_sessions._items.forms import replay_form, to_replay, to_stored
from openai_sessions._items.turns import (
    Turn,
    TurnLimits,
    cut_after_item,
    cut_before_turn,
    split_turns,
)
from openai_sessions._items.types import ConversationCallback, CountTokens, Item, Metadata
from openai_sessions.errors import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    UnsettledWriteError,
)
from openai_sessions.tokens import tiktoken_counter

if TYPE_CHECKING:
    from agents import SessionSettings
    from openai import AsyncOpenAI
    from openai.types.responses import ResponseInputItemParam
    from pydantic import BaseModel
    from typing_extensions import Self

from openai_sessions._conversation.forking import (
    PARENT_KEY,
    ForkParent,
    _create,
    _discard,
    _fill,
    _read_whole,
)
from openai_sessions._conversation.iterating import ItemStream, _checked_cursor, whole_until
from openai_sessions._conversation.metadata import checked_changes, merged
from openai_sessions._conversation.newest_turns import _items_of, _newest_turns
from openai_sessions._conversation.usage import _count_run, _read_usage, _replace_usage

__all__ = [
    "ForkParent",
    "OpenAIConversationsSession",
    "PossibleOrphan",
    "RetryBudget",
    "RetryEvent",
    "RetryPolicy",
    "Settlement",
    "Turn",
    "Usage",
    "start_openai_conversations_session",
]


class OpenAIConversationsSession(AsyncCloseable):
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
        self._written = WrittenAsGiven()
        self._history = HistoryCache() if checked_history(history) == "incremental" else None
        self._clients: Clients = clients_for(
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

    if TYPE_CHECKING:
        # Attributes for type checkers, as in the protocol agents.Session; properties below.
        session_id: str
        session_settings: SessionSettings | None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} conversation_id={self._conversation.conversation_id!r}>"

    if not TYPE_CHECKING:

        @property
        def session_id(self) -> str:
            """The id of the conversation. Setting it resumes another conversation.

            Raises:
                ConversationNotCreatedError: The session is unused; a ValueError and AttributeError.
                ValueError: The id that is set is malformed.
            """
            if self._conversation.conversation_id is None:
                _agents.register_session(type(self))
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

    @operation()
    async def ensure_conversation(self) -> str:
        """Create the conversation now if there is none yet, and return its id.

        For code that needs `session_id` before the first write. Does not ask whether a resumed
        conversation still exists.

        Raises:
            openai.OpenAIError: The conversation could not be created; the next write tries again.
        """
        return await self._conversation.ensure()

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
        self._written.forget()
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
            self._written.add(given)

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
                await self._conversation.run(lambda locked: delete_all_items(locked, on_progress))
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
        return await self._conversation.run(lambda locked: settle_receipt(locked, left)) or Settlement()

    async def aclose(self) -> None:
        """Settle what is unsettled, or warn of it; look for what was cut; close what the session opened.

        A later operation opens a new one. A client that was given, and the default client of the
        Agents SDK, stay open.
        """
        try:
            await self._conversation.settle_or_warn()
        finally:
            await self._clients.aclose()

    @operation(arguments=["last"], gives="read", items=_items_of)
    async def turns(self, last: int | None = None) -> list[Turn]:
        """Return the turns of the history, oldest first: user messages, each with all that follows it.

        Two user messages in a row begin two turns. Where a user message stands between a call and its
        output, the two turns are one. What precedes the first user message is turn 0. Numbers count from the
        beginning, so that the whole history is read, however few are asked for.

        Args:
            last: How many of the newest turns; None for all. 0 and negative numbers give an empty list
                without a request.

        Raises:
            TypeError: `last` is not a whole number.
            ConversationNotFoundError: The server does not know the conversation.
            CursorError: The server's pages contradict each other.
            openai.OpenAIError: A request failed; transient failures were repeated in vain.
        """
        wanted = checked_number("last", last, "turns")
        if wanted is not None and wanted <= 0:
            return []

        async def read(locked: LockedConversation) -> list[Item]:
            await settle_all(locked)
            return await locked.newest(None, self._history)

        turns = split_turns(self._own(await self._conversation.run(read) or []))
        return turns if wanted is None else turns[-wanted:]

    @operation(arguments=["case_sensitive"], gives="read", items=_items_of)
    async def find_turns(self, text: str, *, case_sensitive: bool = False) -> list[Turn]:
        """Return the turns that say something, oldest first; the whole history is read.

        Searched are the texts of all messages, whoever wrote them, the summaries of reasoning, and of calls
        and their outputs the names, the arguments and what they gave: what `openai_sessions.tokens.item_text`
        returns. Each text is searched by itself, without regard to its form: a `*` stands for itself.

        Args:
            text: What to look for; not empty.
            case_sensitive: Whether "Paris" is different from "PARIS".

        Raises:
            TypeError: The text is not a string.
            ValueError: The text is empty.
            ConversationNotFoundError: The server does not know the conversation.
            CursorError: The server's pages contradict each other.
            openai.OpenAIError: A request failed; transient failures were repeated in vain.
        """
        wanted = checked_text("text", text)
        return [turn for turn in await self.turns() if turn.says(wanted, case_sensitive=case_sensitive)]

    async def _limits_for(
        self, limit: int | None, turns: int | None, max_tokens: int | None, count_tokens: CountTokens | None
    ) -> TurnLimits | None:
        """Return the limits of a read, with those of the session where none is given; None for no turns."""
        given = TurnLimits(
            turns=checked_number("turns", turns, "turns"),
            tokens=checked_number("max_tokens", max_tokens, "tokens"),
        )
        if limit is None and given.turns is None and given.tokens is None:
            given = self._turn_limits
        count = checked_count_tokens(count_tokens)
        if count is not None and given.tokens is None:
            raise ValueError(
                "count_tokens= counts for max_tokens=, which is not given: give both, or neither"
            )
        if given.turns is None and given.tokens is None:
            return None
        if given.tokens is not None and count is None:
            count = self._turn_limits.count_tokens or await asyncio.to_thread(tiktoken_counter)
        items = checked_limit(_agents.limit_of(self.session_settings) if limit is None else limit)
        return replace(given, items=items, count_tokens=count)

    async def _read_turns(self, limits: TurnLimits) -> list[Item]:
        """Return the newest whole turns within limits, in replay form."""
        if limits.admit_nothing:
            return []

        async def read(locked: LockedConversation) -> list[Item]:
            await settle_all(locked)
            return await _newest_turns(locked, limits, self._history)

        return to_replay(self._own(await self._conversation.run(read) or []))

    def _own(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return items that the caller may change: copies of those that the session keeps."""
        return items if self._history is None else list(copied(items))

    @operation(arguments=["before_turn", "after_item"])
    async def fork(
        self,
        *,
        before_turn: int | None = None,
        after_item: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Return a session on a new conversation that holds the items of this one up to some point.

        This one stays as it is, and what is written to either does not show in the other. The new session
        has the settings of this one. The items are read, written to the new conversation, where
        they get ids of its own, and read back and compared.

        All or nothing: when it fails, or the caller is cancelled, the new conversation and its items are
        deleted, within 30 seconds of a cancellation. What is left after that is in the log. An empty
        conversation whose creation got no answer is told to `on_orphan`. `on_conversation_created` is not
        called: the id is that of the session that is returned.

        Args:
            before_turn: The number of a turn, as `turns()` gives it; the items before it are copied.
            after_item: The id of a stored item, as `Turn.item_ids` has it; the items up to it, and it, are
                copied. With neither argument all items are.
            metadata: Pairs to keep with the new conversation, and with those that the new session creates
                when it is cleared; at most 15. None for those that this session was made with. One more names
                the parent: see `parent()`.

        Raises:
            ValueError: Both points are given, or the metadata is over a limit. Nothing was sent.
            ForkPointError: There is no such turn or item, or a call would be torn from its output; says
                what there is. Nothing was created.
            ConversationNotCreatedError: The session is unused: there is nothing to fork.
            ConversationNotFoundError: The server does not know the conversation.
            ForkVerificationError: The new conversation did not give back what was written to it.
            UnfinishedForkError: The fork failed, and its conversation could not be deleted; names it.
            openai.OpenAIError: A request failed. Nothing is left of the fork.
        """
        if before_turn is not None and after_item is not None:
            raise ValueError(
                "a fork ends before_turn= or after_item=: give one of them, or neither for all items"
            )
        turn = checked_number("before_turn", before_turn, "turns, counted from the oldest", none="all items")
        item_id = (
            None if after_item is None else checked_text("after_item", after_item, wanted="the id of an item")
        )
        inherited = own_pairs(self._options.get("metadata") or {})
        pairs = checked_user_metadata(inherited if metadata is None else metadata, reserved=1)  # the parent
        found = await self._conversation.run(_read_whole)
        if found is None:
            raise ConversationNotCreatedError
        parent, items = found
        cut = len(items)
        if turn is not None:
            cut = cut_before_turn(parent, items, turn)
        elif item_id is not None:
            cut = cut_after_item(parent, items, item_id)
        origin = f"{parent}/{items[cut - 1].get('id')}" if cut else parent
        fork = await self._forked(to_stored(to_replay(items[:cut])), {**pairs, PARENT_KEY: origin})
        fork._keep_with_new_ones(pairs)  # noqa: SLF001 -- a session of this library
        return fork

    @operation()
    async def parent(self) -> ForkParent | None:
        """Return what this conversation was forked from, in one request; None when it is no fork.

        An unused session is none, and makes no request. The parent may have been deleted since.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: The request failed; transient failures were repeated in vain.
        """
        metadata = await self._conversation.run(
            lambda locked: locked.client.metadata_of(locked.conversation_id)
        )
        conversation_id, _, item_id = (metadata or {}).get(PARENT_KEY, "").partition("/")
        return ForkParent(conversation_id, item_id or None) if is_conversation_id(conversation_id) else None

    def _sibling(self, conversation_id: str) -> Self:
        """Return a session with the settings of this one on another conversation, without a request.

        `fork()` returns what this returns. Override it in a subclass whose constructor takes other
        arguments than that of `OpenAIConversationsSession`.

        Args:
            conversation_id: The conversation that the session resumes.
        """
        settings = copy.copy(self.session_settings)
        options = {**self._options, "conversation_id": conversation_id, "session_settings": settings}
        return cast("Self", cast("Any", type(self))(**options))

    def _keep_with_new_ones(self, metadata: Metadata) -> None:
        """Have the session keep metadata with conversations that it creates, and with its forks."""
        self._options["metadata"] = metadata or None
        self._conversation.keep_with_new_ones(metadata or None)

    async def _forked(self, items: Sequence[Item], metadata: Metadata) -> Self:
        """Return a session on a new conversation that holds items; on failure delete the conversation."""
        hooks = Hooks(on_orphan=self._options["on_orphan"], lock=self._options["lock"])
        fork = LazyConversation(self._clients, conversation_id=None, metadata=metadata, hooks=hooks)
        try:
            await run_shielded(partial(_create, fork))
            await fork.run(partial(_fill, items=items))
            return self._sibling(fork.conversation_id or "")
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- raised below
            failed: BaseException = error
        await _discard(fork, failed)
        if isinstance(failed, UnsettledWriteError) and failed.__cause__ is not None:
            failed = failed.__cause__  # nothing is unsettled any more
        raise failed

    @operation(gives="read", items=one_or_none).stream
    async def iterate_items(
        self, *, after: str | None = None
    ) -> AsyncGenerator[ResponseInputItemParam, None]:
        """Give the history item by item, oldest first, as `get_items` would return it.

        For histories that are too long for memory: it keeps some hundred items, however many there are.
        A request for each 99 items is made when the items before them are used up, and the conversation
        is locked during the requests alone: what others add meanwhile is given too, what they delete ahead
        is not, and no item is given twice or passed over. Limits of the session do not hold here.

        Leave it before its end with `contextlib.aclosing`, or let it be collected: it holds nothing.

        Args:
            after: The id of a stored item; the items that follow it are given.

        Yields:
            New dicts, ready to be sent to a model.

        Raises:
            ConversationNotFoundError: The server does not know the conversation, or the session was
                cleared meanwhile.
            ConversationNotCreatedError: `after` was given, and the session has no conversation.
            CursorError: The conversation does not hold the item `after`; or the last hundred items that
                were read were all deleted meanwhile, so that it is not known where to go on; or the
                server's pages contradict each other.
            openai.OpenAIError: A request failed; transient failures were repeated in vain.
        """
        walk = ItemStream(_checked_cursor(after))
        items: list[Item] = []
        while not walk.is_at_end:
            page = await self._conversation.run(walk.step)
            if page is None:
                walk.expect_none()
                return
            items += page
            end = len(items) if walk.is_at_end else whole_until(items)
            for item in to_replay(items[:end]):
                yield cast("ResponseInputItemParam", item)
            del items[:end]

    _ignore_ids_for_matching = True  # the Agents SDK then compares items without their ids

    async def _read(self, limit: int | None) -> list[Item]:
        wanted = checked_limit(_agents.limit_of(self.session_settings) if limit is None else limit)
        if wanted is not None and wanted <= 0:
            return []

        async def read(locked: LockedConversation) -> list[Item]:
            await settle_all(locked)
            return await locked.newest(wanted, self._history)

        items = to_replay(await self._conversation.run(read) or [])
        return items if self._history is None else list(copied(items))

    @operation(arguments=["limit"], gives="read", items=lambda read: read[0])
    async def _read_compaction_items(self, limit: int | None) -> tuple[list[Item], bool]:
        """Return the history as the Agents SDK's compaction asks for it, and whether that is all of it."""
        items = await self._read(limit)
        return self._written.restored_in(items), limit is not None and len(items) < limit

    @operation(takes="items")
    async def _atomic_replace_items(self, items: Sequence[ResponseInputItemParam]) -> bool:
        """Replace the history as the Agents SDK's compaction asks for it, keeping the conversation id."""
        written = to_stored(checked_items(items))
        await self._conversation.run(lambda locked: replace_items(locked, written), create=bool(written))
        return True

    @operation()
    async def get_metadata(self) -> dict[str, str]:
        """Return the metadata of the conversation, in one request; {} while there is none.

        The pairs that this library keeps for itself, under `openai_sessions.…`, are left out.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: The request failed; transient failures were repeated in vain.
        """

        async def read(locked: LockedConversation) -> dict[str, str]:
            return own_pairs(await locked.client.metadata_of(locked.conversation_id))

        return await self._conversation.run(read) or {}

    @operation()
    async def update_metadata(self, changes: Mapping[str, str | None]) -> None:
        """Change some pairs of the conversation's metadata, and leave the others.

        A write: it creates the conversation when there is none. The API replaces all metadata at once,
        so that this reads it, and writes it back changed, in two requests. Changes made at the same
        moment by session objects of this process, or of processes that share a `lock`, are all
        kept; without a lock, another process may undo them by replacing what it had read before. The same may
        a request whose connection was lost, where the server applies it later than its repetition.

        Args:
            changes: New values by key, and None for pairs to be removed. At most 16 pairs may result,
                with keys of at most 64 and values of at most 512 characters.

        Raises:
            TypeError: A key or value is of the wrong type. Nothing was sent.
            ValueError: A key or value is too long, or a key begins with `openai_sessions.`. Nothing was sent.
            MetadataFullError: More than 16 pairs would result. Nothing was changed.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed: the changes may or may not be made. Make them again. The
                same holds when the caller is cancelled.
        """
        checked = checked_changes(changes)

        async def update(locked: LockedConversation) -> None:
            before = await locked.client.metadata_of(locked.conversation_id)
            after = merged(before, checked)
            check_room(locked.conversation_id, after)
            if after != before:
                await replace_metadata(locked, after)

        if checked:
            await self._conversation.run(update, create=True)

    @operation()
    async def store_run_usage(self, result: object) -> None:
        """Add what a run has used to the totals of the conversation; each run once.

        Call it after `Runner.run`, or once the events of `Runner.run_streamed` are read, as with
        `AdvancedSQLiteSession` of the Agents SDK. Called again with the result of the same run, or with
        that of a run resumed from it in this process, it adds what has come since, and makes no request
        when that is nothing.

        It takes two requests: the metadata is read, and written back with the new totals; all other
        pairs stay. Nothing is lost among the session objects of a process, and among processes that share
        a `lock`. Without one, two processes may overwrite each other's totals. A process that finds its
        own newest counts overwritten, at its next count or `get_session_usage()`, adds them again.

        Args:
            result: A `RunResult` or `RunResultStreaming` of the Agents SDK. When its usage is None or zero,
                nothing is done.

        Raises:
            TypeError: It is not the result of a run. Nothing was sent.
            ConversationNotCreatedError: The session is unused, or was cleared since the run.
            MetadataFullError: The conversation has 16 pairs of metadata already. Nothing was changed.
            InvalidUsageError: What stands in the place of the totals is not theirs. Nothing was changed.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed: the run may or may not be counted. Call it again with
                the same result: it is counted once. So it is after a cancellation. A count that was on its
                way is also completed by the next one, or by `get_session_usage()`, in this process.
        """
        total = Usage.of_run(result)
        if total is None or total == Usage():
            return
        marks = marks_of(result)
        if not await self._conversation.run(lambda locked: _count_run(locked, marks, total)):
            raise ConversationNotCreatedError

    @operation()
    async def get_session_usage(self) -> Usage | None:
        """Return the totals of the conversation, in one request; None when nothing was counted.

        An unused session makes none. Any process that resumes the conversation sees the same totals. A
        second request puts back a recent count of this process that was overwritten; when that fails, the
        totals are returned with it all the same, and the next operation on them tries again.

        Raises:
            InvalidUsageError: What stands in the place of the totals is not theirs.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: The totals could not be read.
        """
        return await self._conversation.run(_read_usage)

    @operation()
    async def set_session_usage(self, usage: Usage) -> None:
        """Put other totals in the place of those of the conversation, whatever stands there.

        Raises:
            TypeError: It is no `Usage`. Nothing was sent.
            ValueError: A number of it is no whole number from 0. Nothing was sent.
            ConversationNotCreatedError: The session is unused.
            MetadataFullError: The conversation has 16 pairs of metadata already. Nothing was changed.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed: the totals may or may not be replaced. Call it again. The
                same holds when the caller is cancelled.
        """
        if not isinstance(usage, Usage):
            raise TypeError(f"usage is an openai_sessions.Usage, not {type(usage).__name__}")
        usage.check()
        if not await self._conversation.run(lambda locked: _replace_usage(locked, usage)):
            raise ConversationNotCreatedError


async def start_openai_conversations_session(openai_client: AsyncOpenAI | None = None) -> str:
    """Create an empty conversation and return its id.

    Args:
        openai_client: The client to use; by default as in `OpenAIConversationsSession`.

    Raises:
        openai.OpenAIError: The conversation could not be created.
    """
    async with OpenAIConversationsSession(openai_client=openai_client) as session:
        return await session.ensure_conversation()
