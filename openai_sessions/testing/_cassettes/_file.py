"""The file of a cassette: read with a look at everything in it, and written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import secrets
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from openai_sessions.testing._cassettes._errors import CassetteDamagedError, CassetteNotSavedError
from openai_sessions.testing._cassettes._format import InvalidCassetteError, checked
from openai_sessions.testing._cassettes._serializers import Serializer


def read(path: Path, serializer: Serializer) -> dict[str, Any] | None:
    """Return what a cassette holds, or None when there is no such file.

    Raises:
        CassetteDamagedError: There is something, and it is no cassette.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x})"
        raise CassetteDamagedError(str(path), reason) from error
    except OSError as error:
        raise CassetteDamagedError(str(path), (error.strerror or str(error)).lower()) from error
    try:
        return checked(_parsed(text, serializer))
    except InvalidCassetteError as error:
        raise CassetteDamagedError(str(path), str(error)) from error


def _parsed(text: str, serializer: Serializer) -> Any:
    if not text.strip("\ufeff \t\r\n"):
        raise InvalidCassetteError("it is empty")
    try:
        return serializer.deserialize(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise InvalidCassetteError(f"it is not the YAML of a cassette{where}: {problem}") from error
    except json.JSONDecodeError as error:
        raise InvalidCassetteError(f"it is not JSON at line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise InvalidCassetteError("it is nested too deeply") from error


def write(path: Path, data: dict[str, Any], serializer: Serializer) -> None:
    """Write a cassette: whole, or what was there stays. Folders are made.

    It is written beside the file first, and takes its place in one step.

    Raises:
        CassetteNotSavedError: It has no form in this serializer, or the folder cannot be written to.
    """
    path = path.resolve()  # a link stays a link
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        text = serializer.serialize(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        beside.replace(path)
    except (TypeError, ValueError, yaml.YAMLError) as error:
        reason = "a body that is not text has no form in JSON; a name that ends in .yaml takes it"
        raise CassetteNotSavedError(str(path), reason if "bytes" in str(error) else str(error)) from error
    except OSError as error:
        raise CassetteNotSavedError(str(path), error.strerror or str(error)) from error
    finally:
        with contextlib.suppress(OSError):  # it was never made, or has become the file
            beside.unlink()
