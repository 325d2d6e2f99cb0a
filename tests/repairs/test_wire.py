"""The requests of checks, repairs, rewinds, deletions and replacements, one by one."""

from __future__ import annotations

import logging

import openai
import pytest

from openai_sessions import InvalidItemError, OpenAIConversationsSession
from openai_sessions._conversation.repairing import close_calls
from openai_sessions._items.repairs import NOT_COMPLETED
from openai_sessions.errors import (
    ConversationNotCreatedError,
    CutPointError,
    ItemNotFoundError,
    SplitItemsError,
    UnfinishedDeletionError,
)
from openai_sessions.session import DeletedItems, RepairReport, Settlement
from tests.turns.histories import assistant, call, ids, output, reasoning, user
from tests.wire import FAST, Wire, arguments, error, page

LIST = "GET /conversations/conv_1/items"
APPEND = "POST /conversations/conv_1/items"


def delete(item):
    return f"DELETE /conversations/conv_1/items/{item['id']}"


class Server:
    """A server with one conversation; it refuses to delete the ids in `kept`."""

    def __init__(self, *items: dict) -> None:
        self.items = list(items)
        self.kept: dict[str, tuple] = {}
        self.wire = Wire(self._answer)

    def session(self, **options) -> OpenAIConversationsSession:
        return OpenAIConversationsSession(
            conversation_id="conv_1",
            openai_client=self.wire.client,
            **arguments(**{"retry_policy": FAST, **options}),
        )

    @property
    def asked(self) -> list[str]:
        return list(map(str, self.wire.calls))

    @property
    def written(self) -> list[dict]:
        """The items of all requests to append."""
        return [item for call in self.wire.calls if call.method == "POST" for item in call.body["items"]]

    def _answer(self, call):
        if call.method == "DELETE":
            item_id = call.path.rpartition("/")[2]
            if item_id in self.kept:
                return self.kept[item_id]
            if item_id not in ids(self.items):
                return error(404)
            self.items = [item for item in self.items if item["id"] != item_id]
            return 200, {"id": "conv_1", "object": "conversation"}
        if not call.path.endswith("/items"):
            return 200, {"id": "conv_1", "object": "conversation"}
        if call.method == "POST":
            added = [
                {"type": "message", **item, "id": f"new_{len(self.items) + n}"}
                for n, item in enumerate(call.body["items"])
            ]
            self.items += added
            return 200, {"object": "list", "data": added, "has_more": False}
        ordered = self.items if call.query["order"] == ["asc"] else self.items[::-1]
        start = ids(ordered).index(call.query["after"][0]) + 1 if "after" in call.query else 0
        shown = ordered[start : start + int(call.query["limit"][0])]
        return page(*ids(shown), has_more=start + len(shown) < len(ordered), data=shown)


BROKEN = [user(), reasoning(), call("a"), user(), call("b"), output("c"), call("d", "custom_tool_call")]


async def test_a_check_reads_the_history_and_writes_nothing():
    server = Server(*BROKEN)
    report = await server.session().check()
    assert [each.item_id for each in report.findings] == ids([*BROKEN[1:3], *BROKEN[4:]])
    assert not report.is_sound
    assert server.asked == [LIST]


async def test_a_repair_reads_appends_and_then_deletes():
    server = Server(*BROKEN)
    session = server.session()
    report = await session.repair()
    assert server.asked == [LIST, APPEND, *map(delete, (BROKEN[5], BROKEN[2], BROKEN[1]))]
    assert server.written == [
        {"type": "function_call_output", "call_id": "b", "output": NOT_COMPLETED},
        {"type": "custom_tool_call_output", "call_id": "d", "output": NOT_COMPLETED},
    ]
    assert report.is_sound
    assert report.appended_ids == ("new_7", "new_8")
    assert report.deleted_ids == tuple(ids([*BROKEN[1:3], BROKEN[5]]))
    server.wire.calls.clear()
    assert await session.repair() == RepairReport("conv_1", is_repaired=True)
    assert server.asked == [LIST]


