"""What `ConversationStore` promises, by the store on hosted conversations."""

import dataclasses
from datetime import datetime, timezone

import pytest
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationRecord
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RequestUsage, RunUsage
from pydantic_core import PydanticSerializationError

from openai_sessions.adapters.pydantic_ai import OpenAIConversationStore
from openai_sessions.errors import ConversationNotFoundError
from tests.examples.stand_in import run_python

from .stage import asked, conversation, made, next_turn, said, stored_texts, turn

MESSAGES = [
    ModelRequest(
        parts=[
            SystemPromptPart("Be brief."),
            UserPromptPart(
                [
                    "Grüße, 世界 🌉",
                    ImageUrl("https://example.com/a.png"),
                    BinaryContent(b"\0\xff", media_type="a/b"),
                ]
            ),
        ],
        timestamp=datetime(2026, 1, 1, tzinfo=timezone.utc),
        instructions="Answer in English.",
        run_id="run 1",
        conversation_id="7f3a",
        metadata={"customer": {"id": 7}},
    ),
    ModelResponse(
        parts=[
            ThinkingPart("Hm.", id="rs_1", signature="sealed", provider_name="openai"),
            TextPart("I look it up.", id="msg_1", provider_details={"a": [1, None]}),
            ToolCallPart("weather", {"city": "Zürich"}, tool_call_id="call_1"),
            ToolCallPart("clock", '{"zone": "CET"}', tool_call_id="call_2"),
        ],
        usage=RequestUsage(input_tokens=7, output_tokens=9, details={"reasoning_tokens": 3}),
        model_name="gpt-5.2",
        provider_name="openai",
        provider_response_id="resp_1",
        finish_reason="tool_call",
    ),
    ModelRequest(
        parts=[
            ToolReturnPart("weather", {"degrees": 21.5}, tool_call_id="call_1", metadata={"source": "x"}),
            ToolReturnPart("clock", "no such zone", tool_call_id="call_2", outcome="retried"),
        ]
    ),
    ModelResponse(parts=[TextPart("")]),
    ModelResponse(parts=[]),
]
"""Messages with everything that a store may lose."""

SHOWN = [
    ("user", "Be brief.\nGrüße, 世界 🌉 [image-url] [binary]"),
    ("assistant", 'Hm.\nI look it up.\nweather: {"city": "Zürich"}\nclock: {"zone": "CET"}'),
    ("developer", 'weather: {"degrees": 21.5}\nclock: no such zone'),
    ("assistant", "[response]"),
    ("assistant", "[response]"),
]
"""Their roles and their texts for people."""


async def test_messages_come_back_as_they_were(store, other):
    saved = Conversation(messages=list(MESSAGES), usage=RunUsage(requests=2, tool_calls=2, details={"a": 1}))
    await store.save(saved)
    loaded = await other.load(saved.conversation_id)
    assert saved == loaded
    assert MESSAGES == loaded.messages


async def test_messages_can_be_read_by_other_programs(store, emulator, directory):
    await store.save(Conversation(messages=list(MESSAGES), conversation_id="7f3a"))
    session = await directory.session("pydantic-ai/7f3a")
    items = await session.get_items()
    assert SHOWN == [(item["role"], item["content"][0]["text"]) for item in items]
    kinds = {"assistant": "output_text"}
    assert [{kinds.get(item["role"], "input_text")} for item in items] == [
        {part["type"] for part in item["content"]} for item in items
    ]
    (found,) = await session.find_turns("世界")
    assert (1, 5) == (found.number, len(found.items))


@pytest.mark.exhaustive
async def test_long_text_for_people_is_cut_and_the_message_is_whole(store, emulator):
    saved = conversation(conversation_id="7f3a")
    saved.messages = [asked("x" * 30_000)]
    await store.save(saved)
    ((text,),) = stored_texts(emulator)
    assert "x" * 10_000 == text
    assert saved == await store.load("7f3a")


async def test_items_of_other_programs_are_passed_over(store, directory):
    await store.save(conversation(1))
    session = await directory.session("pydantic-ai/7f3a")
    parts = [{"type": "input_text", "text": text} for text in ("two", "parts")]
    await session.add_items([{"role": "user", "content": "one"}, {"role": "user", "content": parts}])
    loaded = await store.load("7f3a")
    assert ["question 1", "answer 1"] == said(loaded.messages)
    assert loaded == await store.load("7f3a", limit=2)


@pytest.mark.exhaustive
async def test_entries_that_are_stored_twice_are_read_once(store, directory):
    """As a request leaves them that the server applies after it was given up and sent again."""
    saved = conversation(1, 2)
    await store.save(saved)
    session = await directory.session("pydantic-ai/7f3a")
    await session.add_items((await session.get_items())[1:])
    assert saved == await store.load("7f3a")
    for limit in range(1, 5):
        assert saved.messages[-limit:] == (await store.load("7f3a", limit=limit)).messages


