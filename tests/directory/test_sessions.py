"""Named sessions: creating, resuming, clearing."""

import openai
import pytest

from openai_sessions import ConversationNotFoundError, HistoryLimits, OpenAIConversationsSession
from openai_sessions.emulator import Fault

from .stage import CREATE, held, in_tables, made, user

ITEMS = "POST /v1/conversations/ID/items"
LIST = "GET /v1/conversations/ID/items"
DELETE = "DELETE /v1/conversations/ID"


async def test_new_name_has_no_conversation(directory, emulator):
    session = await directory.session("user_1")
    assert (None, [], None) == (session.conversation_id, await session.get_items(), await session.pop_item())
    await session.clear_session()
    assert [] == made(emulator)


async def test_first_write_creates_and_registers_in_two_requests(directory, emulator, url):
    session = await directory.session("user_1")
    await session.add_items([user("Hello")])
    assert [CREATE, ITEMS] == made(emulator)
    entry = await directory.get("user_1")
    assert session.session_id == entry.conversation_id
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_name_is_registered_before_the_first_item(directory, other, emulator):
    """Another process finds the conversation although the items were refused."""
    emulator.inject(Fault("quota"), operation="create_items")
    session = await directory.session("user_1")
    with pytest.raises(Exception, match="quota"):
        await session.add_items([user("Hello")])
    assert session.session_id == (await other.get("user_1")).conversation_id


async def test_resuming_a_name_creates_nothing(directory, other, emulator):
    session = await directory.session("user_1")
    await session.add_items([user("Hello")])
    emulator.forget_requests()
    resumed = await other.session("user_1")
    assert [user("Hello")] == await resumed.get_items()
    await resumed.add_items([user("again")])
    assert [LIST, ITEMS] == made(emulator)
    assert [user("Hello"), user("again")] == await session.get_items()


async def test_unused_session_reads_the_conversation_of_another(directory, other):
    early = await directory.session("user_1")
    late = await other.session("user_1")
    await late.add_items([user("Hello")])
    assert [user("Hello")] == await early.get_items()
    assert late.session_id == early.session_id


async def test_unused_session_writes_to_the_conversation_of_another(directory, other, emulator):
    early = await directory.session("user_1")
    late = await other.session("user_1")
    await late.add_items([user("1")])
    await early.add_items([user("2")])
    assert [user("1"), user("2")] == await late.get_items()
    assert 1 == made(emulator).count(CREATE)


async def test_names_have_separate_conversations(directory):
    first, second = await directory.session("user_1"), await directory.session("user_2")
    await first.add_items([user("1")])
    await second.add_items([user("2")])
    assert [user("1")] == await first.get_items()
    assert [user("2")] == await second.get_items()


async def test_ensure_conversation_registers(directory, other):
    session = await directory.session("user_1")
    conversation_id = await session.ensure_conversation()
    assert conversation_id == (await other.get("user_1")).conversation_id


async def test_cleared_name_gets_a_new_conversation(directory, other, emulator, url):
    session = await directory.session("user_1")
    await session.add_items([user("old")])
    before = session.session_id
    emulator.forget_requests()
    (item,) = emulator.items(before)
    await session.clear_session()
    assert [LIST, f"DELETE /v1/conversations/ID/items/{item['id']}", LIST, DELETE] == made(emulator)
    assert (None, None) == (session.conversation_id, (await directory.get("user_1")).conversation_id)
    assert (1, 0, 0, 0) == await in_tables(url)
    again = await other.session("user_1")
    await again.add_items([user("new")])
    assert before != again.session_id
    assert [user("new")] == await session.get_items()


async def test_clearing_keeps_the_items_at_the_service_only_if_told_so(directory, emulator):
    session = await directory.session("user_1")
    await session.add_items([user("old")])
    emulator.forget_requests()
    await session.clear_session(purge_items=False)
    assert [DELETE] == made(emulator)


async def test_failed_purge_frees_the_name_and_the_sweep_completes_it(directory, emulator, url):
    """Another process never sees a part of the history."""
    session = await directory.session("user_1")
    await session.add_items([user("1"), user("2")])
    old = session.session_id
    emulator.inject(Fault("error_500_before"), operation="delete_item", times=100)
    with pytest.raises(openai.InternalServerError):
        await session.clear_session()
    emulator.clear_faults()
    assert (1, 0, 1, 0) == await in_tables(url)
    assert [] == await (await directory.session("user_1")).get_items()
    await directory.sweep()
    assert () == emulator.contents.items(old)


@pytest.mark.parametrize("operation", ["get", "add", "pop"])
async def test_session_follows_after_another_process_cleared(directory, other, operation):
    """Its conversation is gone, and the directory has registered another."""
    session, elsewhere = await directory.session("user_1"), await other.session("user_1")
    await session.add_items([user("old")])
    await elsewhere.clear_session()
    await elsewhere.add_items([user("new")])
    if operation == "get":
        assert [user("new")] == await session.get_items()
    elif operation == "pop":
        assert user("new") == await session.pop_item()
    else:
        await session.add_items([user("newer")])
        assert [user("new"), user("newer")] == await elsewhere.get_items()
    assert elsewhere.session_id == session.session_id


