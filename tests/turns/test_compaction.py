"""Reads that start at the newest compaction item: the requests of each, and what they return."""

from __future__ import annotations

import pytest

from openai_sessions import HistoryLimits, OpenAIConversationsSession
from openai_sessions._conversation.state import forget_conversations
from openai_sessions._items.forms import to_replay
from openai_sessions.transfer import copy_session, export_session, import_session

from .histories import assistant, call, compaction, output, user
from .server import Server

NEWEST = "GET /conversations/conv_1/items limit=100 order=desc"
OLDEST = "GET /conversations/conv_1/items limit=100 order=asc"
WHOLE = HistoryLimits(from_compaction=False)


def messages(count: int) -> list[dict]:
    return [(user, assistant)[number % 2](str(number)) for number in range(count)]


def compacted(count: int, *places: int) -> list[dict]:
    """Return so many items, those at some places compaction items."""
    items = messages(count)
    for place in places:
        items[place] = compaction()
        items[place - 1] = assistant("before")
    return items


def after(server: Server, place: int) -> str:
    return f"after={server.items[place]['id']}"


async def test_5000_items_with_a_compaction_item_in_the_newest_page_are_one_request():
    server = Server(compacted(5000, 4950))
    session = server.session()
    for _ in range(2):
        assert await session.get_items() == to_replay(server.items[4950:])
    assert server.asked == [NEWEST] * 2


@pytest.mark.parametrize("options", [{}, {"history": "incremental"}], ids=["full", "incremental"])
@pytest.mark.parametrize(
    ("places", "start"),
    [((299,), 299), ((250, 260), 260), ((10, 250), 250)],
    ids=["the newest item", "two in a page", "two"],
)
async def test_the_newest_of_the_compaction_items_counts(options, places, start):
    server = Server(compacted(300, *places))
    session = server.session(**options)
    for _ in range(2):
        assert await session.get_items() == to_replay(server.items[start:])
    assert server.asked == [NEWEST] * 2


async def test_a_compaction_item_in_the_second_newest_page_takes_that_and_the_oldest():
    server = Server(compacted(5000, 4850))
    assert await server.session().get_items() == to_replay(server.items[4850:])
    assert sorted(server.asked) == sorted([NEWEST, OLDEST, f"{NEWEST} {after(server, 4900)}"])


async def test_the_user_messages_before_the_compaction_item_are_read_on():
    """`/responses/compact` returns the messages of the user, and the compaction item behind them."""
    server = Server([assistant(), *(user(str(number)) for number in range(120)), compaction(), user()])
    assert await server.session().get_items() == to_replay(server.items[1:])
    assert len(server.asked) == 3


async def test_the_call_of_an_output_after_the_compaction_item_is_read():
    server = Server([*messages(300), call("a"), compaction(), output("a"), assistant()])
    assert await server.session().get_items() == to_replay(server.items[300:])
    assert server.asked == [NEWEST]


async def test_a_history_that_this_process_knows_without_compaction_is_read_at_once_and_then_from_it():
    server = Server(messages(450))
    session = server.session()
    await session.get_items()
    server.items = [*server.items, assistant(), compaction(), user()]
    server.wire.calls.clear()
    assert await session.get_items() == to_replay(server.items[-2:])
    assert len(server.asked) == 5
    server.wire.calls.clear()
    assert await session.get_items() == to_replay(server.items[-2:])
    assert server.asked == [NEWEST]


async def test_reads_of_everything_see_everything():
    server = Server(compacted(250, 230))
    session = server.session()
    await session.get_items()
    assert [item async for item in session.iterate_items()] == to_replay(server.items)
    assert [item for turn in await session.turns() for item in turn.items] == to_replay(server.items)
    assert await session.find_turns("0", case_sensitive=True)
    assert await session.get_items(2147483647) == to_replay(server.items)
    assert await server.session(history_limits=WHOLE).get_items() == to_replay(server.items)
    server.wire.calls.clear()
    assert await session.get_items() == to_replay(server.items[230:])
    assert server.asked == [NEWEST]


async def test_a_limit_in_items_is_what_is_stored_unless_it_is_that_of_the_settings():
    server = Server(compacted(250, 240))
    session = server.session()
    assert await session.get_items(5) == to_replay(server.items[-5:])
    assert await session.get_items(50) == to_replay(server.items[-50:])
    async with session.turn() as turn:
        assert await turn.get_items(50) == to_replay(server.items[-50:])
    session.session_settings = {"limit": 50}
    for each in (session, session.turn()):
        async with each:
            assert await each.get_items(50) == await each.get_items() == to_replay(server.items[240:])
    assert await session.get_items(50, turns=100) == to_replay(server.items[240:])
    assert await server.session(history_limits=WHOLE).get_items(50) == to_replay(server.items[-50:])


async def test_a_limit_in_turns_reads_back_to_the_compaction_item_at_most():
    server = Server(compacted(1000, 950))
    session = server.session()
    assert await session.get_items(turns=20) == to_replay(server.items[960:])
    assert await session.get_items(turns=500) == to_replay(server.items[950:])
    assert server.asked == [NEWEST] * 2


