"""The chat of examples/chat, with real databases: one worker by `make test`, two by `make test-all`."""

import asyncio
import json
import runpy
from contextlib import ExitStack

import pytest

from tests import programs
from tests.conformance.postgres_server import postgres_server
from tests.examples.chatting import QUESTIONS, Browser, joined, variables, walk, worker
from tests.examples.stand_in import ROOT, stand_in
from tests.processes.redis_server import redis_server

pytest.importorskip("fastapi.sse")

SAID = [
    ["user", QUESTIONS[0]],
    ["assistant", "San Francisco."],
    ["user", QUESTIONS[1]],
    ["assistant", "California."],
]


def check_walk(seen):
    """Check what the user of the chat saw."""
    assert seen["answers"] == ["San Francisco.", "California."]
    assert seen["listed"] == ["Hello", QUESTIONS[0]]
    assert seen["renamed"] == [200, {"title": "Bridges"}]
    assert (seen["found"], seen["left"], seen["nothing"]) == (["Bridges"], ["Bridges"], [])
    assert seen["read"] == SAID
    assert (seen["deleted"], seen["gone"][0]) == ([204, None], 404)
    assert seen["erased"][0] == 200


def stored(emulator):
    """Return the items of all conversations that there are."""
    return [item for each in emulator.conversations() for item in emulator.items(each.id)]


def test_user_sees_only_what_is_stored_and_erases_it(tmp_path):
    with redis_server() as redis_url, stand_in() as (base_url, emulator):
        env = variables(base_url, redis_url, f"sqlite+aiosqlite:///{tmp_path}/chat.db")
        finished = programs.run("-m", "tests.examples.chatting", env=env)
        assert (finished.returncode, finished.stderr) == (0, "")
        check_walk(json.loads(finished.stdout))
        assert (emulator.conversations(), stored(emulator)) == ((), [])
