"""A cassette recorded with one HTTP library is replayed with the other."""

import os
import subprocess
import sys

import pytest

from openai_sessions.testing.cassettes import CassetteMissError, use_cassette
from tests import programs
from tests.cassettes.exchanges import KEY, NOWHERE
from tests.wire import HTTP_FAMILY

OTHER_FAMILY = "httpx" if HTTP_FAMILY.__name__ == "httpx2" else "httpx2"

AUTHORIZED = {"authorization": f"Bearer {KEY}"}


def other_family():
    return pytest.importorskip(
        OTHER_FAMILY, reason=f"{OTHER_FAMILY} is not installed beside {HTTP_FAMILY.__name__}"
    )


def flow(http, url):
    """Create a conversation with an HTTP library itself, and read it."""
    with http.Client(verify=False, headers=AUTHORIZED) as client:
        made = client.post(f"{url}/conversations", json={"metadata": {"a": "b"}}).json()
        return made, client.get(f"{url}/conversations/{made['id']}").json()


async def async_flow(http, url):
    async with http.AsyncClient(verify=False, headers=AUTHORIZED) as client:
        made = (await client.post(f"{url}/conversations", json={"metadata": {"a": "b"}})).json()
        return made, (await client.get(f"{url}/conversations/{made['id']}")).json()


@pytest.mark.parametrize("is_here", [True, False], ids=["recorded here", "recorded there"])
async def test_httpx_and_httpx2_play_each_others_cassettes(is_here, served, path):
    families = (HTTP_FAMILY, other_family()) if is_here else (other_family(), HTTP_FAMILY)
    with use_cassette(path):
        recorded = flow(families[0], served.url)
    with use_cassette(path):
        assert flow(families[1], NOWHERE) == recorded
    async with use_cassette(path):
        assert await async_flow(families[1], NOWHERE) == recorded
    assert len(served.requests) == 2


def test_unrecorded_request_of_the_other_family_is_refused(served, path):
    with pytest.raises(CassetteMissError), use_cassette(path, record_mode="none"):
        flow(other_family(), served.url)
    assert len(served.requests) == 0


@pytest.mark.exhaustive
def test_cassette_is_played_by_another_version_of_openai(served, path):
    """The other one is that of the Python which the variable OTHER_PYTHON names, or this one again."""
    other = os.environ.get("OTHER_PYTHON", sys.executable)
    for recorder, player in ((sys.executable, other), (other, sys.executable)):
        recorded = cross(recorder, path, served.url)
        assert recorded == cross(player, path)
    assert "Hi there!" in recorded


def cross(python, path, *url):
    words = ["-m", "tests.cassettes.crossing", str(path), *url]
    if python == sys.executable:
        return programs.run(*words, env=os.environ).stdout
    command = [python, *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
