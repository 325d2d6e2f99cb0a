"""The Runner hands over the same history with our session as with SQLiteSession."""

import pytest
from agents import Agent, RunConfig

from .scripted import add, calls, says


async def test_handoffs(alike):
    async def scenario(stage):
        specialist = Agent(name="Specialist", model=stage.model([says("Restart it.")]))
        model = stage.model([calls("transfer_to_specialist")], [says("You are welcome.")])
        triage = Agent(name="Triage", model=model, handoffs=[specialist])
        await stage.run(triage, "It hangs.")
        await stage.run(triage, "Thanks.")

    played = await alike(scenario)

    assert ["Restart it.", "You are welcome."] == played.outcomes
    assert 3 == len(played.inputs[0][0])


@pytest.mark.parametrize("nested", [False, True], ids=["flat_history", "nested_history"])
async def test_nested_handoffs(alike, nested):
    """Three agents in one run; the history of a handoff as it is, or folded into one message."""

    async def scenario(stage):
        config = RunConfig(nest_handoff_history=nested)
        expert = Agent(name="Expert", model=stage.model([says("Replace the fan.")]))
        specialist = Agent(
            name="Specialist",
            model=stage.model([says("One moment."), calls("transfer_to_expert")]),
            handoffs=[expert],
        )
        triage = Agent(
            name="Triage",
            model=stage.model(
                [calls("add", '{"a": 1, "b": 2}')], [calls("transfer_to_specialist")], [says("Any time.")]
            ),
            tools=[add],
            handoffs=[specialist],
        )
        await stage.run(triage, "It is loud.", run_config=config)
        await stage.run(triage, "Thanks.", run_config=config)

    played = await alike(scenario)

    assert ["Replace the fan.", "Any time."] == played.outcomes
    assert nested == ("<CONVERSATION HISTORY>" in str(played.inputs[0]))


async def test_nested_handoffs_of_a_history(alike):
    """The turns before are folded in too, each told as the session holds it."""

    async def scenario(stage):
        config = RunConfig(nest_handoff_history=True)
        specialist = Agent(name="Specialist", model=stage.model([says("Replace the fan.")]))
        triage = Agent(
            name="Triage",
            model=stage.model(
                [calls("add", '{"a": 1, "b": 2}')], [says("3.")], [calls("transfer_to_specialist")]
            ),
            tools=[add],
            handoffs=[specialist],
        )
        await stage.run(triage, "1 + 2?", run_config=config)
        await stage.run(triage, "It is loud.", run_config=config)

    played = await alike(scenario)

    assert "call_add" in str(played.inputs[0])
