"""The Runner shows a model the same reasoning with our session as with SQLiteSession."""

import pytest
from agents import Agent, RunConfig

from .scripted import add, calls, roles_and_types, says, thinks


@pytest.mark.parametrize("encrypted_content", [None, "gAAAA"], ids=["bare", "encrypted"])
async def test_reasoning_before_a_message(alike, encrypted_content):
    async def scenario(stage):
        model = stage.model(
            [thinks("Capitals.", encrypted_content=encrypted_content), says("Paris.")], [says("Seine.")]
        )
        agent = Agent(name="Guide", model=model)
        await stage.run(agent, "The capital of France?")
        await stage.run(agent, "The river there?")

    played = await alike(scenario)

    assert ["user", "reasoning", "assistant", "user"] == roles_and_types(played.inputs[0][1])
    assert encrypted_content == played.history[1].get("encrypted_content")


@pytest.mark.parametrize("encrypted_content", [None, "gAAAA"], ids=["bare", "encrypted"])
async def test_reasoning_before_function_calls(alike, encrypted_content):
    async def scenario(stage):
        model = stage.model(
            [
                thinks("Sums.", encrypted_content=encrypted_content),
                calls("add", '{"a": 1, "b": 2}', call_id="call_1"),
                calls("add", '{"a": 3, "b": 4}', call_id="call_2"),
            ],
            [thinks("Easy.", encrypted_content=encrypted_content), says("3 and 7.")],
            [says("10.")],
        )
        agent = Agent(name="Adder", model=model, tools=[add])
        await stage.run(agent, "1 + 2, and 3 + 4?")
        await stage.run(agent, "Together?")

    played = await alike(scenario)

    assert [
        "user",
        "reasoning",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "reasoning",
        "assistant",
        "user",
        "assistant",
    ] == roles_and_types(played.history)


async def test_reasoning_without_its_ids(alike):
    """With the run's policy "omit" the SDK takes the ids away itself; encrypted reasoning stays whole."""

    async def scenario(stage):
        config = RunConfig(reasoning_item_id_policy="omit")
        model = stage.model(
            [thinks("Capitals.", encrypted_content="gAAAA"), says("Paris.")], [says("Seine.")]
        )
        agent = Agent(name="Guide", model=model)
        await stage.run(agent, "The capital of France?", run_config=config)
        await stage.run(agent, "The river there?", run_config=config)

    played = await alike(scenario)

    assert "reasoning" == played.history[1]["type"]
