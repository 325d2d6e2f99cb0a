"""Taking secrets out of requests and responses before anyone writes them down.

What is secret of OpenAI's headers: the authorization, the organization and the project
(https://platform.openai.com/docs/api-reference/authentication), and the cookies of its edge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from openai_sessions._api.client import HTTP_LIBRARY

REDACTED = "REDACTED"

_SHORTEST = 8
"""Characters of the shortest value that is looked for elsewhere: a shorter one may be any word."""

_SECRET_WORDS = (
    *("auth", "cookie", "credential", "key", "organization", "password", "project", "secret"),
    *("signature", "token"),
)
"""A header with one of these in its name is left out."""

_PUBLIC_HEADERS = re.compile(r"(?:www|proxy)-authenticate|authority|access-control-.*|x-ratelimit-.*")
"""Headers that look like secret ones, and tell no secret."""

_FIELD_NAMES = (
    r"(?:[\w-]*[-_])?(?:authorization|api[-_]?key|(?:access|refresh|id|auth|bearer)[-_]?token|"
    r"client[-_]?secret|secret[-_]?key|password|cookie)"
)

_FIELD = re.compile(rf'("{_FIELD_NAMES}"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE)
"""A field of JSON with a secret for its value, such as the `authorization` of an MCP tool."""

_PARAMETER = re.compile(
    rf"((?:^|[?&])(?:{_FIELD_NAMES}|key|token|sig|signature|secret)=)[^&#]*", re.IGNORECASE
)
"""A parameter of a query or of a form."""

_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")

_KEYS = re.compile(
    r"(?<![0-9A-Za-z_-])(?:(?:sk|ek)[-_][0-9A-Za-z_*-]{16,}|sess-[0-9A-Za-z]{16,}|"
    r"org-[0-9A-Za-z]{16,}|proj_[0-9A-Za-z]{16,})"
)
"""Keys and account ids by their form, whoever sent them: errors of the API quote them."""

_BEARER = re.compile(r"(?<=\bBearer )[0-9A-Za-z._~+/-]{16,}=*")


def is_secret_header(name: str) -> bool:
    """Tell whether a header holds a secret, by its name."""
    lowered = name.lower()
    return any(word in lowered for word in _SECRET_WORDS) and not _PUBLIC_HEADERS.fullmatch(lowered)


class SecretValues:
    """The values of the secret headers seen so far, and their removal from everything else.

    They are kept in memory alone. `repr` does not show them.
    """

    def __init__(self) -> None:
        self._values: set[str] = set()

    def note(self, header: str, value: str) -> None:
        """Remember what a secret header holds."""
        for secret in _secrets_of(header.lower(), value):
            if len(secret) >= _SHORTEST and REDACTED not in secret:
                self._values |= {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}

    def without(self, text: str) -> str:
        """Return the text with REDACTED where a secret was."""
        for secret in sorted(self._values, key=len, reverse=True):
            text = text.replace(secret, REDACTED)
        text = _KEYS.sub(REDACTED, _BEARER.sub(REDACTED, text))
        return _FIELD.sub(rf'\1"{REDACTED}"', text)

    def without_in_uri(self, uri: str) -> str:
        """Return the address with REDACTED for its user, its secret parameters, and every secret."""
        return self.without(without_in_form(_USER_INFO.sub(REDACTED, uri)))


def without_in_form(text: str) -> str:
    """Return a query or a form with REDACTED for its secret parameters."""
    return _PARAMETER.sub(rf"\1{REDACTED}", text)


def _secrets_of(header: str, value: str) -> Iterable[str]:
    if header == "set-cookie":  # its attributes, such as the domain, are none
        return [value.partition(";")[0].partition("=")[2]]
    if header == "cookie":
        return [pair.partition("=")[2].strip() for pair in value.split(";")]
    scheme, _, credentials = value.partition(" ")
    return [value, credentials] if credentials else [scheme]


_TELEMETRY = "x-stainless-"
"""Headers of openai that tell of the machine it runs on: another machine would write another file."""


class Scrubber:
    """The filters of one cassette: vcrpy's `before_record_request` and `before_record_response`.

    Both go over what is recorded, and the first one over each request that is looked up as well, so
    that what was taken out makes no difference.
    """

    def __init__(self) -> None:
        self._secrets = SecretValues()

    def request(self, request: Any) -> Any:
        """Return the request, which is vcrpy's own copy, without secrets."""
        for name in [name for name in request.headers if is_secret_header(name)]:
            self._secrets.note(name, str(request.headers.pop(name)))
        for name in [name for name in request.headers if name.lower().startswith(_TELEMETRY)]:
            del request.headers[name]
        for name, value in list(request.headers.items()):
            request.headers[name] = self._secrets.without(str(value))
        request.uri = self._secrets.without_in_uri(request.uri)
        if isinstance(request.body, bytes) and request.body:
            is_form = "x-www-form-urlencoded" in request.headers.get("content-type", "")
            text = request.body.decode("latin-1")  # byte for byte: secrets are ASCII
            request.body = self._secrets.without(without_in_form(text) if is_form else text).encode("latin-1")
        return request

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return the response with its body as text, and without secrets."""
        headers = {name: _values(value) for name, value in response.get("headers", {}).items()}
        for name in [name for name in headers if is_secret_header(name)]:
            for value in headers.pop(name):
                self._secrets.note(name, value)
        headers = {name: [self._secrets.without(one) for one in headers[name]] for name in headers}
        scrubbed = {**response, "headers": headers}
        body = response.get("body")
        if isinstance(body, dict) and isinstance(body.get("string"), bytes):
            before = body["string"]
            decoded, headers = _decoded(before, headers)
            after = self._secrets.without(decoded.decode("latin-1")).encode("latin-1")
            scrubbed["headers"] = headers if after == before else _measured(headers, len(after))
            scrubbed["body"] = {**body, "string": after}
        return scrubbed


def _values(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]


def _decoded(body: bytes, headers: dict[str, list[str]]) -> tuple[bytes, dict[str, list[str]]]:
    """Return the body as the client sees it, and the headers that then hold.

    The HTTP library of the client decodes it: it knows each encoding that it had offered.
    """
    if not any(name.lower() == "content-encoding" for name in headers):
        return body, headers
    sent = [(name, one) for name, values in headers.items() for one in values]
    try:
        decoded: bytes = HTTP_LIBRARY.Response(200, headers=sent, content=body).content
    except HTTP_LIBRARY.DecodingError:  # the client saw the same
        return body, headers
    if decoded == body:  # an encoding that the client does not know either
        return body, headers
    return decoded, {name: values for name, values in headers.items() if name.lower() != "content-encoding"}


def _measured(headers: dict[str, list[str]], length: int) -> dict[str, list[str]]:
    """Return the headers with the length of another body, where they tell one."""
    return {name: [str(length)] if name.lower() == "content-length" else headers[name] for name in headers}
