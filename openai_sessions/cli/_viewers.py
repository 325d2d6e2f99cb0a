"""Who may see conversations on the page."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request

from openai_sessions.cli._address import is_loopback


class Viewers(Protocol):
    """Decide what a request for the page's data may see."""

    shows_requests: bool
    """Whether the requests of programs may be shown to all who see anything."""

    def key_of(self, request: Request) -> str | None:
        """Return the key whose conversations may be shown; None for those of all.

        Raises:
            HTTPException: Nothing may be shown.
        """
        ...


class LocalViewers:
    """Let everyone on this machine see everything.

    A page of a foreign site that has its own name point to this machine is on this machine too: it is told
    by the name in its `Host` header, which must be a numeric address of loopback or a name known.

    Args:
        names: The names beside `localhost` by which this server is asked for.
    """

    shows_requests = True

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = {"localhost", *(name.lower() for name in names)}

    def key_of(self, request: Request) -> None:
        """Return None, for all conversations."""
        host = _without_port(request.headers.get("host", ""))
        if host not in self._names and not is_loopback(host):
            raise HTTPException(403, "Conversations are shown only to those who ask 127.0.0.1 or localhost.")


class KeyViewers:
    """Let those with a key see what this key sees.

    Args:
        api_keys: The keys.
    """

    def __init__(self, api_keys: Collection[str]) -> None:
        self._api_keys = [key.strip() for key in api_keys]
        self.shows_requests = len(set(self._api_keys)) == 1  # they are not told apart by key

    def key_of(self, request: Request) -> str:
        """Return the bearer key of the request."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            for known in self._api_keys:
                if hmac.compare_digest(known.encode(), given.strip().encode()):
                    return known
        raise HTTPException(
            401,
            "Conversations are shown to those with an API key of this server.",
            headers={"www-authenticate": "Bearer"},
        )


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        host = name
    return host.strip("[]").lower()
