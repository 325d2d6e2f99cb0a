"""Compaction of named sessions, and through a `ContextSession`."""

from __future__ import annotations

from agents import Agent, RunConfig, Runner

from openai_sessions import Compaction, ContextSession
from tests.agents.scripted import ScriptedModel, says
from tests.turns.test_compact import question_and_answer, shown

WHEN = Compaction(model="gpt-5-mini", max_turns=3)
COMPACTED = ["q1", "compaction", "q2", "a2", "q3", "a3"]


async def test_a_named_session_compacts_after_a_turn_and_at_once(directory, other, emulator):
    session = await directory.session("user_1", compact_when=WHEN)
    for number in range(4):
        await session.add_items(question_and_answer(number))
    assert shown(await session.get_items()) == COMPACTED
    assert shown(await (await other.session("user_1")).get_items()) == COMPACTED
    await session.compact(Compaction(model="gpt-5-mini", keep_turns=1))
    assert shown(await session.get_items()) == ["q1", "q2", "compaction", "q3", "a3"]


async def test_all_sessions_of_a_directory_compact(open_directory):
    directory = open_directory(session_options={"compact_when": WHEN})
    session = await directory.session("user_1")
    await session.add_items([each for number in range(4) for each in question_and_answer(number)])
    assert shown(await session.get_items()) == COMPACTED


async def test_the_selected_session_compacts_after_a_run_with_a_context_session(directory):
    async def select(name):
        return await directory.session(name, compact_when=WHEN)

    sessions = ContextSession(select)
    for number in range(4):
        agent = Agent(name="Tester", model=ScriptedModel([[says(f"a{number}")]]))
        await Runner.run(
            agent,
            f"q{number}",
            session=sessions,
            context="user_1",
            run_config=RunConfig(tracing_disabled=True),
        )
    selected = await sessions.select_session("user_1")
    assert shown(await selected.get_items()) == COMPACTED
