"""The items and turns that sessions are measured with."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

BATCH = 20
"""The number of items that one request may add."""

ANSWER = {"role": "assistant", "content": "It carries six lanes of traffic across the strait."}
QUESTION = {"role": "user", "content": "And how many lanes does it have?"}

_SAID = "The bridge was opened in 1937 and carries six lanes of traffic and a sidewalk across the strait. "


def items(number: int) -> list[dict[str, Any]]:
    """Return a history of `number` items: a question, a call, its output, an answer, and so on."""
    kinds = itertools.cycle((_question, _call, _output, _answer))
    return [kind(index) for index, kind in zip(range(number), kinds, strict=False)]


def batches(number: int) -> list[list[dict[str, Any]]]:
    """Return that history in batches for one request each."""
    history = items(number)
    return [history[start : start + BATCH] for start in range(0, number, BATCH)]


def numbers(read: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return the numbers of items, in whatever form they were read."""
    return [int(re.findall(r"item (\d+)", json.dumps(item))[0]) for item in read]


def _question(index: int) -> dict[str, Any]:
    return {"role": "user", "content": f"Question, item {index}: {_SAID}Is there more to say of it?"}


def _call(index: int) -> dict[str, Any]:
    arguments = json.dumps({"query": f"item {index}", "language": "en", "results": 3})
    return {"type": "function_call", "call_id": f"call_{index}", "name": "look_up", "arguments": arguments}


def _output(index: int) -> dict[str, Any]:
    output = f"Found, item {index}: {_SAID}"
    return {"type": "function_call_output", "call_id": f"call_{index - 1}", "output": output}


def _answer(index: int) -> dict[str, Any]:
    part = {"type": "output_text", "text": f"Answer, item {index}: {_SAID * 2}", "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part]}


class InstantModel(Model):
    """A model that returns the same answer at once, without a network."""

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
        """Raise: no run here streams."""
        raise NotImplementedError


async def run_turn(session: Any) -> Any:
    """Run one turn with the Runner of the Agents SDK, and return its final output."""
    agent = Agent(name="Guide", model=InstantModel())
    config = RunConfig(tracing_disabled=True)
    result = await Runner.run(agent, str(QUESTION["content"]), session=session, run_config=config)
    return result.final_output


async def bare_turn(session: Any) -> int:
    """Make the calls that the Runner makes in a turn, and return the number of items before it."""
    history = await session.get_items()
    await session.add_items([QUESTION])
    await session.add_items([ANSWER])
    return len(history)
