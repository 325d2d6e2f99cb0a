"""`compact()` of an encrypted session: the server compacts plain text, and stores tokens."""

from __future__ import annotations

import json

import pytest
from agents import Agent, RunConfig, Runner
from agents import OpenAIConversationsSession as SdkSession

from openai_sessions import Compaction, HistoryLimits, OpenAIConversationsSession
from openai_sessions.emulator import Fault
from openai_sessions.encryption import EncryptedSession
from openai_sessions.errors import ConversationChangedError
from tests.agents.scripted import ScriptedModel, says
from tests.telemetry.recording import Recording
from tests.turns.test_compact import (
    Beside,
    asked,
    in_process_client,
    question_and_answer,
    shown,
    user,
)

from .stores import KEY, OTHER_KEY, ListSession

MODEL = "gpt-5-mini"
NOW = Compaction(model=MODEL)
ALL = Compaction(model=MODEL, delete_replaced=True)


async def add_turns(session, *numbers):
    for number in numbers:
        await session.add_items(question_and_answer(number))


def sent_to_compact(emulator):
    return [each.body["input"] for each in emulator.requests if each.path.endswith("/compact")]


async def test_the_older_turns_are_compacted_in_plain_text_and_stored_as_tokens(emulator, encrypted, hosted):
    session = encrypted()
    await add_turns(session, 0, 1, 2, 3)
    tokens = shown(emulator.items(hosted.session_id))
    before = [item["id"] for item in emulator.items(hosted.session_id)]
    emulator.forget_requests()
    result = await session.compact(NOW)
    items = "/v1/conversations/ID/items"
    assert asked(emulator, hosted) == [
        f"GET {items}",
        "POST /v1/responses/compact",
        f"GET {items}",
        f"POST {items}",
        f"GET {items}",
        *[f"DELETE {items}/{item_id}" for item_id in [*before[6:3:-1], before[7]]],
    ]
    assert [shown(items) for items in sent_to_compact(emulator)] == [["q0", "a0", "q1", "a1"]]
    assert shown(await session.get_items()) == ["q0", "q1", "compaction", "q2", "a2", "q3", "a3"]
    after = shown(emulator.items(hosted.session_id))
    assert (after[:4], len(after)) == (tokens[:4], 11)
    assert not {*after[4:]} & {*tokens}  # copies are other writes
    assert all(text.startswith("openai-sessions:encrypted:v2:") for text in after)
    assert result.compaction_id == emulator.items(hosted.session_id)[6]["id"]
    assert shown([item async for item in session.iterate_items()])[:4] == ["q0", "a0", "q1", "a1"]


async def test_a_compacted_history_is_compacted_again_and_its_old_items_are_deleted(
    emulator, encrypted, hosted
):
    session = encrypted()
    await add_turns(session, 0, 1, 2, 3)
    await session.compact(Compaction(model=MODEL, keep_turns=1))
    await add_turns(session, 4, 5)
    await session.compact(ALL)
    view = ["q0", "q1", "q2", "q3", "compaction", "q4", "a4", "q5", "a5"]
    assert shown(await session.get_items()) == view
    assert len(emulator.items(hosted.session_id)) == len(view)
    assert "compaction" in shown(sent_to_compact(emulator)[1])


async def test_tokens_that_cannot_be_read_are_neither_sent_nor_deleted(emulator, encrypted, hosted):
    session, other = encrypted(), encrypted(key=OTHER_KEY)
    await other.add_items([user("other 0")])
    await add_turns(session, 0, 1)
    await other.add_items([user("other 1")])
    await add_turns(session, 2)
    await other.add_items([user("other 2")])
    result = await session.compact(Compaction(model=MODEL, keep_turns=1, delete_replaced=True))
    assert [shown(items) for items in sent_to_compact(emulator)] == [["q0", "a0", "q1", "a1"]]
    assert shown(await session.get_items()) == ["q0", "q1", "compaction", "q2", "a2"]
    assert shown(await other.get_items()) == ["other 0", "other 1", "other 2"]
    assert len(result.replaced_ids) == 7  # the last foreign token is among the newest, and copied with them


async def test_the_newest_turns_keep_their_times_and_the_compaction_item_gets_its_own(encrypted, clock):
    session = encrypted(ttl=100)
    await add_turns(session, 0, 1, 2, 3)
    clock.now += 60
    await session.compact(NOW)
    clock.now += 60
    assert shown(await session.get_items()) == ["q0", "q1", "compaction"]
    clock.now += 60
    assert await session.get_items() == []


async def test_an_expired_history_is_not_compacted(emulator, encrypted, clock):
    session = encrypted()
    await add_turns(session, 0, 1, 2, 3)
    clock.now += 601
    assert await session.compact(NOW) is None
    assert sent_to_compact(emulator) == []


async def test_data_of_other_providers_stays_in_tokens_and_is_not_sent(emulator, encrypted):
    session = encrypted()
    thought = {"type": "reasoning", "summary": [], "provider_data": {"thought": "x"}}
    for number in range(2):
        question, answer = question_and_answer(number)
        await session.add_items([question, thought, {**answer, "provider_data": {"signature": "x"}}])
    await session.compact(Compaction(model=MODEL, keep_turns=1))
    (body,) = sent_to_compact(emulator)
    assert shown(body) == ["q0", "a0"]
    assert "provider_data" not in json.dumps(body)
    assert [item.get("provider_data") for item in (await session.get_items())[-2:]] == [
        {"thought": "x"},
        {"signature": "x"},
    ]


