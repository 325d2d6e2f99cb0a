"""Isolation of a test from the network and from the settings of the machine, and the state of its run."""

from __future__ import annotations

import importlib
import importlib.metadata
import ipaddress
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from openai_sessions.emulator import EmulatedRequest, Emulator
    from openai_sessions.testing._clients import Connections
    from openai_sessions.testing._faults import ConversationFaults


@dataclass(slots=True)
class RunningTest:
    """The state that fixtures and hooks of one test share.

    Attributes:
        isolated: Whether it is isolated already.
        refused: The destinations that were blocked.
        emulator: The emulator that it uses.
        faults: The faults that it has injected.
        connections: The connections of its client.
        error: The error that it has raised.
    """

    isolated: bool = False
    refused: list[str] = field(default_factory=list)
    emulator: Emulator | None = None
    faults: ConversationFaults | None = None
    connections: Connections | None = None
    error: BaseException | None = None

    def start(self) -> None:
        """Forget an earlier run of the same test."""
        self.refused.clear()
        self.emulator = self.faults = self.connections = self.error = None


_RUNNING = pytest.StashKey[RunningTest]()


def running(item: pytest.Item) -> RunningTest:
    """Return the state of a test."""
    return item.stash.setdefault(_RUNNING, RunningTest())


def is_live(item: pytest.Item) -> bool:
    """Return whether tests run against OpenAI (--conversations-live)."""
    return bool(item.config.getoption("conversations_live"))


def record_mode(item: pytest.Item) -> str:
    """Return the record mode of cassettes."""
    return str(item.config.getoption("conversations_record_mode"))


@contextmanager
def isolated(item: pytest.Item) -> Iterator[None]:
    """Disable traces, and block the network unless the test may use it. Nested blocks change nothing."""
    test = running(item)
    if test.isolated:
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(without_traces())
        if not _may_use_network(item):
            test.refused = stack.enter_context(network_guard().closed())
        test.isolated = True
        yield
    test.isolated = False


def _may_use_network(item: pytest.Item) -> bool:
    records = record_mode(item) != "none" and "conversation_cassette" in getattr(item, "fixturenames", ())
    return is_live(item) or records or item.get_closest_marker("conversation_network") is not None


_STAND_IN_KEY = "sk-stand-in"
"""The API key of programs that use the emulator or a cassette."""

_OTHER_SETTINGS = (
    "OPENAI_ADMIN_KEY",
    "OPENAI_CUSTOM_HEADERS",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "OPENAI_WEBSOCKET_BASE_URL",
)
"""Other variables that openai reads, and would send to the emulator."""

_TRACING = "agents.tracing.setup"

_PROVIDER = "agents.models.openai_provider"

_SHARED = "agents.models._openai_shared"


@contextmanager
def stand_in_credentials(base_url: str | None) -> Iterator[None]:
    """Set the environment so that clients made inside the block use a placeholder key and no loopback proxy.

    Args:
        base_url: Their base URL; None leaves it unchanged.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in _OTHER_SETTINGS:
            patch.delenv(name, raising=False)
        patch.setenv("OPENAI_API_KEY", _STAND_IN_KEY)
        if base_url is not None:
            patch.setenv("OPENAI_BASE_URL", base_url)
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost,::1")
        yield


@contextmanager
def without_traces() -> Iterator[None]:
    """Disable the traces of the Agents SDK inside the block.

    It would send them to OpenAI from a thread, with any key that it finds.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
        # Its provider reads the variable once; the next trace makes a new provider.
        _unset(patch, _TRACING, "GLOBAL_TRACE_PROVIDER")
        known = _TRACING in sys.modules
        yield
        if not known and _TRACING in sys.modules:
            vars(sys.modules[_TRACING])["GLOBAL_TRACE_PROVIDER"] = None


