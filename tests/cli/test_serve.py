"""`openai-sessions serve`: a server in the foreground, and what it refuses."""

import http.client
import io
import json
import re
import signal
import socket
import time
from urllib.parse import urlsplit

import openai
import pytest
from rich.console import Console
from typer.testing import CliRunner

from openai_sessions import OpenAIConversationsSession
from openai_sessions.cli._app import app
from openai_sessions.cli._hosts import is_loopback
from openai_sessions.cli._page import KEPT, RecentRequests
from openai_sessions.cli._serve import Banner, ServeApp, listen, print_request, resolve
from openai_sessions.emulator import EmulatedRequest, Fault, SeedResult
from tests.cli.command import serving
from tests.cli.page import served
from tests.emulator.wire import Wire

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


@pytest.mark.exhaustive
async def test_serve_answers_until_ctrl_c_and_prints_requests():
    """What people look at is not a request of a program."""
    with serving("--delay-ms", "1") as (process, printed, base_url):
        status, page = read(base_url.removesuffix("v1"))
        conversation_id, items = await stored_through(base_url)
        code, rest = end(process)
    assert items == [HELLO]
    assert (status, "<title>Conversations</title>" in page) == (200, True)
    assert code == 0
    assert rest.splitlines() == [
        "200 POST   /v1/conversations",
        f"200 POST   /v1/conversations/{conversation_id}/items",
        f"200 GET    /v1/conversations/{conversation_id}/items",
    ]
    lines = printed.splitlines()
    assert lines[0] == "openai-sessions  emulator of the Conversations API"
    assert [re.split(r"  +", line.strip()) for line in lines[2:6]] == [
        ["API", base_url],
        ["Page", base_url.removesuffix("v1")],
        ["Storage memory"],
        ["Delay", "1 ms before each response"],
    ]
    assert f"OPENAI_BASE_URL={base_url}" in printed


@pytest.mark.exhaustive
async def test_serve_lists_conversations_as_foundry_does():
    for options, status in (((), 405), (("--foundry",), 200)):
        with serving(*options) as (process, _, base_url):
            async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
                answer = await client._client.get("conversations", headers={"authorization": "Bearer any"})
            end(process)
        assert status == answer.status_code


def test_serve_delays_each_response(shared_server):
    with served(on=shared_server, delay_ms=300) as server:
        started = time.monotonic()
        status, _, _ = server.get("/v1/conversations/conv_1")
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


@pytest.mark.exhaustive
async def test_serve_keeps_conversations_in_a_file_and_loads_seeds_once(tmp_path):
    """Each key given sees the seeds and its own conversations, and none is printed."""
    database, seeds = tmp_path / "conversations.db", tmp_path / "seeds.jsonl"
    seeds.write_text(f'{{"id": "conv_seed", "items": [{json.dumps(HELLO)}]}}\n')
    arguments = ["--db", str(database), "--seed-from", str(seeds)]
    first = ["--api-key", "sk-first", "--api-key", "sk-second"]
    with serving(*arguments, *first) as (process, printed, base_url):
        own_id, _ = await stored_through(base_url, api_key="sk-first")
        with pytest.raises(openai.AuthenticationError):
            await stored_through(base_url, api_key="sk-third")
        _, rest = end(process)
    assert f"Storage {database}" in printed
    assert f"Loaded  1 conversation with 1 item from {seeds}" in printed
    assert "sk-" not in printed + rest
    variables = {"OPENAI_SESSIONS_API_KEYS": "sk-first sk-second"}
    with serving("--host", EVERYWHERE, *arguments, **variables) as (process, printed, base_url):
        for conversation_id in (own_id, "conv_seed"):
            _, items = await stored_through(base_url, api_key="sk-first", conversation_id=conversation_id)
            assert items == [HELLO, HELLO]
        await stored_through(base_url, api_key="sk-second")
        _, rest = end(process)
    assert f"Loaded  0 conversations with 0 items (1 more were there already) from {seeds}" in printed
    assert "sk-" not in printed + rest


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
def test_loopback_hosts_need_no_key_and_are_in_the_url(host):
    if host == "::1" and not has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback")
    address = resolve(host)
    with listen(address, 0) as listener:
        url = address.url(listener.getsockname()[1])
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)):
            pass
    assert is_loopback(address.host)


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


class Application:
    """Note the paths asked for."""

    def __init__(self):
        self.paths = []

    async def __call__(self, scope, receive, send):
        self.paths.append(scope["path"])


