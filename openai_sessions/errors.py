"""The errors that this library raises. Catch `SessionError` for all of them.

    SessionError                      what to do
    │
    │   any session
    ├── UnsettledWriteError           a failed write was not undone: settle(error.receipt)
    ├── RequestTimeoutError           no complete response in time: requests=RequestSettings(timeout=…)
    ├── ConversationNotFoundError     deleted, or in another project: start a new conversation
    ├── IncompleteResponseError       a response was lost, or cut: see error.is_stored
    ├── InvalidConversationIdError    another id, or a name: conversation_id=…, or a SessionDirectory
    ├── InvalidItemError              an item cannot be stored: correct it
    ├── InvalidReadingError           a filter of reading= returned no such list: correct it
    ├── ConversationNotCreatedError   there is no conversation yet: ensure_conversation()
    ├── ClientLoopError               the client belongs to another event loop: create one in each loop
    ├── ClosedClientError             the client was closed: give one that lives as long as the session
    ├── StoppedLoopError              a stopped event loop holds the conversation: run it on, or close it
    ├── ConversationHeldError         an exclusive turn around the call holds it: use that turn
    ├── ConversationChangedError      others have written meanwhile: run the turn, or compact, again
    ├── TurnStateError                a turn is used outside its block: call session.turn() again
    ├── LockLostError                 the lease of a shared lock was not renewed: read again, and repeat
    ├── MetadataFullError             the conversation has 16 pairs of metadata: remove one
    ├── InvalidUsageError             the usage totals are unreadable: set_session_usage(Usage())
    ├── UnknownCostError              a model has no price: usage.cost(models={…})
    ├── MissingContextError           no run has passed its context: Runner.run(…, context=…)
    ├── VocabularyError               tiktoken is offline: download its vocabulary once, or give count_tokens=
    ├── TokenCountError               the server does not count tokens: give count_tokens= a function
    ├── CompactionError               the server does not compact: history_limits=HistoryLimits(…)
    ├── CursorError                   the server's pages contradict each other: try again
    ├── InvalidResponseError          the body is not what the API documents: check base_url= and proxies
    ├── RedirectError                 the server is at another address: set base_url= to error.base_url
    │
    │   fork(), rewind()
    ├── CutPointError                 it would split a call from its output: cut after error.safe_item_ids
    ├── ForkVerificationError         the server does not store an item unchanged: the fork was deleted
    ├── UnfinishedForkError           a failed fork was not deleted: clear_session(purge_items=True)
    │
    │   repair(), rewind(), delete_items(), replace_item()
    ├── UnfinishedDeletionError       some items were not deleted: settle(error.receipt)
    ├── ItemNotFoundError             the conversation does not have the item: take ids from turns()
    ├── SplitItemsError               a call and its output stay together: see error.partner_ids
    │
    │   copy_session(), import_session()
    ├── TransferConflictError         the target has other items: give an empty one, or append=True
    ├── TransferFileError             a line of the file is damaged: export it again, or correct the line
    ├── TransferVerificationError     something wrote meanwhile, or the target changes an item: try again
    ├── UnsettledTransferError        a failed copy was not undone: call it again to continue
    │
    │   SessionDirectory
    ├── NameNotFoundError             there is no such name or branch: directory.session(name)
    ├── NameTakenError                the name or branch exists: choose another one
    ├── UserMismatchError             the name has another user, or none: choose another name, or set_user()
    ├── NameChangedError              the metadata of the name is not the expected: read it again
    ├── ConversationRegisteredError   the conversation has a name: open it by that name
    ├── DeletionPendingError          a sweep will delete the conversation: register a fork of it
    ├── CurrentBranchError            the branch is the current one: switch() first
    ├── MasterKeyError                a user's key needs another master key: key_store([new, old])
    └── DirectorySchemaError          tables are missing or of another version: create_tables()

    UnsettledWarning                  a session was closed with failed writes: settle(receipt)

Some are also built-in exceptions: a `ValueError` for a wrong argument, a `LookupError` for an unknown name, a
`TimeoutError` for a timeout. An error of the API passes through as openai's own unless this library can add a
fact. No message contains the content of an item, a header or a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

_SHOWN_CHARACTERS = 100
"""How much of a metadata value a message shows."""


class SessionError(Exception):
    """Base class of the errors of this library."""


class UnsettledWriteError(SessionError):
    """A write failed and could not be undone. `__cause__` is the failure.

    `await session.settle(error.receipt)` undoes it, in any process; call it before the items are written
    again. The next operation on the conversation in this process deletes the items whose ids the server had
    acknowledged, and no others: another writer may have stored equal items since.

    Attributes:
        receipt: What `settle()` needs, as a dict that `json.dumps` accepts. It contains the items that may
            or may not be stored: protect it as you protect conversations.
        stored_ids: The ids of the items that remain stored.
        unknown: The items that may or may not be stored, as they were sent.
        not_stored: The items that were not stored, as they were sent.
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
            f"A write to {receipt['conversation_id']} failed and could not be undone: of its items, "
            f"{len(stored_ids)} remain stored, {len(unknown)} may or may not be stored, and "
            f"{len(not_stored)} are not stored. Call `await session.settle(error.receipt)` before you write "
            "them again: it deletes what is stored."
        )
        self.receipt = dict(receipt)
        self.stored_ids = tuple(stored_ids)
        self.unknown = list(unknown)
        self.not_stored = list(not_stored)


