"""A model that says what a test tells it to, and a tool for it to call.

The model is the SDK's own where it has one, ours elsewhere.
"""

import copy
import hashlib
from dataclasses import dataclass
from typing import Any

from agents import Model, ModelResponse, Usage, function_tool
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
)
from openai.types.responses.response_reasoning_item import Summary

try:
    from agents.testing import ScriptedModel as SdkScriptedModel
except ImportError:  # openai-agents before 0.24
    SdkScriptedModel = None

RESPONSE_ID = "resp_scripted"


@dataclass(frozen=True)
class ModelCall:
    """What the model was shown in one call."""

    input: Any


class OurScriptedModel(Model):
    """Answer each call with the next step: a list of output items, or an exception to raise.

    Has of the SDK's `ScriptedModel` what the tests here use.
    """

    def __init__(self, steps):
        self._steps = list(steps)
        self._calls = []

    @property
    def calls(self):
        return tuple(self._calls)

    def assert_complete(self):
        assert not self._steps, f"{len(self._steps)} scripted steps were not taken"

    async def get_response(self, system_instructions, input, *args, **kwargs):  # noqa: A002 - the SDK's name
        return ModelResponse(output=self._next(input), usage=Usage(requests=1), response_id=RESPONSE_ID)

    async def stream_response(self, system_instructions, input, *args, **kwargs):  # noqa: A002 - the SDK's name
        response = Response(
            id=RESPONSE_ID,
            created_at=0,
            model="scripted",
            object="response",
            output=self._next(input),
            parallel_tool_calls=True,
            tool_choice="auto",
            tools=[],
        )
        yield ResponseCompletedEvent(type="response.completed", response=response, sequence_number=0)

    def _next(self, shown):
        self._calls.append(ModelCall(copy.deepcopy(shown)))
        assert self._steps, "the model was called once more than scripted"
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return copy.deepcopy(step)


ScriptedModel = SdkScriptedModel or OurScriptedModel


def says(text):
    """Return an assistant message, as a model returns it."""
    return ResponseOutputMessage(
        id=item_id("msg", text),
        type="message",
        role="assistant",
        status="completed",
        content=[ResponseOutputText(type="output_text", text=text, annotations=[], logprobs=[])],
    )


def calls(name, arguments="{}", *, call_id=None, **status):
    """Return a call of a function tool, as a model returns it: with a status where it is OpenAI's."""
    return ResponseFunctionToolCall(
        id=item_id("fc", name, arguments, call_id),
        call_id=call_id or f"call_{name}",
        type="function_call",
        name=name,
        arguments=arguments,
        **status,
    )


def thinks(summary, *, encrypted_content=None):
    """Return a reasoning item, as a model returns it."""
    encrypted = {} if encrypted_content is None else {"encrypted_content": encrypted_content}
    return ResponseReasoningItem(
        id=item_id("rs", summary),
        type="reasoning",
        summary=[Summary(type="summary_text", text=summary)],
        **encrypted,
    )


def item_id(prefix, *content):
    """Return an id that is the same each time the scenario is played."""
    return f"{prefix}_{hashlib.sha256(repr(content).encode()).hexdigest()[:48]}"


@function_tool
def add(a: int, b: int) -> int:
    return a + b


def roles_and_types(items):
    return [item.get("role") or item["type"] for item in items]
