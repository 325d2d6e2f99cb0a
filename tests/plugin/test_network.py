"""The network is closed but for loopback, and what tries to leave is told of its remedy."""

import socket

import pytest

from openai_sessions.testing._isolation import NetworkGuard

INTERNET = socket.AF_INET


class FakeSocket:
    """What the audit events of sockets carry."""

    def __init__(self, family=INTERNET):
        self.family = family
        self.closed = False

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    ("event", "arguments", "destination"),
    [
        ("socket.connect", (FakeSocket(), ("192.0.2.1", 443)), "192.0.2.1:443"),
        ("socket.connect", (FakeSocket(socket.AF_INET6), ("2001:db8::1", 443, 0, 0)), "2001:db8::1:443"),
        ("socket.connect", (FakeSocket(socket.AF_INET6), ("::ffff:192.0.2.1", 80)), "::ffff:192.0.2.1:80"),
        ("socket.connect", (FakeSocket(), ("example.org", 443)), "example.org:443"),
        ("socket.sendto", (FakeSocket(), ("192.0.2.1", 53)), "192.0.2.1:53"),
        ("socket.sendmsg", (FakeSocket(), ("192.0.2.1", 53)), "192.0.2.1:53"),
        ("socket.getaddrinfo", (b"api.openai.com", 443, 0, 1, 0), "api.openai.com:443"),
        ("socket.getaddrinfo", ("api.openai.com", None, 0, 1, 0), "api.openai.com"),
        ("socket.getaddrinfo", ("localhost.example.org", "https", 0, 1, 0), "localhost.example.org:https"),
        ("socket.gethostbyname", ("example.org",), "example.org"),
        ("socket.gethostbyaddr", ("example.org",), "example.org"),
    ],
)
def test_what_leaves_this_machine_is_refused(event, arguments, destination):
    guard = NetworkGuard()
    with guard.closed() as refused:
        with pytest.raises(pytest.fail.Exception) as caught:
            guard.audit(event, arguments)
        assert [destination] == refused
    assert f"The test tried to reach {destination}, " in str(caught.value)
    assert "@pytest.mark.conversation_network" in str(caught.value)
    assert "openai_environment" in str(caught.value)


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (FakeSocket(), ("127.0.0.1", 80))),
        ("socket.connect", (FakeSocket(), ("127.8.9.10", 80))),
        ("socket.connect", (FakeSocket(), ("0.0.0.0", 80))),  # noqa: S104 -- of a connection
        ("socket.connect", (FakeSocket(), ("localhost", 80))),
        ("socket.connect", (FakeSocket(socket.AF_INET6), ("::1", 80, 0, 0))),
        ("socket.connect", (FakeSocket(socket.AF_INET6), ("::ffff:127.0.0.1", 80, 0, 0))),
        ("socket.connect", (FakeSocket(socket.AF_UNIX), "/run/server.sock")),
        ("socket.sendmsg", (FakeSocket(), None)),
        ("socket.getaddrinfo", (None, 80, 0, 1, 0)),
        ("socket.getaddrinfo", ("", 80, 0, 1, 0)),
        ("socket.getaddrinfo", ("LocalHost.", 80, 0, 1, 0)),
        ("socket.getaddrinfo", ("app.localhost", 80, 0, 1, 0)),
        ("socket.getaddrinfo", (socket.gethostname(), 80, 0, 1, 0)),
        ("socket.getaddrinfo", ("192.0.2.1", 80, 0, 1, 0)),
        ("socket.getaddrinfo", ("fe80::1%eth0", 80, 0, 1, 0)),
        ("socket.bind", (FakeSocket(), ("192.0.2.1", 80))),
        ("open", ("/etc/hosts", "r", 0)),
    ],
)
def test_what_stays_on_this_machine_is_let_through(event, arguments):
    guard = NetworkGuard()
    with guard.closed() as refused:
        guard.audit(event, arguments)
    assert refused == []


