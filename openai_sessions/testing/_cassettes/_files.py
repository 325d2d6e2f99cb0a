"""The file of a cassette, and the errors of cassettes."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Sequence
from http.client import responses
from pathlib import Path
from typing import Any, Protocol

import openai
import yaml
from vcr.errors import CannotOverwriteExistingCassetteException
from vcr.serializers import yamlserializer


class CassetteError(Exception):
    """Stand at the root of all errors of cassettes."""


class CassetteDamagedError(CassetteError, ValueError):
    """Tell that a file is no cassette that can be read. It is left as it is, in every record mode.

    Attributes:
        path: The file.
        reason: What is wrong with it, in words.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} is no cassette that can be read: {reason}. Nothing was sent, and the file is as it was. "
            "Restore it from version control, or delete it and record it anew."
        )
        self.path = path
        self.reason = reason


class CassetteNotSavedError(CassetteError, ValueError):
    """Tell that what was recorded cannot be written. A file that was there is as it was.

    Attributes:
        path: The file.
        reason: What is wrong, in words.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"What was recorded cannot be written to {path}: {reason}.")
        self.path = path
        self.reason = reason


class CassetteMissError(CassetteError, openai.OpenAIError, CannotOverwriteExistingCassetteException):  # type: ignore[misc]
    """Tell that a request is not in the cassette. It was not sent.

    It is an `openai.OpenAIError` because openai repeats and wraps every other error of a transport, and
    raises its own as they are (`openai/_base_client.py`, 2.45 to 3.54); sessions do not repeat it
    either. It is vcrpy's error too, with all that vcrpy says in it.

    Attributes:
        cassette: The cassette.
        failed_request: The request, as vcrpy holds it, without secrets.
    """

    def __init__(self, message: str, *, cassette: Any, failed_request: Any) -> None:
        # vcrpy writes its own message, and sets what its users read; the message is ours.
        CannotOverwriteExistingCassetteException.__init__(
            self, cassette=cassette, failed_request=failed_request
        )
        self.args = (message,)


class UnusedExchangesError(CassetteError, AssertionError):
    """Tell that exchanges of a cassette were not used by the code that it was played to.

    Attributes:
        path: The file.
        unused: The requests of these exchanges, each as its number, method and path.
    """

    def __init__(self, path: str, unused: Sequence[str], *, total: int) -> None:
        listed = "".join(f"\n  {each}" for each in unused)
        super().__init__(
            f"{len(unused)} of the {total} exchanges of {path} were not used:{listed}\n"
            "The code no longer makes these requests: record the cassette anew (delete the file, or "
            'record_mode="all"), or give allow_unused=True.'
        )
        self.path = path
        self.unused = tuple(unused)


_FOLDED = re.compile("[\x85\u2028\u2029\ufeff]")
"""Line breaks of Unicode, and the byte order mark."""


class Serializer(Protocol):
    """What vcrpy calls a serializer."""

    def serialize(self, cassette_dict: Any) -> str: ...
    def deserialize(self, cassette_string: str) -> Any: ...


class YamlSerializer:
    """YAML that people can read: text of many lines as such, letters as they are."""

    def serialize(self, cassette_dict: Any) -> str:
        """Return the file of a cassette."""
        text: str = yaml.dump(
            cassette_dict, Dumper=_Dumper, allow_unicode=True, default_flow_style=False, width=2**16
        )
        return text

    def deserialize(self, cassette_string: str) -> Any:
        """Return what a file holds, whichever tool wrote it; no Python object is made of it."""
        return yamlserializer.deserialize(cassette_string)


class JsonSerializer:
    """JSON that people can read."""

    def serialize(self, cassette_dict: Any) -> str:
        """Return the file of a cassette."""
        return json.dumps(cassette_dict, indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    def deserialize(self, cassette_string: str) -> Any:
        """Return what a file holds."""
        return json.loads(cassette_string)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """The dumper in Python: that of the C library escapes letters beyond 16 bits."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- PyYAML's signature
        """Write each value where it stands, however often it occurs."""
        return True


