"""What a run of turns sees in the conversations that they leave."""

import asyncio
from collections import Counter

import pytest

from tools.chaos.__main__ import main
from tools.chaos.judging_turns import (
    PlayedTurn,
    TurnWrong,
    judge_turns,
    left_by_killed,
    missing_markers,
    unpaired,
)
from tools.chaos.model import TurnItem, answer, marker, parsed, question, reply
from tools.chaos.players import CancelledAt
from tools.chaos.report import turns_table
from tools.chaos.turns import try_turns


def turn(outcome="returned", *, tools=1, runs=1):
    return PlayedTurn("1", tools, outcome, Counter({0: runs}))


def items(letters, name="1"):
    """Return items of a turn: question, call, output, answer."""
    parts = {"q": "question", "c": "call", "o": "output", "a": "answer"}
    return [TurnItem(parts[letter], name) for letter in letters]


@pytest.mark.parametrize(
    ("played", "stored", "found"),
    [
        (turn(), "qcoa", set()),
        (turn(), "qcoaa", {TurnWrong.DOUBLED}),
        (turn(), "qqcoa", {TurnWrong.DOUBLED}),
        (turn(), "qcocoa", {TurnWrong.DOUBLED}),
        (turn(runs=2), "qcoa", {TurnWrong.TOOL_TWICE}),
        (turn(), "qca", {TurnWrong.LOST}),
        (turn(), "", {TurnWrong.LOST}),
        (turn(), "qc", {TurnWrong.LOST, TurnWrong.UNANSWERED}),
        (turn("UserError"), "", set()),
        (turn("UserError"), "q", {TurnWrong.UNANSWERED}),
        (turn("UserError"), "co", {TurnWrong.UNANSWERED}),
        (turn("UserError"), "qcoa", {TurnWrong.KEPT}),
        (turn("killed"), "", set()),
        (turn("killed"), "qc", set()),
        (turn("killed"), "qcoa", set()),
        (turn("killed"), "qqcoa", {TurnWrong.DOUBLED}),
    ],
)
def test_turn_is_judged(played, stored, found):
    assert {(wrong, "1") for wrong in found} == judge_turns([played], items(stored))


def test_turn_with_items_of_another_one_inside_is_torn():
    both = [turn(tools=0), PlayedTurn("2", 0, "returned")]
    whole = [*items("qa"), *items("qa", "2")]
    assert set() == judge_turns(both, whole)
    mixed = [whole[0], whole[2], TurnItem("marker", "9"), whole[1], whole[3]]
    assert {(TurnWrong.TORN, "1"), (TurnWrong.TORN, "2")} == judge_turns(both, mixed)
    assert set() == judge_turns(both, [whole[0], TurnItem("marker", "9"), *whole[1:]])


def test_what_killed_processes_leave_is_told():
    assert {"1"} == left_by_killed([turn("killed")], items("qc"))
    assert set() == left_by_killed([turn("killed")], items("qcoa"))
    assert set() == left_by_killed([turn("UserError")], items("q"))


def test_unpaired_calls_and_missing_markers_are_told():
    assert {"1"} == unpaired([*items("qc"), *items("qcoa", "2")])
    assert {"1"} == unpaired(items("qo"))
    assert {"8"} == missing_markers({"8", "9"}, [TurnItem("marker", "9")])


async def test_model_calls_so_many_tools_and_answers(emulator):
    emulator.reply(reply, times=None)
    client = emulator.client()
    conversation = await client.conversations.create(items=[{"role": "user", "content": marker("7")}])
    given = [{"role": "user", "content": question("5", tools=2)}]
    for _ in range(3):
        response = await client.responses.create(model="any", conversation=conversation.id, input=given)
        given = [
            {"type": "function_call_output", "call_id": call.call_id, "output": "done"}
            for call in response.output
            if call.type == "function_call"
        ]
    assert answer("5") == response.output_text
    assert parsed(emulator.items(conversation.id)) == [
        TurnItem("marker", "7"),
        TurnItem("question", "5"),
        TurnItem("call", "5", 0),
        TurnItem("output", "5", 0),
        TurnItem("call", "5", 1),
        TurnItem("output", "5", 1),
        TurnItem("answer", "5"),
    ]


async def test_awaited_is_cancelled_at_any_suspension():
    async def sleep():
        for _ in range(3):
            await asyncio.sleep(0)
        return "done"

    async def run(number):
        return await CancelledAt(sleep(), number)

    ended = await asyncio.gather(
        *(asyncio.create_task(run(number)) for number in range(1, 5)), return_exceptions=True
    )
    assert [asyncio.CancelledError] * 3 == [type(error) for error in ended[:3]]
    assert "done" == ended[3]


@pytest.mark.exhaustive
@pytest.mark.parametrize("way", ["turns", "managed"])
def test_turns_are_stored_once_and_whole_or_not_at_all(way):
    result = try_turns(way, turns=48, seed=5, rate=0.2, kill_every=25)
    assert result.is_right, result.told


@pytest.mark.exhaustive
def test_the_run_can_see_what_goes_wrong():
    result = try_turns("bare", turns=48, seed=5, rate=0.3)
    assert result.dead
    assert not result.is_right
    assert "| conversations dead |" in "\n".join(turns_table({"bare": result}))


def test_nothing_to_run_is_right(capsys):
    assert 0 == main(["--operations", "0", "--turns", "0"])
    assert "" == capsys.readouterr().out
