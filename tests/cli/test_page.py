"""The page in a browser: what it shows while programs run, by keyboard, on a small screen and in the dark."""

import json

import pytest
from playwright.sync_api import expect

from tests.cli.page import KEY, assistant, call, entries, output, said, served, user

pytestmark = pytest.mark.exhaustive


def test_transcript_grows_while_a_program_runs(server, opened):
    """Nothing is there at first; the first conversation opens by itself."""
    page = opened()
    assert f"OPENAI_BASE_URL={server.url}/v1" in page.locator(".welcome code").text_content()
    conversation_id = server.create(user("What city?"))
    assert said(page, 1) == [["user", "What city?"]]
    assert page.url == f"{server.url}/#/{conversation_id}"
    server.add(conversation_id, assistant("San Francisco."))
    assert said(page, 2) == [["user", "What city?"], ["assistant", "San Francisco."]]
    expect(page.locator(".head .title")).to_have_text("What city?")
    expect(page).to_have_title("What city?")


def test_new_conversations_come_first_and_the_chosen_one_stays(server, opened):
    first = server.create(user("first"))
    page = opened()
    entries(page, 1)
    server.create(user("second"), user("second again"))
    page.locator(".conversations .title", has_text="second").wait_for()
    assert page.locator(".conversations .title").all_inner_texts() == ["second", "first"]
    assert said(page, 1) == [["user", "first"]]
    assert page.locator("[aria-current=page]").get_attribute("href") == f"#/{first}"


def test_items_taken_away_disappear(server, opened):
    conversation_id = server.create(user("stays"), user("goes"), user("stays too"))
    page = opened()
    entries(page, 3)
    server.delete(conversation_id, server.emulator.items(conversation_id)[1]["id"])
    assert said(page, 2) == [["user", "stays"], ["user", "stays too"]]


def test_deleted_conversation_says_so_and_stays_readable(server, opened):
    conversation_id = server.create(user("last words"))
    page = opened()
    entries(page, 1)
    server.call("DELETE", f"/conversations/{conversation_id}")
    page.get_by_text("This conversation was deleted").wait_for()
    assert said(page, 1) == [["user", "last words"]]
    assert page.locator(".conversations li").count() == 0


def test_conversation_that_never_was_says_so(server, opened):
    server.create(user("another"))
    page = opened("/#/conv_none")
    page.get_by_text("This conversation was not found.").wait_for()


def test_call_stands_beside_its_output(server, opened):
    conversation_id = server.create(call("call_1", '{"b":[1,{}],"a":12345678901234567890}'), call("call_2"))
    page = opened()
    entries(page, 2)
    first = page.locator(".entry").nth(0)
    assert first.locator(".tool").text_content() == "look_up"
    indented = '{\n  "b": [\n    1,\n    {}\n  ],\n  "a": 12345678901234567890\n}'
    assert first.locator(".side-in .block").text_content() == indented
    assert first.locator(".side-out").text_content() == "no output yet"
    server.add(conversation_id, output("call_1", '{"done":true}'))
    first.locator(".side-out .block").wait_for()
    assert first.locator(".side-out .block").text_content() == '{\n  "done": true\n}'
    assert page.locator(".entry").nth(1).locator(".side-out").text_content() == "no output yet"
    boxes = [first.locator(side).bounding_box() for side in (".side-in", ".side-out")]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] < boxes[1]["x"]


def test_output_taken_away_leaves_its_call_waiting(server, opened):
    conversation_id = server.create(call("call_1"), output("call_1"))
    page = opened()
    page.locator(".side-out .block").wait_for()
    server.delete(conversation_id, server.emulator.items(conversation_id)[1]["id"])
    page.get_by_text("no output yet").wait_for()
    server.add(conversation_id, output("call_1", "again"))
    page.locator(".side-out .block", has_text="again").wait_for()


def test_output_without_its_call_stands_alone(server, opened):
    conversation_id = server.create(call("call_1"), output("call_1"))
    page = opened()
    page.locator(".side-out .block").wait_for()
    server.delete(conversation_id, server.emulator.items(conversation_id)[0]["id"])
    page.get_by_text("the call is missing").wait_for()
    assert page.locator(".side-out .block").text_content() == "done"
    server.delete(conversation_id, server.emulator.items(conversation_id)[0]["id"])
    entries(page, 0)


def test_call_keeps_its_place_and_its_output_has_none_of_its_own(server, opened):
    conversation_id = server.create(call("call_1"), user("meanwhile"))
    page = opened()
    entries(page, 2)
    server.add(conversation_id, output("call_1"), user("after"))
    assert [entry[0] for entry in said(page, 3)] == ["function call", "user", "user"]


