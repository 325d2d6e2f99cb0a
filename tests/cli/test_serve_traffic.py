"""What `serve` is made of: which requests wait and which are told, and how they are printed."""

import io

import pytest
from rich.console import Console

from openai_sessions.cli._page import KEPT, RecentRequests
from openai_sessions.cli._serve import Banner, ServeApp, print_request
from openai_sessions.emulator import EmulatedRequest, Fault, SeedResult
from tests.emulator.wire import Wire


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
    traffic = ServeApp(programs, people, recent=recent, delay=1.5, sleep=sleep)
    await traffic({"type": "http", "path": path}, None, None)
    expected = ([], [], [path]) if is_page else ([1.5], [path], [])
    assert (waits, programs.paths, people.paths) == expected


async def test_requests_are_told_once_in_order_and_forgotten(emulator):
    told = []
    recent = RecentRequests(emulator, told.append, clock=lambda: 7.0)
    traffic = ServeApp(emulator, Application(), recent=recent)
    wire = Wire(traffic)
    conversation_id = await wire.new_conversation()
    await wire.list(conversation_id)
    assert [request.operation for request in told] == ["create_conversation", "list_items"]
    assert emulator.requests == ()
    assert [(kept.number, kept.at, kept.request) for kept in recent.after(1)] == [(2, 7.0, told[1])]


async def test_request_whose_connection_is_cut_is_told(emulator):
    told = []
    traffic = ServeApp(emulator, Application(), recent=RecentRequests(emulator, told.append))
    emulator.inject(Fault("cut_before"))
    with pytest.raises(Exception, match="the emulator reset the connection"):
        await Wire(traffic).new_conversation()
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


def test_announcement_tells_how_it_is_used(tmp_path):
    announcement = Banner(
        url="http://127.0.0.1:80",
        database=tmp_path / ("long" * 30),
        has_keys=True,
        seeds=(tmp_path, SeedResult(conversations=1, items=1_000, known=2)),
        faults=("quota", "at random, rate 1, seed 1"),
        delay_ms=5,
    )
    assert printed(announcement.print).splitlines() == [
        "openai-sessions  emulator of the Conversations API",
        "",
        "  API     http://127.0.0.1:80/v1",
        "  Page    http://127.0.0.1:80/  (requires a key)",
        f"  Storage {tmp_path / ('long' * 30)}",
        f"  Loaded  1 conversation with 1,000 items (2 more were there already) from {tmp_path}",
        "  Faults  quota",
        "          at random, rate 1, seed 1",
        "  Delay   5 ms before each response",
        "",
        "Set these variables to use it; Ctrl-C stops it:",
        "",
        "    export OPENAI_BASE_URL=http://127.0.0.1:80/v1",
        "    export OPENAI_API_KEY=...  # one of the keys given",
        "",
    ]
