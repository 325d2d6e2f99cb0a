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


class DirectorySchemaError(SessionError):
    """Tell that a database has no tables of a directory, or those of another version. Nothing was changed.

    Attributes:
        found: The version of the tables, or None when there are none.
        supported: The version that this release of the library reads and writes.
    """

    def __init__(self, found: int | None, supported: int) -> None:
        if found is None:
            problem = (
                "has no tables of a session directory. Create them with `await directory.create_tables()`."
            )
        else:
            problem = (
                f"has tables of a session directory in version {found}, and this release of openai-sessions "
                f"knows version {supported}: use the release that made them, or a newer one."
            )
        super().__init__(f"The database {problem}")
        self.found = found
        self.supported = supported


class NameNotFoundError(SessionError, LookupError):
    """Tell that a directory has no such name, or a name no such branch. Nothing was changed.

    Attributes:
        name: The name that was asked for.
        branch: The branch that was asked for, or None.
    """

    def __init__(self, name: str, branch: str | None = None) -> None:
        what = f"name {name!r}" if branch is None else f"branch {branch!r} of {name!r}"
        super().__init__(f"The directory has no {what}. `await directory.session(…)` makes a name.")
        self.name = name
        self.branch = branch


class NameTakenError(SessionError, ValueError):
    """Tell that a directory has the name already, or a name the branch. Nothing was changed.

    Attributes:
        name: The name.
        branch: The branch, or None.
    """

    def __init__(self, name: str, branch: str | None = None) -> None:
        what = f"name {name!r}" if branch is None else f"branch {branch!r} of {name!r}"
        super().__init__(
            f"The directory has the {what} already: choose another one, or forget that name first."
        )
        self.name = name
        self.branch = branch


class ConversationRegisteredError(SessionError, ValueError):
    """Tell that a directory has a conversation under another name, or as another branch. Nothing was changed.

    Attributes:
        conversation_id: The conversation.
        name: Its name.
        branch: The branch of that name that it is.
    """

    def __init__(self, conversation_id: str, name: str, branch: str) -> None:
        super().__init__(
            f"{conversation_id} is registered already, as branch {branch!r} of {name!r}: open it by that "
            "name, or rename that name, or forget it first, which leaves the conversation at OpenAI."
        )
        self.conversation_id = conversation_id
        self.name = name
        self.branch = branch


class DeletionPendingError(SessionError, ValueError):
    """Tell that a directory is to delete a conversation, and cannot register it. Nothing was changed.

    Attributes:
        conversation_id: The conversation.
    """

    def __init__(self, conversation_id: str) -> None:
        super().__init__(
            f"{conversation_id} was cleared or forgotten, or its name has expired: a sweep deletes it at any "
            "moment. Register a copy: `fork()` of a session that was made with its id gives one."
        )
        self.conversation_id = conversation_id


class CurrentBranchError(SessionError, ValueError):
    """Tell that a branch cannot be forgotten, as its name stands for it. Nothing was changed.

    Attributes:
        name: The name.
        branch: The branch.
    """

    def __init__(self, name: str, branch: str) -> None:
        super().__init__(
            f"{name!r} stands for its branch {branch!r}: `await directory.switch({name!r}, …)` to another "
            "one first, or forget the whole name."
        )
        self.name = name
        self.branch = branch


class ForkPointError(SessionError, ValueError):
    """Tell that a conversation cannot be forked there. Nothing was created.

    Attributes:
        conversation_id: The conversation that was to be forked.
        safe_item_ids: The nearest items, before and behind, after which it can be forked; none where no
            other place is meant.
    """

    def __init__(self, conversation_id: str, reason: str, safe_item_ids: Sequence[str] = ()) -> None:
        super().__init__(f"{conversation_id} cannot be forked there: {reason}. Nothing was created.")
        self.conversation_id = conversation_id
        self.safe_item_ids = tuple(safe_item_ids)


class ForkVerificationError(SessionError):
    """Tell that a fork did not hold the items that were written to it. It was deleted.

    Attributes:
        position: The first item, from 0, that differs, is missing, or is one too many.
    """

    def __init__(self, position: int) -> None:
        super().__init__(
            "The new conversation was read back, and differs from what was written to it at item "
            f"{position} (counted from 0): the server does not keep such an item as it is."
        )
        self.position = position


class UnfinishedForkError(SessionError):
    """Tell that a fork failed, and that its new conversation could not be deleted, or may not be.

    `__cause__` says how the fork failed.

    Attributes:
        conversation_id: The new conversation, which may hold items.
        undoing: Why it could not be deleted.
    """

    def __init__(self, conversation_id: str, undoing: BaseException) -> None:
        super().__init__(
            f"A fork failed, and its new conversation {conversation_id} could not be deleted "
            f"({type(undoing).__name__}): it may stand, and hold items. To delete it: `await "
            f"OpenAIConversationsSession(conversation_id={conversation_id!r}).clear_session(purge_items=True)`."
        )
        self.conversation_id = conversation_id
        self.undoing = undoing


class TransferConflictError(SessionError):
    """Tell that the target of a copy or an import holds something else. Nothing was written.

    Attributes:
        position: The first of its items, from 0, that is not what was to be written.
    """

    def __init__(self, position: int) -> None:
        super().__init__(
            f"The target holds something else than the source, from its item {position} on (counted from 0), "
            "and so is no copy that was cut short. Nothing was written. Give an empty target, or "
            "append=True to add to what it holds."
        )
        self.position = position


class TransferFileError(SessionError, ValueError):
    """Tell that a file cannot be imported. Nothing was written.

    Attributes:
        line: The number of the line, from 1.
        reason: What is wrong with it, and the remedy.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"Line {line} of the export {reason}. Nothing was written.")
        self.line = line
        self.reason = reason


class TransferVerificationError(SessionError):
    """Tell that the target of a copy or an import does not give back what the source holds.

    Either was changed meanwhile, or the target does not keep such an item as it is.

    Attributes:
        position: The first item of the copy, from 0, that is not what the source holds.
    """

    def __init__(self, position: int) -> None:
        super().__init__(
            f"The copy was read back, and is not what the source holds from its item {position} on (counted "
            "from 0). If something wrote to one of them meanwhile, try again when nothing does; otherwise "
            "the target does not keep that item as it is."
        )
        self.position = position


class UnsettledTransferError(SessionError):
    """Tell that a copy or an import failed and could not be undone. `__cause__` says how it failed.

    Attributes:
        session_id: What the target calls itself, or None.
        left: How many of the items that it wrote are left in the target at most.
        undoing: Why the undoing failed.
    """

    def __init__(
        self, session_id: str | None, left: int, undoing: BaseException, *, append: bool = False
    ) -> None:
        what = f"up to {left} item(s) of it are" if left else "the conversation that it created, empty, is"
        go_on = (
            "Call it again with the same source and target to go on, or use clear_session() if it was empty."
        )
        take_off = (
            "They stand behind what the target held: take them off its end before you copy to it again."
        )
        super().__init__(
            f"A copy to {session_id} failed and could not be undone ({type(undoing).__name__}): {what} left. "
            f"{take_off if append and left else go_on}"
        )
        self.session_id = session_id
        self.left = left
        self.undoing = undoing
