"""Checks of what callers give, made before any request, and the limits of the API.

Each check returns the value in the form that the library uses, or raises a `TypeError` or `ValueError` that
names the argument, the value and the remedy.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

from openai_sessions._items.text import has_surrogate
from openai_sessions.errors import InvalidConversationIdError

MAX_ITEMS_PER_REQUEST = 20
"""The maximum number of items in a create request."""

MAX_REQUEST_BYTES = 8_000_000
"""The default maximum size of a create request: gateways refuse larger ones. The API states no limit."""

MAX_PAGE_SIZE = 100
"""The maximum number of items in a page of a list."""

EVERY_ITEM = 2**31 - 1
"""A `limit` above any history's length: reads also what a compaction item stands for."""

MAX_TEXT = 10_485_760
"""The maximum number of characters in one text (`InputTextContentParam` in OpenAI's OpenAPI document)."""

MAX_METADATA_PAIRS = 16
"""The maximum number of metadata pairs of a conversation."""

MAX_METADATA_KEY = 64
"""The maximum number of characters in a metadata key."""

MAX_METADATA_VALUE = 512
"""The maximum number of characters in a metadata value."""

RESERVED_PREFIX = "openai_sessions."
"""The prefix of the metadata keys that this library uses for itself."""

_ID = re.compile(r"(?!conv_\Z)(?!\.{1,2}\Z)[A-Za-z0-9._~=+:-]{1,256}")
"""Characters that mean nothing else in the path of a URL."""

SESSION_METHODS = ("get_items", "add_items", "pop_item", "clear_session")
"""The methods that the Agents SDK calls on a session."""


def checked_conversation_id(value: object) -> str:
    """Return an id that a caller gave, if it may be the id of a conversation.

    Servers choose the form of their ids, so any well-formed one is taken that does not name something else.

    Raises:
        InvalidConversationIdError: It is malformed, the id of another object, or a name.
    """
    problem = _why_not_a_conversation_id(value)
    if problem is None:
        return str(value)
    raise InvalidConversationIdError(f"{_shown(value)} is not a conversation id: {problem}")


def is_conversation_id(value: object) -> bool:
    """Return whether a value may be an id: it is safe as a segment of a URL path, and more than a prefix.

    Ids are opaque: OpenAI's are `conv_` and hexadecimal digits, others have UUIDs or base64.
    """
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def refuse_positional(class_name: str, values: Sequence[object]) -> None:
    """Refuse positional arguments of a session, such as the name in `SQLiteSession("user_123")`.

    Raises:
        InvalidConversationIdError: The first is a string.
        TypeError: It is anything else.
    """
    if not values:
        return
    if not isinstance(values[0], str):
        raise TypeError(
            f"{class_name} takes keyword arguments only, such as conversation_id= and openai_client=: "
            f"a {type(values[0]).__name__} was given by position"
        )
    checked_conversation_id(values[0])
    raise InvalidConversationIdError(
        f"{class_name} takes keyword arguments only: {_shown(values[0])} was given by position"
    )


_OTHER_KINDS = {
    "resp_": "the id of a response, whose conversation is response.conversation.id",
    "msg_": "the id of a message",
    "call_": "the id of a function call",
    "chatcmpl": "the id of a chat completion, which belongs to no conversation",
    "thread_": "the id of a thread of the Assistants API",
    "run_": "the id of a run of the Assistants API",
    "asst_": "the id of an assistant",
    "sess_": "the id of a session of the Realtime API",
    "file-": "the id of a file",
    "sk-": "an API key",
}
"""What a value with one of OpenAI's other prefixes is. Shorter prefixes may begin an id in base64."""

_NAME = re.compile(r"(?:user|customer|client|session|chat|support|agent|my)(?:\d*|[-_.:].*)", re.DOTALL)
"""A name as the examples of the Agents SDK give it: `user_123`."""

