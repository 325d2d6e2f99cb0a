"""A history that was read before: all its pages at once, and nothing taken for granted."""

from __future__ import annotations

import asyncio

import pytest

from openai_sessions._conversation.reading import page_ends
from tests.wire import error

from .listing import ItemList, texts


async def warm(count: int, **options) -> tuple[ItemList, object]:
    listing = ItemList(count, **options)
    session = listing.session()
    assert texts(await session.get_items()) == listing.ids
    listing.forget()
    return listing, session


@pytest.mark.parametrize(
    ("count", "cursors"),
    [
        (100, [None]),
        (101, [None, "m99"]),
        (200, [None, "m99"]),
        (201, [None, "m99", "m199"]),
        (450, [None, "m99", "m199", "m299", "m399"]),
    ],
)
async def test_the_pages_of_the_last_read_are_asked_for_at_once(count, cursors):
    listing, session = await warm(count)
    assert texts(await session.get_items()) == listing.ids
    order = "asc" if len(cursors) > 1 else "desc"  # a single page has no ends
    assert listing.cursors == [(order, cursor) for cursor in cursors]
    assert listing.depth == 1


async def test_session_objects_share_what_is_known_of_the_pages():
    listing, session = await warm(450)
    assert texts(await listing.session().get_items()) == listing.ids
    assert listing.depth == 1
    assert session is not None


async def test_at_most_sixteen_are_under_way_at_once():
    listing, session = await warm(2450)
    assert texts(await session.get_items()) == listing.ids
    assert (len(listing.asked), listing.most_at_once, listing.depth) == (25, 16, 2)


async def test_what_was_appended_is_read_on():
    listing, session = await warm(450)
    listing.ids += [f"n{number}" for number in range(150)]
    assert texts(await session.get_items()) == listing.ids
    assert listing.cursors[5:] == [("asc", "n49")]


@pytest.mark.parametrize("silent", [False, True], ids=["404", "silent restart"])
@pytest.mark.parametrize(
    ("gone", "asked_again"),
    [
        (["m0"], ["m100", "m200", "m300", "m400"]),
        (["m250"], ["m300", "m400"]),
        (["m449"], []),
        (["m420"], []),
        ([f"m{number}" for number in range(380, 450)], []),
        ([f"m{number}" for number in range(200, 450)], []),
        ([f"m{number}" for number in range(450)], []),
        (["m399"], ["m400"]),
    ],
    ids=["oldest", "middle", "newest", "last page", "popped", "half", "cleared", "page end"],
)
async def test_after_a_deletion_only_pages_whose_predecessor_still_ends_there_are_taken(
    silent, gone, asked_again
):
    listing, session = await warm(450, silent=silent)
    listing.ids = [item for item in listing.ids if item not in gone]
    assert texts(await session.get_items()) == listing.ids
    assert listing.cursors[5:] == [("asc", cursor) for cursor in asked_again]
    listing.forget()
    assert texts(await session.get_items()) == listing.ids
    assert listing.depth == 1


@pytest.mark.parametrize("silent", [False, True], ids=["404", "silent restart"])
async def test_a_cursor_that_goes_during_the_read_begins_it_again(silent):
    listing, session = await warm(450, silent=silent)

    def delete(asked):
        if asked.after is None and "m99" in listing.ids:
            asyncio.get_running_loop().call_soon(listing.ids.remove, "m99")

    listing.before_answer = delete
    items = texts(await session.get_items())
    assert [item for item in items if item != "m99"] == [item for item in listing.ids if item != "m99"]


async def test_an_error_of_a_page_that_is_needed_comes_out():
    listing, session = await warm(450)
    answer = listing.wire._answer
    listing.wire._answer = lambda call: error(403) if call.query.get("after") == ["m199"] else answer(call)
    with pytest.raises(Exception, match="403"):
        await session.get_items()


async def test_an_error_of_a_page_that_is_not_needed_does_not_matter():
    listing, session = await warm(450)
    del listing.ids[150:]
    answer = listing.wire._answer
    listing.wire._answer = lambda call: error(403) if call.query.get("after") == ["m299"] else answer(call)
    assert texts(await session.get_items()) == listing.ids


async def test_a_cancelled_read_leaves_no_request_behind():
    listing, session = await warm(450)
    tasks = asyncio.all_tasks()
    reading = asyncio.ensure_future(session.get_items())
    listing.before_answer = lambda _: reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize(("popped", "cursors"), [(1, ["m99", "m199"]), (60, ["m99"]), (200, [])])
async def test_pages_whose_ends_this_process_deletes_are_forgotten(popped, cursors):
    _, session = await warm(250)
    known = session._conversation.known
    known.tail.remove([f"m{number}" for number in range(250 - popped, 250)])
    assert list(known.tail.page_ends) == cursors


def test_page_ends_are_those_of_full_pages_that_others_follow():
    items = [{"id": f"m{number}"} for number in range(301)]
    assert page_ends(items[:100]) == ()
    assert page_ends(items[:101]) == ("m99",)
    assert page_ends(items[:300]) == ("m99", "m199")
    assert page_ends(items) == ("m99", "m199", "m299")
    assert page_ends([{} if number == 199 else item for number, item in enumerate(items)]) == ("m99",)
