"""An encrypted session over any other session.

`EncryptedSession` encrypts what is written and decrypts what is read. `ReadablePop` removes the newest
readable item and restores the unreadable ones above it.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

from openai_sessions import _agents
from openai_sessions._agents import WrittenAsGiven
from openai_sessions._api.clients import AsyncCloseable
from openai_sessions._arguments import (
    EVERY_ITEM,
    checked_items,
    checked_limit,
    checked_seconds,
    missing_methods,
)
from openai_sessions._conversation.compacting import (
    CompactedHistory,
    Compaction,
    ItemForms,
    check_compact_when,
    checked_compaction,
    compact_after_turn,
)
from openai_sessions._conversation.iterating import whole_until
from openai_sessions._conversation.locks import FairLock
from openai_sessions._conversation.newest_turns import HistoryLimits
from openai_sessions._conversation.shielding import Cancellation, OperationCancelledError, run_shielded
from openai_sessions._items.forms import checked_item, replay_form_with_provider_data, to_replay
from openai_sessions._items.turns import ends_turn, from_newest_compaction
from openai_sessions._items.types import Item, RunItem
from openai_sessions.encryption._envelope import (
    GivenKeys,
    OpenedItem,
    Places,
    Sealer,
    Sealers,
    SkippedItems,
    StoredKeys,
    Unreadable,
    as_written,
    envelope_text,
    session_cipher,
)
from openai_sessions.encryption._keys import (
    KeyStore,
    checked_keys,
    checked_session_id,
    checked_user,
    is_key_store,
)
from openai_sessions.errors import SessionError
from openai_sessions.reading import ReadingFilter, checked_reading, read_through
from openai_sessions.session import OpenAIConversationsSession
from openai_sessions.turn import SessionTurn

if TYPE_CHECKING:
    from types import TracebackType

    from agents import SessionSettings
    from openai.types.responses import ResponseInputItemParam
    from pydantic import BaseModel
    from typing_extensions import Self

logger = logging.getLogger("openai_sessions")

_MIN_WINDOW = 20
"""The least number of items read when the first read found too few readable ones."""

_NEVER_READABLE = (Unreadable.UNDECRYPTABLE, Unreadable.UNENCRYPTED)

_NOT_DELEGATED = frozenset(
    {
        *("find_turns", "fork", "get_turn_usage", "run_compaction", "turns"),
        *("create_branch_from_content", "create_branch_from_turn", "find_turns_by_content"),
        *("get_conversation_by_turns", "get_conversation_turns"),
        *("check", "delete_items", "repair", "replace_item", "rewind"),
    }
)
"""Methods of this library's sessions and of the Agents SDK's AdvancedSQLiteSession that would return tokens
as items, or treat each token as a user message that starts a turn; or store an item unencrypted."""


_NOT_FOR_MODELS = (
    "An EncryptedSession has neither client() nor turn(server_managed=True): the model would read the "
    "conversation itself, and cannot read its tokens. Give the session to the run instead: "
    "Runner.run(agent, text, session=session)"
)


class EncryptedSession(AsyncCloseable):
    """Encrypt a history in any session, and let its items expire.

    Takes the arguments of the Agents SDK's class of the same name. Each item is stored as a user message
    whose text is a token, so that the hosted API accepts it without seeing the item's role, type or content.
    The API does see the number of items, the length of each, and when each was written. Tokens are Fernet
    (AES-128-CBC and HMAC-SHA256); the Fernet key is derived from `encryption_key` with HKDF-SHA256 and
    `session_id` as salt, so that a token of one session cannot be read in another.

    `get_items()` starts at the newest compaction item, as that of the hosted session does, unless the
    underlying session has `HistoryLimits(from_compaction=False)`. The type of an item is encrypted, so that
    the whole history is read and decrypted first.

    Reads leave out unreadable items and count them in `skipped`. They never raise an error, and only
    `clear_session()` deletes them. Each token contains its place in the call of `add_items` that wrote it: a
    token that is stored twice is read once, the items of one call are read in its order, and items that are
    gone from its middle are counted. Order, atomicity and behaviour under concurrency are those of the
    underlying session.

    Args:
        session_id: A name for the history, such as "user_123". Reading requires the same name and key.
        underlying_session: The session that stores the tokens: one of this library, of the Agents SDK, or
            any other with the same methods. The caller keeps ownership of it.
        encryption_key: A random key of at least 16 bytes, preferably from `Fernet.generate_key()`, as a
            string or bytes; or a list of keys: the first encrypts, all decrypt. A password is not a key.
            Or a `KeyStore` with a key for each user, such as `SessionDirectory.key_store()`: it is asked at
            each operation, and no key is kept. What it raises passes through, and nothing was written.
        user: The user whose keys a key store returns; required with one, and only with one.
        ttl: Seconds after which an item is no longer read, by the reader's clock; None for no expiry.
        reading: Filters of what the model sees, applied in this order to the decrypted items that
            `get_items()` returns: see `openai_sessions.reading`. The stored history stays as it is.
        compact_when: Compact the history after a turn, as `OpenAIConversationsSession` does, once it exceeds
            `max_turns` or `max_tokens`: see `compact`. The whole history is read and decrypted for it.
        clock: Returns the current Unix time in seconds.

    Raises:
        ImportError: The package cryptography is not installed.
        ValueError: The key is too weak or contains a lone surrogate, the ttl is not positive, the name is
            empty or contains a lone surrogate, or the underlying session limits turns or tokens, or has
            `reading` or `compact_when`; or `compact_when` has no limit.
        TypeError: An argument is of the wrong type; or there is a key store without `user`, or a `user`
            without a key store; or the underlying session is a compaction session of the Agents SDK, and
            would compact tokens: wrap it around this session instead; or `compact_when` is given, and the
            underlying session is not an `OpenAIConversationsSession`.
    """

    _ignore_ids_for_matching = True  # the Agents SDK then compares items without their ids

    def __init__(  # noqa: PLR0913 -- the arguments of the Agents SDK's class, and ours
        self,
        session_id: str,
        underlying_session: Any,
        encryption_key: str | bytes | Sequence[str | bytes] | KeyStore,
        ttl: float | None = 600,
        *,
        user: str | None = None,
        reading: Sequence[ReadingFilter] = (),
        compact_when: Compaction | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session_id = checked_session_id(session_id)
        self.underlying_session = _checked_underlying(underlying_session)
        self._from_compaction = _limits_of(underlying_session).from_compaction
        self._ttl = checked_seconds("ttl", ttl, none="no expiry")
        self._reading = checked_reading(reading)
        check_compact_when(compact_when, from_compaction=self._from_compaction)
        self._compact_when = compact_when
        if compact_when is not None:
            self._compactable()
        self._sealers = _sealers_of(session_id, encryption_key, user, ttl=self._ttl, clock=clock)
        self._pop = ReadablePop(self.underlying_session)
        self._written = WrittenAsGiven()
        self._compacted: list[Any] | None = None
        """The newest token that compaction has read; empty if there was none, None if it has not read."""
        self._skipped = self._skipped_in_total = self._logged = SkippedItems()

    if TYPE_CHECKING:
        # Attributes for type checkers, as in the protocol agents.Session; properties below.
        session_id: str
        session_settings: SessionSettings | None
    else:

        @property
        def session_id(self) -> str:
            """The name of the history, from which its keys are derived."""
            return self._session_id

        @property
        def session_settings(self) -> SessionSettings | None:
            """The settings of the underlying session."""
            return getattr(self.underlying_session, "session_settings", None)

        @session_settings.setter
        def session_settings(self, value: SessionSettings | Mapping[str, Any] | None) -> None:
            self.underlying_session.session_settings = value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} session_id={self._session_id!r} over {self.underlying_session!r}>"

    @property
    def ttl(self) -> float | None:
        """Seconds after which an item is no longer read; None for no expiry."""
        return self._ttl

    @property
    def skipped(self) -> SkippedItems:
        """The items that the last read or pop left out, or did not return as they are stored."""
        return self._skipped

    @property
    def skipped_in_total(self) -> SkippedItems:
        """The sum of `skipped` over all reads and pops; an item counts each time."""
        return self._skipped_in_total

    @_agents.called_by_runner
    async def get_items(self, limit: int | None = None) -> list[ResponseInputItemParam]:
        """Return the readable history, oldest first, ready to be sent to a model.

        It starts at the newest compaction item, and the filters of `reading` are applied last, unless `limit`
        is given and is not that of `session_settings`: the Agents SDK reads the newest items in this way to
        compare them.

        Args:
            limit: The number of newest readable items to return; None for `session_settings.limit`, or for
                all items if that is None too. 0 and negative numbers return an empty list without a
                request. If items are left out, older ones are read to reach the limit.

        Returns:
            New dicts in the replay form of the hosted session: without ids that must not be sent to a model
            again; and with their `provider_data`, which the hosted session cannot keep.

        Raises:
            InvalidReadingError: A filter of `reading` returned something that a model cannot be sent. An
                exception that it raises passes through.
            Exception: An error of the underlying session.
        """
        self._written.forget()
        items, _ = await self._read(limit)
        if limit not in (None, _agents.limit_of(self.session_settings)):
            return cast("list[ResponseInputItemParam]", _to_replay(items))
        needed = from_newest_compaction(items) if self._from_compaction else items
        read = await read_through(_to_replay(needed), self._reading)
        return cast("list[ResponseInputItemParam]", read)

    async def iterate_items(
        self, *, after: str | None = None
    ) -> AsyncGenerator[ResponseInputItemParam, None]:
        """Yield the readable history item by item, oldest first, as `get_items` without a limit returns it.

        Memory does not grow with the history if the underlying session has this method; otherwise the whole
        history is read at once.

        Args:
            after: The id of a stored item; iteration starts with the item that follows it.

        Yields:
            New dicts, ready to be sent to a model.

        Raises:
            TypeError: `after` was given, and the underlying session does not support it.
            Exception: An error of the underlying session.
        """
        await self._pop.restore()
        envelopes = _iterate_stored(self.underlying_session, after=after)
        async with aclosing(_opened_items(envelopes, self._open, self._note)) as items:
            async for item in items:
                yield item

    @_agents.called_by_runner
    async def add_items(
        self, items: Sequence[ResponseInputItemParam | Mapping[str, Any] | BaseModel | RunItem]
    ) -> None:
        """Encrypt items and append them in one call of the underlying session.

        All get the same time and expire together. With `compact_when`, an answer of the assistant at the end
        completes a turn: a cancellation during the compaction undoes that, and the items stay stored.

        Args:
            items: Items as a model request accepts them: dicts, Pydantic models, such as those of
                `response.output`, or the `new_items` of a run. They are not modified.

        Raises:
            InvalidItemError: An item can never be stored: it is malformed, or longer than 10,485,760
                characters when encrypted. Nothing was sent.
            Exception: An error of the underlying session.
        """
        given = checked_items(items)
        checked = _checked(given)
        sealed = await self._seal(checked)
        await self._pop.restore()
        if sealed:
            await self.underlying_session.add_items(sealed)
            self._written.add(given)
            if ends_turn(checked):
                await self._compact_after_turn()

    @_agents.called_by_runner
    async def pop_item(self) -> ResponseInputItemParam | None:
        """Remove the newest readable item and return it as `get_items` would; None if there is none.

        If no item is readable, none is removed, so that a wrong key deletes no history. Unreadable items
        above the popped one are restored in order; expired ones are deleted. A pop that fails or is
        cancelled removes nothing; items that it could not restore are restored by the next use of this
        session.

        Raises:
            Exception: An error of the underlying session.
        """
        readable, _ = await self._read(1)
        item = await self._pop.run(await self._sealers.get()) if readable else None
        return None if item is None else cast("ResponseInputItemParam", replay_form_with_provider_data(item))

    @_agents.called_by_runner
    async def clear_session(self, **options: Any) -> None:
        """Delete the history, including unreadable items.

        Args:
            **options: Passed to the underlying session, such as `purge_items=True`.

        Raises:
            Exception: An error of the underlying session.
        """
        await self._pop.forget()
        await self.underlying_session.clear_session(**options)

    def turn(
        self,
        *,
        server_managed: Literal[False] = False,
        on_error: Literal["discard", "keep"] | None = None,
        on_conflict: Literal["append", "raise"] = "append",
        exclusive: bool = False,
    ) -> EncryptedTurn:
        """Return a turn of the underlying session whose items are encrypted, for one block.

        As `OpenAIConversationsSession.turn`, where the arguments are described.

        Raises:
            TypeError: The underlying session has no turns, or `server_managed` is true: a model that reads
                the conversation itself cannot read tokens.
            ValueError: An argument is none of these.
        """
        if server_managed:
            raise TypeError(_NOT_FOR_MODELS)
        make_turn = getattr(self.underlying_session, "turn", None)
        turn = (
            make_turn(on_error=on_error, on_conflict=on_conflict, exclusive=exclusive)
            if callable(make_turn)
            else None
        )
        if not isinstance(turn, SessionTurn):
            raise TypeError(
                f"{type(self.underlying_session).__name__} has no turns: encrypt an "
                "OpenAIConversationsSession or a session of a directory, or pass this session to the run"
            )
        return EncryptedTurn(turn, self)

    async def compact(self, compaction: Compaction | None = None) -> CompactedHistory | None:
        """Compact the history, as `OpenAIConversationsSession.compact` does, where the result is described.

        The server that compacts sees the older turns in plain text, as a model does. The compaction item and
        the user's messages before it are stored encrypted, with the time of the compaction: they expire later
        than the turns that they stand for. The newest turns stay as they are, with their times. Unreadable
        items before them are neither sent nor deleted.

        Args:
            compaction: The model, the limits from which on it compacts, and what stays; by default the
                session's `compact_when`.

        Raises:
            TypeError: It is not a `Compaction`; or the underlying session is not an
                `OpenAIConversationsSession`, such as one of a directory.
            ValueError: There is no `compact_when`; or the underlying session has
                `HistoryLimits(from_compaction=False)`.
            Exception: As `OpenAIConversationsSession.compact`. Nothing was changed.
        """
        wanted = checked_compaction(compaction, self._compact_when, from_compaction=self._from_compaction)
        hosted = self._compactable()
        await self._pop.restore()
        sealer = await self._sealers.get()  # with no key, nothing can be read and there is nothing to compact
        forms = ItemForms(opened=sealer.readable, sealed=sealer.seal, renewed=sealer.reseal)
        return await hosted._compact(wanted, forms)  # noqa: SLF001 -- a session of this library

    async def _compact_after_turn(self) -> None:
        if self._compact_when is not None:
            await compact_after_turn(self)

    def _compactable(self) -> OpenAIConversationsSession:
        """Return the underlying session.

        Raises:
            TypeError: It cannot be compacted by the server.
        """
        session = self.underlying_session
        if isinstance(session, OpenAIConversationsSession):
            return session
        if isinstance(session, SessionTurn):
            raise TypeError("a turn cannot be compacted: call compact() of its session, after the block")
        raise TypeError(
            f"{type(session).__name__} is not an OpenAIConversationsSession, whose server compacts: wrap the "
            "Agents SDK's OpenAIResponsesCompactionSession around the EncryptedSession instead"
        )

    async def aclose(self) -> None:
        """Close the underlying session with its `aclose()` or `close()`, if it has one.

        First restores the items of a failed pop. If that fails, the error is logged, and the next use of
        this session tries again.
        """
        try:
            await self._pop.restore()
        except Exception:
            logger.exception(
                "%r: %d item(s) of a failed pop could not be restored", self._session_id, self._pop.pending
            )
        finally:
            await self._close_underlying()

    async def _close_underlying(self) -> None:
        close = getattr(self.underlying_session, "aclose", None) or getattr(
            self.underlying_session, "close", None
        )
        if close is not None:
            closing = close()
            if inspect.isawaitable(closing):
                await closing

    @_agents.for_compaction
    async def _read_compaction_items(self, limit: int | None) -> tuple[list[Item], bool]:
        """Return the history for the Agents SDK's compaction, and whether it is the whole history."""
        await self._pop.restore()
        self._compacted = await self._newest(1)
        items, is_all = await self._read(limit)
        restored = self._written.restored_in(_to_replay(items))
        return restored, limit is not None and is_all and not self._skipped.unreadable

    async def _atomic_replace_items(self, items: Sequence[ResponseInputItemParam]) -> bool:
        """Replace the history for the Agents SDK's compaction, and keep unreadable items.

        A history that others have changed since compaction read it is left as it is.

        Returns:
            Whether it was replaced; if not, the Agents SDK clears the session and adds the items.

        Raises:
            SessionError: The underlying session cannot replace its history at once, and unreadable items
                would be lost.
        """
        sealed = await self._seal(_checked(checked_items(items)))
        await self._pop.restore()
        raw = await self._newest(None if _agents.limit_of(self.session_settings) is None else EVERY_ITEM)
        expected, self._compacted = self._compacted, None
        if expected is not None and raw[-1:] != expected:
            _agents.log_skipped_compaction(self._session_id)
            return True
        kept = [
            envelope
            for envelope, opened in zip(raw, await self._open(raw), strict=True)
            if opened in _NEVER_READABLE
        ]
        replace = getattr(type(self.underlying_session), "_atomic_replace_items", None)
        if replace is not None:
            return bool(await replace(self.underlying_session, [*kept, *sealed]))
        if kept:
            raise SessionError(
                f"The history cannot be replaced: {len(kept)} unreadable item(s) would be lost. Pass the "
                "keys that they were encrypted with, or clear the session."
            )
        return False

    def client(self) -> NoReturn:
        """Refuse: a model that reads the conversation itself cannot read tokens."""
        raise TypeError(_NOT_FOR_MODELS)

    def __getattr__(self, name: str) -> Any:
        """Return a public attribute of the underlying session, such as `conversation_id` or `settle`."""
        if name in _NOT_DELEGATED:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}: the underlying session sees each "
                "encrypted item as a user message. Copy the history into an unencrypted session for it."
            )
        if name.startswith("_") or name == "underlying_session":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.underlying_session, name)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied, because that would expose its keys. Create "
            "a new one with the same session_id and encryption_key where you need it."
        )

    async def _read(self, limit: int | None) -> tuple[list[Item], bool]:
        """Return the newest readable items as they were given, and whether they are the whole history."""
        wanted = checked_limit(_agents.limit_of(self.session_settings) if limit is None else limit)
        if wanted is not None and wanted <= 0:
            return [], False
        await self._pop.restore()
        window = wanted
        while True:
            raw = await self._newest(window)
            items, skipped = as_written(await self._open(raw), {})
            is_all = window is None or len(raw) < window
            if is_all or wanted is None or len(items) >= wanted:
                self._note(skipped)
                return items[-wanted:] if wanted else items, is_all
            window = max(_MIN_WINDOW, 2 * (window or 0))

    async def _open(self, envelopes: Sequence[Any]) -> list[OpenedItem | Unreadable]:
        """Return the item in each envelope, or why it cannot be read, with the keys that there are now."""
        if not envelopes:
            return []
        sealer = await self._sealers.get()
        return [sealer.open(envelope) for envelope in envelopes]

    async def _seal(self, items: Sequence[Item]) -> list[Item]:
        """Return items in envelopes, with the newest key that there is now."""
        return (await self._sealers.get(create=True)).seal(items) if items else []

    async def _newest(self, limit: int | None) -> list[Any]:
        session = self.underlying_session
        return list(await (session.get_items() if limit is None else session.get_items(limit=limit)))

    def _note(self, skipped: SkippedItems) -> None:
        """Keep the counts of a read, and log them if they changed."""
        self._skipped = skipped
        self._skipped_in_total += skipped
        if skipped and skipped != self._logged:
            self._logged = skipped
            is_expiry = skipped == SkippedItems(expired=skipped.expired)
            level = logging.INFO if is_expiry else logging.WARNING
            logger.log(level, "%r: %s item(s)", self._session_id, skipped)


