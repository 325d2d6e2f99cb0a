"""`iterate_items` gives what `get_items` gives, whatever the pages do."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openai_sessions import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    OpenAIConversationsSession,
)
from openai_sessions._conversation.iterating import whole_until
from openai_sessions._items.forms import to_replay
from openai_sessions.errors import CursorError
from tests.fixtures.samples import SAMPLE_NAMES, sample
from tests.reading.changes import ORDERS, Change, moments, sizes, some
from tests.reading.sequential import is_fair
from tests.reading.shelves import Shelf
from tests.reading.test_quiet_reads import shelf_of
from tests.reading.traffic import Traffic
from tests.strategies import histories
from tests.wire import HTTP_FAMILY, Wire, error, not_found, page

SERVERS = pytest.mark.parametrize("kind", ["404", "silent", "emulator"])


async def collect(session, **options):
    return [item async for item in session.iterate_items(**options)]


class Holding(Shelf):
    """A conversation that also tells which items it holds."""

    async def serve(self, request):
        label = request.url.path.partition("/items/")[2]
        if label and label not in self.labels:
            status, body, *_ = not_found()
            return HTTP_FAMILY.Response(status, json=body)
        return await super().serve(request)


@asynccontextmanager
async def holding(kind, size):
    if kind == "emulator":
        async with shelf_of(kind, size) as shelf:
            yield shelf
    else:
        shelf = Holding(silent=kind == "silent")
        await shelf.fill(size)
        yield shelf


def users(number):
    return [{"role": "user", "content": f"item {index}"} for index in range(number)]


@SERVERS
@some(12)
@example(size=100, order=[])
@example(size=199, order=[])
@given(size=sizes(), order=ORDERS)
async def test_a_quiet_conversation_is_given_in_a_request_for_each_99_items(kind, size, order):
    async with holding(kind, size) as shelf:
        traffic = Traffic(shelf)
        reading = await traffic.play(collect(traffic.session), order)
        assert tuple(shelf.labels) == reading.labels
        assert reading.requests <= 1 + -(-size // 99)
        assert reading.most_at_once <= 1


@SERVERS
@some(30)
@example(size=250, during=[(2, Change("page end", 1))], order=[])
@example(size=250, during=[(2, Change("around a page end", 30))], order=[])
@example(size=300, during=[(2, Change("oldest", 101))], order=[])
@example(size=90, during=[(1, Change("oldest", 99)), (1, Change("append", 150))], order=[])
@example(size=200, during=[(3, Change("clear"))], order=[])
@example(size=595, during=[(0, Change("newest", 99)), (9, Change("newest", 99))], order=[])
@given(size=sizes(), during=moments(), order=ORDERS)
async def test_what_is_there_throughout_is_given_once_and_in_order_or_an_error(kind, size, during, order):
    """Whatever others delete meanwhile, nothing is repeated or passed over without an error."""
    async with holding(kind, size) as shelf:
        traffic = Traffic(shelf)
        try:
            reading = await traffic.play(collect(traffic.session), order, during)
        except CursorError:
            # Only when all that is remembered is gone; some deletions take half as many again as their count.
            gone = sum(1.5 * change.count for _, change in during if change.kind != "append")
            assert gone >= 99 or "clear" in [change.kind for _, change in during]
        else:
            assert is_fair(reading.labels, reading.states, silent=False)


@some(40)
@given(history=histories(max_blocks=12), cuts=st.lists(st.integers(0, 40)))
def test_the_seams_of_pages_do_not_change_the_replay_form(history, cuts):
    """Reasoning waits for what it leads to, and the calls behind it keep their ids."""
    replayed, waiting = [], []
    for index, item in enumerate(history):
        waiting.append(item)
        if index in cuts:
            end = whole_until(waiting)
            replayed += to_replay(waiting[:end])
            del waiting[:end]
    assert to_replay(history) == [*replayed, *to_replay(waiting)]


@pytest.mark.parametrize("before", range(95, 101))
async def test_reasoning_at_the_end_of_a_page_is_given_with_what_it_led_to(before):
    """Through real pages: the reasoning, its calls and the message before stand around the hundredth item."""
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": []}
    calls = [
        {
            "id": f"fc_{number}",
            "type": "function_call",
            "call_id": f"call_{number}",
            "name": "f",
            "arguments": "",
        }
        for number in range(4)
    ]
    listed = [*(page(f"msg_{number}")[1]["data"][0] for number in range(before)), reasoning, *calls]
    listed += [page(f"msg_{number}")[1]["data"][0] for number in range(200, 290)]
    wire = Wire(lambda call: paged(call, listed))
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    given_items = await collect(session)
    assert await session.get_items() == given_items
    assert ["rs_1", "fc_0", "fc_1", "fc_2", "fc_3"] == [item["id"] for item in given_items if "id" in item]


def paged(call, listed):
    """Answer a request for a page as the API does."""
    ordered = listed if call.query["order"] == ["asc"] else listed[::-1]
    ids = [item["id"] for item in ordered]
    start = ids.index(call.query["after"][0]) + 1 if "after" in call.query else 0
    shown = ordered[start : start + int(call.query["limit"][0])]
    return 200, {"object": "list", "data": shown, "has_more": start + len(shown) < len(ids)}


@pytest.mark.parametrize("name", SAMPLE_NAMES)
async def test_every_kind_of_item_is_given_as_by_get_items(name):
    wire = Wire(lambda call: paged(call, [sample(name), *page("a")[1]["data"]]))
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    assert await session.get_items() == await collect(session)


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("survivor", [0, 1, 50, 97, 98, 99])
async def test_one_survivor_of_the_last_hundred_is_enough_to_go_on(silent, survivor):
    shelf = Shelf(silent=silent)
    await shelf.fill(350)
    wire = Wire(lambda call: answer_of(shelf, call))
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    async with aclosing(session.iterate_items()) as items:
        seen = [(await anext(items))["content"] for _ in range(199)]
        left, last_hundred = list(shelf.labels), shelf.labels[99:199]
        shelf.labels = [
            label for label in left if label not in last_hundred or label == last_hundred[survivor]
        ]
        seen += [item["content"] async for item in items]
    assert left == seen


@pytest.mark.parametrize("silent", [False, True])
async def test_a_conversation_emptied_meanwhile_is_at_its_end(silent):
    shelf = Shelf(silent=silent)
    await shelf.fill(350)
    wire = Wire(lambda call: answer_of(shelf, call))
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    async with aclosing(session.iterate_items()) as items:
        for _ in range(150):
            await anext(items)
        shelf.labels = []
        assert 49 == len([item async for item in items])  # the second page was read before


async def test_after_begins_behind_a_stored_item(emulator):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    await session.add_items(users(130))
    ids = [item["id"] for item in emulator.items(session.session_id)]
    for place in (0, 98, 99, 100, 128):
        assert users(130)[place + 1 :] == await collect(session, after=ids[place])
    assert [] == await collect(session, after=ids[-1])


@pytest.mark.parametrize("silent", [False, True])
async def test_after_an_item_that_is_not_there_is_an_error_that_names_it(silent):
    """Also where the server begins again at page one."""
    shelf = Shelf(silent=silent)
    await shelf.fill(120)
    wire = Wire(lambda call: answer_of(shelf, call))
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    with pytest.raises(
        CursorError, match=r"msg_gone cannot be requested: .* does not have that item"
    ) as caught:
        await collect(session, after="msg_gone")
    assert "msg_gone" == caught.value.cursor


def answer_of(shelf, call):
    if not call.path.endswith("/items"):
        label = call.path.partition("/items/")[2]
        return not_found() if label and label not in shelf.labels else (200, {"id": label or "conv_1"})
    after, limit = call.query.get("after", [None])[0], int(call.query["limit"][0])
    if after is not None and after not in shelf.labels and not shelf.silent:
        return not_found()
    start = shelf.labels.index(after) + 1 if after in shelf.labels else 0
    shown = shelf.labels[start : start + limit]
    return page(*shown, has_more=start + limit < len(shelf.labels))


@pytest.mark.parametrize("after", ["", 3, ["msg_1"]])
async def test_a_cursor_that_is_no_id_is_refused(emulator, after):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    with pytest.raises(TypeError, match="after must be the id of a stored item"):
        await collect(session, after=after)


async def test_an_unused_session_gives_nothing_without_a_request(emulator):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    assert [] == await collect(session)
    with pytest.raises(ConversationNotCreatedError):
        await collect(session, after="msg_1")
    assert () == emulator.requests


async def test_a_session_cleared_meanwhile_is_not_taken_for_its_end(emulator):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    await session.add_items(users(150))
    cleared = session.session_id
    async with aclosing(session.iterate_items()) as items:
        await anext(items)
        await session.clear_session()
        with pytest.raises(ConversationNotFoundError) as caught:
            [item async for item in items]
    assert cleared == caught.value.conversation_id


async def test_a_new_conversation_of_the_session_is_not_taken_for_the_rest(emulator):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    await session.add_items(users(150))
    async with aclosing(session.iterate_items()) as items:
        await anext(items)
        await session.clear_session()
        await session.add_items(users(150))
        with pytest.raises(ConversationNotFoundError):
            [item async for item in items]


async def test_the_conversation_is_free_between_pages(emulator):
    """What is added while items are used is given too."""
    session = OpenAIConversationsSession(openai_client=emulator.client())
    await session.add_items(users(150))
    seen = []
    async for item in session.iterate_items():
        if not seen:
            await session.add_items([{"role": "user", "content": "added"}])
        seen.append(item)
    assert [*users(150), {"role": "user", "content": "added"}] == seen


async def test_items_deleted_by_the_session_meanwhile_are_not_given(emulator):
    session = OpenAIConversationsSession(openai_client=emulator.client())
    await session.add_items(users(150))
    async with aclosing(session.iterate_items()) as items:
        first = await anext(items)
        for _ in range(60):  # the newest of the first page among them
            await session.pop_item()
        rest = [item async for item in items]
    assert users(100) == [first, *rest]  # the first page was read before


async def test_a_limit_of_the_settings_does_not_hold(emulator):
    session = OpenAIConversationsSession(openai_client=emulator.client(), session_settings={"limit": 3})
    await session.add_items(users(10))
    assert users(10) == await collect(session)


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda call: page("a", "b", has_more=True), id="the same page again and again"),
        pytest.param(
            lambda call: (
                page("b", "a", has_more=True) if "after" in call.query else page("a", "b", has_more=True)
            ),
            id="a cursor that leads back",
        ),
    ],
)
async def test_pages_that_contradict_each_other_are_an_error(lie):
    wire = Wire(lie)
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    with pytest.raises(CursorError):
        await collect(session)
    assert len(wire.calls) < 20


async def test_a_last_page_that_promises_more_is_asked_for_again_and_believed():
    def answer(call):
        return page("b", has_more=True) if "after" in call.query else page("a", "b", has_more=True)

    wire = Wire(answer)
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    assert ["a", "b"] == [item["content"] for item in await collect(session)]


async def test_items_without_ids_are_given_while_one_page_holds_them():
    def answer(call):
        status, body = page("a", "b", has_more=False)
        return status, {**body, "data": [{**item, "id": None} for item in body["data"]]}

    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=Wire(answer).client)
    assert ["a", "b"] == [item["content"] for item in await collect(session)]


async def test_items_without_ids_cannot_be_gone_on_behind():
    def answer(call):
        status, body = page("a", "b", has_more=True)
        return status, {**body, "data": [{**item, "id": None} for item in body["data"]]}

    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=Wire(answer).client)
    with pytest.raises(CursorError, match="an item without an id"):
        await collect(session)


async def test_a_conversation_that_is_gone_is_an_error():
    wire = Wire(lambda call: error(404))
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    with pytest.raises(ConversationNotFoundError):
        await collect(session)


async def test_items_are_the_callers_to_change(emulator):
    session = OpenAIConversationsSession(openai_client=emulator.client(), history="incremental")
    await session.add_items(users(2))
    await session.get_items()
    async for item in session.iterate_items():
        item["content"] = "changed"
    assert users(2) == await session.get_items()
