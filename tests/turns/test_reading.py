"""Reading by turns on the emulator: turns, searching, and reads within limits."""

from __future__ import annotations

import pytest

from openai_sessions import HistoryLimits, OpenAIConversationsSession, RequestSettings
from openai_sessions.emulator import Fault
from openai_sessions.tokens import item_text
from tests.wire import FAST

SYSTEM = {"role": "system", "content": "Be brief."}


def turn(number: int) -> list[dict]:
    """Return a turn of five items, of which three are messages."""
    key = f"call_{number}"
    return [
        {"role": "user", "content": f"question {number}"},
        {"role": "assistant", "content": "Let me look."},
        {"type": "function_call", "call_id": key, "name": "look", "arguments": f'{{"page": {number}}}'},
        {"type": "function_call_output", "call_id": key, "output": f"page {number} says 42"},
        {"role": "assistant", "content": f"answer {number}"},
    ]


def turns(*numbers: int) -> list[dict]:
    return [item for number in numbers for item in turn(number)]


@pytest.fixture
async def session(emulator):
    """A session of a system message and 50 turns: 251 items."""
    session = OpenAIConversationsSession(
        openai_client=emulator.client(), requests=RequestSettings(retry_policy=FAST)
    )
    await session.add_items([SYSTEM, *turns(*range(1, 51))])
    emulator.forget_requests()
    return session


@pytest.fixture(params=["full", "incremental"])
async def either(request, session, emulator):
    """A session object of each kind on the same conversation."""
    return OpenAIConversationsSession(
        conversation_id=session.session_id, openai_client=emulator.client(), history=request.param
    )


async def test_turns_have_their_numbers_items_and_ids(either, emulator):
    found = await either.turns()
    assert [each.number for each in found] == list(range(51))
    assert found[0].items == (SYSTEM,)
    assert [list(each.items) for each in found[1:]] == [turn(number) for number in range(1, 51)]
    stored = [item["id"] for item in emulator.items(either.session_id)]
    assert [item_id for each in found for item_id in each.item_ids] == stored
    assert found[7].text == "question 7"


async def test_the_last_turns_keep_their_numbers(either):
    assert [each.number for each in await either.turns(last=2)] == [49, 50]
    assert len(await either.turns(last=99)) == 51
    assert await either.turns(last=0) == await either.turns(last=-1) == []


async def test_what_is_changed_in_a_turn_does_not_show_in_another_read(either):
    (first,) = await either.turns(last=1)
    first.items[0]["content"] = "changed"
    first.items[2].clear()
    (again,) = await either.turns(last=1)
    assert list(again.items) == turn(50)
    shown = await either.get_items(turns=1)
    shown[0]["content"] = "changed"
    assert await either.get_items(turns=1) == turn(50)


async def test_items_of_the_newest_turns(either):
    assert await either.get_items(turns=2) == turns(49, 50)
    assert await either.get_items(turns=50) == turns(*range(1, 51))
    assert await either.get_items(turns=51) == [SYSTEM, *turns(*range(1, 51))]


@pytest.mark.parametrize("count", [1, 19, 20, 21, 40, 51, 52])
async def test_items_of_turns_are_those_of_the_turns(either, count):
    expected = [item for each in await either.turns(last=count) for item in each.items]
    assert await either.get_items(turns=count) == expected


async def test_items_within_a_budget_of_tokens(either):
    def count(text):
        return len(text.split())

    size = sum(count(item_text(item)) for item in turn(50))
    assert await either.get_items(max_tokens=2 * size, count_tokens=count) == turns(49, 50)
    assert await either.get_items(max_tokens=2 * size - 1, count_tokens=count) == turn(50)
    assert await either.get_items(max_tokens=size - 1, count_tokens=count) == []


