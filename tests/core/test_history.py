"""Joining the newest page to what a session keeps, and handing it out without letting go of it."""

from __future__ import annotations

import pytest

from openai_sessions._conversation.reading import HistoryCache, copied


def items(*numbers: int) -> list[dict]:
    return [{"id": f"m{number}", "type": "message", "text": f"text {number}"} for number in numbers]


def span(start: int, stop: int) -> list[dict]:
    return items(*range(start, stop))


def knowing(known: list[dict]) -> HistoryCache:
    history = HistoryCache()
    history.learn("conv_1", known)
    return history


def test_a_history_is_not_known_before_it_is_learned():
    history = HistoryCache()
    assert not history.is_of("conv_1")
    assert history.joined(span(0, 100), is_all=False) is None
    history.learn("conv_1", span(0, 1))
    assert history.is_of("conv_1")
    assert not history.is_of("conv_2")


@pytest.mark.parametrize(
    ("known", "page", "whole"),
    [
        pytest.param(span(0, 250), span(150, 250), span(0, 250), id="unchanged"),
        pytest.param(span(0, 100), span(0, 100), span(0, 100), id="a full page, unchanged"),
        pytest.param(span(0, 250), span(151, 251), span(0, 251), id="one appended"),
        pytest.param(span(0, 250), span(249, 349), span(0, 349), id="99 appended"),
        pytest.param(span(0, 250), span(149, 249), span(0, 249), id="one popped"),
        pytest.param(span(0, 250), span(50, 150), span(0, 150), id="a hundred popped"),
        pytest.param(span(0, 250), span(0, 100), span(0, 100), id="popped down to a page"),
        pytest.param(
            span(0, 250),
            [*span(180, 230), *span(300, 350)],
            [*span(0, 230), *span(300, 350)],
            id="popped and appended",
        ),
        pytest.param(
            span(0, 250),
            [*span(229, 230), *span(300, 399)],
            [*span(0, 230), *span(300, 399)],
            id="popped and 99 appended",
        ),
        pytest.param(
            [*span(0, 99), *span(110, 250)],
            span(150, 250),
            [*span(0, 99), *span(110, 250)],
            id="whatever is further back",
        ),
        pytest.param(span(0, 250), span(240, 260), span(0, 260), id="a page shorter than a hundred"),
    ],
)
def test_a_page_that_shows_a_row_of_known_items_and_what_follows_is_joined(known, page, whole):
    assert knowing(known).joined(page, is_all=False) == whole


@pytest.mark.parametrize(
    ("known", "page"),
    [
        pytest.param([], span(0, 100), id="nothing known"),
        pytest.param(span(0, 250), [], id="an empty page before which there is more"),
        pytest.param(span(0, 250), span(250, 350), id="a hundred appended"),
        pytest.param(span(0, 250), span(300, 400), id="cleared, and more appended than a page shows"),
        pytest.param(span(0, 250), [*span(149, 200), *span(201, 250)], id="one deleted inside the page"),
        pytest.param(span(0, 250), [*span(140, 200), *span(210, 250)], id="ten deleted inside the page"),
        pytest.param(
            span(0, 250), [*span(199, 248), *span(249, 300)], id="the last but one deleted, and more appended"
        ),
        pytest.param(
            span(0, 250),
            [{**item, "text": "other"} if item["id"] == "m200" else item for item in span(150, 250)],
            id="one changed in place",
        ),
        pytest.param(
            span(0, 250),
            [{**item, "text": "other"} if item["id"] == "m150" else item for item in span(150, 250)],
            id="the first changed in place",
        ),
        pytest.param(span(0, 250), [*span(151, 153), *span(152, 250)], id="a known id twice"),
        pytest.param(span(0, 250), [*span(160, 250), *span(150, 160)], id="another order"),
        pytest.param(span(0, 250), [{"type": "hologram"}, *span(151, 250)], id="first an item without an id"),
        pytest.param(
            [*span(0, 200), {"type": "hologram"}, *span(201, 250)],
            [*span(150, 200), {"type": "hologram", "seen": True}, *span(201, 250)],
            id="an item without an id that differs",
        ),
        pytest.param(
            [{"type": "hologram"}] * 250, [{"type": "hologram"}] * 100, id="nothing but items without ids"
        ),
    ],
)
def test_a_page_that_shows_anything_else_is_not_joined(known, page):
    assert knowing(known).joined(page, is_all=False) is None


def test_items_without_ids_are_joined_where_they_are_the_same():
    known = [*span(0, 200), {"type": "hologram"}, *span(201, 250)]
    assert knowing(known).joined(known[150:], is_all=False) == known


def test_a_change_in_place_of_the_newest_item_is_not_taken_for_an_append():
    changed = [*span(150, 249), {"id": "m249", "text": "other"}]
    assert knowing(span(0, 250)).joined(changed, is_all=False) is None


def test_a_deletion_further_back_is_not_seen():
    assert knowing(span(0, 250)).joined(span(150, 250), is_all=False) == span(0, 250)


@pytest.mark.parametrize("page", [[], span(3, 5), span(300, 400)])
@pytest.mark.parametrize("known", [[], span(0, 250)])
def test_a_page_that_is_all_there_is_the_history(known, page):
    assert knowing(known).joined(page, is_all=True) == page


def test_joining_changes_neither_the_page_nor_what_is_known():
    known, page = span(0, 250), span(151, 251)
    history = knowing(known)
    joined = history.joined(page, is_all=False)
    assert joined is not None
    joined.clear()
    assert (known, page) == (span(0, 250), span(151, 251))
    assert history.joined(page, is_all=False) == span(0, 251)
    page.clear()
    assert history.joined(span(150, 250), is_all=False) == span(0, 250)


def test_learning_takes_the_list_as_it_is_now():
    known = span(0, 250)
    history = knowing(known)
    known.clear()
    assert history.joined(span(150, 250), is_all=False) == span(0, 250)


def test_a_copy_shares_no_dict_and_no_list():
    value = {"a": [1, {"b": [None, "c", 1.5, True]}], "d": {}, "e": []}
    copy = copied(value)
    assert copy == value
    copy["a"][1]["b"].append("more")
    copy["a"].append("more")
    copy["d"]["more"] = copy["e"]
    copy["e"].append("more")
    assert value == {"a": [1, {"b": [None, "c", 1.5, True]}], "d": {}, "e": []}
