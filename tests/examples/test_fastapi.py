"""The chat endpoints of examples/, served by uvicorn: another process goes on, and a reply is lost."""

import asyncio
import json

import pytest

from openai_sessions.emulator import Fault
from tests.examples.stand_in import API_KEY, ROOT, run_python
from tests.selection import one_in

pytest.importorskip("fastapi")

FIRST, SECOND = "What city is the Golden Gate Bridge in?", "What state is it in?"

SERVED = {
    "fastapi_session.py": ("create_items", ["list_items", "create_response", "create_items", "list_items"]),
    "fastapi_conversation_id.py": ("create_response", ["list_items", "create_response", "list_items"]),
    "fastapi_previous_response_id.py": ("create_response", ["create_response", "create_response"]),
}
"""The operation of each example that loses a reply, and the operations of a worker that this happens to."""

REBUILT = "the response is rebuilt from its items, without its usage\n"
"""What the log says of a response whose id was lost with the reply."""


def ask(name, message, base_url):
    """Start a worker, post a message to it, and return the answer, and what the worker logs."""
    app = f"{name.removesuffix('.py')}:app"
    finished = run_python(
        "-m", "tests.examples.serving", app, "/chat", json.dumps(message), base_url=base_url
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout), finished.stderr


def test_every_served_example_is_tested():
    assert sorted(path.name for path in ROOT.glob("examples/fastapi_*.py")) == sorted(SERVED)


@pytest.mark.parametrize("name", SERVED)
def test_served_example_fits_thirty_lines(name):
    assert len((ROOT / "examples" / name).read_text().splitlines()) <= 30


@pytest.mark.parametrize("name", one_in(3, SERVED))
def test_another_worker_remembers_although_a_reply_is_lost(name, server):
    base_url, emulator = server
    first, logged = ask(name, {"text": FIRST}, base_url)
    assert logged == ""
    operation, expected = SERVED[name]
    emulator.forget_requests()
    emulator.inject(Fault("cut_after_commit"), operation=operation)
    second, logged = ask(name, {**first, "text": SECOND}, base_url)
    assert logged == "" or (logged.endswith(REBUILT) and "conversation_id" in name)
    assert ["San Francisco.", "California."] == [first["text"], second["text"]]
    assert expected == [request.operation for request in emulator.requests]
    if "conversation_id" in second:
        stored = emulator.items(second["conversation_id"])
        assert ["user", "assistant"] * 2 == [item["role"] for item in stored]
    else:
        assert first["response_id"] == previous_of(second["response_id"], emulator)


def previous_of(response_id, emulator):
    """Return the id of the response that a response follows."""

    async def retrieve():
        async with emulator.client(api_key=API_KEY) as client:
            return await client.responses.retrieve(response_id)

    return asyncio.run(retrieve()).previous_response_id
