"""The session with no server: each flow on its cassette, under the HTTP library that is installed."""

import shutil
import socket
from urllib.parse import urlsplit

import pytest
import yaml

from openai_sessions.emulator import Emulator
from openai_sessions.testing.cassettes import CassetteMissError, UnusedExchangesError
from tests.recorded.files import contents
from tools.recording.flows import FLOWS
from tools.recording.recorder import FOLDER, replay

pytestmark = pytest.mark.block_network

BY_NAME = {flow.name: flow for flow in FLOWS}


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
async def test_flow_observes_what_it_must_on_its_cassette(flow):
    """Every exchange is used: one that is left, or one that is missing, raises."""
    assert flow.expected == await replay(flow, FOLDER / f"{flow.name}.yaml")


def test_network_is_blocked_here():
    """Loopback too: a server that runs is not reached."""
    with Emulator() as emulator, emulator.serve() as base_url:
        address = urlsplit(base_url)
        with socket.socket() as opened, pytest.raises(RuntimeError, match="Network is disabled"):
            opened.connect((address.hostname, address.port))


async def test_flow_that_makes_another_request_misses_it():
    """The fourth message of `append` is in no request of `resume`."""
    with pytest.raises(CassetteMissError):
        await replay(BY_NAME["append"], FOLDER / "resume.yaml")


async def test_flow_that_makes_fewer_requests_leaves_exchanges(tmp_path):
    path = shutil.copy(FOLDER / "read_250_items.yaml", tmp_path / "append.yaml")
    with pytest.raises((UnusedExchangesError, CassetteMissError)):
        await replay(BY_NAME["append"], path)


async def test_flow_observes_what_the_cassette_answers(tmp_path):
    """An answer that says something else is observed, and is not what the flow must observe."""
    changed = contents(FOLDER / "create.yaml")
    for each in changed["interactions"]:
        body = each["response"]["body"]
        body["string"] = body["string"].replace("first user", "another user")
    (tmp_path / "create.yaml").write_text(yaml.safe_dump(changed))
    observed = await replay(BY_NAME["create"], tmp_path / "create.yaml")
    assert {**BY_NAME["create"].expected, "metadata": {"user": "another user"}} == observed