def test_json_of_an_item_is_shown_when_asked_for(server, opened):
    conversation_id = server.create(user("Grüße"))
    (item,) = server.emulator.items(conversation_id)
    page = opened()
    entries(page, 1)
    page.locator(".entry").hover()
    page.locator(".raw summary").click()
    page.locator(".raw .block").wait_for()
    assert page.locator(".raw .block").text_content() == json.dumps(item, indent=2, ensure_ascii=False)


def test_only_new_items_are_asked_for(server, opened):
    """Three thousand items and three hundred conversations: one more is an answer of one item."""
    history = [user(f"item {number}") for number in range(3_000)]
    server.emulator.seed([{"items": [user(f"conversation {number}")]} for number in range(300)])
    server.emulator.seed([{"id": "conv_long", "items": history}])
    page = opened("/#/conv_long")
    assert said(page, 3_000)[2_999] == ["user", "item 2999"]
    assert page.locator(".conversations li").count() == 200
    with page.expect_response("**/items?*") as answer:
        server.add("conv_long", user("one more"))
    assert len(answer.value.json()["items"]) == 1
    assert said(page, 3_001)[3_000] == ["user", "one more"]
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".conversations li")).to_have_count(301)
    assert page.get_by_role("button", name="Show more").count() == 0


def test_nothing_is_asked_for_but_the_state_while_nothing_changes(server, opened):
    server.create(user("Hello"))
    page = opened()
    entries(page, 1)
    asked = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    for _ in range(2):
        page.wait_for_event("requestfinished")
    assert set(asked) == {"state?"}


def test_transcript_stays_in_place_while_a_person_reads_above(server, opened):
    """At its end it follows what is said; further up it does not move."""
    conversation_id = server.create(*(user(f"{number}\n" * 20) for number in range(9)))
    page = opened()
    entries(page, 9)
    expect(page.locator(".transcript")).to_have_attribute("aria-busy", "false")
    server.add(conversation_id, user("unseen"))
    entries(page, 10)
    assert page.evaluate("scrollY") == 0
    page.evaluate(
        """async () => {
            for (let frame = 0; frame < 9; frame += 1) {
                scrollTo(0, document.scrollingElement.scrollHeight);
                await new Promise(requestAnimationFrame);
            }
        }"""
    )
    server.add(conversation_id, user("seen\n" * 20))
    expect(page.locator(".entry").nth(10)).to_be_in_viewport(ratio=0.9)


def test_requests_are_listed_with_their_faults(server, opened):
    page = opened()
    server.create()
    assert server.get("/v1/conversations/conv_none")[0] == 401
    page.locator("#requests-panel summary").click()
    page.locator("#requests li").nth(1).wait_for()
    rows = [row.split("\n")[:2] for row in page.locator("#requests li").all_inner_texts()]
    assert rows == [["401", "retrieve_conversation"], ["200", "create_conversation"]]


def test_server_that_stops_is_told_and_one_that_comes_back_is_shown(opened):
    with served() as first:
        port = int(first.url.rpartition(":")[2])
        first.emulator.seed([{"id": "conv_1", "items": [user("before")]}])
        page = opened("/#/conv_1", url=first.url)
        entries(page, 1)
    page.get_by_text("disconnected").wait_for()
    with served(port=port) as second:
        second.emulator.seed([{"id": "conv_1", "items": [user("after")]}])
        page.locator(".entry", has_text="after").wait_for()
        assert said(page, 1) == [["user", "after"]]


def test_page_asks_for_a_key_where_the_server_does(opened):
    with served(api_keys=[KEY]) as server:
        server.create(user("private"))
        page = opened(url=server.url)
        page.get_by_label("API key").fill("sk-wrong")
        page.get_by_role("button", name="Show conversations").click()
        page.get_by_text("rejected this key").wait_for()
        assert "private" not in page.content()
        page.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        assert said(page, 1) == [["user", "private"]]
        assert KEY not in page.content() + page.url
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


CONTRAST = 4.5
"""What WCAG 2.2 asks for in level AA (1.4.3) of text that is not large."""


def talk(server):
    return server.create(
        user("Hello"),
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "A greeting."}]},
        call("call_1"),
        output("call_1"),
        assistant("Hi there!"),
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/"}]},
        metadata={"user": "first"},
    )