@pytest.mark.exhaustive
def test_missing_pydantic_ai_is_named_with_its_extra():
    code = "import sys; sys.modules['pydantic_ai'] = None; import openai_sessions.adapters.pydantic_ai"
    finished = run_python("-c", code, base_url="http://127.0.0.1:9/v1")
    assert finished.stderr.endswith(
        "ImportError: OpenAIConversationStore requires pydantic-ai-slim 2.66 or newer: "
        "pip install 'openai-sessions[pydantic-ai]'\n"
    )


async def test_unknown_conversation_is_none_without_a_request(store, emulator):
    assert None is await store.load("7f3a")
    assert None is await store.load_entries("7f3a")
    assert [] == await store.list_conversations()
    await store.delete("7f3a")
    assert [] == made(emulator)


async def test_save_stores_what_is_new(store, emulator):
    saved = conversation(1)
    first = await store.save(saved)
    assert ["question 1", "answer 1"] == said([entry.message for entry in first])
    assert [] == await store.save(saved)
    saved.messages += turn(2)
    second = await store.save(saved)
    assert ["question 2", "answer 2"] == said([entry.message for entry in second])
    assert [None, *[entry.id for entry in (*first, *second)][:3]] == [
        entry.parent_id for entry in (*first, *second)
    ]
    assert [*first, *second] == await store.load_entries("7f3a")
    assert second == await store.load_entries("7f3a", limit=2)
    assert [["question 1", "answer 1", "question 2", "answer 2"]] == stored_texts(emulator)


@pytest.mark.exhaustive
async def test_conversation_without_messages_has_no_hosted_conversation(store, emulator):
    saved = Conversation(conversation_id="7f3a", usage=RunUsage(requests=1))
    assert [] == await store.save(saved)
    assert saved == await store.load("7f3a")
    assert [] == made(emulator)
    saved.messages += turn(1)
    await store.save(saved)
    assert ["question 1", "answer 1"] == said((await store.load("7f3a")).messages)


@pytest.mark.exhaustive
async def test_save_of_a_rewritten_history_leaves_a_branch(store):
    saved = conversation(1, 2)
    entries = await store.save(saved)
    saved.messages = [*turn(1), asked("another")]
    await store.save(saved)
    assert ["question 1", "answer 1", "another"] == said((await store.load("7f3a")).messages)
    (record,) = await store.list_conversations()
    assert [entries[-1].id] == record.branches


async def test_branch_goes_back_and_returns(store, emulator):
    saved = conversation(1, 2)
    entries = await store.save(saved)
    branched = await store.branch("7f3a", at=2, expected_revision=saved.revision)
    branched.messages.append(asked("another"))
    (added,) = await store.save(branched)
    assert entries[1].id == added.parent_id
    assert ["question 1", "answer 1", "another"] == said((await store.load("7f3a")).messages)
    back = await store.branch("7f3a", from_entry=entries[3].id, expected_revision=branched.revision)
    assert ["question 1", "answer 1", "question 2", "answer 2"] == said(back.messages)
    assert back == await store.load("7f3a")
    (record,) = await store.list_conversations()
    assert [added.id] == record.branches
    for limit in range(1, 6):
        window = await store.load("7f3a", limit=limit)
        assert said(back.messages)[-limit:] == said(window.messages)


@pytest.mark.exhaustive
async def test_branch_from_an_old_revision_is_a_conflict(store):
    saved = conversation(1)
    await store.save(saved)
    old = saved.revision
    await store.save(saved)
    with pytest.raises(ConversationConflict):
        await store.branch("7f3a", at=0, expected_revision=old)
    with pytest.raises(UserError, match="'no entry' is not in the history"):
        await store.branch("7f3a", from_entry="no entry", expected_revision=saved.revision)


async def test_fork_shares_its_history_and_lives_on(store, other, emulator):
    """Entries keep their ids; each conversation goes on, and is deleted, on its own."""
    saved = conversation(1, 2)
    entries = await store.save(saved)
    fork = await store.fork("7f3a", at=2, new_conversation_id="fork")
    assert entries[:2] == await other.load_entries("fork")
    fork.messages += turn(3)
    await store.save(fork)
    saved.messages += turn(4)
    await other.save(saved)
    await store.delete("7f3a")
    assert None is await store.load("7f3a")
    assert ["question 1", "answer 1", "question 3", "answer 3"] == said((await other.load("fork")).messages)
    assert [["question 1", "answer 1", "question 3", "answer 3"]] == stored_texts(emulator)
    (record,) = await store.list_conversations()
    assert ("7f3a", entries[1].id) == (record.forked_from, record.forked_at)


