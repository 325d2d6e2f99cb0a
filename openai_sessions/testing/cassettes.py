"""Record HTTP exchanges in a file and replay them without a network: vcrpy, configured for OpenAI's API."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

try:
    import vcr as vcrpy
except ModuleNotFoundError as error:
    raise ImportError("Cassettes need vcrpy: pip install 'openai-sessions[testing]'", name="vcr") from error

from vcr.cassette import Cassette

from openai_sessions._conversation.state import forget_conversations
from openai_sessions.testing._cassette_file import JSON, CassetteFile
from openai_sessions.testing._errors import (
    CassetteDamagedError,
    CassetteError,
    CassetteMissError,
    CassetteNotSavedError,
    UnusedExchangesError,
)
from openai_sessions.testing._matching import MissDetector, described, is_loaded, json_body
from openai_sessions.testing._scrubbing import Scrubber

__all__ = [
    "CassetteContext",
    "CassetteDamagedError",
    "CassetteError",
    "CassetteMissError",
    "CassetteNotSavedError",
    "UnusedExchangesError",
    "configure",
    "default_record_mode",
    "use_cassette",
]

MATCH_ON = ("method", "path", "query", "json_body")

Function = TypeVar("Function", bound=Callable[..., Any])


class CassetteContext:
    """A cassette around a block (`with`, `async with`) or around each call of a function (a decorator)."""

    def __init__(self, opened: Callable[[], AbstractContextManager[Cassette]]) -> None:
        self._opened = opened
        self._blocks = ExitStack()

    def __enter__(self) -> Cassette:
        return self._blocks.enter_context(self._opened())

    def __exit__(self, *error: Any) -> None:  # noqa: PYI036 -- passed on
        self._blocks.__exit__(*error)

    async def __aenter__(self) -> Cassette:
        return self.__enter__()

    async def __aexit__(self, *error: Any) -> None:  # noqa: PYI036 -- passed on
        self.__exit__(*error)

    def __call__(self, function: Function) -> Function:
        """Return the function with a cassette around each call; its name and parameters are kept."""
        is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        if is_generator or not inspect.isroutine(function):
            raise TypeError(f"use_cassette cannot decorate {function!r}: use `with use_cassette(...)` in it.")

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._opened():
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with self._opened():
                return await function(*args, **kwargs)

        return call_async if inspect.iscoroutinefunction(function) else call  # type: ignore[return-value]


def use_cassette(  # noqa: PLR0913 -- each is a separate choice
    path: str | os.PathLike[str],
    *,
    record_mode: str | None = None,
    match_on: Sequence[str] = MATCH_ON,
    allow_unused: bool = False,
    allow_playback_repeats: bool = False,
    record_on_exception: bool = False,
    **options: Any,
) -> CassetteContext:
    """Record the HTTP exchanges of a block in a file, or replay them from it.

    The block receives vcrpy's cassette, with `play_count`, `all_played`, `requests` and `responses`. Keys,
    organizations, projects and cookies are never written. Equal requests are answered in recorded order.

    Args:
        path: The file; JSON if its name ends in `.json`, else YAML. Missing folders are created.
        record_mode: `"none"` replays only. `"once"` records if there is no file, else it replays only.
            `"new_episodes"` sends and records requests that are not in the file. `"all"` sends every
            request and replaces the file. Default, decided on entering: `default_record_mode()`.
        match_on: Matchers of vcrpy, and `json_body`. By default the server is ignored.
        allow_unused: Accept that the block leaves exchanges unused.
        allow_playback_repeats: Replay an exchange as often as it is requested.
        record_on_exception: Write the file even if the block raised or was cancelled.
        options: Others of `vcr.VCR`, such as `ignore_hosts` and `before_record_request`.

    Raises:
        TypeError: vcrpy has no such option.
        ValueError: On entering: the record mode is unknown.
        CassetteDamagedError: On entering, in every record mode: the file cannot be read.
        CassetteMissError: A request is not in the file and may not be recorded. Raised where the request is
            made, and again at the end of the block if it was caught there.
        UnusedExchangesError: At the end of a block that did not record.
        CassetteNotSavedError: At the end of the block. An existing file is unchanged.
    """
    vcr = vcrpy.VCR(**options)
    configure(vcr)
    return vcr.use_cassette(  # type: ignore[no-any-return]
        os.fspath(path),
        record_mode=record_mode,
        match_on=match_on,
        allow_unused=allow_unused,
        allow_playback_repeats=allow_playback_repeats,
        record_on_exception=record_on_exception,
    )


def default_record_mode() -> str:
    """Return `"none"` if the environment variable `CI` is set and is not `0` or `false`, else `"once"`."""
    return "once" if os.environ.get("CI", "").strip().lower() in ("", "0", "false") else "none"


def configure(vcr: Any) -> None:
    """Make the cassettes of a `vcr.VCR` behave like those of `use_cassette`, and take `allow_unused`.

    Call it from pytest-recording's hook `pytest_recording_configure(config, vcr)`. It sets the matchers and
    the persister, and turns `record_on_exception` off.
    """
    vcr.register_serializer("json", JSON)
    vcr.register_matcher("json_body", json_body)
    vcr.register_matcher("is_loaded", is_loaded)
    vcr.match_on, vcr.record_on_exception = MATCH_ON, False
    # The marker of pytest-recording names further cassettes, which its persister knows.
    opened = functools.partial(_opened, vcr, vcr.use_cassette, getattr(vcr.persister, "extra_paths", ()))
    vcr.use_cassette = lambda path, **options: CassetteContext(functools.partial(opened, path, **options))


@contextmanager
def _opened(
    vcr: Any,
    use: Callable[..., AbstractContextManager[Cassette]],
    extra_paths: Sequence[str],
    path: str,
    *,
    allow_unused: bool = False,
    **options: Any,
) -> Iterator[Cassette]:
    mode = options.get("record_mode", vcr.record_mode) or default_record_mode()
    match_on = [*options.get("match_on", vcr.match_on), *options.get("additional_matchers", ())]
    file = CassetteFile(extra_paths=extra_paths, replaces=mode == "all")
    vcr.register_persister(file)
    scrubber, detector = Scrubber(), MissDetector([vcr.matchers[name] for name in match_on])
    options = {
        "serializer": "json" if path.lower().endswith(".json") else vcr.serializer,
        **options,
        "record_mode": mode,
        "match_on": [*match_on, "is_loaded"],
        "additional_matchers": (),
        "before_record_request": [*_own(vcr, options, "request"), scrubber.request, detector],
        "before_record_response": [*_own(vcr, options, "response"), scrubber.response],
    }
    forget_conversations()  # which requests a session sends depends on it
    try:
        with use(path, **options) as cassette:
            detector.path, detector.cassette, loaded = file.path, cassette, len(cassette)
            yield cassette
    except Exception as error:
        if detector.misses and error not in detector.misses:
            raise detector.misses[0] from error  # the code under test raised another error instead
        raise
    finally:
        file.write()
    if detector.misses:
        raise detector.misses[0]  # the code under test caught it
    unused = [index for index in range(loaded) if not cassette.play_counts[index]]
    if unused and len(cassette) == loaded and not allow_unused:
        requests = [f"{index + 1}: {described(cassette.requests[index])}" for index in unused]
        raise UnusedExchangesError(file.path, requests, total=loaded)


def _own(vcr: Any, options: dict[str, Any], name: str) -> list[Callable[[Any], Any]]:
    """Return the caller's functions of a name, which are called before ours."""
    functions = options.get(f"before_record_{name}", getattr(vcr, f"before_record_{name}")) or ()
    return list(functions) if isinstance(functions, Iterable) else [functions]
