"""A run in a process of its own, with a session that knows nothing but the name of its conversation.

As a program it reads what to do as JSON on standard input, and writes what came of it to standard output.
"""

import asyncio
import contextlib
import json
import os
import sys

import agents
from agents import Agent, RunState, SQLiteSession, function_tool

from openai_sessions import OpenAIConversationsSession
from tests import programs

from .normalised import normalised
from .scripted import calls, says
from .staging import RUNNERS, Stage


@function_tool(needs_approval=True)
def delete(path: str) -> str:
    return f"Deleted {path}."


def deleting_agent(model, **options):
    """Return the agent of both processes."""
    return Agent(name="Janitor", model=model, tools=[delete], **options)


def asks_to_delete(path):
    return calls("delete", json.dumps({"path": path}), call_id=f"call_{path}")


def continue_elsewhere(runner, answer, *, given=None, state=None, database=None, conversation=None):
    """Run one turn in a new process.

    Args:
        runner: One of `RUNNERS`.
        answer: What the model says.
        given: The input of the turn.
        state: The serialised state to approve and resume instead.
        database: The file of the SQLiteSession to use, or
        conversation: the base URL and id of the conversation to resume with ours.

    Returns:
        What the call of the model was shown, normalised, and the final output.
    """
    base_url, conversation_id = conversation or (None, None)
    order = {
        "runner": runner.__name__,
        "answer": answer,
        "given": given,
        "state": state,
        "database": database and str(database),
        "conversation_id": conversation_id,
    }
    environment = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "sk-emulator"} if base_url else {}
    finished = programs.run(
        *("-W", "error", "-m", __name__), env={**os.environ, **environment}, stdin=json.dumps(order)
    )
    assert (0, "") == (finished.returncode, finished.stderr)
    shown, outcome = json.loads(finished.stdout)
    return shown, outcome


async def obey(order):
    """Do what another process asked for, and return what its caller gets."""
    runner = next(runner for runner in RUNNERS if runner.__name__ == order["runner"])
    if order["database"]:
        with contextlib.closing(SQLiteSession("elsewhere", order["database"])) as session:
            return await one_turn(runner, session, order)
    async with OpenAIConversationsSession(conversation_id=order["conversation_id"]) as session:
        return await one_turn(runner, session, order)


async def one_turn(runner, session, order):
    stage = Stage(runner, session)
    model = stage.model([says(order["answer"])])
    agent = deleting_agent(model)
    await stage.run(agent, order["given"] or await approved(agent, order["state"]))
    (call,) = model.calls
    (outcome,) = stage.outcomes
    return normalised(call.input), outcome


async def approved(agent, serialised):
    state = await RunState.from_string(agent, serialised)
    for cancellation in state.get_interruptions():
        state.approve(cancellation)
    return state


if __name__ == "__main__":
    agents.set_tracing_disabled(disabled=True)
    json.dump(asyncio.run(obey(json.load(sys.stdin))), sys.stdout)
