"""The errors of this library.

    SessionError
    ├── ConversationNotCreatedError   (ValueError, AttributeError)
    ├── ConversationNotFoundError
    ├── InvalidItemError              (ValueError)
    ├── InvalidUsageError             (ValueError)
    ├── MetadataFullError             (ValueError)
    ├── CursorError
    ├── InvalidResponseError
    ├── RequestTimeoutError           (TimeoutError)
    ├── UnsettledWriteError
    ├── ClientLoopError               (RuntimeError)
    ├── VocabularyError
    │
    │   in openai_sessions.errors.forking
    ├── ForkPointError                (ValueError)
    ├── ForkVerificationError
    ├── UnfinishedForkError
    │
    │   in openai_sessions.errors.transfer
    ├── TransferConflictError
    ├── TransferFileError             (ValueError)
    ├── TransferVerificationError
    ├── UnsettledTransferError
    │
    │   in openai_sessions.errors.directory
    ├── DirectorySchemaError
    ├── NameNotFoundError             (LookupError)
    ├── NameTakenError                (ValueError)
    ├── ConversationRegisteredError   (ValueError)
    ├── DeletionPendingError          (ValueError)
    └── CurrentBranchError            (ValueError)

    UnsettledWarning                  (ResourceWarning)

All of them are also names of `openai_sessions`. Errors of the API to which this library can add no fact
pass through as those of `openai`. No error carries the content of an item, a header or a key in its message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MOST_SHOWN = 100
"""How many characters of a value of metadata a message shows."""


class SessionError(Exception):
    """Stand at the root of all errors raised by this library."""


class ConversationNotCreatedError(SessionError, ValueError, AttributeError):
    """Tell that `session_id` was read before the conversation exists.

    A conversation is created at the first write. The error is a `ValueError`, as in the Agents SDK,
    and an `AttributeError`, so that `hasattr` and `isinstance` with a runtime protocol work.
    """

    def __init__(self) -> None:
        super().__init__(
            "This session has no conversation yet: it is created at the first write. "
            "Call `await session.ensure_conversation()` to create it now, or read "
            "`session.conversation_id`, which is None until then."
        )


class ConversationNotFoundError(SessionError):
    """Tell that the server does not know the conversation, after asking for the conversation itself.

    Attributes:
        conversation_id: The id that was asked for.
    """

    def __init__(self, conversation_id: str) -> None:
        super().__init__(
            f"No conversation {conversation_id!r} was found: it was deleted, or belongs to another "
            "project or another server. Make a session without conversation_id to begin a new one."
        )
        self.conversation_id = conversation_id


class InvalidItemError(SessionError, ValueError):
    """Tell that an item can never be stored. Nothing was sent.

    Attributes:
        index: The position of the item in the list that was given, from 0.
        reason: What is wrong with it, in words.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"items[{index}] cannot be stored: {reason}. Nothing was sent.")
        self.index = index
        self.reason = reason


class InvalidUsageError(SessionError, ValueError):
    """Tell that the metadata holds something else where the totals of the usage are kept.

    Nothing was changed: what stands there may be somebody's.

    Attributes:
        conversation_id: The conversation.
        value: What stands there, at most 512 characters.
        reason: Why it is no record of usage, in words.
    """

    def __init__(self, conversation_id: str, value: str, reason: str) -> None:
        shown = value if len(value) <= _MOST_SHOWN else value[:_MOST_SHOWN] + "…"
        super().__init__(
            f"The metadata 'openai_sessions.usage' of {conversation_id} is {shown!r}, which is no record of "
            f"usage: {reason}. `await session.set_session_usage(Usage())` begins a new one in its place."
        )
        self.conversation_id = conversation_id
        self.value = value
        self.reason = reason


class MetadataFullError(SessionError, ValueError):
    """Tell that a conversation cannot keep one more pair of metadata. Nothing was changed.

    Attributes:
        conversation_id: The conversation.
        pairs: How many pairs it would have.
    """

    def __init__(self, conversation_id: str, pairs: int) -> None:
        super().__init__(
            f"{conversation_id} would have {pairs} pairs of metadata, and the API keeps at most 16. Remove "
            'one first: `await session.update_metadata({"…": None})`. Nothing was changed.'
        )
        self.conversation_id = conversation_id
        self.pairs = pairs