class EncryptedTurn(EncryptedSession):
    """A turn of an encrypted session: `async with session.turn() as turn`.

    Has the methods of the session, and stores all that it adds in one write when its block ends: see
    `openai_sessions.turn.SessionTurn`.

    Args:
        turn: The turn of the underlying session.
        session: The encrypted session. Its failed pop is completed before the turn starts.
    """

    def __init__(self, turn: SessionTurn, session: EncryptedSession) -> None:
        self._session = session
        self._session_id = session._session_id  # noqa: SLF001 -- an object of this class, as below
        self.underlying_session = turn
        self._from_compaction = session._from_compaction  # noqa: SLF001
        self._ttl = session._ttl  # noqa: SLF001
        self._reading = session._reading  # noqa: SLF001
        self._compact_when = None
        self._sealers = session._sealers  # noqa: SLF001
        self._pop = ReadablePop(turn)
        self._known: dict[str | None, Item] = {}
        """The items that this turn has read or added, by the texts of their envelopes; at the end, those that
        are not stored."""
        self._written = WrittenAsGiven()
        self._compacted = None
        self._skipped = self._skipped_in_total = self._logged = SkippedItems()
        turn.read_as(self._known_item, self._renew)

    @property
    def pending(self) -> list[ResponseInputItemParam]:
        """The items of the turn that are not stored, oldest first, in replay form."""
        texts = map(envelope_text, self.underlying_session.pending)
        items = _to_replay([self._known[text] for text in texts if text in self._known])
        return cast("list[ResponseInputItemParam]", items)

    async def __aenter__(self) -> Self:
        await self._session._pop.restore()  # noqa: SLF001
        await self.underlying_session.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._pop.restore()
        try:
            await self.underlying_session.__aexit__(exc_type, exc_value, traceback)
        finally:
            pending = set(map(envelope_text, self.underlying_session.pending))
            for text in self._known.keys() - pending:
                del self._known[text]
        if exc_value is None and self.underlying_session._is_stored:  # noqa: SLF001
            await self._session._compact_after_turn()  # noqa: SLF001

    async def _open(self, envelopes: Sequence[Any]) -> list[OpenedItem | Unreadable]:
        opened = await super()._open(envelopes)
        for envelope, each in zip(envelopes, opened, strict=True):
            if isinstance(each, OpenedItem):
                self._known[envelope_text(envelope)] = each.item
        return opened

    async def _seal(self, items: Sequence[Item]) -> list[Item]:
        sealed = await super()._seal(items)
        self._known.update(zip(map(envelope_text, sealed), items, strict=True))
        return sealed

    async def _renew(self, envelopes: Sequence[Item]) -> list[Item]:
        """Return envelopes of the turn to be stored without others of their writes."""
        renewed = (await self._sealers.get()).reseal(envelopes)
        for envelope, new in zip(envelopes, renewed, strict=True):
            if (text := envelope_text(envelope)) in self._known:
                self._known[envelope_text(new)] = self._known[text]
        return renewed

    def _known_item(self, envelope: Item) -> Item:
        """Return the item in an envelope; one that cannot be read depends on nothing."""
        return self._known.get(envelope_text(envelope), envelope)