@pytest.mark.exhaustive
async def test_fork_of_a_fork_branches_in_its_own_history(store):
    await store.save(conversation(1, 2))
    await store.fork("7f3a", new_conversation_id="fork")
    await store.fork("fork", at=3, new_conversation_id="fork of fork")
    await store.delete("7f3a")
    await store.delete("fork")
    loaded = await store.load("fork of fork")
    branched = await store.branch("fork of fork", at=1, expected_revision=loaded.revision)
    assert ["question 1"] == said(branched.messages)


@pytest.mark.exhaustive
async def test_fork_of_a_branch_that_was_left(store):
    saved = conversation(1, 2)
    entries = await store.save(saved)
    await store.branch("7f3a", at=0, expected_revision=saved.revision)
    fork = await store.fork("7f3a", from_entry=entries[2].id)
    assert ["question 1", "answer 1", "question 2"] == said(fork.messages)
    assert fork == await store.load(fork.conversation_id)


@pytest.mark.exhaustive
async def test_fork_of_nothing(store):
    await store.save(conversation(1))
    await store.fork("7f3a", at=0, new_conversation_id="fork")
    assert [] == (await store.load("fork")).messages


@pytest.mark.exhaustive
async def test_fork_to_an_existing_conversation_is_a_conflict(store, emulator):
    await store.save(conversation(1))
    with pytest.raises(ConversationConflict):
        await store.fork("7f3a", new_conversation_id="7f3a")
    assert [["question 1", "answer 1"]] == stored_texts(emulator)


async def test_record_whose_history_is_not_stored_is_a_conflict(store):
    saved = conversation(1)
    await store.save(saved)
    stored = await store.read_record("7f3a")
    wrong = dataclasses.replace(stored, head_id="no entry", revision="next")
    with pytest.raises(ConversationConflict):
        await store.write_record(wrong, expected_revision=stored.revision)
    for forked_from in (None, "7f3a", "unknown"):
        record = ConversationRecord(conversation_id="fork", head_id="no entry", forked_from=forked_from)
        with pytest.raises(ConversationConflict):
            await store.write_record(record, expected_revision=None)
    assert stored == await store.read_record("7f3a")
    assert None is await store.read_record("fork")


@pytest.mark.exhaustive
async def test_record_may_point_at_an_entry_of_any_conversation(store):
    """A fork that does not name the conversation that it comes from."""
    entries = await store.save(conversation(1))
    record = ConversationRecord(conversation_id="fork", head_id=entries[0].id)
    await store.write_record(record, expected_revision=None)
    assert entries[:1] == await store.load_entries("fork")


async def test_scope_keeps_a_conversation_to_its_owner(store):
    saved = conversation(1)
    await store.save(saved, scope="ann")
    assert None is await store.load("7f3a", scope="bob")
    assert saved == await store.load("7f3a", scope="ann")
    saved.messages += turn(2)
    with pytest.raises(ConversationConflict):
        await store.save(saved, scope="bob")
    await store.delete("7f3a", scope="bob")
    await store.save(saved)
    (record,) = await store.list_conversations(scope="ann")
    assert ("7f3a", "ann") == (record.conversation_id, record.scope)
    assert [] == await store.list_conversations(scope="bob")


@pytest.mark.exhaustive
async def test_conversations_are_listed_by_their_last_save(store, directory):
    await directory.session("not of the store")
    await directory.session("pydantic-ai/opened by hand")
    saved = {name: conversation(1, conversation_id=name) for name in ("c", "a", "b")}
    for each in saved.values():
        await store.save(each)
    await store.save(saved["c"])
    assert ["c", "b", "a"] == [each.conversation_id for each in await store.list_conversations()]
    assert ["c", "b"] == [each.conversation_id for each in await store.list_conversations(limit=2)]


async def test_stores_of_other_prefixes_and_tenants_are_apart(store, directory, open_directory):
    await store.save(conversation(1))
    assert None is await OpenAIConversationStore(directory, prefix="support/").load("7f3a")
    assert None is await OpenAIConversationStore(open_directory(tenant="other")).load("7f3a")


async def test_entry_is_found_by_its_id_alone(store, other):
    saved = conversation(1, 2)
    entries = await store.save(saved)
    await store.save(conversation(3, conversation_id="other"))
    for entry in entries:
        assert entry == await other.read_entry(entry.id)
    assert entries[:3] == await other.read_history(entries[2].id)
    with pytest.raises(LookupError, match="no conversation of the store has the entry 'no entry'"):
        await other.read_entry("no entry")
    assert [] == await store.read_history(None)


