"""`openai-sessions view`: what the page is given, what is asked of the API for it, and who may see it."""

import http.client
import json
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from starlette.responses import JSONResponse

from openai_sessions import OpenAIConversationsSession, Usage
from openai_sessions.cli._running import Settings
from openai_sessions.cli._view import _MAX_HISTORIES, print_banner
from openai_sessions.emulator import Fault
from openai_sessions.encryption import EncryptedSession
from openai_sessions.session import ModelUsage
from tests.cli.command import eventually, running
from tests.cli.directories import Directory
from tests.cli.page import call, output
from tests.cli.service import assistant, turns, user
from tests.cli.viewing import TOKEN, viewing
from tests.examples.stand_in import API_KEY
from tests.servers import free_ports

NEWEST = ("list_items", "100", "desc")
METADATA = ("retrieve_conversation",)


@pytest.fixture
def view(shared_server, service):
    """Serve the page over conversations, given by their ids and items."""
    opened = []

    def serve(*arguments, **conversations):
        for conversation_id, items in conversations.items():
            service.holds(conversation_id, items)
        opened.append(viewing(shared_server, service, *(arguments or conversations)))
        return opened[-1].__enter__()

    yield serve
    for each in reversed(opened):
        each.__exit__(None, None, None)


@pytest.fixture
def directory(service, tmp_path):
    directory = Directory(service, tmp_path / "names.db")
    directory.holds()
    return directory


def texts(answer):
    return [json.loads(item["json"])["content"][0]["text"] for item in answer["items"]]


def positions(answer):
    return [item["position"] for item in answer["items"]]


def test_newest_page_is_read_first_and_older_ones_when_they_are_wanted(view):
    """Each page is one request, and none is read twice."""
    page = view(conv_long=turns(125))
    newest = page.items("conv_long")
    assert page.sent() == [NEWEST, METADATA]
    assert (texts(newest)[0], texts(newest)[-1], newest["older"]) == ("Question 76", "Answer 125", True)
    oldest = positions(newest)[0]
    last = page.emulator.items("conv_long")[150]["id"]
    older = page.items("conv_long", before=oldest)
    assert page.sent() == [(*NEWEST, last)]
    assert (texts(older)[0], texts(older)[-1], older["older"]) == ("Question 26", "Answer 75", True)
    assert page.items("conv_long", before=oldest)["items"] == older["items"]
    assert page.sent() == []
    assert positions(older) == list(range(oldest - 100, oldest))
    first = page.items("conv_long", before=oldest - 100)
    assert (len(first["items"]), texts(first)[0], first["older"]) == (50, "Question 1", False)
    page.sent()
    assert page.items("conv_long", before=oldest - 150)["items"] == []
    assert page.sent() == []


def test_what_was_read_is_kept_until_it_is_to_be_read_again(view):
    page = view(conv_1=turns(1))
    before = page.items("conv_1")
    version = page.data("state")[1]["contents"]
    page.sent()
    page.emulator.seed([{"id": "conv_other", "items": []}])
    asked = {"after": positions(before)[-1], "have": 2}
    assert page.items("conv_1", **asked)["items"] == []
    assert (page.data("state")[1]["contents"], page.sent()) == (version, [])
    assert page.data("refresh", "POST") == (200, {})
    assert page.data("state")[1]["contents"] != version
    assert page.sent() == []
    after = page.items("conv_1", **asked)
    assert (after["kept"], texts(after)) == ([], texts(before))
    assert page.sent() == [NEWEST, METADATA]


@pytest.mark.exhaustive
def test_conversation_read_again_has_positions_of_its_own(view):
    """Whatever the page has of it goes: items between may have been deleted."""
    names = [f"conv_{number}" for number in range(_MAX_HISTORIES + 1)]
    page = view(**{name: turns(1) for name in names})
    before = page.items(names[0])
    for name in names[1:]:
        page.items(name)
    page.sent()
    after = page.items(names[0], after=positions(before)[-1], have=2)
    assert page.sent() == [NEWEST, METADATA]
    assert after["kept"] == []
    assert positions(after)[0] > positions(before)[-1]


def test_nothing_is_written_and_nothing_is_asked_until_a_conversation_is_opened(view, directory):
    """Neither a request to the API nor a change of the directory."""
    directory.holds("support/1", "support/2")
    used = directory.do(lambda names: names.conversations(order="name"))
    page = view()
    state = page.data("state")[1]
    _, listed = page.data("conversations?limit=1")
    assert page.sent() == []
    assert (state["requests"], state["is_read_only"]) == (None, True)
    (entry,) = used.entries[:1]
    assert listed["conversations"] == [
        {
            "id": "support/1",
            "title": "support/1",
            "conversation_id": entry.conversation_id,
            "created_at": None,
            "used_at": entry.used_at.timestamp(),
            "metadata": {},
            "item_count": None,
        }
    ]
    assert listed["more"] is True
    assert texts(page.items("support/2")) == ["I am support/2"]
    assert page.sent() == [NEWEST, METADATA]
    assert directory.do(lambda names: names.conversations(order="name")) == used


