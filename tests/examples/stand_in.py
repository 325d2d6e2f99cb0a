"""A stand-in for OpenAI on loopback: the emulator with one key, and answers from what was said."""

from __future__ import annotations

import os
from contextlib import contextmanager

from openai_sessions.emulator import Emulator
from tests import programs

ROOT = programs.ROOT

API_KEY = "sk-stand-in"
"""The only key that the stand-in accepts."""

FACTS = (
    ("What city", "Golden Gate Bridge", "San Francisco."),
    ("What city", "Space Needle", "Seattle."),
    ("What state", "San Francisco", "California."),
    ("What state", "Seattle", "Washington."),
    ("How many people", "California", "About 39 million."),
)
"""How a question begins, what must have been said for it to be answered, and the answer."""


def reply(said):
    """Answer the last of the texts from what was said in any of them."""
    for beginning, needed, answer in FACTS:
        if said[-1].startswith(beginning) and any(needed in text for text in said):
            return answer
    return "I cannot tell."


@contextmanager
def stand_in():
    """Serve the stand-in; give its base URL and the emulator behind it."""
    with Emulator(api_keys=[API_KEY]) as emulator, emulator.serve() as base_url:
        emulator.reply(lambda request: reply(request.texts), times=None)
        yield base_url, emulator


def environment(base_url):
    """Return the variables of a process that takes the stand-in for OpenAI."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return {
        **kept,
        "NO_PROXY": "127.0.0.1",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "OPENAI_API_KEY": API_KEY,
        "OPENAI_BASE_URL": base_url,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "always::ResourceWarning",
    }


def run_python(*arguments, base_url):
    """Run Python with the stand-in as its OpenAI, and return the finished process."""
    return programs.run(*arguments, env=environment(base_url))
