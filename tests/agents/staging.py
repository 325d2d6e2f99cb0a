"""One scenario, played with two sessions, which must come out alike."""

import asyncio
import warnings
from dataclasses import dataclass, field

from agents import Runner, SQLiteSession

from openai_sessions import OpenAIConversationsSession

from .normalised import normalised
from .scripted import ScriptedModel


@dataclass(frozen=True)
class Played:
    """What a scenario came to.

    Attributes:
        inputs: For each of its models, in the order in which they were made, what each call was shown.
        history: What the session holds at the end.
        outcomes: For each run, its final output, or the name of the error that it ended with.
    """

    inputs: list
    history: list
    outcomes: list


@dataclass
class Stage:
    """Where a scenario is played: makes its models, starts its runs, and keeps a record of both."""

    runner: object
    session: object
    models: list = field(default_factory=list)
    outcomes: list = field(default_factory=list)

    def model(self, *steps):
        """Return a model that takes the steps one after another: lists of items, or errors."""
        scripted = ScriptedModel(steps)
        self.models.append(scripted)
        return scripted

    async def run(self, agent, given, **options):
        """Run the agent with the session, and return the result; None when the run raised.

        Args:
            agent: The agent to start with.
            given: The input of the turn, or the state to resume.
            **options: Passed on to the Runner.
        """
        try:
            result = await self.runner(agent, given, **{"session": self.session, **options})
        except Exception as error:  # noqa: BLE001 - which error it is, is compared
            self.outcomes.append(type(error).__name__)
            return None
        self.outcomes.append(result.final_output)
        return result

    async def played(self):
        """Return the record."""
        return Played(
            inputs=[[normalised(call.input) for call in model.calls] for model in self.models],
            history=normalised(await self.session.get_items()),
            outcomes=self.outcomes,
        )


async def run(agent, given, **options):
    return await Runner.run(agent, given, **options)


async def run_streamed(agent, given, **options):
    result = Runner.run_streamed(agent, given, **options)
    async for _ in result.stream_events():
        pass
    return result


async def run_sync(agent, given, **options):
    return await asyncio.to_thread(in_a_loop_of_its_own, agent, given, **options)


def in_a_loop_of_its_own(agent, given, **options):
    """Call `Runner.run_sync` in a thread that has a loop to use, and close that loop afterwards.

    The Runner leaves the loop that it makes for itself open.
    """
    loop = asyncio.new_event_loop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the Runner asks the policy for the loop
        asyncio.set_event_loop(loop)
        try:
            return Runner.run_sync(agent, given, **options)
        finally:
            asyncio.set_event_loop(None)
            loop.close()


RUNNERS = (run, run_streamed, run_sync)


async def play(scenario, runner, session):
    """Play the scenario with a session; every step of every model must be taken."""
    stage = Stage(runner, session)
    await scenario(stage)
    played = await stage.played()
    for model in stage.models:
        model.assert_complete()
    return played


async def play_alike(scenario, runner, client, *, settings=None):
    """Play the scenario with both sessions and return what it came to, the same for both.

    Args:
        scenario: A coroutine function of a `Stage`.
        runner: One of `RUNNERS`.
        client: The client of the emulator.
        settings: The session settings of both sessions.
    """
    sqlite = SQLiteSession("alike", session_settings=settings)
    try:
        expected = await play(scenario, runner, sqlite)
    finally:
        sqlite.close()
    ours = OpenAIConversationsSession(openai_client=client, session_settings=settings)
    actual = await play(scenario, runner, ours)
    assert expected.outcomes == actual.outcomes
    assert expected.inputs == actual.inputs
    assert expected.history == actual.history
    return actual