class Counter:
    def __init__(self, tokens):
        self.requests, self.input_tokens, self.output_tokens, self.total_tokens = 1, tokens, 2, tokens + 2


def run_of(tokens):
    return SimpleNamespace(context_wrapper=SimpleNamespace(usage=Counter(tokens)), raw_responses=[])


def test_turns_of_a_name_have_their_usage(view, directory):
    async def converse(names):
        session = await names.session("user_1", conversation_metadata={"plan": "gold"})
        for number in (1, 2, 3):
            await session.add_items([user(f"Question {number}"), assistant("Answer")])
            if number != 2:
                await session.store_run_usage(run_of(10 * number), model="gpt-4.1" if number == 1 else None)

        return session.session_id

    conversation_id = directory.do(converse)
    page = view()
    answer = page.items("user_1")
    cost = Usage.of_models([ModelUsage(1, 10, output_tokens=2, total_tokens=12, model="gpt-4.1")]).cost()
    first, *_ = positions(answer)
    found = answer["notes"]["turns"]
    assert [(each["position"] - first, each["number"]) for each in found] == [(0, 1), (2, 2), (4, 3)]
    assert [each["usage"] and each["usage"]["input_tokens"] for each in found] == [10, None, 30]
    assert [each["usage"]["cost"] for each in found[::2]] == [f"${cost:.6f}", None]
    assert (answer["notes"]["usage"]["input_tokens"], answer["notes"]["usage"]["cost"]) == (40, None)
    assert answer["notes"]["metadata"] == {"plan": "gold"}
    page.call("POST", f"/conversations/{conversation_id}", {"metadata": {}}, key=API_KEY)
    page.data("refresh", "POST")
    assert page.items("user_1")["notes"]["usage"]["input_tokens"] == 40


async def test_conversation_of_an_id_has_the_usage_in_its_metadata(view, service):
    service.holds("conv_1", turns(1))
    async with service.client() as client:
        session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=client)
        await session.store_run_usage(run_of(10))
        page = view("conv_1")
        assert page.items("conv_1")["notes"]["usage"]["input_tokens"] == 10


def test_turns_have_numbers_once_the_whole_history_was_read(view):
    page = view(conv_long=turns(51))
    newest = page.items("conv_long")
    assert newest["notes"]["turns"] == []
    older = page.items("conv_long", before=positions(newest)[0])
    assert [each["number"] for each in older["notes"]["turns"]] == list(range(1, 52))


COMPACTION = {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}


def test_model_reads_from_the_messages_before_the_newest_compaction_item(view):
    history = [*turns(1), COMPACTION, *turns(1), user("kept"), {**COMPACTION, "id": "cmp_2"}, *turns(1)]
    page = view(conv_1=history, conv_2=turns(1))
    answer = page.items("conv_1")
    assert answer["notes"]["reads_from"] == positions(answer)[5]
    assert page.items("conv_2")["notes"]["reads_from"] is None


def test_problems_are_those_that_check_finds(view):
    items = [output("call_none"), *turns(1), user("Now"), call("call_1")]
    page = view(conv_1=[*items[1:]], conv_2=items)
    assert problems(page.items("conv_1")) == [(3, "call without output", "close")]
    assert problems(page.items("conv_2")) == [
        (0, "output without call", "remove"),
        (4, "call without output", "close"),
    ]


def test_output_whose_call_was_not_read_yet_is_no_problem(view):
    page = view(conv_1=[call("call_1"), output("call_1"), *turns(49), user("Now")])
    newest = page.items("conv_1")
    assert (len(newest["items"]), json.loads(newest["items"][0]["json"])["type"]) == (
        100,
        "function_call_output",
    )
    assert problems(newest) == []
    assert problems(page.items("conv_1", before=positions(newest)[0])) == []


def problems(answer):
    start = positions(answer)[0]
    return [
        (each["position"] - start, each["problem"], each["remedy"]) for each in answer["notes"]["problems"]
    ]


async def test_encrypted_items_are_no_turns(view, service):
    service.holds("conv_1", [])
    async with service.client() as client:
        session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=client)
        encrypted = EncryptedSession("conv_1", session, "of 32 characters or a Fernet key")
        await encrypted.add_items([*turns(1), call("call_1")])
    page = view("conv_1")
    answer = page.items("conv_1")
    assert (len(answer["items"]), answer["notes"]["turns"], answer["notes"]["problems"]) == (3, [], [])


