"""Redirects: which are followed, and to which address."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from openai_sessions._api.transports import address_of
from openai_sessions.errors import RedirectError

MAX_REDIRECTS = 5
"""How many redirects of one request are followed."""

_KEEPS_METHOD = (307, 308)
"""The statuses after which a client repeats the method and the body. After the others it sends a GET."""

_PORTS = {"http": 80, "https": 443}


def followed(operation: str, response: Any, base_url: str) -> str:
    """Return the URL to which a redirect is followed: on the same host, with the same method and body.

    Args:
        operation: The name of the request.
        response: The response, whose status is 3xx.
        base_url: The base URL of the client.

    Raises:
        RedirectError: It is not followed.
    """
    status, asked = response.status_code, str(response.request.url)
    location: str = response.headers.get("location") or "//"
    elsewhere = True
    try:
        target = urlsplit(urljoin(asked, location))
        elsewhere = _origin(target) != _origin(urlsplit(asked))
    except ValueError:  # of a host or port that is malformed
        target = SplitResult("", "", "", "", "")
    address = address_of(urlunsplit(target)) if target.scheme in _PORTS and target.hostname else None
    if address is None:
        reason = "it names no address"
    elif status not in _KEEPS_METHOD:
        reason = "HTTP clients repeat it as a GET, whatever it was"
    elif elsewhere:
        reason = "credentials are sent to no other host, scheme or port"
    else:
        return urlunsplit(target)
    raise RedirectError(operation, status, address, reason, base_url=_base_url(asked, address, base_url))


def endless(operation: str, response: Any) -> RedirectError:
    """Return the error for a request that was redirected too often."""
    address = address_of(str(response.request.url))
    reason = f"it was the redirect after {MAX_REDIRECTS} others"
    return RedirectError(operation, response.status_code, address, reason, base_url=None)


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)


def _base_url(asked: str, address: str | None, base_url: str) -> str | None:
    """Return the base URL at which a request is not redirected, if the address ends as the request does."""
    base = address_of(base_url).rstrip("/")
    path = address_of(asked).removeprefix(base)
    found = (address or "").removesuffix(path)
    return None if found in ("", address, base) else found
