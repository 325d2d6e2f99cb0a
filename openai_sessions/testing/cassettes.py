"""Record what goes over HTTP in a file, and play it again without a network: vcrpy, made safe for OpenAI.

Example:
    ```python
    with use_cassette("fixtures/cassettes/greeting.yaml"):
        client.conversations.create()
    ```
"""

from __future__ import annotations

import difflib
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

try:
    import vcr as vcrpy
except ModuleNotFoundError as error:
    raise ImportError("Cassettes need vcrpy: pip install 'openai-sessions[testing]'", name="vcr") from error

from vcr.persisters.filesystem import FilesystemPersister
from vcr.record_mode import RecordMode

from openai_sessions.testing._cassettes._files import (
    CassetteDamagedError,
    CassetteError,
    CassetteMissError,
    CassetteNotSavedError,
    JsonSerializer,
    UnusedExchangesError,
    YamlSerializer,
)
from openai_sessions.testing._cassettes._playback import (
    CassetteContext,
    CassettePersister,
    ConversationCassette,
    json_body,
)
from openai_sessions.testing._cassettes._scrubbing import Scrubber

__all__ = [
    "CassetteContext",
    "CassetteDamagedError",
    "CassetteError",
    "CassetteMissError",
    "CassetteNotSavedError",
    "ConversationCassette",
    "UnusedExchangesError",
    "configure",
    "default_record_mode",
    "use_cassette",
    "vcr_config",
]

MATCH_ON = ("method", "path", "query", "json_body")
"""What makes two requests the same, in the words of vcrpy, and one of ours for the body.

Scheme, host and port are left out: a cassette recorded from one server plays to a client of another.
"""

_MODES = ("none", "once", "new_episodes", "all")

_OPTIONS_OF_CASSETTES = frozenset({"additional_matchers", "allow_playback_repeats", "persister"})
"""Options of vcrpy that are given for one cassette alone."""

_OPTIONS_LEFT_OUT = frozenset({"self", "before_record", "func_path_generator", "inject_cassette"})
"""Names that vcrpy knows: an old one for `before_record_request`, and what its own decorator needs."""


def use_cassette(  # noqa: PLR0913 -- each is a choice of its own
    path: str | os.PathLike[str],
    *,
    record_mode: str | RecordMode | None = None,
    match_on: Sequence[str] = MATCH_ON,
    map_ids: bool = False,
    allow_unused: bool = False,
    record_on_exception: bool = False,
    metadata: Mapping[str, str] | None = None,
    **options: Any,
) -> CassetteContext:
    """Record the HTTP exchanges of a block in a file, or answer them from it.

    Use it as `with`, as `async with`, or as the decorator of a function, a coroutine function, or a
    fixture. The block is given a cassette of vcrpy, with `play_count`, `all_played`, `requests`,
    `responses`, and `metadata`: what the file says of itself.

    Keys, organizations, projects and cookies do not reach the file. Bodies are matched as JSON.
    Requests that are equal are answered in the order in which they were sent when recorded.

    Args:
        path: The file: JSON if its name ends in `.json`, else YAML. Its folders are made.
        record_mode: `"none"` answers from the file alone. `"once"` records a file that is not there, and
            then answers from it alone. `"new_episodes"` sends and records what is not in the file.
            `"all"` sends everything, and the file then holds this run alone. Unless given it is
            `"none"` where the environment variable `CI` is set, and else `"once"`; that is decided
            when the block is entered.
        match_on: What must be equal: vcrpy's `method`, `scheme`, `host`, `port`, `path`, `query`, `uri`,
            `headers`, `body`, `raw_body`, and `json_body`.
        map_ids: When recording, ids that the server made up get stable ones, numbered as they appear.
            When playing, an id of the code may stand for one in the file, one for one.
        allow_unused: Exchanges that the block did not use are no error.
            They are one otherwise, when a block ends that recorded nothing.
        record_on_exception: Write what was recorded although the block raised or was cancelled. By
            default the file stays as it was.
        metadata: Added to what the file says of itself, beside `recorded_at` and `openai`.
        options: Further options of vcrpy's `use_cassette`, such as `ignore_hosts`,
            `allow_playback_repeats`, `filter_query_parameters` and `before_record_request`.

    Raises:
        TypeError: There is no such option.
        ValueError: There is no such record mode.
        CassetteDamagedError: On entering, in every record mode: there is a file, and it is no cassette.
        CassetteMissError: A request is not in the file, and may not be recorded. It is raised where the
            request is made, at once, and again at the end of the block if it was caught there.
        UnusedExchangesError: At the end of the block.
        CassetteNotSavedError: At the end of the block. A file that was there is as it was.
    """
    _check_options(options)
    vcr = vcrpy.VCR(**vcr_config())
    configure(vcr)
    return _use_cassette(
        vcr,
        _checked_path(path),
        record_mode=_checked_mode(record_mode),
        match_on=tuple(match_on),
        map_ids=map_ids,
        allow_unused=allow_unused,
        record_on_exception=record_on_exception,
        metadata=_checked_metadata(metadata),
        **options,
    )


