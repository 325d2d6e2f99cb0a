"""`session.compact()`: the requests that go out, and the history that is left."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress

import openai
import pytest

from openai_sessions import (
    Compaction,
    ConversationNotCreatedError,
    HistoryLimits,
    OpenAIConversationsSession,
    RequestSettings,
    Turn,
)
from openai_sessions._conversation.compacting import ItemForms
from openai_sessions._items.forms import to_stored
from openai_sessions.emulator import Fault
from openai_sessions.emulator._server import in_process_client
from openai_sessions.errors import CompactionError, ConversationChangedError, InvalidResponseError
from openai_sessions.tokens import ServerTokens
from tests.wire import FAST

from . import histories
from .histories import assistant, reasoning, user

MODEL = "gpt-5-mini"
NOW = Compaction(model=MODEL)


class Beside:
    """The emulator, and what others do before it answers a request."""

    def __init__(self, emulator, *steps):
        self._emulator = emulator
        self._steps = list(steps)

    def before(self, ends, act):
        """Have others do something before the request that ends so."""
        self._steps.append((ends, act))

    async def __call__(self, scope, receive, send):
        if self._steps:
            ends, act = self._steps[0]
            if scope["type"] == "http" and f"{scope['method']} {scope['path']}".endswith(ends):
                self._steps.pop(0)
                await act()
        await self._emulator(scope, receive, send)


def session_on(emulator, *steps, **options) -> OpenAIConversationsSession:
    client = in_process_client(Beside(emulator, *steps), api_key="sk-emulator")
    return OpenAIConversationsSession(
        openai_client=client, requests=RequestSettings(retry_policy=FAST), **options
    )


def call(key: str) -> dict:
    return {**histories.call(key), "name": "f", "arguments": "{}"}


def output(key: str) -> dict:
    return {**histories.output(key), "output": "done"}


def question_and_answer(number: int) -> list[dict]:
    return [user(f"q{number}"), assistant(f"a{number}")]


async def filled(emulator, *steps, turns=4, items=(), **options) -> OpenAIConversationsSession:
    session = session_on(emulator, *steps, **options)
    await session.add_items([each for number in range(turns) for each in question_and_answer(number)])
    if items:
        await session.add_items(list(items))
    emulator.forget_requests()
    return session


def shown(items) -> list[str]:
    """Return the texts of messages, and the types of all other items."""
    return [_text(item) for item in items]


def _text(item) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    return content[0]["text"] if content else item["type"]


def asked(emulator, session) -> list[str]:
    names = {session.session_id: "ID"}
    return [f"{each.method} {each.path}".replace(*next(iter(names.items()))) for each in emulator.requests]


def stored(emulator, session) -> list[str]:
    return shown(emulator.items(session.session_id))


async def test_the_older_turns_are_compacted_and_the_newest_stay_as_they_are(emulator):
    session = await filled(emulator)
    before = emulator.items(session.session_id)
    result = await session.compact(NOW)
    items = "/v1/conversations/ID/items"
    assert (
        asked(emulator, session)
        == [
            f"GET {items}",  # the history: the newest page is all of it
            "POST /v1/responses/compact",
            f"GET {items}",  # the newest item, which must be the same
            f"POST {items}",
            f"GET {items}",  # nothing has come between
            *[f"DELETE {items}/{item['id']}" for item in [*before[6:3:-1], before[7]]],
        ]
    )
    body = next(each.body for each in emulator.requests if each.path.endswith("/compact"))
    assert (body["model"], shown(body["input"])) == (MODEL, ["q0", "a0", "q1", "a1"])
    assert shown(await session.get_items()) == ["q0", "q1", "compaction", "q2", "a2", "q3", "a3"]
    assert stored(emulator, session) == [
        *["q0", "a0", "q1", "a1"],
        *["q0", "q1", "compaction", "q2", "a2", "q3", "a3"],
    ]
    after = emulator.items(session.session_id)
    assert result.item_ids == tuple(item["id"] for item in after[4:])
    assert result.compaction_id == after[6]["id"]
    assert result.replaced_ids == tuple(item["id"] for item in before[4:])
    assert result.usage["input_tokens"] > 0


@pytest.mark.parametrize(
    ("turns", "keep_turns", "sizes"),
    [(19, 2, [17, 5]), (17, 2, [20]), (19, 9, [10, 19]), (20, 10, [10, 20, 1])],
)
async def test_the_newest_turns_are_in_the_request_of_the_compaction_item(emulator, turns, keep_turns, sizes):
    """Others then never read one without the others; unless they are more than 19 items."""
    session = await filled(emulator, turns=turns)
    await session.compact(Compaction(model=MODEL, keep_turns=keep_turns))
    writes = [each.body["items"] for each in emulator.requests if each.operation == "create_items"]
    assert [len(items) for items in writes] == sizes


async def test_what_is_replaced_is_deleted_by_its_ids_if_asked_for(emulator):
    session = await filled(emulator)
    before = [item["id"] for item in emulator.items(session.session_id)]
    result = await session.compact(Compaction(model=MODEL, delete_replaced=True))
    assert result.replaced_ids == tuple(before)
    assert stored(emulator, session) == ["q0", "q1", "compaction", "q2", "a2", "q3", "a3"]
    deleted = [each.path.rpartition("/")[2] for each in emulator.requests if each.method == "DELETE"]
    assert sorted(deleted) == sorted(before)


@pytest.mark.parametrize("delete", [False, True])
async def test_a_compacted_history_is_compacted_again(emulator, delete):
    session = await filled(emulator)
    await session.compact(Compaction(model=MODEL, keep_turns=1, delete_replaced=delete))
    await session.add_items([*question_and_answer(4), *question_and_answer(5)])
    emulator.forget_requests()
    await session.compact(Compaction(model=MODEL, keep_turns=1, delete_replaced=delete))
    body = next(each.body for each in emulator.requests if each.path.endswith("/compact"))
    assert shown(body["input"]) == [*["q0", "q1", "q2", "compaction"], *["q3", "a3", "q4", "a4"]]
    assert shown(await session.get_items()) == ["q0", "q1", "q2", "q3", "q4", "compaction", "q5", "a5"]


async def test_no_turn_is_kept(emulator):
    session = await filled(emulator)
    await session.compact(Compaction(model=MODEL, keep_turns=0))
    assert not [each for each in emulator.requests if each.method == "DELETE"]
    assert shown(await session.get_items()) == ["q0", "q1", "q2", "q3", "compaction"]


async def test_instructions_are_passed_on(emulator):
    session = await filled(emulator)
    await session.compact(Compaction(model=MODEL, instructions="Keep all names."))
    body = next(each.body for each in emulator.requests if each.path.endswith("/compact"))
    assert body["instructions"] == "Keep all names."


@pytest.mark.parametrize(
    ("limits", "is_due"),
    [
        ({"max_turns": 4}, False),
        ({"max_turns": 3}, True),
        ({"max_tokens": 16, "count_tokens": len}, False),
        ({"max_tokens": 15, "count_tokens": len}, True),
    ],
)
async def test_only_a_history_over_a_limit_is_compacted(emulator, limits, is_due):
    session = await filled(emulator)
    result = await session.compact(Compaction(model=MODEL, keep_turns=1, **limits))
    assert (result is not None) == is_due
    assert asked(emulator, session)[1:2] == (["POST /v1/responses/compact"] if is_due else [])


async def test_the_server_counts(emulator):
    session = await filled(emulator)
    counter = ServerTokens(model=MODEL)
    assert await session.compact(Compaction(model=MODEL, max_tokens=1000, count_tokens=counter)) is None
    assert asked(emulator, session)[1:] == ["POST /v1/responses/input_tokens"]
    assert await session.compact(Compaction(model=MODEL, max_tokens=3, count_tokens=counter))


async def test_kept_turns_and_the_users_messages_fit_into_half_of_the_limit(emulator):
    """Each message has two characters: half of the limit has room for five of them."""
    session = await filled(emulator, turns=6)
    await session.compact(Compaction(model=MODEL, max_tokens=20, count_tokens=len))
    assert shown(await session.get_items()) == ["q3", "compaction", "q4", "a4", "q5", "a5"]
    session = await filled(emulator, turns=6)
    await session.compact(Compaction(model=MODEL, max_tokens=11, count_tokens=len))
    assert shown(await session.get_items()) == ["compaction", "q5", "a5"]
    session = await filled(emulator, turns=6)
    await session.compact(Compaction(model=MODEL, max_turns=5))
    assert shown(await session.get_items()) == ["q1", "q2", "q3", "compaction", "q4", "a4", "q5", "a5"]


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_history_that_has_only_turns_that_stay_is_left(emulator, turns):
    session = await filled(emulator, turns=turns, items=[user("q")])
    assert await session.compact(Compaction(model=MODEL, keep_turns=3)) is None
    assert asked(emulator, session) == ["GET /v1/conversations/ID/items"]


async def test_a_turn_with_an_item_that_keeps_its_id_is_compacted_with_those_before_it(emulator):
    """The API would refuse a second web search of the same id."""
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search"}}
    search["action"]["query"] = "?"
    session = await filled(emulator, items=[user("q"), search, assistant("a"), *question_and_answer(9)])
    await session.compact(Compaction(model=MODEL, keep_turns=3))
    assert shown(await session.get_items())[-4:] == ["q", "compaction", "q9", "a9"]


async def test_reasoning_with_encrypted_content_stays_with_its_call(emulator):
    turn = [user("q"), reasoning("gAAAA"), call("c"), output("c"), assistant("a")]
    session = await filled(emulator, items=turn)
    await session.compact(Compaction(model=MODEL, keep_turns=1))
    assert [each.get("type") for each in (await session.get_items())[-4:]] == [
        "reasoning",
        "function_call",
        "function_call_output",
        None,
    ]


async def test_a_turn_whose_call_waits_for_its_output_is_not_compacted(emulator):
    session = await filled(emulator, items=[user("q"), call("c")])
    assert await session.compact(Compaction(model=MODEL, keep_turns=0)) is None
    await session.compact(Compaction(model=MODEL, keep_turns=1))
    await session.add_items([output("c")])
    assert [each["type"] for each in (await session.get_items())[-2:]] == [
        "function_call",
        "function_call_output",
    ]


@pytest.mark.parametrize("keep_turns", [0, 1])
async def test_messages_without_an_answer_before_the_newest_turns_stay_with_them(emulator, keep_turns):
    """Reads keep the user's messages directly before a compaction item: an old copy would be read too."""
    newest = question_and_answer(9)[: 2 * keep_turns]
    session = await filled(emulator, items=[user("q7"), user("q8"), *newest])
    await session.compact(Compaction(model=MODEL, keep_turns=keep_turns))
    assert shown(await session.get_items()) == [
        *["q0", "q1", "q2", "q3", "compaction", "q7", "q8"],
        *shown(newest),
    ]


