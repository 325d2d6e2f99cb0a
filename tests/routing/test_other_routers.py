"""A router of this library with routers of respx, and alone."""

import importlib
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


def test_a_router_inside_another_adds_its_routes(sync_client):
    with respx_router() as outer, respx_router() as inner:
        outer.post("/conversations").respond(json={"id": "conv_1"})
        inner.get("/conversations/conv_1").respond(json={"id": "conv_1", "metadata": {}})

        assert sync_client.conversations.retrieve(sync_client.conversations.create().id).id == "conv_1"


def test_nothing_is_left_of_it():
    core = importlib.import_module(HTTP_FAMILY.__name__.replace("httpx", "httpcore"))
    before = [dict(vars(pool)) for pool in (core.ConnectionPool, core.AsyncConnectionPool)]

    with respx_router(), respx_router():
        assert [dict(vars(pool)) for pool in (core.ConnectionPool, core.AsyncConnectionPool)] != before

    assert [dict(vars(pool)) for pool in (core.ConnectionPool, core.AsyncConnectionPool)] == before


@pytest.mark.exhaustive
def test_missing_respx_is_reported_with_the_extra():
    program = (
        "import sys; sys.modules['respx'] = None\n"
        "try:\n    from openai_sessions.testing import respx_router\n"
        "except ImportError as error:\n    print(error.name, error, sep=' | ')"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout == ("respx | respx_router needs respx: pip install 'openai-sessions[testing]'\n")


def test_names_are_imported_when_they_are_used():
    program = (
        "import sys, openai_sessions.testing as testing\n"
        "print(sorted({'respx', 'httpx', 'httpx2', 'openai', 'vcr'} & set(sys.modules)))\n"
        "print(testing.check_session.__name__, 'respx' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.splitlines() == ["[]", "check_session False"]


def test_every_name_is_there_and_documented():
    for name in openai_sessions.testing.__all__:
        assert name in dir(openai_sessions.testing)
        assert name == "CHECKS" or getattr(openai_sessions.testing, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'Session'"):
        _ = openai_sessions.testing.Session
