"""What the page is made of: files for everyone, and data for those who may see them."""

import io
import json
import re
from urllib.parse import urlsplit

import pytest
from openai import AsyncOpenAI

from openai_sessions import OpenAIConversationsSession
from openai_sessions.cli._page import FILES, MAX_ITEMS
from tests.cli.page import KEY, assistant, served, user

BEARER = {"authorization": f"Bearer {KEY}"}
DATA = ("state", "conversations?limit=9", "conversations/conv_1/items", "requests")


@pytest.fixture
def guarded(shared_server):
    with served(on=shared_server, api_keys=[KEY]) as server:
        yield server


@pytest.fixture(scope="module")
def private():
    """One server for tests that are all refused."""
    with served() as server:
        server.create(user("private"))
        yield server


@pytest.fixture(scope="module")
def private_guarded():
    with served(api_keys=[KEY]) as server:
        server.create(user("private"))
        yield server


def positions(page):
    return [item["position"] for item in page["items"]]


def test_page_is_html_of_this_server_alone(server):
    """No file of the page names another server, and all that it names are there."""
    status, headers, body = server.get("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:src|href)="(?!data:|#)([^"]+)"', body.decode())
    assert named == ["page/page.css", "page/main.js"]
    for path in FILES.iterdir():
        assert server.get(f"/page/{path.name}")[0] == 200
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text()) == []


def test_every_answer_of_the_page_says_what_a_browser_may_do(server):
    for path in (
        "/",
        "/page/main.js",
        "/page/data/state",
        "/page/data/conversations/none/items",
        "/page/none",
    ):
        headers = server.get(path)[1]
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert "require-trusted-types-for 'script'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert headers["access-control-allow-origin"] is None


@pytest.mark.parametrize("path", ["/page/../_app.py", "/page/%2e%2e/_app.py", "/page/..%2f_app.py", "/page/"])
def test_page_serves_no_other_files(server, path):
    assert server.get(path)[0] == 404


def test_other_paths_and_methods_are_the_emulators(server):
    assert server.get("/index.html")[0] == 404
    assert server.send("POST", "/page/data/state")[0] == 405
    assert server.get("/v1/conversations/conv_1")[0] == 401


def test_conversations_are_listed_newest_first_with_what_they_are_about(server):
    first = server.create(assistant("Ask me"), user("What  city\nis it?"), metadata={"user": "first"})
    second = server.create(assistant("Good morning"), key="sk-other")
    third = server.create()
    _, listed = server.data("conversations?limit=9")
    assert [(each["id"], each["title"], each["item_count"]) for each in listed["conversations"]] == [
        (third, None, 0),
        (second, "Good morning", 1),
        (first, "What city is it?", 2),
    ]
    assert listed["conversations"][2]["metadata"] == {"user": "first"}
    assert listed["more"] is False


def test_title_follows_the_first_item(server):
    conversation_id = server.create(user("before"))
    (item,) = server.emulator.items(conversation_id)
    assert server.data("conversations?limit=1")[1]["conversations"][0]["title"] == "before"
    server.delete(conversation_id, item["id"])
    server.add(conversation_id, user("after"))
    assert server.data("conversations?limit=1")[1]["conversations"][0]["title"] == "after"


def test_half_a_surrogate_pair_does_not_break_the_list(server):
    conversation_id = server.create(user("\ud83d alone"), metadata={"half": "\udc00"})
    _, listed = server.data("conversations?limit=1")
    assert listed["conversations"][0]["title"] == "\ud83d alone"
    assert server.data(f"conversations/{conversation_id}/items")[0] == 200


def test_more_conversations_than_asked_for_are_told(server):
    newest = [server.create() for _ in range(3)][::-1]
    _, listed = server.data("conversations?limit=2")
    assert [each["id"] for each in listed["conversations"]] == newest[:2]
    assert listed["more"] is True


def test_items_come_as_they_are_stored_and_only_new_ones(server):
    conversation_id = server.create(user("one"))
    _, before = server.data(f"conversations/{conversation_id}/items")
    server.add(conversation_id, user("two"))
    _, after = server.data(f"conversations/{conversation_id}/items?after={positions(before)[-1]}&have=1")
    assert '"text": "two"' in after["items"][0]["json"]
    assert (len(after["items"]), after["kept"]) == (1, None)


def test_items_that_are_gone_are_told_by_those_that_stay(server):
    conversation_id = server.create(user("one"), user("two"), user("three"))
    _, page = server.data(f"conversations/{conversation_id}/items")
    one, two, three = positions(page)
    server.delete(conversation_id, server.emulator.items(conversation_id)[1]["id"])
    _, after = server.data(f"conversations/{conversation_id}/items?after={three}&have=3")
    assert after == {"items": [], "kept": [one, three]}
    assert two not in after["kept"]


def test_an_item_in_the_place_of_a_deleted_one_is_new(server):
    conversation_id = server.create(user("one"))
    (before,) = positions(server.data(f"conversations/{conversation_id}/items")[1])
    server.delete(conversation_id, server.emulator.items(conversation_id)[0]["id"])
    server.add(conversation_id, user("two"))
    _, after = server.data(f"conversations/{conversation_id}/items?after={before}&have=1")
    assert after["kept"] == []
    assert positions(after)[0] > before


def test_long_histories_come_in_parts(server):
    items = [user(str(number)) for number in range(MAX_ITEMS + 1)]
    server.emulator.seed([{"id": "conv_long", "items": items}])
    _, first = server.data("conversations/conv_long/items")
    _, rest = server.data(f"conversations/conv_long/items?after={positions(first)[-1]}&have={MAX_ITEMS}")
    assert (len(first["items"]), len(rest["items"])) == (MAX_ITEMS, 1)


def test_long_items_come_in_parts(server):
    server.emulator.seed([{"id": "conv_long", "items": [user("x" * 1_000_000)] * 2}])
    _, first = server.data("conversations/conv_long/items")
    assert len(first["items"]) == 1


def test_state_changes_when_something_does(server):
    def state():
        return server.data("state")[1]

    assert state() == state()
    before = state()
    conversation_id = server.create(user("one"))
    created = state()
    assert (created["contents"] != before["contents"], created["requests"]) == (True, before["requests"] + 1)
    server.call("GET", f"/conversations/{conversation_id}")
    assert (state()["contents"], state()["requests"]) == (created["contents"], created["requests"] + 1)
    server.call("POST", f"/conversations/{conversation_id}", {"metadata": {"a": "b"}})
    updated = state()
    server.call("DELETE", f"/conversations/{conversation_id}")
    assert len({each["contents"] for each in (before, created, updated, state())}) == 4


def test_state_tells_one_server_from_the_next(server):
    with served() as other:
        assert server.data("state")[1]["server"] != other.data("state")[1]["server"]


def test_requests_are_listed_with_their_faults(server):
    conversation_id = server.create()
    assert server.get("/v1/none")[0] == 404
    _, listed = server.data("requests?after=0")
    assert [
        (each["number"], each["method"], each["path"], each["operation"], each["status"], each["fault"])
        for each in listed["requests"]
    ] == [
        (1, "POST", "/v1/conversations", "create_conversation", 200, None),
        (2, "GET", "/v1/none", None, 404, None),
    ]
    server.call("GET", f"/conversations/{conversation_id}")
    assert [each["number"] for each in server.data("requests?after=2")[1]["requests"]] == [3]


@pytest.mark.parametrize("query", ["limit=-1", "limit=x", "limit=10001", "limit=²", f"limit={'9' * 30}"])
def test_a_number_that_is_none_is_refused(server, query):
    status, answer = server.data(f"conversations?{query}".replace("²", "%C2%B2"))
    assert (status, answer["error"]) == (400, "limit must be a whole number up to 10000.")


def test_conversation_that_is_not_there_is_a_404(server):
    deleted = server.create()
    server.call("DELETE", f"/conversations/{deleted}")
    for conversation_id in ("conv_none", deleted):
        assert server.data(f"conversations/{conversation_id}/items")[0] == 404


PATHS = ("/", "/page/main.js", *(f"/page/data/{path}" for path in DATA), "/v1/conversations/conv_1", "/none")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "example.com:80",
        "127.0.0.1.example.com",
        "localhost.example.com",
        "0",
        "",
        "[::",
        "[::]",
    ],
)
def test_nothing_is_for_a_foreign_name_of_this_machine(private, host, path):
    """As requested by a site whose own name was made to point to 127.0.0.1."""
    status, headers, body = private.get(path, host=host, **BEARER)
    assert (status, b"private" in body) == (403, False)
    assert headers["x-content-type-options"] == "nosniff"
    message = json.loads(body)["error"]["message"]
    assert repr(host) in message
    assert "127.0.0.1" in message
    assert "--api-key" in message


