"""Nothing changes during a read: its result is what the server holds, in as few requests as are promised."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openai_sessions.emulator import Emulator

from .changes import BENIGN, ORDERS, Change, changes, sizes, some
from .shelves import EmulatorShelf, Shelf
from .traffic import Reading, Traffic

ROUNDS = st.lists(st.lists(changes(), max_size=3), min_size=1, max_size=3)
"""What another process does before each further read."""

BENIGN_ROUNDS = st.lists(st.lists(changes(kinds=BENIGN), max_size=3), min_size=1, max_size=3)


@asynccontextmanager
async def shelf_of(kind: str, size: int):
    with Emulator() as emulator:
        shelf = EmulatorShelf(emulator) if kind == "emulator" else Shelf(silent=kind == "silent")
        if kind == "emulator":
            await shelf.create()
        await shelf.fill(size)
        yield shelf


def most_requests(shelf: Shelf) -> int:
    return math.ceil(len(shelf.labels) / 100) + 2


KINDS = pytest.mark.parametrize("kind", ["404", "silent", "emulator"])


@KINDS
@some(30)
@given(size=sizes(), order=ORDERS)
async def test_a_first_read_gives_what_is_stored_two_pages_at_a_time(kind, size, order):
    async with shelf_of(kind, size) as shelf:
        reading = await Traffic(shelf).read(order)
        assert reading.labels == tuple(shelf.labels)
        assert reading.requests <= most_requests(shelf)
        assert reading.most_at_once <= 2


@KINDS
@some(30)
@given(size=sizes(), rounds=ROUNDS, order=ORDERS)
async def test_a_further_read_gives_what_is_stored_whatever_has_changed_before(kind, size, rounds, order):
    async with shelf_of(kind, size) as shelf:
        traffic = Traffic(shelf)
        await traffic.read(order)
        for changed in [[], *rounds]:
            pages_known = math.ceil(len(shelf.labels) / 100)
            for change in changed:
                await shelf.change(change)
            reading = await traffic.read(order)
            assert reading.labels == tuple(shelf.labels)
            assert reading.requests <= most_requests(shelf) + (pages_known if changed else 0)
            assert reading.most_at_once <= 16


@KINDS
@some(30)
@given(size=sizes(), rounds=BENIGN_ROUNDS, order=ORDERS)
async def test_an_incremental_read_is_exact_while_others_append_pop_and_clear(kind, size, rounds, order):
    async with shelf_of(kind, size) as shelf:
        traffic = Traffic(shelf, history="incremental")
        assert (await traffic.read(order)).labels == tuple(shelf.labels)
        for changed in rounds:
            for change in changed:
                await shelf.change(change)
            assert (await traffic.read(order)).labels == tuple(shelf.labels)
            again = await traffic.read(order)
            assert (again.labels, again.requests) == (tuple(shelf.labels), 1)


@KINDS
@some(30)
@given(size=sizes(), rounds=ROUNDS, order=ORDERS)
async def test_an_incremental_read_misses_at_most_deletions_further_back(kind, size, rounds, order):
    async with shelf_of(kind, size) as shelf:
        traffic = Traffic(shelf, history="incremental")
        known = (await traffic.read(order)).labels
        for changed in rounds:
            for change in changed:
                await shelf.change(change)
            reading = await traffic.read(order)
            assert reading.labels in (tuple(shelf.labels), joined(known, shelf.labels))
            assert reading.requests <= 1 + most_requests(shelf) + math.ceil(len(known) / 100)
            known = reading.labels


def joined(known: tuple[str, ...], labels: list[str]) -> tuple[str, ...]:
    """Return what was known before the newest page, and that page."""
    page = tuple(labels[-100:])
    return (*known[: known.index(page[0])], *page) if page and page[0] in known else page


@pytest.mark.parametrize("size", [1, 100, 101, 700, 5000])
@pytest.mark.parametrize("silent", [False, True], ids=["404", "silent"])
async def test_an_unchanged_history_of_any_length_takes_an_incremental_read_one_request(size, silent):
    shelf = Shelf(silent=silent)
    await shelf.fill(size)
    traffic = Traffic(shelf, history="incremental")
    await traffic.read()
    reading: Reading = await traffic.read()
    assert (reading.labels, reading.requests) == (tuple(shelf.labels), 1)


@some(10)
@example(size=2050, changed=[Change("oldest")], order=[])
@given(size=st.integers(1690, 2300), changed=st.lists(changes(), max_size=1), order=ORDERS)
async def test_a_long_history_is_read_sixteen_pages_at_once_and_never_more(size, changed, order):
    shelf = Shelf()
    await shelf.fill(size)
    traffic = Traffic(shelf)
    await traffic.read()
    for change in changed:
        await shelf.change(change)
    reading = await traffic.read(order)
    assert reading.labels == tuple(shelf.labels)
    assert reading.most_at_once == 16
