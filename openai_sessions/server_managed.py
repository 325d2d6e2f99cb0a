"""A turn that the model reads and stores itself: `session.turn(server_managed=True)`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import anyio

from openai_sessions import _agents
from openai_sessions._api.clients import Clients
from openai_sessions._api.responses import guarded_client
from openai_sessions._arguments import checked_choice
from openai_sessions._conversation.lazy import HeldConversation, LazyConversation
from openai_sessions._conversation.locked import LockedConversation, are_answered, are_newest
from openai_sessions._conversation.repairing import close_calls
from openai_sessions._conversation.responding import GOES_ON, RUNNING, ResponseGuard, SentResponse, ids_of
from openai_sessions._conversation.shielding import GRACE, Cancellation, run_shielded
from openai_sessions._conversation.state import CannotTellError, Receipt, SentItems
from openai_sessions._items.forms import same_item
from openai_sessions._items.types import Item
from openai_sessions.errors import TurnStateError, UnsettledWriteError

if TYPE_CHECKING:
    from types import TracebackType

    from agents import RunConfig
    from openai import AsyncOpenAI
    from typing_extensions import Self

logger = logging.getLogger("openai_sessions")

_ON_ERROR = ("rewind", "repair", "keep")


class ServerManagedTurn:
    """A turn whose items the model reads and stores: made by `session.turn(server_managed=True)`.

        async with session.turn(server_managed=True) as turn:
            result = await Runner.run(
                agent, text, conversation_id=turn.conversation_id, run_config=turn.run_config
            )

    Its requests for responses are sent once, as those of `session.client()`. What they add to the
    conversation is recorded by its ids. If the block raises an error or is cancelled, it is deleted, repaired
    or kept; otherwise the end of the block sends nothing.

    Args:
        conversation: The conversation of the session.
        clients: The clients of the session.
        on_error: As for `session.turn()`.
        exclusive: As for `session.turn()`.
        on_answered: Awaited with the id of the conversation after a block in which the model has answered.
    """

    def __init__(
        self,
        conversation: LazyConversation,
        clients: Clients,
        *,
        on_error: str,
        exclusive: bool,
        on_answered: Callable[[str], Awaitable[object]],
    ) -> None:
        checked_choice("on_error", on_error, _ON_ERROR)
        if not isinstance(exclusive, bool):
            raise TypeError(f"exclusive must be True or False, not {exclusive!r}")
        self._conversation = conversation
        self._clients = clients
        self._on_error = on_error
        self._exclusive = exclusive
        self._on_answered = on_answered
        self._stack = AsyncExitStack()
        self._held: HeldConversation | None = None
        self._conversation_id: str | None = None
        self._client: AsyncOpenAI | None = None
        self._sent: list[SentResponse] = []
        self._added: list[str] = []
        """The ids of what the turn has added, oldest first, once it is being undone."""
        self._guard = ResponseGuard(clients, self._record)
        self._has_ended = False

    @property
    def conversation_id(self) -> str:
        """The id of the conversation, which exists when the block starts.

        Raises:
            TurnStateError: The block has not begun.
        """
        if self._conversation_id is None:
            raise TurnStateError(
                "the turn has not begun: use it inside `async with session.turn(…) as turn:`"
            )
        return self._conversation_id

    @property
    def client(self) -> AsyncOpenAI:
        """A client for the requests of this turn: as `session.client()`, and what they add is recorded."""
        if self._client is None:
            self._client = guarded_client(self._clients.given, self.guard)
        return self._client

    @property
    def run_config(self) -> RunConfig:
        """A new `agents.RunConfig` whose models use `client`, if the agent names its model by a string.

        Raises:
            ImportError: openai-agents is not installed.
        """
        return cast("RunConfig", _agents.run_config(self.client))

    @property
    def guard(self) -> ResponseGuard:
        """What sends the requests of this turn, and records them."""
        return self._guard

    def _record(self, sent: SentResponse) -> None:
        """Record a request before it is sent.

        Raises:
            TurnStateError: The block has ended: what a run adds that goes on would not be undone.
        """
        if self._has_ended:
            raise TurnStateError(GOES_ON)
        self._sent.append(sent)

    async def abandon(self) -> None:
        """End a turn whose block never began, as the caller was interrupted while it was entered."""
        await self._stack.aclose()

    def mark_context(self) -> None:
        """Record in the current context that this turn holds the conversation, if it is exclusive."""
        if self._held is not None:
            self._held.enter()

    async def __aenter__(self) -> Self:
        if self._conversation_id is not None:
            raise TurnStateError("a turn is used for one block, and this one was: call session.turn() again")
        if self._exclusive:
            self._held = await self._stack.enter_async_context(self._conversation.held())
            self._conversation_id = self._held.conversation_id
        else:
            self._conversation_id = await self._conversation.ensure()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._has_ended = True
        sent = [each for each in self._sent if each.conversation_id == self._conversation_id]
        await self._end(sent, error)
        if error is None and any(each.is_answer for each in sent):
            await self._on_answered(self.conversation_id)

    async def _end(self, sent: Sequence[SentResponse], error: BaseException | None) -> None:
        async with self._stack:
            if error is None or self._on_error == "keep":
                return
            if sent:
                await self._end_failed(sent, error)
            else:
                logger.info(
                    "%s: the turn that failed sent no request with turn.client or turn.run_config, and is "
                    "not undone",
                    self._conversation_id,
                )

    async def _end_failed(self, sent: Sequence[SentResponse], error: BaseException) -> None:
        """Delete or repair what the turn has added; `error` is raised afterwards.

        A cancellation that arrives meanwhile does not stop it, for the grace period.
        """
        runner = self._held or self._conversation
        is_cut = not isinstance(error, Exception)

        def ending(cancellation: Cancellation) -> Coroutine[Any, Any, None]:
            cancellation.has_begun = True  # before its task runs: it is not to be dropped
            return end(cancellation)

        async def end(cancellation: Cancellation) -> None:
            with anyio.fail_after(GRACE if is_cut else None):
                await self._guard.stop()  # a run may go on in another task
                await runner.run(self._undo_or_leave, sent, lambda: is_cut or cancellation.is_set())

        try:
            with anyio.CancelScope(shield=is_cut):
                await run_shielded(ending)
        except Exception as problem:
            if not is_cut:
                raise
            logger.warning(
                "%s: a cancelled turn was not undone: %s", self._conversation_id, type(problem).__name__
            )

    async def _undo_or_leave(
        self, locked: LockedConversation, sent: Sequence[SentResponse], is_cancelled: Callable[[], bool]
    ) -> None:
        """Undo a turn; leave what fails to the next operation if a cancelled caller gets no receipt."""
        try:
            await self._undo(locked, sent)
        except BaseException:
            is_to_go = self._on_error == "rewind" and locked.conversation_id == self._conversation_id
            if is_to_go and is_cancelled():
                ids = self._added or [item_id for each in sent for item_id in each.output_ids]
                locked.known.leave_unsettled(
                    Receipt(locked.conversation_id, sent[0].anchors, stored=tuple(ids))
                )
            raise

    async def _undo(self, locked: LockedConversation, sent: Sequence[SentResponse]) -> None:
        if locked.conversation_id != self._conversation_id:
            return  # the session was cleared, or set to another conversation
        locked.cancellation.has_begun = True
        try:
            added = await _added_by(locked, sent)
        except Exception as problem:
            raise _unsettled(locked.conversation_id, sent) from problem
        locked.known.tail.learn(added.listed, is_whole=not sent[0].anchors)
        self._added = [item["id"] for item in added.listed if item.get("id") in added.seen]
        if self._on_error == "rewind":
            await _delete(locked, sent[0].anchors, added)
        else:
            await _close(locked, added)


@dataclass(slots=True)
class _Added:
    """What a turn has added to its conversation.

    Attributes:
        listed: The newest items of the conversation as listed, oldest first, back to before the turn.
        seen: The ids of items that responses of the turn have shown, and of the input right before them.
        found: The ids of items that only their content shows to be of the turn.
        is_open: Whether items of the turn may be missing from the listing.
    """

    listed: list[Item] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    is_open: bool = False


async def _added_by(locked: LockedConversation, sent: Sequence[SentResponse]) -> _Added:
    """Return what the requests of a turn have added; one whose outcome is unknown is searched for twice."""
    for each in sent:
        if each.is_running and each.response_id is not None:
            await _stop(locked, each, each.response_id)
    added = await _listed(locked, sent)
    if added.is_open:
        await locked.client.retries.sleep(locked.client.retries.policy.settle_after)
        added = await _listed(locked, sent, before=added.listed)
    return added


async def _stop(locked: LockedConversation, sent: SentResponse, response_id: str) -> None:
    """Cancel a response that runs in the background, and record its output if it has ended before."""
    try:
        await locked.client.cancel_response(response_id)
    except Exception as error:  # noqa: BLE001 -- it may have ended: its status says
        logger.debug("%s: not cancelled: %s", response_id, type(error).__name__)
    answer = await locked.client.retrieve_response(response_id, ()) or {"output": []}
    sent.output_ids = ids_of(answer["output"])
    sent.is_stored = answer.get("status") == "completed"
    if answer.get("status") in RUNNING:
        logger.warning("%s: %s still runs, and will add its items", locked.conversation_id, response_id)


async def _listed(
    locked: LockedConversation, sent: Sequence[SentResponse], before: Sequence[Item] = ()
) -> _Added:
    """Return what a listing shows, with what an earlier one has shown: the later one may be stale."""
    shown_before = {item.get("id") for item in before}
    listed = await locked.back_to([sent[0].anchors])
    added = _Added([*before, *(item for item in listed if item.get("id") not in shown_before)])
    positions = {item.get("id"): place for place, item in enumerate(added.listed)}
    for each in sent:
        shown = [item_id for item_id in each.output_ids if item_id in positions]
        if shown:
            inputs = _input_before(each, added.listed, min(positions[item_id] for item_id in shown))
            added.seen.update(shown, inputs)
        elif each.is_stored:
            added.is_open = True  # the listing may be stale
        elif each.was_sent and not each.is_known:
            try:
                copies = each.copies_in(added.listed, locked.known.answered)
            except CannotTellError as error:
                logger.warning("%s: %s: its items are left", locked.conversation_id, error)
                continue
            added.is_open = added.is_open or not copies
            for copy in copies:
                added.found.update(copy.input_ids, copy.output_ids)
    return added


def _input_before(sent: SentResponse, listed: Sequence[Item], start: int) -> list[str]:
    """Return the ids of the input items of a response whose output starts at a position."""
    items = sent.items or ()
    before = listed[max(0, start - len(items)) : start]
    if len(before) == len(items) and all(map(same_item, items, before)):
        return [str(item["id"]) for item in before]
    logger.warning(
        "%s: the input of a response does not stand before its output: it is left", sent.conversation_id
    )
    return []


async def _delete(locked: LockedConversation, anchors: tuple[str, ...], added: _Added) -> None:
    """Delete what a turn has added, newest first, unless others have answered it.

    Raises:
        UnfinishedDeletionError: Some items could not be deleted.
    """
    ids = added.seen | added.found
    if are_answered(ids, added.listed) or not are_newest(ids, added.listed, anchors):
        ids = added.seen
    if are_answered(ids, added.listed):
        ids = set()
    if left := (added.seen | added.found) - ids:
        logger.warning(
            "%s: %d item(s) of a failed turn are kept, because others have added items since",
            locked.conversation_id,
            len(left),
        )
    if ids:
        ordered = [str(item["id"]) for item in added.listed if item.get("id") in ids]
        await locked.delete_chosen(ordered, to_the_end=True)


async def _close(locked: LockedConversation, added: _Added) -> None:
    """Close the calls of a turn that nobody has answered.

    Raises:
        Exception: As `close_calls`.
    """
    ids = added.seen | added.found
    calls = {_answered(item) or item["id"] for item in added.listed if item.get("id") in ids}
    concerned = [item for item in added.listed if item.get("id") in ids or _answered(item) in calls]
    await close_calls(locked, concerned)


def _answered(item: Item) -> object:
    """Return the id of the call, or of the request for an approval, that an item is or answers."""
    return item.get("call_id") or item.get("approval_request_id")


def _unsettled(conversation_id: str, sent: Sequence[SentResponse]) -> UnsettledWriteError:
    """Return the error for a turn that could not be listed: what is known to be stored, and what may be."""
    receipt = Receipt(
        conversation_id,
        sent[0].anchors,
        stored=tuple(item_id for each in sent for item_id in each.output_ids),
        unknown=tuple(
            SentItems(each.items, each.anchors, max(1, each.sends))
            for each in sent
            if each.items and each.was_sent
        ),
    )
    unknown = [item for each in receipt.unknown for item in each.items]
    return UnsettledWriteError(receipt.as_json(), stored_ids=receipt.ids, unknown=unknown, not_stored=())