class CursorError(SessionError):
    """Tell that a list could not be read to its end because the server's pages contradict each other.

    Attributes:
        conversation_id: The conversation that was read.
        cursor: The item id after which the page was asked.
    """

    def __init__(
        self,
        conversation_id: str,
        cursor: str,
        reason: str,
        *,
        remedy: str = "Try again; if it persists, the server's paging is broken.",
    ) -> None:
        super().__init__(
            f"The items of {conversation_id} could not be read: the page after {cursor} {reason}. {remedy}"
        )
        self.conversation_id = conversation_id
        self.cursor = cursor


class InvalidResponseError(SessionError):
    """Tell that the server answered with success and a body that is not what the API promises.

    After a write the outcome is unknown: the server may or may not have stored the items.

    Attributes:
        operation: The operation of the API, such as "create items".
        request_id: The server's `x-request-id`, or None.
    """

    def __init__(self, operation: str, reason: str, request_id: str | None) -> None:
        super().__init__(f"The answer to {operation!r} {reason} (x-request-id: {request_id}).")
        self.operation = operation
        self.request_id = request_id


class RequestTimeoutError(SessionError, TimeoutError):
    """Tell that a request got no complete answer within the session's `timeout`.

    After a write the outcome is unknown: the server may or may not have stored the items.

    Attributes:
        operation: The operation of the API, such as "create items".
        timeout: The limit in seconds of wall clock.
    """

    def __init__(self, operation: str, timeout: float) -> None:
        super().__init__(
            f"{operation!r} got no complete answer within {timeout:g} s. "
            "Give the session a longer timeout= if the server is slow."
        )
        self.operation = operation
        self.timeout = timeout


class UnsettledWriteError(SessionError):
    """Tell that a write failed, and that it could not be undone. `__cause__` says how it failed.

    The next operation on the conversation in this process undoes it if it can, and so does
    `await session.settle(error.receipt)` in any process.

    Attributes:
        receipt: What is left, for `settle()`: a dict that `json.dumps` takes. It holds the items whose
            outcome is unknown; keep it as you keep conversations.
        stored_ids: The ids of the items that stand.
        unknown: The items of which it is not known whether they are stored, as they were sent.
        not_stored: The items that are not stored, as they were sent.
    """

    def __init__(
        self,
        receipt: Mapping[str, Any],
        *,
        stored_ids: Sequence[str],
        unknown: Sequence[Mapping[str, Any]],
        not_stored: Sequence[Mapping[str, Any]],
    ) -> None:
        super().__init__(
            f"A write to {receipt['conversation_id']} failed and could not be undone: "
            f"{len(stored_ids)} item(s) stand, of {len(unknown)} it is unknown, {len(not_stored)} are not "
            "stored. The next operation undoes it if it can; so does `await session.settle(error.receipt)`."
        )
        self.receipt = dict(receipt)
        self.stored_ids = tuple(stored_ids)
        self.unknown = list(unknown)
        self.not_stored = list(not_stored)


class ClientLoopError(SessionError, RuntimeError):
    """Tell that a given client belongs to another event loop. Nothing was sent.

    The connections of an `AsyncOpenAI` belong to the event loop that opened them. Used in another,
    a request may fail after the server has served it.
    """

    def __init__(self) -> None:
        super().__init__(
            "The client of this session (openai_client=, or the default client of the Agents SDK) was "
            "first used in another event loop, and its connections belong to that loop. Leave "
            "openai_client out and set no default client (the session then keeps a client of its own "
            "for each loop), or make a client and a session inside each event loop."
        )


class VocabularyError(SessionError):
    """Tell that tiktoken could not fetch the vocabulary that it counts with. `__cause__` says why.

    Attributes:
        encoding: The name of the vocabulary, such as "o200k_base".
    """

    def __init__(self, encoding: str) -> None:
        super().__init__(
            f"tiktoken could not fetch its vocabulary {encoding!r}. It does so once, over the network, and "
            "keeps it where TIKTOKEN_CACHE_DIR says. To count offline, set TIKTOKEN_CACHE_DIR to a folder, "
            f"run `python -c \"import tiktoken; tiktoken.get_encoding('{encoding}')\"` once where there is "
            "a network, and take the folder along; or give count_tokens= a function of your own."
        )
        self.encoding = encoding


class UnsettledWarning(ResourceWarning):
    """Warn that a session was closed with writes that failed and could not be undone.

    Attributes:
        receipts: What is left, for `settle()` in this or another process.
    """

    def __init__(self, receipts: Sequence[Mapping[str, Any]]) -> None:
        ids = ", ".join(sorted({str(receipt["conversation_id"]) for receipt in receipts}))
        super().__init__(f"{len(receipts)} write(s) to {ids} failed and could not be undone: see `receipts`")
        self.receipts = tuple(receipts)
