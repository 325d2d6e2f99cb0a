"""The chat of examples/chat, with real databases: one worker by `make test`, two by `make test-all`."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from playwright.sync_api import expect
from redis.asyncio import Redis

from openai_sessions.emulator import ErrorReply, Fault
from tests import programs
from tests.cli.page import chromium
from tests.conformance.postgres_server import postgres_server
from tests.examples.chatting import HEADER, QUESTIONS, Browser, Workers, joined, variables, walk
from tests.examples.stand_in import reply, stand_in
from tests.processes.redis_server import redis_server

pytest.importorskip("fastapi.sse")
pytestmark = pytest.mark.xdist_group("chat")

SAID = [
    ["user", QUESTIONS[0]],
    ["assistant", "San Francisco."],
    ["user", QUESTIONS[1]],
    ["assistant", "California."],
]

LONG = " ".join(f"word{number}" for number in range(40))


def check_walk(seen):
    """Check what the user of the chat saw."""
    assert seen["answers"] == ["San Francisco.", "California."]
    assert seen["listed"] == ["Hello", QUESTIONS[0]]
    assert seen["renamed"] == [200, {"title": "Bridges"}]
    assert (seen["found"], seen["left"], seen["nothing"]) == (["Bridges"], ["Bridges"], [])
    assert seen["read"] == SAID
    assert (seen["deleted"], seen["gone"][0]) == ([204, None], 404)
    status, report = seen["erased"]
    assert (status, report["user"]) == (200, "alice")
    counts = {kind: len(report[kind]["deleted"]) for kind in ("conversations", "items", "responses")}
    assert counts == {"conversations": 1, "items": 4, "responses": 0}


def kept(emulator):
    """Return what is stored of all conversations that there ever were, and all responses."""
    paths = " ".join(request.path for request in emulator.requests)
    items = [item for each in set(re.findall(r"conv_\w+", paths)) for item in emulator.items(each)]
    return [*emulator.conversations(), *items, *emulator.responses()]


def test_user_sees_what_is_stored_and_erases_it(tmp_path):
    with redis_server() as redis_url, stand_in() as (base_url, emulator):
        env = variables(base_url, redis_url, f"sqlite+aiosqlite:///{tmp_path}/chat.db")
        finished = programs.run("-m", "tests.examples.chatting", env=env)
        assert (finished.returncode, finished.stderr) == (0, "")
        check_walk(json.loads(finished.stdout))
        first = ["create_response", "create_conversation", "list_items", "create_items", "list_items"]
        second = ["list_items", "create_response", "list_items", "create_items"]
        made = [request.operation for request in emulator.requests]
        assert made[: len(first + second)] == first + second
        assert kept(emulator) == []


@pytest.fixture(scope="module")
def served():
    """Two workers with one PostgreSQL and one Redis server, and the emulator behind them."""
    with ExitStack() as stack:
        base_url, emulator = stack.enter_context(stand_in())
        urls = stack.enter_context(redis_server()), stack.enter_context(postgres_server())
        yield stack.enter_context(Workers(variables(base_url, *urls), 2)), emulator


@pytest.fixture
def workers(served):
    return served[0]


@pytest.fixture
def emulator(served):
    """The emulator, which answers as the stand-in does at the end of the test."""
    emulator = served[1]
    yield emulator
    emulator.clear_replies()
    emulator.clear_faults()
    emulator.reply(lambda request: reply(request.texts), times=None)


@pytest.fixture
def slow(emulator):
    """Answers that take more than a second."""
    emulator.clear_replies()
    emulator.reply(LONG, times=None, delay=0.03)


@pytest.fixture
def alice(workers):
    """A user whose requests go to one worker after the other, and who is erased at the end."""
    alice = Browser(*workers.urls)
    yield alice
    status, _ = alice.call("DELETE", "me")
    assert status == 200


def begun(events):
    """Return the events up to the first piece of the answer."""
    read = []
    for event in events:
        read.append(event)
        if event.kind == "delta":
            return read
    raise AssertionError(read)


@pytest.mark.exhaustive
def test_two_workers_serve_one_user(alice, emulator):
    check_walk(json.loads(json.dumps(walk(alice))))
    assert kept(emulator) == []


@pytest.mark.exhaustive
def test_pages_of_the_sidebar_have_each_conversation_once(alice):
    names = [alice.create() for _ in range(35)]
    _, first = alice.call("GET", "conversations")
    _, second = alice.call("GET", f"conversations?after={first['next_after']}")
    listed = [each["id"] for each in first["conversations"] + second["conversations"]]
    assert (names[::-1], None) == (listed, second["next_after"])


@pytest.mark.exhaustive
def test_cut_stream_goes_on_at_the_other_worker_without_a_gap_or_a_repetition(workers, alice, slow):
    name = alice.create()
    run = alice.start(name, "Tell me more")
    one, other = map(Browser, workers.urls)
    with closing(one.follow(name, run)) as events:
        cut = begun(events)
    rest = list(other.follow(name, run, after=cut[-1].id))
    whole = list(one.follow(name, run))
    assert cut + rest == whole
    assert LONG == joined(whole)
    assert [event.id for event in whole] == [f"{run}-{number}" for number in range(1, len(whole) + 1)]
    assert ["question", "done"] == [whole[0].kind, whole[-1].kind]
    assert alice.read(name) == [("user", "Tell me more"), ("assistant", LONG)]


@pytest.mark.exhaustive
def test_reload_finds_the_answer_that_is_being_written_and_a_second_message_is_refused(alice, slow):
    name = alice.create()
    run = alice.start(name, "Tell me more")
    with closing(alice.follow(name, run)) as events:
        begun(events)
    _, conversation = alice.call("GET", f"conversations/{name}")
    assert (conversation["run"], conversation["messages"]) == (run, [])
    status, _ = alice.call("POST", f"conversations/{name}/messages", {"text": "And?"})
    assert status == 409
    assert LONG == joined(alice.follow(name, run))
    _, conversation = alice.call("GET", f"conversations/{name}")
    assert (conversation["run"], len(conversation["messages"])) == (None, 2)


@pytest.mark.exhaustive
def test_other_user_gets_404_everywhere_while_an_answer_is_written_too(workers, alice, slow):
    name = alice.create()
    run = alice.start(name, "Hello")
    mallory = Browser(*workers.urls, user="mallory")
    path = f"conversations/{name}"
    assert {
        mallory.call("GET", path)[0],
        mallory.call("PATCH", path, {"title": "Mine"})[0],
        mallory.call("DELETE", path)[0],
        mallory.call("POST", f"{path}/messages", {"text": "Hello"})[0],
        mallory.call("GET", f"{path}/runs/{run}/events")[0],
    } == {404}
    assert mallory.list() == []
    assert mallory.call("DELETE", "me")[0] == 200
    assert LONG == joined(alice.follow(name, run))
    assert [("user", "Hello"), ("assistant", LONG)] == alice.read(name)
    assert [(name, "Hello")] == alice.list()


@pytest.mark.exhaustive
def test_answer_of_a_killed_worker_ends_for_its_reader_and_the_next_message_works(workers, alice, emulator):
    name = alice.create()
    alice.ask(name, QUESTIONS[0])
    emulator.clear_replies()
    emulator.reply(LONG, delay=0.03)
    one, other = map(Browser, workers.urls)
    run = one.start(name, "Tell me more")
    events = other.follow(name, run)
    begun(events)
    workers.kill(0)
    last = list(events)[-1]
    assert (last.id, last.kind) == (None, "failed")
    assert [("user", QUESTIONS[0]), ("assistant", "San Francisco.")] == other.read(name)
    emulator.clear_replies()
    emulator.reply("California.")
    assert joined(other.ask(name, QUESTIONS[1])) == "California."
    workers.start(0)
    assert SAID == [list(pair) for pair in Browser(workers.urls[0]).read(name)]


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", ["conversations/{}", "me"])
def test_deletion_stops_the_answer_of_another_worker_and_nothing_of_it_is_stored_later(
    path, workers, alice, emulator, slow
):
    name = alice.create()
    one, other = map(Browser, workers.urls)
    run = one.start(name, "Tell me more")
    events = one.follow(name, run)
    begun(events)
    status, _ = other.call("DELETE", path.format(name))
    assert status in (200, 204)
    assert [event.kind for event in events if event.kind != "delta"] == ["failed"]
    assert (alice.list(), kept(emulator)) == ([], [])
    assert alice.call("GET", f"conversations/{name}/runs/{run}/events")[0] == 404


@pytest.mark.exhaustive
def test_failed_answer_stores_nothing_and_the_message_may_be_sent_again(alice, emulator):
    name = alice.create()
    emulator.clear_replies()
    emulator.reply(ErrorReply("It is too long.", code="context_length_exceeded"))
    failed = alice.ask(name, "Hello")
    assert [event.kind for event in failed] == ["question", "failed"]
    assert "too long" not in failed[-1].text
    assert alice.read(name) == []
    emulator.reply("Hi there!")
    assert joined(alice.ask(name, "Hello")) == "Hi there!"
    assert len(alice.read(name)) == 2


@pytest.mark.exhaustive
def test_erasure_of_a_killed_worker_is_finished_by_another(workers, alice, emulator):
    alice.ask(alice.create(), QUESTIONS[0])
    emulator.inject(Fault("stall"), operation="delete_item")
    one, other = map(Browser, workers.urls)
    with ThreadPoolExecutor() as pool:
        erased = pool.submit(one.call, "DELETE", "me")
        repeat(lambda: not emulator.unmet_faults)
        workers.kill(0)
        assert isinstance(erased.exception(), ConnectionError)
    assert other.list() == []
    report = repeat(lambda: finished(*other.call("DELETE", "me")))
    items = report["items"]
    assert (len(report["conversations"]["deleted"]), items["failed"]) == (1, {})
    assert len(items["deleted"] + items["already_gone"]) == 2
    assert kept(emulator) == []
    workers.start(0)


def finished(status, report):
    """Return the report of an erasure; None while the lease of one that was cut short runs."""
    assert status in (200, 409)
    return report if status == 200 else None


def repeat(attempt):
    """Call a function until it returns something true, and return that."""
    for _ in range(400):
        if result := attempt():
            return result
        time.sleep(0.05)
    raise TimeoutError


@pytest.mark.exhaustive
def test_worker_that_is_told_to_stop_finishes_its_answers(workers, alice, slow):
    name = alice.create()
    one, other = map(Browser, workers.urls)
    one.start(name, "Tell me more")
    workers.stop(0)
    assert [("user", "Tell me more"), ("assistant", LONG)] == other.read(name)
    workers.kill(0)
    workers.start(0)


@pytest.mark.exhaustive
async def test_nothing_is_written_once_the_lock_is_lost(workers, alice, slow):
    name = alice.create()
    run = alice.start(name, "Tell me more")
    async with Redis.from_url(workers.environment["REDIS_URL"]) as redis:
        assert await redis.delete(f"chat:lock:{name}") == 1
    assert alice.call("GET", f"conversations/{name}")[1]["run"] is None
    assert joined(alice.ask(name, "And?")) == LONG
    assert alice.call("GET", f"conversations/{name}/runs/{run}/events")[0] == 404
    assert [("user", "And?"), ("assistant", LONG)] == alice.read(name)


@pytest.mark.exhaustive
def test_deletion_that_openai_refuses_is_left_for_a_sweep(alice, emulator):
    name = alice.create()
    alice.ask(name, "Hello")
    emulator.inject(Fault("quota"), operation="delete_conversation")
    assert alice.call("DELETE", f"conversations/{name}") == (202, None)
    assert alice.list() == []
    assert alice.call("GET", f"conversations/{name}")[0] == 404


@pytest.mark.exhaustive
def test_conversation_that_cannot_be_read_is_a_502(alice, emulator):
    name = alice.create()
    alice.ask(name, "Hello")
    emulator.inject(Fault("quota"), operation="list_items")
    status, answer = alice.call("GET", f"conversations/{name}")
    assert (status, answer["detail"]) == (502, "The conversation cannot be read now. Try again later.")
    assert len(alice.read(name)) == 2


@pytest.mark.exhaustive
def test_input_is_checked(alice, workers):
    name = alice.create()
    for text in ("", "  ", "x" * 20_001):
        assert alice.call("POST", f"conversations/{name}/messages", {"text": text})[0] == 422
        assert alice.call("PATCH", f"conversations/{name}", {"title": text})[0] == 422
    assert alice.call("GET", f"conversations/{name}/runs/1/events")[0] == 404
    assert alice.call("PATCH", f"conversations/{name}", {"title": "a\0"})[0] == 422
    assert alice.call("GET", "conversations/%00")[0] == 422
    assert alice.call("GET", "conversations?after=nonsense")[0] == 400
    assert alice.call("GET", "conversations?search=%00")[0] == 400
    run = alice.start(name, "Hello")
    list(alice.follow(name, run))
    assert alice.call("GET", f"conversations/{name}/runs/{run}/events", last_event_id="x")[0] == 422
    assert Browser(*workers.urls, user="").call("GET", "conversations")[0] == 401
    assert Browser(*workers.urls, user="x" * 256).call("GET", "conversations")[0] == 401
    assert alice.call("DELETE", "me", sec_fetch_site="cross-site")[0] == 403


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser, workers, alice):
    """Open the page as alice; fail the test if a script goes wrong, or a request goes elsewhere."""
    contexts, complaints, asked = [], [], []

    def open_page(path="/", *, width=1200):
        options = {"extra_http_headers": {HEADER: "alice"}, "viewport": {"width": width, "height": 800}}
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(workers.urls[0] + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [each for each in asked if not each.startswith((workers.urls[0], "data:"))] == []


def messages(page, number):
    """Wait for a number of messages that are not being written, and return their texts."""
    expect(page.locator(".message:not(.writing)")).to_have_count(number)
    return page.locator(".message").all_text_contents()


@pytest.mark.exhaustive
def test_page_does_all_of_it_by_keyboard(opened, emulator):
    page = opened()
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.type(QUESTIONS[0])
    page.keyboard.press("Enter")
    assert [QUESTIONS[0], "San Francisco."] == messages(page, 2)
    page.keyboard.type(QUESTIONS[1])
    page.keyboard.press("Enter")
    assert [text for _, text in SAID] == messages(page, 4)
    expect(page.get_by_role("heading", level=2)).to_have_text(QUESTIONS[0])
    expect(page.locator("#list a[aria-current=page]")).to_contain_text(QUESTIONS[0])
    page.get_by_role("button", name="Rename").press("Enter")
    page.keyboard.type("Bridges")
    page.keyboard.press("Enter")
    expect(page.locator("#list .name")).to_have_text(["Bridges"])
    page.get_by_role("link", name="New").press("Enter")
    expect(page.locator(".message")).to_have_count(0)
    page.keyboard.type("<b onclick=alert()>Hello</b>")
    page.keyboard.press("Enter")
    assert ["<b onclick=alert()>Hello</b>", "I cannot tell."] == messages(page, 2)
    expect(page.locator("#list .name")).to_have_text(["<b onclick=alert()>Hello</b>", "Bridges"])
    page.get_by_label("Search titles").fill("bridge")
    expect(page.locator("#list .name")).to_have_text(["Bridges"])
    page.get_by_label("Search titles").fill("")
    page.get_by_role("button", name="Delete").press("Enter")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
    expect(page.locator("#list .name")).to_have_text(["Bridges"])
    page.get_by_role("button", name="Erase me").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Erase").press("Enter")
    expect(page.get_by_text("No conversations.")).to_be_visible()
    expect(
        page.get_by_text(re.compile(r"Erased\. Conversations: [1-9]\d*\. Items: [1-9]\d*\."))
    ).to_be_visible()
    assert kept(emulator) == []


@pytest.mark.exhaustive
def test_page_finds_the_answer_again_and_fits_a_narrow_screen(opened, alice, slow):
    name = alice.create()
    page = opened(f"/#/{name}", width=390)
    page.get_by_label("Message", exact=True).fill("Tell me more")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".writing")).to_contain_text("word2")
    page.reload()
    expect(page.locator(".writing")).to_contain_text("word2")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    assert ["Tell me more", LONG] == messages(page, 2)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator("nav")).to_be_hidden()
    page.get_by_role("button", name="Conversations").click()
    page.get_by_role("link", name="Tell me more").click()
    assert ["Tell me more", LONG] == messages(page, 2)


@pytest.mark.exhaustive
def test_page_in_a_second_tab_shows_the_answer_to_the_first(opened, alice, slow):
    name = alice.create()
    one, two = opened(f"/#/{name}"), opened(f"/#/{name}")
    for page, text in ((one, "Tell me more"), (two, "And?")):
        page.get_by_label("Message", exact=True).fill(text)
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".assistant")).to_contain_text("word")
    expect(two.get_by_text("An answer is being written")).to_be_visible()
    assert ["Tell me more", LONG] == messages(two, 2)
    expect(two.get_by_label("Message", exact=True)).to_have_value("And?")


@pytest.mark.exhaustive
def test_page_gives_a_question_back_whose_answer_failed(opened, emulator):
    page = opened()
    emulator.clear_replies()
    emulator.reply(ErrorReply("It is too long."))
    page.get_by_label("Message", exact=True).fill("Hello")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("The answer failed. Nothing of it is stored.")).to_be_visible()
    expect(page.get_by_label("Message", exact=True)).to_have_value("Hello")
    emulator.reply("Hi there!")
    page.get_by_role("button", name="Send").click()
    assert ["Hello", "Hi there!"] == messages(page, 2)