async def test_an_incremental_read_keeps_what_follows_the_compaction_item():
    server = Server(compacted(1000, 750))
    session = server.session(history="incremental")
    assert await session.get_items() == to_replay(server.items[750:])
    server.items += [user(), assistant()]
    server.wire.calls.clear()
    assert await session.get_items() == to_replay(server.items[750:])
    server.items += [compaction(), user()]
    assert await session.get_items() == to_replay(server.items[-2:])
    assert server.asked == [NEWEST] * 2
    del server.items[-2:]
    assert await session.get_items() == to_replay(server.items[750:])


async def test_an_incremental_read_of_everything_does_not_take_a_part_for_the_whole():
    server = Server(compacted(250, 230))
    session = server.session(history="incremental")
    await session.get_items()
    assert sum(len(turn.items) for turn in await session.turns()) == 250
    server.wire.calls.clear()
    assert await session.get_items() == to_replay(server.items[230:])
    assert sum(len(turn.items) for turn in await session.turns()) == 250
    assert server.asked == [NEWEST] * 2


async def test_an_incremental_read_finds_the_call_of_an_output_that_came_after_the_compaction_item():
    server = Server([*messages(50), call("a"), compaction()])
    session = server.session(history="incremental")
    assert await session.get_items() == to_replay(server.items[-1:])
    server.items += [output("a")]
    assert await session.get_items() == to_replay(server.items[-3:])


# Turns


async def test_a_turn_reads_from_the_compaction_item_and_its_own():
    server = Server(compacted(500, 450))
    async with server.session().turn() as turn:
        assert await turn.get_items() == to_replay(server.items[450:])
        await turn.add_items([{"role": "user", "content": "new"}])
        assert await turn.get_items() == [*to_replay(server.items[450:]), {"role": "user", "content": "new"}]
        assert server.asked == [NEWEST]
        await turn.add_items(to_replay([compaction()]))
        assert len(await turn.get_items()) == 2
        await turn.pop_item()
        assert len(await turn.get_items(10)) == 10
        await turn.pop_item()
        assert await turn.get_items(turns=500) == to_replay(server.items[450:])


async def test_a_turn_that_pops_the_compaction_item_sees_what_it_stood_for():
    server = Server([*messages(150), compaction()])
    async with server.session().turn() as turn:
        assert await turn.get_items() == to_replay(server.items[150:])
        await turn.pop_item()
        assert await turn.get_items() == to_replay(server.items[:150])
        await turn.clear_session()
        assert await turn.get_items() == []
        await turn.add_items([{"role": "user", "content": "new"}])


async def test_a_turn_that_answers_a_call_before_the_compaction_item_reads_the_call():
    server = Server([*messages(150), call("a"), compaction()])
    async with server.session().turn(on_error="discard") as turn:
        assert len(await turn.get_items()) == 1
        await turn.add_items(to_replay([output("a")]))
        assert await turn.get_items() == [*to_replay(server.items[150:]), *to_replay([output("a")])]


# Round trips on the emulator

ITEMS = to_replay([*messages(4), compaction("gA=="), user("later"), assistant("yes")])


@pytest.fixture
async def session(emulator):
    forget_conversations()
    async with emulator.client() as client:
        session = OpenAIConversationsSession(openai_client=client)
        await session.add_items(ITEMS)
        yield session


async def everything(session) -> list:
    return [item async for item in session.iterate_items()]


async def test_forks_copies_and_files_have_everything(session, emulator, tmp_path):
    fork = await session.fork()
    copied, imported = (
        OpenAIConversationsSession(openai_client=emulator.client()),
        OpenAIConversationsSession(openai_client=emulator.client()),
    )
    await copy_session(session, copied)
    await export_session(session, tmp_path / "history.jsonl")
    await import_session(tmp_path / "history.jsonl", imported)
    for each in (session, fork, copied, imported):
        assert await everything(each) == ITEMS
        assert await each.get_items() == ITEMS[4:]


async def test_items_that_another_process_adds_follow(session, emulator):
    assert await session.get_items() == ITEMS[4:]
    other = OpenAIConversationsSession(conversation_id=session.session_id, openai_client=emulator.client())
    await other.add_items([{"role": "user", "content": "more"}])
    assert await session.get_items() == [*ITEMS[4:], {"role": "user", "content": "more"}]
    assert await session.pop_item() == {"role": "user", "content": "more"}
    assert await session.pop_item() == ITEMS[-1]
    assert await session.get_items() == ITEMS[4:-1]


async def test_a_fork_reads_as_its_session_does(session):
    whole = OpenAIConversationsSession(
        conversation_id=session.session_id,
        openai_client=session.client(),
        history_limits=WHOLE,
    )
    assert await (await whole.fork()).get_items() == ITEMS


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_a_value_that_is_not_true_or_false_is_refused(value):
    with pytest.raises(TypeError, match=f"from_compaction must be True or False, not {value!r}"):
        HistoryLimits(from_compaction=value)


async def test_a_cleared_turn_of_an_unused_session_needs_no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with OpenAIConversationsSession().turn() as turn:
        await turn.clear_session()
        assert await turn.get_items() == []


async def test_an_incremental_read_joined_to_a_part_has_the_call_and_is_not_everything():
    server = Server([*messages(350), call("a"), compaction(), *messages(150)])
    session = server.session(history="incremental")
    assert await session.get_items() == to_replay(server.items[351:])
    assert sum(len(turn.items) for turn in await server.session(history="incremental").turns()) == 502
    server.items += [output("a")]
    assert await session.get_items() == to_replay(server.items[350:])
    assert sum(len(turn.items) for turn in await session.turns()) == 503