def failure(page, conversation="conv_1"):
    """Return the status and the message, which are the same the next time, when nothing is sent."""
    answers = [page.data(f"conversations/{conversation}/items")]
    page.sent()
    answers.append(page.data(f"conversations/{conversation}/items"))
    assert (answers[0], page.sent()) == (answers[1], [])
    assert API_KEY not in answers[0][1]["error"]
    return answers[0][0], answers[0][1]["error"]


def test_conversation_that_is_gone_says_so(view):
    status, message = failure(view("conv_1"))
    assert status == 404
    assert message.startswith(
        "Conversation conv_1 was not found: it was deleted, or belongs to another project"
    )


def test_name_without_a_conversation_says_so(view, directory):
    directory.do(lambda names: names.session("user_1"))
    message = "The name has no conversation yet: nothing was written to it."
    assert failure(view(), "user_1") == (404, message)


class Refusing:
    """A service that refuses a key as OpenAI does: with parts of it in the message."""

    requests = ()

    async def __call__(self, scope, receive, send):
        message = "Incorrect API key provided: sk-proj-****************************wxyz."
        await JSONResponse({"error": {"message": message, "code": "invalid_api_key"}}, 401)(
            scope, receive, send
        )

    def forget_requests(self):
        """Do nothing."""


def test_refused_key_is_told_without_it(shared_server, service):
    service.emulator = Refusing()
    with viewing(shared_server, service, "conv_1") as page:
        status, message = failure(page)
    assert status == 502
    assert "returned 401: Incorrect API key provided: REDACTED" in message
    assert "wxyz" not in message


def test_exhausted_quota_is_told_and_reading_again_succeeds(view):
    page = view(conv_1=turns(1))
    page.emulator.inject(Fault("quota"))
    status, message = failure(page)
    assert (status, "returned 429" in message) == (502, True)
    page.data("refresh", "POST")
    assert texts(page.items("conv_1")) == ["Question 1", "Answer 1"]


def test_older_page_whose_cursor_was_deleted_is_to_be_read_again(view):
    page = view(conv_long=turns(60))
    newest = page.items("conv_long")
    oldest = json.loads(newest["items"][0]["json"])["id"]
    page.call("DELETE", f"/conversations/conv_long/items/{oldest}", key=API_KEY)
    status, answer = page.data(f"conversations/conv_long/items?before={positions(newest)[0]}")
    message = "An item was deleted meanwhile: read the conversation again."
    assert (status, answer["error"]) == (502, message)


@pytest.mark.parametrize("conversation", ["conv_2", "other", "support/1"])
def test_only_what_is_listed_can_be_read(view, directory, conversation):
    directory.holds("support/1")
    page = view("conv_1", "conv_1", conv_1=turns(1), conv_2=turns(1))
    assert [each["id"] for each in page.data("conversations?limit=9")[1]["conversations"]] == ["conv_1"]
    status, answer = page.data(f"conversations/{conversation}/items")
    assert (status, page.sent()) == (404, [])
    assert answer["error"] == f"The directory has no name {conversation!r}."


def test_id_that_the_directory_has_is_read_by_its_name_only(view, directory):
    directory.holds("user_1")
    page = view()
    assert page.data(f"conversations/{directory.names()['user_1']}/items")[0] == 404
    assert page.data("conversations/user_1/items")[0] == 200


DATA = ("state", "conversations?limit=9", "conversations/conv_1/items")
PATHS = ("", "page/main.js", *(f"page/data/{path}" for path in DATA))


@pytest.mark.parametrize("token", ["", "/", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"/x/{TOKEN}/", "/%ff%00/"])
def test_nothing_is_for_those_without_the_token(view, token):
    page = view(conv_1=[user("private")])
    for path in PATHS:
        status, headers, body = page.get(f"{token}{path}" or "/", authorization=f"Bearer {API_KEY}")
        assert (status, b"private" in body) == (403, False)
        assert json.loads(body) == {"error": "Open the address that `openai-sessions view` has printed."}
        assert headers["referrer-policy"] == "no-referrer"
    assert page.send("POST", f"{token}page/data/refresh")[0] == 403
    assert page.sent() == []


@pytest.mark.parametrize(
    "headers", [{"host": "example.com"}, {"origin": "https://example.com"}, {"origin": "null"}]
)
def test_nothing_is_for_pages_of_other_sites_even_with_the_token(view, headers):
    page = view(conv_1=[user("private")])
    for path in PATHS:
        status, _, body = page.get(f"/{TOKEN}/{path}", **headers)
        assert (status, b"private" in body) == (403, False)
    assert page.data("refresh", "POST", **headers)[0] == 403


