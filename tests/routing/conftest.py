"""Clients of the installed openai, and a server that they must not reach."""

import openai
import pytest

from tests.routing.recorder import recorder


@pytest.fixture
def server():
    with recorder() as noted:
        yield noted


@pytest.fixture
async def client():
    transport = openai.DefaultAsyncHttpxClient(verify=False)  # certificates take long to load
    async with openai.AsyncOpenAI(api_key="sk-router", http_client=transport, max_retries=0) as client:
        yield client


@pytest.fixture
def sync_client():
    transport = openai.DefaultHttpxClient(verify=False)
    with openai.OpenAI(api_key="sk-router", http_client=transport, max_retries=0) as client:
        yield client
