"""Remove secrets from requests and responses before vcrpy stores them."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_plus

from openai_sessions._api.client import HTTP_LIBRARY
from openai_sessions._secrets import REDACTED, is_secret, spellings, without, without_tokens

_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"'<>\\]+(?=@)")
_PARAMETER = re.compile(r"(?<=[?&#])([^=&?#\s\"'<>\\]+)=([^&#\s\"'<>\\]*)")
_FORM = re.compile(r"[\w.%+\[\]-]+=\S*")
_FORM_FIELD = re.compile(r"(?<=form-data; name=\")([^\"]+)(\".*?\r\n\r\n)(.*?)(?=\r\n--)", re.DOTALL)
# In prose, what follows a name is a secret only if it has both letters and digits.
_ASSIGNMENT = re.compile(
    r"(?<![\w.-])([A-Za-z][\w.-]*)([\"']?\s*[:=]\s*[\"']?)"
    r"(?!\w+://)(?=\S*\d)(?=\S*[A-Za-z])([^\s\"'`&;,<>(){}\[\]\\]{8,})"
)
_BINARY = re.compile(r"[\0\udc80-\udcff]")  # the latter are bytes that are not UTF-8
_SCHEMA = ("$ref", "description", "format", "pattern", "title", "type")  # fields of a JSON Schema


class Scrubber:
    """The `before_record_request` and `before_record_response` functions of one cassette.

    Secrets are remembered, in memory only, and removed wherever else they occur. vcrpy also filters the
    requests that it looks up, so that redacted parts never make a difference.
    """

    def __init__(self) -> None:
        self._spelled: set[str] = set()
        self._whole = lru_cache(maxsize=16)(self._text)  # vcrpy filters each request several times

    def request(self, request: Any) -> Any:
        """Return vcrpy's copy of a request without secrets, and without headers that describe the machine."""
        sent = [(str(name), str(value)) for name, value in request.headers.items()]
        headers = self._headers([each for each in sent if not each[0].lower().startswith("x-stainless-")])
        uri = self._text(request.uri)
        if isinstance(request.body, bytes):
            request.body = self._body(request.body)
        request.uri = without(uri, self._spelled)
        request.headers = {name: without(value, self._spelled) for name, value in headers}
        return request

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return a response without secrets, its body decoded as the client's HTTP library does it."""
        listed = [(name, [v] if isinstance(v, str) else v) for name, v in response["headers"].items()]
        sent = self._headers([(name, str(value)) for name, values in listed for value in values])
        body = decoded = response.get("body", {}).get("string") or b""  # vcrpy 4 wrote none for httpx
        with suppress(HTTP_LIBRARY.DecodingError):  # then the client cannot read it either
            decoded = HTTP_LIBRARY.Response(200, headers=sent, content=body).content
        redacted = self._body(decoded)
        outdated = ("content-encoding", "content-length") if redacted != body else ()
        headers: dict[str, list[str]] = {}
        for name, value in sent:
            if name.lower() not in outdated:
                headers.setdefault(name, []).append(without(value, self._spelled))
        content = {"body": {**response["body"], "string": redacted}} if "body" in response else {}
        return {**response, **content, "headers": headers}

    def _headers(self, sent: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the headers that are not secret, without secrets in their values."""
        for name, value in sent:
            if is_secret(name):  # the attributes of Set-Cookie, such as the domain, are public
                self._hide(value.partition(";")[0] if name.lower() == "set-cookie" else value)
        return [(name, self._text(value)) for name, value in sent if not is_secret(name)]

    def _body(self, body: bytes) -> bytes:
        text = _FORM_FIELD.sub(self._assigned, body.decode("utf-8", "surrogateescape"))
        text = self._whole(f"?{text}")[1:] if _FORM.fullmatch(text) else self._whole(text)
        return without(text, self._spelled).encode("utf-8", "surrogateescape")

    def _text(self, text: str) -> str:
        """Return any text without secrets. It may be JSON, as may each line of it, and the strings in it."""
        scrubbed = self._json(text)
        if scrubbed is None:
            scrubbed = re.sub(r"(?m)^(data: ?|)(.+)$", self._line, without_tokens(text))
        return scrubbed

    def _line(self, line: re.Match[str]) -> str:
        text = self._json(line[2])
        if text is None:
            if _BINARY.search(line[2]):
                return line[0]
            text = _USER_INFO.sub(lambda found: self._hide(found[0]), line[2])
            text = _PARAMETER.sub(self._parameter, text)
            text = _ASSIGNMENT.sub(lambda found: self._assigned(found, in_json=True), text)
        return line[1] + text

    def _parameter(self, found: re.Match[str]) -> str:
        value = unquote_plus(found[2])
        scrubbed = self._hide(value) if is_secret(unquote_plus(found[1])) else self._text(value)
        return found[0] if scrubbed == value else f"{found[1]}={quote(scrubbed, safe='', errors='replace')}"

    def _assigned(self, found: re.Match[str], *, in_json: bool = False) -> str:
        hides = is_secret(found[1], in_json=in_json)
        return f"{found[1]}{found[2]}{self._hide(found[3])}" if hides else found[0]

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
        if scrubbed == value:
            return text
        escapes = stripped.isascii() or "\\u" in stripped
        return text.replace(stripped, json.dumps(scrubbed, ensure_ascii=escapes))

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
