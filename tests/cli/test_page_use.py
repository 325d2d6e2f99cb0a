"""Using the page: by keyboard, on a narrow screen, in the dark, by its structure; and its JSON."""

import json

import pytest
from playwright.sync_api import expect

from tests.cli.page import assistant, call, entries, output, said, user

pytestmark = pytest.mark.slow

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
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
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
