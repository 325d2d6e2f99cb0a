"""The session on the wire, over the emulator."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings

from openai_sessions import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    InvalidItemError,
    OpenAIConversationsSession,
    RequestSettings,
    start_openai_conversations_session,
)
from openai_sessions._items.forms import same_item, to_stored
from openai_sessions.emulator import Emulator
from tests.fixtures.values import UNKNOWN_FIELDS
from tests.selection import examples
from tests.strategies import written_items
from tests.wire import FAST, Wire, error, not_found, page, stored

HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi there!"}
UNKNOWN = "conv_" + "0" * 48


def users(count: int) -> list[dict]:
    return [{"role": "user", "content": str(number)} for number in range(count)]


async def test_what_was_added_is_popped(session):
    await session.add_items([HELLO, HI])
    assert await session.pop_item() == HI
    assert await session.get_items() == [HELLO]


async def test_the_first_write_creates_an_empty_conversation_and_then_adds(session, emulator, wire):
    await session.add_items([HELLO])
    assert wire() == ["POST /conversations", f"POST /conversations/{session.session_id}/items"]
    assert [request.body for request in emulator.requests] == [{}, {"items": [HELLO]}]


async def test_an_unused_session_makes_no_request(session, wire):
    assert await session.get_items() == []
    assert await session.pop_item() is None
    await session.clear_session()
    await session.add_items([])
    assert wire() == []
    assert session.conversation_id is None


async def test_metadata_travels_with_the_conversation(client, emulator):
    session = OpenAIConversationsSession(openai_client=client, metadata={"topic": "demo"})
    await session.ensure_conversation()
    assert emulator.requests[0].body == {"metadata": {"topic": "demo"}}


async def test_many_first_writers_create_one_conversation(session, wire):
    await asyncio.gather(*(session.add_items([item]) for item in users(20)))
    assert wire().count("POST /conversations") == 1
    assert sorted(item["content"] for item in await session.get_items()) == sorted(map(str, range(20)))


async def test_when_creation_fails_the_waiters_try_again():
    failures = [error(403), error(403)]

    def answer(call):
        if call.path == "/conversations":
            return failures.pop() if failures else (200, {"id": "conv_1"})
        return page(f"msg_{next(numbers)}")

    numbers = count()
    wire = Wire(answer)
    session = OpenAIConversationsSession(openai_client=wire.client)
    results = await asyncio.gather(*(session.add_items([HELLO]) for _ in range(5)), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["PermissionDeniedError"] * 2 + ["NoneType"] * 3
    assert [call.path for call in wire.calls].count("/conversations") == 3


async def test_a_cancelled_first_writer_leaves_the_creation_to_the_next():
    started = asyncio.Event()

    async def answer(call):
        if not started.is_set():
            started.set()
            await asyncio.Event().wait()
        return (200, {"id": "conv_1"}) if call.path == "/conversations" else page("msg_1")

    wire = Wire(answer)
    session = OpenAIConversationsSession(openai_client=wire.client)
    first, second = (asyncio.ensure_future(session.add_items([HELLO])) for _ in range(2))
    await started.wait()
    first.cancel()
    await second
    assert session.session_id == "conv_1"
    assert first.cancelled()


async def test_session_id_of_an_unused_session_says_what_to_do(session):
    with pytest.raises(
        ConversationNotCreatedError, match=r"await session\.ensure_conversation\(\)"
    ) as caught:
        _ = session.session_id
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AttributeError)
    assert not hasattr(session, "session_id")


async def test_ensure_conversation_creates_once(session, wire):
    conversation_id = await session.ensure_conversation()
    assert await session.ensure_conversation() == conversation_id == session.session_id
    assert wire() == ["POST /conversations"]


async def test_start_openai_conversations_session_creates_an_empty_conversation(client, wire):
    conversation_id = await start_openai_conversations_session(client)
    session = OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client)
    assert await session.get_items() == []
    assert wire()[0] == "POST /conversations"


async def test_resume_by_id_makes_no_request_until_used(session, client, emulator, wire):
    await session.add_items([HELLO])
    emulator.forget_requests()
    resumed = OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client)
    assert wire() == []
    assert await resumed.get_items() == [HELLO]
    assert len(wire()) == 1


async def test_session_id_can_be_set_to_resume_another_conversation(session, client):
    await session.add_items([HELLO])
    other = OpenAIConversationsSession(openai_client=client)
    other.session_id = session.session_id
    assert await other.get_items() == [HELLO]


@pytest.mark.parametrize("operation", ["get_items", "pop_item", "add_items"])
async def test_an_unknown_id_raises_after_the_conversation_itself_was_asked_for(operation, client, wire):
    session = OpenAIConversationsSession(conversation_id=UNKNOWN, openai_client=client)
    with pytest.raises(ConversationNotFoundError, match=UNKNOWN) as caught:
        await getattr(session, operation)(*([[HELLO]] if operation == "add_items" else []))
    assert caught.value.conversation_id == UNKNOWN
    assert wire()[1:] == [f"GET /conversations/{UNKNOWN}"]
    assert session.session_id == UNKNOWN


async def test_clearing_an_unknown_id_succeeds(client, wire):
    session = OpenAIConversationsSession(conversation_id=UNKNOWN, openai_client=client)
    await session.clear_session()
    assert wire() == [f"DELETE /conversations/{UNKNOWN}"]
    assert session.conversation_id is None


async def test_a_cleared_session_begins_a_new_conversation_at_the_next_write(session):
    await session.add_items([HELLO])
    first = session.session_id
    await session.clear_session()
    assert (await session.get_items(), session.conversation_id) == ([], None)
    await session.add_items([HI])
    assert session.session_id != first
    assert await session.get_items() == [HI]


async def test_a_failed_clear_keeps_the_id():
    wire = Wire(lambda call: (500, {}))
    session = OpenAIConversationsSession(
        conversation_id="conv_1", openai_client=wire.client, requests=RequestSettings(retry_policy=FAST)
    )
    with pytest.raises(Exception, match="500"):
        await session.clear_session()
    assert session.session_id == "conv_1"


async def test_add_items_goes_out_in_requests_of_20_in_order(session, emulator):
    items = users(45)
    await session.add_items(items)
    assert [len(request.body["items"]) for request in emulator.requests[1:]] == [20, 20, 5]
    assert await session.get_items() == items


async def test_one_bad_item_among_many_stores_nothing(session, wire):
    with pytest.raises(InvalidItemError) as caught:
        await session.add_items([*users(44), {"content": "neither"}])
    assert caught.value.index == 44
    assert wire() == []


async def test_a_write_that_is_refused_in_the_middle_leaves_nothing(session):
    await session.add_items([HELLO])
    with pytest.raises(Exception, match="nonsense"):
        await session.add_items([*users(20), {"role": "user", "content": "x", "nonsense": 1}])
    assert await session.get_items() == [HELLO]


@pytest.mark.parametrize("limit", [0, -1, -2147483647])
async def test_a_limit_below_one_reads_nothing_without_a_request(limit, session, emulator, wire):
    await session.add_items([HELLO])
    emulator.forget_requests()
    assert await session.get_items(limit) == []
    assert wire() == []


@pytest.mark.parametrize(
    ("limit", "requests"), [(None, 3), (1, 1), (100, 1), (101, 2), (1000, 3), (2147483647, 3)]
)
async def test_a_limit_is_the_newest_items_in_order(limit, requests, session, emulator):
    await session.add_items(users(250))
    emulator.forget_requests()
    assert await session.get_items(limit) == users(250)[-limit if limit else None :]
    assert len(emulator.requests) == requests


@pytest.mark.parametrize("settings", [{"limit": 2}, "sdk"])
async def test_the_limit_of_session_settings_holds_unless_one_is_given(settings, client):
    if settings == "sdk":
        settings = pytest.importorskip("agents").SessionSettings(limit=2)
    session = OpenAIConversationsSession(openai_client=client, session_settings=settings)
    await session.add_items(users(5))
    assert await session.get_items() == users(5)[3:]
    assert await session.get_items(limit=4) == users(5)[1:]
    session.session_settings = None
    assert await session.get_items() == users(5)


async def test_pop_reads_the_newest_item_and_deletes_it(session, emulator, wire):
    await session.add_items([HELLO, HI])
    emulator.forget_requests()
    await session.pop_item()
    assert [line.partition("/items")[0].split("/")[0] for line in wire()] == ["GET ", "DELETE "]
    assert emulator.requests[0].query["limit"] == ["1"]
    assert emulator.requests[0].query["order"] == ["desc"]


async def test_pop_takes_the_next_item_when_another_process_was_faster():
    pages = [page("b"), page("a")]

    def answer(call):
        if call.method == "GET":
            return pages.pop(0) if call.path.endswith("/items") else (200, {"id": "conv_1"})
        return not_found() if call.path.endswith("/b") else (200, {})

    wire = Wire(answer)
    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client)
    assert await session.pop_item() == {"role": "user", "content": "a"}


async def test_pop_returns_reasoning_although_what_it_led_to_is_gone(session):
    reasoning = {"type": "reasoning", "id": "rs_" + "a" * 48, "summary": []}
    await session.add_items([HELLO, reasoning])
    assert await session.pop_item() == reasoning
    assert await session.get_items() == [HELLO]


async def test_concurrent_pops_of_two_sessions_share_the_items_out(session, client):
    await session.add_items(users(10))
    twin = OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client)
    popped = await asyncio.gather(*(taker.pop_item() for taker in (session, twin) for _ in range(6)))
    taken = [item["content"] for item in popped if item]
    assert sorted(taken, key=int) == [str(number) for number in range(10)]
    assert popped.count(None) == 2


async def test_a_write_waiting_while_the_session_is_cleared_goes_to_a_new_conversation(session, wire):
    await session.add_items([HELLO])
    first = session.session_id
    await asyncio.gather(session.clear_session(), session.add_items([HI]), session.get_items())
    assert session.session_id != first
    assert await session.get_items() == [HI]


async def test_different_conversations_never_wait_for_each_other():
    gate = asyncio.Event()

    async def answer(call):
        if "conv_slow" in call.path:
            await gate.wait()
        return page("a")

    wire = Wire(answer)
    slow, quick = (
        OpenAIConversationsSession(conversation_id=name, openai_client=wire.client)
        for name in ("conv_slow", "conv_quick")
    )
    waiting = asyncio.ensure_future(slow.get_items())
    await asyncio.wait_for(quick.get_items(), timeout=5)
    assert not waiting.done()
    gate.set()
    await waiting


async def test_a_reader_in_the_process_never_sees_half_a_batch(session, client):
    twin = OpenAIConversationsSession(
        conversation_id=await session.ensure_conversation(), openai_client=client
    )
    writing = asyncio.ensure_future(session.add_items(users(60)))
    seen = set()
    while not writing.done():
        seen.add(len(await twin.get_items()))
        await asyncio.sleep(0)
    assert seen <= {0, 60}


async def test_arguments_are_never_changed(session):
    items = [
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "c",
            "name": "f",
            "arguments": "{}",
            "status": None,
        },
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}], "provider_data": {"a": [1]}},
    ]
    before = copy.deepcopy(items)
    await session.add_items(items)
    assert before == items


class Callback:
    """Collect the ids that it is called with, raising at the first calls if so asked."""

    def __init__(self, failures: int = 0) -> None:
        self.ids: list[str] = []
        self.failures = failures

    def __call__(self, conversation_id: str) -> None:
        self.ids.append(conversation_id)
        if len(self.ids) <= self.failures:
            raise OSError("the disk is full")


async def test_on_conversation_created_is_called_before_the_first_item_is_written(client, emulator, wire):
    seen = []
    session = OpenAIConversationsSession(
        openai_client=client, on_conversation_created=lambda name: seen.append((name, wire()))
    )
    await asyncio.gather(*(session.add_items([HELLO]) for _ in range(3)))
    assert seen == [(session.session_id, ["POST /conversations"])]


async def test_on_conversation_created_may_be_a_coroutine_function(client):
    seen = []

    async def save(name: str) -> None:
        await asyncio.sleep(0)
        seen.append(name)

    session = OpenAIConversationsSession(openai_client=client, on_conversation_created=save)
    await asyncio.gather(*(session.add_items([HELLO]) for _ in range(3)))
    assert seen == [session.session_id]


async def test_on_conversation_created_that_raised_is_called_again_at_the_next_write(client, wire):
    saved = Callback(failures=1)
    session = OpenAIConversationsSession(openai_client=client, on_conversation_created=saved)
    with pytest.raises(OSError, match="the disk is full"):
        await session.add_items([HELLO])
    assert wire() == ["POST /conversations"]
    await session.add_items([HI])
    assert saved.ids == [session.session_id] * 2
    assert await session.get_items() == [HI]


async def test_on_conversation_created_is_called_for_each_conversation(client):
    saved = Callback()
    session = OpenAIConversationsSession(openai_client=client, on_conversation_created=saved)
    await session.ensure_conversation()
    await session.clear_session()
    await session.ensure_conversation()
    assert len(set(saved.ids)) == 2


async def test_on_conversation_created_is_not_called_for_a_resumed_conversation(session, client):
    saved = Callback()
    resumed = OpenAIConversationsSession(
        conversation_id=await session.ensure_conversation(),
        openai_client=client,
        on_conversation_created=saved,
    )
    await resumed.add_items([HELLO])
    assert saved.ids == []


async def test_on_conversation_created_may_use_the_session(client):
    async def greet(name: str) -> None:
        assert await session.get_items() == []
        assert await session.ensure_conversation() == name
        await session.add_items([HELLO])

    session = OpenAIConversationsSession(openai_client=client, on_conversation_created=greet)
    await asyncio.wait_for(session.add_items([HI]), timeout=5)
    assert await session.get_items() == [HELLO, HI]


async def test_setting_another_id_forgets_a_callback_that_is_due(session, client):
    saved = Callback(failures=1)
    other = OpenAIConversationsSession(openai_client=client, on_conversation_created=saved)
    with pytest.raises(OSError, match="the disk is full"):
        await other.add_items([HELLO])
    other.session_id = await session.ensure_conversation()
    await other.add_items([HELLO])
    assert len(saved.ids) == 1


async def test_replacing_the_history_keeps_the_id_and_deletes_nothing_before_all_is_stored(session, emulator):
    await session.add_items(users(30))
    first = session.session_id
    emulator.forget_requests()
    assert await session._atomic_replace_items([HI, HELLO]) is True
    assert session.session_id == first
    assert await session.get_items() == [HI, HELLO]
    methods = [request.method for request in emulator.requests]
    assert methods.index("DELETE") > methods.index("POST")
    assert methods.count("DELETE") == 30


async def test_replacing_the_history_of_an_unused_session_writes_it(session):
    assert await session._atomic_replace_items([]) is True
    assert session.conversation_id is None
    await session._atomic_replace_items([HI])
    assert await session.get_items() == [HI]


async def test_replacing_the_history_ignores_items_that_another_process_deleted():
    def answer(call):
        if call.method == "DELETE":
            return not_found()
        if call.method == "POST":
            return stored(call, "b")
        return page("a") if call.path.endswith("items") else (200, {"id": "conv_1"})

    session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=Wire(answer).client)
    assert await session._atomic_replace_items([HI]) is True


def test_repr_shows_class_and_id_only():
    assert repr(OpenAIConversationsSession()) == "<OpenAIConversationsSession conversation_id=None>"
    session = OpenAIConversationsSession(conversation_id="conv_1", metadata={"a": "b"})
    assert repr(session) == "<OpenAIConversationsSession conversation_id='conv_1'>"


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_session_cannot_be_pickled_or_copied(duplicate):
    with pytest.raises(TypeError, match="conversation_id="):
        duplicate(OpenAIConversationsSession())


async def test_provider_data_that_the_api_cannot_store_are_logged_once_for_a_session(session, caplog):
    signed = {"role": "user", "content": "Hi", "provider_data": {"thought_signature": "secret"}}
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        await session.add_items([{"role": "user", "content": "Hi"}])
        assert caplog.messages == []
        await session.add_items([signed, signed, {"role": "user", "content": "Hi", "provider_data": None}])
        await session.add_items([signed])
    (message,) = caplog.messages
    assert "provider_data of 2 item(s)" in message
    assert "EncryptedSession" in message
    assert "secret" not in message
    assert await session.get_items() == [{"role": "user", "content": "Hi"}] * 5


async def test_the_log_has_ids_and_no_content(session, caplog):
    with caplog.at_level(logging.DEBUG, "openai_sessions"):
        await session.add_items([{"role": "user", "content": "a secret"}])
        conversation_id = session.session_id
        await session.clear_session()
    ours = [record.getMessage() for record in caplog.records if record.name == "openai_sessions"]
    assert ours == [f"created {conversation_id}", f"deleted {conversation_id}"]


def without_unknown_fields(value):
    """Return an item as today's API accepts it: unknown fields are refused by the server, not by us."""
    if isinstance(value, dict):
        return {key: without_unknown_fields(v) for key, v in value.items() if key not in UNKNOWN_FIELDS}
    return [without_unknown_fields(v) for v in value] if isinstance(value, list) else value


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=examples(60))
@given(written_items().map(without_unknown_fields))
def test_what_is_read_of_a_written_item_is_the_same_item(item):
    """replay(stored(x)) is the replay form of x, over the API, for items of every type."""

    async def round_trip() -> None:
        with Emulator() as emulator:
            session = OpenAIConversationsSession(openai_client=emulator.client())
            await session.add_items([item, HI])
            listed = await session.get_items()
            assert [same_item(*pair) for pair in zip(to_stored([item, HI]), listed, strict=True)] == [
                True,
                True,
            ]
            await session.clear_session()
            await session.add_items(listed)
            assert without_ids(await session.get_items()) == without_ids(listed)

    asyncio.run(round_trip())


def without_ids(items: list[dict]) -> list[dict]:
    """Return items without ids: those of calls after bare reasoning are new at each write."""
    return [{key: value for key, value in item.items() if key != "id"} for item in items]


async def test_a_write_is_cut_into_requests_by_size(emulator):
    session = OpenAIConversationsSession(
        openai_client=emulator.client(), requests=RequestSettings(max_bytes=2_000)
    )
    items = [{"role": "user", "content": f"{number}" * 600} for number in range(7)]
    await session.add_items(items)
    assert await session.get_items() == items
    bodies = [request.body["items"] for request in emulator.requests if request.operation == "create_items"]
    assert [len(body) for body in bodies] == [3, 3, 1]


@pytest.mark.parametrize("size", [0, -1, 1.5, None, "8 MB"])
def test_a_size_of_requests_that_is_no_positive_number_is_refused(size):
    with pytest.raises(ValueError, match=r"max_bytes must be a whole number of at least 1, not "):
        RequestSettings(max_bytes=size)