class ReadablePop:
    """Pop envelopes until one can be opened, and restore the unreadable ones above it.

    Args:
        session: The session that stores the envelopes.
    """

    __slots__ = ("_lock", "_popped", "_session")

    def __init__(self, session: Any) -> None:
        self._session = session
        self._lock = FairLock()
        self._popped: list[Item] = []  # popped and not yet restored, oldest first

    @property
    def pending(self) -> int:
        """The number of envelopes that an earlier call popped and could not restore."""
        return len(self._popped)

    async def run(self, sealer: Sealer) -> Item | None:
        """Remove the newest readable item and return it; also delete expired items above it.

        Args:
            sealer: Opens the envelopes.
        """
        async with self._lock.held():
            popped = await run_shielded(partial(self._run, sealer), undo=self._undo)
        return None if popped is None else popped[1]

    async def restore(self) -> None:
        """Restore envelopes that an earlier call popped and could not restore."""
        if self._popped:
            async with self._lock.held():
                await self._restore(self._popped)

    async def forget(self) -> None:
        """Forget popped envelopes, because the history is about to be deleted."""
        if self._popped:
            async with self._lock.held():
                self._popped.clear()

    async def _run(self, sealer: Sealer, cancellation: Cancellation) -> tuple[Item, Item] | None:
        """Return a popped envelope and its item."""
        cancellation.has_begun = True
        await self._restore(self._popped)
        while (envelope := await self._session.pop_item()) is not None:
            opened = sealer.open(envelope)
            if opened is Unreadable.EXPIRED:
                continue
            self._popped.insert(0, envelope)
            if cancellation.is_set():
                break
            if isinstance(opened, OpenedItem):
                await self._restore(self._popped[1:])
                return envelope, opened.item
        await self._restore(self._popped)
        if cancellation.is_set():
            raise OperationCancelledError
        return None

    async def _undo(self, popped: tuple[Item, Item] | None) -> None:
        """Undo a pop that had succeeded when its caller was cancelled."""
        if popped is not None:
            self._popped.append(popped[0])
            await self._restore(self._popped)

    async def _restore(self, envelopes: Sequence[Item]) -> None:
        if envelopes:
            await self._session.add_items(list(envelopes))
        self._popped.clear()