OWN_NAMES = ["localhost", "LOCALHOST:1", "127.0.0.1:9", "127.8.8.8", "[::1]", "[::1]:80"]


@pytest.mark.parametrize("host", OWN_NAMES)
def test_all_is_for_every_name_of_loopback(private, host):
    assert [private.get(path, host=host, **BEARER)[0] for path in PATHS[:3]] == [200, 200, 200]
    assert private.send("POST", "/v1/conversations", host=host, **BEARER)[0] == 200


def planted(server, **headers):
    """Return the status of a write as a page sends it, and how many conversations it adds."""
    before = len(server.emulator.conversations())
    status = server.send("POST", "/v1/conversations", '{"items": []}', **BEARER, **headers)[0]
    return status, len(server.emulator.conversations()) - before


def test_a_site_whose_name_points_here_plants_no_conversation(private):
    site = "rebound.example.com:8080"
    assert planted(private, host=site, origin=f"http://{site}") == (403, 0)


@pytest.mark.parametrize(
    "origin",
    ["https://example.com", "http://localhost:1", "http://127.0.0.1", "null", "", "file://", "http://["],
)
def test_a_page_of_another_origin_plants_no_conversation(private, origin):
    assert planted(private, origin=origin) == (403, 0)


def test_a_page_of_this_server_and_a_program_may_write(private):
    assert planted(private, origin=private.url) == (200, 1)
    assert planted(private) == (200, 1)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_a_refused_request_is_listed_and_printed(method):
    printed = io.StringIO()
    with served(output=printed) as server:
        assert server.send(method, "/v1/conversations/conv_1", host="example.com", **BEARER)[0] == 403
        listed = server.data("requests")[1]["requests"]
    assert [(each["method"], each["status"], each["operation"]) for each in listed] == [(method, 403, None)]
    assert f"403 {method:<6} /v1/conversations/conv_1" in printed.getvalue()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_a_program_reaches_the_server_by_each_of_its_names(private, name):
    url = f"http://{name}:{urlsplit(private.url).port}/v1"
    async with AsyncOpenAI(base_url=url, api_key=KEY) as client:
        session = OpenAIConversationsSession(openai_client=client)
        await session.add_items([user("Hello")])
        assert await session.get_items() == [user("Hello")]


