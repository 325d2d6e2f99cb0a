"""`openai-sessions serve`: a server in the foreground, and what it refuses."""

import http.client
import re
import signal
import socket
import time
from urllib.parse import urlsplit

import openai
import pytest
from typer.testing import CliRunner

from openai_sessions import OpenAIConversationsSession
from openai_sessions.cli._app import app
from tests.cli.command import serving

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is refused without a key
HELLO = {"role": "user", "content": "Hello"}


def end(process):
    """Press Ctrl-C; return the exit code and what was printed after the start."""
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=30)
    return process.returncode, printed + errors


async def stored_through(base_url, *, api_key="any", conversation_id=None):
    """Write one message to the server, and return the conversation's id and items."""
    async with openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
        session = OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client)
        await session.add_items([HELLO])
        return session.session_id, await session.get_items()


@pytest.mark.slow
async def test_serve_answers_until_ctrl_c():
    with serving() as (process, printed, base_url):
        _, items = await stored_through(base_url)
        code, rest = end(process)
    assert items == [HELLO]
    assert code == 0
    assert "Traceback" not in rest
    assert f"OPENAI_BASE_URL={base_url}" in printed
    assert "memory" in printed


@pytest.mark.slow
async def test_serve_prints_requests():
    with serving() as (process, _, base_url):
        conversation_id, _ = await stored_through(base_url)
        _, rest = end(process)
    assert rest.splitlines()[-3:] == [
        "200 POST   /v1/conversations",
        f"200 POST   /v1/conversations/{conversation_id}/items",
        f"200 GET    /v1/conversations/{conversation_id}/items",
    ]


@pytest.mark.slow
async def test_serve_prints_what_it_serves(tmp_path):
    with serving("--delay-ms", "1") as (_, printed, base_url):
        lines = printed.splitlines()
    assert lines[0] == "openai-sessions  emulator of the Conversations API"
    assert [re.split(r"  +", line.strip()) for line in lines[2:6]] == [
        ["API", base_url],
        ["Page", base_url.removesuffix("v1")],
        ["Storage memory"],
        ["Delay", "1 ms before each response"],
    ]


@pytest.mark.slow
def test_serve_shows_the_page_without_a_word():
    """What people look at is no request of a program."""
    with serving() as (process, _, base_url):
        status, page = read(base_url.removesuffix("v1"))
        _, rest = end(process)
    assert (status, "<title>Conversations</title>" in page, "GET" in rest) == (200, True, False)


@pytest.mark.slow
def test_serve_lets_each_answer_wait():
    with serving("--delay-ms", "300") as (_, _, base_url):
        started = time.monotonic()
        status, _ = read(f"{base_url}/conversations/conv_1")
        took = time.monotonic() - started
    assert (status, took >= 0.3) == (401, True)


def read(url):
    """Return the status and the text of an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", parts.path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.mark.slow
async def test_serve_with_a_file_keeps_conversations(tmp_path):
    database = tmp_path / "conversations.db"
    with serving("--db", str(database)) as (process, printed, base_url):
        conversation_id, _ = await stored_through(base_url)
        end(process)
    with serving("--db", str(database)) as (_, _, base_url):
        _, items = await stored_through(base_url, conversation_id=conversation_id)
    assert items == [HELLO, HELLO]
    assert str(database) in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--api-key", "sk-first", "--api-key", "sk-second"], {}),
        ([], {"OPENAI_SESSIONS_API_KEYS": "sk-first sk-second"}),
        (["--host", EVERYWHERE, "--api-key", "sk-first", "--api-key", "sk-second"], {}),
    ],
)
async def test_serve_accepts_the_keys_given_and_prints_none(arguments, variables):
    with serving(*arguments, **variables) as (process, printed, base_url):
        for key in ("sk-first", "sk-second"):
            _, items = await stored_through(base_url, api_key=key)
            assert items == [HELLO]
        with pytest.raises(openai.AuthenticationError):
            await stored_through(base_url, api_key="sk-third")
        _, rest = end(process)
    assert "sk-" not in printed + rest


@pytest.mark.slow
@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
async def test_serve_on_loopback_needs_no_key(host):
    if host == "::1" and not has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback")
    with serving("--host", host) as (_, _, base_url):
        _, items = await stored_through(base_url)
    assert items == [HELLO]


def has_ipv6_loopback():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [EVERYWHERE, "0", "", "::", "192.0.2.1", "::ffff:192.0.2.1", "::ffff:0.0.0.0"],
)
def test_serve_without_key_refuses_a_host_that_others_can_reach(host):
    refused = invoke("--host", host)
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"{host or 'An empty host'} can be reached from other machines: "
        "give --api-key, or set OPENAI_SESSIONS_API_KEYS.\n"
    )


@pytest.mark.parametrize("keys", [[""], ["sk-first", " "]])
def test_serve_refuses_an_empty_key(keys):
    refused = invoke(*(part for key in keys for part in ("--api-key", key)))
    assert (refused.exit_code, refused.stderr) == (2, "--api-key is empty: give a key.\n")


def test_serve_refuses_an_empty_variable_of_keys_on_a_public_host():
    refused = invoke("--host", EVERYWHERE, env={"OPENAI_SESSIONS_API_KEYS": " "})
    assert refused.exit_code == 2


def test_serve_refuses_a_host_that_is_no_address():
    refused = invoke("--host", "not a host")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "--host not a host has no address: give a name or address of this machine.\n",
    )


def test_serve_says_when_the_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = invoke("--port", str(port))
    assert refused.exit_code == 1
    assert refused.stderr == f"Cannot listen on port {port} of 127.0.0.1: address already in use.\n"


def test_serve_says_when_the_file_is_no_database(tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear reader, " * 100)
    refused = invoke("--port", "0", "--db", str(letter))
    assert refused.exit_code == 1
    assert refused.stderr == f"{letter} cannot be used: file is not a database.\n"


def test_serve_says_when_the_folder_is_missing(tmp_path):
    refused = invoke("--port", "0", "--db", str(tmp_path / "missing" / "file.db"))
    assert refused.exit_code == 1
    assert len(refused.stderr.splitlines()) == 1


def invoke(*arguments, env=None):
    """Run `serve` in this process, for what ends before it serves."""
    return CliRunner().invoke(app, ["serve", *arguments], env=env)
