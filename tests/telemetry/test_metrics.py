"""Counters, the histogram, and their attributes."""

from __future__ import annotations

from urllib.parse import urlsplit

import openai
import pytest

from openai_sessions.emulator import Fault

from .recording import Recording

SAID = {"role": "user", "content": "Hello"}


async def test_counters(emulator, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items([SAID] * 3)
            emulator.inject(Fault("throttled"), operation="list_items")
            await session.get_items()
            emulator.inject(Fault("cut_after_commit"), operation="create_items")
            await session.add_items([SAID])
            emulator.inject(Fault("quota"), operation="create_items")
            with pytest.raises(openai.RateLimitError):
                await session.add_items([SAID])
            await session.pop_item()
        operations = recording.counts(
            "gen_ai.client.operation.duration", "gen_ai.operation.name", "error.type"
        )
        requests = recording.counts(
            "openai_sessions.requests", "http.request.method", "url.template", "http.response.status_code"
        )
        items = recording.counts("openai_sessions.items", "openai_sessions.items.action")
        retries = recording.counts(
            "openai_sessions.retries", "openai_sessions.retry.request", "openai_sessions.retry.outcome"
        )
        steps = recording.counts("openai_sessions.reconciliations", "openai_sessions.reconciliation.result")
    path = "/v1/conversations/{conversation_id}/items"
    assert operations == {
        ("create_memory", None): 2,
        ("create_memory", "openai.RateLimitError"): 1,
        ("search_memory", None): 1,
        ("delete_memory", None): 1,
    }
    assert requests == {
        ("POST", "/v1/conversations", 200): 1,
        ("POST", path, 200): 1,
        ("POST", path, None): 1,
        ("POST", path, 429): 1,
        ("GET", path, 200): 3,
        ("GET", path, 429): 1,
        ("DELETE", f"{path}/{{item_id}}", 200): 1,
    }
    assert items == {("read",): 3, ("written",): 4, ("deleted",): 1}
    assert retries == {("read", "throttled"): 1}
    assert steps == {("found",): 1}


async def test_duration_follows_the_convention(server, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.ensure_conversation()
        (point,) = recording.metrics()["gen_ai.client.operation.duration"]
    assert point.explicit_bounds == (
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    )
    assert dict(point.attributes) == {
        "gen_ai.operation.name": "create_memory_store",
        "gen_ai.provider.name": "openai",
        "server.address": "127.0.0.1",
        "server.port": urlsplit(server[1]).port,
    }
    assert 0 < point.sum < 60


async def test_no_attribute_of_a_metric_is_an_id(emulator, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items([SAID] * 2)
            await session.clear_session(purge_items=True)
        values = {
            str(value)
            for points in recording.metrics().values()
            for point in points
            for value in point.attributes.values()
        }
    assert "delete_memory_store" in values
    assert [value for value in values if value.startswith(("conv_", "msg_", "req_"))] == []