def test_the_name_that_was_given_as_the_host_is_its_own(shared_server):
    with served(on=shared_server, host="agents.test") as server:
        assert planted(server, host="Agents.test:8080") == (200, 1)
        assert planted(server, host="agents.test.example.com") == (403, 0)


@pytest.mark.parametrize("path", DATA)
@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer sk-pag", f"Basic {KEY}", KEY, "Bearer sk-p\xe4ge"]
)
def test_data_of_a_guarded_server_are_not_for_those_without_a_key(private_guarded, path, authorization):
    status, headers, body = private_guarded.get(f"/page/data/{path}", authorization=authorization)
    assert (status, b"private" in body, headers["www-authenticate"]) == (401, False, "Bearer")


def test_data_of_a_guarded_server_are_for_any_name(guarded):
    assert guarded.data("state", host="conversations.example.com", **BEARER)[0] == 200
    assert planted(guarded, host="conversations.example.com") == (200, 1)


def test_files_of_a_guarded_server_are_for_everyone_and_tell_nothing(guarded):
    guarded.create(user("private"))
    status, _, body = guarded.get("/")
    assert (status, b"private" in body) == (200, False)


def test_each_key_sees_its_own_conversations_and_those_from_the_start(shared_server):
    with served(on=shared_server, api_keys=["sk-one", "sk-two"]) as server:
        server.emulator.seed([{"id": "conv_seed", "created_at": 0, "items": []}])
        own = server.create(user("own"), key="sk-one")
        bearers = {key: {"authorization": f"Bearer {key}"} for key in ("sk-one", "sk-two")}
        seen = {
            key: [each["id"] for each in server.data("conversations?limit=9", **bearer)[1]["conversations"]]
            for key, bearer in bearers.items()
        }
        assert seen == {"sk-one": [own, "conv_seed"], "sk-two": ["conv_seed"]}
        statuses = [server.data(f"conversations/{own}/items", **bearer)[0] for bearer in bearers.values()]
        assert statuses == [200, 404]


def test_requests_are_not_shown_where_they_may_be_of_another_key(shared_server):
    with served(on=shared_server, api_keys=["sk-one", "sk-two"]) as server:
        bearer = {"authorization": "Bearer sk-one"}
        assert server.data("state", **bearer)[1]["requests"] is None
        assert server.data("requests", **bearer)[0] == 403


def test_requests_are_shown_to_the_only_key(guarded):
    guarded.create()
    assert len(guarded.data("requests", **BEARER)[1]["requests"]) == 1
