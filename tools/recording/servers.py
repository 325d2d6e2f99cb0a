"""The servers that exchanges are recorded from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import openai
import pytest

import openai_sessions
from openai_sessions.emulator import Emulator
from tests.servers import find_smg, smg_server
from tools.recording.errors import RecordingError

if TYPE_CHECKING:
    from tools.recording.flows import Flow

LOCAL_KEY = "sk-recorded-from-this-machine"
"""What the servers of this machine are sent; they take any key."""

_ONE_CONNECTION: Any = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=1)
"""Requests that a session makes at once are then served, and recorded, in the order of their making."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        name: What it is.
        version: Which version of it.
        base_url: Where it is.
        is_local: Whether it goes away with all it holds, and is reached without a proxy.
    """

    name: str
    version: str
    base_url: str
    is_local: bool = True

    def client(self) -> openai.AsyncOpenAI:
        """Return a new client that makes one request after the other."""
        if self.is_local:
            return local_client(self.base_url)
        http_client = openai.DefaultAsyncHttpxClient(limits=_ONE_CONNECTION)
        return openai.AsyncOpenAI(base_url=self.base_url, http_client=http_client)


def local_client(base_url: str) -> openai.AsyncOpenAI:
    """Return a client for plain HTTP, without a proxy: it spares the loading of certificates."""
    http_client = openai.DefaultAsyncHttpxClient(limits=_ONE_CONNECTION, trust_env=False, verify=False)
    return openai.AsyncOpenAI(base_url=base_url, api_key=LOCAL_KEY, http_client=http_client)


Target = Callable[["Flow"], AbstractContextManager[Server]]
"""Gives the server that a flow is recorded from, inside a `with` block."""


def offline(flow: Flow) -> AbstractContextManager[Server]:
    """Run the server that the flow names, with the faults of the flow."""
    return _smg() if flow.server == "smg" else emulator(flow)


@contextmanager
def emulator(flow: Flow) -> Iterator[Server]:
    """Serve a new emulator, with the faults of the flow."""
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
        raise RecordingError(f"{missing}. The dependency group dev pins its version.") from None


async def live() -> Target:
    """Reach OpenAI, or what OPENAI_BASE_URL names, with OPENAI_API_KEY: once, to see that the key is good.

    Returns:
        The same server for every flow.

    Raises:
        RecordingError: There is no key, the service refuses it, or it cannot be reached.
    """
    if not os.environ.get("OPENAI_API_KEY", "").strip():
        raise RecordingError("Recording from the real service needs an API key: set OPENAI_API_KEY.")
    async with openai.AsyncOpenAI(max_retries=0) as client:
        try:
            created = await client.conversations.with_raw_response.create()
            await client.conversations.delete(created.parse().id)
        except openai.APIStatusError as error:
            raise RecordingError(f"{client.base_url.host} refuses: {error.status_code}.") from None
        except openai.APIConnectionError:
            raise RecordingError(f"{client.base_url.host} cannot be reached.") from None
        version = created.headers.get("openai-version", "not told")
        server = Server(client.base_url.host, version, str(client.base_url), is_local=False)
    return lambda _: nullcontext(server)