async def test_deleted_conversation_is_gone_at_openai(store, emulator):
    saved = conversation(1)
    await store.save(saved)
    await store.delete("7f3a")
    assert () == emulator.conversations()
    with pytest.raises(ConversationConflict):
        await store.save(saved)
    again = conversation(2)
    await store.save(again)
    assert ["question 2", "answer 2"] == said((await store.load("7f3a")).messages)


@pytest.mark.exhaustive
async def test_delete_of_an_old_revision_is_a_conflict(store):
    saved = conversation(1)
    await store.save(saved)
    old = saved.revision
    await store.save(saved)
    for revision in (old, "no revision"):
        with pytest.raises(ConversationConflict):
            await store.delete_record("7f3a", expected_revision=revision)
    with pytest.raises(ConversationConflict):
        await store.delete_record("unknown", expected_revision=old)
    assert saved == await store.load("7f3a")


async def test_metadata_that_the_application_has_set_stays(store, directory):
    saved = conversation(1)
    await store.save(saved)
    name = "pydantic-ai/7f3a"
    await directory.set_metadata(name, {**(await directory.get(name)).metadata, "plan": "pro"})
    saved.messages += turn(2)
    await store.save(saved)
    assert "pro" == (await directory.get(name)).metadata["plan"]


async def test_options_of_the_directory_do_not_cut_the_history(open_directory):
    from openai_sessions import HistoryLimits  # noqa: PLC0415 - used here only

    limits = {"history_limits": HistoryLimits(max_turns=1), "session_settings": {"limit": 1}}
    store = OpenAIConversationStore(open_directory(session_options=limits))
    saved = conversation(1, 2)
    await store.save(saved)
    assert saved == await store.load("7f3a")


async def test_missing_hosted_conversation_is_an_error(store, directory, client):
    """It is never silently taken for an empty one."""
    await store.save(conversation(1))
    await client.conversations.delete((await directory.get("pydantic-ai/7f3a")).conversation_id)
    with pytest.raises(ConversationNotFoundError):
        await store.load("7f3a")


@pytest.mark.exhaustive
async def test_missing_entry_is_an_error(store, directory):
    await store.save(conversation(1))
    session = await directory.session("pydantic-ai/7f3a")
    await session.pop_item()
    with pytest.raises(LookupError, match="conversation '7f3a' does not have the entry"):
        await store.load("7f3a")
    with pytest.raises(LookupError):
        await store.load("7f3a", limit=1)


@pytest.mark.parametrize("field", ["messages", "deferred_tool_requests"])
async def test_what_has_no_json_is_refused_before_a_request(store, emulator, field):
    unsaved = conversation(1)
    if field == "messages":
        unsaved.messages.append(asked("?", metadata={"no JSON": object()}))
    else:
        unsaved.deferred_tool_requests = DeferredToolRequests(metadata={"call_1": {"no JSON": object()}})
    with pytest.raises(PydanticSerializationError):
        await store.save(unsaved)
    assert ([], None) == (made(emulator), await store.load("7f3a"))


@pytest.mark.parametrize(("conversation_id", "message"), [("x" * 256, "has 268 characters"), ("a\0", "NUL")])
async def test_name_that_the_directory_cannot_store_is_refused(store, emulator, conversation_id, message):
    with pytest.raises(ValueError, match=message):
        await store.save(conversation(1, conversation_id=conversation_id))
    assert [] == made(emulator)


async def test_turns_cost_few_requests(store, other, emulator):
    """A save is one request; a process that does not know the conversation reads its tail before."""
    await store.save(conversation(1))
    assert ["POST /conversations", "POST /conversations/ID/items"] == made(emulator)
    loaded = await next_turn(store, 2)
    assert ["GET /conversations/ID/items"] == made(emulator)
    await store.save(loaded)
    assert ["POST /conversations/ID/items"] == made(emulator)
    await store.list_conversations()
    assert [] == made(emulator)
    await other.load("7f3a", limit=2)
    assert ["GET /conversations/ID/items"] == made(emulator)
    await store.delete("7f3a")
    *deletions, last = made(emulator)
    assert ("DELETE /conversations/ID", {"GET", "DELETE"}) == (last, {each.split()[0] for each in deletions})


async def test_limit_reads_no_more_than_it_needs(store, emulator):
    saved = conversation(*range(75))
    await store.save(saved)
    emulator.forget_requests()
    assert saved.messages[-3:] == (await store.load("7f3a", limit=3)).messages
    (request,) = emulator.requests
    assert ["3"] == request.query["limit"]
    branched = await store.branch("7f3a", at=2, expected_revision=saved.revision)
    emulator.forget_requests()
    assert branched.messages[-2:] == (await store.load("7f3a", limit=2)).messages
    emulator.forget_requests()
    assert [] == (await store.load("7f3a", limit=0)).messages
    assert [] == made(emulator)