async def test_many_calls_are_closed_in_requests_of_20_all_or_none():
    server = Server(user(), *(call(f"c{n}") for n in range(45)))
    report = await server.session().repair()
    assert server.asked == [LIST, APPEND, APPEND, APPEND]
    assert [item["call_id"] for item in server.written] == [f"c{n}" for n in range(45)]
    assert len(report.appended_ids) == 45


async def test_a_sound_history_takes_one_request():
    server = Server(user(), call("a"), output("a"), assistant())
    assert (await server.session().repair()).findings == ()
    assert server.asked == [LIST]


@pytest.mark.parametrize(
    "use",
    [
        lambda session: session.rewind(before_turn=1),
        lambda session: session.delete_items(["msg_1"]),
        lambda session: session.replace_item("msg_1", {"role": "user", "content": "Hello"}),
    ],
)
async def test_an_unused_session_sends_nothing(use):
    wire = Wire(lambda _: error(500))
    session = OpenAIConversationsSession(openai_client=wire.client)
    assert await session.check() == await session.repair() == RepairReport(None)
    assert RepairReport(None).is_sound
    with pytest.raises(ConversationNotCreatedError):
        await use(session)
    assert wire.calls == []


async def test_three_turns_back_take_one_read_and_a_deletion_for_each_item():
    """Nothing is listed between: popping took 24 requests."""
    history = [
        item for n in range(4) for item in (user(f"q{n}"), call(f"c{n}"), output(f"c{n}"), assistant())
    ]
    server = Server(*history)
    session = server.session()
    deleted = await session.rewind(before_turn=2)
    assert server.asked[0] == LIST
    assert sorted(server.asked[1:]) == sorted(map(delete, history[4:]))
    assert server.asked[1:9] == list(map(delete, history[:7:-1]))
    assert deleted.item_ids == tuple(ids(history[4:]))
    assert deleted.items[0] == {"role": "user", "content": "q1"}
    assert server.items == history[:4]


async def test_a_rewind_after_the_newest_item_deletes_nothing():
    server = Server(user(), assistant())
    assert await server.session().rewind(after_item=server.items[1]["id"]) == DeletedItems()
    assert server.asked == [LIST]


async def test_an_item_that_is_gone_already_counts_as_deleted():
    server = Server(user(), assistant())
    server.kept[server.items[1]["id"]] = error(404)
    await server.session().rewind(after_item=server.items[0]["id"])
    assert len(server.asked) == 2  # the conversation itself is not asked for


async def test_a_rewind_between_a_call_and_its_output_deletes_nothing():
    server = Server(user(), call("a"), output("a"), assistant())
    with pytest.raises(CutPointError, match="is between a call and its output") as caught:
        await server.session().rewind(after_item=server.items[1]["id"])
    assert caught.value.safe_item_ids == (server.items[0]["id"], server.items[2]["id"])
    with pytest.raises(CutPointError, match="it has no turn 2: its turns are 1 to 1"):
        await server.session().rewind(before_turn=2)
    assert server.asked == [LIST, LIST]


@pytest.mark.parametrize("points", [{}, {"before_turn": 1, "after_item": "msg_1"}])
async def test_a_rewind_wants_exactly_one_point(points):
    server = Server(user())
    with pytest.raises(ValueError, match="give before_turn= or after_item=, and only one of them"):
        await server.session().rewind(**points)
    assert server.asked == []


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("msg_1", "ids must be a list of item ids, not 'msg_1': put a single id into a list"),
        (7, "ids must be a list of item ids, not 7"),
        ([7], r"ids\[0\] must be a string, not int"),
        (["msg_1", ""], r"ids\[1\] is empty: give the id of an item"),
        (["msg_1", "msg_2", "msg_1"], "ids contains 'msg_1' more than once"),
    ],
)
async def test_wrong_ids_are_refused_before_any_request(wrong, problem):
    server = Server(user())
    with pytest.raises((TypeError, ValueError), match=problem):
        await server.session().delete_items(wrong)
    assert server.asked == []


async def test_no_ids_are_deleted_without_a_request():
    server = Server(user())
    assert await server.session().delete_items([]) == DeletedItems()
    assert server.asked == []


