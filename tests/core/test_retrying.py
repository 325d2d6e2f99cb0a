"""Repeated attempts: how many, how long, at whose cost; and what goes over the wire."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field
from email.utils import formatdate
from typing import Any

import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RetryBudget, RetryEvent, RetryPolicy
from openai_sessions._policy import Failure, Operation, Outcome
from openai_sessions._retrying import Retrier
from tests.wire import FAST, HTTP_FAMILY, Call, Wire, error, not_found, page


class FailedError(Exception):
    """An error that the policy sees as `failure`."""

    def __init__(self, failure: Failure | Outcome) -> None:
        super().__init__(failure)
        self.failure = failure if isinstance(failure, Failure) else Failure(failure)


@dataclass
class Bench:
    """A request with scripted answers, and a time that passes only in sleeps.

    Attributes:
        answers: What the attempts do: an outcome or a failure to fail with, an exception to raise, or
            a result; the last is repeated.
        took: Seconds that each attempt takes.
    """

    answers: list[Any]
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    budget: RetryBudget = field(default_factory=RetryBudget)
    on_retry: Callable[[RetryEvent], object] | None = None
    took: float = 0.0
    now: float = 1000.0
    attempts: int = 0
    log: list[Any] = field(default_factory=list)

    async def request(self) -> Any:
        answer = self.answers[min(self.attempts, len(self.answers) - 1)]
        self.attempts += 1
        self.now += self.took
        self.log.append("request")
        if isinstance(answer, (Outcome, Failure)):
            raise FailedError(answer)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.log.append(seconds)
        self.now += seconds

    def looking(self, *found: Any) -> Callable[[], Any]:
        """Return a look that finds each of these in turn, then nothing."""
        pending = list(found)

        async def look() -> Any:
            self.log.append("look")
            result = pending.pop(0) if pending else None
            if isinstance(result, BaseException):
                raise result
            return result

        return look

    async def run(self, operation: Operation = Operation.READ, **options: Any) -> Any:
        retrier = Retrier(
            classify=lambda error: getattr(error, "failure", None),
            policy=self.policy,
            budget=self.budget,
            on_retry=self.on_retry,
            sleep=self.sleep,
            clock=lambda: self.now,
            random=lambda: 0.0,
        )
        return await retrier.run(operation, self.request, **options)

    async def fails(self, operation: Operation = Operation.READ, **options: Any) -> Failure:
        with pytest.raises(FailedError) as caught:
            await self.run(operation, **options)
        return caught.value.failure

    @property
    def waits(self) -> list[float]:
        return [entry for entry in self.log if isinstance(entry, float)]


TRANSIENT = [Outcome.UNKNOWN, Outcome.UNREACHABLE, Outcome.THROTTLED, Outcome.LOCKED]
LASTING = [Outcome.REFUSED, Outcome.NOT_FOUND]


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
        await bench.run(Operation.APPEND, look=bench.looking("found"))
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


# Who is told


async def test_on_retry_is_told_before_each_wait():
    bench = Bench([Outcome.LOCKED, Outcome.UNREACHABLE, "done"])
    bench.on_retry = bench.log.append
    await bench.run(Operation.DELETE_ITEM, conversation_id="conv_1")
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


# Looking


async def test_an_append_of_unknown_outcome_is_looked_for_before_it_is_sent_again():
    bench = Bench([Outcome.UNKNOWN, "done"])
    assert await bench.run(Operation.APPEND, look=bench.looking()) == "done"
    assert ["request", "look", 0.0, "request"] == bench.log


async def test_an_append_that_is_found_is_not_sent_again():
    bench = Bench([Outcome.UNKNOWN])
    assert await bench.run(Operation.APPEND, look=bench.looking("found")) == "found"
    assert ["request", "look"] == bench.log


@pytest.mark.parametrize("outcome", [*LASTING, Outcome.THROTTLED, Outcome.LOCKED, Outcome.UNREACHABLE])
async def test_an_append_that_was_not_applied_is_not_looked_for(outcome):
    bench = Bench([outcome, "done"])
    look = bench.looking("found")
    if outcome in LASTING:
        await bench.fails(Operation.APPEND, look=look)
    else:
        assert await bench.run(Operation.APPEND, look=look) == "done"
    assert "look" not in bench.log


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_every_failure_of_a_resend_is_looked_into(outcome):
    """A 400 may say "duplicate", and a lock may be our own."""
    bench = Bench([Outcome.UNKNOWN, outcome])
    assert await bench.run(Operation.APPEND, look=bench.looking(None, "found")) == "found"
    assert ["request", "look", 0.0, "request", "look"] == bench.log


async def test_doubt_lasts_to_the_last_attempt():
    bench = Bench([Outcome.UNKNOWN, Outcome.LOCKED, Outcome.THROTTLED, Outcome.REFUSED])
    assert Failure(Outcome.REFUSED) == await bench.fails(Operation.APPEND, look=bench.looking())
    assert ["request", "look"] * 4 == [entry for entry in bench.log if isinstance(entry, str)]


async def test_a_refusal_of_a_resend_that_is_not_found_is_not_sent_again():
    bench = Bench([Outcome.UNKNOWN, Outcome.REFUSED])
    assert Failure(Outcome.REFUSED) == await bench.fails(Operation.APPEND, look=bench.looking())
    assert bench.attempts == 2


async def test_the_time_between_the_looks_counts_as_waiting():
    bench = Bench([Outcome.UNKNOWN], policy=RetryPolicy(settle_after=1))
    await bench.fails(Operation.APPEND, look=bench.looking())
    assert [0, 0, 1, 3, 7] == bench.waits


@pytest.mark.parametrize(
    "raised", [Outcome.UNREACHABLE, Outcome.UNKNOWN, Outcome.THROTTLED, Outcome.LOCKED, Outcome.REFUSED]
)
async def test_what_a_look_raises_comes_out(raised):
    """Whatever it is: to send again without having looked might store the items twice."""
    bench = Bench([Outcome.UNKNOWN, "done"])
    look = bench.looking(FailedError(raised))
    assert Failure(raised) == await bench.fails(Operation.APPEND, look=look)
    assert ["request", "look"] == bench.log


async def test_a_falsy_find_is_a_find():
    bench = Bench([Outcome.UNKNOWN])
    assert await bench.run(Operation.APPEND, look=bench.looking([])) == []


async def test_a_find_gives_no_token_back():
    bench = Bench([Outcome.UNKNOWN])
    bench.budget.spend(Outcome.THROTTLED)
    await bench.run(Operation.APPEND, look=bench.looking("found"))
    assert bench.budget.tokens == 495


@pytest.mark.parametrize("hint", [True, False])
async def test_a_look_comes_before_what_the_server_says(hint):
    bench = Bench([Failure(Outcome.UNKNOWN, should_retry=hint)])
    await bench.fails(Operation.APPEND, look=bench.looking())
    assert ["request", "look"] == bench.log[:2]
    assert (6 if hint else 1) == bench.attempts


# On the wire

USER = {"role": "user", "content": "Hi"}


@dataclass(frozen=True)
class Case:
    """An operation of a session, the request of it that fails, and the requests before and around it."""

    run: Callable[[OpenAIConversationsSession], Any]
    method: str
    path: str
    before: tuple[str, ...] = ()

    def is_victim(self, call: Call) -> bool:
        return str(call) == f"{self.method} {self.path}"

    def session(self, wire: Wire, **options: Any) -> OpenAIConversationsSession:
        conversation_id = None if self.path == "/conversations" else "conv_1"
        options = {"retry_policy": FAST, **options}
        return OpenAIConversationsSession(
            conversation_id=conversation_id, openai_client=wire.client, **options
        )


ITEMS = "/conversations/conv_1/items"

CASES = {
    "get_items": Case(lambda session: session.get_items(), "GET", ITEMS),
    "add_items": Case(lambda session: session.add_items([USER]), "POST", ITEMS, (f"GET {ITEMS}",)),
    "pop_item": Case(lambda session: session.pop_item(), "DELETE", f"{ITEMS}/m1", (f"GET {ITEMS}",)),
    "clear_session": Case(lambda session: session.clear_session(), "DELETE", "/conversations/conv_1"),
    "ensure_conversation": Case(lambda session: session.ensure_conversation(), "POST", "/conversations"),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def failing(case: Case, failure: Any) -> Wire:
    """Return a server that answers one kind of request with a failure, and the others well."""

    def answer(call: Call) -> Any:
        if not case.is_victim(call):
            return page("m1")
        if isinstance(failure, Exception):
            raise failure
        return failure

    return Wire(answer)


async def expect(case: Case, failure: Any, requests: int, **options: Any) -> None:
    """Run an operation to its failure, and compare all the requests on the wire."""
    wire = failing(case, failure)
    with pytest.raises(openai.OpenAIError):
        await case.run(case.session(wire, **options))
    assert [*case.before, *[f"{case.method} {case.path}"] * requests] == str(wire).split("\n")


@every_case
@pytest.mark.parametrize(
    "failure",
    [
        error(400),
        error(400, "unknown_parameter"),
        error(401, "invalid_api_key"),
        error(403),
        error(422),
        error(429, "insufficient_quota"),
        error(429, x_should_retry="false"),
        error(429, retry_after="1000"),
        error(429, retry_after_ms="1000000"),
        error(429, retry_after=formatdate(time.time() + 9000, usegmt=True)),
        error(400, "conversation_locked", x_should_retry="false"),
    ],
    ids=lambda failure: f"{failure[0]}-{failure[1]['error']['code']}-{'-'.join(failure[2].values())}",
)
async def test_a_request_that_is_not_worth_another_goes_out_once(case, failure):
    await expect(case, failure, 1)


@every_case
@pytest.mark.parametrize(
    "failure",
    [
        error(429),
        error(429, "rate_limit_exceeded"),
        error(400, "conversation_locked"),
        error(429, retry_after_ms="1"),
        error(429, retry_after="0.001"),
        error(429, retry_after=formatdate(0, usegmt=True)),
        error(401, x_should_retry="true"),
        HTTP_FAMILY.ConnectError("refused"),
        HTTP_FAMILY.ConnectTimeout("slow"),
        HTTP_FAMILY.PoolTimeout("full"),
    ],
    ids=lambda failure: repr(failure[:1] + failure[2:]) if isinstance(failure, tuple) else repr(failure),
)
async def test_a_request_that_was_not_applied_goes_out_six_times(case, failure):
    await expect(case, failure, 6)


UNKNOWN = [error(500), error(409), HTTP_FAMILY.ReadTimeout("slow"), HTTP_FAMILY.RemoteProtocolError("cut")]


@pytest.mark.parametrize("name", [name for name in CASES if name != "add_items"])
@pytest.mark.parametrize("failure", UNKNOWN, ids=repr)
async def test_a_request_of_unknown_outcome_goes_out_six_times_unless_it_appends(name, failure):
    await expect(CASES[name], failure, 6)


@pytest.mark.parametrize("failure", UNKNOWN, ids=repr)
async def test_an_append_of_unknown_outcome_is_looked_for_twice_after_each_of_six(failure):
    case = CASES["add_items"]
    wire = failing(case, failure)
    with pytest.raises(openai.OpenAIError):
        await case.run(case.session(wire))
    assert [f"GET {ITEMS}", *[f"POST {ITEMS}", *[f"GET {ITEMS}"] * 2] * 6] == str(wire).split("\n")


@every_case
async def test_a_request_of_unknown_outcome_that_the_server_will_not_have_again_goes_out_once(case):
    wire = failing(case, error(500, x_should_retry="false"))
    with pytest.raises(openai.InternalServerError):
        await case.run(case.session(wire))
    assert len([call for call in wire.calls if case.is_victim(call)]) == 1


@every_case
async def test_the_clients_own_retries_do_not_show(case):
    """Not even when the client was told to make them."""
    wire = failing(case, HTTP_FAMILY.ConnectError("refused"))
    wire.client = wire.client.with_options(max_retries=5)
    with pytest.raises(openai.APIConnectionError):
        await case.run(case.session(wire, retry_policy=RetryPolicy(attempts=1)))
    assert len([call for call in wire.calls if case.is_victim(call)]) == 1


@every_case
async def test_on_retry_hears_the_operation_and_the_waits_that_the_server_asked_for(case):
    told: list[RetryEvent] = []
    wire = failing(case, error(429, retry_after_ms="2"))
    with pytest.raises(openai.RateLimitError):
        await case.run(case.session(wire, on_retry=told.append))
    names = {
        "get_items": "read",
        "add_items": "append",
        "pop_item": "delete item",
        "clear_session": "delete conversation",
        "ensure_conversation": "create conversation",
    }
    operation = next(names[name] for name in CASES if CASES[name] is case)
    conversation_id = None if operation == "create conversation" else "conv_1"
    assert [
        RetryEvent(operation, attempt, "throttled", 0.002, conversation_id) for attempt in range(1, 6)
    ] == told


async def test_a_missing_conversation_is_asked_for_once():
    wire = Wire(lambda call: not_found())
    session = CASES["get_items"].session(wire)
    with pytest.raises(Exception, match="No conversation 'conv_1' was found"):
        await session.get_items()
    assert [f"GET {ITEMS}", "GET /conversations/conv_1"] == str(wire).split("\n")


# Whose budget


def down() -> Wire:
    """Return a server that does nothing but throttle."""
    return Wire(lambda call: error(429))


async def requests_of(session: OpenAIConversationsSession, wire: Wire) -> int:
    before = len(wire.calls)
    with pytest.raises(openai.RateLimitError):
        await session.get_items()
    return len(wire.calls) - before


async def exhaust(session: OpenAIConversationsSession, wire: Wire) -> None:
    """Spend 500 tokens at 5 a retry, and 5 retries an operation."""
    assert [6] * 20 == [await requests_of(session, wire) for _ in range(20)]


async def test_the_sessions_of_one_client_share_a_budget():
    wire = down()
    case = CASES["get_items"]
    await exhaust(case.session(wire), wire)
    assert await requests_of(case.session(wire), wire) == 1
    copied = Wire.__new__(Wire)
    copied.calls, copied.client = wire.calls, wire.client.with_options(timeout=5)
    assert await requests_of(case.session(copied), wire) == 1


async def test_clients_do_not_share_a_budget():
    wire, other = down(), down()
    case = CASES["get_items"]
    await exhaust(case.session(wire), wire)
    assert await requests_of(case.session(other), other) == 6


async def test_a_budget_that_is_given_is_the_one_that_pays():
    wire = down()
    budget = RetryBudget(10)
    case = CASES["get_items"]
    session = case.session(wire, retry_budget=budget)
    assert [3, 1] == [await requests_of(session, wire) for _ in range(2)]
    assert budget.tokens == 0
    assert await requests_of(case.session(wire), wire) == 6