class RequestTimeoutError(SessionError, TimeoutError):
    """A request got no complete response within the session's timeout.

    After a write the outcome is unknown: the server may or may not have stored the items.

    Attributes:
        operation: The operation of the API, such as "create items".
        timeout: The limit in seconds of wall-clock time.
    """

    def __init__(self, operation: str, timeout: float) -> None:
        super().__init__(
            f"{operation!r} got no complete response within {timeout:g} s. If the server is slow, give the "
            "session more time: requests=RequestSettings(timeout=…)."
        )
        self.operation = operation
        self.timeout = timeout


class ConversationNotFoundError(SessionError):
    """The server does not have the conversation.

    It is raised only after the conversation itself was requested: a 404 may also mean a missing item.

    Attributes:
        conversation_id: The id of the conversation.
    """

    def __init__(self, conversation_id: str) -> None:
        super().__init__(
            f"The server has no conversation {conversation_id!r}: it was deleted, or it belongs to another "
            "project or server. Create a session without conversation_id to start a new conversation."
            + ("" if conversation_id.startswith("conv_") else f" {_FOR_NAMES}")
        )
        self.conversation_id = conversation_id


_FOR_NAMES = "For names of your own, such as 'user_123', use openai_sessions.directory.SessionDirectory."


class IncompleteResponseError(SessionError):
    """A response in a conversation was not received whole, and could not be completed from what is stored.

    `__cause__` is the failure, if there is one. The request is not sent again, because the server may have
    stored the response, or the application has used a part of it.

    Attributes:
        conversation_id: The conversation.
        response_id: The id of the response, or None if it did not arrive.
        is_stored: False if two searches of the conversation did not find the response; None if it could not
            be found out, or may come yet.
    """

    def __init__(
        self, conversation_id: str, response_id: str | None, *, is_stored: Literal[False] | None, reason: str
    ) -> None:
        what = (
            "it may or may not be in the conversation: read the newest items before you run the turn again"
            if is_stored is None
            else "two searches did not find it in the conversation: run the turn again"
        )
        named = f"Response {response_id}" if response_id else "A response"
        super().__init__(f"{named} in {conversation_id} was not received whole ({reason}), and {what}.")
        self.conversation_id = conversation_id
        self.response_id = response_id
        self.is_stored = is_stored