async def test_session_is_unused_after_another_process_cleared(directory, other):
    session, elsewhere = await directory.session("user_1"), await other.session("user_1")
    await session.add_items([user("old")])
    await elsewhere.clear_session()
    assert ([], None) == (await session.get_items(), session.conversation_id)


async def test_conversation_deleted_without_the_directory_raises(directory, client):
    """It is never silently replaced: only the directory may reset a name."""
    session = await directory.session("user_1")
    await session.add_items([user("old")])
    await OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client).clear_session()
    with pytest.raises(ConversationNotFoundError):
        await session.get_items()
    with pytest.raises(ConversationNotFoundError):
        await session.add_items([user("new")])
    await session.clear_session()
    await session.add_items([user("new")])
    assert [user("new")] == await session.get_items()


async def test_failed_clear_leaves_a_free_name_and_a_pending_deletion(directory, emulator, url):
    session = await directory.session("user_1")
    await session.add_items([user("old")])
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    with pytest.raises(Exception, match="500"):
        await session.clear_session()
    assert (1, 0, 1, 0) == await in_tables(url)
    await session.add_items([user("new")])
    assert [user("new")] == await session.get_items()
    assert 2 == len(held(emulator))
    report = await directory.sweep()
    assert (1, 0, 0) == (report.deleted, report.failed, report.remaining)
    assert {session.session_id} == held(emulator)


async def test_clear_that_keeps_the_conversation_keeps_its_registration(directory):
    session = await directory.session("user_1")
    await session.add_items([user("old")])
    before = session.session_id
    await session.clear_session(keep_conversation=True)
    assert before == (await directory.get("user_1")).conversation_id
    assert [] == await session.get_items()


async def test_setting_session_id_leaves_the_directory_until_cleared(directory, client):
    elsewhere = OpenAIConversationsSession(openai_client=client)
    await elsewhere.add_items([user("elsewhere")])
    session = await directory.session("user_1")
    await session.add_items([user("here")])
    registered = session.session_id
    session.session_id = elsewhere.session_id
    await session.add_items([user("more")])
    assert [user("elsewhere"), user("more")] == await elsewhere.get_items()
    assert registered == (await directory.get("user_1")).conversation_id
    await session.clear_session()
    assert [user("here")] == await session.get_items()


async def test_creation_callback_is_called_after_the_registration(directory):
    told = []

    async def callback(conversation_id):
        told.append((conversation_id, (await directory.get("user_1")).conversation_id))

    session = await directory.session("user_1", on_conversation_created=callback)
    await session.add_items([user("Hello")])
    assert [(session.session_id, session.session_id)] == told


async def test_creation_callback_that_raises_is_called_again(directory, emulator):
    failures = [RuntimeError("not now")]
    told = []

    def callback(conversation_id):
        told.append(conversation_id)
        if failures:
            raise failures.pop()

    session = await directory.session("user_1", on_conversation_created=callback)
    with pytest.raises(RuntimeError, match="not now"):
        await session.add_items([user("Hello")])
    await session.add_items([user("Hello")])
    assert [session.session_id] * 2 == told
    assert 1 == made(emulator).count(CREATE)


async def test_conversation_has_its_creation_id_and_the_metadata_of_the_options(open_directory, emulator):
    directory = open_directory(session_options={"metadata": {"application": "support"}})
    await (await directory.session("a")).ensure_conversation()
    await (await directory.session("b", conversation_metadata={"plan": "pro"})).ensure_conversation()
    second, first = [dict(conversation.metadata) for conversation in emulator.conversations()]
    marks = {first.pop("openai_sessions.creation"), second.pop("openai_sessions.creation")}
    assert 2 == len(marks)
    assert ({"application": "support"}, {"plan": "pro"}) == (first, second)


async def test_repr_shows_name_and_branch(directory):
    session = await directory.session("user_1")
    assert "<NamedSession name='user_1' branch='main' conversation_id=None>" == repr(session)
    assert "<SessionDirectory tenant=''>" == repr(directory)


@pytest.mark.parametrize("exclusive", [False, True])
async def test_turn_that_the_model_stores_creates_and_registers_the_conversation(
    directory, other, emulator, exclusive
):
    session = await directory.session("user_1")
    async with session.turn(server_managed=True, exclusive=exclusive) as turn:
        await turn.client.responses.create(model="m", input="Hello", conversation=turn.conversation_id)
    assert turn.conversation_id == (await other.get("user_1")).conversation_id
    assert 2 == len(emulator.items(turn.conversation_id))


async def test_named_session_and_its_turn_start_at_the_compaction_item(directory, other):
    old, needed = user("old"), [{"type": "compaction", "encrypted_content": "gAAAAA"}, user("new")]
    session = await directory.session("user_1")
    await session.add_items([old, {"role": "assistant", "content": "gone"}, *needed])
    assert needed == await session.get_items()
    async with session.turn() as turn:
        assert needed == await turn.get_items()
    whole = await other.session("user_1", history_limits=HistoryLimits(from_compaction=False))
    assert [old, {"role": "assistant", "content": "gone"}, *needed] == await whole.get_items()
