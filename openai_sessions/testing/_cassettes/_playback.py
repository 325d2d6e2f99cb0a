"""The ids that a server makes up: stable ones in cassettes, and which stands for which in a replay."""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from itertools import chain, zip_longest
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import openai
from vcr.cassette import Cassette
from vcr.errors import UnhandledHTTPRequestError
from vcr.matchers import get_matchers_results, requests_match
from vcr.persisters.filesystem import CassetteNotFoundError
from vcr.record_mode import RecordMode
from vcr.serialize import deserialize, serialize

from openai_sessions.testing._cassettes._files import (
    CassetteMissError,
    Serializer,
    UnusedExchangesError,
    read,
    write,
)

_ID = re.compile(
    r"(?:(?<![0-9A-Za-z_\\])|(?<=\\[nrt]))(?!(?:call|req|proj|ek)_)"
    r"[a-z]{2,8}_(?=[A-Za-z]*[0-9])[0-9A-Za-z]{16,64}(?![0-9A-Za-z_])"
)
"""`conv_`, `msg_`, `resp_`, … and 16 characters or more, one of them a digit.

The API's have 48 or 50 hexadecimal digits. Not the `call_` ids, which the model makes up, nor request
ids, accounts and keys.
"""


def ids_in(text: str) -> list[str]:
    """Return the ids in a text, each time they occur."""
    return _ID.findall(text)


def renamed(text: str, names: dict[str, str]) -> str:
    """Return the text with other ids in the places of those that have a new name."""
    return _ID.sub(lambda found: names.get(found[0], found[0]), text) if names else text


class StableIds:
    """New ids for those that the server made up, numbered as they appear.

    `conv_68f0…` becomes `conv_000…01`, of the same length. An id that a request held before any
    response did comes from the code itself, and stays.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        self._numbers: Counter[str] = Counter()

    def of_request(self, text: str) -> str:
        """Return a part of a request, or of a cassette that was there before, with the new ids.

        Those it is the first to show stay as they are.
        """
        for found in ids_in(text):
            self._names.setdefault(found, found)
            self._taken.add(self._names[found])
        return renamed(text, self._names)

    def of_response(self, text: str) -> str:
        """Return a part of a response with the new ids."""
        for found in ids_in(text):
            if found not in self._names:
                self._names[found] = self._new(found)
        return renamed(text, self._names)

    def _new(self, found: str) -> str:
        prefix, _, rest = found.partition("_")
        while True:
            self._numbers[prefix] += 1
            name = f"{prefix}_{self._numbers[prefix]:0{len(rest)}d}"
            if name not in self._taken:
                self._taken.add(name)
                return name


class BoundIds:
    """Which recorded id stands for which id of the code under test: one for one."""

    def __init__(self) -> None:
        self._recorded: dict[str, str] = {}
        self._sent: dict[str, str] = {}

    @property
    def recorded_ids(self) -> dict[str, str]:
        """Return the recorded id for each id of the code, as far as they are known."""
        return self._recorded

    def to_match(self, sent: list[str], recorded: list[str]) -> dict[str, str] | None:
        """Return the names that the ids of one request need to become those of another.

        Args:
            sent: The ids in what is compared of the request under way, in a fixed order.
            recorded: The same of a recorded one.

        Returns:
            The recorded id for each id sent, or None where an id would stand for two.
        """
        if len(sent) != len(recorded):
            return None
        names: dict[str, str] = {}
        back: dict[str, str] = {}
        for one, other in zip(sent, recorded, strict=True):
            known = self._recorded.get(one, names.get(one, other))
            known_back = self._sent.get(other, back.get(other, one))
            if known != other or known_back != one or _prefix(one) != _prefix(other):
                return None
            names[one], back[other] = other, one
        return names

    def bind(self, names: dict[str, str]) -> None:
        """Hold on to what a request has shown."""
        for sent, recorded in names.items():
            self._recorded[sent] = recorded
            self._sent[recorded] = sent

    def as_sent(self, text: str) -> str:
        """Return a part of a recorded response with the ids of the code; those it has not met, as they are.

        Those it meets here are its own from now on.
        """
        for found in ids_in(text):
            if found not in self._sent and found not in self._recorded:
                self.bind({found: found})
        return renamed(text, self._sent)


def _prefix(identifier: str) -> str:
    return identifier.partition("_")[0]


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


_REMEDY = (
    'To record it anew, delete the file or use record_mode="all"; record_mode="new_episodes" adds to it. '
    "Where the variable CI is set, nothing is recorded unless record_mode says so."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A cassette as a message sees it.

    Attributes:
        path: Its file.
        exists: Whether there is such a file.
        requests: Its requests, in order.
        is_played: Whether each of them was played.
        matchers: What they are matched on: vcrpy's functions.
    """

    path: str
    exists: bool
    requests: Sequence[Any]
    is_played: Sequence[bool]
    matchers: Sequence[Callable[[Any, Any], Any]]


