"""A client wired to an ASGI application in process, over the HTTP family that the installed openai uses."""

from __future__ import annotations

import importlib
from typing import Any

import openai

IN_PROCESS_URL = "http://emulator/v1"


def http_family() -> Any:
    """Return the HTTP library under the installed openai: several may be installed."""
    return importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.split(".")[0])


def in_process_client(app: Any, *, api_key: str) -> openai.AsyncOpenAI:
    """Return a client whose requests go to the ASGI application without a socket."""
    http_client = openai.DefaultAsyncHttpxClient(transport=http_family().ASGITransport(app=app))
    return openai.AsyncOpenAI(api_key=api_key, base_url=IN_PROCESS_URL, http_client=http_client)
