"""Forks on the emulator: what they hold, and that the original stays as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from openai_sessions import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    HistoryLimits,
    OpenAIConversationsSession,
    RequestSettings,
    RetryPolicy,
)
from openai_sessions._items.forms import to_stored
from openai_sessions.emulator import Emulator
from openai_sessions.errors import CutPointError, ForkVerificationError
from openai_sessions.session import ForkParent, RetryBudget
from tests.faults.stage import Stage, after
from tests.selection import examples
from tests.strategies import written_items
from tests.wire import FAST

from .fork_world import ForkWorld

ITEMS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "one"},
    {"type": "function_call", "call_id": "call_a", "name": "f", "arguments": "{}"},
    {"type": "function_call", "call_id": "call_b", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_a", "output": "1"},
    {"type": "function_call_output", "call_id": "call_b", "output": "2"},
    {"role": "assistant", "content": "1 and 2"},
    {"role": "user", "content": "two"},
    {"role": "assistant", "content": "Yes?"},
]


@pytest.fixture
def world(emulator):
    return ForkWorld(emulator)


@pytest.fixture
async def session(world):
    return await world.session_with(*ITEMS)


async def test_a_fork_of_everything_holds_everything_under_ids_of_its_own(world, session):
    fork = await session.fork()
    assert await fork.get_items() == await session.get_items() == ITEMS
    assert fork.session_id != session.session_id
    assert not set(world.stored_ids(fork.session_id)) & set(world.stored_ids(session.session_id))


@pytest.mark.parametrize(("turn", "count"), [(0, 0), (1, 1), (2, 7)])
async def test_a_fork_before_a_turn(world, session, turn, count):
    fork = await session.fork(before_turn=turn)
    assert await fork.get_items() == ITEMS[:count]
    last = world.stored_ids(session.session_id)[count - 1] if count else None
    assert await fork.parent() == ForkParent(session.session_id, last)


@pytest.mark.parametrize("place", [0, 1, 5, 6, 7, 8])
async def test_a_fork_after_an_item(world, session, place):
    item_id = world.stored_ids(session.session_id)[place]
    fork = await session.fork(after_item=item_id)
    assert await fork.get_items() == ITEMS[: place + 1]
    assert await fork.parent() == ForkParent(session.session_id, item_id)


@pytest.mark.parametrize("place", [2, 3, 4])
async def test_a_fork_that_would_tear_calls_from_their_outputs_says_where_it_would_not(world, session, place):
    ids = world.stored_ids(session.session_id)
    with pytest.raises(CutPointError, match="is between a call and its output") as caught:
        await session.fork(after_item=ids[place])
    assert caught.value.safe_item_ids == (ids[1], ids[5])
    assert ids[1] in str(caught.value)
    assert ids[5] in str(caught.value)
    assert world.conversations() == [session.session_id]
    for safe in caught.value.safe_item_ids:
        await session.fork(after_item=safe)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"before_turn": 3}, "it has no turn 3: its turns are 0 to 2. Nothing was changed"),
        ({"before_turn": -1}, "it has no turn -1"),
        ({"after_item": "msg_none"}, "it has no item 'msg_none': its 9 items are msg_"),
    ],
)
async def test_a_fork_at_no_place_says_what_there_is(world, session, point, message):
    with pytest.raises(CutPointError, match=message) as caught:
        await session.fork(**point)
    assert caught.value.conversation_id == session.session_id
    assert world.conversations() == [session.session_id]


@pytest.mark.parametrize("point", [{"before_turn": 1}, {"after_item": "msg_1"}])
async def test_an_empty_conversation_has_no_places(world, point):
    session = await world.session_with()
    with pytest.raises(CutPointError, match="it has no items"):
        await session.fork(**point)
    fork = await session.fork()
    assert await fork.get_items() == []
    assert await fork.parent() == ForkParent(session.session_id, None)


async def test_what_is_written_to_one_does_not_show_in_the_other(world, session):
    fork = await session.fork()
    await fork.add_items([{"role": "user", "content": "here"}])
    await session.pop_item()
    assert (await fork.get_items())[-2:] == [ITEMS[-1], {"role": "user", "content": "here"}]
    assert await session.get_items() == ITEMS[:-1]
    await fork.clear_session(purge_items=True)
    assert await session.get_items() == ITEMS[:-1]


async def test_a_fork_of_a_fork_has_the_fork_for_its_parent(session):
    fork = await session.fork(before_turn=2)
    second = await fork.fork(before_turn=1)
    assert await second.get_items() == ITEMS[:1]
    assert (await second.parent()).conversation_id == fork.session_id
    assert (await fork.parent()).conversation_id == session.session_id


async def test_what_is_no_fork_has_no_parent(world, session):
    assert await session.parent() is None
    assert await world.session().parent() is None


async def test_an_unused_session_cannot_be_forked(world):
    with pytest.raises(ConversationNotCreatedError):
        await world.session().fork()
    assert world.operations() == []


async def test_a_conversation_that_is_gone_cannot_be_forked(world, session):
    other = world.session(session.session_id)
    await session.clear_session()
    with pytest.raises(ConversationNotFoundError):
        await other.fork()
    assert world.conversations() == []


async def metadata_of(world, session):
    return dict((await world.foreign.conversations.retrieve(session.session_id)).metadata)


async def test_metadata_is_that_of_the_session_unless_it_is_given(world):
    session = await world.session_with(*ITEMS, metadata={"user": "first"})
    parent = f"{session.session_id}/{world.stored_ids(session.session_id)[-1]}"
    fork = await session.fork()
    assert await metadata_of(world, fork) == {"user": "first", "openai_sessions.parent": parent}
    given = await session.fork(metadata={"topic": "bridges"})
    assert await metadata_of(world, given) == {"topic": "bridges", "openai_sessions.parent": parent}
    assert await metadata_of(world, session) == {"user": "first"}


async def test_metadata_that_is_given_is_that_of_the_fork_from_then_on(world):
    session = await world.session_with(*ITEMS, metadata={"user": "first"})
    fork = await session.fork(metadata={"topic": "bridges"})
    assert await (await fork.fork()).get_metadata() == {"topic": "bridges"}
    await fork.clear_session()
    await fork.add_items(ITEMS[:1])
    assert await fork.get_metadata() == {"topic": "bridges"}
    await session.clear_session()
    await session.add_items(ITEMS[:1])
    assert await session.get_metadata() == {"user": "first"}


async def test_what_the_library_keeps_in_the_metadata_of_a_session_is_not_that_of_its_fork(world):
    """A session that is made with the metadata of an export has all pairs of its conversation."""
    pairs = {"user": "first", "openai_sessions.parent": "conv_1/msg_1", "openai_sessions.usage": "{}"}
    session = await world.session_with(*ITEMS, metadata=pairs)
    fork = await session.fork()
    assert (await fork.parent()).conversation_id == session.session_id
    assert set(await metadata_of(world, fork)) == {"user", "openai_sessions.parent"}


async def test_a_fork_that_is_cleared_begins_without_a_parent(world, session):
    fork = await session.fork(metadata={"topic": "bridges"})
    await fork.clear_session()
    await fork.add_items(ITEMS[:1])
    assert await fork.parent() is None


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        (
            {str(n): "" for n in range(16)},
            ValueError,
            "has 16 pairs, and 15 fit.*Remove some",
        ),
        (
            {"openai_sessions.parent": "conv_1"},
            ValueError,
            "'openai_sessions.parent' is reserved for openai_sessions",
        ),
        ({"n": 1}, TypeError, r"metadata\['n'\] must be a string, not int"),
    ],
)
async def test_bad_metadata_is_refused_without_a_request(world, session, metadata, error, message):
    with pytest.raises(error, match=message):
        await session.fork(metadata=metadata)
    assert world.operations() == []


@pytest.mark.parametrize(
    ("point", "error", "message"),
    [
        ({"before_turn": 1, "after_item": "msg_1"}, ValueError, "not both; neither copies all items"),
        (
            {"before_turn": "1"},
            TypeError,
            "before_turn must be a whole number .* or None for all items, not '1'",
        ),
        ({"before_turn": True}, TypeError, "before_turn must be a whole number .* not True"),
        ({"after_item": 7}, TypeError, "after_item must be a string, not int"),
        ({"after_item": ""}, ValueError, "after_item is empty: give the id of an item"),
    ],
)
async def test_a_bad_point_is_refused_without_a_request(world, session, point, error, message):
    with pytest.raises(error, match=message):
        await session.fork(**point)
    assert world.operations() == []


async def test_a_fork_has_the_settings_of_the_session(world):
    orphans, retries, locked, created = [], [], [], []

    class Lock:
        def __init__(self, conversation_id):
            locked.append(conversation_id)

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return None

    session = await world.session_with(
        *ITEMS,
        session_settings={"limit": 3},
        metadata={"user": "first"},
        include=["message.output_text.logprobs"],
        history="incremental",
        history_limits=HistoryLimits(max_turns=2),
        timeout=7,
        on_conversation_created=created.append,
        on_orphan=orphans.append,
        retry_policy=RetryPolicy(attempts=1),
        retry_budget=RetryBudget(),
        on_retry=retries.append,
        lock=Lock,
    )
    assert created == [session.session_id]
    fork = await session.fork()
    assert created == [session.session_id]
    assert fork.session_id in locked
    assert fork._options == replace(session._options, session_settings=fork.session_settings)
    client = await fork._clients.client()
    assert (client.timeout, client.retries.policy.attempts) == (7, 1)
    assert await fork.get_items() == ITEMS[-2:]
    fork.session_settings.limit = 1
    assert session.session_settings.limit == 3
    await fork.clear_session()
    await fork.add_items(ITEMS[:1])
    assert created == [session.session_id, fork.session_id]


async def test_settings_that_were_changed_later_are_those_of_the_fork(world, session):
    session.session_settings = {"limit": 2}
    assert await (await session.fork()).get_items() == ITEMS[-2:]


class Named(OpenAIConversationsSession):
    """A subclass whose constructor takes an argument of its own."""

    def __init__(self, name: str, **options):
        super().__init__(**options)
        self.name = name

    def _sibling(self, conversation_id):
        return Named(f"fork of {self.name}", conversation_id=conversation_id, **self._options.as_arguments())


class Plain(OpenAIConversationsSession):
    """A subclass with the same constructor."""


async def test_a_fork_of_a_subclass_is_what_its_hook_returns(world):
    named = Named("first", openai_client=world.client, requests=RequestSettings(retry_policy=FAST))
    await named.add_items(ITEMS)
    fork = await named.fork(before_turn=1)
    assert (type(fork), fork.name, await fork.get_items()) == (Named, "fork of first", ITEMS[:1])
    plain = Plain(openai_client=world.client)
    await plain.add_items(ITEMS)
    assert type(await plain.fork()) is Plain


class Broken(OpenAIConversationsSession):
    """A subclass that cannot make another of itself."""

    def __init__(self, name: str, **options):
        super().__init__(**options)
        self.name = name


async def test_a_fork_that_no_object_can_be_made_for_leaves_nothing(world):
    broken = Broken("first", openai_client=world.client)
    await broken.add_items(ITEMS)
    with pytest.raises(TypeError, match="name"):
        await broken.fork()
    assert world.conversations() == [broken.session_id]
    assert world.count_items() == len(ITEMS)


async def test_reasoning_and_items_that_need_their_ids(world):
    items = [
        {"role": "user", "content": "Search, and think."},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "function_call", "call_id": "call_a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_a", "output": "1"},
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "q"},
        },
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"},
        {"role": "assistant", "content": "Found."},
    ]
    session = await world.session_with(*items)
    original, fork = await session.get_items(), await session.fork()
    copied = await fork.get_items()
    call_id = world.stored_ids(fork.session_id)[2]
    assert [item.get("id") for item in copied] == [None, "rs_1", call_id, None, "ws_1", None, None]
    assert [without_id(item) for item in copied] == [without_id(item) for item in original]
    second = await fork.fork()
    assert [without_id(item) for item in await second.get_items()] == [without_id(item) for item in original]


def without_id(item):
    return {key: value for key, value in item.items() if key != "id"}


async def test_reasoning_that_led_to_nothing_is_not_copied(world):
    session = await world.session_with(
        {"role": "user", "content": "Think."}, {"type": "reasoning", "id": "rs_1", "summary": []}
    )
    assert await (await session.fork()).get_items() == [{"role": "user", "content": "Think."}]


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
@given(written_items())
async def test_a_fork_gives_back_what_the_original_does(item):
    """Whatever the type of an item."""
    with Emulator() as emulator:
        world = ForkWorld(emulator)
        session = await world.session_with(*to_stored([ITEMS[0], item]))
        fork = await session.fork()
        assert list(map(without_id, await fork.get_items())) == list(
            map(without_id, await session.get_items())
        )


@pytest.mark.parametrize(
    ("change", "position"),
    [
        ("UPDATE items SET body = replace(body, 'two', 'three')", 7),
        ("DELETE FROM items WHERE body LIKE '%Yes?%'", 8),
        ("DELETE FROM items WHERE body LIKE '%Be brief.%'", 0),
    ],
)
async def test_a_fork_that_does_not_hold_what_was_written_is_deleted(world, session, change, position):
    """As on a server that does not keep items as they are."""
    original = session.session_id
    stage = Stage(world.emulator)
    condition = "AND" if "WHERE" in change else "WHERE"

    async def spoil():
        world.execute(f"{change} {condition} conversation_id != ?", original)

    stage.at("list_items", 1, after(spoil))
    with pytest.raises(ForkVerificationError, match=f"at item {position} ") as caught:
        await world.session(original, openai_client=stage.client).fork()
    assert caught.value.position == position
    assert world.conversations() == [original]
    assert world.count_items() == len(ITEMS)
    assert await session.get_items() == ITEMS
