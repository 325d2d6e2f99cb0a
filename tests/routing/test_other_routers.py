"""A router of this library beside those of respx, and beside nobody."""

import subprocess
import sys

import httpx  # the one of respx, whichever openai uses
import pytest
import respx

import openai_sessions.testing
from openai_sessions.testing import respx_router
from tests.wire import HTTP_FAMILY


def weather():
    return httpx.get("https://weather.test/today").text


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_router_of_respx_answers_httpx_beside_it(sync_client, ours_first):
    routers = [respx_router(), respx.mock(base_url="https://weather.test")]
    ours, theirs = routers
    first, second = routers if ours_first else reversed(routers)
    with first, second:
        ours.post("/conversations").respond(json={"id": "conv_1"})
        theirs.get("/today").respond(text="Sunny.")

        assert (sync_client.conversations.create().id, weather()) == ("conv_1", "Sunny.")


async def test_a_router_of_respx_answers_an_async_client_of_openai_too(client):
    with respx.mock(base_url=str(client.base_url)) as theirs, respx_router():
        theirs.post("conversations").respond(json={"id": "conv_1"})

        assert (await client.conversations.create()).id == "conv_1"


def test_a_router_inside_another_adds_its_routes(sync_client):
    with respx_router() as outer, respx_router() as inner:
        outer.post("/conversations").respond(json={"id": "conv_1"})
        inner.get("/conversations/conv_1").respond(json={"id": "conv_1", "metadata": {}})

        assert sync_client.conversations.retrieve(sync_client.conversations.create().id).id == "conv_1"


def test_nothing_is_left_of_it():
    transports = (HTTP_FAMILY.HTTPTransport, HTTP_FAMILY.AsyncHTTPTransport)
    before = [dict(vars(transport)) for transport in transports]

    with respx_router(), respx_router():
        assert [dict(vars(transport)) for transport in transports] != before

    assert [dict(vars(transport)) for transport in transports] == before


def test_where_respx_is_missing_the_extra_is_named():
    program = (
        "import sys; sys.modules['respx'] = None\n"
        "from openai_sessions.testing import *\n"
        "try:\n    respx_router()\n"
        "except ModuleNotFoundError as error:\n    print(error.name, error, sep=' | ')"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout == (
        "respx | respx_router needs the package respx: pip install 'openai-sessions[testing]'\n"
    )


def test_names_are_imported_when_they_are_used():
    program = (
        "import sys, openai_sessions.testing as testing\n"
        "print(sorted({'respx', 'httpx', 'httpx2', 'openai', 'vcr'} & set(sys.modules)))\n"
        "print(testing.check_session.__name__, testing.respx_router.__name__, 'respx' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.splitlines() == ["[]", "check_session respx_router False"]


def test_every_name_is_there_and_documented():
    for name in openai_sessions.testing.__all__:
        assert name in dir(openai_sessions.testing)
        assert name == "CHECKS" or getattr(openai_sessions.testing, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'Session'"):
        _ = openai_sessions.testing.Session
