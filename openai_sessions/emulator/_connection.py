"""The connection of a served emulator, which can misbehave on purpose."""

from __future__ import annotations

import asyncio
import socket
import struct

from uvicorn.protocols.http.h11_impl import H11Protocol

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
