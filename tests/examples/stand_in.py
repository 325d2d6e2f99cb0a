"""A stand-in for OpenAI on loopback: the emulator with one API key and scripted answers."""

from __future__ import annotations

import os
from contextlib import contextmanager

from openai_sessions.emulator import Emulator
from tests import programs

ROOT = programs.ROOT

API_KEY = "sk-stand-in"
"""The only API key that the stand-in accepts."""

FACTS = (
    ("What city", "Golden Gate Bridge", "San Francisco."),
    ("What city", "Space Needle", "Seattle."),
    ("What state", "San Francisco", "California."),
    ("What state", "Seattle", "Washington."),
    ("How many people", "California", "About 39 million."),
)
"""The start of a question, what an earlier text must contain, and the answer."""


def reply(said):
    """Answer the last of the texts, if one of them contains what the answer needs."""
    for beginning, needed, answer in FACTS:
        if said[-1].startswith(beginning) and any(needed in text for text in said):
            return answer
    return "I cannot tell."


@contextmanager
def stand_in():
    """Serve the stand-in; yield its base URL and the emulator behind it."""
    with Emulator(api_keys=[API_KEY]) as emulator, emulator.serve() as base_url:
        emulator.reply(lambda request: reply(request.texts), times=None)
        yield base_url, emulator


def environment(base_url):
    """Return the environment variables of a process that uses the stand-in as OpenAI."""
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
