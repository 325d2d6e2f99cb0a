"""Checks of what a caller gives, before any request."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

_MAX_METADATA_PAIRS = 16
_MAX_METADATA_KEY = 64
_MAX_METADATA_VALUE = 512

_SURROGATE = re.compile("[\ud800-\udfff]")

SESSION_METHODS = ("get_items", "add_items", "pop_item", "clear_session")
"""What the Agents SDK calls on a session."""


def missing_methods(value: object) -> list[str]:
    """Return which methods of a session something has not."""
    return [name for name in SESSION_METHODS if not callable(getattr(value, name, None))]


def has_surrogate(text: str) -> bool:
    """Tell whether a text holds half of a surrogate pair, which UTF-8 cannot encode.

    Python puts it where it has read bytes that are no text.
    """
    return _SURROGATE.search(text) is not None


def is_conversation_id(value: object) -> bool:
    """Tell whether a value is `conv_` and word characters, and so safe as a part of a path."""
    return isinstance(value, str) and re.fullmatch(r"conv_\w+", value, re.ASCII) is not None


def checked_conversation_id(value: object) -> str:
    """Return a well-formed conversation id.

    Raises:
        ValueError: It is malformed.
    """
    if not is_conversation_id(value):
        raise ValueError(
            f"{value!r} is not a conversation id: one is 'conv_' and letters, digits or underscores, "
            "as the API returns it. To begin a new conversation, leave conversation_id out."
        )
    return str(value)


def checked_metadata(value: object) -> dict[str, str] | None:
    """Return a copy of metadata within the limits of the API: 16 pairs, keys of 64, values of 512.

    Raises:
        TypeError: It is not a mapping of strings to strings.
        ValueError: It is over a limit.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"metadata is a mapping of strings to strings, not {type(value).__name__}")
    if len(value) > _MAX_METADATA_PAIRS:
        raise ValueError(f"metadata has {len(value)} pairs, and the API keeps at most {_MAX_METADATA_PAIRS}")
    for key, text in value.items():
        _check_metadata_pair(key, text)
    return dict(value)


def _check_metadata_pair(key: object, text: object) -> None:
    if not isinstance(key, str) or not isinstance(text, str):
        raise TypeError(f"metadata[{key!r}] is not a string under a string: give str(…) of both")
    if len(key) > _MAX_METADATA_KEY:
        raise ValueError(f"the metadata key {key!r} has over {_MAX_METADATA_KEY} characters: shorten it")
    if len(text) > _MAX_METADATA_VALUE:
        raise ValueError(f"metadata[{key!r}] has over {_MAX_METADATA_VALUE} characters: shorten it")
    if has_surrogate(key + "\n" + text):
        raise ValueError(
            f"metadata[{key!r}] holds half of a surrogate pair, which UTF-8 has not: leave it out"
        )


def checked_history(history: object) -> object:
    """Return how a history is read.

    Raises:
        ValueError: There is no such way.
    """
    if history not in ("full", "incremental"):
        raise ValueError(f'history is "full" or "incremental", not {history!r}')
    return history


def checked_timeout(value: object) -> float | None:
    """Return a timeout in seconds, or None.

    Raises:
        ValueError: It is not a positive number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"timeout is a positive number of seconds, or None for no limit, not {value!r}")
    return float(value)


def checked_include(value: Iterable[str]) -> tuple[str, ...]:
    """Return values of the API's `include`.

    Raises:
        TypeError: It is not a sequence of strings.
    """
    values = () if isinstance(value, str) else tuple(value)
    if isinstance(value, str) or not all(isinstance(name, str) for name in values):
        raise TypeError(f"include is a list of strings such as 'message.output_text.logprobs', not {value!r}")
    return values


def checked_limit(value: object) -> int | None:
    """Return a limit of items, or None.

    Raises:
        TypeError: It is not a whole number.
    """
    return checked_number("limit", value, "items", none="all")


def checked_number(name: str, value: object, unit: str, *, none: str = "no limit") -> int | None:
    """Return how many of something are wanted, or None, which stands for what `none` says.

    Raises:
        TypeError: It is not a whole number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number of {unit}, or None for {none}, not {value!r}")
    return int(value)


def checked_maximum(name: str, value: object, unit: str) -> int | None:
    """Return the most that every read of a session returns, or None.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is less than 1.
    """
    maximum = checked_number(name, value, unit)
    if maximum is not None and maximum < 1:
        raise ValueError(
            f"{name} is at least 1, or None for no limit, not {value!r}: no read would return any"
        )
    return maximum


def checked_count_tokens(value: Callable[[str], int] | None) -> Callable[[str], int] | None:
    """Return a function that counts tokens, or None.

    Raises:
        TypeError: It cannot be called.
    """
    if value is not None and not callable(value):
        raise TypeError(
            f"count_tokens is a function of a text that returns its number of tokens, not {value!r}"
        )
    return value


def checked_text(name: str, value: object, *, wanted: str = "what to look for") -> str:
    """Return a text that says something.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is a string, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} is empty: give {wanted}")
    return value


def checked_items(value: object) -> Sequence[object]:
    """Return a list of items, not yet looked into.

    Raises:
        TypeError: It is not a list.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"items is a list of items, not {type(value).__name__}: put one item into a list")
    return list(value)