async def _iterate_stored(session: Any, *, after: str | None) -> AsyncGenerator[Any, None]:
    """Yield the stored items of a session, oldest first; read at once if it has no `iterate_items`.

    Raises:
        TypeError: `after` was given, and the session does not support it.
    """
    if callable(getattr(session, "iterate_items", None)):
        async with aclosing(session.iterate_items(after=after)) as items:
            async for item in items:
                yield item
        return
    if after is not None:
        raise TypeError(f"{type(session).__name__} has no iterate_items(): omit after=")
    for item in await session.get_items():
        yield item


_DECRYPT_BATCH = 100
"""The number of items decrypted at once, with the keys that there are then."""

_REMEMBERED = 10_000
"""The number of items that an iteration compares with later ones, so that its memory is bounded."""


async def _opened_items(
    envelopes: AsyncGenerator[Any, None],
    open_envelopes: Callable[[Sequence[Any]], Awaitable[list[OpenedItem | Unreadable]]],
    on_skipped: Callable[[SkippedItems], object],
) -> AsyncGenerator[ResponseInputItemParam, None]:
    """Yield the readable items of envelopes in replay form.

    Args:
        envelopes: The stored items of the underlying session.
        open_envelopes: Returns the items in envelopes.
        on_skipped: Called at the end with the counts of items that were not yielded as they are stored.
    """
    items: list[Item] = []
    skipped = SkippedItems()
    seen: Places = {}
    async with aclosing(_batches(envelopes)) as batches:
        async for batch in batches:
            opened, counts = as_written(await open_envelopes(batch), seen)
            skipped += counts
            items += opened
            for place in list(islice(seen, max(0, len(seen) - _REMEMBERED))):
                del seen[place]
            end = whole_until(items)
            for item in _to_replay(items[:end]):
                yield cast("ResponseInputItemParam", item)
            del items[:end]
    on_skipped(skipped)
    for item in _to_replay(items):
        yield cast("ResponseInputItemParam", item)