@contextmanager
def fresh_agents_sdk(*, forget_defaults: bool) -> Iterator[None]:
    """Replace the HTTP client of the Agents SDK, if it is installed, inside the block.

    The one its clients share has connections that belong to closed event loops.

    Args:
        forget_defaults: Whether to unset the default client and key inside the block.
    """
    with suppress(importlib.metadata.PackageNotFoundError, ImportError):
        importlib.metadata.version("openai-agents")
        importlib.import_module(_PROVIDER)
    if _PROVIDER not in sys.modules:
        yield
        return
    from openai import DefaultAsyncHttpxClient  # noqa: PLC0415 -- loaded by tests that use it

    from openai_sessions.testing._clients import Connections  # noqa: PLC0415 -- loads asyncio

    http_client = DefaultAsyncHttpxClient()
    connections = Connections(http_client)
    with pytest.MonkeyPatch.context() as patch:
        if forget_defaults:
            _unset(patch, _SHARED, "_default_openai_client")
            _unset(patch, _SHARED, "_default_openai_key")
        patch.setattr(sys.modules[_PROVIDER], "_http_client", http_client, raising=False)
        yield
    connections.close()


def _unset(patch: pytest.MonkeyPatch, module: str, name: str) -> None:
    if module in sys.modules:
        patch.setattr(sys.modules[module], name, None, raising=False)


_REMEDY = (
    "but the network is closed to this test except for loopback. For a program that makes its own "
    "clients, use the fixture openai_environment; to allow network access, mark the test with "
    "@pytest.mark.conversation_network."
)


class NetworkGuard:
    """Blocks connections and name lookups that leave this machine, for the whole process.

    Unix sockets, loopback, unspecified addresses and the name of this machine are allowed. Subprocesses are
    not covered, nor libraries that open sockets in C, such as uvloop, grpcio and libpq.
    """

    def __init__(self) -> None:
        self._refused: list[str] | None = None

    @contextmanager
    def closed(self) -> Iterator[list[str]]:
        """Block the network inside the `with` block, and yield the list of blocked destinations.

        A blocked call raises the exception of `pytest.fail`, which no program mistakes for a failed
        connection and retries.
        """
        outer, self._refused = self._refused, []
        try:
            yield self._refused
        finally:
            self._refused = outer

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raise if the network is blocked and the event leaves this machine.

        https://docs.python.org/3/library/audit_events.html
        """
        __tracebackhide__ = True
        if self._refused is None or event not in _DESTINATIONS:
            return
        destination = _DESTINATIONS[event](*arguments)
        if destination is not None:
            self._refused.append(destination)
            if event == "socket.connect":
                arguments[0].close()  # callers close it only after an OSError
            raise pytest.fail.Exception(refusal([destination]))


def refusal(destinations: list[str]) -> str:
    """Return the failure message for blocked destinations."""
    return f"The test tried to reach {', '.join(dict.fromkeys(destinations))}, {_REMEDY}"


_guards: list[NetworkGuard] = []
"""The guard of this process, once it is needed: an audit hook cannot be removed."""


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
"""The destination of each audit event; None if it stays on this machine."""


def _is_local(host: Any) -> bool:
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    name = _text(host).rstrip(".").lower()
    return name in ("", "localhost", socket.gethostname().lower()) or name.endswith(".localhost")


def _address(host: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that a host is written as; None for a name."""
    try:
        address = ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _text(host: Any) -> str:
    return bytes(host).decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host or "")


def _with_port(host: Any, port: Any) -> str:
    return f"{_text(host)}:{_text(port)}" if port else _text(host)


_MOST_REQUESTS = 50
"""The number of latest requests that a report shows."""


def report_sections(test: RunningTest) -> Iterator[tuple[str, str]]:
    """Yield the titles and texts to add to the report of a failed test."""
    if test.refused:
        yield "Blocked network destinations", "\n".join(test.refused)
    if test.emulator is not None:
        yield "Requests to the emulator", "\n".join(_request_lines(test.emulator.requests))


def unused(replies: int) -> str:
    """Return the failure message for scripted replies that were not used."""
    return (
        f"The test passed, but {replies} scripted replies of the model were not used. Remove them, set "
        "times=None, or call conversations.clear_replies()."
    )


def _request_lines(requests: tuple[EmulatedRequest, ...]) -> Iterator[str]:
    """Yield a line for each request, without body, query and headers."""
    if not requests:
        yield "none"
    if len(requests) > _MOST_REQUESTS:
        yield f"... {len(requests) - _MOST_REQUESTS} earlier requests"
    for request in requests[-_MOST_REQUESTS:]:
        answer = "no response" if request.status is None else request.status
        yield f"{request.method} {request.path} {answer}" + (f" ({request.fault})" if request.fault else "")
