"""The servers and clients that sessions are checked on."""

import pytest

from openai_sessions.emulator import Emulator
from tests.servers import client_of, smg_server


@pytest.fixture(scope="session")
def emulator_url():
    with Emulator() as emulator, emulator.serve() as base_url:
        yield base_url


@pytest.fixture(scope="session")
def smg_url():
    with smg_server() as base_url:
        yield base_url


@pytest.fixture
async def in_process(emulator):
    async with emulator.client() as client:
        yield client


@pytest.fixture
async def over_socket(emulator_url):
    async with client_of(emulator_url) as client:
        yield client


@pytest.fixture
async def to_smg(smg_url):
    async with client_of(smg_url) as client:
        yield client
