"""When two requests are the same, and how they differ."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import chain, zip_longest
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_SHOWN = 80  # characters of a value in a message
_MOST_LINES = 8  # differences in a message

_MISSING = object()


def json_body(sent: Any, recorded: Any) -> None:
    """Match the bodies of two requests: a matcher of vcrpy.

    Bodies of JSON are the same when their values are, whatever their white space and the order of their
    keys; others when they are the same byte for byte.

    Raises:
        AssertionError: They differ; it says where.
    """
    if canonical_body(sent.body) != canonical_body(recorded.body):
        raise AssertionError("\n".join(body_differences(sent, recorded)))


def canonical_body(body: Any) -> Any:
    """Return a value that is equal for equal bodies: text for JSON, else what is given."""
    if isinstance(body, bytes):
        return _canonical(body)
    return body or b""


@lru_cache(maxsize=1024)
def _canonical(body: bytes) -> str | bytes:
    try:
        return json.dumps(json.loads(body), sort_keys=True, ensure_ascii=False)
    except ValueError:
        return body


def compared_text(request: Any) -> str:
    """Return what is compared of a request, in an order that does not depend on who sent it."""
    address = urlsplit(request.uri)
    query = sorted(parse_qsl(address.query, keep_blank_values=True))
    body = canonical_body(request.body)
    text = body if isinstance(body, str) else body.decode("latin-1") if isinstance(body, bytes) else ""
    return "\n".join([address.path, *chain.from_iterable(query), text])


def described(request: Any) -> str:
    """Return the method and the path of a request with its query, which may be cut."""
    address = urlsplit(request.uri)
    query = f"?{address.query}" if address.query else ""
    return f"{request.method} {address.path}{query if len(query) <= _SHOWN else query[:_SHOWN] + '…'}"


def distance(sent: Any, recorded: Any) -> tuple[int, ...]:
    """Return how far apart two requests are: the smaller, the closer.

    The method counts most, then the path, then all that differs in the query and the body.
    """
    ours, theirs = urlsplit(sent.uri).path.split("/"), urlsplit(recorded.uri).path.split("/")
    segments = sum(one != other for one, other in zip_longest(ours, theirs))
    lines = len(_query_differences(sent, recorded)) + len(body_differences(sent, recorded))
    return (sent.method != recorded.method, len(ours) != len(theirs), segments, lines)


def differences(sent: Any, recorded: Any, failed: list[tuple[str, str | None]]) -> list[str]:
    """Return in which ways two requests differ, one line for each, of matchers that failed.

    Args:
        sent: The request under way.
        recorded: The one to compare it with.
        failed: The names of the matchers and what they say themselves, as vcrpy gives them.
    """
    lines: list[str] = []
    for name, message in failed:
        if name in ("method", "path", "scheme", "host", "port"):
            lines.append(_differing(name, getattr(recorded, name), getattr(sent, name)))
        elif name == "query":
            lines += _query_differences(sent, recorded)
        elif name in ("json_body", "body", "raw_body"):
            lines += body_differences(sent, recorded) or ["body: the same value in other bytes"]
        else:
            lines.append(f"{name}: {_shown(message)}" if message else f"{name}: not the same")
    more = len(lines) - _MOST_LINES
    return lines if more <= 1 else [*lines[:_MOST_LINES], f"and {more} more"]


def _query_differences(sent: Any, recorded: Any) -> list[str]:
    ours, theirs = _parameters(sent), _parameters(recorded)
    return [
        _differing(f"query {name}", theirs.get(name, _MISSING), ours.get(name, _MISSING))
        for name in {**theirs, **ours}
        if theirs.get(name) != ours.get(name)
    ]


def _parameters(request: Any) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for name, value in request.query:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def body_differences(sent: Any, recorded: Any) -> list[str]:
    """Return in which ways two bodies differ, one line for each place."""
    ours, theirs = canonical_body(sent.body), canonical_body(recorded.body)
    if ours == theirs:
        return []
    if isinstance(ours, str) and isinstance(theirs, str):
        return _json_differences("", json.loads(theirs), json.loads(ours))
    return [_differing("body", _plain(theirs), _plain(ours))]


def _plain(body: Any) -> Any:
    if body in (b"", None):
        return _MISSING
    return body if isinstance(body, str) else f"{len(body)} bytes" if isinstance(body, bytes) else type(body)


def _json_differences(path: str, recorded: Any, sent: Any) -> list[str]:
    if isinstance(recorded, dict) and isinstance(sent, dict):
        pairs = [
            (f"{path}.{key}" if path else key, recorded.get(key, _MISSING), sent.get(key, _MISSING))
            for key in {**recorded, **sent}
        ]
    elif isinstance(recorded, list) and isinstance(sent, list):
        both = zip_longest(recorded, sent, fillvalue=_MISSING)
        pairs = [(f"{path}[{index}]", one, other) for index, (one, other) in enumerate(both)]
    elif _as_json(recorded) == _as_json(sent):
        return []
    else:
        return [_differing(f"body {path}".rstrip(), recorded, sent)]
    return [line for where, one, other in pairs for line in _json_differences(where, one, other)]


def _differing(where: str, recorded: Any, sent: Any) -> str:
    ours = "not sent" if sent is _MISSING else f"sent {_shown(sent)}"
    theirs = "not recorded" if recorded is _MISSING else f"recorded {_shown(recorded)}"
    return f"{where}: {theirs}, {ours}"


def _as_json(value: Any) -> Any:
    return value if value is _MISSING else json.dumps(value, sort_keys=True)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
