"""The requests of a session that keeps its history, and that what it keeps stays its own."""

from __future__ import annotations

import copy

import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings
from openai_sessions.emulator import Emulator
from tests.core.listing import ItemList, texts
from tests.faults.stage import Stage, cut_after_commit
from tests.wire import FAST, Wire

from .shelves import EmulatorShelf, stored

NEWEST = ("desc", None)


async def known(count: int, **options) -> tuple[ItemList, OpenAIConversationsSession]:
    listing = ItemList(count, **options)
    session = listing.session(history="incremental")
    assert texts(await session.get_items()) == listing.ids
    listing.forget()
    return listing, session


async def requests_of_a_read(listing: ItemList, session: OpenAIConversationsSession) -> list:
    listing.forget()
    assert texts(await session.get_items()) == listing.ids
    return listing.cursors


async def test_the_first_read_is_a_full_one():
    listing = ItemList(450)
    session = listing.session(history="incremental")
    assert texts(await session.get_items()) == listing.ids
    assert len(listing.asked) == 5


@pytest.mark.parametrize("count", [1, 99, 100, 101, 450, 3000])
@pytest.mark.parametrize("silent", [False, True], ids=["404", "silent"])
async def test_an_unchanged_history_takes_one_request(count, silent):
    listing, session = await known(count, silent=silent)
    for _ in range(3):
        assert await requests_of_a_read(listing, session) == [NEWEST]


async def test_an_empty_history_takes_one_request():
    listing, session = await known(0)
    for _ in range(2):
        await requests_of_a_read(listing, session)
        assert len(listing.asked) == 1


CHANGES = {
    "one appended": lambda ids: ids.append("new"),
    "99 appended": lambda ids: ids.extend(f"n{number}" for number in range(99)),
    "one popped": lambda ids: ids.pop(),
    "200 popped": lambda ids: ids.__delitem__(slice(250, None)),
    "popped and appended": lambda ids: ids.__setitem__(slice(440, None), ["new", "newer"]),
    "cleared": lambda ids: ids.clear(),
    "cleared and appended": lambda ids: ids.__setitem__(slice(None), ["new"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_what_others_append_pop_and_clear_is_seen_in_one_request(change):
    listing, session = await known(450)
    change(listing.ids)
    assert await requests_of_a_read(listing, session) == [NEWEST]
    assert len(await requests_of_a_read(listing, session)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda ids: ids.extend(f"n{number}" for number in range(100)),
        lambda ids: ids.remove("m400"),
        lambda ids: ids.__setitem__(slice(None), [f"n{number}" for number in range(250)]),
    ],
    ids=["a hundred appended", "one deleted inside the page", "cleared and more than a page appended"],
)
async def test_after_a_page_that_does_not_fit_all_is_read_once(change):
    listing, session = await known(450)
    change(listing.ids)
    requests = await requests_of_a_read(listing, session)
    assert requests[0] == NEWEST
    assert len(requests) > 2
    assert await requests_of_a_read(listing, session) == [NEWEST]


async def test_a_deletion_further_back_is_not_seen_as_promised():
    listing, session = await known(450)
    before = list(listing.ids)
    listing.ids.remove("m100")
    assert texts(await session.get_items()) == before


async def test_a_limited_read_takes_its_pages_and_forgets_nothing():
    listing, session = await known(450)
    assert texts(await session.get_items(limit=3)) == listing.ids[-3:]
    assert texts(await session.get_items(limit=150)) == listing.ids[-150:]
    assert listing.cursors == [NEWEST, NEWEST, ("desc", "m350")]
    assert await requests_of_a_read(listing, session) == [NEWEST]


async def test_a_limited_read_makes_no_history_known():
    listing = ItemList(450)
    session = listing.session(history="incremental")
    assert texts(await session.get_items(limit=450)) == listing.ids
    assert len(await requests_of_a_read(listing, session)) == 5


async def test_each_session_object_keeps_a_history_of_its_own():
    listing, session = await known(450)
    other = listing.session(history="incremental")
    assert len(await requests_of_a_read(listing, other)) == 5
    listing.ids.append("new")
    assert await requests_of_a_read(listing, other) == [NEWEST]
    assert await requests_of_a_read(listing, session) == [NEWEST]


async def test_a_full_session_beside_it_reads_all():
    listing, session = await known(450)
    full = listing.session()
    assert len(await requests_of_a_read(listing, full)) == 5
    assert await requests_of_a_read(listing, session) == [NEWEST]


def holding(conversations: dict[str, list[dict]]) -> Wire:
    """Serve conversations of up to 200 items, whose ids may be the same."""

    def answer(call):
        found = conversations[call.path.split("/")[2]]
        shown = found if call.query["order"] == ["asc"] else found[::-1]
        ids = [item["id"] for item in shown]
        start = ids.index(call.query["after"][0]) + 1 if "after" in call.query else 0
        return 200, {"data": shown[start : start + 100], "has_more": start + 100 < len(shown)}

    return Wire(answer)


async def test_a_history_is_not_joined_to_another_conversation():
    """Some types keep the id that they are added with, so that a copied conversation has ids of the first."""
    search = {"type": "file_search_call", "id": "fs_1", "queries": ["q"], "status": "completed"}
    first = [stored(f"a{number}", f"a{number}") for number in range(150)]
    second = [stored(f"b{number}", f"b{number}") for number in range(199)]
    wire = holding({"conv_1": [*first, search], "conv_2": [*second[:99], search, *second[99:198]]})
    session = OpenAIConversationsSession(
        conversation_id="conv_1", openai_client=wire.client, history="incremental"
    )
    await session.get_items()
    session.session_id = "conv_2"
    items = await session.get_items()
    assert [item.get("content", "search") for item in items] == [
        *(f"b{number}" for number in range(99)),
        "search",
        *(f"b{number}" for number in range(99, 198)),
    ]


async def test_what_a_caller_does_to_the_items_changes_nothing_that_is_kept():
    parts = {
        "role": "user",
        "content": [{"type": "input_text", "text": "t"}, {"type": "input_text", "text": "u"}],
    }
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "o"}]}
    said = {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "x", "annotations": []}] * 2,
    }
    with Emulator() as emulator:
        session = OpenAIConversationsSession(openai_client=emulator.client(), history="incremental")
        await session.add_items([parts, call, output, said])
        expected = copy.deepcopy(await session.get_items())
        for _ in range(3):
            items = await session.get_items()
            assert items == expected
            for item in items:
                for part in [*item.get("content", []), *item.get("output", [])]:
                    part["text"] = "changed"
                    part.setdefault("annotations", []).append("changed")
                item.clear()
            items.clear()


