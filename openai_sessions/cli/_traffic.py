"""The application that `serve` runs: the emulator, and the page beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from openai_sessions.cli._recent import RecentRequests

PAGE_FOLDER = "/page/"


class Traffic:
    """Give people the page, and programs the emulator.

    Args:
        emulator: Answers everything but `/` and what is below `/page/`.
        page: Answers these.
        recent: Collects what the emulator has met.
        delay: Seconds that each request of a program waits before the emulator has it.
        sleep: Waits for the delay.
    """

    def __init__(
        self,
        emulator: ASGIApp,
        page: ASGIApp,
        *,
        recent: RecentRequests,
        delay: float = 0,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._emulator = emulator
        self._page = page
        self._recent = recent
        self._delay = delay
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] == "/" or scope["path"].startswith(PAGE_FOLDER):
            self._recent.collect()
            await self._page(scope, receive, send)
            return
        if self._delay:
            await self._sleep(self._delay)
        try:
            await self._emulator(scope, receive, send)
        finally:
            self._recent.collect()