async def _batches(envelopes: AsyncGenerator[Any, None]) -> AsyncGenerator[list[Any], None]:
    batch: list[Any] = []
    async with aclosing(envelopes):
        async for envelope in envelopes:
            batch.append(envelope)
            if len(batch) == _DECRYPT_BATCH:
                yield batch
                batch = []
    yield batch


def _sealers_of(
    session_id: str,
    keys: str | bytes | Sequence[str | bytes] | KeyStore,
    user: str | None,
    *,
    ttl: float | None,
    clock: Callable[[], float],
) -> Sealers:
    """Return what gives each operation of a session its sealer.

    Raises:
        ImportError: The package cryptography is not installed.
        TypeError: There is a key store without a user, or a user without a key store.
        ValueError: A key is too weak, or the user is empty.
    """

    def sealer_of(checked: Sequence[bytes]) -> Sealer:
        return Sealer(session_cipher(session_id, checked), ttl=ttl, clock=clock)

    if is_key_store(keys):
        if user is None:
            raise TypeError("a key store needs user=, whose keys it returns: give both")
        sealer_of([bytes(32)])  # raises now if the package is missing
        return StoredKeys(cast("KeyStore", keys), checked_user(user), sealer_of)
    if user is not None:
        raise TypeError("user= needs a key store in place of encryption_key: give both, or leave user= out")
    return GivenKeys(sealer_of(checked_keys(keys)))


