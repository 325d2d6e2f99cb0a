"""Turns of an agent whose model answers at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

ANSWER = {"role": "assistant", "content": "It carries six lanes of traffic across the strait."}
QUESTION = {"role": "user", "content": "And how many lanes does it have?"}


class InstantModel(Model):
    """Give the same answer to everything, without a network."""

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        """Return one message."""
        text = ResponseOutputText(
            type="output_text", text=str(ANSWER["content"]), annotations=[], logprobs=[]
        )
        message = ResponseOutputMessage(
            id="msg_instant", type="message", role="assistant", status="completed", content=[text]
        )
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """Refuse: nothing here streams."""
        raise NotImplementedError


async def run_turn(session: Any) -> Any:
    """Have the Runner of the Agents SDK make a turn, and return its final output."""
    agent = Agent(name="Guide", model=InstantModel())
    config = RunConfig(tracing_disabled=True)
    result = await Runner.run(agent, str(QUESTION["content"]), session=session, run_config=config)
    return result.final_output


async def bare_turn(session: Any) -> int:
    """Do to a session what the Runner does in a turn, and return how many items it had."""
    history = await session.get_items()
    await session.add_items([QUESTION])
    await session.add_items([ANSWER])
    return len(history)