@pytest.fixture
async def shelf():
    with Emulator() as emulator:
        shelf = EmulatorShelf(emulator)
        await shelf.create()
        await shelf.fill(250)
        shelf.emulator, shelf.stage = emulator, Stage(emulator)
        yield shelf


async def read(shelf, session: OpenAIConversationsSession) -> tuple[list[str], list[str]]:
    """Return the texts of a read, and the operations it took."""
    shelf.emulator.forget_requests()
    items = texts(await session.get_items())
    return items, [request.operation for request in shelf.emulator.requests]


def sessions(shelf) -> list[OpenAIConversationsSession]:
    """Return two incremental session objects on the conversation."""
    return [
        OpenAIConversationsSession(
            conversation_id=shelf.conversation_id,
            openai_client=shelf.stage.client,
            history="incremental",
            requests=RequestSettings(retry_policy=FAST),
        )
        for _ in range(2)
    ]


async def test_own_writes_are_seen_in_one_request_by_each_session_object(shelf):
    writer, reader = sessions(shelf)
    await writer.get_items()
    await reader.get_items()
    await writer.add_items([{"role": "user", "content": f"n{number}"} for number in range(30)])
    expected = [*shelf.labels, *(f"n{number}" for number in range(30))]
    for session in (writer, reader):
        assert await read(shelf, session) == (expected, ["list_items"])
    assert (await writer.pop_item())["content"] == expected.pop()
    assert (await reader.pop_item())["content"] == expected.pop()
    for session in (writer, reader):
        assert await read(shelf, session) == (expected, ["list_items"])
    await writer.clear_session(keep_conversation=True)
    for session in (writer, reader):
        assert await read(shelf, session) == ([], ["list_items"])
        assert await read(shelf, session) == ([], ["list_items"])


async def test_a_conversation_that_is_created_after_a_clear_is_read_as_it_is(shelf):
    session, _ = sessions(shelf)
    await session.get_items()
    await session.clear_session()
    assert await read(shelf, session) == ([], [])
    await session.add_items([{"role": "user", "content": "new"}])
    assert (await read(shelf, session))[0] == ["new"]
    assert await read(shelf, session) == (["new"], ["list_items"])


async def test_a_read_while_a_request_is_in_doubt_shows_no_copy_and_is_kept(shelf):
    session, other = sessions(shelf)
    await session.get_items()
    await other.get_items()
    shelf.stage.at("create_items", 0, cut_after_commit)
    await session.add_items([{"role": "user", "content": "new"}])
    expected = [*shelf.labels, "new"]
    for reader in (session, other, session, other):
        assert (await read(shelf, reader))[0] == expected