async def test_messages_without_any_answer_are_left(emulator):
    session = await filled(emulator, turns=0, items=[user("q0"), user("q1"), user("q2")])
    assert await session.compact(NOW) is None


async def test_an_older_call_without_output_is_not_sent_to_be_compacted(emulator):
    session = await filled(emulator, items=[user("q"), call("c"), *question_and_answer(9)])
    await session.compact(Compaction(model=MODEL, keep_turns=1))
    body = next(each.body for each in emulator.requests if each.path.endswith("/compact"))
    assert shown(body["input"])[-1] == "q"


async def others_write(emulator, session):
    """Write as another process does: a session of this one would wait for the lock."""
    await emulator.client().conversations.items.create(session.session_id, items=[user("others")])


@pytest.mark.parametrize("ends", ["POST /v1/responses/compact", "/items"])
async def test_others_who_write_before_the_compaction_is_stored_keep_the_history_as_it_is(emulator, ends):
    """Before the model answers, and between the comparison of the newest item and the write."""
    steps = []
    session = await filled(emulator, turns=4)
    before = stored(emulator, session)
    steps += [("/responses/compact", lambda: others_write(emulator, session))]
    if ends == "/items":
        steps = [("POST " + f"/v1/conversations/{session.session_id}/items", steps[0][1])]
    beside = session_on(emulator, *steps, conversation_id=session.session_id)
    with pytest.raises(ConversationChangedError, match="changed during the compaction") as caught:
        await beside.compact(NOW)
    assert stored(emulator, session) == [*before, "others"]
    writes = [each for each in emulator.requests if each.operation == "create_items"]
    assert len(writes) == (1 if ends.endswith("compact") else 2)  # the other's, and one that is undone
    newest = emulator.items(session.session_id)[-1]["id"]
    assert (caught.value.newest_id, caught.value.current_conversation_id) == (newest, session.session_id)


