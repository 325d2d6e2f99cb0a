"""Requests and responses of vcrpy as they may be written down: readable, and without secrets."""

from __future__ import annotations

from typing import Any

from openai_sessions._requests import HTTP_LIBRARY
from openai_sessions.testing._cassettes._secrets import SecretValues, is_secret_header, without_in_form

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
