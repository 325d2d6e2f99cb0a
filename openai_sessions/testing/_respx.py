"""A respx router for the HTTP library under the installed openai."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import respx

_OPENAI = "https://api.openai.com/v1"


def respx_router(*, base_url: str = _OPENAI, assert_all_called: bool = True) -> respx.MockRouter:
    """Return a respx router that answers the requests of openai's clients, so that none goes out.

    It works as a context manager (`with` and `async with`) and as a decorator, with the routes, patterns
    and side effects of [respx](https://lundberg.github.io/respx/), whether openai runs on httpx or on
    httpx2. Clients made before it count too, sync and async. Requests and responses are those of respx,
    and so of httpx; a side effect that raises an error of httpx raises the one of openai's HTTP library.

    A request that no route matches is refused: it is answered at once by a 421 that says so, which neither
    openai nor a session sends again, and when the block ends `AllMockedAssertionError` names it, whatever
    the program made of that answer. Routes of `respx.mock` that are active at the same time match too.

    Only the default transports of the HTTP library are intercepted, those of all its users. A client with
    a transport of another kind, such as that of `Emulator.client()` or aiohttp's, is not, nor is a WebSocket.

    Args:
        base_url: What the URLs of routes are relative to: the `base_url` of the clients.
        assert_all_called: Whether a route that has answered no request is an error at the end of the block.
            A request that is cancelled while it waits for its answer does not count.

    Returns:
        The router. It intercepts nothing until it is entered, and nothing after it was left.

    Raises:
        ModuleNotFoundError: respx is not installed.
    """
    try:
        from openai_sessions.testing._transport_router import TransportRouter  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name != "respx":
            raise
        message = "respx_router needs the package respx: pip install 'openai-sessions[testing]'"
        raise ModuleNotFoundError(message, name="respx") from error
    return TransportRouter(base_url=base_url, assert_all_called=assert_all_called)
