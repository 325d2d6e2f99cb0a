"""Repeated attempts: how many, how long, and who is told."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import FrozenInstanceError

import pytest

from openai_sessions import RetryPolicy
from openai_sessions._api.retries import Failure, Outcome, RequestKind
from openai_sessions.session import RetryEvent

from .attempts import LASTING, TRANSIENT, Bench

# How often


async def test_a_success_is_returned_after_one_attempt():
    bench = Bench(["done"])
    assert await bench.run() == "done"
    assert bench.log == ["request"]


@pytest.mark.parametrize("outcome", TRANSIENT)
async def test_a_transient_failure_is_tried_six_times(outcome):
    bench = Bench([outcome])
    assert Failure(outcome) == await bench.fails()
    assert bench.attempts == 6


@pytest.mark.parametrize("outcome", LASTING)
async def test_a_lasting_failure_is_tried_once(outcome):
    bench = Bench([outcome])
    assert Failure(outcome) == await bench.fails()
    assert bench.log == ["request"]


async def test_a_success_ends_the_attempts():
    bench = Bench([Outcome.UNREACHABLE, Outcome.LOCKED, "done", Outcome.REFUSED])
    assert await bench.run() == "done"
    assert bench.attempts == 3


async def test_the_error_of_the_last_attempt_comes_out():
    assert Failure(Outcome.REFUSED) == await Bench([Outcome.THROTTLED, Outcome.REFUSED]).fails()


@pytest.mark.parametrize("attempts", [1, 2, 9])
async def test_the_policy_says_how_often(attempts):
    bench = Bench([Outcome.THROTTLED], policy=RetryPolicy(attempts=attempts))
    await bench.fails()
    assert attempts == bench.attempts


@pytest.mark.parametrize("failure", [ValueError("mine"), asyncio.CancelledError()])
async def test_an_error_that_is_of_no_request_comes_out_at_once(failure):
    bench = Bench([failure])
    with pytest.raises(type(failure)):
        await bench.run(RequestKind.APPEND, look=bench.looking("found"))
    assert bench.log == ["request"]


async def test_stopped_ends_the_attempts():
    bench = Bench([Outcome.THROTTLED])
    assert Failure(Outcome.THROTTLED) == await bench.fails(stopped=lambda: bench.attempts == 2)
    assert bench.attempts == 2


# How long


async def test_waits_double():
    bench = Bench([Outcome.UNREACHABLE])
    await bench.fails()
    assert [0.5, 1, 2, 4, 8] == bench.waits


async def test_waits_for_a_lock_double_from_a_second():
    bench = Bench([Outcome.LOCKED])
    await bench.fails()
    assert [1, 2, 4, 8, 8] == bench.waits


async def test_a_wait_goes_by_the_failure_before_it():
    bench = Bench([Outcome.UNKNOWN, Outcome.LOCKED, Failure(Outcome.UNKNOWN, retry_after=5.0), "done"])
    await bench.run()
    assert [0.5, 2, 5] == bench.waits


async def test_a_run_may_bring_its_own_sleep():
    bench, own = Bench([Outcome.THROTTLED, "done"]), []

    async def sleep(seconds):
        own.append(seconds)

    assert await bench.run(sleep=sleep) == "done"
    assert (own, bench.waits) == ([0.5], [])


async def test_a_wait_beyond_the_deadline_is_not_begun():
    """0.5 + 1 + 2 and four attempts of 1 s make 7.5; the wait of 4 would end at 11.5."""
    bench = Bench([Outcome.UNREACHABLE], policy=RetryPolicy(deadline=11.4), took=1)
    await bench.fails()
    assert [0.5, 1, 2] == bench.waits


async def test_a_wait_that_ends_at_the_deadline_is_begun():
    bench = Bench([Outcome.UNREACHABLE], policy=RetryPolicy(deadline=3.5))
    await bench.fails()
    assert [0.5, 1, 2] == bench.waits


async def test_a_retry_after_beyond_the_deadline_raises_at_once():
    bench = Bench([Failure(Outcome.THROTTLED, retry_after=121.0)])
    await bench.fails()
    assert bench.log == ["request"]


async def test_a_retry_after_within_the_deadline_is_waited_for():
    bench = Bench([Failure(Outcome.THROTTLED, retry_after=119.0), "done"])
    await bench.run()
    assert [119.0] == bench.waits


# Who is told


async def test_on_retry_is_told_before_each_wait():
    bench = Bench([Outcome.LOCKED, Outcome.UNREACHABLE, "done"])
    bench.on_retry = bench.log.append
    await bench.run(RequestKind.DELETE_ITEM, conversation_id="conv_1")
    assert bench.log == [
        "request",
        RetryEvent("delete item", 1, "locked", 1.0, "conv_1"),
        1.0,
        "request",
        RetryEvent("delete item", 2, "unreachable", 1.0, "conv_1"),
        1.0,
        "request",
    ]


async def test_on_retry_is_not_told_of_the_last_failure():
    told = []
    await Bench([Outcome.THROTTLED], on_retry=told.append).fails()
    assert [event.attempt for event in told] == [1, 2, 3, 4, 5]


async def test_what_on_retry_raises_is_logged(caplog):
    def on_retry(event):
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "openai_sessions"):
        assert await Bench([Outcome.THROTTLED, "done"], on_retry=on_retry).run() == "done"
    assert ["on_retry raised"] == [record.message for record in caplog.records]


def test_a_retry_event_is_frozen():
    event = RetryEvent("append", 1, "locked", 1.0, None)
    with pytest.raises(FrozenInstanceError):
        event.wait = 0.0
