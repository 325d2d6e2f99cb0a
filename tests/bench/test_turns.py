"""A turn in each mode makes the requests that the documents say."""

import asyncio
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version

import pytest

from tools.bench import turns
from tools.bench.turns import MODES, TurnRow, count, load_turns, turn_section

STORED = load_turns()

ROWS = [row for row in STORED.rows if row.items <= 990]

QUICK = ("`session.turn()`", "`session.turn(server_managed=True)`", "`conversation_id=` of the Agents SDK")

SLOW = [row for row in ROWS if row.items > 10 and not (row.is_resumed and row.mode in QUICK)]
"""Those that make openai prepare 990 items, half a second each, or are much like others."""


def known(row):
    """Skip the rows of the Agents SDK with another version than the one that was measured."""
    measured = STORED.versions["openai-agents"]
    if "Agents SDK" in row.mode and version("openai-agents") != measured:
        pytest.skip(f"measured with openai-agents {measured}")
    return row


def identity(row):
    return f"{row.mode}, {row.items}{', resumed' * row.is_resumed}"


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=identity(row), marks=[pytest.mark.exhaustive] * (row in SLOW)) for row in ROWS],
)
async def test_turn_makes_the_requests_of_the_documents(row):
    mode = next(mode for mode in MODES if mode.name == known(row).mode)
    counted = await count(mode, row.items, is_resumed=row.is_resumed)
    expected = (row.requests, row.round_trips, row.before_model)
    assert expected == (counted.requests, counted.round_trips, counted.before_model)
    assert counted.sent == pytest.approx(row.sent, rel=0.1)
    assert counted.received == pytest.approx(row.received, rel=0.1)


def test_every_mode_is_in_the_documents():
    assert {mode.name for mode in MODES} == {row.mode for row in STORED.rows}


async def test_requests_of_one_round_did_not_wait_for_each_other():
    """Two at once are one round, each of two in a row is one, and a slow client does not split a round."""
    with closing(turns.RoundEmulator()) as emulator:
        async with emulator.client() as client:
            created = await client.conversations.create()

            async def late():
                for _ in range(50):
                    await asyncio.sleep(0)
                return await client.conversations.retrieve(created.id)

            await asyncio.gather(client.conversations.retrieve(created.id), late())
            await client.conversations.retrieve(created.id)
    assert [1, 2, 2, 3] == [each.round for each in emulator.counted]


async def test_a_mode_that_loses_a_part_of_the_history_is_not_measured():
    async def answer():
        return "10"

    async def fill(_number):
        return "conv_1"

    place = turns.Place(client=None, fill=fill)
    ask = await place.prepare(turns.Mode("any", lambda *_: answer), 10, is_resumed=True)
    with pytest.raises(turns.WrongHistoryError, match="the model saw 10 items, and not 11"):
        await ask()


@pytest.mark.exhaustive
async def test_time_of_a_turn_is_that_of_its_round_trips():
    """On a socket, where each request takes 100 ms."""
    chosen = [row for row in ROWS if row.items == 10 and not row.is_resumed]
    timed = await turns.take_times(chosen, repeats=1)
    assert [] == [row for row in timed if row.seconds < turns.DELAY * row.requests]


def test_cell_has_requests_round_trips_bytes_and_the_time():
    row = TurnRow(
        mode="any",
        items=10,
        is_resumed=False,
        requests=3,
        round_trips=2,
        before_model=1,
        sent=2100,
        received=20100,
    )
    rows = [
        replace(row, items=number, is_resumed=is_resumed, seconds=seconds)
        for number in turns.SIZES
        for is_resumed, seconds in ((False, None), (True, 0.444))
    ]
    section = turn_section(turns.TurnResults({"openai": "3.57.0"}, tuple(rows)))
    assert "| any | 3, 2 (1), 2.1 ↑, 20 ↓ | 3, 2 (1), 2.1 ↑, 20 ↓, 0.44 s |" in section
