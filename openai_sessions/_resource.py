"""What a session is as an object: a context manager, closed by someone, never copied."""

from __future__ import annotations

import warnings
from typing import NoReturn

from openai_sessions._clients import Clients
from openai_sessions._closing import AsyncCloseable


class Resource(AsyncCloseable):
    """Something that may hold clients of its own until `aclose()`."""

    _clients: Clients

    async def aclose(self) -> None:
        """Close the clients that were opened."""
        await self._clients.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied. Keep `session.conversation_id` and make "
            "a new session with conversation_id= where it is needed."
        )

    def __del__(self) -> None:
        clients = getattr(self, "_clients", None)
        if clients is not None and clients.unclosed:
            warnings.warn(
                f"{self!r} was not closed: call `await session.aclose()`, or use `async with`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