def test_socket_that_is_refused_is_closed():
    guard, opened = NetworkGuard(), FakeSocket()
    with guard.closed(), pytest.raises(pytest.fail.Exception):
        guard.audit("socket.connect", (opened, ("192.0.2.1", 443)))
    assert opened.closed


def test_network_is_open_before_and_after():
    guard = NetworkGuard()
    leaving = ("socket.connect", (FakeSocket(), ("192.0.2.1", 443)))
    guard.audit(*leaving)
    with guard.closed() as outer:
        with guard.closed() as inner, pytest.raises(pytest.fail.Exception):
            guard.audit(*leaving)
        with pytest.raises(pytest.fail.Exception):
            guard.audit(*leaving)
    guard.audit(*leaving)
    assert outer == inner == ["192.0.2.1:443"]


LEAVING = '''
import asyncio
import socket

import openai
import pytest
from openai_sessions import OpenAIConversationsSession

OUTSIDE = "192.0.2.1", 9  # reserved for documents: RFC 5737


def test_connection(conversations):
    socket.create_connection(OUTSIDE)


async def test_connection_of_asyncio(conversations):
    await asyncio.open_connection(*OUTSIDE)


async def test_name(conversations):
    await asyncio.get_running_loop().getaddrinfo("nowhere.example", 443)


async def test_openai(conversations):
    async with openai.AsyncOpenAI(api_key="sk-none", base_url="https://api.openai.com/v1") as client:
        await client.conversations.create()


async def test_session(conversations, monkeypatch):
    """It is not taken for a lost connection, which would be tried for two minutes."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    async with OpenAIConversationsSession() as session:
        await session.add_items([{"role": "user", "content": "Hello"}])


def test_swallowed(conversations):
    """A program that goes on without the network fails its test all the same."""
    try:
        socket.create_connection(OUTSIDE)
    except BaseException:
        pass


@pytest.fixture
def leaves():
    socket.create_connection(OUTSIDE)


def test_fixture(conversations, leaves):
    pass


def test_asked_for_by_name(request):
    request.getfixturevalue("conversations")
    socket.create_connection(OUTSIDE)
'''


def test_ways_out_are_closed(project):
    result = project.run_tests(LEAVING, "--tb=line", "--durations=0", "-vv")
    result.assert_outcomes(failed=7, errors=1)
    told = result.stdout.str()
    for destination in ("192.0.2.1:9", "nowhere.example:443", "api.openai.com:443"):
        assert f"The test tried to reach {destination}, but the network is closed" in told
    assert told.count("- Blocked network destinations -") == 8


OPEN = '''
import contextlib
import os
import socket
import tempfile

import pytest


def leave():
    """Connect without sending anything: the address is reserved for documents."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside, contextlib.suppress(OSError):
        outside.connect(("192.0.2.1", 9))


@pytest.mark.conversation_network
def test_marked(conversations):
    leave()


def test_without_the_plugin():
    leave()


async def test_loopback_and_unix_sockets(conversations):
    with tempfile.TemporaryDirectory() as folder:
        for family, address in (
            (socket.AF_INET, ("127.0.0.1", 0)),
            (socket.AF_UNIX, os.path.relpath(f"{folder}/socket")),
        ):
            with socket.socket(family) as server, socket.socket(family) as client:
                server.bind(address)
                server.listen()
                client.connect(server.getsockname())
    socket.create_server(("localhost", 0)).close()
'''


def test_network_is_open_to_others(project):
    project.run_tests(OPEN).assert_outcomes(passed=3)


def test_network_closed_to_all_tests(project):
    result = project.run_tests(OPEN, "-o", "conversations_block_network=true")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["E * The test tried to reach 192.0.2.1:9, *", "FAILED test_it.py::test_without_the_plugin *"]
    )


def test_marker_with_arguments_is_a_usage_error(project):
    text = "import pytest\n@pytest.mark.conversation_network('example.org')\ndef test_it():\n    pass\n"
    result = project.run_tests(text)
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines(["ERROR: *conversation_network('example.org'): it takes no arguments*"])
