"""What the transports of HTTP clients prove: that a request was never sent, or sent only once.

The name of an exception proves nothing. httpx's adapters to aiohttp raise `ConnectTimeout` for a reply that
was lost, and a transport that sends again by itself may be refused a connection the second time. So a request
counts as never sent only if the error below is one that httpcore or aiohttp raises while it connects, and if
nothing but the known transports was between it and openai.
"""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import openai

_CONNECTING = frozenset(
    {
        *[(core, name) for core in ("httpcore", "httpcore2") for name in ("ConnectError", "ConnectTimeout")],
        ("httpcore", "PoolTimeout"),
        ("httpcore2", "PoolTimeout"),
        ("aiohttp.client_exceptions", "ClientConnectorError"),
        ("aiohttp.client_exceptions", "ConnectionTimeoutError"),
    }
)
"""The module and the name of errors that are raised only before a request is sent. Subclasses count too."""

_KNOWN = frozenset({"openai", "openai_sessions", "httpx", "httpx2", "httpx_aiohttp", "contextlib"})
"""The packages of the known transports, and this one. Code of others between them may have sent the request
before."""

_LOOKS_UNREACHED = ("ConnectError", "ConnectTimeout", "ProxyError")

_MAX_CAUSES = 10
"""How many errors below one are looked at, which a program may have linked to a circle."""

_AIOHTTP = "aiohttp"

_sends: ContextVar[list[object] | None] = ContextVar("_sends", default=None)
"""Counts what aiohttp sends for the current request of ours."""


def never_sent(error: openai.APIConnectionError) -> bool:
    """Return whether the transport proves that the server has seen nothing of the request."""
    mapped = error.__cause__
    raised = mapped.__cause__ if mapped is not None else None
    if raised is None or not _packages(mapped) <= _KNOWN:
        return False
    if not any((kind.__module__, kind.__name__) in _CONNECTING for kind in type(raised).__mro__):
        return False
    if not type(raised).__module__.startswith(_AIOHTTP):
        return True
    # aiohttp repeats all methods but POST by itself, and a middleware of the session may repeat any.
    return error.request.method == "POST" and _packages(raised) <= {*_KNOWN, _AIOHTTP}


def found_no_connection(error: BaseException) -> bool:
    """Return whether an error looks like a server that cannot be reached, for the log. It proves nothing."""
    return isinstance(error, openai.APIConnectionError) and type(error.__cause__).__name__ in _LOOKS_UNREACHED


def add_facts(error: openai.APIConnectionError, *, attempts: int) -> None:
    """Name the address, the attempts and the cause in the message of an error, which stays of its type."""
    facts = f" {error.request.method} {address_of(str(error.request.url))} got no response in "
    said = error.message.partition(facts)[0]  # without what an earlier attempt has added
    count = f"{attempts} attempt{'s' if attempts > 1 else ''}"
    error.message = f"{said}{facts}{count} ({cause_of(error)})."
    error.args = (error.message,)


def cause_of(error: BaseException) -> str:
    """Return the error of the HTTP library, and what the operating system says, without what was sent."""
    named = type(error.__cause__ or error).__name__
    said = ""
    below: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if isinstance(below, OSError) and below.strerror:
            number = below.errno or 0
            said = f": {os.strerror(number) if number > 0 else below.strerror}"
        below = below and (below.__cause__ or below.__context__)
    return f"{named}{said}"


def address_of(url: str) -> str:
    """Return a URL without user, password, query and fragment, which may be secrets."""
    scheme, netloc, path, _, _ = urlsplit(url)
    return urlunsplit((scheme, netloc.rpartition("@")[2], path, "", ""))


@contextmanager
def counting_sends(http_client: object) -> Iterator[list[object]]:
    """Yield a list that has an element for each time that aiohttp sends a request inside.

    aiohttp repeats a DELETE whose reply is lost, so that a 404 may be the answer to the repetition. With
    other clients the list stays empty.
    """
    sends: list[object] = []
    if not getattr(http_client, "is_closed", False):
        for transport in filter(_is_aiohttp, transports_of(http_client)):
            _observe(transport)
    token = _sends.set(sends)
    try:
        yield sends
    finally:
        _sends.reset(token)


def transports_of(http_client: object) -> Iterator[Any]:
    """Yield the transports of an HTTP client, also those that others wrap."""
    mounted = getattr(http_client, "_mounts", {}).values()
    transports = [getattr(http_client, "_transport", None), *mounted]
    seen: set[int] = set()
    while transports:
        transport = transports.pop()
        if id(transport) in seen or not hasattr(transport, "handle_async_request"):
            continue
        seen.add(id(transport))
        yield transport
        transports.extend(getattr(transport, "__dict__", {}).values())


def is_networked(http_client: object) -> bool:
    """Return whether an HTTP client keeps connections, unlike those that call an app in process."""
    return any(hasattr(each, "_pool") or _is_aiohttp(each) for each in transports_of(http_client))


def _is_aiohttp(transport: object) -> bool:
    return any("httpx_aiohttp" in kind.__module__ for kind in type(transport).__mro__)


def _observe(transport: Any) -> None:
    """Add our trace to the session of a transport, which the transport itself would create now."""
    if not hasattr(transport.client, "trace_configs"):
        transport.client = transport.get_client()
    if _trace() not in transport.client.trace_configs:
        transport.client.trace_configs.append(_trace())


@cache
def _trace() -> Any:
    trace = importlib.import_module("aiohttp").TraceConfig()
    trace.on_request_headers_sent.append(_note_send)
    trace.freeze()
    return trace


async def _note_send(*_: object) -> None:
    sends = _sends.get()
    if sends is not None:
        sends.append(None)


def _packages(error: BaseException | None) -> set[str]:
    """Return the packages whose code an error has passed through."""
    frames = traceback.walk_tb(error.__traceback__ if error is not None else None)
    return {str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in frames}
