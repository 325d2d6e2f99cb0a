"""Serving an ASGI application on a socket from a background thread."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from openai_sessions.emulator._connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

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