class InvalidConversationIdError(SessionError, ValueError):
    """What was given cannot be the id of a conversation. Nothing was sent.

    Attributes:
        problem: What was given, and what it is instead.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem}. Give the id that the API returned as conversation_id=, or leave it out to start a "
            f"new conversation. {_FOR_NAMES}"
        )
        self.problem = problem


class InvalidItemError(SessionError, ValueError):
    """An item cannot be stored. Nothing was sent; after a copy or an export, the message says what remains.

    Attributes:
        index: The position of the item in the given list, or in the source of a copy or an export, from 0.
        reason: What is wrong with the item.
    """

    def __init__(self, index: int, reason: str, *, outcome: str = "Nothing was sent") -> None:
        super().__init__(f"items[{index}] cannot be stored: {reason}. {outcome}.")
        self.index = index
        self.reason = reason


class InvalidReadingError(SessionError, ValueError):
    """A filter of `reading=` returned something that a model request cannot contain. Nothing was changed.

    Attributes:
        name: The filter, by its position in `reading` and its name.
        problem: What it returned.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"{name}, returned {problem}. A filter returns a list of items in which calls and their outputs, "
            "and reasoning and what it led to, are together."
        )
        self.name = name
        self.problem = problem


class ConversationNotCreatedError(SessionError, ValueError, AttributeError):
    """`session_id` was read before the session had a conversation.

    It is a `ValueError`, as in the Agents SDK, and an `AttributeError`, so that `hasattr` and `isinstance`
    with a runtime-checkable protocol work.
    """

    def __init__(self) -> None:
        super().__init__(
            "This session has no conversation yet: the first write creates it. Call "
            "`await session.ensure_conversation()` to create it now, or read `session.conversation_id`, "
            "which is None until then."
        )


class ClientLoopError(SessionError, RuntimeError):
    """The given client belongs to another event loop. Nothing was sent.

    The connections of an `AsyncOpenAI` belong to the event loop that opened them. In another loop a
    request may fail after the server has served it.
    """

    def __init__(self) -> None:
        super().__init__(
            "The client of this session (openai_client=, or the default client of the Agents SDK) was "
            "first used in another event loop, and its connections belong to that loop. Nothing was sent. "
            "Leave openai_client out and set no default client (the session then creates one client for "
            "each loop), or create a client and a session inside each event loop."
        )


class ClosedClientError(SessionError, RuntimeError):
    """The client of a session was closed. The request was not sent."""

    def __init__(self) -> None:
        super().__init__(
            "The client of this session (openai_client=, or the default client of the Agents SDK) was "
            "closed. The request was not sent. Give a client that lives as long as its sessions, or leave "
            "openai_client out: the session then opens a client of its own."
        )


class StoppedLoopError(SessionError, TimeoutError):
    """Another operation holds the conversation, and its event loop does not run. Nothing was sent.

    A loop that was stopped in the middle of an operation, as by an exception that leaves
    `run_until_complete()`, keeps what the operation holds until it runs again or is closed.

    Attributes:
        holder: The task that holds it, and its thread.
    """

    def __init__(self, holder: str, patience: float) -> None:
        super().__init__(
            f"The conversation is held by {holder}, whose event loop has not run for {patience:g} s. Run "
            "that loop until the task has ended, or close it."
        )
        self.holder = holder


class ConversationHeldError(SessionError, RuntimeError):
    """An exclusive turn around this call holds the conversation, and the call would wait for itself.

    Attributes:
        conversation_id: The id of the conversation.
    """

    def __init__(self, conversation_id: str) -> None:
        super().__init__(
            f"{conversation_id} is held by an exclusive turn of this task, or of the task that started it: a "
            "session on it would wait for the end of that turn for ever. Use the turn itself, which has the "
            "methods of a session, or end its block first."
        )
        self.conversation_id = conversation_id


