"""Worker processes as tests see them."""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.examples.stand_in import ROOT, environment

SECONDS = 20
"""How long a process may take to answer an order."""

FAST = {"attempts": 12, "initial_wait": 0.001, "max_wait": 0.004, "settle_after": 0.002}
"""A policy whose waits do not hold up a test, and that does not give up under random faults."""


@dataclass(frozen=True)
class Setting:
    """How workers make their sessions.

    Attributes:
        base_url: Of the server.
        conversation_id: The conversation.
        redis_url: Of the Redis server that they lock with, or None.
        lock: Options of `redis_lock`.
        policy: Options of their `RetryPolicy`.
    """

    base_url: str
    conversation_id: str
    redis_url: str | None = None
    lock: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=lambda: FAST)


class Worker:
    """A process that runs `tests.processes.worker`."""

    def __init__(self):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the process ends
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.processes.worker"],
            cwd=ROOT,
            env=environment("http://127.0.0.1:9/v1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    @property
    def is_alive(self):
        return self._process.poll() is None

    def order(self, action, **arguments):
        """Give an order; go on without its answer."""
        self._process.stdin.write(json.dumps({"do": action, **arguments}) + "\n")
        self._process.stdin.flush()

    def answer(self):
        """Return the answer to the oldest order that has none; end a process that does not give it."""
        watchdog = threading.Timer(SECONDS, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            self._process.wait()
        if complaints := self.complaints():
            raise RuntimeError(f"the worker complains:\n{complaints}")
        assert line, f"the worker ended with {self._process.returncode}"
        return json.loads(line)

    def do(self, action, **arguments):
        self.order(action, **arguments)
        return self.answer()

    def complaints(self):
        """Return what the process has written to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def die(self):
        """End the process with SIGKILL, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


class Staff:
    """Processes that work for one test after another, as their start takes most of a second."""

    def __init__(self):
        self._idle = []

    @contextlib.contextmanager
    def workers(self, number, setting):
        """Have a number of workers inside the block, each with a session that is closed at its end."""
        with contextlib.ExitStack() as stack:
            hired = [self._hire(stack) for _ in range(number)]
            all_do(hired, "open", **asdict(setting))
            yield hired
            staying = [worker for worker in hired if worker.is_alive]
            all_do(staying, "close")
            stack.pop_all()
            self._idle += staying

    def _hire(self, stack):
        """Return a worker who dies unless the stack is emptied."""
        worker = self._idle.pop() if self._idle else Worker()
        stack.callback(worker.die)
        return worker

    def dismiss(self):
        for worker in self._idle:
            worker.die()


def all_do(workers, action, **arguments):
    """Give all the same order at once; return their answers."""
    for worker in workers:
        worker.order(action, **arguments)
    return [worker.answer() for worker in workers]


def user(text):
    return {"role": "user", "content": text}


def batch(name, number, size=25):
    """Return the items of one write, each of which says whose it is."""
    return [user(f"{name} {number} {position}") for position in range(size)]