async def test_a_limit_of_items_beside_turns_leaves_out_what_it_would_tear(either):
    assert await either.get_items(9, turns=5) == turn(50)
    assert await either.get_items(10, turns=5) == turns(49, 50)
    assert await either.get_items(4, turns=5) == []
    assert await either.get_items(limit=4) == turn(50)[1:]


async def test_the_limit_of_the_settings_holds_beside_turns(either):
    either.session_settings = {"limit": 7}
    assert await either.get_items(turns=3) == turn(50)
    assert await either.get_items(limit=15, turns=3) == turns(48, 49, 50)


@pytest.mark.parametrize(
    "limits", [{"turns": 0}, {"max_tokens": 0, "count_tokens": len}, {"limit": 0, "turns": 1}]
)
async def test_a_limit_of_0_makes_no_request(session, emulator, limits):
    assert await session.get_items(**limits) == []
    assert emulator.requests == ()


async def test_limits_of_the_session_hold_for_reads_without_arguments(session, emulator):
    def limited(session_settings=None, **limits):
        return OpenAIConversationsSession(
            conversation_id=session.session_id,
            openai_client=emulator.client(),
            session_settings=session_settings,
            history_limits=HistoryLimits(**limits),
        )

    by_turns = limited(max_turns=2)
    assert await by_turns.get_items() == turns(49, 50)
    assert await by_turns.get_items(turns=1) == turn(50)
    assert await by_turns.get_items(limit=3) == turn(50)[2:]
    assert len(await by_turns.get_items(limit=999)) == 251
    assert len(await by_turns.turns()) == 51
    by_tokens = limited(max_tokens=100, count_tokens=len)
    assert await by_tokens.get_items() == turn(50)
    assert await by_tokens.get_items(count_tokens=lambda _: 10) == turns(49, 50)
    assert await by_tokens.get_items(turns=3) == turns(48, 49, 50)
    both = limited(max_turns=5, max_tokens=1000, count_tokens=len, session_settings={"limit": 12})
    assert await both.get_items() == turns(49, 50)


async def test_what_the_agents_sdk_compacts_is_the_whole_history(session, emulator):
    limited = OpenAIConversationsSession(
        conversation_id=session.session_id,
        openai_client=emulator.client(),
        history_limits=HistoryLimits(max_turns=1),
    )
    items, _ = await type(limited)._read_compaction_items(limited, None)
    assert len(items) == 251


async def test_a_counter_of_a_session_counts_where_a_read_has_a_budget(session, emulator):
    counting = OpenAIConversationsSession(
        conversation_id=session.session_id,
        openai_client=emulator.client(),
        history_limits=HistoryLimits(count_tokens=len),
    )
    assert len(await counting.get_items()) == 251
    assert await counting.get_items(max_tokens=100) == turn(50)


async def test_each_text_is_counted_once(session):
    counted = []

    def count(text):
        counted.append(text)
        return 0

    await session.get_items(max_tokens=1, count_tokens=count)
    assert len(counted) == len(set(counted)) == 1 + 50 * 4 + 1


async def test_found_is_what_anyone_has_said_and_calls_and_outputs(either):
    assert [each.number for each in await either.find_turns("QUESTION 17")] == [17]
    assert [each.number for each in await either.find_turns("answer 17")] == [17]
    assert [each.number for each in await either.find_turns('"page": 17')] == [17]
    assert [each.number for each in await either.find_turns("page 17 says")] == [17]
    assert [each.number for each in await either.find_turns("be BRIEF")] == [0]
    assert len(await either.find_turns("Let me look.")) == 50
    assert await either.find_turns("call_17") == []


async def test_found_to_the_letter_where_asked_for(session):
    assert await session.find_turns("QUESTION 17", case_sensitive=True) == []
    assert len(await session.find_turns("question 17", case_sensitive=True)) == 1


async def test_found_without_regard_to_case_in_any_language(session):
    await session.add_items([{"role": "user", "content": "Wo ist die STRAẞE? 100%"}])
    assert [each.number for each in await session.find_turns("straße")] == [51]
    assert [each.number for each in await session.find_turns("100%")] == [51]
    assert await session.find_turns("1.0%") == await session.find_turns("Wo ist Straße") == []