class ConversationChangedError(SessionError):
    """Others have written since the history was read, by a turn with `on_conflict="raise"` or by `compact()`.

    Nothing was written. Run the turn again, in a new `session.turn()`, which reads the history again; a
    compaction can wait for the next turn.

    Attributes:
        conversation_id: The id of the conversation that was read; None if there was none.
        read_id: The id of the newest item then; None if there was none.
        current_conversation_id: The id of the conversation now; None if there is none.
        newest_id: The id of its newest item now, or of one that others have written or deleted; None if there
            is none, or if the conversation is another.
    """

    def __init__(
        self,
        conversation_id: str | None,
        read_id: str | None,
        current_conversation_id: str | None,
        newest_id: str | None,
        *,
        during: Literal["turn", "compaction"] = "turn",
    ) -> None:
        now = f"the newest item is {newest_id or 'none'}"
        if current_conversation_id != conversation_id:
            now = f"the session has {current_conversation_id or 'no conversation'}"
        remedy = {
            "turn": "run the turn again in a new session.turn(), or let one turn wait for the other with "
            "session.turn(exclusive=True)",
            "compaction": "compact again when no run uses the conversation",
        }
        super().__init__(
            f"{conversation_id or 'The session'} was changed during the {during}: the newest item that the "
            f"{during} has read is {read_id or 'none'}, and now {now}. Nothing was written: {remedy[during]}."
        )
        self.conversation_id = conversation_id
        self.read_id = read_id
        self.current_conversation_id = current_conversation_id
        self.newest_id = newest_id


class TurnStateError(SessionError, RuntimeError):
    """A turn is used before or after its block, or for a second one."""


class LockLostError(SessionError):
    """The lock that sessions of several processes share was lost before a write, which was not sent.

    Attributes:
        conversation_id: The id of the conversation.
        lease: The lease of the lock in seconds.
    """

    def __init__(self, conversation_id: str, lease: float) -> None:
        super().__init__(
            f"The lock of {conversation_id} was lost: its lease of {lease:g} s ended before it was renewed, "
            "because Redis was restarted or could not be reached, or this process was paused. Another "
            "process may have written since: read again, and repeat what failed."
        )
        self.conversation_id = conversation_id
        self.lease = lease


class MetadataFullError(SessionError, ValueError):
    """A conversation has no room for another metadata pair. Nothing was changed.

    Attributes:
        conversation_id: The id of the conversation.
        pairs: How many pairs it would have.
    """

    def __init__(self, conversation_id: str, pairs: int, *, most: int) -> None:
        super().__init__(
            f"{conversation_id} would have {pairs} pairs of metadata, and the API allows {most}. Nothing was "
            'changed. Remove a pair first: `await session.update_metadata({"…": None})`.'
        )
        self.conversation_id = conversation_id
        self.pairs = pairs


class InvalidUsageError(SessionError, ValueError):
    """The metadata of the usage totals has a value that is not a usage record. Nothing was changed.

    Attributes:
        conversation_id: The id of the conversation.
        value: The value, at most 512 characters.
        reason: Why it is not a usage record.
    """

    def __init__(self, conversation_id: str, value: str, reason: str) -> None:
        shown = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
        super().__init__(
            f"The metadata 'openai_sessions.usage' of {conversation_id} is {shown!r}, which is not a usage "
            f"record: {reason}. Nothing was changed. `await session.set_session_usage(Usage())` overwrites "
            "it and counts from zero."
        )
        self.conversation_id = conversation_id
        self.value = value
        self.reason = reason


class UnknownCostError(SessionError, LookupError):
    """The cost of some requests is unknown: their models have no price, or are not known themselves.

    Attributes:
        known: The cost of all other requests in US dollars.
        unknown: The numbers of requests of unknown cost, by the name of their model, "" if that is not known.
    """

    def __init__(self, known: Decimal, unknown: Mapping[str, int]) -> None:
        without = ", ".join(f"{number} of {name or 'an unknown model'}" for name, number in unknown.items())
        example = dict.fromkeys(unknown, "gpt-5.2")
        super().__init__(
            f"genai-prices has no price for {sum(unknown.values())} request(s): {without}. The others cost "
            f"${known:f}. `usage.cost(models={example})` takes the price of another model, and "
            "`pip install --upgrade genai-prices` brings new prices."
        )
        self.known = known
        self.unknown = dict(unknown)