async def test_a_stale_listing_after_the_write_does_not_hide_what_others_have_written_before(emulator):
    session = await filled(emulator)
    before = stored(emulator, session)

    async def write_and_hide():
        await others_write(emulator, session)
        emulator.inject(Fault("stale_page"), operation="list_items")

    step = (f"POST /v1/conversations/{session.session_id}/items", write_and_hide)
    beside = session_on(emulator, step, conversation_id=session.session_id)
    with pytest.raises(ConversationChangedError):
        await beside.compact(NOW)
    assert stored(emulator, session) == [*before, "others"]


async def test_items_that_others_delete_from_what_was_written_stay_deleted(emulator):
    """The newest is popped before the listing is read: the rest of the compaction is complete."""
    session = await filled(emulator)
    client = emulator.client()

    async def nothing():
        pass

    async def pop():
        newest = emulator.items(session.session_id)[-1]["id"]
        await client.conversations.items.delete(newest, conversation_id=session.session_id)

    items = f"GET /v1/conversations/{session.session_id}/items"
    steps = [(items, nothing), (items, nothing), (items, pop)]
    beside = session_on(emulator, *steps, conversation_id=session.session_id)
    await beside.compact(NOW)
    assert shown(await session.get_items()) == ["q0", "q1", "compaction", "q2", "a2", "q3"]