def miss_message(sent: Any, recording: Recording) -> str:
    """Return what is missing, which recorded request comes closest, and how it differs.

    Args:
        sent: The request, without secrets.
        recording: The cassette.
    """
    return f"{_finding(sent, recording)}\n{_REMEDY}"


def _finding(sent: Any, recording: Recording) -> str:
    if not recording.exists:
        return (
            f"There is no cassette {recording.path} to answer {described(sent)}, and it may not be recorded."
        )
    headline = f"{recording.path} has no answer to {described(sent)}."
    if not recording.requests:
        return f"{headline} It holds no exchange at all."
    same = [index for index, one in enumerate(recording.requests) if not _failed(sent, one, recording)]
    if same:
        numbers = ", ".join(str(index + 1) for index in same)
        plural = "s" if len(same) > 1 else ""
        return (
            f"{headline} It was recorded {len(same)} time{plural} (exchange{plural} {numbers} of "
            f"{len(recording.requests)}), and that was played already: the code makes it more often. "
            "allow_playback_repeats=True would play it again."
        )
    return f"{headline} {_closest(sent, recording)}"


def _closest(sent: Any, recording: Recording) -> str:
    index = min(
        range(len(recording.requests)),
        key=lambda at: (*distance(sent, recording.requests[at]), recording.is_played[at], at),
    )
    recorded = recording.requests[index]
    lines = differences(sent, recorded, _failed(sent, recorded, recording))
    played = ", played already" if recording.is_played[index] else ""
    listed = "".join(f"\n  {line}" for line in lines)
    return (
        f"Closest is exchange {index + 1} of {len(recording.requests)} ({described(recorded)}{played}), "
        f"which differs in{listed}"
    )


def _failed(sent: Any, recorded: Any, recording: Recording) -> list[tuple[str, str | None]]:
    failed: list[tuple[str, str | None]] = get_matchers_results(sent, recorded, recording.matchers)[1]
    return failed


SENT_AS = "_sent_as_number"
"""The attribute of a request recorded in this run: which one it was, in the order of sending."""


