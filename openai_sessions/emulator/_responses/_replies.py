"""Replies that a test has scripted, and which request gets which."""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from openai_sessions.emulator._errors import JsonObject
from openai_sessions.emulator._responses._default import default_reply
from openai_sessions.emulator._responses._errors import no_reply, reply_failed
from openai_sessions.emulator._responses._output import output_items
from openai_sessions.emulator._responses._request import ResponseRequest

if TYPE_CHECKING:
    from openai_sessions.emulator._items import NewId

ReplyOutput = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""What a model says: the text of a message, an item, or a list of items and texts."""

Reply = ReplyOutput | Callable[[ResponseRequest], ReplyOutput]
"""An output, or a function that makes one for each request."""

ReplyStatus = Literal["completed", "incomplete", "failed"]
_STATUSES: tuple[ReplyStatus, ...] = get_args(ReplyStatus)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request is answered with; the delay is in seconds."""

    output: tuple[JsonObject, ...]
    status: ReplyStatus = "completed"
    delay: float = 0


@dataclass(slots=True)
class ScriptedReply:
    """A reply, and which requests it is for: how is told by `Emulator.reply`."""

    reply: Reply
    conversation_id: str | None = field(default=None, kw_only=True)
    times: int | None = field(default=1, kw_only=True)
    status: ReplyStatus = field(default="completed", kw_only=True)
    delay: float = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError(f"A reply needs times >= 1, or None for all requests, not {self.times}.")
        if self.status not in _STATUSES:
            raise ValueError(f"Unknown status of a reply {self.status!r}; there are {', '.join(_STATUSES)}.")
        if self.delay < 0:
            raise ValueError(f"The delay of a reply cannot be negative: {self.delay}.")
        if inspect.iscoroutinefunction(self.reply):
            raise ValueError("A reply that is a function must be a plain one, not a coroutine function.")
        if not callable(self.reply):
            self._checked(self.reply, new_id=lambda prefix: f"{prefix}_0")

    def is_for(self, conversation_id: str | None) -> bool:
        """Tell whether a request of the conversation may have it."""
        return self.conversation_id in {None, conversation_id}

    def answer(self, request: ResponseRequest, *, new_id: NewId) -> Answer:
        """Return the answer to the request.

        Raises:
            ApiError: 400 for a function that raised, or returned what cannot be put out.
        """
        if not callable(self.reply):
            return Answer(self._checked(self.reply, new_id=new_id), self.status, self.delay)
        try:
            output = self._checked(self.reply(copy.deepcopy(request)), new_id=new_id)
        except Exception as error:
            raise reply_failed(error) from error
        return Answer(output, self.status, self.delay)

    def _checked(self, output: ReplyOutput, *, new_id: NewId) -> tuple[JsonObject, ...]:
        items = output_items(output, new_id=new_id)
        if not items and self.status == "completed":
            raise ValueError("A reply that completes needs at least one item; this one has none.")
        if self.status == "incomplete" and items and "status" in items[-1]:
            return (*items[:-1], {**items[-1], "status": "incomplete"})
        return items


class Replies:
    """Hold the scripted replies, from any thread: a request gets the first one that is for it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: list[ScriptedReply] = []
        self._used_up: set[str | None] = set()

    def add(self, reply: ScriptedReply) -> None:
        """Put a reply behind the others."""
        with self._mutex:
            self._waiting.append(reply)

    def clear(self) -> None:
        """Forget all replies, also those that were used up."""
        with self._mutex:
            self._waiting.clear()
            self._used_up.clear()

    def unused(self) -> int:
        """Return how many more requests the replies are for, those for all requests aside."""
        with self._mutex:
            return sum(reply.times or 0 for reply in self._waiting)

    def answer(self, request: ResponseRequest, *, new_id: NewId) -> Answer:
        """Return the answer to the request: a scripted one, or the default where there never was a script.

        Raises:
            ApiError: 400 where the scripted replies are used up, the one for it cannot be put out, or no
                default can be made up.
        """
        reply = self._take(request.conversation_id)
        if reply is not None:
            return reply.answer(request, new_id=new_id)
        return Answer(output_items(default_reply(request), new_id=new_id))

    def _take(self, conversation_id: str | None) -> ScriptedReply | None:
        with self._mutex:
            for reply in self._waiting:
                if reply.is_for(conversation_id):
                    self._count(reply)
                    return reply
            if self._used_up & {None, conversation_id}:
                raise no_reply("all that were scripted for it have been used")
        return None

    def _count(self, reply: ScriptedReply) -> None:
        if reply.times is None:
            return
        reply.times -= 1
        if not reply.times:
            self._waiting.remove(reply)
            self._used_up.add(reply.conversation_id)