async def test_an_unused_session_has_no_turns_and_makes_no_request(emulator):
    unused = OpenAIConversationsSession(
        openai_client=emulator.client(), history_limits=HistoryLimits(max_turns=1)
    )
    assert await unused.turns() == await unused.find_turns("a") == await unused.get_items(turns=2) == []
    assert await unused.get_items() == []
    assert emulator.requests == ()


async def test_a_page_that_shows_what_was_deleted_is_not_believed(session, emulator):
    """A stale page is of a moment before the pop."""
    await session.get_items()
    await session.pop_item()
    emulator.inject(Fault("stale_page"), operation="list_items")
    assert await session.get_items(turns=1) == turn(50)[:-1]


async def test_an_unsettled_write_is_settled_before(session, emulator):
    emulator.inject(Fault("quota"), operation="create_items", after=1)
    emulator.inject(Fault("quota"), operation="delete_item", times=99)
    with pytest.raises(Exception, match="could not be undone"):
        await session.add_items(turn(51) * 9)
    emulator.clear_faults()
    assert await session.get_items(turns=1) == turn(50)
    assert session.unsettled == ()


async def test_a_cursor_that_is_gone_has_all_be_read(session, emulator):
    """Another process deletes the item at which the first page ended, while its texts are counted."""
    ids = [item["id"] for item in emulator.items(session.session_id)]

    def count(_):
        store = emulator._store
        with store._mutex:
            store._connection.execute("DELETE FROM items WHERE id = ?", (ids[151],))
        return 0

    expected = await session.get_items()
    emulator.forget_requests()
    assert await session.get_items(max_tokens=1, count_tokens=count) == [*expected[:151], *expected[152:]]
    assert [request.status for request in emulator.requests][:2] == [200, 404]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"turns": 1.5}, TypeError, r"turns must be a whole number of turns, or None for no limit, not 1\.5"),
        ({"turns": True}, TypeError, "turns must be a whole number of turns"),
        (
            {"max_tokens": "9"},
            TypeError,
            "max_tokens must be a whole number of tokens, or None for no limit, not '9'",
        ),
        ({"max_tokens": 9, "count_tokens": 4}, TypeError, "count_tokens must be a function .*, not 4"),
        ({"count_tokens": len}, ValueError, "count_tokens= needs max_tokens=, which is not given"),
        ({"count_tokens": len, "turns": 1}, ValueError, "count_tokens= needs max_tokens="),
        ({"limit": "9", "turns": 1}, TypeError, "limit must be a whole number of items"),
    ],
)
async def test_bad_arguments_are_refused_without_a_request(session, emulator, arguments, error, message):
    with pytest.raises(error, match=message):
        await session.get_items(**arguments)
    assert emulator.requests == ()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_turns": 0}, ValueError, "max_turns must be at least 1, or None for no limit, not 0"),
        ({"max_turns": "2"}, TypeError, "max_turns must be a whole number of turns"),
        ({"max_tokens": -1, "count_tokens": len}, ValueError, "max_tokens must be at least 1"),
        ({"max_tokens": 0}, ValueError, "max_tokens must be at least 1"),
        ({"count_tokens": 4}, TypeError, "count_tokens must be a function"),
    ],
)
def test_bad_limits_of_a_session_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        HistoryLimits(**arguments)


async def test_a_bad_search_is_refused_without_a_request(session, emulator):
    with pytest.raises(ValueError, match="text is empty: give the text to search for"):
        await session.find_turns("")
    with pytest.raises(TypeError, match="text must be a string, not bytes"):
        await session.find_turns(b"a")
    with pytest.raises(TypeError, match="last must be a whole number of turns"):
        await session.turns(last="2")
    assert emulator.requests == ()
