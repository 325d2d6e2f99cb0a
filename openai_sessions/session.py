"""The session: an agent's memory in a hosted conversation."""

from __future__ import annotations

import asyncio
import copy
import logging
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, cast, overload

from openai_sessions import _agents
from openai_sessions._api.clients import AsyncCloseable, Clients, RequestSettings, clients_for
from openai_sessions._api.responses import guarded_client
from openai_sessions._api.retries import RetryBudget, RetryEvent, RetryPolicy
from openai_sessions._arguments import (
    EVERY_ITEM,
    check_client,
    checked_choice,
    checked_conversation_id,
    checked_history,
    checked_include,
    checked_item_id,
    checked_item_ids,
    checked_items,
    checked_limit,
    checked_metadata,
    checked_number,
    checked_text,
    checked_user_metadata,
    is_conversation_id,
    refuse_positional,
)
from openai_sessions._conversation.compacting import (
    AS_THEY_ARE,
    CompactedHistory,
    Compaction,
    ItemForms,
    check_compact_when,
    checked_compaction,
    compact_after_turn,
    plan_compaction,
    read_history,
    request_compaction,
    store_compacted,
    undo_compaction,
)
from openai_sessions._conversation.forking import (
    PARENT_KEY,
    ForkParent,
    discarding,
    fill_fork,
    read_whole,
)
from openai_sessions._conversation.iterating import ItemStream, whole_until
from openai_sessions._conversation.lazy import Hooks, LazyConversation, PossibleOrphan
from openai_sessions._conversation.locked import LockedConversation, Settlement, settle_all, settle_receipt
from openai_sessions._conversation.locks import ConversationLock
from openai_sessions._conversation.metadata import (
    change_metadata,
    checked_changes,
    own_pairs,
    read_metadata,
)
from openai_sessions._conversation.newest_turns import HistoryLimits, read_newest_turns
from openai_sessions._conversation.reading import HistoryCache, copied
from openai_sessions._conversation.repairing import (
    DeletedItems,
    ReplacedItems,
    check_history,
    delete_named,
    repair_history,
    replace_item,
    rewind_history,
)
from openai_sessions._conversation.responding import ResponseGuard
from openai_sessions._conversation.state import Receipt
from openai_sessions._conversation.usage import (
    ModelUsage,
    Usage,
    count_run,
    marks_of,
    read_usage,
    replace_usage,
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
from openai_sessions._items.forms import replay_form, sent_form, to_replay, to_stored
from openai_sessions._items.repairs import Finding, RepairReport
from openai_sessions._items.turns import (
    Turn,
    TurnLimits,
    cut_after_item,
    cut_before_turn,
    ends_turn,
    from_newest_compaction,
    split_turns,
)
from openai_sessions._items.types import ConversationCallback, CountTokens, Item, Metadata, RunItem
from openai_sessions.errors import (
    ConversationChangedError,
    ConversationNotCreatedError,
    ConversationNotFoundError,
    InvalidItemError,
)
from openai_sessions.reading import ReadingFilter, checked_reading, read_through
from openai_sessions.server_managed import ServerManagedTurn
from openai_sessions.tokens import ServerTokens, checked_count_tokens, tiktoken_counter
from openai_sessions.turn import SessionTurn

if TYPE_CHECKING:
    from agents import SessionSettings
    from openai import AsyncOpenAI
    from openai.types.responses import ResponseInputItemParam
    from pydantic import BaseModel
    from typing_extensions import Never, Self, TypeVarTuple, Unpack

    Arguments = TypeVarTuple("Arguments")

T = TypeVar("T")

logger = logging.getLogger("openai_sessions")

__all__ = [
    "CompactedHistory",
    "Compaction",
    "DeletedItems",
    "Finding",
    "ForkParent",
    "HistoryLimits",
    "ModelUsage",
    "OpenAIConversationsSession",
    "PossibleOrphan",
    "RepairReport",
    "ReplacedItems",
    "RequestSettings",
    "RetryBudget",
    "RetryEvent",
    "RetryPolicy",
    "ServerManagedTurn",
    "SessionTurn",
    "Settlement",
    "Turn",
    "Usage",
    "start_openai_conversations_session",
]


def _items_of(turns: Iterable[Turn]) -> list[Item]:
    return [item for turn in turns for item in turn.items]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """The arguments of a session except the conversation id, checked."""

    openai_client: AsyncOpenAI | None = None
    session_settings: SessionSettings | Mapping[str, Any] | None = None
    metadata: Metadata | None = None
    include: Sequence[str] = ()
    history: Literal["full", "incremental"] = "full"
    history_limits: HistoryLimits = field(default_factory=HistoryLimits)
    reading: Sequence[ReadingFilter] = ()
    compact_when: Compaction | None = None
    requests: RequestSettings = field(default_factory=RequestSettings)
    on_conversation_created: ConversationCallback | None = None
    on_orphan: Callable[[PossibleOrphan], object] | None = None
    lock: ConversationLock | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metadata", checked_metadata(self.metadata))
        object.__setattr__(self, "include", checked_include(self.include))
        object.__setattr__(self, "reading", checked_reading(self.reading))
        checked_history(self.history)
        check_client(self.openai_client)
        for name, kind in (("history_limits", HistoryLimits), ("requests", RequestSettings)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {getattr(self, name)!r}")
        check_compact_when(self.compact_when, from_compaction=self.history_limits.from_compaction)

    @property
    def hooks(self) -> Hooks:
        """The callbacks and the lock."""
        return Hooks(on_created=self.on_conversation_created, on_orphan=self.on_orphan, lock=self.lock)

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> SessionOptions:
        """Return the options given as keyword arguments of a session; None stands for the default."""
        return cls(**{name: value for name, value in arguments.items() if value is not None})

    def as_arguments(self) -> dict[str, Any]:
        """Return the options as keyword arguments of a session."""
        return {option.name: getattr(self, option.name) for option in fields(self)}


class OpenAIConversationsSession(AsyncCloseable):
    """Keep an agent's memory in a conversation hosted by OpenAI.

    A drop-in replacement for the Agents SDK's class of the same name. The conversation is created, empty, by
    the first write; a session that is only read, popped or cleared before that sends no request. Session
    objects on one conversation in one process share a lock and behave as one; operations on different
    conversations never wait for each other.

    Any operation may be cancelled. One that has started to write is undone first, within 10 seconds. What is
    not undone by then is logged: the next operation deletes what the server had acknowledged (`unsettled`),
    and a request that got no reply may remain stored.

    Args:
        conversation_id: Resume this conversation. No request is sent until the session is used.
        openai_client: The client to use. The caller closes it, and uses it in one event loop. By default:
            the default client of the Agents SDK if one is set, else clients of the session's own, one for
            each event loop, configured from the environment at the first request and closed by `aclose()`.
        session_settings: An `agents.SessionSettings`, a dict of its fields, or None. Its `limit` applies to
            `get_items()` without a limit.
        metadata: The metadata of conversations that this session creates: at most 16 pairs, with keys of at
            most 64 and values of at most 512 characters.
        include: Values of the API's `include` for listing items, in addition to those that a faithful replay
            needs, such as `message.output_text.logprobs`.
        history: "full" reads all pages each time. "incremental" reads the newest page of 100, and joins it to
            the items that the session then keeps in memory: exact while others only append, pop or clear, as
            deletions further back are not seen.
        history_limits: How much of the history the model sees: the newest whole turns within limits of turns
            and tokens. By default all of it, from the newest compaction item on.
        compact_when: Compact the history after a turn, once it exceeds `max_turns` or `max_tokens`: see
            `compact`. A turn ends with items that `add_items` stores, the last of which is an answer of the
            assistant, or with the block of `turn()`. The history is read for it, in one request for each 100
            items since the last compaction. A compaction that fails is logged, and the next turn tries again.
        requests: Timeout and retries of requests.
        on_conversation_created: Called with the id of each conversation that this session creates, before its
            first item is written, so that an application can save the id. May be a coroutine function. If it
            raises, the write fails with its exception, the conversation stays, and the next write calls it
            again. It may use the session.
        on_orphan: Called with a `PossibleOrphan` when the reply to a creation was lost, or has no id that can
            be used: an empty conversation may exist that nobody knows.
        lock: Given the conversation id, returns an async context manager that is held around each read and
            write, and around an exclusive turn, so that processes exclude each other:
            `openai_sessions.redis.redis_lock(client)`, or one of your own. If entering it returns an object
            with a method `raise_if_lost()`, that is called before each write. An error on releasing it is
            logged. A request that the server applies after that may be stored twice.

    Raises:
        InvalidConversationIdError: The conversation id is malformed, the id of another object, or a name.
        ValueError: The metadata is over a limit.
        TypeError: An argument has the wrong type.
        ImportError: `history_limits` has max_tokens without count_tokens, and tiktoken is not installed.
        VocabularyError: tiktoken could not fetch its vocabulary.
    """

    _ignore_ids_for_matching = True  # the Agents SDK then compares items without their ids

    def __init__(  # noqa: PLR0913 -- the arguments of the Agents SDK's class, and ours
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
        options = SessionOptions(
            openai_client=openai_client or _agents.default_client(),
            session_settings=session_settings,
            metadata=metadata,
            include=include,
            history=history,
            history_limits=HistoryLimits() if history_limits is None else history_limits,
            reading=reading,
            compact_when=compact_when,
            requests=RequestSettings() if requests is None else requests,
            on_conversation_created=on_conversation_created,
            on_orphan=on_orphan,
            lock=lock,
        )
        clients = clients_for(options.openai_client, options.requests, options.include)
        conversation = LazyConversation(
            clients,
            conversation_id=None if conversation_id is None else checked_conversation_id(conversation_id),
            metadata=options.metadata,
            hooks=options.hooks,
        )
        self._set_up(options, clients, conversation)

    def _set_up(self, options: SessionOptions, clients: Clients, conversation: LazyConversation) -> None:
        """Make this a session over a conversation; subclasses with another constructor call it."""
        limits = options.history_limits
        self._options = options
        self._clients = clients
        self._conversation = conversation
        self._settings = _agents.session_settings(options.session_settings)
        self._count_tokens = limits.count_tokens
        if limits.max_tokens is not None and limits.count_tokens is None:
            self._count_tokens = tiktoken_counter()
        self._history = HistoryCache() if options.history == "incremental" else None
        self._written = _agents.WrittenAsGiven()
        self._compacted: Sequence[str] | None = None
        """The newest id that compaction has read; empty if there was none, None if it has not read."""
        self._has_logged_loss = False
        _agents.register_session(type(self))

    if TYPE_CHECKING:
        # Attributes for type checkers, as in the protocol agents.Session; properties below.
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
        """The id of the conversation, or None if there is none yet."""
        return self._conversation.conversation_id

    @operation()
    async def ensure_conversation(self) -> str:
        """Create the conversation now if there is none yet, and return its id.

        For code that needs `session_id` before the first write. Does not check whether a resumed conversation
        still exists.

        Raises:
            openai.OpenAIError: The conversation could not be created; the next write tries again.
        """
        return await self._conversation.ensure()

    def client(self) -> AsyncOpenAI:
        """Return a client of openai whose `responses.create(conversation=…)` is sent once.

        For the other way to use a conversation, in which the model reads and stores it: plain openai, or any
        framework that takes a client. It has the key, base URL, headers and timeouts of the session's client,
        and the model sees what it would see without it.

        openai repeats a request whose reply was lost, and the question, the answer and their tool calls are
        then stored twice. This client searches for the response first, and returns it if it was stored: as
        the server has it, or, if its id did not arrive, rebuilt from its items: with an empty id, without
        usage, and with `openai_sessions.rebuilt` in its metadata. A stream that is cut is completed. Only if
        two searches do not find it, `settle_after` apart, the request is sent again, as often as
        `RetryPolicy` says; while another response holds the conversation, for as long as the client's
        timeout and the policy's deadline together. openai's `max_retries` applies to all other requests.

        To know what a request follows, the newest 20 items are read before it: one more request each turn,
        none where the input answers a call of the reply before. The conversation may be any. No lock is
        held.

        Its requests raise what they raise without it, and `IncompleteResponseError` if it cannot be found out
        what became of a response. Cancelled, they may leave the response stored: see `turn()`.

        Returns:
            A new client. It uses the connections of the session, and works as long as they are open; closing
            it closes none of them.

        Raises:
            openai.OpenAIError: The environment has no credentials.
        """
        return guarded_client(self._clients.given, ResponseGuard(self._clients, on_answered=self._answered))

    # Reading

    @operation(arguments=["limit", "turns", "max_tokens"], gives="read")
    @_agents.called_by_runner
    async def get_items(
        self,
        limit: int | None = None,
        *,
        turns: int | None = None,
        max_tokens: int | None = None,
        count_tokens: CountTokens | ServerTokens | None = None,
    ) -> list[ResponseInputItemParam]:
        """Return the history, oldest first, ready to be sent to a model.

        It starts at the newest compaction item, unless `history_limits` says otherwise, or `limit` is given
        alone and is not that of `session_settings`: see `HistoryLimits`. Everything is in `turns()` and
        `iterate_items()`.

        With `turns` or `max_tokens`, it returns the newest whole turns within all limits: none if the newest
        turn exceeds one of them. They are read from the newest page back, as far as needed.

        The filters of `reading` are applied last, unless `limit` is given and is not that of
        `session_settings`: the Agents SDK reads the newest items in this way to compare them.

        Args:
            limit: Maximum number of the newest items; None for `session_settings.limit`, or for all if that
                is None too. Alone it may separate a call from its output, and cut off the compaction item.
            turns: Maximum number of the newest turns, as `turns()` returns them.
            max_tokens: Maximum number of tokens, of the texts that `openai_sessions.tokens.item_text` gives,
                or of a whole request with `ServerTokens`.
            count_tokens: Returns the number of tokens of a text, or an `openai_sessions.tokens.ServerTokens`;
                by default as in `history_limits`. Without any limit, `history_limits` applies.

        Returns:
            New dicts, which the caller may change; none, without a request, if a limit is 0 or less. All
            items take one request for each 100 of them and at most two more: two at a time, or all at once if
            the process has read them before. The newest page is read first, and is enough if the compaction
            item is there.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            CursorError: The server's pages contradict each other.
            InvalidReadingError: A filter of `reading` returned something that a model cannot be sent. An
                exception that it raises passes through.
            ImportError, VocabularyError: tiktoken is needed and missing, or has no vocabulary.
            TokenCountError: The server was to count tokens, and cannot.
            openai.OpenAIError: A request failed; transient failures were retried without success.
        """
        limits = await self._limits_for(limit, turns, max_tokens, count_tokens)
        self._written.forget()
        listed: Sequence[Item] | None = None
        if limits is None:
            wanted = self._wanted(limit)
            if wanted != 0:
                listed = await self._conversation.run(_read_items, wanted, self._history)
                listed = self._needed(listed or [], limit)
        elif not limits.admit_nothing:
            listed, _ = await self._conversation.run(read_newest_turns, limits, self._history) or ([], True)
        items = await self._filtered(to_replay(self._own(listed or [])), limit)
        return cast("list[ResponseInputItemParam]", items)

    @operation(gives="read", items=one_or_none).stream
    async def iterate_items(
        self, *, after: str | None = None
    ) -> AsyncGenerator[ResponseInputItemParam, None]:
        """Yield the whole history item by item, oldest first, each as `get_items` would return it.

        For histories that do not fit into memory: it keeps some hundred items, however many there are. A
        request for each 99 items is sent when the items before them are used up, and the conversation is
        locked only during the requests: items that others add meanwhile are yielded too, items that they
        delete ahead are not, and no item is yielded twice or skipped. `history_limits` does not apply.

        Leave it before its end with `contextlib.aclosing`, or let it be collected: it keeps nothing open.

        Args:
            after: The id of a stored item; the items that follow it are yielded.

        Yields:
            New dicts, ready to be sent to a model.

        Raises:
            ConversationNotFoundError: The server does not know the conversation, or the session was cleared
                meanwhile.
            ConversationNotCreatedError: `after` was given, and the session has no conversation.
            CursorError: The conversation does not have the item `after`; or the latest hundred items were all
                deleted meanwhile, so that it is unknown where to continue; or the server's pages contradict
                each other.
            openai.OpenAIError: A request failed; transient failures were retried without success.
        """
        stream = ItemStream(after)
        items: list[Item] = []
        while not stream.is_at_end:
            page = await self._conversation.run(stream.step)
            if page is None:
                stream.expect_no_conversation()
                return
            items += page
            end = len(items) if stream.is_at_end else whole_until(items)
            for item in to_replay(items[:end]):
                yield cast("ResponseInputItemParam", item)
            del items[:end]

    @operation(arguments=["last"], gives="read", items=_items_of)
    async def turns(self, last: int | None = None) -> list[Turn]:
        """Return the turns of the history, oldest first: user messages, each with all that follows it.

        Two user messages in a row start two turns. If a user message is between a call and its output, the
        two turns are one. Items before the first user message are turn 0. Numbers count from the first turn,
        so that the whole history is read, however few turns are returned.

        Args:
            last: How many of the newest turns; None for all. 0 and negative numbers return an empty list
                without a request.

        Raises:
            TypeError: `last` is not a whole number.
            ConversationNotFoundError: The server does not know the conversation.
            CursorError: The server's pages contradict each other.
            openai.OpenAIError: A request failed; transient failures were retried without success.
        """
        wanted = checked_number("last", last, "turns")
        if wanted is not None and wanted <= 0:
            return []
        items = await self._conversation.run(_read_items, None, self._history) or []
        turns = split_turns(self._own(items))
        return turns if wanted is None else turns[-wanted:]

    @operation(arguments=["case_sensitive"], gives="read", items=_items_of)
    async def find_turns(self, text: str, *, case_sensitive: bool = False) -> list[Turn]:
        """Return the turns that contain a text, oldest first; the whole history is read.

        Searches the texts of all messages, the summaries of reasoning, and the names, arguments and outputs
        of calls: what `openai_sessions.tokens.item_text` returns. The text is searched literally, in each
        text separately.

        Args:
            text: The text; not empty.
            case_sensitive: Whether "Paris" differs from "PARIS".

        Raises:
            TypeError: The text is not a string.
            ValueError: The text is empty.
            ConversationNotFoundError: The server does not know the conversation.
            CursorError: The server's pages contradict each other.
            openai.OpenAIError: A request failed; transient failures were retried without success.
        """
        wanted = checked_text("text", text)
        return [turn for turn in await self.turns() if turn.says(wanted, case_sensitive=case_sensitive)]

    def _wanted(self, limit: int | None) -> int | None:
        """Return how many items to read, by default as the settings say; None for all."""
        wanted = checked_limit(_agents.limit_of(self.session_settings) if limit is None else limit)
        return None if wanted is None else max(0, wanted)

    def _needed(self, items: Sequence[Item], limit: int | None) -> Sequence[Item]:
        """Return what a model needs of the items that `get_items(limit)` has listed."""
        is_for_model = self._from_compaction and self._is_for_model(limit)
        return from_newest_compaction(items) if is_for_model else items

    def _is_for_model(self, limit: int | None) -> bool:
        """Return whether `get_items(limit)` returns what a model sees: the limit is that of the session."""
        return limit in (None, _agents.limit_of(self.session_settings))

    @property
    def _from_compaction(self) -> bool:
        return self._options.history_limits.from_compaction

    async def _limits_for(
        self,
        limit: int | None,
        turns: int | None,
        max_tokens: int | None,
        count_tokens: CountTokens | ServerTokens | None,
    ) -> TurnLimits | None:
        """Return the limits of a read, by default those of the session; None if only items are limited."""
        count = checked_count_tokens(count_tokens)
        wanted_turns = checked_number("turns", turns, "turns")
        tokens = checked_number("max_tokens", max_tokens, "tokens")
        if limit is None and wanted_turns is None and tokens is None:
            limits = self._options.history_limits
            wanted_turns, tokens = limits.max_turns, limits.max_tokens
        if count is not None and tokens is None:
            raise ValueError("count_tokens= needs max_tokens=, which is not given: give both, or neither")
        items = checked_limit(_agents.limit_of(self.session_settings) if limit is None else limit)
        if wanted_turns is None and tokens is None and (items is not None or not self._from_compaction):
            return None
        if tokens is not None and count is None:
            count = self._count_tokens or await asyncio.to_thread(tiktoken_counter)
        return TurnLimits(
            turns=wanted_turns,
            tokens=tokens,
            items=items,
            count_tokens=count,
            from_compaction=self._from_compaction,
        )

    async def _filtered(self, items: list[Item], limit: int | None) -> list[Item]:
        """Return what the model sees of items that `get_items(limit)` has read, and that may be changed."""
        return await read_through(items, self._options.reading) if self._is_for_model(limit) else items

    def _own(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return items that the caller may change: copies of those that the session keeps."""
        return items if self._history is None else list(copied(items))

    # Writing

    @operation(takes="items")
    @_agents.called_by_runner
    async def add_items(
        self, items: Sequence[ResponseInputItemParam | Mapping[str, Any] | BaseModel | RunItem]
    ) -> None:
        """Append items to the history: all of them, in order, once; or none.

        They are sent in requests of at most 20; a call and its output, and a reasoning item and the item
        after it, are sent together where they fit. A request whose reply is lost is searched for before it is
        sent again. A write that fails or is cancelled is undone.

        Args:
            items: Items as a model request accepts them: dicts, Pydantic models, such as those of
                `response.output`, or the `new_items` of a run. They are not changed.
                Reasoning with neither id nor encrypted content cannot be stored by the API; it is left out,
                and logged. So is `provider_data`, which is logged once for each session.

        Raises:
            InvalidItemError: An item can never be stored. Nothing was sent.
            UnsettledWriteError: The write failed and could not be undone; says what remains stored.
            ConversationNotFoundError: The server does not know the resumed conversation.
            RequestTimeoutError: A request got no response in time. Nothing of the write remains.
            openai.OpenAIError: A request failed. Nothing of the write remains.

        With `compact_when`, a cancellation during the compaction undoes that, and the items stay stored.
        """
        given = checked_items(items)
        if stored := to_stored(given, on_loss=self._log_loss):
            await self._conversation.run(append_items, stored, create=True, undo=delete_appended)
            self._written.add(given)
            if ends_turn(stored):
                await self._turn_ended()
                await self._compact_after_turn()

    @operation(gives="deleted", items=one_or_none)
    @_agents.called_by_runner
    async def pop_item(self) -> ResponseInputItemParam | None:
        """Remove the newest item and return it as `get_items` would; None if there is none.

        Each item is returned to one caller, in this process or among those that share a `lock`. If the
        deletion gets no response, or the caller is cancelled, and the item turns out to be gone, the next pop
        returns it.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed.
        """
        popped = await self._conversation.run(pop_newest, undo=put_back)
        return None if popped is None else cast("ResponseInputItemParam", replay_form(popped))

    def _log_loss(self, count: int) -> None:
        """Log, once for this session, that `provider_data` is left out."""
        if not self._has_logged_loss:
            self._has_logged_loss = True
            logger.warning(
                "%r: the provider_data of %d item(s) was left out, because the API cannot store it; an "
                "EncryptedSession keeps it. This is logged once for each session",
                self,
                count,
            )

    @operation(arguments=["purge_items", "keep_conversation"])
    @_agents.called_by_runner
    async def clear_session(
        self,
        *,
        purge_items: bool | None = None,
        keep_conversation: bool = False,
        on_progress: Progress | None = None,
    ) -> None:
        """Delete the conversation; the next write creates a new one.

        Succeeds if the conversation is gone already. OpenAI deletes the conversation and keeps its items, out
        of reach, unless they are deleted before. If the deletion fails, the session keeps its id.

        Args:
            purge_items: Delete every item first, one request each, eight at a time, until a second listing
                is empty. None: only in a session of a directory.
            keep_conversation: Delete every item, and keep the conversation and its id.
            on_progress: Called with the number of items deleted so far, and of all items.

        Raises:
            openai.OpenAIError: A deletion failed.
        """
        if keep_conversation:
            with suppress(ConversationNotFoundError):
                await self._conversation.run(partial(delete_all_items, on_progress=on_progress))
        else:
            await self._conversation.delete(purge_items=purge_items, on_progress=on_progress)

    @property
    def unsettled(self) -> tuple[dict[str, Any], ...]:
        """What failed writes of this process have left: receipts with the ids that the server acknowledged.

        The next operation deletes them. Items of requests whose outcome is unknown are in
        `UnsettledWriteError.receipt` only.
        """
        return tuple(receipt.as_json() for receipt in self._conversation.receipts())

    @operation()
    async def settle(self, receipt: Mapping[str, Any]) -> Settlement:
        """Undo what a failed write has left, or finish a deletion that failed, in this or another process.

        Args:
            receipt: `UnsettledWriteError.receipt`, `UnfinishedDeletionError.receipt`, or one of `unsettled`.

        Returns:
            Which items were deleted, and which are kept because others follow them.

        Raises:
            ValueError: It is not a receipt, or belongs to another conversation.
            UnsettledWriteError: The listing does not show which items belong to the write, or some could not
                be deleted: use the new receipt from now on.
            UnfinishedDeletionError: Some items of a deletion are still stored: use the new receipt.
            openai.OpenAIError: The items could not be listed; the receipt remains valid.
        """
        left = Receipt.from_json(receipt)
        if left.conversation_id != self.conversation_id:
            raise ValueError(
                f"the receipt belongs to {left.conversation_id}, and this session to {self.conversation_id}: "
                f"settle it on a session with conversation_id={left.conversation_id!r}"
            )
        return await self._conversation.run(settle_receipt, left) or Settlement()

    # Turns

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
        """Return a turn: one block whose items are stored once and whole, or not at all.

        By default the turn is a session, whose changes are made when the block ends:

            async with session.turn() as turn:
                result = await Runner.run(agent, text, session=turn)

        With `server_managed=True` the model reads and stores the conversation itself:

            async with session.turn(server_managed=True) as turn:
                result = await Runner.run(
                    agent, text, conversation_id=turn.conversation_id, run_config=turn.run_config
                )

        Its requests for responses are sent once, as those of `client()`. What they add is recorded by its
        ids, and deleted if the block raises an error or is cancelled. The conversation is created at the
        start of the block.

        Without it, reads give the stored history and what the turn has added. Nothing is written before the
        end of the block; then all that it has added is one write, as by `add_items`: stored once, or not at
        all. If that raises, `turn.pending` has the items. Two turns at once are stored whole, one behind the
        other.

        Args:
            server_managed: Whether the model stores the turn, and not the session.
            on_error: What happens to a turn whose block raises an error or is cancelled; the error is raised
                in every case. "discard", the default: nothing is sent. "keep": stores what is complete, which
                is no call without its output, no output without its call, and no reasoning without what it
                led to. Of a server-managed turn: "rewind", the default: what the turn has added is deleted,
                newest first; what others have added, or have answered, stays, with a log line. "repair":
                its calls without an output get one that says so. "keep": it stays as it is.
            on_conflict: What happens if others have written since the turn has first read the history.
                "append": the turn is stored behind. "raise": the newest item is read before the write, and if
                it is another one, `ConversationChangedError` is raised and nothing is written. That is exact
                in one process, and among processes that share a `lock`.
            exclusive: Hold the conversation from the start of the block to its end, with the `lock` of the
                session if it has one: a second turn waits, and sees the first. The conversation is created at
                the start. Other use of it inside the block, by the task of the block or tasks that it starts,
                raises `ConversationHeldError`.

        The end of a server-managed turn that fails raises `UnfinishedDeletionError` if it cannot be deleted,
        and `UnsettledWriteError` if it cannot be listed; `settle()` takes the receipt of both. If it was
        cancelled, it has 10 seconds, and what fails is logged.

        Raises:
            ValueError, TypeError: An argument is none of these; or a subclass overrides `get_items` or
                `add_items`, which a turn does not call: override `turn` there too.
        """
        if server_managed:
            checked_choice("on_conflict", on_conflict, ("append",))
            at_errors = on_error or "rewind"
            return ServerManagedTurn(
                self._conversation,
                self._clients,
                on_error=at_errors,
                exclusive=exclusive,
                on_answered=self._answered,
            )
        if not self._stores_as_given():
            raise TypeError(
                f"{type(self).__name__} overrides get_items() or add_items(), which a turn would pass by: "
                "override turn() too, or pass the session itself to the run"
            )
        wanted = cast('Literal["discard", "keep"]', on_error or "discard")
        return SessionTurn(self, on_error=wanted, on_conflict=on_conflict, exclusive=exclusive)

    # Repairing and going back

    @operation()
    async def check(self) -> RepairReport:
        """Return what makes the API refuse the next response, or loses its meaning, without changing it.

        Found are calls without output, outputs without call, second outputs of a call, reasoning of which
        nothing remains that it led to, and requests for an approval that were not answered. A run that is
        going on, or waits for an approval, has open calls too: they are not a fault. The whole history is
        read.

        Returns:
            The findings, oldest first; none, without a request, for an unused session.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            CursorError: The server's pages contradict each other.
            openai.OpenAIError: A request failed; transient failures were retried without success.
        """
        return await self._conversation.run(check_history) or RepairReport(None)

    @operation()
    async def repair(self) -> RepairReport:
        """Close or remove what `check()` finds, so that the next response is not refused.

        A call of the newest turn is closed: an output is appended that says that the call was not completed;
        a request for an approval is refused. All of these are stored, or none. An older call, the call of a
        computer, and whatever else is found is deleted, by its id, newest first; reasoning that led only to
        deleted calls is deleted too. A second call changes nothing.

        Call it when no run uses the conversation, or with a shared `lock`: an output that another process
        stores during the repair has lost its call then, or is the second one. Nothing that another process
        stores is deleted after the repair has read the history.

        A cancelled repair takes back its outputs, or stops between two deletions, within 10 seconds; the log
        names the items that remain, and another repair continues.

        Returns:
            The findings, with what was done to each.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            UnsettledWriteError: Outputs could not be appended, and the write could not be undone.
            UnfinishedDeletionError: The calls were closed, and some items could not be deleted.
            openai.OpenAIError: A request failed. Nothing was changed.
        """
        return await self._conversation.run(repair_history) or RepairReport(None)

    @operation(arguments=["before_turn", "after_item"])
    async def rewind(self, *, before_turn: int | None = None, after_item: str | None = None) -> DeletedItems:
        """Delete the items after some point: the whole history is read, and each item takes one request.

        They are deleted by their ids, newest first, eight at a time. After a failure no other deletion is
        started. Items that another process adds meanwhile stay.

        A cancelled rewind stops between two deletions, within 10 seconds: what remains is the beginning of
        the history, unless a deletion failed. The log names the items that were to be deleted and remain.

        Args:
            before_turn: The number of a turn, as in `turns()`; it and all that follows it are deleted.
            after_item: The id of a stored item, as in `Turn.item_ids`; what follows it is deleted.

        Returns:
            The items that were deleted.

        Raises:
            ValueError: Not exactly one of both points is given. Nothing was sent.
            CutPointError: There is no such turn or item, or a call would be separated from its output; says
                which there are. Nothing was deleted.
            ConversationNotCreatedError: The session is unused.
            ConversationNotFoundError: The server does not know the conversation.
            UnfinishedDeletionError: Some items could not be deleted: `settle(error.receipt)` deletes them.
            openai.OpenAIError: The history could not be read. Nothing was deleted.
        """
        if (before_turn is None) == (after_item is None):
            raise ValueError("give before_turn= or after_item=, and only one of them")
        turn = checked_number("before_turn", before_turn, "turns, counted from the oldest")
        item_id = "" if after_item is None else checked_item_id("after_item", after_item)

        def cut(conversation_id: str, items: Sequence[Item]) -> int:
            if turn is None:
                return cut_after_item(conversation_id, items, item_id)
            return cut_before_turn(conversation_id, items, turn)

        return await self._changed(rewind_history, cut)

    @operation()
    async def delete_items(self, ids: Sequence[str]) -> DeletedItems:
        """Delete some items: the whole history is read, and each item takes one request.

        A call and its outputs are deleted together only, and so are reasoning and what it led to. They are
        deleted newest first, eight at a time; after a failure no other deletion is started. A cancellation
        stops between two deletions, within 10 seconds, and the log names the items that remain.

        Args:
            ids: The ids of stored items, as in `Turn.item_ids`, in any order. None of them: nothing is sent.

        Returns:
            The items that were deleted.

        Raises:
            TypeError: It is not a list of strings. Nothing was sent.
            ValueError: An id is empty, or there twice. Nothing was sent.
            ItemNotFoundError: The conversation does not have some of the items. Nothing was deleted.
            SplitItemsError: Items that belong together would be separated; names those to add. Nothing was
                deleted.
            ConversationNotCreatedError: The session is unused.
            ConversationNotFoundError: The server does not know the conversation.
            UnfinishedDeletionError: Some items could not be deleted: `settle(error.receipt)` deletes them.
            openai.OpenAIError: The history could not be read. Nothing was deleted.
        """
        item_ids = checked_item_ids(ids)
        return await self._changed(delete_named, item_ids) if item_ids else DeletedItems()

    @operation()
    async def replace_item(
        self, item_id: str, item: ResponseInputItemParam | Mapping[str, Any] | BaseModel | RunItem
    ) -> ReplacedItems:
        """Replace an item. It and all items that follow it get new ids.

        The API can only append: the new item and those that follow it are written again, all or none, and
        then the old ones are deleted, newest first. Until the end, readers in other processes see both. Items
        that another process adds meanwhile stay, before those that are written again.

        A cancelled replacement is undone, or completed once it has begun to delete, within 10 seconds; the
        log names old items that remain.

        Args:
            item_id: The id of a stored item, as in `Turn.item_ids`.
            item: The new item, as a model request accepts it. An output must keep the type and the call_id of
                the old one, and so must a call.

        Returns:
            The new ids, by the old ones.

        Raises:
            InvalidItemError: The new item, or one that follows, cannot be stored: the API would refuse a copy
                of an item that keeps its id, such as a web search. Nothing was changed.
            ItemNotFoundError: The conversation does not have the item. Nothing was changed.
            SplitItemsError: Items that belong together would be separated. Nothing was changed.
            ConversationNotCreatedError: The session is unused.
            ConversationNotFoundError: The server does not know the conversation.
            UnsettledWriteError: The write failed and could not be undone.
            UnfinishedDeletionError: The items are stored, and some old ones could not be deleted:
                `settle(error.receipt)` deletes them.
            openai.OpenAIError: A request failed. Nothing was changed.
        """
        old_id = checked_item_id("item_id", item_id)
        new = to_stored([item], on_loss=self._log_loss)
        if not new:
            raise InvalidItemError(0, "the API stores reasoning only with an id or encrypted_content")
        return await self._changed(replace_item, old_id, new[0])

    async def _changed(
        self,
        operation: Callable[[LockedConversation, Unpack[Arguments]], Coroutine[Any, Any, T]],
        *args: Unpack[Arguments],
    ) -> T:
        """Run an operation on stored items.

        Raises:
            ConversationNotCreatedError: The session is unused.
        """
        changed = await self._conversation.run(operation, *args)
        if changed is None:
            raise ConversationNotCreatedError
        return changed

    # Compaction

    @operation()
    async def compact(self, compaction: Compaction | None = None) -> CompactedHistory | None:
        """Compact the history: a compaction item stands for all but the newest turns from now on.

        The history is read, `POST /responses/compact` of the session's client compacts its older turns, and
        what it returns is appended: the user's messages and the compaction item. The newest turns follow, as
        they are, with new ids; their old copies are deleted. `get_items()` starts at the compaction item from
        then on; `turns()`, exports and searches see everything, the user's messages twice.

        All or nothing, until the first old item is deleted; after that it is completed, in case of a failure
        by the next operation. No lock is held while the model compacts. If others write meanwhile, or delete
        the newest item, nothing is changed: the listing is read after the write, and shows what has come
        between; then the write is undone.

        A cancelled compaction is undone, or completed once it has begun to delete, within 10 seconds.

        If the newest turns have more than 19 items, they take several requests: between these, and if the
        process is killed there, other processes without the same `lock` read a part of them.

        Args:
            compaction: The model, the limits from which on it compacts, and what stays; by default the
                session's `compact_when`.

        Returns:
            None if nothing was compacted: the history is within the limits, or has nothing before the turns
            that stay; or its newest turn would be compacted while one of its calls waits for an output.

        Raises:
            ValueError: There is no `compact_when`; or `history_limits` has `from_compaction=False`, so that
                reads would not start at the compaction item.
            TypeError: It is not a `Compaction`.
            ConversationNotCreatedError: The session is unused.
            ConversationNotFoundError: The server does not know the conversation.
            ConversationChangedError: Others have written meanwhile. Nothing was changed.
            CompactionError: The server cannot compact.
            InvalidResponseError: The response has no compaction item.
            TokenCountError, ImportError, VocabularyError: Tokens cannot be counted.
            UnsettledWriteError: The write failed and could not be undone.
            openai.OpenAIError: A request failed. Nothing was changed.
        """
        wanted = checked_compaction(
            compaction, self._options.compact_when, from_compaction=self._from_compaction
        )
        return await self._compact(wanted, AS_THEY_ARE)

    @operation()
    async def _compact(self, compaction: Compaction, forms: ItemForms) -> CompactedHistory | None:
        """Compact the history, of items that are read and written through `forms`.

        Raises:
            TypeError: A subclass overrides reads or writes.
            Exception: As `compact()`.
        """
        if not self._stores_as_given():
            raise TypeError(
                f"{type(self).__name__} overrides get_items() or add_items(), which compact() passes by"
            )
        if compaction.max_tokens is not None and compaction.count_tokens is None:
            count = self._count_tokens or await asyncio.to_thread(tiktoken_counter)
            compaction = replace(compaction, count_tokens=count)
        history = await self._changed(read_history, compaction, forms, self._history)
        client = await self._clients.client()
        plan = await plan_compaction(client, compaction, history)
        if plan is None:
            return None
        output, usage = await request_compaction(client, compaction, plan)
        stored = await self._conversation.run(store_compacted, plan, output, forms, undo=undo_compaction)
        if stored is None:
            raise ConversationChangedError(
                history.conversation_id, history.newest_id, None, None, during="compaction"
            )
        return replace(stored, usage=usage)

    async def _turn_ended(self) -> None:
        """Take note that a turn was stored: an extension point, for what follows each turn of a session.

        Called after each write that ends with an answer of the model, by this session or with `client()`.
        """

    async def _answered(self, conversation_id: str) -> None:
        if conversation_id == self.conversation_id:
            await self._turn_ended()

    async def _compact_after_turn(self) -> None:
        if self._options.compact_when is not None:
            await compact_after_turn(self)

    # What the compaction session of the Agents SDK calls

    @_agents.for_compaction
    @operation(arguments=["limit"], gives="read", items=lambda read: read[0])
    async def _read_compaction_items(self, limit: int | None) -> tuple[list[Item], bool]:
        """Return the history, and whether that is all of it."""
        if not self._stores_as_given():
            self._compacted = _ids_of(await self._conversation.run(_read_items, 1, None) or [])
            # A limit that is not that of the settings passes the filters of `reading` by.
            is_limited = limit is not None or _agents.limit_of(self.session_settings) is not None
            own = await self.get_items(limit=limit if is_limited else EVERY_ITEM)
            return cast("list[Item]", own), limit is not None and len(own) < limit
        wanted = self._wanted(limit)
        if wanted == 0:
            return [], False
        listed = await self._conversation.run(_read_items, wanted, self._history) or []
        self._compacted = _ids_of(listed[-1:])
        items = to_replay(self._own(listed))
        return self._written.restored_in(items), limit is not None and len(items) < limit

    @operation(takes="items")
    async def _atomic_replace_items(self, items: Sequence[ResponseInputItemParam]) -> bool:
        """Replace the history, keeping the conversation id; leave one that changed since compaction read it.

        Returns:
            False for a subclass that overrides reads or writes, if the history has not changed: the Agents
            SDK then calls `clear_session()` and `add_items()`.
        """
        stored = to_stored(checked_items(items), on_loss=self._log_loss)
        expected, self._compacted = self._compacted, None
        if not self._stores_as_given():
            newest = _ids_of(await self._conversation.run(_read_items, 1, None) or [])
            if expected in (None, newest):
                return False
            _agents.log_skipped_compaction(self.conversation_id)
            return True
        is_done = await self._conversation.run(replace_items, stored, expected, None, create=bool(stored))
        if is_done is False:
            _agents.log_skipped_compaction(self.conversation_id)
        return True

    @_agents.for_compaction
    @operation(arguments=["limit"], gives="read", items=lambda read: read.items if read else [])
    async def _get_compaction_snapshot(self, limit: int, *, prune_prefix: object = None) -> Any:
        """Return the newest items, and a function that replaces the last of them unless they have changed.

        Returns:
            None if the history is not to be replaced in this way: the Agents SDK then calls the methods
            above.
        """
        make_snapshot = _agents.compaction_snapshot()
        if make_snapshot is None or prune_prefix is not None or not self._stores_as_given():
            return None
        newest = await self._conversation.run(_read_items, limit + 1, None) or []
        listed = newest[-limit:]
        items = to_replay(listed)
        if len(items) != len(listed):
            return None

        async def replace_suffix(start: int, output: Sequence[ResponseInputItemParam]) -> bool:
            expected, stored = (
                _ids_of(listed[start:]),
                to_stored(checked_items(output), on_loss=self._log_loss),
            )
            if not expected:
                return False
            return bool(await self._conversation.run(replace_items, stored, expected, len(expected)))

        return make_snapshot(self._written.restored_in(items), len(newest) <= limit, replace_suffix)

    def _stores_as_given(self) -> bool:
        """Return whether no subclass changes items on their way: compaction and turns must not pass it by."""
        own, base = type(self), OpenAIConversationsSession
        return own.get_items is base.get_items and own.add_items is base.add_items

    # Forks

    @operation(arguments=["before_turn", "after_item"])
    async def fork(
        self,
        *,
        before_turn: int | None = None,
        after_item: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Return a session on a new conversation with the items of this one up to some point.

        This conversation is not changed, and later writes to one do not affect the other. The new session has
        the settings of this one. The items are read, written to the new conversation, where they get new ids,
        read back and compared.

        All or nothing: if it fails, or the caller is cancelled, the new conversation and its items are
        deleted, within 30 seconds of a cancellation; what remains after that is logged. An empty conversation
        whose creation got no reply is reported to `on_orphan`. `on_conversation_created` is not called: the
        id is that of the returned session.

        Args:
            before_turn: The number of a turn, as in `turns()`; the items before it are copied.
            after_item: The id of a stored item, as in `Turn.item_ids`; it and the items before it are copied.
                Without either argument, all items are copied.
            metadata: The metadata of the new conversation, and of those that the new session creates after it
                is cleared; at most 15 pairs. None for that of this session. One more pair names the parent:
                see `parent()`.

        Raises:
            ValueError: Both points are given, or the metadata is over a limit. Nothing was sent.
            CutPointError: There is no such turn or item, or a call would be separated from its output; says
                which there are. Nothing was created.
            ConversationNotCreatedError: The session is unused: there is nothing to fork.
            ConversationNotFoundError: The server does not know the conversation.
            ForkVerificationError: The new conversation did not return what was written to it.
            UnfinishedForkError: The fork failed, and its conversation could not be deleted; names it.
            openai.OpenAIError: A request failed. Nothing remains of the fork.
        """
        if before_turn is not None and after_item is not None:
            raise ValueError("give before_turn= or after_item=, not both; neither copies all items")
        turn = checked_number("before_turn", before_turn, "turns, counted from the oldest", none="all items")
        item_id = (
            None if after_item is None else checked_text("after_item", after_item, wanted="the id of an item")
        )
        inherited = own_pairs(self._options.metadata or {})
        pairs = checked_user_metadata(inherited if metadata is None else metadata, reserved=1)  # the parent
        found = await self._conversation.run(read_whole)
        if found is None:
            raise ConversationNotCreatedError
        parent, items = found
        cut = len(items)
        if turn is not None:
            cut = cut_before_turn(parent, items, turn)
        elif item_id is not None:
            cut = cut_after_item(parent, items, item_id)
        origin = f"{parent}/{items[cut - 1].get('id')}" if cut else parent
        fork = await self._forked(
            to_stored(to_replay(items[:cut], form=sent_form)), {**pairs, PARENT_KEY: origin}
        )
        fork._set_initial_metadata(pairs)  # noqa: SLF001 -- a session of this class
        return fork

    @operation()
    async def parent(self) -> ForkParent | None:
        """Return the origin of this fork, in one request; None if it is not a fork, or unused.

        The parent may have been deleted since.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: The request failed; transient failures were retried without success.
        """
        metadata = await self._conversation.run(read_metadata)
        conversation_id, _, item_id = (metadata or {}).get(PARENT_KEY, "").partition("/")
        return ForkParent(conversation_id, item_id or None) if is_conversation_id(conversation_id) else None

    def _sibling(self, conversation_id: str) -> Self:
        """Return a session with the settings of this one on another conversation, without a request.

        `fork()` returns the result. Override it in a subclass whose constructor takes other arguments than
        `OpenAIConversationsSession`.

        Args:
            conversation_id: The conversation that the session resumes.
        """
        options = replace(self._options, session_settings=copy.copy(self.session_settings))
        make_session = cast("Callable[..., Self]", type(self))
        return make_session(conversation_id=conversation_id, **options.as_arguments())

    def _set_initial_metadata(self, metadata: Metadata) -> None:
        """Set the metadata of conversations that this session and its forks create."""
        self._options = replace(self._options, metadata=metadata or None)
        self._conversation.set_initial_metadata(metadata or None)

    async def _forked(self, items: Sequence[Item], metadata: Metadata) -> Self:
        """Return a session on a new conversation with these items; delete the conversation on failure."""
        fork = LazyConversation(
            self._clients, conversation_id=None, metadata=metadata, hooks=self._fork_hooks()
        )
        async with discarding(fork):
            return self._sibling(await fill_fork(fork, items))

    def _fork_hooks(self) -> Hooks:
        return replace(self._options.hooks, on_created=None)

    # Metadata and usage

    @operation()
    async def get_metadata(self) -> dict[str, str]:
        """Return the metadata of the conversation, in one request; {} if there is none yet.

        Pairs that this library stores, under `openai_sessions.…`, are left out.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: The request failed; transient failures were retried without success.
        """
        return own_pairs(await self._conversation.run(read_metadata) or {})

    @operation()
    async def update_metadata(self, changes: Mapping[str, str | None]) -> None:
        """Change some pairs of the conversation's metadata, and leave the others.

        A write: it creates the conversation if there is none. The API replaces all metadata at once, so that
        this reads it and writes it back changed, in two requests. Changes made at the same moment by session
        objects of this process, or of processes that share a `lock`, are all kept; without a lock, another
        process may undo them by replacing what it had read before. So may a request whose connection was
        lost, if the server applies it after its repetition.

        Args:
            changes: New values by key, and None for pairs to remove. At most 16 pairs may result, with keys
                of at most 64 and values of at most 512 characters.

        Raises:
            TypeError: A key or value has the wrong type. Nothing was sent.
            ValueError: A key or value is too long, or a key starts with `openai_sessions.`. Nothing was sent.
            MetadataFullError: More than 16 pairs would result. Nothing was changed.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed: the changes may or may not be made. Make them again. The
                same is true after a cancellation.
        """
        if checked := checked_changes(changes):
            await self._conversation.run(change_metadata, checked, create=True)

    @operation()
    async def store_run_usage(self, result: object, *, model: str | None = None) -> None:
        """Add the usage of a run, or of a response, to the totals of the conversation; each once.

        Call it after `Runner.run`, or once the events of `Runner.run_streamed` are read, as with
        `AdvancedSQLiteSession` of the Agents SDK. Called again with the result of the same run, or of a run
        resumed from it in this process, it adds the usage since then, without a request if there is none.

        It takes two requests: the metadata is read, and written back with the new totals; all other pairs
        stay. Nothing is lost among the session objects of a process, and among processes that share a `lock`.
        Without a lock, two processes may overwrite each other's totals; so may a request that the server
        applies long after its reply was lost.

        Args:
            result: A `RunResult` or `RunResultStreaming` of the Agents SDK, or a `Response` of openai. If its
                usage is None or zero, nothing is done.
            model: The model of all its requests; None to take them from the result: see `Usage.of_run`.

        Raises:
            TypeError: It is not the result of a run or a response, or the model is not a string. Nothing was
                sent.
            ValueError: The model is empty, longer than 100 characters or not printable. Nothing was sent.
            ConversationNotCreatedError: The session is unused, or was cleared since the run.
            MetadataFullError: The conversation has 16 pairs of metadata already. Nothing was changed.
            InvalidUsageError: The stored totals are not in the form of this library. Nothing was changed.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed: the run may or may not be counted. Call it again with the
                same result: it is counted once. The same is true after a cancellation.
        """
        total = Usage.of_run(result, model=model)
        if total is None or total == Usage():
            return
        if not await self._conversation.run(count_run, marks_of(result), total):
            raise ConversationNotCreatedError

    @operation()
    async def get_session_usage(self) -> Usage | None:
        """Return the totals of the conversation, in one request; None if nothing was counted.

        An unused session sends none. Every process that resumes the conversation sees the same totals.

        Raises:
            InvalidUsageError: The stored totals are not in the form of this library.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: The totals could not be read.
        """
        return await self._conversation.run(read_usage)

    @operation()
    async def set_session_usage(self, usage: Usage) -> None:
        """Replace the totals of the conversation, whatever they are.

        Raises:
            TypeError: It is not a `Usage`. Nothing was sent.
            ValueError: One of its numbers is negative or not a whole number, or its models do not fit its
                total. Nothing was sent.
            ConversationNotCreatedError: The session is unused.
            MetadataFullError: The conversation has 16 pairs of metadata already. Nothing was changed.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed: the totals may or may not be replaced. Call it again. The
                same is true after a cancellation.
        """
        if not isinstance(usage, Usage):
            raise TypeError(f"usage must be an openai_sessions.Usage, not {type(usage).__name__}")
        usage.check()
        if not await self._conversation.run(replace_usage, usage):
            raise ConversationNotCreatedError

    # Closing

    async def aclose(self) -> None:
        """Settle what is unsettled, or warn of it; close the session's clients.

        A later operation opens a new client. The caller's client, and the default client of the Agents SDK,
        stay open.
        """
        try:
            await self._conversation.settle_or_warn()
        finally:
            await self._clients.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} conversation_id={self._conversation.conversation_id!r}>"

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


async def start_openai_conversations_session(openai_client: AsyncOpenAI | None = None) -> str:
    """Create an empty conversation and return its id.

    Args:
        openai_client: The client to use; by default as in `OpenAIConversationsSession`.

    Raises:
        openai.OpenAIError: The conversation could not be created.
    """
    async with OpenAIConversationsSession(openai_client=openai_client) as session:
        return await session.ensure_conversation()


def _ids_of(items: Sequence[Item]) -> list[str]:
    return [str(item["id"]) for item in items]


async def _read_items(
    locked: LockedConversation, limit: int | None, history: HistoryCache | None
) -> list[Item]:
    """Return the newest items (None: all) as listed, once earlier writes are settled."""
    await settle_all(locked)
    return await locked.newest(limit, history)
