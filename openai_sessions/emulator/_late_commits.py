"""Writes that are done after their request has been given up."""

from __future__ import annotations

import threading
from collections.abc import Callable


class LateCommits:
    """Run writes later, each in a thread of its own: event loops may end before."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._pending: list[threading.Timer] = []

    def schedule(self, commit: Callable[[], object], *, delay: float) -> None:
        """Call `commit` after `delay` seconds."""
        timer = threading.Timer(delay, commit)
        with self._mutex:
            self._pending = [pending for pending in self._pending if pending.is_alive()]
            self._pending.append(timer)
            timer.start()

    def wait(self) -> None:
        """Wait until all that were scheduled are done."""
        with self._mutex:
            pending = tuple(self._pending)
        for timer in pending:
            timer.join()
