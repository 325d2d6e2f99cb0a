"""Servers that lack values of `include`: they are left out, and what remains is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions._items.types import INCLUDE
from tests.wire import FAST, Call, Wire, arguments, page

OWN = "message.output_text.logprobs"


def session_on(wire: Wire, **options: Any) -> OpenAIConversationsSession:
    given = {"conversation_id": "conv_1", "openai_client": wire.client, "retry_policy": FAST, **options}
    return OpenAIConversationsSession(**arguments(**given))


def as_openai(lacking: list[str], sent: list[str]) -> tuple[int, Any]:
    value, choices = lacking[0], ", ".join(f"'{each}'" for each in INCLUDE if each not in lacking)
    message = f"Invalid value: '{value}'. Supported values are: {choices}."
    param = f"include[{sent.index(value)}]"
    return 400, {"error": {"message": message, "param": param, "code": "invalid_value", "type": "x"}}


def by_place(lacking: list[str], sent: list[str]) -> tuple[int, Any]:
    param = f"include[{sent.index(lacking[0])}]"
    return 400, {"error": {"message": "Unknown value.", "param": param, "code": None, "type": "x"}}


def as_pydantic(lacking: list[str], sent: list[str]) -> tuple[int, Any]:
    place = ["query", "include[]", sent.index(lacking[0])]
    choices = " or ".join(f"'{each}'" for each in INCLUDE if each not in lacking)
    said = {"type": "enum", "loc": place, "msg": f"Input should be {choices}", "input": lacking[0]}
    return 422, {"detail": [said]}


def all_at_once(lacking: list[str], sent: list[str]) -> tuple[int, Any]:
    return 400, {"error": f"unknown include values: {', '.join(lacking)}"}


def says_little(lacking: list[str], sent: list[str]) -> tuple[int, Any]:
    return 400, {"error": {"message": "Invalid parameter.", "param": "include", "code": None, "type": "x"}}


def lists_what_it_has(lacking: list[str], sent: list[str]) -> tuple[int, Any]:
    return 400, {"message": f"include must be one of {[each for each in INCLUDE if each not in lacking]}"}


SERVERS = [as_openai, by_place, as_pydantic, all_at_once, says_little, lists_what_it_has]


def serving(lacks: tuple[str, ...], refuse: Callable[[list[str], list[str]], tuple[int, Any]]) -> Wire:
    """Return a server that lacks values of `include`, and the values that each request has sent."""

    def answer(call: Call) -> Any:
        sent = call.query.get("include[]", [])
        lacking = [value for value in sent if value in lacks]
        return refuse(lacking, sent) if lacking else page("m1")

    return Wire(answer)


def sent(wire: Wire) -> list[list[str]]:
    return [call.query.get("include[]", []) for call in wire.calls]


@pytest.mark.parametrize("refuse", SERVERS)
@pytest.mark.parametrize("lacks", [INCLUDE[:1], INCLUDE[-1:], INCLUDE[1:5:2], INCLUDE], ids=len)
async def test_values_that_a_server_lacks_are_left_out(refuse, lacks, caplog):
    wire = serving(lacks, refuse)
    session = session_on(wire)
    assert [item["content"] for item in await session.get_items(limit=1)] == ["m1"]
    expected = {value for value in INCLUDE if value not in lacks}
    assert expected == set(sent(wire)[-1])
    assert len(wire.calls) <= 1 + len(INCLUDE) + 1
    if refuse in {as_openai, by_place, as_pydantic}:
        assert len(wire.calls) == 1 + len(lacks)
    warned = "".join(record.message for record in caplog.records if record.levelname == "WARNING")
    assert all(value in warned for value in lacks)
    assert not any(value in warned for value in expected)

    wire.calls.clear()
    caplog.clear()
    await session.get_items(limit=1)
    await session_on(wire).get_items(limit=1)  # another session of the client
    assert [expected] * 2 == [set(values) for values in sent(wire)]
    assert caplog.records == []


async def test_each_value_is_logged_once_although_both_ends_of_a_history_are_read_at_once(caplog):
    wire = serving(INCLUDE[:2], as_openai)
    assert [item["content"] for item in await session_on(wire).get_items()] == ["m1"]
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 2


@pytest.mark.parametrize("refuse", SERVERS)
async def test_a_value_of_the_caller_is_not_left_out(refuse):
    wire = serving((OWN,), refuse)
    with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError)):
        await session_on(wire, include=[OWN]).get_items(limit=1)
    assert OWN in sent(wire)[-1]
    wire.calls.clear()
    await session_on(wire).get_items(limit=1)
    assert [list(INCLUDE)] == sent(wire)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "The request must include a valid cursor.", "param": "after", "code": None}),
        (400, {"message": "Invalid limit.", "param": "limit", "code": None}),
        (403, {"message": "include[] is forbidden", "param": "include", "code": None}),
    ],
)
async def test_another_error_leaves_nothing_out(status, error):
    wire = Wire(lambda call: (status, {"error": {"type": "x", **error}}))
    with pytest.raises(openai.APIStatusError):
        await session_on(wire).get_items(limit=1)
    assert [list(INCLUDE)] == sent(wire)


async def test_a_server_that_refuses_whatever_is_sent_is_an_error_and_forgotten():
    refuses = True

    def answer(call: Call) -> Any:
        return says_little([], []) if refuses else page("m1")

    wire = Wire(answer)
    with pytest.raises(openai.BadRequestError):
        await session_on(wire).get_items(limit=1)
    assert len(wire.calls) == 1 + len(INCLUDE) + 1
    refuses = False
    wire.calls.clear()
    await session_on(wire).get_items(limit=1)
    assert [list(INCLUDE)] == sent(wire)


async def test_writing_to_such_a_server():
    def answer(call: Call) -> Any:
        if call.method == "GET" and INCLUDE[0] in call.query["include[]"]:
            return as_openai([INCLUDE[0]], call.query["include[]"])
        return page("m2" if call.method == "POST" else "m1")

    wire = Wire(answer)
    await session_on(wire).add_items([{"role": "user", "content": "m2"}])
    assert [call.method for call in wire.calls] == ["GET", "GET", "POST"]