class MissingContextError(SessionError, TypeError):
    """A `ContextSession` was used without a context, so that it is unknown whose session is meant.

    Nothing was read or changed.
    """

    def __init__(self) -> None:
        super().__init__(
            "A ContextSession needs the context of a run: give `context=` to Runner.run(). Outside of a run, "
            "use the session itself: `await sessions.select_session(context)`."
        )


class VocabularyError(SessionError):
    """tiktoken could not fetch the vocabulary that it counts with. `__cause__` is the failure.

    Attributes:
        encoding: The name of the vocabulary, such as "o200k_base".
    """

    def __init__(self, encoding: str) -> None:
        super().__init__(
            f"tiktoken could not fetch its vocabulary {encoding!r}, which it downloads once and caches in "
            "TIKTOKEN_CACHE_DIR. To count offline, set TIKTOKEN_CACHE_DIR to a directory, run "
            f"`python -c \"import tiktoken; tiktoken.get_encoding('{encoding}')\"` once with network access, "
            "and deploy the directory; or give your own function as count_tokens=."
        )
        self.encoding = encoding


class TokenCountError(SessionError):
    """The server does not count tokens. `__cause__` is its response.

    Attributes:
        address: Its base URL.
        status: The HTTP status.
    """

    def __init__(self, address: str, status: int, message: str) -> None:
        super().__init__(
            f"{address} does not count tokens: POST /responses/input_tokens got {message!r}. "
            "Count texts instead: count_tokens=openai_sessions.tokens.tiktoken_counter(), or a function of "
            "your own."
        )
        self.address = address
        self.status = status


class CompactionError(SessionError):
    """The server does not compact. `__cause__` is its response.

    Attributes:
        address: Its base URL.
        status: The HTTP status.
    """

    def __init__(self, address: str, status: int, message: str) -> None:
        super().__init__(
            f"{address} does not compact histories: POST /responses/compact got {message!r}. Limit what the "
            "model reads instead: history_limits=openai_sessions.HistoryLimits(max_tokens=…)."
        )
        self.address = address
        self.status = status


class CursorError(SessionError):
    """The items could not be read to the end: pages contradict each other, or the last item read is gone.

    Attributes:
        conversation_id: The id of the conversation.
        cursor: The item id that was sent as `after`.
    """

    def __init__(
        self,
        conversation_id: str,
        cursor: str,
        reason: str,
        *,
        remedy: str = "Try again; if it happens again, the server's paging is broken.",
    ) -> None:
        super().__init__(
            f"The items of {conversation_id} could not be read: the page after {cursor} {reason}. {remedy}"
        )
        self.conversation_id = conversation_id
        self.cursor = cursor


class InvalidResponseError(SessionError):
    """A response has a success status, and its body is not what the API documents; or any body is too large.

    Bodies have at most 128 MB once decoded, and are nested at most 200 levels deep. After a write the outcome
    is unknown: the server may or may not have stored the items.

    Attributes:
        operation: The operation of the API, such as "create items".
        request_id: The server's `x-request-id`, or None.
        is_lasting: Whether the request is not repeated: it would get the same response, as one that is too
            large, or would create another conversation.
        conversation_id: The id of the conversation that the request has created, if the response has one that
            cannot be used; else None.
    """

    def __init__(
        self,
        operation: str,
        reason: str,
        request_id: str | None,
        *,
        is_lasting: bool = False,
        conversation_id: str | None = None,
    ) -> None:
        super().__init__(
            f"The response to {operation!r} {reason} (x-request-id: {request_id}). Check the client's "
            "base_url, and any proxy in between."
        )
        self.operation = operation
        self.request_id = request_id
        self.is_lasting = is_lasting
        self.conversation_id = conversation_id


