"""Reduce recorded requests and responses to what a client sends and reads: the rest differs each time."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

_SECRET_HEADERS = frozenset(
    {"authorization", "cookie", "openai-organization", "openai-project", "set-cookie"}
)
"""Headers that the cassette removes, after it has searched everything else for their values."""

_REQUEST_HEADERS = _SECRET_HEADERS | {"accept", "api-key", "content-type"}
_RESPONSE_HEADERS = _SECRET_HEADERS | {
    *("content-encoding", "content-type", "openai-version"),
    *("retry-after", "retry-after-ms", "x-should-retry"),
}
"""The headers that clients read, and `openai-version`. Others differ with each recording or machine."""


def without_noise(request: Any) -> Any:
    """Remove the port, and the headers that differ from one recording or machine to another."""
    url = urlsplit(request.uri)
    request.uri = urlunsplit(url._replace(netloc=url.hostname or ""))
    for name in [name for name in request.headers if name.lower() not in _REQUEST_HEADERS]:
        request.headers.pop(name)
    return request


def with_few_headers(response: dict[str, Any]) -> dict[str, Any]:
    """Return a response with the headers that clients read."""
    headers = {
        name: values for name, values in response["headers"].items() if name.lower() in _RESPONSE_HEADERS
    }
    return {**response, "headers": headers}
