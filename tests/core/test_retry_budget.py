"""What retries are paid from."""

from __future__ import annotations

import threading

import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings
from openai_sessions._api.retries import Failure, Outcome
from openai_sessions.session import RetryBudget
from tests.wire import FAST, Wire, error

from .attempts import TRANSIENT, Bench

# At whose cost


async def test_a_retry_of_a_transient_error_is_dearer_than_of_a_throttle():
    costs = {}
    for outcome in TRANSIENT:
        bench = Bench([outcome, "done"])
        await bench.run()
        costs[outcome] = 500 - bench.budget.tokens
    assert costs == dict.fromkeys(TRANSIENT[:2], 14) | dict.fromkeys(TRANSIENT[2:], 5)


async def test_a_clean_first_attempt_gives_one_token_back():
    bench = Bench(["done"])
    bench.budget.spend(Outcome.THROTTLED)
    await bench.run()
    assert bench.budget.tokens == 496


async def test_a_success_after_a_retry_gives_nothing_back():
    bench = Bench([Outcome.THROTTLED, "done"])
    await bench.run()
    assert bench.budget.tokens == 495


async def test_a_full_budget_does_not_grow():
    bench = Bench(["done"], budget=RetryBudget(3))
    await bench.run()
    assert bench.budget.tokens == 3


async def test_an_empty_budget_lets_the_error_out_at_once():
    bench = Bench([Outcome.THROTTLED], budget=RetryBudget(4))
    assert Failure(Outcome.THROTTLED) == await bench.fails()
    assert bench.log == ["request"]
    assert bench.budget.tokens == 4


async def test_retries_go_on_until_the_budget_is_empty():
    bench = Bench([Outcome.UNREACHABLE], budget=RetryBudget(30))
    await bench.fails()
    assert (bench.attempts, bench.budget.tokens) == (3, 2)


async def test_a_budget_of_exactly_the_cost_is_enough():
    bench = Bench([Outcome.UNREACHABLE], budget=RetryBudget(3, transient_cost=3))
    await bench.fails()
    assert (bench.attempts, bench.budget.tokens) == (2, 0)


async def test_an_exempt_run_does_not_pay():
    bench = Bench([Outcome.UNREACHABLE], budget=RetryBudget(1))
    await bench.fails(exempt=True)
    assert (bench.attempts, bench.budget.tokens) == (6, 1)


async def test_a_retry_that_does_not_come_about_is_not_paid_for():
    bench = Bench([Failure(Outcome.THROTTLED, retry_after=1000.0)])
    await bench.fails()
    assert bench.budget.tokens == 500


def test_a_budget_may_be_used_from_many_threads():
    budget = RetryBudget(10_000, transient_cost=1)
    spending = [
        threading.Thread(target=lambda: [budget.spend(Outcome.UNKNOWN) for _ in range(1000)])
        for _ in range(8)
    ]
    for thread in spending:
        thread.start()
    for thread in spending:
        thread.join()
    assert budget.tokens == 2000


# Whose budget


def down() -> Wire:
    """Return a server that does nothing but throttle."""
    return Wire(lambda call: error(429))


def session(client: openai.AsyncOpenAI, budget: RetryBudget | None = None) -> OpenAIConversationsSession:
    return OpenAIConversationsSession(
        conversation_id="conv_1",
        openai_client=client,
        requests=RequestSettings(retry_policy=FAST, retry_budget=budget),
    )


async def requests_of(asked: OpenAIConversationsSession, wire: Wire) -> int:
    before = len(wire.calls)
    with pytest.raises(openai.RateLimitError):
        await asked.get_items()
    return len(wire.calls) - before


async def exhaust(spender: OpenAIConversationsSession, wire: Wire) -> None:
    """Spend 500 tokens at 5 a retry, and 5 retries an operation."""
    assert [6] * 20 == [await requests_of(spender, wire) for _ in range(20)]


async def test_the_sessions_of_one_client_share_a_budget():
    wire = down()
    await exhaust(session(wire.client), wire)
    assert await requests_of(session(wire.client), wire) == 1
    assert await requests_of(session(wire.client.with_options(timeout=5)), wire) == 1


@pytest.mark.exhaustive
async def test_clients_do_not_share_a_budget():
    wire, other = down(), down()
    await exhaust(session(wire.client), wire)
    assert await requests_of(session(other.client), other) == 6


async def test_a_budget_that_is_given_is_the_one_that_pays():
    wire = down()
    budget = RetryBudget(10)
    paying = session(wire.client, budget)
    assert [3, 1] == [await requests_of(paying, wire) for _ in range(2)]
    assert budget.tokens == 0
    assert await requests_of(session(wire.client), wire) == 6