@pytest.mark.parametrize(
    ("path", "is_page"),
    [
        ("/", True),
        ("/page/main.js", True),
        ("/page", False),
        ("/v1/conversations", False),
        ("/pages/", False),
    ],
)
async def test_only_requests_of_programs_wait(emulator, path, is_page):
    waits, programs, people = [], Application(), Application()

    async def sleep(seconds):
        waits.append(seconds)

    recent = RecentRequests(emulator, print)
    serve_app = ServeApp(programs, people, recent=recent, delay=1.5, sleep=sleep)
    await serve_app({"type": "http", "path": path}, None, None)
    expected = ([], [], [path]) if is_page else ([1.5], [path], [])
    assert (waits, programs.paths, people.paths) == expected


async def test_requests_are_told_once_in_order_and_forgotten(emulator):
    told = []
    recent = RecentRequests(emulator, told.append, clock=lambda: 7.0)
    serve_app = ServeApp(emulator, Application(), recent=recent)
    wire = Wire(serve_app)
    conversation_id = await wire.new_conversation()
    await wire.list(conversation_id)
    assert [request.operation for request in told] == ["create_conversation", "list_items"]
    assert emulator.requests == ()
    assert [(kept.number, kept.at, kept.request) for kept in recent.after(1)] == [(2, 7.0, told[1])]


async def test_request_whose_connection_is_cut_is_told(emulator):
    told = []
    serve_app = ServeApp(emulator, Application(), recent=RecentRequests(emulator, told.append))
    emulator.inject(Fault("cut_before"))
    with pytest.raises(Exception, match="the emulator reset the connection"):
        await Wire(serve_app).new_conversation()
    assert [request.fault for request in told] == ["cut_before"]


async def test_newest_requests_are_kept(emulator):
    recent = RecentRequests(emulator, lambda request: None)
    for _ in range(KEPT + 5):
        await Wire(emulator).get("/none")
    recent.collect()
    assert recent.number == KEPT + 5
    assert [kept.number for kept in recent.after(0)] == list(range(6, KEPT + 6))


def printed(show):
    console = Console(file=io.StringIO(), highlight=False, width=80)
    show(console)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("status", "fault", "expected"),
    [
        (200, None, "200 GET    /v1/x\n"),
        (200, "stale_page", "200 GET    /v1/x  stale_page\n"),
        (None, "stall", "--- GET    /v1/x  stall\n"),
    ],
)
def test_request_is_printed_in_a_line(status, fault, expected):
    request = EmulatedRequest("GET", "/v1/x", {}, None, status, None, fault)
    assert printed(lambda console: print_request(console, request)) == expected


def test_path_moves_no_cursor_and_is_not_wrapped():
    path = "/\x1b[2J\r\n\u202e[red]ü" + "x" * 100
    request = EmulatedRequest("GET", path, {}, None, 404, None)
    shown = r"/\x1b[2J\r\n\u202e[red]ü" + "x" * 100
    assert printed(lambda console: print_request(console, request)) == f"404 GET    {shown}\n"


def test_banner_says_how_to_use_the_server(tmp_path):
    banner = Banner(
        url="http://127.0.0.1:80",
        database=tmp_path / ("long" * 30),
        has_keys=True,
        seeds=(tmp_path, SeedResult(conversations=1, items=1_000, known=2)),
        faults=("quota", "at random, rate 1, seed 1"),
        replies=(tmp_path, 1_000),
        delay_ms=5,
    )
    assert printed(banner.print).splitlines() == [
        "openai-sessions  emulator of the Conversations API",
        "",
        "  API     http://127.0.0.1:80/v1",
        "  Page    http://127.0.0.1:80/  (requires a key)",
        f"  Storage {tmp_path / ('long' * 30)}",
        f"  Loaded  1 conversation with 1,000 items (2 more were there already) from {tmp_path}",
        "  Faults  quota",
        "          at random, rate 1, seed 1",
        f"  Replies 1,000 from {tmp_path}",
        "  Delay   5 ms before each response",
        "",
        "Set these variables to use it; Ctrl-C stops it:",
        "",
        "    export OPENAI_BASE_URL=http://127.0.0.1:80/v1",
        "    export OPENAI_API_KEY=...  # one of the keys given",
        "    export OPENAI_AGENTS_DISABLE_TRACING=1  # Agents SDK: no traces to OpenAI",
        "",
    ]
