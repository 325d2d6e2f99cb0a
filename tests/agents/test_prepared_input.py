"""Callbacks and limits choose the same of a history with our session as with SQLiteSession."""

import pytest
from agents import Agent, RunConfig, SessionSettings

from .scripted import add, calls, roles_and_types, says


async def test_input_callback_that_reorders(alike):
    async def scenario(stage):
        config = RunConfig(session_input_callback=lambda history, new: [*new, *reversed(history)])
        model = stage.model([says("One.")], [says("Two.")], [says("Three.")])
        agent = Agent(name="Counter", model=model)
        await stage.run(agent, "First.", run_config=config)
        await stage.run(agent, "Second.", run_config=config)
        await stage.run(agent, "Third.", run_config=config)

    played = await alike(scenario)

    assert {"role": "user", "content": "Third."} == played.inputs[0][2][0]
    assert ["user", "assistant"] * 3 == roles_and_types(played.history)


async def test_input_callback_that_drops_history(alike):
    async def scenario(stage):
        config = RunConfig(session_input_callback=lambda history, new: [*history[-1:], *new])
        model = stage.model([says("One.")], [says("Two.")], [says("Three.")])
        agent = Agent(name="Counter", model=model)
        for given in ("First.", "Second.", "Third."):
            await stage.run(agent, given, run_config=config)

    played = await alike(scenario)

    assert [1, 2, 2] == [len(shown) for shown in played.inputs[0]]
    assert 6 == len(played.history)


async def test_input_callback_that_drops_the_new_input(alike):
    """The model sees the history alone, and what was dropped is not stored."""

    async def scenario(stage):
        config = RunConfig(session_input_callback=lambda history, new: list(history))
        agent = Agent(name="Counter", model=stage.model([says("One.")], [says("Two.")]))
        await stage.run(agent, "First.")
        await stage.run(agent, "Second.", run_config=config)

    played = await alike(scenario)

    assert ["user", "assistant", "assistant"] == roles_and_types(played.history)


async def test_input_callback_that_rewrites_and_repeats(alike):
    async def scenario(stage):
        async def callback(history, new):
            return [*history, {"role": "developer", "content": "Be brief."}, *new, *history[:1]]

        config = RunConfig(session_input_callback=callback)
        agent = Agent(name="Counter", model=stage.model([says("One.")], [says("Two.")]))
        await stage.run(agent, "First.", run_config=config)
        await stage.run(agent, "Second.", run_config=config)

    played = await alike(scenario)

    assert 6 == len(played.history)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 100])
async def test_limit_of_the_session(alike, limit):
    async def scenario(stage):
        model = stage.model(
            [calls("add", '{"a": 1, "b": 2}')], [says("3.")], [says("Yes.")], [says("Good bye.")]
        )
        agent = Agent(name="Adder", model=model, tools=[add])
        await stage.run(agent, "1 + 2?")
        await stage.run(agent, "Sure?")
        await stage.run(agent, "Thanks.")
        stage.session.session_settings = None

    played = await alike(scenario, settings=SessionSettings(limit=limit))

    assert 8 == len(played.history)
    assert limit >= len(played.inputs[0][-1]) - 1


async def test_limit_of_the_run(alike):
    """The run's limit wins over the session's."""

    async def scenario(stage):
        config = RunConfig(session_settings=SessionSettings(limit=2))
        model = stage.model([says("One.")], [says("Two.")], [says("Three.")])
        agent = Agent(name="Counter", model=model)
        for given in ("First.", "Second.", "Third."):
            await stage.run(agent, given, run_config=config)
        stage.session.session_settings = None

    played = await alike(scenario, settings=SessionSettings(limit=1))

    assert [1, 3, 3] == [len(shown) for shown in played.inputs[0]]
