"""Where a server listens: one address, resolved once, and whether only this machine reaches it."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass

from openai_sessions.cli._errors import CommandError
from openai_sessions.emulator._server import listening


@dataclass(frozen=True, slots=True)
class Address:
    """A numeric address of this machine."""

    family: socket.AddressFamily
    host: str

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach it."""
        return is_loopback(self.host)

    def url(self, port: int) -> str:
        """Return the URL of the server, without a slash at its end."""
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        host = f"[{reachable}]" if self.family == socket.AF_INET6 else reachable
        return f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether a host is a numeric address of loopback."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def resolve(host: str) -> Address:
    """Return the one address that is judged and then bound, so that a name cannot change in between.

    Raises:
        CommandError: The host has no address.
    """
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CommandError(f"No address was found for {host}.", exit_code=2) from error
    addresses = [Address(family, str(where[0])) for family, _, _, _, where in found]
    return min(addresses, key=lambda address: address.family != socket.AF_INET)


def listen(address: Address, port: int) -> socket.socket:
    """Return a socket that listens there.

    Raises:
        CommandError: The port is taken, or the address is not this machine's.
    """
    try:
        return listening(address.host, port)
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise CommandError(f"Port {port} of {address.host}: {reason}.", exit_code=1) from error
