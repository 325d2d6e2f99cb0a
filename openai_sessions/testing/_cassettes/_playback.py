"""A cassette of vcrpy that says what it misses, knows what it did not play, and may map ids."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Generator
from typing import Any

from vcr.cassette import Cassette  # type: ignore[import-untyped]
from vcr.errors import UnhandledHTTPRequestError  # type: ignore[import-untyped]
from vcr.matchers import requests_match  # type: ignore[import-untyped]
from vcr.record_mode import RecordMode  # type: ignore[import-untyped]

from openai_sessions.testing._cassettes._errors import CassetteMissError, UnusedExchangesError
from openai_sessions.testing._cassettes._ids import BoundIds, ids_in, renamed
from openai_sessions.testing._cassettes._matching import compared_text, described
from openai_sessions.testing._cassettes._misses import Recording, miss_message
from openai_sessions.testing._cassettes._persister import SENT_AS, rewrite_request, rewrite_response


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