def _checked(given: Sequence[object]) -> list[Item]:
    return [checked_item(index, item) for index, item in enumerate(given)]


def _to_replay(items: Sequence[Item]) -> list[Item]:
    """Return decrypted items in replay form, with `provider_data`, which a token can keep."""
    return to_replay(items, form=replay_form_with_provider_data)


def _checked_underlying(session: Any) -> Any:
    """Return a session that can store tokens.

    Raises:
        TypeError: It lacks methods of a session, or it compacts histories and would compact tokens.
        ValueError: It limits turns or tokens, and would count tokens as a user's messages; or it has filters
            of reading, which would see tokens, or compacts them after a turn.
    """
    missing = missing_methods(session)
    if missing:
        raise TypeError(
            f"underlying_session must be a session, and {type(session).__name__} has no {', '.join(missing)}"
        )
    if callable(getattr(session, "run_compaction", None)):
        raise TypeError(
            f"{type(session).__name__} would compact tokens. Wrap it around the encrypted session instead: "
            f"{type(session).__name__}(…, underlying_session=EncryptedSession(…))"
        )
    limits = _limits_of(session)
    if limits.max_turns or limits.max_tokens:
        raise ValueError(
            "underlying_session has history_limits, and would apply them to encrypted items: create it "
            "without them, and limit items with session_settings"
        )
    options = getattr(session, "_options", None)  # of this library's sessions
    if getattr(options, "reading", ()):
        raise ValueError(
            "underlying_session has reading=, whose filters would see encrypted items: create it without "
            "them, and give them to EncryptedSession(…, reading=[…])"
        )
    if getattr(options, "compact_when", None) is not None:
        raise ValueError(
            "underlying_session has compact_when=, and would have encrypted items compacted: create it "
            "without, and give it to EncryptedSession(…, compact_when=…)"
        )
    return session


def _limits_of(session: Any) -> HistoryLimits:
    """Return the `history_limits` of a session of this library; the default ones of any other."""
    limits = getattr(getattr(session, "_options", None), "history_limits", None)
    return limits if isinstance(limits, HistoryLimits) else HistoryLimits()