class RedirectError(SessionError):
    """A response is a redirect that is not followed.

    Followed are 307 and 308 to the same scheme, host and port. After a write the outcome is unknown.

    Attributes:
        operation: The operation of the API, such as "create items".
        status: The status of the response.
        address: Where it points, without user, password and query; None if it names no address.
        base_url: The base URL to give to the client, if the address tells it; else None.
    """

    def __init__(
        self, operation: str, status: int, address: str | None, reason: str, *, base_url: str | None
    ) -> None:
        to = f" to the address {address!r}" if address else ""
        remedy = f": base_url={base_url!r}" if base_url else ", so that no request is redirected"
        super().__init__(
            f"The response to {operation!r} is a redirect with status {status}{to}. It was not followed: "
            f"{reason}. Set the client's base_url (or OPENAI_BASE_URL){remedy}."
        )
        self.operation = operation
        self.status = status
        self.address = address
        self.base_url = base_url


class CutPointError(SessionError, ValueError):
    """A conversation cannot be forked or rewound at this point. Nothing was changed.

    Attributes:
        conversation_id: The id of the conversation.
        safe_item_ids: The nearest items before and after the requested one that can be cut after. Empty if
            the requested turn or item does not exist.
    """

    def __init__(self, conversation_id: str, reason: str, safe_item_ids: Sequence[str] = ()) -> None:
        super().__init__(f"{conversation_id} cannot be cut there: {reason}. Nothing was changed.")
        self.conversation_id = conversation_id
        self.safe_item_ids = tuple(safe_item_ids)


class ForkVerificationError(SessionError):
    """A fork did not contain the items that were written to it. It was deleted.

    Attributes:
        position: The position, from 0, of the first item that differs, is missing or is extra.
    """

    def __init__(self, position: int) -> None:
        super().__init__(
            f"The fork was read back and differs from what was written at item {position} (counted from 0): "
            "the server does not store this item unchanged."
        )
        self.position = position


class UnfinishedForkError(SessionError):
    """A fork failed, and its new conversation may remain. `__cause__` is the failure.

    Attributes:
        conversation_id: The id of the new conversation, which may contain items.
        undoing: Why it could not be deleted.
    """

    def __init__(self, conversation_id: str, undoing: BaseException) -> None:
        super().__init__(
            f"A fork failed, and its new conversation {conversation_id} could not be deleted "
            f"({type(undoing).__name__}): it may remain, with items. To delete it: `await "
            f"OpenAIConversationsSession(conversation_id={conversation_id!r}).clear_session(purge_items=True)`."
        )
        self.conversation_id = conversation_id
        self.undoing = undoing


class UnfinishedDeletionError(SessionError):
    """Some of the items to be deleted are still stored. `__cause__` is the failure.

    `await session.settle(error.receipt)` deletes the others by their ids, in any process. No other operation
    does.

    Attributes:
        receipt: What `settle()` needs, as a dict that `json.dumps` accepts. It contains ids only.
        deleted_ids: The ids of the items that were deleted, oldest first.
        remaining_ids: The ids of the items that may still be stored, oldest first.
    """

    def __init__(self, receipt: Mapping[str, Any], *, deleted_ids: Sequence[str]) -> None:
        remaining = receipt["deleting"]
        super().__init__(
            f"{len(deleted_ids)} item(s) of {receipt['conversation_id']} were deleted, and {len(remaining)} "
            "may still be stored. Call `await session.settle(error.receipt)` to delete them."
        )
        self.receipt = dict(receipt)
        self.deleted_ids = tuple(deleted_ids)
        self.remaining_ids = tuple(remaining)


class ItemNotFoundError(SessionError, LookupError):
    """A conversation does not have items that were named. Nothing was changed.

    Attributes:
        conversation_id: The id of the conversation.
        item_ids: The ids that it does not have.
    """

    def __init__(self, conversation_id: str, item_ids: Sequence[str]) -> None:
        super().__init__(
            f"{conversation_id} has no item {', '.join(map(repr, item_ids))}. Nothing was changed. "
            "`await session.turns()` returns turns with the ids of their items."
        )
        self.conversation_id = conversation_id
        self.item_ids = tuple(item_ids)


