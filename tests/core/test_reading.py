"""Reading the whole history from servers whose pages lie."""

from __future__ import annotations

import pytest

from openai_sessions import ConversationNotFoundError, HistoryLimits, OpenAIConversationsSession
from openai_sessions._items.types import INCLUDE
from openai_sessions.errors import CursorError, InvalidResponseError
from tests.wire import Call, Wire, error, not_found, page

ID = "conv_1"


def reader(answer) -> tuple[Wire, OpenAIConversationsSession]:
    wire = Wire(answer)
    whole = HistoryLimits(from_compaction=False)
    return wire, OpenAIConversationsSession(
        conversation_id=ID, openai_client=wire.client, history_limits=whole
    )


def paged(*pages):
    """Answer the n-th request with the n-th page, and say that nothing comes from the other end."""
    answers = iter(pages)
    return reader(lambda call: page() if call.query.get("order") == ["desc"] else next(answers))


def texts(items: list) -> list[str]:
    return [item["content"] for item in items]


def cursors(wire: Wire) -> list[str | None]:
    return [call.query.get("after", [None])[0] for call in ascending(wire)]


def ascending(wire: Wire) -> list[Call]:
    return [call for call in wire.calls if call.query.get("order") != ["desc"]]


async def test_a_full_read_asks_for_pages_of_100_in_ascending_order_with_what_replay_needs():
    wire, session = paged(page("a"))
    await session.get_items()
    assert wire.calls == [
        Call(
            "GET",
            "/conversations/conv_1/items",
            {
                "limit": ["100"],
                "order": ["asc"],
                "include[]": [
                    "message.input_image.image_url",
                    "computer_call_output.output.image_url",
                    "code_interpreter_call.outputs",
                    "file_search_call.results",
                    "web_search_call.action.sources",
                    "reasoning.encrypted_content",
                ],
            },
        )
    ]


async def test_include_adds_to_what_replay_needs():
    wire = Wire(lambda call: page())
    names = ["message.output_text.logprobs", "file_search_call.results"]
    session = OpenAIConversationsSession(conversation_id=ID, openai_client=wire.client, include=names)
    await session.get_items()
    asked = wire.calls[0].query["include[]"]
    assert (len(asked), set(asked)) == (7, {*INCLUDE, *names})


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [(1, ["1"]), (100, ["100"]), (101, ["100", "1"]), (1000, ["100", "100"]), (2147483647, ["100", "100"])],
)
async def test_a_limited_read_takes_the_newest_pages_it_needs(limit, sizes):
    items = [f"m{number}" for number in range(150)]

    def answer(call: Call):
        newest = items[::-1]
        start = newest.index(call.query["after"][0]) + 1 if "after" in call.query else 0
        size = int(call.query["limit"][0])
        return page(*newest[start : start + size], has_more=start + size < len(items))

    wire, session = reader(answer)
    assert texts(await session.get_items(limit)) == items[-limit:]
    assert [call.query["limit"][0] for call in wire.calls] == sizes
    assert {call.query["order"][0] for call in wire.calls} == {"desc"}


async def test_more_items_than_asked_for_are_cut_to_the_newest():
    _, session = reader(lambda call: page("c", "b", "a"))
    assert texts(await session.get_items(2)) == ["b", "c"]


async def test_pages_shorter_than_asked_for_are_read_on():
    wire, session = paged(page("a", has_more=True), page("b", has_more=True), page("c"))
    assert texts(await session.get_items()) == ["a", "b", "c"]
    assert cursors(wire) == [None, "a", "b"]


async def test_an_empty_page_that_others_follow_is_asked_for_once_more():
    wire, session = paged(page("a", has_more=True), page(has_more=True), page("b"))
    assert texts(await session.get_items()) == ["a", "b"]
    assert cursors(wire) == [None, "a", "a"]


async def test_empty_pages_that_others_follow_end_the_read():
    wire, session = paged(page("a", has_more=True), page(has_more=True), page(has_more=True))
    assert texts(await session.get_items()) == ["a"]
    assert len(ascending(wire)) == 3


