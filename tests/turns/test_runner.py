"""What a Runner of the Agents SDK sends to the model, of a session with limits."""

from __future__ import annotations

from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, SessionSettings, function_tool

from openai_sessions import HistoryLimits, OpenAIConversationsSession


@function_tool
def look(place: str) -> str:
    """Look somewhere."""
    return f"42 in {place}"


def guide(emulator):
    return Agent(name="Guide", model=OpenAIResponsesModel("any", emulator.client()), tools=[look])


async def asked(emulator, session, count, **options):
    """Run an agent on questions that need a tool; return the texts of each request to the model."""
    seen = []

    def answer(request):
        seen.append([item.get("type", "message") for item in request.items])
        if request.items[-1].get("role") == "user":
            return {"type": "function_call", "name": "look", "arguments": {"place": "Oakland"}}
        return "42."

    emulator.reply(answer, times=None)
    for number in range(count):
        await Runner.run(guide(emulator), f"question {number}", session=session, **options)
    return seen


TURN = ["message", "function_call", "function_call_output", "message"]


async def test_a_runner_sees_the_newest_turns_and_stores_all(emulator):
    session = OpenAIConversationsSession(
        openai_client=emulator.client(), history_limits=HistoryLimits(max_turns=2)
    )
    seen = await asked(emulator, session, 4)
    assert seen[0::2] == [["message"], [*TURN, "message"], [*TURN * 2, "message"], [*TURN * 2, "message"]]
    assert seen[7] == [*TURN * 2, *TURN[:3]]
    assert len(await session.turns()) == 4
    assert len(await session.get_items(limit=99)) == 4 * len(TURN)


async def test_a_runner_sees_what_fits_into_a_budget(emulator):
    session = OpenAIConversationsSession(
        openai_client=emulator.client(), history_limits=HistoryLimits(max_tokens=9, count_tokens=lambda _: 1)
    )
    seen = await asked(emulator, session, 4)
    assert [len(items) for items in seen[0::2]] == [1, 5, 9, 9]


async def test_a_limit_of_items_is_given_by_the_runner_and_holds_alone(emulator):
    """As docs/turns.md says: one or the other."""
    session = OpenAIConversationsSession(
        openai_client=emulator.client(), history_limits=HistoryLimits(max_turns=1)
    )
    config = RunConfig(session_settings=SessionSettings(limit=8))
    seen = await asked(emulator, session, 3, run_config=config)
    assert [len(items) for items in seen[0::2]] == [1, 5, 9]