class SplitItemsError(SessionError, ValueError):
    """Items that belong together would be separated. Nothing was changed.

    A call and its outputs belong together, and reasoning and what it led to.

    Attributes:
        conversation_id: The id of the conversation.
        partner_ids: The ids of the items that would lack their counterpart, oldest first.
    """

    def __init__(self, conversation_id: str, partner_ids: Sequence[str], remedy: str) -> None:
        super().__init__(
            f"{', '.join(partner_ids)} of {conversation_id} would lack the call, output or reasoning that "
            f"belongs to it. Nothing was changed. {remedy}"
        )
        self.conversation_id = conversation_id
        self.partner_ids = tuple(partner_ids)


class TransferConflictError(SessionError):
    """The target of a copy or an import contains other items. Nothing was written.

    Attributes:
        position: The position, from 0, of the first item of the target that differs from the source.
    """

    def __init__(self, position: int) -> None:
        super().__init__(
            f"The target differs from the source at its item {position} (counted from 0), so it is not a "
            "partial copy to be completed. Nothing was written. Give an empty target, or append=True to add "
            "to its items."
        )
        self.position = position


class TransferFileError(SessionError, ValueError):
    """A file cannot be imported. Nothing was written.

    Attributes:
        line: The number of the line, from 1.
        reason: What is wrong with the line, and the remedy.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"Line {line} of the export {reason}. Nothing was written.")
        self.line = line
        self.reason = reason


class TransferVerificationError(SessionError):
    """The target of a copy or an import, read back, differs from the source.

    Either was changed meanwhile, or the target does not store the item unchanged.

    Attributes:
        position: The position, from 0, of the first item of the copy that differs from the source.
    """

    def __init__(self, position: int) -> None:
        super().__init__(
            f"The copy was read back and differs from the source at item {position} (counted from 0). If "
            "something wrote to one of them meanwhile, try again when nothing does; otherwise the target "
            "does not store this item unchanged."
        )
        self.position = position


class UnsettledTransferError(SessionError):
    """A copy or an import failed and could not be undone. `__cause__` is the failure.

    Attributes:
        session_id: The session id of the target, or None.
        left: How many of the written items remain in the target at most.
        undoing: Why they could not be removed.
    """

    def __init__(
        self, session_id: str | None, left: int, undoing: BaseException, *, append: bool = False
    ) -> None:
        remains = f"up to {left} of its items remain" if left else "the empty conversation it created remains"
        resume = (
            "Call it again with the same source and target to continue, or clear_session() a target that was "
            "empty before."
        )
        remove = "They follow the target's own items: remove them from its end before you copy to it again."
        super().__init__(
            f"A copy to {session_id} failed and could not be undone ({type(undoing).__name__}): {remains}. "
            f"{remove if append and left else resume}"
        )
        self.session_id = session_id
        self.left = left
        self.undoing = undoing


class NameNotFoundError(SessionError, LookupError):
    """A directory does not have the name, or the name does not have the branch. Nothing was changed.

    Attributes:
        name: The name.
        branch: The branch, or None.
    """

    def __init__(self, name: str, branch: str | None = None) -> None:
        super().__init__(
            f"The directory has no {_described(name, branch)}. `await directory.session(…)` creates a name."
        )
        self.name = name
        self.branch = branch


class NameTakenError(SessionError, ValueError):
    """A directory already has the name, or the name already has the branch. Nothing was changed.

    Attributes:
        name: The name.
        branch: The branch, or None.
    """

    def __init__(self, name: str, branch: str | None = None) -> None:
        super().__init__(
            f"The directory already has the {_described(name, branch)}: choose another one, or forget that "
            "one first."
        )
        self.name = name
        self.branch = branch


class UserMismatchError(SessionError, ValueError):
    """The name belongs to another user than the given one, or to none. Nothing was changed.

    Attributes:
        name: The name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The name {name!r} does not belong to this user: choose another name, or give it to the user "
            f"with `await directory.set_user({name!r}, …)`."
        )
        self.name = name


