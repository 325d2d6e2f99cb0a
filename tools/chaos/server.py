"""An emulator in a process of its own, which fails on purpose."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio

from openai_sessions.emulator import FAULT_KINDS, Emulator, Fault

LATE = 0.02
"""Seconds from a cut to its late commit."""

FAULTS = (
    *(Fault(kind) for kind in FAULT_KINDS if kind not in {"late_commit", "quota"}),
    Fault("late_commit", delay=LATE),
    Fault("throttled", retry_after=0.01),
)
"""All but the exhausted quota, which must come out as an error."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the server has seen it.

    Attributes:
        number: The operation that it belongs to.
        operation: What it asks for, such as "list_items".
        met: The fault that it met, the status of an error, or nothing.
    """

    number: int
    operation: str
    met: str


class Server:
    """An emulator in a process of its own, told what to do over a pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.base_url = self._pipe.recv()

    def ask(self, command: str, *arguments: Any) -> Any:
        """Have a command of `_commands` carried out and return its result."""
        self._pipe.send((command, arguments))
        return self._pipe.recv()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()
        self._process.close()


def _serve(pipe: Any) -> None:
    with Emulator() as emulator, emulator.serve() as base_url:
        pipe.send(base_url)
        commands = _commands(emulator)
        while True:
            try:
                command, arguments = pipe.recv()
            except EOFError:
                return
            pipe.send(commands[command](*arguments))


def _commands(emulator: Emulator) -> dict[str, Callable[..., Any]]:
    def storm(rate: float, seed: int) -> None:
        emulator.inject_at_random(rate, seed=seed, faults=FAULTS)

    def calm() -> None:
        emulator.clear_faults()
        anyio.run(emulator.late_commits)

    def requests() -> list[Request]:
        seen = emulator.requests
        emulator.forget_requests()
        return [
            Request(
                int(number),
                request.operation or request.path,
                request.fault or (str(request.status) if request.status != 200 else ""),
            )
            for request in seen
            for number in request.query.get("operation", ())
        ]

    return {"storm": storm, "calm": calm, "requests": requests}
