"""What conversations hold is text on the page, whatever it says."""

import base64
import json

import pytest
from playwright.sync_api import expect

from tests.cli.page import call, entries, output, said, served, user

pytestmark = pytest.mark.exhaustive

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>"
BREAKOUT = '"></script><script>alert(4)</script><!--<a href="javascript:alert(5)">here</a>'
TEMPLATE = "${alert(6)} {{alert(7)}} <iframe srcdoc='<script>parent.alert(8)</script>'></iframe>"
HOSTILE = SCRIPT + BREAKOUT + TEMPLATE
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360f8cff01f0005000201a5f645400000000049454e44ae426082"
    )
).decode()


def picture(url):
    return {"role": "user", "content": [{"type": "input_image", "image_url": url}]}


def hostile_items():
    """Return items with hostile text wherever text may stand."""
    return [
        user(HOSTILE),
        {"role": "system", "content": HOSTILE},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": HOSTILE}]},
        call("call_1", json.dumps({HOSTILE: HOSTILE}), name=HOSTILE),
        output("call_1", HOSTILE),
        call("call_2", HOSTILE),
        output("call_none", json.dumps(HOSTILE)),
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": HOSTILE}]},
        {"role": "user", "content": [{"type": "input_file", "filename": HOSTILE, "file_id": "file_1"}]},
        picture("javascript:alert(9)"),
        picture(f"data:text/html,{HOSTILE}"),
        picture(f"data:image/svg+xml;base64,{base64.b64encode(SCRIPT.encode()).decode()}"),
        picture("https://example.com/picture.png?of=you"),
        picture("//example.com/picture.png"),
    ]


def test_hostile_texts_are_texts(server, opened):
    """No dialog, no element of theirs, no request elsewhere: the fixture looks at the whole of it."""
    server.create(*hostile_items(), metadata={HOSTILE[:60]: HOSTILE})
    page = opened()
    shown = said(page, 13)
    assert [shown[index][1] for index in (0, 1, 2)] == [HOSTILE] * 3
    assert page.locator(".conversations .title").inner_text().startswith("<script>alert(1)</script>")
    assert page.locator(".metadata dd").inner_text() == HOSTILE
    for summary in page.locator(".raw summary").all():
        summary.dispatch_event("click")
    expect(page.locator(".raw .block")).to_have_count(14)
    elements = "main :is(script, svg, iframe, [onload], [onerror], a:not(.back), img)"
    assert page.locator(elements).count() == 0
    assert page.locator("script").count() == 1


def test_hostile_paths_are_texts(server, opened):
    page = opened()
    server.get("/v1/%3Cimg%20src=x%20onerror=alert(1)%3E%E2%80%AE")
    page.locator("#requests-panel summary").click()
    page.locator("#requests li").wait_for()
    assert "<img src=x onerror=alert(1)>" in page.locator("#requests li").inner_text()
    assert page.locator("#requests img").count() == 0


def test_hostile_id_of_a_conversation_is_text(server, opened):
    page = opened(f"/#/{'%3Cimg%20src=x%20onerror=alert(1)%3E'}")
    page.get_by_text("This conversation was not found.").wait_for()
    page.evaluate("location.hash = '#/%'")
    page.evaluate("location.hash = '#/..%2F..%2Fstate'")
    page.get_by_text("This conversation was not found.").wait_for()
    assert page.locator("main img").count() == 0


def test_browser_refuses_what_the_page_never_does(server, opened):
    """Were a text ever taken for markup, the policy of the page would still stop it."""
    page = opened()
    page.locator(".welcome").wait_for()
    assert (
        page.evaluate(
            """() => {
            try { document.body.innerHTML = "<b>bold</b>"; } catch (error) { return error.name; }
        }"""
        )
        == "TypeError"
    )
    page.evaluate(
        """() => {
            const inline = document.createElement("style");
            inline.textContent = "body { color: rgb(1, 2, 3) }";
            document.body.append(inline);
        }"""
    )
    assert page.evaluate("getComputedStyle(document.body).color") != "rgb(1, 2, 3)"


