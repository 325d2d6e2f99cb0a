"""`Runner.run_sync` over a socket, with the client that the session opens for itself."""

import asyncio
import warnings

import pytest
from agents import Agent, Runner

from openai_sessions import OpenAIConversationsSession

from .scripted import ScriptedModel, says
from .staging import in_a_loop_of_its_own


@pytest.fixture
def served(emulator, monkeypatch):
    """Serve the emulator on a socket, where clients look by default."""
    with emulator.serve() as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-emulator")
        yield emulator


@pytest.fixture
def loop():
    """Make the loop that the Runner finds and leaves open, as in a program that only calls `run_sync`."""
    loop = asyncio.new_event_loop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop(loop)
        yield loop
        asyncio.set_event_loop(None)
    loop.close()


def three_turns():
    model = ScriptedModel([[says("Paris.")], [says("Seine.")], [says("777 km.")]])
    return Agent(name="Guide", model=model), model


# httpx, whichever family, reads every body through asynchronous generators; the loop counts that as late.
@pytest.mark.filterwarnings("ignore:asynchronous generator .* was scheduled after:ResourceWarning")
def test_run_sync_several_times_in_the_same_loop(served, loop):
    """The Runner leaves its loop open between runs, and shuts down its asynchronous generators."""
    agent, model = three_turns()
    session = OpenAIConversationsSession()

    try:
        for given in ("The capital of France?", "The river there?", "How long?"):
            Runner.run_sync(agent, given, session=session)
        history = loop.run_until_complete(session.get_items())
    finally:
        loop.run_until_complete(session.aclose())

    assert [1, 3, 5] == [len(call.input) for call in model.calls]
    assert 6 == len(history)


def test_run_sync_in_one_loop_after_another(served):
    agent, model = three_turns()
    session = OpenAIConversationsSession()

    for given in ("The capital of France?", "The river there?", "How long?"):
        in_a_loop_of_its_own(agent, given, session=session)

    assert [1, 3, 5] == [len(call.input) for call in model.calls]
    asyncio.run(session.aclose())
