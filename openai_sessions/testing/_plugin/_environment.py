"""What programs read that make their own clients: environment variables, and the state of the Agents SDK."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

_STAND_IN_KEY = "sk-stand-in"
"""The key of programs that talk to the emulator or to a cassette."""

_OTHER_SETTINGS = (
    "OPENAI_ADMIN_KEY",
    "OPENAI_CUSTOM_HEADERS",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "OPENAI_WEBSOCKET_BASE_URL",
)
"""What openai reads besides the key and the base URL, and would send to a stand-in."""

_TRACING = "agents.tracing.setup"
_PROVIDER = "agents.models.openai_provider"
_SHARED = "agents.models._openai_shared"


@contextmanager
def stand_in_credentials(base_url: str | None) -> Iterator[None]:
    """Let clients that are made inside the block talk to an address, with a key that is none.

    Args:
        base_url: The address; None leaves it as it is. Proxies are not asked for loopback.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in _OTHER_SETTINGS:
            patch.delenv(name, raising=False)
        patch.setenv("OPENAI_API_KEY", _STAND_IN_KEY)
        if base_url is not None:
            patch.setenv("OPENAI_BASE_URL", base_url)
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost,::1")
        yield


@contextmanager
def without_traces() -> Iterator[None]:
    """Let the Agents SDK send no traces inside the block.

    It would send them to OpenAI from a thread of its own, with any key that it finds.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
        # Its provider reads the variable once. A new one is made at the next trace.
        _unset(patch, _TRACING, "GLOBAL_TRACE_PROVIDER")
        known = _TRACING in sys.modules
        yield
        if not known and _TRACING in sys.modules:
            vars(sys.modules[_TRACING])["GLOBAL_TRACE_PROVIDER"] = None


@contextmanager
def fresh_agents_sdk(*, forget_defaults: bool) -> Iterator[None]:
    """Give the Agents SDK, where it is installed, an HTTP client of its own inside the block.

    The one that its clients share has connections of event loops that have ended.

    Args:
        forget_defaults: Whether the default client and key that a program has set are forgotten meanwhile.
    """
    with suppress(importlib.metadata.PackageNotFoundError, ImportError):
        importlib.metadata.version("openai-agents")
        importlib.import_module(_PROVIDER)
    if _PROVIDER not in sys.modules:
        yield
        return
    from openai import DefaultAsyncHttpxClient  # noqa: PLC0415 -- loaded by tests that use it

    from openai_sessions.testing._plugin._clients import Connections  # noqa: PLC0415 -- loads asyncio

    http_client = DefaultAsyncHttpxClient()
    connections = Connections(http_client)
    with pytest.MonkeyPatch.context() as patch:
        if forget_defaults:
            _unset(patch, _SHARED, "_default_openai_client")
            _unset(patch, _SHARED, "_default_openai_key")
        patch.setattr(sys.modules[_PROVIDER], "_http_client", http_client, raising=False)
        yield
    connections.close()


def _unset(patch: pytest.MonkeyPatch, module: str, name: str) -> None:
    if module in sys.modules:
        patch.setattr(sys.modules[module], name, None, raising=False)