def test_pictures_are_shown_only_when_they_came_whole(server, opened):
    screenshot = {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{PIXEL}"}
    server.create(
        picture(f"data:image/png;base64,{PIXEL}"),
        picture("https://example.com/picture.png"),
        picture("data:image/png;base64,AAAA"),
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PIXEL},
        {"type": "computer_call_output", "call_id": "call_none", "output": screenshot},
    )
    page = opened()
    entries(page, 5)
    page.get_by_text("Image that cannot be shown").wait_for()
    assert page.locator(".picture").count() == 3
    for image in page.locator("img").all():
        expect(image).to_have_js_property("naturalWidth", 1)
    assert page.locator(".placeholder").all_text_contents() == [
        "Image, not fetched: https://example.com/picture.png",
        "Image that cannot be shown",
    ]


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u2067", "\u200f"])
def test_direction_of_writing_ends_with_the_text(server, opened, character):
    """An override that is never closed turns its own text only, not the page around it."""
    turned = f"abc{character}def"
    server.create(user(turned), call("call_1", name=turned), metadata={turned: turned})
    page = opened()
    assert said(page, 2)[0] == ["user", turned]
    assert page.locator(".tool bdi").text_content() == turned
    parents = page.evaluate(
        """character => {
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            const found = [];
            while (walker.nextNode()) {
                if (!walker.currentNode.data.includes(character)) continue;
                let element = walker.currentNode.parentElement;
                found.push(getComputedStyle(element).unicodeBidi);
            }
            return found;
        }""",
        character,
    )
    assert len(parents) >= 6
    assert set(parents) <= {"isolate", "plaintext", "isolate-override"}


def test_very_long_text_is_shown_in_part_until_asked_for(server, opened):
    text = "0123456789" * 100_000
    server.emulator.seed([{"items": [user(text), user("x" + "\U0001f600" * 5_000)]}])
    page = opened()
    assert len(said(page, 2)[0][1]) < 5_000
    halves = "[...document.querySelectorAll('.text')].some((each) => !each.textContent.isWellFormed())"
    assert not page.evaluate(halves)
    page.get_by_role("button", name="Show all 1,000,000 characters").click()
    assert said(page, 2)[0][1] == text


@pytest.mark.parametrize("width", [380, 1200])
def test_very_long_words_make_nothing_wider(server, opened, width):
    word = "w" * 5_000
    conversation_id = server.create(
        user(word),
        call("call_1", word, name="n" * 64),
        output("call_1", word),
        metadata={"k" * 64: "v" * 512},
    )
    page = opened(f"/#/{conversation_id}", width=width)
    entries(page, 2)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('main').scrollWidth <= innerWidth")


def test_unknown_types_are_shown_as_json(opened):
    """A database of a newer version may hold them, and those whose fields are not what they were."""
    strange = [
        {"id": "x_1", "type": "telepathy", "thought": {"about": "you"}},
        {"id": "x_2", "type": "message", "role": "critic", "content": [{"type": "new"}, None, 1]},
        {"id": "x_3", "type": "message", "role": None, "content": {"text": 1}},
        {"id": "x_4", "type": "reasoning", "summary": "none", "content": [None]},
        {"id": "x_5", "type": "new_call", "arguments": 7, "call_id": None},
        {"id": "x_6", "type": "new_call_output", "output": None, "call_id": {"a": 1}},
    ]
    with served() as server:
        server.emulator.seed([{"id": "conv_1", "items": []}])
        with server.emulator.contents._store.exclusive() as connection:
            for item in strange:
                connection.execute(
                    "INSERT INTO items (conversation_id, id, body) VALUES ('conv_1', ?, ?)",
                    (item["id"], json.dumps(item)),
                )
        page = opened(url=server.url)
        assert [label for label, _ in said(page, 6)] == [
            "telepathy",
            "critic",
            "null",
            "reasoning",
            "new call",
            "new call output",
        ]
        assert '"about": "you"' in said(page, 6)[0][1]
