"""The file of a cassette: checked when it is read, and replaced as a whole when it is written."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from vcr.persisters.filesystem import CassetteNotFoundError
from vcr.serialize import deserialize, serialize

from openai_sessions.testing._errors import CassetteDamagedError, CassetteNotSavedError

_BINARY = ("utf-8", "surrogateescape")  # the form in JSON of a body that is not text: vcrpy's own refuses it


def _json_text(data: Any) -> str:
    return json.dumps(data, indent=4, default=lambda body: bytes.decode(body, *_BINARY)) + "\n"


JSON = SimpleNamespace(deserialize=json.loads, serialize=_json_text)


class CassetteFile:
    """A persister for vcrpy. It also plays `extra_paths`; to replace the file, it plays nothing."""

    def __init__(self, *, extra_paths: Sequence[str], replaces: bool) -> None:
        self._extra_paths = extra_paths
        self._replaces = replaces
        self._unsaved: tuple[Path, Any, Any] | None = None
        self.path = ""  # set by vcrpy, which may put the file into a folder

    def load_cassette(self, cassette_path: str, serializer: Any) -> Any:
        """Return the recorded requests and responses; without a file, vcrpy starts an empty cassette."""
        self.path = cassette_path
        paths = dict.fromkeys([cassette_path, *self._extra_paths])
        found = [data for path in paths if (data := _read(path, serializer)) is not None]
        if self._replaces or not found:
            raise CassetteNotFoundError
        merged = {**found[0], "interactions": [each for data in found for each in data["interactions"]]}
        return deserialize(merged, SimpleNamespace(deserialize=lambda data: data))

    def save_cassette(self, cassette_path: str, cassette_dict: Any, serializer: Any) -> None:
        """Keep the recording until `write`: if vcrpy fails to save, it goes on intercepting requests."""
        self._unsaved = (Path(cassette_path), cassette_dict, serializer)

    def write(self) -> None:
        """Write what vcrpy has saved, if anything, to a temporary file that then replaces the cassette."""
        if self._unsaved is None:
            return
        path, recorded, serializer = self._unsaved
        path = path.resolve()  # a symbolic link stays one
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            text = serialize(recorded, serializer)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8", newline="\n")
            temporary.replace(path)
        except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
            raise CassetteNotSavedError(str(path), getattr(error, "strerror", None) or str(error)) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _read(path: str, serializer: Any) -> dict[str, Any] | None:
    """Return the checked content of a file, or None if there is no such file."""
    try:
        return _checked(serializer.deserialize(Path(path).read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        return None
    except (OSError, RecursionError, ValueError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise CassetteDamagedError(path, reason) from error


_REQUIRED: tuple[tuple[str, Any], ...] = (
    *(("request.method", str), ("request.uri", str), ("request.headers", dict), ("response.headers", dict)),
    *(("response.status.code", int), ("response.body.string", (str, bytes))),
)
"""The fields that vcrpy needs to play an exchange, and their types."""


def _checked(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict) or not isinstance(data.get("interactions"), list):
        raise ValueError("it has no list of 'interactions'")  # noqa: TRY004 -- of a file, not an argument
    if data.get("version") != 1:
        raise ValueError(f"its version is {data.get('version')!r} instead of 1; it may be cut off")
    for index, interaction in enumerate(data["interactions"]):
        for place, kind in _REQUIRED:
            value = interaction
            for key in place.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            if not isinstance(value, kind):
                raise ValueError(f"interactions[{index}].{place} is missing or has the wrong type")  # noqa: TRY004 -- see above
        for message, field in ((interaction["request"], "body"), (interaction["response"]["body"], "string")):
            if isinstance(message.get(field), str):
                message[field] = message[field].encode(*_BINARY)
        status = interaction["response"]["status"]
        status["message"] = status.get("message") or http.client.responses.get(status["code"], "")
    return data