def default_record_mode() -> str:
    """Return `"none"` where the environment variable `CI` is set, unless to `0` or `false`, else `"once"`."""
    is_ci = os.environ.get("CI", "").strip().lower() not in ("", "0", "false")
    return "none" if is_ci else "once"


def vcr_config() -> dict[str, Any]:
    """Return the options of vcrpy that cassettes are used with, for `vcr.VCR(**vcr_config())`.

    Return it from the fixture `vcr_config` of pytest-recording. The record mode is not in it: there it
    is that of the command line. The object made with it needs `configure`, which knows the matcher.
    """
    scrubber = Scrubber()
    return {
        "match_on": MATCH_ON,
        "before_record_request": scrubber.request,
        "before_record_response": scrubber.response,
        "record_on_exception": False,
    }


def configure(vcr: Any) -> None:
    """Make an object of vcrpy use cassettes as `use_cassette` does.

    Call it from the hook `pytest_recording_configure(config, vcr)` of pytest-recording, whose marker
    then does all that `use_cassette` does, and takes its options.

    Args:
        vcr: A `vcr.VCR`. The matcher `json_body` and both serializers are registered on it, files are
            checked and written whole, and its `use_cassette` returns a `CassetteContext`. A
            persister of your own stays, and then answers for the files.
    """
    vcr.register_matcher("json_body", json_body)
    vcr.register_serializer("yaml", YamlSerializer())
    vcr.register_serializer("json", JsonSerializer())
    vcr.use_cassette = functools.partial(_use_cassette, vcr)


def _use_cassette(
    vcr: Any,
    path: str,
    *,
    map_ids: bool = False,
    allow_unused: bool = False,
    metadata: Mapping[str, str] | None = None,
    **options: Any,
) -> CassetteContext:
    """Return the context of a cassette with the options of a `vcr.VCR` and those given."""

    def config() -> dict[str, Any]:
        mode = options.get("record_mode", vcr.record_mode) or default_record_mode()
        given = {"serializer": _serializer_of(path, vcr), **options, **_filters(vcr, options)}
        merged: dict[str, Any] = vcr.get_merged_config(**{**given, "record_mode": mode, "path": path})
        persister = merged["persister"]
        if persister is FilesystemPersister or isinstance(persister, FilesystemPersister):
            merged["persister"] = CassettePersister(
                extra_paths=getattr(persister, "extra_paths", ()),
                replaces=mode == RecordMode.ALL,
                has_stable_ids=map_ids,
                metadata=metadata,
            )
        return {**merged, "map_ids": map_ids}

    record_on_exception = options.get("record_on_exception", vcr.record_on_exception)
    return CassetteContext(config, allow_unused=allow_unused, record_on_exception=record_on_exception)


def _serializer_of(path: str, vcr: Any) -> str:
    return "json" if path.lower().endswith(".json") else str(vcr.serializer)


def _filters(vcr: Any, options: Mapping[str, Any]) -> dict[str, list[Callable[[Any], Any]]]:
    """Return the filters of the caller, and ours behind them."""
    scrubber = Scrubber()
    ours = {"before_record_request": scrubber.request, "before_record_response": scrubber.response}
    return {name: [*_listed(options.get(name, getattr(vcr, name))), ours[name]] for name in ours}


def _listed(functions: Any) -> list[Callable[[Any], Any]]:
    if functions is None:
        return []
    return list(functions) if isinstance(functions, Iterable) else [functions]


def _checked_path(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not isinstance(text, str) or not text:
        raise ValueError(f"path is the name of a file, not {text!r}.")
    return text


def _checked_mode(record_mode: str | RecordMode | None) -> str | RecordMode | None:
    if record_mode is not None and record_mode not in _MODES:
        raise ValueError(f"record_mode is one of {', '.join(map(repr, _MODES))}, not {record_mode!r}.")
    return record_mode


def _checked_metadata(metadata: Mapping[str, str] | None) -> Mapping[str, str]:
    for name, value in (metadata or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"metadata is text by its name; {name!r} is {value!r}.")
    return metadata or {}


def _check_options(options: Mapping[str, Any]) -> None:
    known = {*inspect.signature(vcrpy.VCR.__init__).parameters, *_OPTIONS_OF_CASSETTES} - _OPTIONS_LEFT_OUT
    for name in options:
        if name not in known:
            raise TypeError(f"use_cassette has no option {name!r}: neither has vcrpy{_similar(name, known)}.")


def _similar(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [*known, "map_ids", "allow_unused", "metadata"], n=1)
    return f", which has {close[0]!r}" if close else ""