async def test_others_who_write_after_it_was_stored_stay_behind_it(emulator):
    session = await filled(emulator)
    client = emulator.client()

    async def write():
        await client.conversations.items.create(session.session_id, items=[user("others")])

    items = f"GET /v1/conversations/{session.session_id}/items"
    step = (items, write)

    async def nothing():
        pass

    beside = session_on(
        emulator, (items, nothing), (items, nothing), step, conversation_id=session.session_id
    )
    await beside.compact(NOW)
    assert shown(await session.get_items()) == [
        *["q0", "q1", "compaction"],
        *["q2", "a2", "q3", "a3", "others"],
    ]


async def test_an_item_that_others_pop_meanwhile_is_not_restored(emulator):
    session = await filled(emulator)
    newest = emulator.items(session.session_id)[-1]["id"]
    client = emulator.client()

    async def pop():
        await client.conversations.items.delete(newest, conversation_id=session.session_id)

    step = (f"POST /v1/conversations/{session.session_id}/items", pop)
    beside = session_on(emulator, step, conversation_id=session.session_id)
    with pytest.raises(ConversationChangedError):
        await beside.compact(NOW)
    assert stored(emulator, session) == ["q0", "a0", "q1", "a1", "q2", "a2", "q3"]


async def test_a_session_that_is_cleared_meanwhile_is_left(emulator):
    async def clear():
        await session.clear_session()

    session = await filled(emulator, ("/responses/compact", clear))
    with pytest.raises(ConversationChangedError, match="the session has no conversation"):
        await session.compact(NOW)
    assert session.conversation_id is None


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_that_does_not_compact_is_named(emulator, status):
    session = await filled(emulator)
    client = in_process_client(Refusing(emulator, status), api_key="sk-emulator")
    beside = OpenAIConversationsSession(openai_client=client, conversation_id=session.session_id)
    with pytest.raises(CompactionError, match="does not compact histories: POST /responses/compact got"):
        await beside.compact(NOW)
    assert len(emulator.requests) == 1


