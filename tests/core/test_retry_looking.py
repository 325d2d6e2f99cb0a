"""An append whose outcome is unknown: it is looked for before it is sent again."""

from __future__ import annotations

import pytest

from openai_sessions import RetryPolicy
from openai_sessions._api.retries import Failure, Outcome, RequestKind

from .attempts import LASTING, Bench, FailedError


async def test_an_append_of_unknown_outcome_is_looked_for_before_it_is_sent_again():
    bench = Bench([Outcome.UNKNOWN, "done"])
    assert await bench.run(RequestKind.APPEND, look=bench.looking()) == "done"
    assert ["request", "look", 0.0, "request"] == bench.log


async def test_an_append_that_is_found_is_not_sent_again():
    bench = Bench([Outcome.UNKNOWN])
    assert await bench.run(RequestKind.APPEND, look=bench.looking("found")) == "found"
    assert ["request", "look"] == bench.log


@pytest.mark.parametrize("outcome", [*LASTING, Outcome.THROTTLED, Outcome.LOCKED, Outcome.UNREACHABLE])
async def test_an_append_that_was_not_applied_is_not_looked_for(outcome):
    bench = Bench([outcome, "done"])
    look = bench.looking("found")
    if outcome in LASTING:
        await bench.fails(RequestKind.APPEND, look=look)
    else:
        assert await bench.run(RequestKind.APPEND, look=look) == "done"
    assert "look" not in bench.log


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_every_failure_of_a_resend_is_looked_into(outcome):
    """A 400 may say "duplicate", and a lock may be our own."""
    bench = Bench([Outcome.UNKNOWN, outcome])
    assert await bench.run(RequestKind.APPEND, look=bench.looking(None, "found")) == "found"
    assert ["request", "look", 0.0, "request", "look"] == bench.log


async def test_doubt_lasts_to_the_last_attempt():
    bench = Bench([Outcome.UNKNOWN, Outcome.LOCKED, Outcome.THROTTLED, Outcome.REFUSED])
    assert Failure(Outcome.REFUSED) == await bench.fails(RequestKind.APPEND, look=bench.looking())
    assert ["request", "look"] * 4 == [entry for entry in bench.log if isinstance(entry, str)]


async def test_a_refusal_of_a_resend_that_is_not_found_is_not_sent_again():
    bench = Bench([Outcome.UNKNOWN, Outcome.REFUSED])
    assert Failure(Outcome.REFUSED) == await bench.fails(RequestKind.APPEND, look=bench.looking())
    assert bench.attempts == 2


async def test_the_time_between_the_looks_counts_as_waiting():
    bench = Bench([Outcome.UNKNOWN], policy=RetryPolicy(settle_after=1))
    await bench.fails(RequestKind.APPEND, look=bench.looking())
    assert [0, 0, 1, 3, 7] == bench.waits


@pytest.mark.parametrize(
    "raised", [Outcome.UNREACHABLE, Outcome.UNKNOWN, Outcome.THROTTLED, Outcome.LOCKED, Outcome.REFUSED]
)
async def test_what_a_look_raises_comes_out(raised):
    """Whatever it is: to send again without having looked might store the items twice."""
    bench = Bench([Outcome.UNKNOWN, "done"])
    look = bench.looking(FailedError(raised))
    assert Failure(raised) == await bench.fails(RequestKind.APPEND, look=look)
    assert ["request", "look"] == bench.log


async def test_a_falsy_find_is_a_find():
    bench = Bench([Outcome.UNKNOWN])
    assert await bench.run(RequestKind.APPEND, look=bench.looking([])) == []


async def test_a_find_gives_no_token_back():
    bench = Bench([Outcome.UNKNOWN])
    bench.budget.spend(Outcome.THROTTLED)
    await bench.run(RequestKind.APPEND, look=bench.looking("found"))
    assert bench.budget.tokens == 495


@pytest.mark.parametrize("hint", [True, False])
async def test_a_look_comes_before_what_the_server_says(hint):
    bench = Bench([Failure(Outcome.UNKNOWN, should_retry=hint)])
    await bench.fails(RequestKind.APPEND, look=bench.looking())
    assert ["request", "look"] == bench.log[:2]
    assert (6 if hint else 1) == bench.attempts
