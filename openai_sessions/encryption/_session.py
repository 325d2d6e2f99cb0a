"""Taking the newest item that can be read, without losing those above it that cannot."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NoReturn, cast

from openai_sessions import _agents
from openai_sessions._agents import WrittenAsGiven
from openai_sessions._api.clients import AsyncCloseable
from openai_sessions._arguments import checked_items, checked_limit, missing_methods
from openai_sessions._conversation.iterating import whole_until
from openai_sessions._conversation.locks import FairLock
from openai_sessions._conversation.shielding import Cancellation, OperationCancelledError, run_shielded
from openai_sessions._items.forms import checked_item, replay_form, to_replay
from openai_sessions._items.types import Item
from openai_sessions.encryption._envelope import (
    Sealer,
    SkippedItems,
    Unreadable,
    checked_keys,
    checked_session_id,
    checked_ttl,
    session_cipher,
)
from openai_sessions.errors import SessionError

if TYPE_CHECKING:
    from agents import SessionSettings
    from openai.types.responses import ResponseInputItemParam
    from pydantic import BaseModel


class Taker:
    """Pops envelopes of a session until one can be opened, and puts the others back.

    Args:
        session: The session that holds the envelopes.
        sealer: Opens them.
    """

    __slots__ = ("_lock", "_out", "_sealer", "_session")

    def __init__(self, session: Any, sealer: Sealer) -> None:
        self._session = session
        self._sealer = sealer
        self._lock = FairLock()
        self._out: list[Item] = []  # popped and not put back, oldest first

    @property
    def left(self) -> int:
        """How many envelopes an earlier call has popped and could not put back."""
        return len(self._out)

    async def take(self) -> Item | None:
        """Remove the newest item that can be opened and return it, and remove expired ones above it."""
        async with self._lock.held():
            taken = await run_shielded(self._take, undo=self._undo)
        return None if taken is None else taken[1]

    async def put_back(self) -> None:
        """Put back what an earlier call has popped and could not put back."""
        if self._out:
            async with self._lock.held():
                await self._append(self._out)
                self._out.clear()

    async def forget(self) -> None:
        """Put nothing back: the history is to be deleted."""
        if self._out:
            async with self._lock.held():
                self._out.clear()

    async def _take(self, cancellation: Cancellation) -> tuple[Item, Item] | None:
        """Return an envelope that was popped, and its item."""
        cancellation.has_begun = True
        await self._append(self._out)
        self._out.clear()
        while (envelope := await self._session.pop_item()) is not None:
            opened = self._sealer.open(envelope)
            if opened is Unreadable.EXPIRED:
                continue
            self._out.insert(0, envelope)
            if cancellation.is_set():
                break
            if isinstance(opened, dict):
                await self._append(self._out[1:])
                self._out.clear()
                return envelope, opened
        await self._append(self._out)
        self._out.clear()
        if cancellation.is_set():
            raise OperationCancelledError
        return None

    async def _undo(self, taken: tuple[Item, Item] | None) -> None:
        """Undo a pop that had succeeded when its caller was cancelled."""
        if taken is not None:
            self._out.append(taken[0])
            await self._append(self._out)
            self._out.clear()

    async def _append(self, envelopes: Sequence[Item]) -> None:
        if envelopes:
            await self._session.add_items(list(envelopes))


logger = logging.getLogger("openai_sessions")

_OF_TOKENS = frozenset(
    {
        *("find_turns", "fork", "get_turn_usage", "run_compaction", "turns"),
        *("create_branch_from_content", "create_branch_from_turn", "find_turns_by_content"),
        *("get_conversation_by_turns", "get_conversation_turns"),
    }
)
"""What would hand out tokens for items, or take each for a message of the user, which begins a turn: of the
sessions of this library, and of the Agents SDK's AdvancedSQLiteSession."""


