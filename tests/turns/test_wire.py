"""The requests that each feature makes, one by one."""

from __future__ import annotations

import pytest

from openai_sessions.session import ForkParent, HistoryLimits

from .histories import assistant, call, output, user
from .server import Server

TURN = 4
"""How many items a turn has here."""


def history(count: int) -> list[dict]:
    """Return turns of a question, a call, its output and an answer."""
    return [
        item
        for n in range(count)
        for item in (user(f"q{n}"), call(f"c{n}"), output(f"c{n}"), assistant(f"a{n}"))
    ]


async def test_one_turn_takes_the_newest_page():
    server = Server(history(100))
    assert len(await server.session().get_items(turns=1)) == TURN
    assert server.asked == ["GET /conversations/conv_1/items limit=100 order=desc"]


async def test_more_turns_take_one_page_more_where_the_first_does_not_show_where_they_begin():
    server = Server(history(100))
    cursor = server.items[-100]["id"]
    assert len(await server.session().get_items(turns=24)) == 24 * TURN
    assert len(server.asked) == 1
    assert len(await server.session().get_items(turns=26)) == 26 * TURN
    assert server.asked[1:] == [
        "GET /conversations/conv_1/items limit=100 order=desc",
        f"GET /conversations/conv_1/items limit=100 order=desc after={cursor}",
    ]


async def test_turns_that_fill_a_page_take_one_page_more_as_a_compaction_item_may_be_before_them():
    server = Server(history(100))
    assert len(await server.session().get_items(turns=25)) == 25 * TURN
    assert len(server.asked) == 2
    whole = HistoryLimits(from_compaction=False)
    assert len(await server.session(history_limits=whole).get_items(turns=25)) == 25 * TURN
    assert len(server.asked) == 3


async def test_a_call_on_the_page_before_has_that_be_read():
    """The newest page begins between a call and its output, and the turn is not over before the call."""
    server = Server([user("one"), call("a"), user("two"), *(assistant() for _ in range(98)), output("a")])
    assert len(await server.session().get_items(turns=1)) == 102
    assert len(server.asked) == 2


async def test_a_budget_takes_no_page_more_than_it_fills():
    server = Server(history(100))

    def count(text):
        return 1

    assert len(await server.session().get_items(max_tokens=98, count_tokens=count)) == 96
    assert len(server.asked) == 1
    assert len(await server.session().get_items(max_tokens=100, count_tokens=count)) == 100
    assert len(server.asked) == 3


async def test_a_limit_of_items_takes_no_page_more_than_it_fills():
    server = Server(history(100))
    assert len(await server.session().get_items(98, turns=99)) == 96
    assert len(await server.session().get_items(99, turns=99)) == 96
    assert len(server.asked) == 2


async def test_an_incremental_history_takes_the_newest_page_whatever_is_asked_for():
    server = Server(history(100))
    session = server.session(history="incremental")
    await session.turns()
    server.wire.calls.clear()
    assert len(await session.get_items(turns=60)) == 60 * TURN
    assert len(await session.turns(last=1)) == 1
    assert len(await session.find_turns("q17")) == 1
    assert server.asked == ["GET /conversations/conv_1/items limit=100 order=desc"] * 3


async def test_turns_and_searches_read_the_whole_history():
    server = Server(history(30))
    session = server.session()
    await session.turns(last=1)
    await session.find_turns("nothing")
    cold = [
        "limit=100 order=asc",
        f"limit=100 order=asc after={server.items[99]['id']}",
        "limit=100 order=desc",
    ]
    assert sorted(server.asked[:3]) == sorted(f"GET /conversations/conv_1/items {query}" for query in cold)
    assert len(server.asked) == 3 + 2


async def test_a_fork_creates_writes_and_reads_back():
    server = Server(history(3))
    fork = await server.session().fork(before_turn=2, metadata={"topic": "bridges"})
    assert fork.conversation_id == "conv_2"
    assert server.asked == [
        "GET /conversations/conv_1/items limit=100 order=asc",
        "POST /conversations",
        "POST /conversations/conv_2/items",
        "GET /conversations/conv_2/items limit=100 order=asc",
    ]
    parent = f"conv_1/{server.items[3]['id']}"
    assert server.wire.calls[1].body == {"metadata": {"topic": "bridges", "openai_sessions.parent": parent}}
    assert server.wire.calls[2].body == {
        "items": [
            {"role": "user", "content": "q0"},
            {"type": "function_call", "call_id": "c0"},
            {"type": "function_call_output", "call_id": "c0"},
            {"role": "assistant", "content": "a0"},
        ]
    }


async def test_a_fork_of_nothing_is_created_and_not_written_to():
    server = Server(history(1))
    await server.session().fork(before_turn=1)
    assert server.asked[1:] == ["POST /conversations"]
    assert server.wire.calls[1].body == {"metadata": {"openai_sessions.parent": "conv_1"}}


@pytest.mark.parametrize("point", [{"before_turn": 4}, {"after_item": "msg_none"}])
async def test_a_fork_at_no_place_creates_nothing(point):
    server = Server(history(3))
    with pytest.raises(ValueError, match="cannot be cut there"):
        await server.session().fork(**point)
    assert server.asked == ["GET /conversations/conv_1/items limit=100 order=asc"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("conv_7/msg_8", ForkParent("conv_7", "msg_8")),
        ("conv_7", ForkParent("conv_7", None)),
        ("something else", None),
        (None, None),
    ],
)
async def test_the_parent_takes_one_request(value, expected):
    server = Server([])
    server.metadata = {"topic": "bridges", **({"openai_sessions.parent": value} if value else {})}
    assert await server.session().parent() == expected
    assert server.asked == ["GET /conversations/conv_1"]
