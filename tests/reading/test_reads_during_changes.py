"""Others write while a read is under way: before or after any of its requests is served, or answered."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from .changes import BENIGN, ORDERS, Change, changes, moments, sizes, some
from .sequential import could_be_sequential, is_fair
from .test_quiet_reads import joined, shelf_of
from .traffic import Reading, Traffic

SERVERS = pytest.mark.parametrize("kind", ["404", "silent", "emulator"])
BEFORE = st.lists(changes(), max_size=2)


def is_sequential(reading: Reading, kind: str) -> bool:
    return could_be_sequential(reading.labels, reading.states, silent=kind == "silent")


@SERVERS
@some(60)
@example(size=250, during=[(3, Change("middle", 50))], order=[0, 0, 1])
@given(size=sizes(), during=moments(), order=ORDERS)
async def test_a_first_read_shows_what_is_there_throughout_once_and_in_order(kind, size, during, order):
    async with shelf_of(kind, size) as shelf:
        reading = await Traffic(shelf).read(order, during)
        assert is_fair(reading.labels, reading.states, silent=kind == "silent")
        assert reading.most_at_once <= 2


@SERVERS
@some(60)
@example(
    size=458,
    before=[],
    during=[(1, Change("oldest", 101)), (7, Change("middle", 101)), (16, Change("middle", 101))],
    order=[5, 11, 1, 14, 4, 6, 15],
)
@given(size=sizes(), before=BEFORE, during=moments(), order=ORDERS)
async def test_a_further_read_is_one_that_reading_page_by_page_could_give(kind, size, before, during, order):
    async with shelf_of(kind, size) as shelf:
        traffic = Traffic(shelf)
        await traffic.read()
        for change in before:
            await shelf.change(change)
        reading = await traffic.read(order, during)
        assert is_sequential(reading, kind)
        assert is_fair(reading.labels, reading.states, silent=kind == "silent")
        assert reading.most_at_once <= 16
        assert (await traffic.read(order)).labels == tuple(shelf.labels)


@SERVERS
@some(40)
@given(size=sizes(), before=BEFORE, during=moments(), order=ORDERS)
async def test_an_incremental_read_joins_a_page_or_is_a_further_read(kind, size, before, during, order):
    async with shelf_of(kind, size) as shelf:
        traffic = Traffic(shelf, history="incremental")
        known = (await traffic.read()).labels
        for change in before:
            await shelf.change(change)
        reading = await traffic.read(order, during)
        pages = [joined(known, list(state)) for state in reading.states]
        assert reading.labels in pages or is_sequential(reading, kind)


@some(100)
@example(
    size=150,
    during=[(3, Change("newest", 60)), (3, Change("append", 30))],
    after=[Change("append", 75)],
    order=[0, 0, 0, 1],
)
@given(
    size=sizes(),
    during=moments(kinds=BENIGN),
    after=st.lists(changes(kinds=BENIGN), max_size=2),
    order=ORDERS,
)
async def test_an_incremental_read_is_exact_after_a_first_one_during_changes(size, during, after, order):
    async with shelf_of("404", size) as shelf:
        traffic = Traffic(shelf, history="incremental")
        await traffic.read(order, during)
        for change in after:
            await shelf.change(change)
        assert (await traffic.read(order)).labels == tuple(shelf.labels)