def checked_underlying(session: Any) -> Any:
    """Return a session that can hold tokens.

    Raises:
        TypeError: It has not the methods of a session, or it compacts histories, and would do so to tokens.
        ValueError: It shortens histories by turns, or by what a model counts, and would count tokens of ours.
    """
    missing = missing_methods(session)
    if missing:
        raise TypeError(
            f"underlying_session is a session, and {type(session).__name__} has no {', '.join(missing)}"
        )
    if callable(getattr(session, "run_compaction", None)):
        raise TypeError(
            f"{type(session).__name__} would compact tokens. Put it around the encrypted session instead: "
            f"{type(session).__name__}(…, underlying_session=EncryptedSession(…))"
        )
    limits = getattr(session, "_turn_limits", None)  # of the sessions of this library
    if getattr(limits, "turns", None) is not None or getattr(limits, "tokens", None) is not None:
        raise ValueError(
            "underlying_session has max_turns or max_tokens, and would count what is encrypted. Make it "
            "without, and limit items by session_settings"
        )
    return session


async def iterated(session: Any, *, after: str | None) -> AsyncGenerator[Any, None]:
    """Give what a session stores one by one, oldest first; read at once where it can give it only so.

    Raises:
        TypeError: It cannot read after an item.
    """
    if callable(getattr(session, "iterate_items", None)):
        async with aclosing(session.iterate_items(after=after)) as items:
            async for item in items:
                yield item
        return
    if after is not None:
        raise TypeError(f"{type(session).__name__} cannot give the items after one: leave after= out")
    for item in await session.get_items():
        yield item


_AT_A_TIME = 100
"""How many items are decrypted before they are given."""


async def opened_items(
    envelopes: AsyncGenerator[Any, None],
    open_envelope: Callable[[object], Item | Unreadable],
    on_skipped: Callable[[SkippedItems], object],
) -> AsyncGenerator[ResponseInputItemParam, None]:
    """Give the items in envelopes, in replay form, without those that cannot be opened.

    Args:
        envelopes: What the underlying session gives.
        open_envelope: Returns the item in an envelope.
        on_skipped: Called at the end with the numbers of those that were left out.
    """
    items: list[Item] = []
    skipped = SkippedItems()
    async with aclosing(envelopes):
        async for envelope in envelopes:
            opened = open_envelope(envelope)
            if isinstance(opened, Unreadable):
                skipped += SkippedItems.counted([opened])
                continue
            items.append(opened)
            end = whole_until(items) if len(items) >= _AT_A_TIME else 0
            for item in to_replay(items[:end]):
                yield cast("ResponseInputItemParam", item)
            del items[:end]
    on_skipped(skipped)
    for item in to_replay(items):
        yield cast("ResponseInputItemParam", item)


_LEAST_WINDOW = 20
"""How many items are read at least when those asked for first were not enough."""

_ALL = 2**31 - 1
"""More items than any history has: a limit that beats the one of the settings."""

_NEVER_READ = (Unreadable.UNDECRYPTABLE, Unreadable.UNENCRYPTED)


