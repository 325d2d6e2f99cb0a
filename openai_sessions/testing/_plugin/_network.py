"""Close the network to a test, but for loopback.

Python tells its audit hooks of each connection and each name lookup before it happens, whoever makes it:
sockets, asyncio, threads. Nothing of `socket` is replaced, so that this gets along with pytest-socket and
pytest-recording, which do. Where these allow loopback they let name lookups through, and what they raise is
taken by openai for a lost connection, and repeated.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_REMEDY = (
    "and the network is closed to this test but for loopback. A program that makes its own clients is "
    "pointed to the emulator by the fixture openai_environment; a test that may use the network is marked "
    "@pytest.mark.conversation_network."
)


class NetworkGuard:
    """Refuse what would leave this machine, while a block is in force in this process.

    Unix sockets, loopback, unspecified addresses and this machine's own name are let through. Not seen are
    subprocesses, and libraries that open sockets in C, such as uvloop, grpcio and libpq.
    """

    def __init__(self) -> None:
        self._refused: list[str] | None = None

    @contextmanager
    def closed(self) -> Iterator[list[str]]:
        """Refuse what leaves this machine inside the block; give the list that its destinations are added to.

        What is refused raises the exception of `pytest.fail`: no program takes it for a failed connection
        that is worth a retry.
        """
        outer, self._refused = self._refused, []
        try:
            yield self._refused
        finally:
            self._refused = outer

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raise when a block is in force and the event is one of leaving this machine.

        https://docs.python.org/3/library/audit_events.html
        """
        __tracebackhide__ = True
        if self._refused is None or event not in _DESTINATIONS:
            return
        destination = _DESTINATIONS[event](*arguments)
        if destination is not None:
            self._refused.append(destination)
            if event == "socket.connect":
                arguments[0].close()  # callers close it for an OSError only
            raise pytest.fail.Exception(refusal([destination]))


def refusal(destinations: list[str]) -> str:
    """Return the message of a test that tried to reach these destinations."""
    return f"The test tried to reach {', '.join(dict.fromkeys(destinations))}, {_REMEDY}"


_guards: list[NetworkGuard] = []
"""The registry of the process: its one guard, once it is needed. An audit hook cannot be removed."""


def network_guard() -> NetworkGuard:
    """Return the guard of this process."""
    if not _guards:
        _guards.append(NetworkGuard())
        sys.addaudithook(_guards[0].audit)
    return _guards[0]


def _of_connection(opened: socket.socket, address: Any) -> str | None:
    if opened.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return None
    return None if _is_local(address[0]) else _with_port(address[0], address[1])


def _of_lookup(host: Any, port: Any = None, *_: Any) -> str | None:
    return None if _address(host) or _is_local(host) else _with_port(host, port)


_DESTINATIONS: dict[str, Callable[..., str | None]] = {
    "socket.connect": _of_connection,
    "socket.sendto": _of_connection,
    "socket.sendmsg": _of_connection,
    "socket.getaddrinfo": _of_lookup,
    "socket.gethostbyname": _of_lookup,
    "socket.gethostbyaddr": _of_lookup,
}
"""What each event says of where it leads; None when it stays on this machine."""


def _is_local(host: Any) -> bool:
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    name = _text(host).rstrip(".").lower()
    return name in ("", "localhost", socket.gethostname().lower()) or name.endswith(".localhost")


def _address(host: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is written as; None for a name."""
    try:
        address = ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _text(host: Any) -> str:
    return bytes(host).decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host or "")


def _with_port(host: Any, port: Any) -> str:
    return f"{_text(host)}:{_text(port)}" if port else _text(host)
