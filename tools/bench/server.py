"""The emulator in a process of its own, on a socket, as far away as it is told to be."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai_sessions.emulator import Emulator
from tools.bench.delayed import ADMIN_PATH, Delayed, Exchange

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Noted:
    """What the server noted since it was last asked; `cpu` in seconds since its process began."""

    exchanges: tuple[Exchange, ...]
    cpu: float


class Server:
    """A delayed emulator in a second process, which ends when its standard input does."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.bench.server"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.base_url = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not self.base_url:
            raise RuntimeError(f"the server has ended with {self._process.wait()}")

    def delay(self, seconds: float) -> Noted:
        """Let each request wait so long from now on; return what was noted until now."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.base_url).netloc, timeout=60)
        try:
            connection.request("POST", ADMIN_PATH, json.dumps({"delay": seconds}))
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return Noted(tuple(Exchange(**each) for each in answer["exchanges"]), answer["cpu"])

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class _DelayedEmulator(Emulator):
    """An emulator that forgets each request once it is answered, and waits before it answers."""

    def __init__(self) -> None:
        super().__init__()
        self._delayed = Delayed(super().__call__)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._delayed(scope, receive, send)
        self.forget_requests()


def main() -> None:
    """Serve until standard input ends; print the base URL first."""
    with _DelayedEmulator() as emulator, emulator.serve() as base_url:
        print(base_url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