class NameChangedError(SessionError):
    """The metadata that a directory stores with a name is not the expected metadata. Nothing was changed.

    Attributes:
        name: The name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The metadata of the name {name!r} was changed since it was read: read it again with "
            "`await directory.get(…)`, and decide again."
        )
        self.name = name


def _described(name: str, branch: str | None) -> str:
    return f"name {name!r}" if branch is None else f"branch {branch!r} of {name!r}"


class ConversationRegisteredError(SessionError, ValueError):
    """A directory already has the conversation, under another name or as another branch. Nothing was changed.

    Attributes:
        conversation_id: The id of the conversation.
        name: Its name.
        branch: Its branch of that name.
    """

    def __init__(self, conversation_id: str, name: str, branch: str) -> None:
        super().__init__(
            f"{conversation_id} is already registered, as branch {branch!r} of {name!r}. Open it by that "
            "name, or rename that name, or forget it first, which keeps the conversation at OpenAI."
        )
        self.conversation_id = conversation_id
        self.name = name
        self.branch = branch


class DeletionPendingError(SessionError, ValueError):
    """A directory will delete the conversation, so it cannot be registered. Nothing was changed.

    Attributes:
        conversation_id: The id of the conversation.
    """

    def __init__(self, conversation_id: str) -> None:
        super().__init__(
            f"{conversation_id} was cleared or forgotten, or its name expired: a sweep will delete it. "
            "Register a copy: `await "
            f"OpenAIConversationsSession(conversation_id={conversation_id!r}).fork()`."
        )
        self.conversation_id = conversation_id


class CurrentBranchError(SessionError, ValueError):
    """The current branch of a name cannot be forgotten. Nothing was changed.

    Attributes:
        name: The name.
        branch: The branch.
    """

    def __init__(self, name: str, branch: str) -> None:
        super().__init__(
            f"{branch!r} is the current branch of {name!r}: `await directory.switch({name!r}, …)` to another "
            "branch first, or forget the whole name."
        )
        self.name = name
        self.branch = branch


class MasterKeyError(SessionError):
    """The stored keys of users cannot be decrypted. They stay as they are, and no new ones are created.

    Attributes:
        users: The users, in order.
    """

    def __init__(self, users: Sequence[str]) -> None:
        others = f" and of {len(users) - 1} more user(s)" if len(users) > 1 else ""
        super().__init__(
            f"The stored key of user {users[0]!r}{others} cannot be decrypted: it was encrypted with another "
            "master key, or damaged. Give key_store() the key that it was encrypted with, after the new one: "
            "key_store([new, old])."
        )
        self.users = tuple(users)


class DirectorySchemaError(SessionError):
    """A database has no directory tables, or those of another version. Nothing was changed.

    Attributes:
        found: The version of the tables, or None if there are none.
        supported: The version that this release of the library reads and writes.
        oldest: The oldest version that `create_tables()` upgrades.
    """

    def __init__(self, found: int | None, supported: int, *, oldest: int) -> None:
        if found is None:
            problem = "has no tables of a session directory. Create them: `await directory.create_tables()`."
        else:
            if found > supported:
                remedy = "use the release that created them, or a newer one."
            elif found < oldest:
                remedy = (
                    f"tables before version {oldest} cannot be upgraded. Use another database, and register "
                    "the conversations there: `await directory.register(name, conversation_id)`."
                )
            else:
                remedy = (
                    "upgrade them: `await directory.create_tables()`; earlier releases cannot use them then."
                )
            problem = (
                f"has session directory tables of version {found}, and this release of openai-sessions "
                f"supports version {supported}: {remedy}"
            )
        super().__init__(f"The database {problem}")
        self.found = found
        self.supported = supported
        self.oldest = oldest


class UnsettledWarning(ResourceWarning):
    """A session was closed with failed writes that could not be undone.

    Attributes:
        receipts: What `settle()` needs to undo them, in this or another process.
    """

    def __init__(self, receipts: Sequence[Mapping[str, Any]]) -> None:
        ids = ", ".join(sorted({str(receipt["conversation_id"]) for receipt in receipts}))
        super().__init__(
            f"{len(receipts)} write(s) to {ids} failed and could not be undone: "
            "`await session.settle(receipt)` for each of this warning's `receipts`"
        )
        self.receipts = tuple(receipts)