class Refusing:
    """The emulator without `/responses/compact`, or with another answer there."""

    def __init__(self, emulator, status, body=b'{"error": {"message": "no such path"}}'):
        self._emulator, self._status, self._body = emulator, status, body

    async def __call__(self, scope, receive, send):
        if not scope["path"].endswith("/compact"):
            await self._emulator(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


@pytest.mark.parametrize(
    "body",
    [
        b'{"output": []}',
        b'{"output": {}}',
        b'{"output": [1]}',
        b'{"output": [{"type": "compaction"}]}',
        b'{"output": [{"type": "message", "role": "user", "content": "q0"}]}',
    ],
)
async def test_an_answer_without_a_compaction_item_changes_nothing(emulator, body):
    session = await filled(emulator)
    before = stored(emulator, session)
    client = in_process_client(Refusing(emulator, 200, body), api_key="sk-emulator")
    beside = OpenAIConversationsSession(openai_client=client, conversation_id=session.session_id)
    with pytest.raises(InvalidResponseError, match="compaction item"):
        await beside.compact(NOW)
    assert stored(emulator, session) == before


async def test_bad_arguments_are_refused_before_any_request(emulator):
    for mistake, error, words in (
        ({"model": ""}, ValueError, "model is empty"),
        ({"model": None}, TypeError, "model must be the name of a model"),
        ({"max_turns": 0}, ValueError, "max_turns"),
        ({"max_tokens": 0}, ValueError, "max_tokens"),
        ({"count_tokens": len}, ValueError, "needs max_tokens="),
        ({"max_tokens": 5, "count_tokens": 3}, TypeError, "count_tokens must be a function"),
        ({"keep_turns": -1}, ValueError, "keep_turns must be a whole number from 0, not -1"),
        ({"keep_turns": True}, ValueError, "keep_turns"),
        ({"instructions": 3}, TypeError, "instructions must be a string"),
        ({"delete_replaced": "no"}, TypeError, "delete_replaced must be True or False"),
    ):
        with pytest.raises(error, match=words):
            Compaction(**{"model": MODEL, **mistake})
    session = session_on(emulator)
    with pytest.raises(ValueError, match=r"give compact\(\) a Compaction"):
        await session.compact()
    with pytest.raises(TypeError, match="compaction must be an openai_sessions"):
        await session.compact(MODEL)
    with pytest.raises(ConversationNotCreatedError):
        await session.compact(NOW)
    with pytest.raises(ValueError, match="has no limit, and would compact after each turn"):
        session_on(emulator, compact_when=NOW)
    with pytest.raises(TypeError, match="compact_when must be an openai_sessions"):
        session_on(emulator, compact_when=100_000)
    whole = HistoryLimits(from_compaction=False)
    with pytest.raises(ValueError, match="from_compaction=False"):
        session_on(emulator, compact_when=Compaction(model=MODEL, max_turns=5), history_limits=whole)
    with pytest.raises(ValueError, match="from_compaction=False"):
        await session_on(emulator, history_limits=whole).compact(NOW)
    assert not emulator.requests


async def test_a_session_compacts_after_the_turn_that_exceeds_the_limit(emulator):
    session = session_on(emulator, compact_when=Compaction(model=MODEL, max_turns=3))
    for number in range(3):
        await session.add_items([user(f"q{number}")])
        await session.add_items([assistant(f"a{number}")])
    emulator.forget_requests()
    await session.add_items([user("q3")])
    assert asked(emulator, session) == ["POST /v1/conversations/ID/items"]
    await session.add_items([assistant("a3")])
    assert "POST /v1/responses/compact" in asked(emulator, session)
    assert shown(await session.get_items()) == ["q1", "compaction", "q2", "a2", "q3", "a3"]


async def test_a_block_of_turn_compacts_once_it_is_stored(emulator):
    session = await filled(emulator, compact_when=Compaction(model=MODEL, max_turns=4))
    async with session.turn(exclusive=True) as turn:
        await turn.add_items(question_and_answer(4))
    assert shown(await session.get_items())[-5:] == ["compaction", "q3", "a3", "q4", "a4"]
    emulator.forget_requests()
    with suppress(KeyError):
        async with session.turn() as turn:
            await turn.add_items(question_and_answer(5))
            raise KeyError
    assert not emulator.requests


async def test_a_compaction_that_fails_after_a_turn_is_logged_and_the_turn_is_stored(emulator, caplog):
    client = in_process_client(Refusing(emulator, 404), api_key="sk-emulator")
    session = OpenAIConversationsSession(
        openai_client=client, compact_when=Compaction(model=MODEL, max_turns=1, keep_turns=1)
    )
    with caplog.at_level(logging.WARNING, logger="openai_sessions"):
        await session.add_items([*question_and_answer(0), *question_and_answer(1)])
    assert "the history was not compacted: CompactionError" in caplog.text
    assert stored(emulator, session) == ["q0", "a0", "q1", "a1"]


async def test_a_cancelled_model_leaves_the_history_as_it_is(emulator):
    session = await filled(emulator)
    before = stored(emulator, session)
    reached = asyncio.Event()

    async def stall():
        reached.set()
        await asyncio.Event().wait()

    beside = session_on(emulator, ("/responses/compact", stall), conversation_id=session.session_id)
    compacting = asyncio.create_task(beside.compact(NOW))
    await reached.wait()
    assert shown(await session.get_items()) == before  # the conversation is not held meanwhile
    compacting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await compacting
    assert stored(emulator, session) == before


async def test_a_compaction_does_not_change_what_people_see_of_the_older_turns(emulator):
    session = await filled(emulator)
    await session.compact(NOW)
    turns: list[Turn] = await session.turns()
    assert [shown(turn.items) for turn in turns[:2]] == [["q0", "a0"], ["q1", "a1"]]


async def test_an_incremental_history_sees_the_compaction(emulator):
    session = await filled(emulator, history="incremental")
    await session.get_items()
    await session.compact(NOW)
    assert shown(await session.get_items()) == ["q0", "q1", "compaction", "q2", "a2", "q3", "a3"]
    await session.add_items(question_and_answer(4))
    assert shown(await session.get_items())[-3:] == ["a3", "q4", "a4"]
    assert len(await session.turns()) == 7


async def test_a_subclass_that_changes_items_is_refused(emulator):
    class Loud(OpenAIConversationsSession):
        async def add_items(self, items):
            await super().add_items(items)

    with pytest.raises(TypeError, match=r"Loud overrides get_items\(\) or add_items\(\)"):
        await Loud(openai_client=emulator.client()).compact(NOW)


@pytest.mark.parametrize(("answered", "posts"), [(8, [20]), (10, [10, 11]), (30, [20, 10, 11])])
async def test_the_compaction_item_and_the_newest_turns_are_one_request_if_they_fit(
    emulator, answered, posts
):
    """A process that is killed has then stored both, or neither."""
    session = await filled(emulator, turns=answered)
    newest = [user("q"), *(assistant(str(number)) for number in range(10 if answered < 9 else 9))]
    await session.add_items(newest)
    emulator.forget_requests()
    await session.compact(Compaction(model=MODEL, keep_turns=1))
    sent = [each.body["items"] for each in emulator.requests if each.operation == "create_items"]
    assert [len(items) for items in sent] == posts
    assert any(each.get("type") == "compaction" for each in sent[-1])


async def test_a_session_that_is_set_to_another_conversation_meanwhile_is_left(emulator):
    other = await filled(emulator)
    session = await filled(emulator)

    async def move():
        beside.session_id = other.session_id

    beside = session_on(emulator, ("/responses/compact", move), conversation_id=session.session_id)
    with pytest.raises(ConversationChangedError, match=f"the session has {other.session_id}") as caught:
        await beside.compact(NOW)
    assert caught.value.newest_id is None
    assert stored(emulator, session) == stored(emulator, other)
    assert len(stored(emulator, other)) == 8


async def test_an_incremental_history_does_not_show_the_old_copies_of_many_turns(emulator):
    session = await filled(emulator, turns=70, history="incremental")
    await session.turns()
    await session.compact(Compaction(model=MODEL, keep_turns=30))
    turns = await session.turns()
    assert shown(item for turn in turns for item in turn.items) == stored(emulator, session)


async def test_an_incremental_history_does_not_show_what_was_deleted_before_unreadable_items(emulator):
    session = await filled(emulator, turns=70, history="incremental")
    unreadable = {item["id"] for item in emulator.items(session.session_id)[78:138]}
    await session.turns()
    forms = ItemForms(lambda item: None if item["id"] in unreadable else item, to_stored, list)
    await session._compact(Compaction(model=MODEL, keep_turns=1, delete_replaced=True), forms)
    assert len(stored(emulator, session)) == 60 + 39 + 1 + 2
    turns = await session.turns()
    assert shown(item for turn in turns for item in turn.items) == stored(emulator, session)


async def test_turns_after_the_last_item_that_keeps_its_id_stay(emulator):
    items = [
        item
        for number in range(2)
        for item in (
            user(f"s{number}"),
            {
                "id": f"ws_{number}",
                "type": "web_search_call",
                "status": "completed",
                "action": {"type": "search", "query": "?"},
            },
            assistant("found"),
        )
    ]
    session = await filled(emulator, items=[*items, *question_and_answer(9)])
    await session.compact(Compaction(model=MODEL, keep_turns=4))
    assert shown(await session.get_items())[-3:] == ["compaction", "q9", "a9"]


async def test_the_users_messages_before_a_compaction_item_are_no_turns(emulator):
    """Neither when it is judged whether a history is due, nor of the turns that stay."""
    session = await filled(emulator)
    await session.compact(NOW)
    assert await session.compact(Compaction(model=MODEL, max_turns=2, keep_turns=0)) is None
    for keep_turns in (2, 3):
        assert await session.compact(Compaction(model=MODEL, keep_turns=keep_turns)) is None


async def test_more_turns_stay_than_the_limit_has_room_for(emulator):
    session = await filled(emulator)
    await session.compact(Compaction(model=MODEL, max_turns=1, keep_turns=2))
    assert shown(await session.get_items()) == ["compaction", "q2", "a2", "q3", "a3"]


async def test_everything_older_is_deleted_whatever_earlier_compactions_have_left(emulator):
    session = await filled(emulator, turns=60)
    await session.compact(NOW)
    await session.add_items(question_and_answer(60))
    await session.compact(Compaction(model=MODEL, max_turns=2, keep_turns=1, delete_replaced=True))
    assert stored(emulator, session) == ["q59", "compaction", "q60", "a60"]


async def test_only_what_follows_the_previous_compaction_item_is_read(emulator):
    session = await filled(emulator, turns=60)
    await session.compact(Compaction(model=MODEL, max_turns=4))
    await session.add_items(question_and_answer(60))
    emulator.forget_requests()
    await session.compact(Compaction(model=MODEL, max_turns=2))
    before = asked(emulator, session)
    assert before.index("POST /v1/responses/compact") == 1


async def test_turns_that_stay_are_stored_as_they_were(emulator):
    part = {"type": "output_text", "text": "a", "annotations": [], "logprobs": []}
    turn = [
        {"role": "user", "content": [{"type": "input_text", "text": "q"}, {"type": "input_image", **IMAGE}]},
        {"role": "developer", "content": "Be brief."},
        reasoning("gAAAA"),
        {**call("c"), "namespace": "files", "status": "incomplete"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "done"}]},
        {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "d", "output": "done"},
        {"type": "message", "role": "assistant", "content": [part], "phase": "final_answer"},
    ]
    session = await filled(emulator, items=turn)
    before = emulator.items(session.session_id)[8:]
    read = (await session.get_items())[8:]
    await session.compact(Compaction(model=MODEL, keep_turns=1))
    after = emulator.items(session.session_id)[-len(turn) :]
    assert [{**item, "id": ""} for item in after] == [{**item, "id": ""} for item in before]
    assert not {item["id"] for item in after} & {item["id"] for item in before}
    assert (await session.get_items())[-len(turn) :] == read


