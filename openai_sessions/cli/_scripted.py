"""What the model says offline: it answers three questions, each from what was said before."""

from __future__ import annotations

from collections.abc import Sequence

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


def answer(said: Sequence[str]) -> str:
    """Answer the last of the texts from those before it.

    Args:
        said: All texts of the conversation, oldest first.
    """
    *_, question = said
    for beginning, (needed, reply) in _ANSWERS.items():
        if question.startswith(beginning) and any(needed in text for text in said):
            return reply
    return _NO_IDEA
