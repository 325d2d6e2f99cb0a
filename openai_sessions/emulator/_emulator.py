"""The emulator: the application, its database, and the ways to reach it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._app import Answering, EmulatedRequest, RequestLog, build_app
from openai_sessions.emulator._conversations import Operations
from openai_sessions.emulator._faults import Chance, Fault, FaultPlan, LateCommits, OperationName, Script
from openai_sessions.emulator._responses._operations import Responses
from openai_sessions.emulator._responses._scripts import Replies, Reply, ReplyStatus, ScriptedReply
from openai_sessions.emulator._server import in_process_client, serving
from openai_sessions.emulator._store import Contents, Seeding, SeedResult, Store, StoredConversation

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Mapping, MutableMapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    import openai
    from starlette.types import Receive, Send


class Emulator:
    """Answer the operations of OpenAI's Conversations API, and of its Responses API by script, offline.

    It is an ASGI application: serve it with `serve`, or reach it in process through `client`, both at once
    and from any number of threads and event loops. Close it with `close`, or use it as a context manager.

    Args:
        database: A file, made if need be, that keeps the conversations; `":memory:"` keeps them until closed.
        api_keys: The bearer keys accepted; None accepts any. Each key sees its own conversations and
            those of `seed`, and only digests of keys are kept.
        accept_unknown_types: Stand for a newer service: items of a type that is not in the public document
            are stored as they come, with an id where they bring none, instead of being refused.

    Raises:
        sqlite3.Error: The database cannot be opened or is none.

    Where the behaviour of the API is not attested, the emulator keeps to these rules:

    - An `item_reference` must name an item of the same conversation (404 otherwise) and adds nothing;
      a `compaction_trigger` adds nothing.
    - A well-formed id (letters, digits, `_` and `-`, the type's prefix, at most 64 characters) is kept on
      every type, also where it is optional; one that the conversation holds already is refused with a 400.
      The id of a deleted item may be added again.
    - A `status` that is absent becomes `completed` where the schema of listed items requires one.
    - An empty page has null for `first_id` and `last_id`.
    - A field that no `include` opens is absent, or empty (null, `[]`) where the schema requires it.
    """

    def __init__(
        self,
        database: str | os.PathLike[str] = ":memory:",
        *,
        api_keys: Collection[str] | None = None,
        accept_unknown_types: bool = False,
    ) -> None:
        self._store = Store(database)
        self._log = RequestLog()
        self._faults = FaultPlan()
        self._late = LateCommits()
        self._seeding = Seeding(self._store, accept_unknown_types=accept_unknown_types)
        operations = Operations(self._store, accept_unknown_types=accept_unknown_types)
        self._replies = Replies()
        responses = Responses(self._store, self._replies, accept_unknown_types=accept_unknown_types)
        answering = Answering(api_keys=api_keys, log=self._log, faults=self._faults, late=self._late)
        self._app = build_app(operations, responses, answering)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        await self._app(scope, receive, send)

    def client(self, *, api_key: str = "sk-emulator") -> openai.AsyncOpenAI:
        """Return a client wired to this emulator in process: no socket, any event loop.

        Args:
            api_key: The bearer key it sends.

        Returns:
            A new client, which is the caller's to close.
        """
        return in_process_client(self, api_key=api_key)

    def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AbstractContextManager[str]:
        """Serve this emulator on a socket inside a `with` block, from a thread of its own.

        Args:
            host: The address to bind. Anyone who reaches an address other than loopback can write.
            port: The port to bind; 0 takes a free one.

        Returns:
            A context manager that gives the base URL, which ends in `/v1`. Leaving the block stops the
            server; requests in flight have one second to end.

        Raises:
            OSError: On entering, when the port is taken or the address cannot be bound.
        """
        return serving(self, host=host, port=port)

    def locked(self, conversation_id: str) -> AbstractContextManager[None]:
        """Let another writer hold the conversation inside a `with` block.

        Writes to it (items added or deleted, metadata, its deletion) are answered with a 400
        `conversation_locked`; reads go on. A write that another process makes to the same database file has
        the same effect on all writes, when it takes longer than a moment.
        """
        return self._store.locked(conversation_id)

    def inject(
        self,
        fault: Fault,
        *,
        operation: OperationName | None = None,
        after: int = 0,
        times: int = 1,
        conversation_id: str | None = None,
    ) -> None:
        """Let coming requests meet a fault.

        Any number of faults can be injected. Each counts for itself the requests that match it, whatever else
        these meet; where several want the same request, the one injected first has it, and the others have
        the next. Faults look the same through `client` and `serve`: on a socket they are real, in process
        they are the errors of the HTTP library that openai uses. Another ASGI server than that of `serve`
        answers a 500 in place of those that leave a request without a whole answer.

        Args:
            fault: What happens.
            operation: The operation it happens to; None for all that the fault fits.
            after: How many matching requests pass before.
            times: How many requests meet the fault then.
            conversation_id: The conversation it happens to; None for all.

        Raises:
            ValueError: The operation is unknown or the fault makes no sense for it, or a number is too small.
        """
        self._faults.add(
            Script(fault, operation=operation, after=after, times=times, conversation_id=conversation_id)
        )

    def inject_at_random(
        self,
        rate: float,
        *,
        seed: int,
        faults: Collection[Fault] | None = None,
        operations: Collection[OperationName] | None = None,
    ) -> None:
        """Let coming requests meet faults at random, until `clear_faults`.

        The same requests in the same order meet the same faults with the same seed.

        Args:
            rate: The probability, from 0 to 1, with which a matching request meets a fault.
            seed: What the choices are made from.
            faults: The faults to choose from, all as likely as each other; None for one of each kind. For
                each request only those that fit its operation count.
            operations: The operations that match; None for all.

        Raises:
            ValueError: The rate is no probability, an operation is unknown, or no fault fits any of them.
        """
        self._faults.add(Chance(rate, seed=seed, faults=faults, operations=operations))

    def clear_faults(self) -> None:
        """Let no more requests meet a fault. Late commits under way still happen."""
        self._faults.clear()

    @property
    def unmet_faults(self) -> tuple[Fault, ...]:
        """The faults of `inject` that no request has met yet, in order: a test of them has tested nothing."""
        return self._faults.unmet

    async def late_commits(self) -> None:
        """Wait until every late commit under way has happened."""
        await asyncio.to_thread(self._late.wait)

    def reply(
        self,
        reply: Reply,
        *,
        conversation_id: str | None = None,
        times: int | None = 1,
        status: ReplyStatus = "completed",
        delay: float = 0,
    ) -> None:
        """Say what the model answers to a coming `POST /responses`: each request gets the first reply for it.

        Requests get a default where nothing was scripted for them: the outputs of the tools just called, or
        what the user said last. Where something was, and is used up, one more is refused with a 400
        `no_scripted_reply`. A request that meets a fault after it was done has used its reply.

        Args:
            reply: The text of a message; an output item, such as `{"type": "function_call", "name": "add",
                "arguments": {"a": 1}}`; a list of items and texts; or a function that makes one of these from
                a `ResponseRequest`. What an item lacks (ids, a status, the parts of a message) is filled in.
            conversation_id: The conversation it is for; None for any request, with a conversation or without.
            times: How many requests it is for; None for all that follow.
            status: How the response ends. Only a completed one is added to its conversation.
            delay: Seconds to wait after each event, where the request asks for a stream.

        Raises:
            ValueError: The reply is no output of a model, or a number is too small.
        """
        self._replies.add(
            ScriptedReply(reply, conversation_id=conversation_id, times=times, status=status, delay=delay)
        )

    def clear_replies(self) -> None:
        """Forget all replies, so that the default answers again."""
        self._replies.clear()

    @property
    def unused_replies(self) -> int:
        """How many requests more the replies are for; those for all requests do not count."""
        return self._replies.unused()

    @property
    def requests(self) -> tuple[EmulatedRequest, ...]:
        """Every request answered or met by a fault since the last `forget_requests`, in order."""
        return self._log.snapshot()

    def forget_requests(self) -> None:
        """Empty `requests`."""
        self._log.clear()

    def seed(self, conversations: Iterable[Mapping[str, Any]]) -> SeedResult:
        """Hold these conversations from the start: all of them, or none when one cannot be held.

        Every key sees them. A conversation that the database has had before stays as it has become, a
        deleted one deleted, so that the same seeds may be given again after a restart.

        Args:
            conversations: Each with `items`, any number, as the API takes them; and, where wanted, with an
                `id` (`conv_...`), `metadata` and `created_at` (seconds since the epoch). Without an id it
                gets one made from its content. They are read one by one; nothing else is answered meanwhile.

        Returns:
            How many conversations and items were stored, and how many conversations were there before.

        Raises:
            InvalidSeedError: A conversation cannot be held as it is given, or two have one id; a
                `ValueError`.
        """
        return self._seeding.run(conversations)

    def conversations(self, *, api_key: str | None = None) -> tuple[StoredConversation, ...]:
        """Return the conversations held now, newest first; with an `api_key`, those that this key sees."""
        return self.contents.conversations(api_key=api_key)

    def items(self, conversation_id: str) -> tuple[dict[str, Any], ...]:
        """Return all items of a conversation as they are stored, oldest first.

        Raises:
            LookupError: There is no such conversation, or it was deleted.
        """
        if not self.contents.has_conversation(conversation_id):
            raise LookupError(f"The emulator holds no conversation {conversation_id!r}.")
        return tuple(json.loads(held.json) for held in self.contents.items(conversation_id))

    @property
    def contents(self) -> Contents:
        """What is held, for those who watch it as it changes."""
        return Contents(self._store)

    def close(self) -> None:
        """Close the database, once late commits under way have happened.

        Closing twice is no error; requests after it fail.
        """
        self._late.wait()
        self._store.close()

    def __enter__(self) -> Emulator:  # noqa: PYI034 - Self is not in Python 3.10's typing
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