class CassettePersister:
    """Load a cassette and those beside it, and save what was recorded: a persister of vcrpy.

    Attributes:
        metadata: What the file says of itself.
    """

    def __init__(
        self,
        *,
        extra_paths: Sequence[str] = (),
        replaces: bool = False,
        has_stable_ids: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare for one cassette.

        Args:
            extra_paths: Cassettes that are played too, and never written: pytest-recording's.
            replaces: What the file holds is looked at, and then left out.
            has_stable_ids: Ids that the server made up get stable ones in the file.
            metadata: What a file that is written says of itself beside when and with what.
        """
        self._extra_paths = extra_paths
        self._replaces = replaces
        self._has_stable_ids = has_stable_ids
        self._added = dict(metadata or {})
        self.metadata: dict[str, Any] = {}

    def load_cassette(self, cassette_path: str, serializer: Serializer) -> tuple[list[Any], list[Any]]:
        """Return the recorded requests and responses.

        Raises:
            CassetteNotFoundError: vcrpy's sign for a cassette that is to be recorded.
            CassetteDamagedError: One of the files is no cassette.
        """
        paths = dict.fromkeys([str(cassette_path), *map(str, self._extra_paths)])
        found = [data for path in paths if (data := read(Path(path), serializer)) is not None]
        if self._replaces or not found:
            raise CassetteNotFoundError
        for data in reversed(found):
            self.metadata |= data["metadata"]
        loaded = [deserialize("", _Parsed(data)) for data in found]
        requests, responses = (
            list(itertools.chain.from_iterable(each)) for each in zip(*loaded, strict=True)
        )
        return requests, responses

    def save_cassette(
        self, cassette_path: str, cassette_dict: Mapping[str, Any], serializer: Serializer
    ) -> None:
        """Write the file.

        Raises:
            CassetteNotSavedError: It could not be written; what was there stays.
        """
        pairs = list(zip(cassette_dict["requests"], cassette_dict["responses"], strict=True))
        # vcrpy holds them in the order of their ends, and of equal ones the first one is played first.
        pairs = sorted(copy.deepcopy(pairs), key=lambda pair: getattr(pair[0], SENT_AS, -1))
        if self._has_stable_ids:
            pairs = _with_stable_ids(pairs)
        self.metadata |= {**cassette_dict.get("metadata", {}), **_provenance(), **self._added}
        content = {"requests": [one for one, _ in pairs], "responses": [other for _, other in pairs]}
        data = _Collected()
        serialize(content, data)
        write(Path(cassette_path), {**data.content, "metadata": self.metadata}, serializer)


class _Parsed:
    """A serializer of vcrpy for what is parsed already."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = {**data, "metadata": None}  # vcrpy 9 would return it as a third value

    def deserialize(self, _: str) -> dict[str, Any]:
        return self._data


class _Collected:
    """A serializer of vcrpy that keeps what is to be written."""

    content: dict[str, Any]

    def serialize(self, cassette_dict: dict[str, Any]) -> None:
        self.content = cassette_dict


def _provenance() -> dict[str, str]:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"recorded_at": now.replace("+00:00", "Z"), "openai": openai.__version__}


def _with_stable_ids(pairs: list[tuple[Any, dict[str, Any]]]) -> list[tuple[Any, dict[str, Any]]]:
    ids = StableIds()
    for request, response in pairs:  # those that were in the file before come first
        rewrite_request(request, ids.of_request)
        rewrite_response(response, ids.of_response if hasattr(request, SENT_AS) else ids.of_request)
    return pairs


def rewrite_request(request: Any, rewrite: Callable[[str], str]) -> None:
    """Change the text of the address and of the body of a request of vcrpy, in place."""
    request.uri = rewrite(request.uri)
    if isinstance(request.body, bytes):
        request.body = _over_bytes(request.body, rewrite)


def rewrite_response(response: dict[str, Any], rewrite: Callable[[str], str]) -> None:
    """Change the text of the headers and of the body of a response of vcrpy, in place."""
    headers = response.get("headers", {})
    response["headers"] = {name: [rewrite(value) for value in headers[name]] for name in headers}
    body = response.get("body")
    if isinstance(body, dict) and isinstance(body.get("string"), bytes):
        body["string"] = _over_bytes(body["string"], rewrite)


def _over_bytes(body: bytes, rewrite: Callable[[str], str]) -> bytes:
    return rewrite(body.decode("latin-1")).encode("latin-1")  # byte for byte: ids are ASCII


