"""Background responses: they run in threads of their own, whatever becomes of the connection.

Sources: the statuses and the order of the events are recorded. The errors of cancelling, deleting and
streaming, and the event of a cancelled response, are those that Azure publishes for the same API.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from openai_sessions.emulator._errors import ApiError, JsonObject
from openai_sessions.emulator._responses._events import last_status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from openai_sessions.emulator._responses._events import ResponseStream


_RUNNING, _ENDING, _OVER = "running", "ending", "over"


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response with the items it was made from, and those of them that were its own input."""

    body: JsonObject
    seen: tuple[JsonObject, ...]
    input_items: tuple[JsonObject, ...]

    @property
    def history(self) -> tuple[JsonObject, ...]:
        """The items that come before the input of a following response."""
        return (*self.seen, *self.body["output"])


class BackgroundResponses:
    """The background responses of an emulator, by owner and id; usable from any thread.

    A response that runs is known to this process only; one that ended is stored.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._runs: dict[tuple[str, str], BackgroundRun] = {}
        self._holds = 0

    def start(self, run: BackgroundRun, *, owner: str) -> BackgroundRun:
        """Start a response and return it."""
        with self.changed:
            self._runs[owner, run.stored.body["id"]] = run
            run.start()
        return run

    def find(self, response_id: str, *, owner: str) -> BackgroundRun | None:
        """Return a response that this process started, or None."""
        with self.changed:
            return self._runs.get((owner, response_id))

    def forget(self, response_id: str, *, owner: str) -> None:
        """Forget a response that ended."""
        with self.changed:
            self._runs.pop((owner, response_id), None)

    @property
    def are_held(self) -> bool:
        """Whether responses wait before their last event."""
        return self._holds > 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no response end inside the block, unless it is cancelled."""
        with self.changed:
            self._holds += 1
        try:
            yield
        finally:
            with self.changed:
                self._holds -= 1
                self.changed.notify_all()

    def wait(self) -> None:
        """Wait until all responses have ended."""
        for run in self._snapshot():
            run.join()

    def close(self) -> None:
        """Stop all responses that run. They are not stored and add nothing."""
        for run in self._snapshot():
            run.stop()
        self.wait()

    def _snapshot(self) -> tuple[BackgroundRun, ...]:
        with self.changed:
            return tuple(self._runs.values())


