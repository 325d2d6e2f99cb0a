"""Compare what a session gave with what it must give, and say how they differ."""

from __future__ import annotations

from typing import Any

_SHOWN = 100  # characters of a value in a message


class _Absent:
    """Stands for the value of a key that is not there."""

    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()


class CheckFailedError(AssertionError):
    """What a session did is not what it must do."""


class CheckSkippedError(Exception):
    """Whether a session does what it must cannot be told."""


def expect(expected: object, actual: object, what: str) -> None:
    """Raise unless both are equal, down to every key.

    Raises:
        CheckFailedError: They differ.
    """
    if expected != actual:
        where = _difference(expected, actual)
        differ = f"\ndiffer:   {where}" if where else ""
        raise CheckFailedError(f"{what}\nexpected: {shown(expected)}\nactual:   {shown(actual)}{differ}")


def expect_items(expected: list[Any], actual: object, what: str) -> None:
    """Raise unless both are the same items in the same order, wherever sessions may not differ.

    See `comparable` for where they may.

    Raises:
        CheckFailedError: They differ in number, or in the item that the message names.
    """
    _expect_each([comparable(item) for item in expected], _each(comparable, actual, what), what)


def expect_texts(expected: list[str], actual: object, what: str) -> None:
    """Raise unless the items are messages of these texts in this order, in whatever form.

    Raises:
        CheckFailedError: They differ in number, or in the item that the message names.
    """
    _expect_each(expected, _each(text_of, actual, what), what)


def text_of(item: Any) -> Any:
    """Return the text of a message that has one text, as a string or as its only part, else the item."""
    content = item.get("content") if isinstance(item, dict) else None
    if isinstance(content, list) and len(content) == 1:
        return content[0].get("text", item)
    return content if isinstance(content, str) else item


def comparable(item: Any) -> Any:
    """Return the item without what a store may add to it or leave out.

    That is its id, the status `completed`, the type `message` of an item that has a role, and the
    empty `logprobs` of a content part.
    """
    if not isinstance(item, dict):
        return item
    optional = [("status", "completed"), *([("type", "message")] if "role" in item else [])]
    kept = {key: value for key, value in item.items() if key != "id" and (key, value) not in optional}
    if isinstance(kept.get("content"), list):
        kept["content"] = [_without_logprobs(part) for part in kept["content"]]
    return kept


def _without_logprobs(part: Any) -> Any:
    if isinstance(part, dict) and part.get("logprobs") == []:
        return {key: value for key, value in part.items() if key != "logprobs"}
    return part


def _each(view: Any, items: object, what: str) -> list[Any]:
    if not isinstance(items, list):
        raise CheckFailedError(f"{what}\nexpected: a list\nactual:   {shown(items)}")
    return [view(item) for item in items]


def _expect_each(expected: list[Any], actual: list[Any], what: str) -> None:
    if len(expected) != len(actual):
        expected_text, actual_text = (f"{counted(items)} {shown(items)}" for items in (expected, actual))
        raise CheckFailedError(f"{what}\nexpected: {expected_text}\nactual:   {actual_text}")
    for index, (one, other) in enumerate(zip(expected, actual, strict=True), start=1):
        expect(one, other, f"{what}: item {index} of {len(expected)}")


def counted(items: list[Any]) -> str:
    """Return how many items they are."""
    return f"{len(items)} item{'' if len(items) == 1 else 's'}"


def _difference(expected: Any, actual: Any, where: str = "") -> str:
    """Return where two values differ first, and what is there; empty when they differ as a whole."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        key = next(key for key in {**expected, **actual} if _at(expected, key) != _at(actual, key))
        return _difference(_at(expected, key), _at(actual, key), f"{where}[{key!r}]")
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        index = next(index for index, one in enumerate(expected) if one != actual[index])
        return _difference(expected[index], actual[index], f"{where}[{index}]")
    if isinstance(expected, str) and isinstance(actual, str) and len(expected) > _SHOWN:
        equal = _number_of_equals(expected, actual)
        where = f"{where} from character {equal} on".strip()
        expected, actual = expected[equal:], actual[equal:]
    return f"{where}: expected {shown(expected)}, actual {shown(actual)}" if where else ""


def _number_of_equals(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _at(mapping: dict[Any, Any], key: object) -> Any:
    return mapping.get(key, _ABSENT)


def shown(value: object) -> str:
    """Return the value as text, cut where it is too long to read."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