async def test_named_items_are_deleted_after_one_listing():
    server = Server(user("a"), assistant(), user("b"), call("c"), output("c"), assistant())
    first, _, _, *pair, _ = server.items
    deleted = await server.session().delete_items([first["id"], pair[1]["id"], pair[0]["id"]])
    assert server.asked == [LIST, *map(delete, (pair[1], pair[0], first))]
    assert deleted.item_ids == tuple(ids([first, *pair]))
    assert deleted.items[0] == {"role": "user", "content": "a"}


async def test_unknown_ids_are_named_and_nothing_is_deleted():
    server = Server(user(), assistant())
    with pytest.raises(ItemNotFoundError, match="conv_1 has no item 'msg_x', 'msg_y'") as caught:
        await server.session().delete_items(["msg_x", server.items[0]["id"], "msg_y"])
    assert caught.value.item_ids == ("msg_x", "msg_y")
    assert server.asked == [LIST]


async def test_partners_are_named_and_nothing_is_deleted():
    server = Server(user(), reasoning(), call("a"), output("a"), assistant())
    _, thought, made, result, _ = ids(server.items)
    with pytest.raises(SplitItemsError, match=f"Delete them too: add '{thought}', '{result}'") as caught:
        await server.session().delete_items([made])
    assert caught.value.partner_ids == (thought, result)
    assert server.asked == [LIST]
    await server.session().delete_items([made, *caught.value.partner_ids])
    assert len(server.items) == 2


async def test_a_replaced_item_and_what_follows_it_are_written_again():
    server = Server(user("a"), assistant("1"), user("b"), call("c"), output("c"), assistant("2"))
    before = list(server.items)
    replaced = await server.session().replace_item(before[2]["id"], {"role": "user", "content": "B"})
    assert server.asked[:2] == [LIST, APPEND]
    assert server.asked[2:] == list(map(delete, before[:1:-1]))
    assert server.written == [
        {"role": "user", "content": "B"},
        {"type": "function_call", "call_id": "c"},
        {"type": "function_call_output", "call_id": "c"},
        {"role": "assistant", "content": "2"},
    ]
    assert list(replaced.new_ids.items()) == list(zip(ids(before[2:]), ids(server.items[2:]), strict=True))


async def test_a_replaced_item_without_followers():
    server = Server(user("a"), call("c"), output("c"))
    new = {"type": "function_call_output", "call_id": "c", "output": "other"}
    await server.session().replace_item(server.items[2]["id"], new)
    assert server.written == [new]


@pytest.mark.parametrize("place", [0, 1, 3])
async def test_what_would_be_torn_is_not_replaced(place):
    server = Server(user(), call("a"), output("a"), assistant(), reasoning(), assistant())
    with pytest.raises(SplitItemsError, match="Nothing was changed"):
        await server.session().replace_item(server.items[place]["id"], {"role": "user", "content": "x"})
    assert server.asked == [LIST]


SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search"}}


async def test_an_item_before_one_that_keeps_its_id_is_not_replaced():
    server = Server(user(), SEARCH, assistant())
    with pytest.raises(
        InvalidItemError, match=r"items\[1\].*'web_search_call' keeps its id, and ws_1"
    ) as caught:
        await server.session().replace_item(server.items[0]["id"], {"role": "user", "content": "x"})
    assert "Nothing was changed" in str(caught.value)
    with pytest.raises(InvalidItemError, match=r"items\[1\]"):
        await server.session().replace_item("ws_1", SEARCH)
    assert server.asked == [LIST, LIST]


async def test_a_new_item_that_cannot_be_stored_is_refused_before_any_request(caplog):
    server = Server(user())
    for item in ({"role": "user"}, {"type": "reasoning", "summary": []}, "Hello"):
        with pytest.raises(InvalidItemError):
            await server.session().replace_item("msg_1", item)
    with pytest.raises(ItemNotFoundError):
        await server.session().replace_item("msg_x", {"role": "user", "content": "x"})
    assert server.asked == [LIST]


REFUSED = error(400, message="this item stays")


