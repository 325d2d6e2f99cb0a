"""What a cassette holds: vcrpy's format, version 1, looked at before vcrpy sees it.

It is a mapping of `interactions`, each a `request` and a `response`, and `version`
(https://vcrpy.readthedocs.io/en/latest/usage.html). A field `metadata` says where it comes from; vcrpy 9
writes one too, and earlier ones pass over it.
"""

from __future__ import annotations

import json
from http.client import responses
from typing import Any

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