def _text(dumper: Any, text: str) -> Any:
    """Write a text of many lines as a block, and those as an escaped one that YAML would fold or drop."""
    is_block = "\n" in text and not text[0].isspace()
    style = '"' if _FOLDED.search(text) else "|" if is_block else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_multi_representer(str, _text)

_Dumper.add_representer(str, _text)

VERSION = 1


class InvalidCassetteError(ValueError):
    """Tell what is wrong with the content of a cassette."""


def checked(data: Any) -> dict[str, Any]:
    """Return the content of a cassette in the form that vcrpy reads.

    Raises:
        InvalidCassetteError: It is none; the message says where and why.
    """
    if isinstance(data, list):
        raise InvalidCassetteError(
            "it is a list, as vcrpy before 1.0 wrote it: its migration script converts it"
        )
    if not isinstance(data, dict):
        raise InvalidCassetteError(f"it holds {_kind(data)}, and no mapping of interactions and version")
    for key in ("interactions", "version"):
        if key not in data:
            raise InvalidCassetteError(f"it has no {key!r}; a file that was cut off looks so")
    if type(data["version"]) is not int or data["version"] != VERSION:
        raise InvalidCassetteError(f"its version is {data['version']!r}, and only {VERSION} is known")
    interactions = _expect(data, "interactions", list, "")
    pairs = [_interaction(one, f"interactions[{index}]") for index, one in enumerate(interactions)]
    metadata = _expect(data, "metadata", dict, "") if data.get("metadata") else {}
    return {**data, "interactions": pairs, "metadata": metadata}


def _interaction(data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InvalidCassetteError(f"{where} is {_kind(data)}, not a mapping of request and response")
    request = _expect(data, "request", dict, where)
    response = _expect(data, "response", dict, where)
    return {
        "request": _request(request, f"{where}.request"),
        "response": _response(response, f"{where}.response"),
    }


def _request(request: dict[str, Any], where: str) -> dict[str, Any]:
    headers = _expect(request, "headers", dict, where) if request.get("headers") else {}
    return {
        "method": _expect(request, "method", str, where),
        "uri": _expect(request, "uri", str, where),
        "body": _parsed_body(request) if "parsed_body" in request else request.get("body"),
        "headers": headers,
    }


def _response(response: dict[str, Any], where: str) -> dict[str, Any]:
    if "status_code" in response:  # vcrpy before 5.0 wrote those of httpx so
        content = _expect(response, "content", (str, bytes), where)
        status = {"code": response["status_code"]}
        response = {"status": status, "headers": response.get("headers"), "body": {"string": content}}
    status = _expect(response, "status", dict, where)
    _expect(status, "code", int, f"{where}.status")
    if "parsed_body" in response:
        body = {"string": _parsed_body(response)}
    else:
        body = _expect(response, "body", dict, where)
        _expect(body, "string", (str, bytes), f"{where}.body")
    headers = _expect(response, "headers", dict, where) if response.get("headers") else {}
    known = {key: response[key] for key in response if key != "parsed_body"}
    return {
        **known,
        "status": {**status, "message": status.get("message") or responses.get(status["code"], "")},
        "headers": {name: value if isinstance(value, list) else [value] for name, value in headers.items()},
        "body": body,
    }


def _parsed_body(message: dict[str, Any]) -> str:
    """Return a body that was written as its JSON, as the cassettes of Pydantic AI have it."""
    parsed = message["parsed_body"]
    return "" if parsed is None else json.dumps(parsed)


def _expect(data: dict[str, Any], key: str, kind: type | tuple[type, ...], where: str) -> Any:
    place = f"{where}.{key}" if where else key
    if key not in data:
        raise InvalidCassetteError(f"{place} is missing; a file that was cut off looks so")
    if not isinstance(data[key], kind) or isinstance(data[key], bool):
        names = " or ".join(_NAMES[one] for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise InvalidCassetteError(f"{place} is {_kind(data[key])}, not {names}")
    return data[key]


_NAMES: dict[type, str] = {dict: "a mapping", list: "a list", str: "text", bytes: "bytes", int: "a number"}


def _kind(value: Any) -> str:
    return "nothing" if value is None else _NAMES.get(type(value), f"a {type(value).__name__}")


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