async def test_nothing_older_is_deleted_after_a_refusal():
    history = [user(f"q{n}") for n in range(30)]
    server = Server(*history)
    server.kept[history[15]["id"]] = REFUSED
    with pytest.raises(UnfinishedDeletionError, match=r"may still be stored\. Call `await session") as caught:
        await server.session().rewind(before_turn=2)
    assert isinstance(caught.value.__cause__, openai.BadRequestError)
    left = ids(server.items)
    assert left[:9] == ids(history[:9])  # eight at a time: at most seven older ones were in flight
    assert caught.value.remaining_ids == tuple(left[1:])
    assert set(caught.value.deleted_ids) == set(ids(history)) - set(left)


async def test_settling_finishes_a_deletion_by_ids_alone():
    history = [user(), call("a"), output("a"), assistant()]
    server = Server(*history)
    server.kept[history[1]["id"]] = REFUSED
    with pytest.raises(UnfinishedDeletionError) as caught:
        await server.session().rewind(after_item=history[0]["id"])
    assert server.session().unsettled == ()
    server.items.append(user("meanwhile"))
    await server.session().get_items()
    assert ids(server.items)[:2] == ids(history[:2])  # no other operation finishes it
    with pytest.raises(UnfinishedDeletionError) as again:
        await server.session().settle(caught.value.receipt)
    server.kept.clear()
    server.wire.calls.clear()
    settled = await server.session().settle(again.value.receipt)
    assert settled == Settlement(deleted=again.value.remaining_ids)
    assert server.asked == [delete(history[1])]
    assert [item["content"][0]["text"] for item in server.items] == ["?", "meanwhile"]


class LostLock:
    """A lock of the caller that is lost once it is had."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    def raise_if_lost(self):
        raise LookupError("lost")


async def test_nothing_is_deleted_once_the_lock_is_lost():
    server = Server(user(), assistant())
    with pytest.raises(UnfinishedDeletionError) as caught:
        await server.session(lock=lambda _: LostLock()).rewind(before_turn=1)
    assert isinstance(caught.value.__cause__, LookupError)
    assert caught.value.deleted_ids == ()
    assert server.asked == [LIST]


async def test_a_repair_that_could_not_delete_is_continued():
    server = Server(*BROKEN)
    server.kept[BROKEN[2]["id"]] = REFUSED
    with pytest.raises(UnfinishedDeletionError) as caught:
        await server.session().repair()
    assert BROKEN[2]["id"] in caught.value.remaining_ids
    assert len(server.written) == 2
    server.kept.clear()
    assert (await server.session().repair()).is_sound
    assert len(server.written) == 2
    assert (await server.session().check()).findings == ()


async def test_the_calls_of_the_newest_items_are_closed_without_a_listing():
    """Outputs whose calls precede them are not touched."""
    server = Server(user(), call("old"), *(newest := [output("older"), reasoning(), call("a"), reasoning()]))
    session = server.session()
    await session.get_items()
    server.wire.calls.clear()
    report = await session._conversation.run(close_calls, newest)
    assert server.asked == [APPEND, delete(newest[3])]
    assert [item["call_id"] for item in server.written] == ["a"]
    assert [each.item_id for each in report.findings] == ids(newest[2:])


@pytest.mark.parametrize("history", ["full", "incremental"])
async def test_other_sessions_of_the_process_see_a_deletion_further_back(history):
    server = Server(*(user(f"q{n}") for n in range(5)))
    reader, writer = server.session(history=history), server.session()
    assert len(await reader.get_items()) == 5
    await writer.delete_items(ids(server.items[1:3]))
    assert [item["content"] for item in await reader.get_items()] == ["q0", "q3", "q4"]


@pytest.mark.parametrize("history", ["full", "incremental"])
async def test_a_long_history_is_read_anew_after_a_deletion_further_back(history):
    server = Server(*(user(f"q{n}") for n in range(250)))
    session = server.session(history=history)
    await session.get_items()
    await session.delete_items([server.items[3]["id"]])
    assert len(await session.get_items()) == 249


async def test_reasoning_that_led_to_nothing_is_not_among_the_items(caplog):
    server = Server(user(), reasoning())
    with caplog.at_level(logging.WARNING):
        deleted = await server.session().rewind(before_turn=1)
    assert (len(deleted.item_ids), len(deleted.items)) == (2, 1)
