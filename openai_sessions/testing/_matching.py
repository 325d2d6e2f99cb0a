"""Match requests with those of a cassette, and explain a request that has no match."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import zip_longest
from operator import attrgetter
from typing import Any

from vcr.cassette import Cassette
from vcr.matchers import get_matchers_results, requests_match

from openai_sessions.testing._errors import CassetteMissError

_SHOWN, _MOST_LINES = 80, 8  # characters of a value, and differences, in a message
_MISSING = object()
_LOADED = "_openai_sessions_loaded"  # attribute of the requests that came from the file
# What the Agents SDK adds to a request to api.openai.com only.
_OPENAI_ONLY = re.compile(
    r"prompt_cache_key=agents-sdk:|store=True$|stream_options=\{'include_usage': True\}$"
)
_REMEDY = (
    '\nTo record it again, delete the file or use record_mode="all"; record_mode="new_episodes" adds to the '
    "file. Where the environment variable CI is set, nothing is recorded unless record_mode says so."
)


def json_body(sent: Any, recorded: Any) -> bool:
    """Return whether two bodies are equal, as JSON or else as bytes without a multipart boundary."""
    return sent.body == recorded.body or _canonical(_body(sent)) == _canonical(_body(recorded))


def is_loaded(_: Any, recorded: Any) -> bool:
    """Return whether a recorded request came from the file: what this run recorded is not replayed."""
    return hasattr(recorded, _LOADED)


def described(request: Any) -> str:
    """Return the method, path and query of a request; a long query is cut."""
    query = f"?{request.parsed_uri.query[:_SHOWN]}" if request.parsed_uri.query else ""
    return f"{request.method} {request.path}{query}"


class MissDetector:
    """Raises `CassetteMissError` for requests that vcrpy may neither answer nor record.

    openai would retry vcrpy's own error, like a failed connection. vcrpy calls this one last of its
    `before_record_request` functions, with each request that it loads or looks up.
    """

    def __init__(self, matchers: Sequence[Callable[[Any, Any], Any]]) -> None:
        self._matchers = matchers
        self.path = ""
        self.cassette: Cassette | None = None  # set, like its path, when it is loaded
        self.misses: list[CassetteMissError] = []

    def __call__(self, request: Any) -> Any:
        """Return the request, marked if it is being loaded, or raise if it is a miss."""
        cassette = self.cassette
        if cassette is None:
            setattr(request, _LOADED, True)
        elif cassette.write_protected and not any(
            (cassette.allow_playback_repeats or not cassette.play_counts[index])
            and requests_match(request, recorded, self._matchers)
            for index, recorded in enumerate(cassette.requests)
        ):
            self.misses.append(CassetteMissError(self._finding(request, cassette) + _REMEDY, request=request))
            raise self.misses[-1]
        return request

    def _finding(self, sent: Any, cassette: Cassette) -> str:
        if not cassette.rewound:
            return f"{self.path} does not exist, and {described(sent)} may not be recorded."
        headline, total = f"{self.path} has no response to {described(sent)}.", len(cassette)
        if not total:
            return f"{headline} It contains no exchanges."
        distances = [self._distance(recorded, sent) for recorded in cassette.requests]
        if same := ", ".join(str(number) for number, each in enumerate(distances, start=1) if not any(each)):
            return (
                f"{headline} Exchange {same} of {total} matches, but was already played: the code sends the "
                "request more often than recorded. allow_playback_repeats=True replays it again."
            )
        nearest = min(range(total), key=lambda at: (distances[at], cassette.play_counts[at]))
        lines = self._differences(cassette.requests[nearest], sent)
        more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
        told = f"{nearest + 1} of {total} ({described(cassette.requests[nearest])}), which differs in"
        return "\n  ".join([f"{headline} The nearest is exchange {told}", *lines[:_MOST_LINES], *more])

    def _distance(self, recorded: Any, sent: Any) -> tuple[int, ...]:
        lines = len(self._differences(recorded, sent))
        segments = zip_longest(recorded.path.split("/"), sent.path.split("/")) if lines else ()
        return recorded.method != sent.method, sum(one != other for one, other in segments), lines

    def _differences(self, recorded: Any, sent: Any) -> list[str]:
        """Return a line for each difference that keeps the requests from matching."""
        lines: list[str] = []
        for name, message in get_matchers_results(sent, recorded, self._matchers)[1]:
            place, part = _PARTS.get(name, (name, lambda _: None))
            lines += _compared(place, part(recorded), part(sent)) or [f"{place}: {message or 'differs'}"]
        return lines


def _body(request: Any) -> Any:
    """Return the JSON of a body, or else its bytes."""
    body = request.body or b""
    if body.startswith(b"--"):  # multipart, with a random boundary
        return body.replace(body.partition(b"\n")[0].strip(), b"--boundary")
    return _parsed(body)


@lru_cache(maxsize=1024)
def _parsed(body: bytes) -> Any:
    try:
        parsed = json.loads(body)
    except ValueError:
        return body
    if not isinstance(parsed, dict):
        return parsed
    return {name: value for name, value in parsed.items() if not _OPENAI_ONLY.match(f"{name}={value}")}


_PARTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    **{name: (name, attrgetter(name)) for name in ("method", "scheme", "host", "port", "path", "uri")},
    **dict.fromkeys(("json_body", "body", "raw_body"), ("body", _body)),
    "query": ("query", lambda request: dict(request.query)),
}
"""What the matchers compare, and its name in messages."""


def _compared(place: str, recorded: Any, sent: Any) -> list[str]:
    """Return a line for each place in which two values differ."""
    if _canonical(recorded) == _canonical(sent):
        return []
    if isinstance(recorded, dict) and isinstance(sent, dict):
        both = {**dict.fromkeys(sent, _MISSING), **recorded}
        pairs = [(f"{place}.{key}", value, sent.get(key, _MISSING)) for key, value in both.items()]
    elif isinstance(recorded, list) and isinstance(sent, list):
        zipped = zip_longest(recorded, sent, fillvalue=_MISSING)
        pairs = [(f"{place}[{index}]", *pair) for index, pair in enumerate(zipped)]
    else:
        theirs = "not recorded" if recorded is _MISSING else f"recorded {_shown(recorded)}"
        return [f"{place}: {theirs}, {'not sent' if sent is _MISSING else f'sent {_shown(sent)}'}"]
    return [line for pair in pairs for line in _compared(*pair)]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=lambda body: bytes(body).decode("utf-8", "replace"))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
