"""Fixtures of the core's tests: a session over the emulator, in process."""

from __future__ import annotations

import pytest

from openai_sessions import OpenAIConversationsSession


@pytest.fixture
def client(emulator):
    return emulator.client()


@pytest.fixture
def session(client):
    return OpenAIConversationsSession(openai_client=client)


@pytest.fixture
def wire(emulator):
    """Return a function that lists the requests so far as lines such as `POST /conversations`."""

    def requests() -> list[str]:
        return [f"{request.method} {request.path.removeprefix('/v1')}" for request in emulator.requests]

    return requests