@pytest.mark.parametrize("last_id", [None, "", "somebody-else"])
async def test_the_cursor_is_the_last_item_whatever_last_id_says(last_id):
    wire, session = paged(page("a", "b", has_more=True, last_id=last_id), page("c"))
    assert texts(await session.get_items()) == ["a", "b", "c"]
    assert cursors(wire) == [None, "b"]


async def test_an_absent_envelope_is_tolerated():
    bare = (200, {"data": page("a")[1]["data"]})
    _, session = paged(bare)
    assert texts(await session.get_items()) == ["a"]


async def test_an_absent_has_more_is_true_of_a_full_page():
    full = page(*(f"m{number}" for number in range(100)))[1]["data"]
    wire, session = paged((200, {"data": full}), page("last"))
    assert len(await session.get_items()) == 101
    assert cursors(wire) == [None, "m99"]


async def test_a_page_that_repeats_itself_is_an_error():
    wire, session = reader(lambda call: page("a", "b", has_more=True))
    with pytest.raises(CursorError, match="the page after b contains that very item") as caught:
        await session.get_items()
    assert (caught.value.conversation_id, caught.value.cursor) == (ID, "b")
    assert len(ascending(wire)) == 2


async def test_items_without_ids_are_read_with_the_cursor_that_the_page_names():
    def anonymous(last_id: str):
        items = [{"type": "hologram", "n": 1}, {"type": "hologram", "n": 1}]
        return 200, {"data": items, "has_more": True, "last_id": last_id}

    _, session = paged(anonymous("x"), anonymous("y"), page())
    assert len(await session.get_items()) == 4
    _, session = paged(anonymous("x"), anonymous("x"))
    with pytest.raises(CursorError, match="leads back to x"):
        await session.get_items()


async def test_a_page_that_says_more_and_gives_no_cursor_is_an_error():
    """Going on is impossible, and stopping would lose items silently."""
    _, session = paged((200, {"data": [{"type": "hologram"}], "has_more": True}))
    with pytest.raises(CursorError, match="cannot be requested"):
        await session.get_items()


async def test_no_id_comes_twice_from_one_page():
    _, session = paged(page("a", "b", "a"))
    assert texts(await session.get_items()) == ["a", "b"]


async def test_a_silent_restart_for_a_deleted_cursor_begins_the_read_again():
    """The item behind the cursor was deleted, and the server answered with the first page."""
    wire, session = paged(
        page("a", "b", has_more=True), page("a", "c", has_more=True), page("a", "c", has_more=True), page("d")
    )
    assert texts(await session.get_items()) == ["a", "c", "d"]
    assert cursors(wire) == [None, "b", None, "c"]


async def test_a_404_for_a_deleted_cursor_begins_the_read_again():
    wire, session = paged(
        page("a", "b", has_more=True), not_found(), (200, {"id": ID}), page("a", has_more=True), page("c")
    )
    assert texts(await session.get_items()) == ["a", "c"]
    assert [str(call) for call in wire.calls][2] == "GET /conversations/conv_1"


async def test_a_404_in_the_middle_of_a_read_is_the_conversation_when_that_is_gone():
    _, session = paged(page("a", has_more=True), not_found(), not_found())
    with pytest.raises(ConversationNotFoundError):
        await session.get_items()


async def test_cursors_that_go_each_time_end_in_an_error():
    wire, session = reader(lambda call: page("a", "c" if "after" in call.query else "b", has_more=True))
    with pytest.raises(CursorError, match="the page after b is gone each time"):
        await session.get_items()
    assert len(ascending(wire)) == 12


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"data": ["a"]}])
async def test_a_list_without_items_is_an_invalid_response(body):
    _, session = paged((200, body))
    with pytest.raises(InvalidResponseError, match="'list items' has no list of items under 'data'"):
        await session.get_items()


async def test_a_404_of_a_conversation_that_is_there_passes_through():
    wire, session = paged(not_found(), (200, {"id": ID}))
    with pytest.raises(Exception, match="404") as caught:
        await session.get_items()
    assert type(caught.value).__name__ == "NotFoundError"
    assert len(wire.calls) == 2


async def test_another_error_passes_through():
    _, session = paged(error(400, "integer_above_max_value", "too many"))
    with pytest.raises(Exception, match="too many") as caught:
        await session.get_items()
    assert type(caught.value).__name__ == "BadRequestError"
