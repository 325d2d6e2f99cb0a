"""`openai-sessions serve`: the emulator on a socket, in the foreground."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer
import uvicorn
from starlette.types import Receive, Scope, Send

from openai_sessions.cli._errors import CommandError
from openai_sessions.emulator import Emulator


@dataclass(frozen=True, slots=True)
class _Address:
    family: socket.AddressFamily
    host: str

    @property
    def is_loopback(self) -> bool:
        address = ipaddress.ip_address(self.host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    def base_url(self, port: int) -> str:
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        host = f"[{reachable}]" if self.family == socket.AF_INET6 else reachable
        return f"http://{host}:{port}/v1"


def serve_emulator(host: str, *, port: int, database: Path | None, api_keys: Sequence[str]) -> None:
    """Serve until Ctrl-C.

    Args:
        host: An address or a name; only a loopback address goes without keys.
        port: The port, or 0 for a free one.
        database: The file that keeps the conversations; None keeps them in memory.
        api_keys: The keys to accept; none accepts any.

    Raises:
        CommandError: The host cannot be served as asked, the port is taken, or the file is no database.
    """
    if not all(key.strip() for key in api_keys):
        raise CommandError("--api-key is empty.", exit_code=2)
    address = _resolve(host)
    if not address.is_loopback and not api_keys:
        raise CommandError(
            f"{host or 'An empty host'} can be reached from other machines: give --api-key, "
            "or set OPENAI_SESSIONS_API_KEYS.",
            exit_code=2,
        )
    with _listen(address, port) as listener, _open(database, api_keys) as emulator:
        typer.echo(
            _how_to_use(address.base_url(listener.getsockname()[1]), database, has_keys=bool(api_keys))
        )
        _run(emulator, listener)


def _resolve(host: str) -> _Address:
    """Return the one address that is judged and then bound, so that a name cannot change in between."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CommandError(f"No address was found for {host}.", exit_code=2) from error
    addresses = [_Address(family, str(where[0])) for family, _, _, _, where in found]
    return min(addresses, key=lambda address: address.family != socket.AF_INET)


def _listen(address: _Address, port: int) -> socket.socket:
    try:
        return socket.create_server((address.host, port), family=address.family)
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise CommandError(f"Port {port} of {address.host}: {reason}.", exit_code=1) from error


def _open(database: Path | None, api_keys: Sequence[str]) -> Emulator:
    try:
        return Emulator(database or ":memory:", api_keys=api_keys or None)
    except (OSError, sqlite3.Error) as error:
        raise CommandError(f"{database} cannot be used: {error}.", exit_code=1) from error


def _how_to_use(base_url: str, database: Path | None, *, has_keys: bool) -> str:
    key = "one of the keys given" if has_keys else "anything"
    return "\n".join(
        (
            f"The Conversations API, emulated: {base_url}",
            f"Conversations are kept in {database or 'memory'}. Use it like this, and end it with Ctrl-C:",
            "",
            f"    export OPENAI_BASE_URL={base_url}",
            f"    export OPENAI_API_KEY=...  # {key}",
            "",
        )
    )


def _run(emulator: Emulator, listener: socket.socket) -> None:
    config = uvicorn.Config(_Printing(emulator), lifespan="off", access_log=False, log_level=logging.WARNING)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again after it has closed the connections
        uvicorn.Server(config).run(sockets=[listener])


class _Printing:
    """Print each request that the emulator has answered, and let the emulator forget it."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._emulator(scope, receive, send)
        for request in self._emulator.requests:
            typer.echo(f"{request.status} {request.method:<6} {request.path}")
        self._emulator.forget_requests()
