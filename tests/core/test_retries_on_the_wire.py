"""Which requests go out when one fails, for each operation of a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RetryPolicy
from openai_sessions.session import RetryEvent
from tests.wire import FAST, HTTP_FAMILY, Call, Wire, arguments, error, not_found, page

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
        return OpenAIConversationsSession(
            conversation_id=conversation_id,
            openai_client=wire.client,
            **arguments(**{"retry_policy": FAST, **options}),
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
        error(429, retry_after="Fri, 31 Dec 9999 23:59:59 GMT"),
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
    wire = failing(case, error(429))
    wire.client = wire.client.with_options(max_retries=5)
    with pytest.raises(openai.RateLimitError):
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
    with pytest.raises(Exception, match="has no conversation 'conv_1'"):
        await session.get_items()
    assert [f"GET {ITEMS}", "GET /conversations/conv_1"] == str(wire).split("\n")
