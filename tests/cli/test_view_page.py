"""The page of `view` in a browser: what it shows of conversations of the API, and when it reads them."""

import pytest
from playwright.sync_api import expect

from openai_sessions.emulator import Fault
from tests.cli.page import call, entries, output, said, user
from tests.cli.service import turns
from tests.cli.test_page_hostile import HOSTILE, hostile_items
from tests.cli.viewing import viewing

pytestmark = pytest.mark.exhaustive

COMPACTION = {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}


@pytest.fixture
def server(shared_server, service):
    """Conversations of the API, and their page."""
    service.holds("conv_long", turns(125))
    newest = [output("call_1"), *turns(48), user("Wait"), user("Now"), call("call_2")]
    service.holds("conv_call", [call("call_1"), *newest])
    service.holds("conv_compacted", [*turns(1), user("kept"), COMPACTION, *turns(1)])
    service.holds("conv_hostile", hostile_items())
    names = ("conv_long", "conv_call", "conv_compacted", "conv_hostile", "conv_none", "conv_later")
    with viewing(shared_server, service, *names) as viewed:
        yield viewed


@pytest.fixture
def page(server, opened):
    """The page, when it shows the list."""
    page = opened(f"/{server.page_url.rpartition('/')[2]}/")
    expect(page.locator(".conversations li")).to_have_count(6)
    return page


def choose(page, name):
    page.get_by_role("link", name=name).click()


def lines(page):
    return page.locator(".mark").all_text_contents()


def test_conversation_is_read_when_it_is_chosen_and_when_it_is_to_be_read_again(server, page):
    page.get_by_text("Choose a conversation").wait_for()
    expect(page.locator("#connection")).to_have_text("read-only")
    assert server.sent() == []
    choose(page, "conv_compacted")
    entries(page, 6)
    assert lines(page) == [
        "Turn 1",
        "Turn 2",
        "The model reads from here: the compaction item stands for what precedes it",
        "Turn 3",
    ]
    assert page.locator(".compaction .placeholder").count() == 1
    assert len(server.sent()) == 2
    server.emulator.seed([{"id": "conv_new", "items": []}])
    for _ in range(2):
        page.wait_for_event("requestfinished")
    assert server.sent() == []
    with page.expect_response("**/items?*"):
        page.get_by_role("button", name="Read again").click()
    entries(page, 6)
    assert len(server.sent()) == 2


def test_older_items_come_above_and_the_screen_stays(server, page):
    choose(page, "conv_long")
    entries(page, 100)
    assert lines(page) == []
    first = page.locator(".entry", has_text="Question 76")
    top = first.bounding_box()["y"]
    page.get_by_role("button", name="Show older items").click()
    entries(page, 200)
    expect(page.get_by_role("button", name="Show older items")).to_be_enabled()
    assert abs(first.bounding_box()["y"] - top) < 5
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("button", name="Show older items").click()
    entries(page, 250)
    assert [said(page, 250)[index][1] for index in (0, 249)] == ["Question 1", "Answer 125"]
    assert not page.get_by_role("button", name="Show older items").is_visible()
    assert lines(page)[-1] == "Turn 125"
    assert len(server.sent()) == 4


def test_output_finds_its_call_once_that_was_read(page):
    """And what is wrong is told beside the item."""
    choose(page, "conv_call")
    page.get_by_text("the call is missing").wait_for()
    page.get_by_role("button", name="Show older items").click()
    expect(page.get_by_text("the call is missing")).to_have_count(0)
    expect(page.locator(".entry").first.locator(".side-out .block")).to_have_text("done")
    remarks = page.locator(".remark").all_text_contents()
    assert remarks == ["call without output: openai-sessions repair closes it"]


def test_hostile_texts_are_texts(page):
    choose(page, "conv_hostile")
    assert said(page, 13)[0] == ["user", HOSTILE]
    assert page.locator("main :is(script, svg, iframe, a:not(.back), img)").count() == 0


def test_failures_are_told_in_the_place_of_the_items(server, page):
    choose(page, "conv_none")
    page.get_by_text("Conversation conv_none was not found").wait_for()
    server.emulator.inject(Fault("quota"))
    choose(page, "conv_long")
    page.get_by_text("returned 429").wait_for()
    server.sent()
    for _ in range(2):
        page.wait_for_event("requestfinished")
    assert server.sent() == []
    page.get_by_role("button", name="Read again").click()
    entries(page, 100)
    server.emulator.inject(Fault("quota"))
    page.get_by_role("button", name="Show older items").click()
    page.get_by_text("returned 429").wait_for()
    assert len(said(page, 100)) == 100


def test_page_fits_a_narrow_screen(server, opened):
    page = opened(f"/{server.page_url.rpartition('/')[2]}/#/conv_compacted", width=390)
    entries(page, 6)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("link", name="All conversations").click()
    expect(page.locator(".conversations li")).to_have_count(6)
    assert not page.locator("main").is_visible()
