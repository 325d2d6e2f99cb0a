"""The emulator: the application, its database, and the ways to reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._app import build_app
from openai_sessions.emulator._client import in_process_client
from openai_sessions.emulator._operations import Operations
from openai_sessions.emulator._requests import EmulatedRequest, RequestLog
from openai_sessions.emulator._server import serving
from openai_sessions.emulator._store import Store

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, MutableMapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    import openai
    from starlette.types import Receive, Send


class Emulator:
    """Answer the eight operations of OpenAI's Conversations API, offline.

    It is an ASGI application: serve it with `serve`, or reach it in process through `client`, both at once
    and from any number of threads and event loops. Close it with `close`, or use it as a context manager.

    Args:
        database: A file, made if need be, that keeps the conversations; `":memory:"` keeps them until closed.
        api_keys: The bearer keys accepted; None accepts any. Each key sees only its own conversations, and
            only digests of keys are kept.
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
        operations = Operations(self._store, accept_unknown_types=accept_unknown_types)
        self._app = build_app(operations, api_keys=api_keys, log=self._log)

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

    @property
    def requests(self) -> tuple[EmulatedRequest, ...]:
        """Every request answered since the last `forget_requests`, in order; refused ones too."""
        return self._log.snapshot()

    def forget_requests(self) -> None:
        """Empty `requests`."""
        self._log.clear()

    def close(self) -> None:
        """Close the database. Closing twice is no error; requests after it fail."""
        self._store.close()

    def __enter__(self) -> Emulator:  # noqa: PYI034 - Self is not in Python 3.10's typing
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
