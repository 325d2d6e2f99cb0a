"""Remove secrets from requests and responses before vcrpy stores them."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_plus

from vcr.request import Request

from openai_sessions._api.client import HTTP_LIBRARY
from openai_sessions._secrets import REDACTED, is_secret, spellings, without, without_tokens

_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"'<>\\]+(?=@)")
_PARAMETER = re.compile(r"(?<=[?&#])([^=&?#\s\"'<>\\]+)=([^&?#\s\"'<>\\]*)")
_FORM = re.compile(r"[\w.%+\[\]-]+=\S*")
_FORM_FIELD = re.compile(
    r"(?<=form-data; name=\")([^\"]+)(\"[^\r\n]{0,999}\r\n(?:[^\r\n]+\r\n)*\r\n)(.*?)(?=\r\n--)", re.DOTALL
)
_NAME = re.compile(r"(?<![\w.-])([A-Za-z][\w.-]*)[\"']?\s*[:=]\s*[\"']?")
_VALUE = re.compile(r"(?!\w+://)[^\s\"'`&;,<>(){}\[\]\\]{8,4096}")
_LINE = re.compile(r"^(data: ?|)(.+)$", re.MULTILINE)
_BINARY = re.compile(r"[\0\udc80-\udcff]")  # the latter are bytes that are not UTF-8
_SCHEMA = ("$ref", "description", "format", "pattern", "title", "type")  # fields of a JSON Schema


class Scrubber:
    """The `before_record_request` and `before_record_response` functions of one cassette."""

    def __init__(self) -> None:
        self._spelled: set[str] = set()  # secrets that had a name, removed wherever else they occur
        self._whole = lru_cache(maxsize=16)(self._text)  # vcrpy filters each request several times

    def request(self, request: Any) -> Any:
        """Return a request, which vcrpy stores or looks up, without secrets; None for exported traces."""
        if request.path.endswith("/traces/ingest"):
            return None  # the Agents SDK exports them at any moment, and vcrpy ignores them then
        sent = [("".join(name), str(value)) for name, value in request.headers.items()]  # plain str
        headers = self._headers([each for each in sent if not each[0].lower().startswith("x-stainless-")])
        uri, body = self._text(request.uri), self._body(_as_bytes(request.body))
        known = {name: without(value, self._spelled) for name, value in headers}
        return Request(request.method, without(uri, self._spelled), body, known)

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return a response without secrets, its body decoded as the client's HTTP library does it."""
        listed = [(name, [v] if isinstance(v, str) else v) for name, v in response["headers"].items()]
        sent = self._headers([(name, str(value)) for name, values in listed for value in values])
        body = decoded = response.get("body", {}).get("string") or b""  # vcrpy 4 wrote none for httpx
        with suppress(HTTP_LIBRARY.DecodingError):  # then the client cannot read it either
            decoded = HTTP_LIBRARY.Response(200, headers=sent, content=body).content
        redacted = self._body(decoded)
        outdated = ("content-encoding", "content-length") if redacted != body else ()
        kept = [(name, without(value, self._spelled)) for name, value in sent if name.lower() not in outdated]
        headers = {name: [value for each, value in kept if each == name] for name, _ in kept}
        content = {"body": {**response["body"], "string": redacted}} if "body" in response else {}
        return {**response, **content, "headers": headers}

    def _headers(self, sent: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the headers that are not secret, without secrets in their values."""
        for name, value in sent:
            if is_secret(name):  # the attributes of Set-Cookie, such as the domain, are public
                self._hide(value.partition(";")[0] if name.lower() == "set-cookie" else value)
        return [(name, self._text(value)) for name, value in sent if not is_secret(name)]

    def _body(self, body: bytes) -> bytes:
        text = _FORM_FIELD.sub(self._field, body.decode("utf-8", "surrogateescape"))
        text = self._whole(f"?{text}")[1:] if _FORM.fullmatch(text) else self._whole(text)
        return without(text, self._spelled).encode("utf-8", "surrogateescape")

    def _text(self, text: str) -> str:
        """Return any text without secrets. It may be JSON, as may each line of it, and the strings in it."""
        scrubbed = self._json(text)
        return _LINE.sub(self._line, without_tokens(text)) if scrubbed is None else scrubbed

    def _line(self, line: re.Match[str]) -> str:
        text = line[2]
        if (scrubbed := self._json(text)) is None and not _BINARY.search(text):
            text = _USER_INFO.sub(lambda found: self._hide(found[0]), text)
            text = _PARAMETER.sub(self._parameter, text)
            for found in _NAME.finditer(text):  # in prose, what follows a name is secret if it has a digit
                value = is_secret(found[1], in_json=True) and _VALUE.match(text, found.end())
                if value and re.search(r"\d", value[0]):
                    self._hide(value[0])
        return line[1] + (text if scrubbed is None else scrubbed)

    def _parameter(self, found: re.Match[str]) -> str:
        value = unquote_plus(found[2])
        scrubbed = self._hide(value) if is_secret(unquote_plus(found[1])) else self._text(value)
        return found[0] if scrubbed == value else f"{found[1]}={quote(scrubbed, safe='', errors='replace')}"

    def _field(self, found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}{self._hide(found[3])}" if is_secret(found[1]) else found[0]

    def _json(self, text: str) -> str | None:
        """Return JSON without secrets, or None if the text is not an object or an array."""
        stripped = text.strip()
        if not stripped.startswith(("{", "[")):
            return None
        try:
            value = json.loads(stripped)
            scrubbed = self._value(value)
        except (RecursionError, ValueError):
            return None
        escapes = stripped.isascii() or "\\u" in stripped
        return (
            text if scrubbed == value else text.replace(stripped, json.dumps(scrubbed, ensure_ascii=escapes))
        )

    def _value(self, value: Any, *, hides: bool = False) -> Any:
        if isinstance(value, str):
            return self._hide(value) if hides and value else self._text(value)
        if isinstance(value, list):
            return [self._value(each, hides=hides) for each in value]
        if not isinstance(value, dict):
            return value
        is_pair = is_secret(str(value.get("name") or value.get("key")))
        kept = (*_SCHEMA, "token") if "logprob" in value else _SCHEMA
        scrubbed = {}
        for name, each in value.items():
            named = is_secret(name, in_json="grant_type" not in value) or (is_pair and name == "value")
            scrubbed[self._text(name)] = self._value(each, hides=name not in kept and (hides or named))
        return scrubbed

    def _hide(self, secret: str) -> str:
        """Remember a secret, and return what is written in its place."""
        self._spelled |= spellings(secret)
        return REDACTED


def _as_bytes(body: Any) -> bytes:
    """Return the body of a request: some HTTP libraries give vcrpy chunks, files and other objects."""
    if isinstance(body, (dict, list)):  # to be sent as JSON
        return json.dumps(body, default=repr).encode()
    body = b"".join(body) if hasattr(body, "__next__") else body or b""
    read = body.read() if hasattr(body, "read") else body
    return read if isinstance(read, bytes) else repr(type(read)).encode()