def test_files_of_the_page_are_below_the_token(view):
    page = view(conv_1=turns(1))
    status, headers, body = page.get(f"/{TOKEN}/")
    assert (status, headers["cache-control"], headers["referrer-policy"]) == (200, "no-store", "no-referrer")
    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', body.decode()):
        assert page.get(f"/{TOKEN}/{name}")[0] == 200
    assert page.data("requests")[1] == {"error": "Not Found"}
    assert page.send("POST", f"/{TOKEN}/page/data/conversations/conv_1/items")[0] == 405


def test_key_never_reaches_the_page(view):
    page = view(conv_1=turns(1))
    for path in PATHS:
        _, headers, body = page.get(f"/{TOKEN}/{path}")
        assert API_KEY not in str(headers) + body.decode()


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "message"),
    [
        ((), {}, 2, "Nothing to show: give conversations, or set --directory or OPENAI_SESSIONS_DIRECTORY."),
        (("conv_1",), {"OPENAI_API_KEY": ""}, 2, "No API key: set OPENAI_API_KEY."),
        (("user_1",), {}, 2, "to use a name, set --directory or OPENAI_SESSIONS_DIRECTORY."),
        (("conv_1/../x",), {}, 2, "conv_1/../x"),
        (("conv_1", "--host", "none.invalid"), {}, 2, "--host none.invalid has no address"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_it_listens(service, arguments, variables, code, message):
    exit_code, line = service.failure("view", *arguments, **variables)
    assert (exit_code, message in line) == (code, True)
    assert service.emulator.requests == ()


def test_name_that_the_directory_does_not_have_is_refused(service, directory):
    assert service.failure("view", "user_1") == (3, "The directory has no name 'user_1'.")


def test_port_that_is_taken_is_told(service):
    port = service.base_url.split(":")[-1].split("/")[0]
    code, line = service.failure("view", "conv_1", "--port", port)
    assert (code, f"Cannot listen on port {port}" in line) == (1, True)


def read(url):
    """Return the status and the JSON of an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("GET", parts.path)
    answer = connection.getresponse()
    body = json.load(answer)
    connection.close()
    return answer.status, body


def end(process):
    """Press Ctrl-C; return the exit code and what was printed since the start."""
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=30)
    return process.returncode, printed + errors


@pytest.mark.exhaustive
def test_view_serves_until_ctrl_c_and_waits_for_no_read(service):
    """No requests are printed."""
    service.holds("conv_1", turns(1))
    command = "view", "conv_1", "conv_1", "conv_2"
    with running(*command, until="Ctrl-C stops it", **service.variables) as (process, printed, _):
        facts = dict(line.split(maxsplit=1) for line in printed.splitlines()[2:5])
        assert (facts["API"], facts["Shows"]) == (service.base_url, "2 conversations")
        page = facts["Page"]
        assert read(f"{page}page/data/conversations/conv_1/items")[0] == 200
        service.emulator.inject(Fault("stall"))
        with ThreadPoolExecutor() as threads:
            stalled = threads.submit(read, f"{page}page/data/conversations/conv_2/items")
            assert eventually(lambda: len(service.emulator.requests) == 3)
            assert end(process) == (0, "")
            assert stalled.result() == (503, {"error": "The server is stopping."})
    assert len(page.split("/")[3]) >= 40


@pytest.mark.exhaustive
def test_quiet_view_prints_the_address_alone_and_a_server_that_is_not_there_is_told(service):
    (port,) = free_ports(1)
    variables = {**service.variables, "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    with running("view", "conv_1", "--quiet", until="\n", **variables) as (process, printed, url):
        status, answer = read(f"{url}page/data/conversations/conv_1/items")
        assert (status, "could not be reached" in answer["error"]) == (502, True)
        assert end(process) == (0, "")
    assert printed == f"{url}\n"


def test_address_that_other_machines_reach_is_told(capsys):
    settings = Settings(base_url="https://user:password@example.com/v1?key=secret")
    print_banner(settings, "1 conversation", "http://127.0.0.1:1/token/", is_public=True)
    assert capsys.readouterr().out.splitlines() == [
        "openai-sessions  conversations, read-only",
        "",
        "  API     https://example.com/v1",
        "  Shows   1 conversation",
        "  Page    http://127.0.0.1:1/token/",
        "  Reach   other machines too, without encryption: give the address to nobody",
        "",
        "Whoever has the address can read them; Ctrl-C stops it.",
    ]
