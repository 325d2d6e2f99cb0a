"""The session without async."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from openai import OpenAI

from openai_sessions._forking import ForkParent
from openai_sessions._lazy_conversation import PossibleOrphan
from openai_sessions._plugged_lock import PluggedLock
from openai_sessions._policy import RetryPolicy
from openai_sessions._removing import Progress
from openai_sessions._retrying import RetryBudget, RetryEvent
from openai_sessions._settling import Settlement
from openai_sessions._turn_limits import CountTokens
from openai_sessions._turns import Turn
from openai_sessions._types import ConversationCallback, Metadata
from openai_sessions._usage import Usage
from openai_sessions.sync._behind import SessionBehind, off_the_loop
from openai_sessions.sync._front import Front

if TYPE_CHECKING:
    from agents import SessionSettings
    from openai import AsyncOpenAI
    from openai.types.responses import ResponseInputItemParam
    from pydantic import BaseModel
    from typing_extensions import Self


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
        max_turns: See there.
        max_tokens: See there.
        count_tokens: Called on the background loop.
        timeout: See there.
        on_conversation_created: Called in a thread of its own, where it may block, and use the session; a
            coroutine function runs on the background loop.
        on_orphan: Called on the background loop: it should return soon, and use no session without async.
        retry_policy: See there.
        retry_budget: See there.
        on_retry: Called on the background loop.
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
                max_turns=max_turns,
                max_tokens=max_tokens,
                count_tokens=count_tokens,
                timeout=timeout,
                on_conversation_created=off_the_loop(on_conversation_created),
                on_orphan=on_orphan,
                retry_policy=retry_policy,
                retry_budget=retry_budget,
                on_retry=on_retry,
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