def test_conversations_are_chosen_by_keyboard(server, opened):
    first = server.create(user("first"))
    server.create(user("second"))
    page = opened()
    entries(page, 1)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the transcript"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".text")).to_have_text("first")
    assert page.url.endswith(f"#/{first}")
    server.create(user("third"))
    expect(page.locator(".conversations li")).to_have_count(3)
    assert page.evaluate("document.activeElement.dataset.id") == first
    page.go_back()
    expect(page.locator(".text")).to_have_text("second")


def test_skip_link_leads_to_the_transcript_and_keeps_it(server, opened):
    server.create(user("Hello"))
    page = opened()
    entries(page, 1)
    address = page.url
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    assert page.url == address
    server.create(user("another"))
    expect(page.locator(".conversations li")).to_have_count(2)
    assert said(page, 1) == [["user", "Hello"]]


def test_narrow_screen_shows_the_list_and_then_the_conversation(server, opened):
    talk(server)
    page = opened(width=380)
    link = page.locator(".conversations a")
    link.wait_for()
    assert not page.locator("main").is_visible()
    link.click()
    entries(page, 5)
    assert not page.locator(".conversations").is_visible()
    boxes = [page.locator(side).bounding_box() for side in (".side-in", ".side-out")]
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]
    page.get_by_role("link", name="All conversations").click()
    page.locator(".conversations").wait_for()
    assert not page.locator("main").is_visible()


def test_structure_is_told_by_landmarks_and_headings(server, opened):
    talk(server)
    page = opened()
    entries(page, 5)
    for role in ("banner", "navigation", "main"):
        assert page.get_by_role(role).count() == 1
    headings = page.evaluate(
        "[...document.querySelectorAll('main :is(h1, h2, h3)')].map((each) => each.tagName)"
    )
    assert headings == ["H2", *["H3"] * 5]
    assert page.get_by_role("heading", level=1).all_inner_texts() == ["openai-sessions"]
    assert page.get_by_role("list", name="Transcript").get_by_role("listitem").count() == 5
    named = "(each) => each.textContent || each.labels?.length"
    assert page.evaluate(f"[...document.querySelectorAll('button, a, input')].every({named})")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_ground(server, opened, scheme):
    talk(server)
    page = opened(color_scheme=scheme)
    entries(page, 5)
    server.get("/v1/none")
    page.locator("#requests-panel summary").click()
    page.locator("#requests li").nth(1).wait_for()
    pairs = page.evaluate(
        """() => {
            const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
            const ground = (element) => {
                for (let each = element; each; each = each.parentElement) {
                    const [r, g, b, opacity] = numbers(getComputedStyle(each).backgroundColor);
                    if (opacity !== 0) return [r, g, b];
                }
            };
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            const pairs = [];
            while (walker.nextNode()) {
                const element = walker.currentNode.parentElement;
                if (!walker.currentNode.data.trim()) continue;
                if (!element.checkVisibility({ opacityProperty: true })) continue;
                pairs.push([element.className, numbers(getComputedStyle(element).color), ground(element)]);
            }
            return pairs;
        }"""
    )
    assert len(pairs) > 20
    dark = sum(pairs[0][2]) < 300
    assert dark == (scheme == "dark")
    assert [
        (name, contrast(ink, paper)) for name, ink, paper in pairs if contrast(ink, paper) < CONTRAST
    ] == []


def contrast(ink, paper):
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color):
    """Relative luminance as in https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [part / 255 for part in color[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


SAMPLES = [
    {},
    [],
    [[], {}, [{}]],
    {"a": {"b": [1, 2.5, -3e-7, True, None]}, "": '\\ " \n \u2028 { } [ ] , :'},
    ["Grüße", "\U0001f600", "\\u0041", "\\\\"],
    "text",
    0,
]


def test_json_is_indented_as_python_does(opened):
    page = opened()
    for sample in SAMPLES:
        for ascii_only in (True, False):
            shown = indented(page, json.dumps(sample, ensure_ascii=ascii_only))
            assert shown == json.dumps(sample, indent=2, ensure_ascii=False)


def test_numbers_stay_as_they_are_written(opened):
    page = opened()
    for number in ("12345678901234567890", "1.0", "1E400", "-0", "0.10"):
        assert indented(page, f"[{number}]") == f"[\n  {number}\n]"


def test_what_is_no_json_stays_as_it_is(opened):
    page = opened()
    for text in ("", "plain", "{", '{"a": }', "[1] 2", "{'a': 1}", "<b>", '["' + "x" * 200_000 + '"]'):
        assert indented(page, text) == text


def indented(page, text):
    return page.evaluate("async (text) => (await import('/page/json.js')).indented(text)", text)