class EncryptedSession(AsyncCloseable):
    """Keep a history in any session so that its store cannot read it, and let items expire.

    Takes the arguments of the Agents SDK's class of this name. Each item travels as a message of the role
    user whose text is a token, so that the hosted API takes it, and sees neither its role nor its type
    nor its content; it does see how many items there are, how long each is, and when it was written.
    Tokens are Fernet (AES-128-CBC and HMAC-SHA256); their key is derived from `encryption_key` with
    HKDF-SHA256 and the `session_id` as salt, so that a token of one session is worthless in another.

    What cannot be read is left out of reads and counted in `skipped`; it is never raised, and never deleted
    but by `clear_session()`. Order, atomicity and behaviour under concurrency are those of the underlying
    session.

    Args:
        session_id: A name of the history, such as "user_123". The same name and key are needed to read it.
        underlying_session: The session that stores the tokens: one of this library, of the Agents SDK, or
            any other with its methods. It stays the caller's.
        encryption_key: A random key of at least 16 bytes, best of `Fernet.generate_key()`, as a string or
            bytes; or a list of keys, of which the first encrypts and all decrypt. A password is no key.
        ttl: Seconds after which an item is no longer read, by the clock of the reader; None for never.
        clock: Returns the time in seconds since the epoch.

    Raises:
        ImportError: The package cryptography is not installed.
        ValueError: The key is too weak or no text, the ttl is no positive number, the name is empty or no
            text, or the underlying session limits turns or tokens.
        TypeError: An argument is of the wrong type; or the underlying session compacts histories, and would
            do so to tokens: wrap it around this one.
    """

    _ignore_ids_for_matching = True  # the Agents SDK then compares items without their ids

    def __init__(
        self,
        session_id: str,
        underlying_session: Any,
        encryption_key: str | bytes | Sequence[str | bytes],
        ttl: float | None = 600,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session_id = checked_session_id(session_id)
        self.underlying_session = checked_underlying(underlying_session)
        self._ttl = checked_ttl(ttl)
        cipher = session_cipher(session_id, checked_keys(encryption_key))
        self._sealer = Sealer(cipher, ttl=self._ttl, clock=clock)
        self._taker = Taker(self.underlying_session, self._sealer)
        self._written = WrittenAsGiven()
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
        """Seconds after which an item is no longer read; None for never."""
        return self._ttl

    @property
    def skipped(self) -> SkippedItems:
        """The items that the last read or pop has left out."""
        return self._skipped

    @property
    def skipped_in_total(self) -> SkippedItems:
        """The sum of `skipped` over all reads and pops; an item counts each time."""
        return self._skipped_in_total

    async def get_items(self, limit: int | None = None) -> list[ResponseInputItemParam]:
        """Return the history, oldest first, ready to be sent to a model, without what cannot be read.

        Args:
            limit: How many of the newest items that can be read; None for `session_settings.limit`, or
                for all when that is None too. 0 and negative numbers give an empty list without a read.
                When some are left out, further ones are read in their place.

        Returns:
            New dicts, in the replay form that the hosted session gives: without ids that a model must not
            be shown again.

        Raises:
            Exception: What the underlying session raises.
        """
        self._written.forget()
        items, _ = await self._read(limit)
        return cast("list[ResponseInputItemParam]", to_replay(items))

    async def iterate_items(
        self, *, after: str | None = None
    ) -> AsyncGenerator[ResponseInputItemParam, None]:
        """Give the history item by item, oldest first, as `get_items` without a limit would return it.

        Memory does not grow with the history where the underlying session has this method; else it is read
        at once.

        Args:
            after: The id of a stored item; the items that follow it are given.

        Yields:
            New dicts, ready to be sent to a model.

        Raises:
            TypeError: `after` was given, and the underlying session cannot read from there.
            Exception: What the underlying session raises.
        """
        await self._taker.put_back()
        envelopes = iterated(self.underlying_session, after=after)
        async with aclosing(opened_items(envelopes, self._sealer.open, self._note)) as items:
            async for item in items:
                yield item

    async def add_items(
        self, items: Sequence[ResponseInputItemParam | Mapping[str, Any] | BaseModel]
    ) -> None:
        """Encrypt items and append them, in one call of the underlying session.

        They get the same time, and expire together.

        Args:
            items: Items as a model request accepts them: dicts, or objects of the SDKs. They are not
                changed.

        Raises:
            InvalidItemError: An item can never be stored: it is no item, or longer than 10,485,760
                characters when encrypted. Nothing was sent.
            Exception: What the underlying session raises.
        """
        given = checked_items(items)
        sealed = self._sealed(given)
        await self._taker.put_back()
        if sealed:
            await self.underlying_session.add_items(sealed)
            self._written.add(given)

    async def pop_item(self) -> ResponseInputItemParam | None:
        """Remove the newest item that can be read and return it as `get_items` would; None without one.

        Where nothing can be read nothing is removed, so that a wrong key deletes no history. Items above it
        that cannot be read are put back in their order; expired ones are not. A pop that fails or is
        cancelled removes nothing, at the latest when this object is used next.

        Raises:
            Exception: What the underlying session raises.
        """
        readable, _ = await self._read(1)
        item = await self._taker.take() if readable else None
        return None if item is None else cast("ResponseInputItemParam", replay_form(item))

    async def clear_session(self, **options: Any) -> None:
        """Delete the history, and what could not be read of it.

        Args:
            **options: Passed on to the underlying session, such as `purge_items=True`.

        Raises:
            Exception: What the underlying session raises.
        """
        await self._taker.forget()
        await self.underlying_session.clear_session(**options)

    def _sealed(self, items: Sequence[object]) -> list[Item]:
        return self._sealer.seal([checked_item(index, item) for index, item in enumerate(items)])

    async def _read(self, limit: int | None) -> tuple[list[Item], bool]:
        """Return the newest items that can be read, as they were given, and whether there are no more."""
        wanted = checked_limit(_agents.limit_of(self.session_settings) if limit is None else limit)
        if wanted is not None and wanted <= 0:
            return [], False
        await self._taker.put_back()
        window = wanted
        while True:
            raw = await self._newest(window)
            opened = [self._sealer.open(each) for each in raw]
            items = [item for item in opened if not isinstance(item, Unreadable)]
            is_all = window is None or len(raw) < window
            if is_all or wanted is None or len(items) >= wanted:
                self._note(SkippedItems.counted(opened))
                return items[-wanted:] if wanted else items, is_all
            window = max(_LEAST_WINDOW, 2 * (window or 0))

    async def _newest(self, limit: int | None) -> list[Any]:
        session = self.underlying_session
        return list(await (session.get_items() if limit is None else session.get_items(limit=limit)))

    def _note(self, skipped: SkippedItems) -> None:
        """Keep the numbers of a read; log them unless that was done."""
        self._skipped = skipped
        self._skipped_in_total += skipped
        if skipped and skipped != self._logged:
            self._logged = skipped
            logger.log(
                logging.WARNING if skipped.unreadable else logging.INFO,
                "%r: left out %d expired, %d undecryptable and %d unencrypted item(s)",
                self._session_id,
                skipped.expired,
                skipped.undecryptable,
                skipped.unencrypted,
            )

    async def _read_compaction_items(self, limit: int | None) -> tuple[list[Item], bool]:
        """Return the history as the Agents SDK's compaction asks for it, and whether that is all of it."""
        items, is_all = await self._read(limit)
        restored = self._written.restored_in(to_replay(items))
        return restored, limit is not None and is_all and not self._skipped.unreadable

    async def _atomic_replace_items(self, items: Sequence[ResponseInputItemParam]) -> bool:
        """Replace the history as the Agents SDK's compaction asks for it, and keep what cannot be read.

        Returns:
            Whether it was done; otherwise the Agents SDK clears the session and adds the items.

        Raises:
            SessionError: The underlying session cannot do it, and what cannot be read would be lost.
        """
        sealed = self._sealed(checked_items(items))
        await self._taker.put_back()
        raw = await self._newest(None if _agents.limit_of(self.session_settings) is None else _ALL)
        kept = [each for each in raw if self._sealer.open(each) in _NEVER_READ]
        replace = getattr(type(self.underlying_session), "_atomic_replace_items", None)
        if replace is not None:
            return bool(await replace(self.underlying_session, [*kept, *sealed]))
        if kept:
            raise SessionError(
                f"The history cannot be replaced: {len(kept)} item(s) of it cannot be read, and would be "
                "lost. Give the keys that they were encrypted with, or clear the session."
            )
        return False

    def __getattr__(self, name: str) -> Any:
        """Return a public attribute of the underlying session, such as `conversation_id` or `settle`."""
        if name.startswith("_") or name in _OF_TOKENS or name == "underlying_session":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.underlying_session, name)

    async def aclose(self) -> None:
        """Close the underlying session by its `aclose()` or `close()`, if it has one.

        What a failed pop has left is put back first. What cannot be is logged, and put back when this object
        is used again.
        """
        try:
            await self._taker.put_back()
        except Exception:
            logger.exception(
                "%r: %d item(s) of a pop that failed could not be put back",
                self._session_id,
                self._taker.left,
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

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied, as that would show its keys. Make a new "
            "one with the same session_id and encryption_key where it is needed."
        )
