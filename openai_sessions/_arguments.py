"""Checks of what callers give, made before any request, and the limits of the API.

Each check returns the value in the form that the library uses, or raises a `TypeError` or `ValueError` that
names the argument, the value and the remedy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

from openai_sessions._items.text import has_surrogate
from openai_sessions._items.types import CountTokens

MAX_ITEMS_PER_REQUEST = 20
"""The maximum number of items in a create request."""

MAX_PAGE_SIZE = 100
"""The maximum number of items in a page of a list."""

MAX_METADATA_PAIRS = 16
"""The maximum number of metadata pairs of a conversation."""

MAX_METADATA_KEY = 64
"""The maximum number of characters in a metadata key."""

MAX_METADATA_VALUE = 512
"""The maximum number of characters in a metadata value."""

RESERVED_PREFIX = "openai_sessions."
"""The prefix of the metadata keys that this library uses for itself."""

SESSION_METHODS = ("get_items", "add_items", "pop_item", "clear_session")
"""The methods that the Agents SDK calls on a session."""


def checked_conversation_id(value: object) -> str:
    """Return a well-formed conversation id.

    Raises:
        ValueError: It is malformed.
    """
    if not is_conversation_id(value):
        raise ValueError(
            f"{value!r} is not a conversation id: use 'conv_' and letters, digits or underscores, as the API "
            "returned it. To start a new conversation, leave conversation_id out."
        )
    return str(value)


def is_conversation_id(value: object) -> bool:
    """Return whether a value is `conv_` and word characters, and therefore safe in a URL path."""
    return isinstance(value, str) and re.fullmatch(r"conv_\w+", value, re.ASCII) is not None


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


def checked_count_tokens(value: CountTokens | None) -> CountTokens | None:
    """Return a function that counts tokens, or None.

    Raises:
        TypeError: It is not callable.
    """
    if value is not None and not callable(value):
        raise TypeError(
            f"count_tokens must be a function that returns the number of tokens in a text, not {value!r}"
        )
    return value


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