_GENERATED = re.compile(r"[0-9A-Za-z]{12}")
"""Names of people's own choice rarely have so many letters and digits in a row; generated ids do."""

_SHOWN_CHARACTERS = 80
"""How much of a wrong id a message shows."""


def _why_not_a_conversation_id(value: object) -> str | None:
    if not isinstance(value, str):
        return f"it is of type {type(value).__name__}, not a string"
    for prefix, kind in _OTHER_KINDS.items():
        if value.startswith(prefix):
            return f"it looks like {kind}"
    if _NAME.fullmatch(value) and not _GENERATED.search(value):
        return "it looks like a name of your own"
    if is_conversation_id(value):
        return None
    return "it does not have the form of an id" if value else "it is empty"


def _shown(value: object) -> str:
    """Return a wrong id for a message, unless it is no string or may be a secret."""
    if not isinstance(value, str) or value.startswith("sk-"):
        return "The value"
    return repr(value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…")


def check_client(value: object) -> None:
    """Refuse what is neither a client nor None.

    Raises:
        TypeError: It is a name, a class or anything else.
    """
    if value is not None and (isinstance(value, type) or not hasattr(value, "base_url")):
        raise TypeError(f"openai_client must be an AsyncOpenAI, not a {type(value).__name__}")


def checked_metadata(value: object) -> dict[str, str] | None:
    """Return a copy of metadata within the limits of the API, or None.

    Raises:
        TypeError: It is not a mapping of strings to strings.
        ValueError: It is over a limit, or contains a lone surrogate.
    """
    metadata = checked_strings(value)
    if metadata is None:
        return None
    if len(metadata) > MAX_METADATA_PAIRS:
        raise ValueError(
            f"metadata has {len(metadata)} pairs, and the API allows {MAX_METADATA_PAIRS}: remove some"
        )
    for key, text in metadata.items():
        _check_metadata_pair(key, text)
    return metadata


def _check_metadata_pair(key: str, text: str) -> None:
    if len(key) > MAX_METADATA_KEY:
        raise ValueError(f"the metadata key {key!r} has over {MAX_METADATA_KEY} characters: shorten it")
    if len(text) > MAX_METADATA_VALUE:
        raise ValueError(f"metadata[{key!r}] has over {MAX_METADATA_VALUE} characters: shorten it")
    if has_surrogate(key) or has_surrogate(text):
        raise ValueError(f"metadata[{key!r}] contains a lone surrogate, which UTF-8 cannot encode: remove it")


def checked_strings(value: object) -> dict[str, str] | None:
    """Return a copy of metadata of any size, or None.

    Raises:
        TypeError: It is not a mapping of strings to strings.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"metadata must be a mapping of strings to strings, not {type(value).__name__}")
    for key, text in value.items():
        if not isinstance(key, str):
            raise TypeError(f"the metadata key {key!r} must be a string: give str({key!r})")
        if not isinstance(text, str):
            raise TypeError(f"metadata[{key!r}] must be a string, not {type(text).__name__}: give str(…)")
    return dict(value)


def checked_user_metadata(value: object, *, reserved: int) -> dict[str, str]:
    """Return a copy of a user's metadata that leaves room for pairs of this library.

    Args:
        value: The metadata, or None.
        reserved: How many pairs this library adds.

    Raises:
        TypeError: It is not a mapping of strings to strings.
        ValueError: It is over a limit, or has a reserved key.
    """
    metadata = checked_metadata(value) or {}
    most = MAX_METADATA_PAIRS - reserved
    if len(metadata) > most:
        raise ValueError(
            f"metadata has {len(metadata)} pairs, and {most} fit: the API allows {MAX_METADATA_PAIRS}, and "
            f"this library needs {reserved}. Remove some."
        )
    for key in metadata:
        check_not_reserved(key)
    return metadata


def check_not_reserved(key: str) -> None:
    """Refuse a metadata key that this library uses for itself.

    Raises:
        ValueError: It has the reserved prefix.
    """
    if key.startswith(RESERVED_PREFIX):
        raise ValueError(f"the metadata key {key!r} is reserved for openai_sessions: choose another key")


def checked_items(value: object) -> Sequence[object]:
    """Return a list of items; the items themselves are not checked.

    Raises:
        TypeError: It is not a list or another iterable of items.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(
            f"items must be a list of items, not {type(value).__name__}: put a single item into a list"
        )
    return list(value)


def checked_item_ids(value: object) -> tuple[str, ...]:
    """Return ids of items.

    Raises:
        TypeError: They are not a list of strings.
        ValueError: One is empty, or there twice.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"ids must be a list of item ids, not {value!r}: put a single id into a list")
    ids = [checked_item_id(f"ids[{index}]", item_id) for index, item_id in enumerate(value)]
    if twice := next((item_id for item_id, count in Counter(ids).items() if count > 1), None):
        raise ValueError(f"ids contains {twice!r} more than once: give each id once")
    return tuple(ids)


def checked_item_id(name: str, value: object) -> str:
    """Return what may be the id of an item.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty.
    """
    return checked_text(name, value, wanted="the id of an item, such as 'msg_…'")


def checked_limit(value: object) -> int | None:
    """Return the maximum number of items to read, or None.

    Raises:
        TypeError: It is not an integer.
    """
    return checked_number("limit", value, "items", none="all")


def checked_maximum(name: str, value: object, unit: str) -> int | None:
    """Return a limit of every read of a session, or None.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is less than 1.
    """
    maximum = checked_number(name, value, unit)
    if maximum is not None and maximum < 1:
        raise ValueError(
            f"{name} must be at least 1, or None for no limit, not {value!r}: reads would return nothing"
        )
    return maximum


def checked_number(name: str, value: object, unit: str, *, none: str = "no limit") -> int | None:
    """Return an integer, or None.

    Args:
        name: The name of the argument.
        value: What was given.
        unit: What it counts.
        none: What None means.

    Raises:
        TypeError: It is not an integer.
    """
    if value is None:
        return None
    if not is_whole_number(value):
        raise TypeError(f"{name} must be a whole number of {unit}, or None for {none}, not {value!r}")
    return int(value)


def checked_seconds(name: str, value: object, *, none: str = "no limit") -> float | None:
    """Return a number of seconds, or None.

    Args:
        name: The name of the argument.
        value: What was given.
        none: What None means.

    Raises:
        ValueError: It is not a positive number.
    """
    if value is None:
        return None
    if not is_number(value) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number of seconds, or None for {none}, not {value!r}")
    return float(value)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Return whether a value is an integer. True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is an integer or a float, which may be infinite. True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def checked_history(history: object) -> object:
    """Return how a session reads its history: "full" or "incremental".

    Raises:
        ValueError: It is neither.
    """
    if history not in ("full", "incremental"):
        raise ValueError(f'history must be "full" or "incremental", not {history!r}')
    return history


def checked_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check an argument that is one of a few words.

    Raises:
        ValueError: It is none of them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, not {value!r}")


def checked_include(value: Iterable[str]) -> tuple[str, ...]:
    """Return values for the API's `include` parameter.

    Raises:
        TypeError: It is not a list or another iterable of strings.
    """
    values = () if isinstance(value, str) else tuple(value)
    if isinstance(value, str) or not all(isinstance(name, str) for name in values):
        raise TypeError(
            f"include must be a list of strings such as 'message.output_text.logprobs', not {value!r}"
        )
    return values


def checked_text(name: str, value: object, *, wanted: str = "the text to search for") -> str:
    """Return a string that is not empty.

    Args:
        name: The name of the argument.
        value: What was given.
        wanted: What the argument means, for the message.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} is empty: give {wanted}")
    return value


def missing_methods(value: object) -> list[str]:
    """Return the names of the session methods that an object lacks."""
    return [name for name in SESSION_METHODS if not callable(getattr(value, name, None))]