IMAGE = {"image_url": "data:image/png;base64,AAAA", "detail": "auto"}


@pytest.mark.parametrize("delete", [False, True])
async def test_a_cancellation_after_the_write_undoes_it_unless_items_were_deleted(emulator, delete):
    reached = asyncio.Event()

    @asynccontextmanager
    async def lock(conversation_id):
        yield
        if any(each.operation == "create_items" for each in emulator.requests):
            reached.set()
            await asyncio.sleep(0.01)

    session = await filled(emulator)
    before = stored(emulator, session)
    locked = session_on(emulator, conversation_id=session.session_id, lock=lock)
    compacting = asyncio.create_task(
        locked.compact(Compaction(model=MODEL, keep_turns=0, delete_replaced=delete))
    )
    await reached.wait()
    compacting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await compacting
    whole = ["q0", "q1", "q2", "q3", "compaction"]
    assert stored(emulator, session) == (whole if delete else before)


async def test_the_model_may_take_longer_than_other_requests(emulator):
    begun = []

    async def work():
        begun.append(1)
        await asyncio.sleep(0.1)

    session = await filled(emulator)
    client = in_process_client(Beside(emulator, *[("/responses/compact", work)] * 2), api_key="sk-emulator")
    beside = OpenAIConversationsSession(
        conversation_id=session.session_id,
        openai_client=client,
        requests=RequestSettings(timeout=0.05, retry_policy=FAST),
    )
    assert await beside.compact(NOW)
    assert len(begun) == 1


async def test_an_unknown_model_is_not_taken_for_a_server_that_does_not_compact(emulator):
    session = await filled(emulator)
    body = b'{"error": {"message": "no such model", "code": "model_not_found"}}'
    client = in_process_client(Refusing(emulator, 404, body), api_key="sk-emulator")
    beside = OpenAIConversationsSession(openai_client=client, conversation_id=session.session_id)
    with pytest.raises(openai.NotFoundError, match="no such model"):
        await beside.compact(NOW)