class ConversationCassette(Cassette):  # type: ignore[misc]
    """A cassette of vcrpy: what it plays, records and counts is as vcrpy has it.

    A request is answered by what was loaded, and never by what was recorded in the same run: the
    same page may look different before and after a write.

    Attributes:
        misses: The requests that were not there, as errors.
    """

    def __init__(self, *args: Any, map_ids: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bound = BoundIds() if map_ids else None
        self._ids: list[list[str]] = []
        self._loaded = 0
        self._numbers = itertools.count()
        self._playing = threading.RLock()
        self.misses: list[CassetteMissError] = []

    @property
    def metadata(self) -> dict[str, Any]:
        """Return what the file says of itself, such as `recorded_at` and the version of `openai`."""
        return dict(getattr(self._persister, "metadata", {}))

    def can_play_response_for(self, request: Any) -> bool:
        """Tell whether the cassette answers a request.

        Raises:
            CassetteMissError: It does not, and nothing may be recorded: vcrpy would raise next.
        """
        if super().can_play_response_for(request):
            return True
        filtered = self.filter_request(request)
        if filtered and self.write_protected:
            raise self._missed(filtered)
        setattr(request, SENT_AS, next(self._numbers))
        return False

    def play_response(self, request: Any) -> Any:
        """Return the first response to such a request that was not played yet.

        Raises:
            CassetteMissError: Another thread has played the last one.
        """
        with self._playing:
            try:
                response = super().play_response(request)
            except UnhandledHTTPRequestError:
                raise self._missed(self.filter_request(request)) from None
            return response if self._bound is None else self._mapped(self._bound, request, response)

    def write(self) -> None:
        """Write the file if anything was recorded.

        Raises:
            CassetteNotSavedError: It could not be written; what was there stays.
        """
        super()._save()

    def check_all_played(self) -> None:
        """Raise when an exchange was not used by a run that recorded nothing.

        Raises:
            UnusedExchangesError: It names them.
        """
        if len(self.data) > self._loaded or self.record_mode == RecordMode.ALL:
            return
        unused = [index for index in range(self._loaded) if not self.play_counts[index]]
        if unused:
            named = [f"{index + 1}: {described(self.requests[index])}" for index in unused]
            raise UnusedExchangesError(str(self._path), named, total=self._loaded)

    def _load(self) -> None:
        super()._load()
        self._loaded = len(self.data)
        if self._bound is not None:
            self._ids = [ids_in(compared_text(request)) for request in self.requests]

    def _save(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 -- vcrpy's signature
        """Leave it to `write`: vcrpy saves while it still intercepts, and would not stop if that failed."""

    def _responses(self, request: Any) -> Generator[tuple[int, Any], Any, None]:
        """Give the loaded responses to such a request, those with the very ids first."""
        sent = self.filter_request(request)
        found = [index for index in range(self._loaded) if self._is_answered_by(index, sent)]
        if self._bound is not None:
            ids = ids_in(compared_text(sent))
            found.sort(key=lambda index: self._ids[index] != ids)
        yield from ((index, self.data[index][1]) for index in found)

    def _is_answered_by(self, index: int, sent: Any) -> bool:
        recorded = self.data[index][0]
        if self._bound is not None:
            names = self._bound.to_match(ids_in(compared_text(sent)), self._ids[index])
            if names is None:
                return False
            sent = _renamed(sent, names)
        matches: bool = requests_match(sent, recorded, self._match_on)
        return matches

    def _mapped(self, bound: BoundIds, request: Any, response: Any) -> Any:
        """Return a recorded response with the ids of the code under test."""
        index = next(index for index, (_, one) in enumerate(self.data) if one is response)
        names = bound.to_match(ids_in(compared_text(self.filter_request(request))), self._ids[index])
        bound.bind(names or {})
        mapped = copy.deepcopy(response)
        rewrite_response(mapped, bound.as_sent)
        return mapped

    def _missed(self, sent: Any) -> CassetteMissError:
        recording = Recording(
            path=str(self._path),
            exists=self.rewound,
            requests=self.requests[: self._loaded],
            is_played=[bool(self.play_counts[index]) for index in range(self._loaded)],
            matchers=self._match_on,
        )
        known = sent if self._bound is None else _renamed(sent, self._bound.recorded_ids)
        error = CassetteMissError(miss_message(known, recording), cassette=self, failed_request=sent)
        self.misses.append(error)
        return error


def _renamed(request: Any, names: dict[str, str]) -> Any:
    request = copy.copy(request)
    rewrite_request(request, lambda text: renamed(text, names))
    return request


Function = TypeVar("Function", bound=Callable[..., Any])


class CassetteContext:
    """A cassette around a block (`with` and `async with`) or around a function (a decorator).

    Each block and each call opens the cassette anew. Blocks of one context may not overlap.
    """

    def __init__(
        self, config: Callable[[], dict[str, Any]], *, allow_unused: bool, record_on_exception: bool
    ) -> None:
        """Prepare the cassette.

        Args:
            config: Gives the arguments of vcrpy's `Cassette.use` when the block is entered.
            allow_unused: Exchanges that are not used are no error.
            record_on_exception: What was recorded is written although the block raised.
        """
        self._config = config
        self._allow_unused = allow_unused
        self._record_on_exception = record_on_exception
        self._open: tuple[Any, ConversationCassette] | None = None

    def __enter__(self) -> ConversationCassette:
        if self._open is not None:
            raise RuntimeError(
                "This cassette is open already: make another use_cassette() for another block."
            )
        interception = ConversationCassette.use(**self._config())
        cassette: ConversationCassette = interception.__enter__()
        self._open = interception, cassette
        return cassette

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._open is None:
            raise RuntimeError("This cassette is not open.")
        (interception, cassette), self._open = self._open, None
        interception.__exit__(None, None, None)
        if error is None or self._record_on_exception:
            cassette.write()
        if (
            cassette.misses
            and error not in cassette.misses
            and (error is None or isinstance(error, Exception))
        ):
            raise cassette.misses[0]  # whoever caught it, or raised another for it, has not been answered
        if error is None and not self._allow_unused:
            cassette.check_all_played()

    async def __aenter__(self) -> ConversationCassette:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Function) -> Function:
        """Return the function with the cassette around each call: its name and its parameters stay.

        Args:
            function: A function, a coroutine function, or a generator of either kind, such as a fixture.

        Raises:
            TypeError: It is none of these.
        """
        if not inspect.isroutine(function):
            raise TypeError(f"use_cassette decorates functions, not {function!r}.")
        for is_kind, wrap in _KINDS:
            if is_kind(function):
                return functools.wraps(function)(wrap(function, self._again))  # type: ignore[return-value]
        return functools.wraps(function)(_function(function, self._again))  # type: ignore[return-value]

    def _again(self) -> CassetteContext:
        return CassetteContext(
            self._config, allow_unused=self._allow_unused, record_on_exception=self._record_on_exception
        )


def _function(function: Callable[..., Any], again: Callable[[], CassetteContext]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with again():
            return function(*args, **kwargs)

    return call


def _coroutine(function: Callable[..., Any], again: Callable[[], CassetteContext]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with again():
            return await function(*args, **kwargs)

    return call


def _generator(function: Callable[..., Any], again: Callable[[], CassetteContext]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with again():
            return (yield from function(*args, **kwargs))

    return call


def _async_generator(
    function: Callable[..., Any], again: Callable[[], CassetteContext]
) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with again(), aclosing(function(*args, **kwargs)) as generator:
            async for value in generator:
                yield value

    return call


_KINDS: tuple[tuple[Callable[[Any], bool], Callable[..., Callable[..., Any]]], ...] = (
    (inspect.isasyncgenfunction, _async_generator),
    (inspect.iscoroutinefunction, _coroutine),
    (inspect.isgeneratorfunction, _generator),
)
