"""A server that stops answering at its n-th request, as if the process of the caller had ended there."""

import asyncio
import contextlib

from openai_sessions._conversation import shielding as _owned


class DeafApp:
    """Answer the first requests, then none: the n-th and later ones wait for ever.

    Args:
        app: The ASGI application behind it.
        deaf_from: The number of the first request without an answer, from 1.
        served: Whether the application still serves that request, with the answer lost.

    Attributes:
        reached: Set once that request has come.
    """

    def __init__(self, app, *, deaf_from, served):
        self._app = app
        self._deaf_from = deaf_from
        self._served = served
        self._count = 0
        self.reached = asyncio.Event()

    async def __call__(self, scope, receive, send):
        self._count += 1
        if self._count < self._deaf_from:
            await self._app(scope, receive, send)
            return
        if self._count == self._deaf_from and self._served:
            await self._app(scope, receive, _nowhere)
        self.reached.set()
        await asyncio.Event().wait()


async def _nowhere(message):
    """Lose a part of an answer."""


async def crashes(operation, app):
    """Run the operation until the app goes deaf, and end it there, as the end of its process would.

    Returns:
        Whether the app went deaf; False when the operation came to its end.
    """
    running, reached = asyncio.ensure_future(operation), asyncio.ensure_future(app.reached.wait())
    await asyncio.wait({running, reached}, return_when=asyncio.FIRST_COMPLETED)
    crashed = not running.done()
    for task in (*_owned._running, running, reached):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return crashed
