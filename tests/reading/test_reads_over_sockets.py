"""The same on real servers: the emulator on a socket, and a gateway that others wrote."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_sessions.emulator import Emulator
from tests.servers import smg_server
from tests.wire import HTTP_FAMILY

from .changes import BENIGN, ORDERS, changes, moments, sizes, some
from .sequential import could_be_sequential, is_fair
from .shelves import RemoteShelf
from .test_quiet_reads import joined, most_requests
from .traffic import Traffic

FEW = some(10)
COUNTS = (1, 2, 30)
"""Each deletion is a request."""

SIZES = sizes(3)
ROUNDS = st.lists(st.lists(changes(counts=COUNTS), max_size=2), min_size=1, max_size=2)


@pytest.fixture(scope="module", params=["emulator", "smg"])
def server(request):
    """Return a base URL, and whether the server begins again at page one for a cursor that is gone."""
    if request.param == "smg":
        with smg_server() as base_url:
            yield base_url, True
    else:
        with Emulator() as emulator, emulator.serve() as base_url:
            yield base_url, False


@asynccontextmanager
async def shelf_on(server, size: int):
    base_url, silent = server
    async with HTTP_FAMILY.AsyncClient(
        headers={"authorization": "Bearer sk-sockets"}, verify=False, trust_env=False
    ) as http:
        shelf = RemoteShelf(base_url, http, silent=silent)
        await shelf.create()
        await shelf.fill(size)
        yield shelf


@FEW
@given(size=SIZES, rounds=ROUNDS, order=ORDERS)
async def test_reads_of_each_kind_give_what_is_stored(server, size, rounds, order):
    async with shelf_on(server, size) as shelf:
        full, incremental = Traffic(shelf), Traffic(shelf, history="incremental")
        for changed in [[], [], *rounds]:
            known = math.ceil(len(shelf.labels) / 100) if changed else 0
            for change in changed:
                await shelf.change(change)
            cold, warm = await Traffic(shelf).read(order), await full.read(order)
            assert cold.labels == warm.labels == tuple(shelf.labels)
            assert cold.requests <= most_requests(shelf)
            assert warm.requests <= most_requests(shelf) + known
            assert cold.most_at_once <= 2
        assert (await incremental.read()).labels == tuple(shelf.labels)
        again = await incremental.read()
        assert (again.labels, again.requests) == (tuple(shelf.labels), 1)


@FEW
@given(size=SIZES, during=moments(latest=12, counts=COUNTS), order=ORDERS)
async def test_a_first_read_during_changes(server, size, during, order):
    async with shelf_on(server, size) as shelf:
        reading = await Traffic(shelf).read(order, during)
        assert is_fair(reading.labels, reading.states, silent=shelf.silent)


@FEW
@given(size=SIZES, during=moments(latest=12, counts=COUNTS), order=ORDERS)
async def test_a_further_read_during_changes(server, size, during, order):
    async with shelf_on(server, size) as shelf:
        traffic = Traffic(shelf)
        await traffic.read()
        reading = await traffic.read(order, during)
        assert could_be_sequential(reading.labels, reading.states, silent=shelf.silent)
        assert (await traffic.read(order)).labels == tuple(shelf.labels)


@FEW
@given(size=SIZES, during=moments(latest=6, counts=COUNTS), order=ORDERS)
async def test_an_incremental_read_during_changes(server, size, during, order):
    async with shelf_on(server, size) as shelf:
        traffic = Traffic(shelf, history="incremental")
        known = (await traffic.read()).labels
        reading = await traffic.read(order, during)
        pages = [joined(known, list(state)) for state in reading.states]
        assert reading.labels in pages or could_be_sequential(
            reading.labels, reading.states, silent=shelf.silent
        )


@FEW
@given(
    size=SIZES, rounds=st.lists(changes(kinds=BENIGN, counts=COUNTS), min_size=1, max_size=3), order=ORDERS
)
async def test_an_incremental_read_after_appends_pops_and_clears(server, size, rounds, order):
    async with shelf_on(server, size) as shelf:
        traffic = Traffic(shelf, history="incremental")
        await traffic.read(order)
        for change in rounds:
            await shelf.change(change)
            assert (await traffic.read(order)).labels == tuple(shelf.labels)
