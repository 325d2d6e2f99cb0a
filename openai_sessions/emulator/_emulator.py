"""`Emulator`: the application, its database, its faults and replies, and the ways to reach it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._app import EmulatedRequest, RequestHandler, RequestLog, build_app
from openai_sessions.emulator._conversations import ConversationOperations
from openai_sessions.emulator._faults import (
    Fault,
    FaultPlan,
    InjectedFault,
    LateCommits,
    OperationName,
    RandomFaults,
)
from openai_sessions.emulator._files import FileOperations, FileStore
from openai_sessions.emulator._responses._background import BackgroundResponses
from openai_sessions.emulator._responses._operations import ResponseOperations, ResponseStore
from openai_sessions.emulator._responses._scripts import (
    Replies,
    Reply,
    ReplyCondition,
    ReplyStatus,
    ReplyTarget,
    ScriptedReply,
)
from openai_sessions.emulator._server import in_process_client, serving
from openai_sessions.emulator._store import Contents, SeedResult, Store, StoredConversation, store_seeds

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Mapping, MutableMapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    import openai
    from starlette.types import Receive, Send


class Emulator:
    """An offline emulator of OpenAI's Conversations API, and of its Responses API with scripted replies.

    It is an ASGI application: serve it with `serve`, or reach it in process through `client`, or both at
    once, from any number of threads and event loops. Close it with `close`, or use it as a context manager.

    Args:
        database: The SQLite file of the conversations, created if missing; `":memory:"` keeps them until
            `close`.
        api_keys: The bearer keys accepted; None accepts any. Each key sees the conversations it created and
            those of `seed`. Only digests of keys are kept.
        accept_unknown_types: Emulate a newer service: store items of unknown types as given, with a new id if
            they have none, instead of refusing them.
        foundry: Do what Azure's Foundry does beyond OpenAI's API: serve `GET /v1/conversations`, which lists
            conversations; keep apart what requests with different `x-ms-user-identity` headers store, and
            what those without it do; and accept a key in an `api-key` header too.

    Raises:
        sqlite3.Error: The file cannot be opened or is not a database.

    Where OpenAI documents no behaviour, the emulator follows these rules:

    - An `item_reference` must refer to an item of the same conversation (404 otherwise) and adds nothing; a
      `compaction_trigger` adds nothing.
    - A well-formed id (letters, digits, `_` and `-`, the type's prefix, at most 64 characters) is kept on
      every type, even where it is optional. An id that is already in the conversation is a 400; the id of a
      deleted item can be used again.
    - A missing `status` becomes `completed` if the schema of listed items requires one.
    - An empty page has null for `first_id` and `last_id`.
    - A file is kept until it is deleted, and the content of every file can be retrieved. Items may name files
      that are not stored.
    - A field that needs an `include` is missing, or empty (null, `[]`) if the schema requires it.
    """

    def __init__(
        self,
        database: str | os.PathLike[str] = ":memory:",
        *,
        api_keys: Collection[str] | None = None,
        accept_unknown_types: bool = False,
        foundry: bool = False,
    ) -> None:
        self._accept_unknown_types = accept_unknown_types
        self._store = Store(database)
        self._responses = ResponseStore(self._store)
        self._files = FileStore(self._store)
        self._log = RequestLog()
        self._faults = FaultPlan()
        self._late = LateCommits()
        self._replies = Replies()
        self._background = BackgroundResponses()
        self._app = build_app(
            ConversationOperations(self._store, accept_unknown_types=accept_unknown_types),
            ResponseOperations(
                self._responses, self._replies, self._background, accept_unknown_types=accept_unknown_types
            ),
            FileOperations(self._files),
            RequestHandler(
                api_keys=api_keys, is_foundry=foundry, log=self._log, faults=self._faults, late=self._late
            ),
        )

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        await self._app(scope, receive, send)

    def client(self, *, api_key: str = "sk-emulator") -> openai.AsyncOpenAI:
        """Return a new client that calls this emulator in process: without a socket, in any event loop.

        Args:
            api_key: The bearer key it sends.

        Returns:
            The client, which the caller closes.
        """
        return in_process_client(self, api_key=api_key)

    def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AbstractContextManager[str]:
        """Serve this emulator on a socket inside a `with` block, in a separate thread.

        Args:
            host: The address to bind. Everyone who can reach it can write.
            port: The port to bind; 0 takes a free one.

        Returns:
            A context manager that gives the base URL, which ends in `/v1`. On leaving the block the server
            stops; requests in flight have one second to finish.

        Raises:
            OSError: On entering, if the address and port cannot be bound.
        """
        return serving(self, host=host, port=port)

    def locked(self, conversation_id: str) -> AbstractContextManager[None]:
        """Lock the conversation inside a `with` block, as another writer does.

        Writes to it (adding and deleting items, metadata, its deletion) get a 400 `conversation_locked`;
        reads are served. All writes get the same error while another process writes to the database file for
        longer than 0.2 seconds.
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
        """Inject a fault into coming requests.

        Each injected fault counts its matching requests independently of the others. If several are due for
        the same request, it meets the one injected first, and the others apply to the next.

        Faults are the same through `client` and `serve`: on a socket connections break, in process the errors
        of openai's HTTP library are raised. Any other ASGI server answers a 500 if a fault leaves a request
        without a complete response.

        Args:
            fault: The fault.
            operation: The operation that meets it; None for every operation it applies to.
            after: The number of matching requests to serve first.
            times: The number of requests that meet it.
            conversation_id: The conversation of the requests; None for any.

        Raises:
            ValueError: The operation is unknown, the fault does not apply to it, or a number is too small.
        """
        self._faults.add(
            InjectedFault(
                fault, operation=operation, after=after, times=times, conversation_id=conversation_id
            )
        )

    def inject_at_random(
        self,
        rate: float,
        *,
        seed: int,
        faults: Collection[Fault] | None = None,
        operations: Collection[OperationName] | None = None,
    ) -> None:
        """Inject faults into coming requests at random, until `clear_faults`.

        The same requests in the same order with the same seed meet the same faults.

        Args:
            rate: The probability, from 0 to 1, that a matching request meets a fault.
            seed: The seed of the random generator.
            faults: The faults to choose from with equal probability; None for one of each kind. Those that do
                not apply to a request's operation are left out.
            operations: The operations that match; None for all.

        Raises:
            ValueError: The rate is out of range, an operation is unknown, or no fault applies to any of them.
        """
        self._faults.add(RandomFaults(rate, seed=seed, faults=faults, operations=operations))

    def clear_faults(self) -> None:
        """Remove all faults. Pending late commits are still made."""
        self._faults.clear()

    @property
    def unmet_faults(self) -> tuple[Fault, ...]:
        """The faults of `inject` that no request has met yet, in order. A test should end with none."""
        return self._faults.unmet

    async def late_commits(self) -> None:
        """Wait for all pending late commits."""
        await asyncio.to_thread(self._late.wait)

    def hold_background(self) -> AbstractContextManager[None]:
        """Keep background responses running inside a `with` block: they wait before their last event.

        They can be cancelled meanwhile. When the block ends, they end too: see `background_responses`.
        """
        return self._background.held()

    async def background_responses(self) -> None:
        """Wait until all background responses have ended."""
        await asyncio.to_thread(self._background.wait)

    def reply(  # noqa: PLR0913 - the reply, its requests and its end
        self,
        reply: Reply,
        *,
        conversation_id: str | None = None,
        when: ReplyCondition | None = None,
        times: int | None = 1,
        status: ReplyStatus = "completed",
        delay: float = 0,
    ) -> None:
        """Queue a reply of the model; a `POST /responses` gets the first reply that matches it.

        If no reply was ever queued for a request, it gets a default: the outputs of the preceding tool calls,
        or an echo of the user's last message; if it demands JSON with `text.format`, the least that fits. If
        the replies for it are used up, it gets a 400 `no_scripted_reply`; if the reply does not fit its
        `text.format`, a 400 `scripted_reply_failed`. A request that meets a fault after its commit has used
        its reply.

        Args:
            reply: The text of a message; an output item, such as `{"type": "function_call", "name": "add",
                "arguments": {"a": 1}}`; a list of items and texts; an `ErrorReply`; or a function that
                returns one of these for a `ResponseRequest`. The call of a hosted tool has its result in
                itself, or in the item after it. Missing fields (ids, a status, the parts of a message) are
                filled in.
            conversation_id: The conversation of the request; None for any request, even without one.
            when: Returns for a `ResponseRequest` whether the reply is for it; None for any request. A request
                for which it raises gets a 400 `scripted_reply_failed`.
            times: The number of requests that get the reply; None for all that follow.
            status: The final status of the response. Only a completed response is added to its conversation.
            delay: Seconds to wait after each event of a stream, or of a background response.

        Raises:
            ValueError: The reply is not valid output of a model, a number is too small, or an `ErrorReply` is
                given with a status or delay.
        """
        target = ReplyTarget(conversation_id, when)
        self._replies.add(ScriptedReply(reply, target=target, times=times, status=status, delay=delay))

    def clear_replies(self) -> None:
        """Remove all replies and return to the default."""
        self._replies.clear()

    @property
    def unused_replies(self) -> int:
        """The number of requests that the queued replies can still answer; `times=None` counts as 0."""
        return self._replies.unused()

    @property
    def requests(self) -> tuple[EmulatedRequest, ...]:
        """All requests since the last `forget_requests`, in the order of their responses or faults."""
        return self._log.snapshot()

    def forget_requests(self) -> None:
        """Clear `requests`."""
        self._log.clear()

    def seed(self, conversations: Iterable[Mapping[str, Any]]) -> SeedResult:
        """Store conversations that every key sees: all of them, or none if one is invalid.

        A conversation that the database already has, or has deleted, is skipped, so that the same seeds can
        be given after a restart.

        Args:
            conversations: Mappings with `items`, of any number, as the API accepts them, and optionally `id`
                (`conv_...`), `metadata` and `created_at` (Unix seconds). Without `id`, it is derived from the
                content. The iterable is read one by one, and requests wait meanwhile.

        Returns:
            How many conversations and items were stored, and how many conversations were skipped.

        Raises:
            InvalidSeedError: A conversation is invalid, or two have the same id; a `ValueError`.
        """
        return store_seeds(self._store, conversations, accept_unknown_types=self._accept_unknown_types)

    def conversations(self, *, api_key: str | None = None) -> tuple[StoredConversation, ...]:
        """Return all conversations, newest first; with `api_key`, those that this key sees."""
        return self.contents.conversations(api_key=api_key)

    def items(self, conversation_id: str) -> tuple[dict[str, Any], ...]:
        """Return all items of a conversation as they are stored, oldest first.

        As OpenAI documents, the items of a deleted conversation stay, though no request reaches them. Those
        that were deleted one by one are gone.

        Raises:
            LookupError: There never was such a conversation.
        """
        if not self.contents.has_conversation(conversation_id, or_deleted=True):
            raise LookupError(f"The emulator has no conversation {conversation_id!r}.")
        return tuple(json.loads(stored.json) for stored in self.contents.items(conversation_id))

    def item(self, conversation_id: str, item_id: str) -> dict[str, Any] | None:
        """Return an item as it is stored, also one of a deleted conversation; None if it is not stored."""
        return self.contents.item(conversation_id, item_id)

    def responses(self) -> tuple[dict[str, Any], ...]:
        """Return the objects of all stored responses, oldest first, with the fields that `include` opens."""
        return self._responses.all()

    def files(self) -> tuple[dict[str, Any], ...]:
        """Return the objects of all stored files, oldest first, as `GET /files/{id}` does."""
        return tuple(self._files.files())

    @property
    def contents(self) -> Contents:
        """The contents of the database, for programs that watch it change."""
        return Contents(self._store)

    def close(self) -> None:
        """Wait for pending late commits, stop background responses, and close the database.

        A background response that still runs is not stored. Closing twice does nothing; requests after it
        fail.
        """
        self._late.wait()
        self._background.close()
        self._store.close()

    def __enter__(self) -> Emulator:  # noqa: PYI034 - Self is not in Python 3.10's typing
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
