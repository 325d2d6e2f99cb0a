"""A history that nobody has read yet: the newest page alone, then two at a time until they meet."""

from __future__ import annotations

import math

import pytest

from openai_sessions import HistoryLimits, OpenAIConversationsSession
from tests.wire import error

from .listing import Asked, ItemList, texts


async def test_the_requests_of_a_history_of_450():
    listing = ItemList(450)
    assert texts(await listing.session().get_items()) == listing.ids
    assert listing.cursors == [
        ("desc", None),
        ("asc", None),
        ("desc", "m350"),
        ("asc", "m99"),
        ("desc", "m250"),
    ]


@pytest.mark.parametrize(
    ("count", "requests", "depth"),
    [
        (0, 1, 1),
        (1, 1, 1),
        (100, 1, 1),
        (101, 3, 2),
        (200, 3, 2),
        (201, 3, 2),
        (300, 5, 3),
        (990, 11, 6),
        (1000, 11, 6),
    ],
)
async def test_how_many_requests_and_round_trips(count, requests, depth):
    listing = ItemList(count)
    assert texts(await listing.session().get_items()) == listing.ids
    assert (len(listing.asked), listing.depth) == (requests, depth)
    assert len(listing.asked) <= math.ceil(count / 100) + 2
    assert listing.most_at_once <= 2


CHANGES = {
    "append": lambda ids: ids.append("new"),
    "pop": lambda ids: ids.pop(),
    "delete the oldest": lambda ids: ids.pop(0),
    "delete in the middle": lambda ids: ids.pop(len(ids) // 2),
    "delete a hundred in the middle": lambda ids: ids.__delitem__(slice(150, 250)),
    "delete what both ends have come to": lambda ids: ids.remove("m199"),
    "clear": lambda ids: ids.clear(),
}


@pytest.mark.parametrize("silent", [False, True], ids=["404", "silent restart"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("moment", range(5))
async def test_items_that_are_there_throughout_appear_once_and_in_order(change, moment, silent):
    listing = ItemList(450, silent=silent)
    before = list(listing.ids)

    def change_once(asked: Asked) -> None:
        if len(listing.asked) > moment and listing.ids == before:
            change(listing.ids)

    listing.before_answer = change_once
    items = texts(await listing.session().get_items())
    everything = [*before, "new"]
    assert len(items) == len(set(items))
    assert items == sorted(items, key=everything.index)
    assert {item for item in before if item in listing.ids} <= set(items)


async def test_an_item_deleted_between_the_two_pages_that_hold_it_is_not_put_in_a_wrong_place():
    """The newest pages still show it, the oldest no longer: it lies before the item where they meet."""
    listing = ItemList(250)

    def delete(asked: Asked) -> None:
        if asked.order == "asc" and asked.after is not None and "m180" in listing.ids:
            listing.ids.remove("m180")

    listing.before_answer = delete
    whole = HistoryLimits(from_compaction=False)
    items = texts(await listing.session(history_limits=whole).get_items())
    assert items == [f"m{number}" for number in range(250) if number != 180]


async def test_when_the_newest_items_are_being_taken_the_oldest_are_read_on_alone():
    listing = ItemList(950)

    def pop(asked: Asked) -> None:
        if asked.order == "desc":
            del listing.ids[-120:]

    listing.before_answer = pop
    assert texts(await listing.session().get_items()) == listing.ids
    assert len(listing.ids) == 710


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_an_error_of_one_end_comes_out(order):
    listing = ItemList(450)
    answer = listing.wire._answer

    def fail(call):
        failing = call.query.get("order") == [order] and "after" in call.query
        return error(403) if failing else answer(call)

    listing.wire._answer = fail
    with pytest.raises(Exception, match="403"):
        await listing.session().get_items()


async def test_items_without_ids_are_read_from_one_end():
    def pages(call):
        start = int(call.query.get("after", ["0"])[0])
        data = [{"type": "hologram", "number": start + number} for number in range(100)]
        return 200, {"data": data, "has_more": start < 200, "last_id": str(start + 100)}

    listing = ItemList(0)
    listing.wire._answer = pages
    session: OpenAIConversationsSession = listing.session()
    assert [item["number"] for item in await session.get_items()] == list(range(300))
