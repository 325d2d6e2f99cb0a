"""Remove credentials from requests and responses before vcrpy stores them.

OpenAI's credentials are the authorization, the organization and the project
(https://platform.openai.com/docs/api-reference/authentication), and the cookies of its edge servers.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from openai_sessions._api.client import HTTP_LIBRARY

_REDACTED = "REDACTED"
_SHORTEST = 8  # a shorter value could be any word, and is not searched for elsewhere

_SECRET_HEADER = re.compile(
    r"(?!(?:www|proxy)-authenticate$|authority$|access-control-|x-ratelimit-)"
    r".*(?:auth|cookie|credential|key|organization|password|project|secret|signature|token)",
    re.IGNORECASE,
)
_SECRETS = (
    r"(?:[\w-]*[-_])?(?:authorization|api[-_]?key|(?:access|refresh|id|auth|bearer)[-_]?token|"
    r"client[-_]?secret|secret[-_]?key|password|cookie)"
)
# A JSON field, such as the `authorization` of an MCP tool, and a parameter of a query string or a form:
_FIELD = re.compile(rf'("{_SECRETS}"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE)
_PARAMETER = re.compile(rf"((?:^|[?&])(?:{_SECRETS}|key|token|sig|signature|secret)=)[^&#]*", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
# Keys and account ids, recognised by their form: error messages of the API quote them.
_KEY = re.compile(
    r"(?<=\bBearer )[0-9A-Za-z._~+/-]{16,}=*|(?<![0-9A-Za-z_-])"
    r"(?:(?:sk|ek)[-_][0-9A-Za-z_*-]{16,}|(?:sess-|org-|proj_)[0-9A-Za-z]{16,})"
)


class Scrubber:
    """The `before_record_request` and `before_record_response` functions of one cassette.

    Values of secret headers are remembered, in memory only, and removed wherever else they occur. vcrpy also
    filters the requests that it looks up, so that redacted parts never make a difference.
    """

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def request(self, request: Any) -> Any:
        """Return vcrpy's copy of a request without secrets."""
        for name, value in list(request.headers.items()):
            if self._is_secret(name, str(value)) or name.lower().startswith("x-stainless-"):
                del request.headers[name]  # the latter describe the machine
        for name, value in list(request.headers.items()):
            request.headers[name] = self._redacted(str(value))
        uri = _PARAMETER.sub(rf"\1{_REDACTED}", _USER_INFO.sub(_REDACTED, request.uri))
        request.uri = self._redacted(uri)
        if isinstance(request.body, bytes):
            text = request.body.decode("latin-1")  # one character for each byte; secrets are ASCII
            if "x-www-form-urlencoded" in str(request.headers.get("content-type", "")):
                text = _PARAMETER.sub(rf"\1{_REDACTED}", text)
            request.body = self._redacted(text).encode("latin-1")
        return request

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return a response without secrets, its body decoded as the client's HTTP library does it."""
        listed = [(name, [v] if isinstance(v, str) else v) for name, v in response["headers"].items()]
        sent = [(name, str(value)) for name, values in listed for value in values]
        sent = [(name, value) for name, value in sent if not self._is_secret(name, value)]
        body = decoded = response.get("body", {}).get("string") or b""  # vcrpy 4 wrote none for httpx
        with suppress(HTTP_LIBRARY.DecodingError):  # then the client cannot read it either
            decoded = HTTP_LIBRARY.Response(200, headers=sent, content=body).content
        redacted = self._redacted(decoded.decode("latin-1")).encode("latin-1")
        outdated = {"content-encoding"} if decoded != body else set()
        outdated |= {"content-length"} if redacted != body else set()
        headers: dict[str, list[str]] = {}
        for name, value in sent:
            if name.lower() not in outdated:
                headers.setdefault(name, []).append(self._redacted(value))
        content = {"body": {**response["body"], "string": redacted}} if "body" in response else {}
        return {**response, **content, "headers": headers}

    def _is_secret(self, header: str, value: str) -> bool:
        """Return whether a header is secret, and remember its value if so."""
        if not _SECRET_HEADER.match(header):
            return False
        found = [value, value.partition(" ")[2]]
        if "cookie" in header.lower():  # the attributes of Set-Cookie, such as the domain, are public
            pairs = value.split(";")[: 1 if header.lower() == "set-cookie" else None]
            found = [pair.partition("=")[2].strip() for pair in pairs]
        for secret in found:
            if len(secret) >= _SHORTEST and _REDACTED not in secret:
                self._secrets |= {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}
        return True

    def _redacted(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _REDACTED)
        return _FIELD.sub(rf'\1"{_REDACTED}"', _KEY.sub(_REDACTED, text))
