"""A model without a network: it answers three questions, each from what was said before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

from agents import Model, ModelResponse, TResponseInputItem, Usage
from agents.items import TResponseStreamEvent
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

QUESTIONS = (
    "What city is the Golden Gate Bridge in?",
    "What state is it in?",
    "How many people live there?",
)

_ANSWERS = {
    "What city": ("Golden Gate Bridge", "San Francisco."),
    "What state": ("San Francisco", "California."),
    "How many people": ("California", "About 39 million."),
}
"""A question's first words, what must have been said for it to be answered, and the answer."""

_NO_IDEA = "I cannot tell: nobody has said what you mean."


class ScriptedModel(Model):
    """Answer the demonstration's questions from the items of a turn, and from nothing else."""

    async def get_response(
        self,
        system_instructions: str | None,  # noqa: ARG002
        input: str | list[TResponseInputItem],  # noqa: A002
        *_: Any,
        **__: Any,
    ) -> ModelResponse:
        """Return one message that answers the last thing said."""
        said = list(_texts([{"content": input}] if isinstance(input, str) else input))
        message = ResponseOutputMessage(
            id=f"msg_{uuid4().hex}",
            type="message",
            role="assistant",
            status="completed",
            content=[ResponseOutputText(type="output_text", text=answer(said), annotations=[], logprobs=[])],
        )
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        """Refuse: the demonstration does not stream."""
        raise NotImplementedError


def answer(said: list[str]) -> str:
    """Answer the last of the texts from those before it.

    Args:
        said: All texts of the conversation, oldest first.
    """
    *_, question = said
    for beginning, (needed, reply) in _ANSWERS.items():
        if question.startswith(beginning) and any(needed in text for text in said):
            return reply
    return _NO_IDEA


def _texts(items: Any) -> Iterator[str]:
    for item in items:
        content = item.get("content", "")
        if isinstance(content, str):
            yield content
        else:
            yield from (part["text"] for part in content if "text" in part)