async def test_others_who_write_meanwhile_keep_the_history_as_it_is(emulator, encrypted):
    async def write():
        await emulator.client().conversations.items.create(hosted.session_id, items=[user("others")])

    client = in_process_client(Beside(emulator, ("/responses/compact", write)), api_key="sk-emulator")
    hosted = OpenAIConversationsSession(openai_client=client)
    session = encrypted(hosted)
    await add_turns(session, 0, 1, 2, 3)
    before = [item["id"] for item in emulator.items(hosted.session_id)]
    with pytest.raises(ConversationChangedError, match="changed during the compaction"):
        await session.compact(NOW)
    assert [item["id"] for item in emulator.items(hosted.session_id)][:-1] == before


@pytest.fixture
def compacting(hosted, clock):
    """Return an encrypted session that compacts a history of more than three turns."""
    when = Compaction(model=MODEL, max_turns=3)
    return EncryptedSession("first user", hosted, KEY, compact_when=when, clock=clock)


COMPACTED = ["q1", "compaction", "q2", "a2", "q3", "a3"]


async def test_a_session_compacts_after_the_turn_that_exceeds_the_limit(emulator, compacting):
    await add_turns(compacting, 0, 1, 2)
    await compacting.add_items([user("q3")])
    assert sent_to_compact(emulator) == []
    await compacting.add_items(question_and_answer(3)[1:])
    assert shown(await compacting.get_items()) == COMPACTED


async def test_a_run_in_a_turn_compacts_once_it_is_stored(emulator, compacting):
    await add_turns(compacting, 0, 1, 2)
    async with compacting.turn(exclusive=True) as turn:
        agent = Agent(name="Tester", model=ScriptedModel([[says("a3")]]))
        await Runner.run(agent, "q3", session=turn, run_config=RunConfig(tracing_disabled=True))
        assert sent_to_compact(emulator) == []
        with pytest.raises(TypeError, match="a turn cannot be compacted: call compact"):
            await turn.compact(NOW)
    assert shown(await compacting.get_items()) == COMPACTED
    emulator.forget_requests()
    async with compacting.turn():
        pass
    assert emulator.requests == ()


async def test_a_compaction_that_fails_after_a_turn_is_logged(emulator, compacting, caplog):
    await add_turns(compacting, 0, 1, 2)
    emulator.inject(Fault("quota"), operation="compact_response")
    await add_turns(compacting, 3)
    assert "the history was not compacted: RateLimitError" in caplog.text
    assert len(await compacting.get_items()) == 8


class Loud(OpenAIConversationsSession):
    async def add_items(self, items):
        await super().add_items(items)


async def test_sessions_that_cannot_be_compacted_are_refused_before_any_request(emulator, encrypted, client):
    when = Compaction(model=MODEL, max_turns=3)
    for underlying in (ListSession(), SdkSession(openai_client=client)):
        with pytest.raises(TypeError, match="wrap the Agents SDK's OpenAIResponsesCompactionSession around"):
            await encrypted(underlying).compact(NOW)
        with pytest.raises(TypeError, match="is not an OpenAIConversationsSession, whose server compacts"):
            EncryptedSession("first user", underlying, KEY, compact_when=when)
    with pytest.raises(ValueError, match=r"EncryptedSession\(…, compact_when=…\)"):
        encrypted(OpenAIConversationsSession(openai_client=client, compact_when=when))
    with pytest.raises(TypeError, match="Loud overrides"):
        await encrypted(Loud(openai_client=client)).compact(NOW)
    whole = OpenAIConversationsSession(
        openai_client=client, history_limits=HistoryLimits(from_compaction=False)
    )
    with pytest.raises(ValueError, match="from_compaction=False"):
        await encrypted(whole).compact(NOW)
    with pytest.raises(ValueError, match="from_compaction=False"):
        EncryptedSession("first user", whole, KEY, compact_when=when)
    with pytest.raises(ValueError, match=r"give compact\(\) a Compaction"):
        await encrypted().compact()
    with pytest.raises(ValueError, match="has no limit"):
        EncryptedSession("first user", ListSession(), KEY, compact_when=NOW)
    assert emulator.requests == ()


async def test_items_of_a_failed_pop_are_restored_before(emulator, encrypted, hosted):
    session = encrypted()
    await add_turns(session, 0, 1, 2)
    await encrypted(key=OTHER_KEY).add_items([user("other")])
    emulator.inject(Fault("quota"), operation="create_items")
    with pytest.raises(Exception, match="quota"):
        await session.pop_item()
    assert session._pop.pending
    await session.compact(Compaction(model=MODEL, keep_turns=1))
    assert session._pop.pending == 0
    assert shown(await encrypted(key=OTHER_KEY).get_items()) == ["other"]


async def test_a_compaction_is_observed(encrypted):
    session = encrypted()
    await add_turns(session, 0, 1, 2)
    with Recording() as recording:
        await session.compact(NOW)
    assert recording.span("compact") is not None