class BackgroundRun:
    """One background response, and its events for those who follow them.

    Args:
        stored: The response as it will be stored.
        stream: Its events; finishing it stores the response and adds its items.
        store: Stores a response object alone, of a response that was cancelled or failed.
        is_streamed: Whether the response was created with `stream`.
        responses: The responses of the emulator.
    """

    def __init__(
        self,
        stored: StoredResponse,
        stream: ResponseStream,
        *,
        store: Callable[[JsonObject], object],
        is_streamed: bool,
        responses: BackgroundResponses,
    ) -> None:
        self.stored = stored
        self.is_streamed = is_streamed
        self._stream = stream
        self._store = store
        self._responses = responses
        self._changed = responses.changed
        self._phase = _RUNNING
        self._events: list[JsonObject] = []
        self._listeners: set[Callable[[], object]] = set()
        self._thread = threading.Thread(target=self._work, name="background response", daemon=True)

    def start(self) -> None:
        """Start to run."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    @property
    def planned(self) -> tuple[JsonObject, ...]:
        """All events that the response has if it is not cancelled."""
        return self._stream.complete

    @property
    def queued(self) -> JsonObject:
        """The response object before it runs."""
        response: JsonObject = self._stream.complete[0]["response"]
        return response

    def state(self) -> JsonObject | None:
        """Return the response object while it is queued or runs; None once it is stored."""
        with self._changed:
            if self._phase == _OVER:
                return None
            return {**self.queued, "status": last_status(self._events, before="queued")}

    def cancel(self) -> None:
        """Cancel the response and store it so, unless it has ended."""
        if self._claim():
            self._end_alone({**self.queued, "status": "cancelled"})

    def stop(self) -> None:
        """End without storing anything."""
        if self._claim():
            self._stream.close()
            self._end()

    def follow(self, *, after: int, obfuscated: bool = True) -> FollowedRun:
        """Return the events with a greater sequence number than `after`, for a client that reads them."""
        return FollowedRun(self, after=after, obfuscated=obfuscated)

    def since(self, number: int) -> tuple[list[JsonObject], bool]:
        """Return the events from a sequence number on, and whether they are the last."""
        with self._changed:
            return self._events[number:], self._phase == _OVER

    @contextmanager
    def listening(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call `listener` from another thread when there are new events."""
        with self._changed:
            self._listeners.add(listener)
        try:
            yield
        finally:
            with self._changed:
                self._listeners.discard(listener)

    def _work(self) -> None:
        for event in self._stream.complete[:-1]:
            with self._changed:
                if self._phase != _RUNNING:
                    return
                self._emit(event)
                self._changed.wait_for(lambda: self._phase != _RUNNING, self._stream.delay)
        with self._changed:
            self._changed.wait_for(lambda: self._phase != _RUNNING or not self._responses.are_held)
        if self._claim():
            self._finish()

    def _finish(self) -> None:
        last = self._stream.complete[-1]
        try:
            self._stream.finish()
        except ApiError as error:  # for example, the conversation was deleted meanwhile
            failure = {"code": "server_error", "message": error.message}
            self._end_alone({**last["response"], "status": "failed", "error": failure, "output": []})
        else:
            self._end(last)

    def _end_alone(self, body: JsonObject) -> None:
        """End with a response object that adds nothing to the conversation."""
        self._stream.close()
        with suppress(ApiError):  # another process writes to the same file for long: it is not stored
            self._store(body)
        number = len(self._events)
        self._end({"type": "response.failed", "response": body, "sequence_number": number})

    def _claim(self) -> bool:
        """Return whether the caller is the one to end the response; if another is, wait for the end."""
        with self._changed:
            if self._phase == _RUNNING:
                self._phase = _ENDING
                self._changed.notify_all()
                return True
            self._changed.wait_for(lambda: self._phase == _OVER)
            return False

    def _end(self, *last: JsonObject) -> None:
        with self._changed:
            self._phase = _OVER
            self._emit(*last)
            self._changed.notify_all()

    def _emit(self, *events: JsonObject) -> None:
        self._events.extend(events)
        for listener in self._listeners:
            listener()


class FollowedRun:
    """The events of a background response on their way to one client; the response goes on without it.

    Args:
        run: The response.
        after: The sequence number of the last event that the client has; -1 for none.
        obfuscated: Whether deltas are padded to the same length.
    """

    def __init__(self, run: BackgroundRun, *, after: int, obfuscated: bool) -> None:
        self._run = run
        self._after = after
        self._obfuscated = obfuscated

    @property
    def complete(self) -> tuple[JsonObject, ...]:
        """The events that the client gets if the response is not cancelled."""
        return self._run.planned[self._after + 1 :]

    async def paced(self) -> AsyncGenerator[JsonObject, None]:
        """Yield the events as they come."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        number = self._after + 1
        with self._run.listening(partial(_wake, loop, changed)):
            while True:
                changed.clear()
                events, are_last = self._run.since(number)
                for event in events:
                    yield self._shown(event)
                if are_last:
                    return
                number += len(events)
                await changed.wait()

    def events(self) -> AsyncGenerator[JsonObject, None]:
        """Yield the events as they come."""
        return self.paced()

    def finish(self) -> None:
        """Do nothing: the response is stored when it ends."""

    def close(self) -> None:
        """Do nothing: the response goes on."""

    def _shown(self, event: JsonObject) -> JsonObject:
        if self._obfuscated:
            return event
        return {name: value for name, value in event.items() if name != "obfuscation"}


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody reads any more
        loop.call_soon_threadsafe(event.set)
