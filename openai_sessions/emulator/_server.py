"""Two ways to reach the emulator: a client in process, and a uvicorn server on a socket."""

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

STOP_SECONDS = 1
"""How long requests in flight may take when the server stops."""

_STOPPED_AFTER = 15.0
"""Seconds to wait for the end of a server's thread: one that does not end must not hold up its caller."""

KEEP_ALIVE_SECONDS = 60
"""How long a connection may be idle. Clients close idle connections earlier, so no request meets a close."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def in_process_client(app: Any, *, api_key: str) -> openai.AsyncOpenAI:
    """Return a client that calls the ASGI application without a socket."""
    http_client = openai.DefaultAsyncHttpxClient(transport=http_family().ASGITransport(app=app))
    return openai.AsyncOpenAI(api_key=api_key, base_url=IN_PROCESS_URL, http_client=http_client)


def http_family() -> Any:
    """Return the HTTP library that openai uses, httpx or httpx2: both may be installed."""
    return importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.split(".")[0])


@contextmanager
def serving(app: Any, *, host: str, port: int) -> Iterator[str]:
    """Serve the ASGI application in a thread inside the block, and yield the base URL, which ends in `/v1`.

    Raises:
        OSError: The address or port cannot be bound; the message names both.
    """
    # The socket accepts connections before the thread runs, so that early requests wait.
    with listening(host, port) as listener:
        server = server_of(app)
        thread = threading.Thread(target=server.run, args=([listener],), name="emulator", daemon=True)
        url = _base_url(listener, host=host)
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join(_STOPPED_AFTER)


def listening(host: str, port: int) -> socket.socket:
    """Return a listening socket, which the caller closes.

    Raises:
        OSError: The address or port cannot be bound; the message names both.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # asyncio sets this only on sockets with an explicit protocol number, which create_server does not give.
    # Without it a response waits some 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def server_of(app: Any) -> uvicorn.Server:
    """Return a server whose connections the faults can break; call its `run` with listening sockets."""
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


class Connection(H11Protocol):
    """An HTTP/1.1 connection that the application can break: `connection` in the state of its requests."""

    _stalled = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Add the connection to the state of its requests."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "connection": self}

    def reset(self) -> None:
        """Close immediately with a TCP reset."""
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
        )
        self.transport.abort()

    def stall(self) -> None:
        """Keep the connection open until the client disconnects or the server stops."""
        self._stalled = True

    def close(self) -> None:
        """Close once the written data has been sent."""
        self.transport.close()

    def shutdown(self) -> None:
        """Stop with the server: wait for a request in flight, but not for a stalled one."""
        super().shutdown()
        if self._stalled:
            self.transport.abort()
