"""Between vcrpy and the file of a cassette: what it is given to load, and what it has recorded."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import openai
from vcr.persisters.filesystem import CassetteNotFoundError  # type: ignore[import-untyped]
from vcr.serialize import deserialize, serialize  # type: ignore[import-untyped]

from openai_sessions.testing._cassettes._file import read, write
from openai_sessions.testing._cassettes._ids import StableIds
from openai_sessions.testing._cassettes._serializers import Serializer

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
