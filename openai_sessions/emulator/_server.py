"""Ways to reach the emulator: in process, and on a socket."""

from __future__ import annotations

import asyncio
import importlib
import socket
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import openai
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


IN_PROCESS_URL = "http://emulator/v1"


def http_family() -> Any:
    """Return the HTTP library under the installed openai: several may be installed."""
    return importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.split(".")[0])


def in_process_client(app: Any, *, api_key: str) -> openai.AsyncOpenAI:
    """Return a client whose requests go to the ASGI application without a socket."""
    http_client = openai.DefaultAsyncHttpxClient(transport=http_family().ASGITransport(app=app))
    return openai.AsyncOpenAI(api_key=api_key, base_url=IN_PROCESS_URL, http_client=http_client)


_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(H11Protocol):
    """One connection; the application finds it in the state of its requests as `connection`."""

    _stalled = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the application a way to this connection."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "connection": self}

    def reset(self) -> None:
        """Close at once with a TCP reset."""
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
        )
        self.transport.abort()

    def stall(self) -> None:
        """Keep the connection until the client leaves or the server stops."""
        self._stalled = True

    def end(self) -> None:
        """Close in good order once all that was written has gone out."""
        self.transport.close()

    def shutdown(self) -> None:
        """Stop with the server: requests in flight may end, a stalled one would never."""
        super().shutdown()
        if self._stalled:
            self.transport.abort()


STOP_SECONDS = 1
"""How long requests in flight may take when the server stops."""

KEEP_ALIVE_SECONDS = 60
"""How long a connection may idle: longer than a client keeps it, or its next request may be cut."""


@contextmanager
def serving(app: Any, *, host: str, port: int) -> Iterator[str]:
    """Serve the application inside the block; give the base URL, which ends in `/v1`.

    Args:
        app: The ASGI application.
        host: The address to bind.
        port: The port to bind; 0 takes a free one.

    Raises:
        OSError: The address or port cannot be bound: it names both.
    """
    # The socket listens from here on, so that requests wait for the thread to come up.
    with listening(host, port) as listener:
        server = server_of(app)
        thread = threading.Thread(target=server.run, args=([listener],), name="emulator", daemon=True)
        url = _base_url(listener, host=host)
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address, to be closed by the caller.

    Raises:
        OSError: The address or port cannot be bound: it names both.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # asyncio sets this on sockets that name their protocol, which those made here do not; without
    # it an answer waits some 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def server_of(app: Any) -> uvicorn.Server:
    """Return a server of the application that makes faults real; `run` it with the sockets it has."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    return uvicorn.Server(config)


def _base_url(listener: socket.socket, *, host: str) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return f"http://{bracketed}:{listener.getsockname()[1]}/v1"
