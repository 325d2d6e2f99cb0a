"""The servers that cassettes are recorded from."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import openai
import pytest

import openai_sessions
from openai_sessions.emulator import Emulator
from tests.servers import find_smg, smg_server

if TYPE_CHECKING:
    from tools.recording.flows import Flow

LOCAL_KEY = "sk-recorded-from-this-machine"
"""The API key for the servers on loopback, which accept any."""

_ONE_CONNECTION: Any = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=1)
"""Concurrent requests of a session are then served, and recorded, in the order in which they were sent."""


class RecordingError(Exception):
    """Nothing was recorded; the message, for the user of the program, says why and what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        name: Its name in the metadata of a cassette.
        version: Its version there.
        base_url: Its base URL, on loopback.
    """

    name: str
    version: str
    base_url: str

    def client(self) -> openai.AsyncOpenAI:
        """Return a new client that sends one request at a time."""
        return local_client(self.base_url)


def local_client(base_url: str) -> openai.AsyncOpenAI:
    """Return a client for plain HTTP without a proxy, which does not load certificates."""
    http_client = openai.DefaultAsyncHttpxClient(limits=_ONE_CONNECTION, trust_env=False, verify=False)
    return openai.AsyncOpenAI(base_url=base_url, api_key=LOCAL_KEY, http_client=http_client)


Target = Callable[["Flow"], AbstractContextManager[Server]]
"""Provides the server that a flow is recorded from, inside a `with` block."""


def server_of(flow: Flow) -> AbstractContextManager[Server]:
    """Run the server that the flow names, with its faults."""
    return _smg() if flow.server == "smg" else emulator(flow)


@contextmanager
def emulator(flow: Flow) -> Iterator[Server]:
    """Serve a new emulator with the faults of the flow."""
    with Emulator() as emulator, emulator.serve() as base_url:
        for planned in flow.faults:
            emulator.inject(planned.fault, operation=planned.operation, times=planned.times)
        yield Server("openai_sessions.emulator", openai_sessions.__version__, base_url)


@contextmanager
def _smg() -> Iterator[Server]:
    told = subprocess.run([smg_program(), "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - smg
    with smg_server() as base_url:
        yield Server("smg", told.stdout.split()[-1], base_url)


def smg_program(find: Callable[[], str] = find_smg) -> str:
    """Return the path of smg.

    Raises:
        RecordingError: It is not installed.
    """
    try:
        return find()
    except pytest.skip.Exception as missing:
        raise RecordingError(f"{missing}. The extra [dev] names the version to install.") from None
